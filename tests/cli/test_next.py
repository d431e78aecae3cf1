"""The last line of every verb says what most people do now."""

import typer
from typer.main import get_command

from spiritsafe.cli.main import app

SAY_IT = {"next_command", "_until", "_print_result"}
"""What a verb calls to say it; the last two are shared by the stages."""


def verbs(group, path=()):
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from verbs(command, (*path, name))
        else:
            yield " ".join((*path, name)), command.callback


def test_every_verb_names_the_next_command():
    found = dict(verbs(get_command(app)))
    assert {"run", "init", "ask", "export", "compare", "store import", "recipe show"} <= found.keys()
    silent = [name for name, verb in found.items() if not SAY_IT & set(verb.__wrapped__.__code__.co_names)]
    assert silent == []


def test_the_line_is_talk_and_not_data(call):
    done = call("recipe", "schema")
    assert done.stderr == "next: spiritsafe init\n"
    assert "next:" not in done.stdout
    assert isinstance(app, typer.Typer)
