"""`spiritsafe ask`: talk to the models of a run."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from spiritsafe.cli.common import Json, Run, next_command, of_run
from spiritsafe.talk import Talk

Who = Annotated[str, typer.Option("--who", help="student, teacher, both, or an arm of the recipe.")]


def ask(
    run: Run,
    text: Annotated[str, typer.Argument(help="The question, in quotes.")],
    who: Who = "student",
    as_json: Json = False,
) -> None:
    """Put a question to the trained student, the teacher, or both; the teacher's answer counts as spend."""
    from spiritsafe.pipeline.ask import ask as put

    replies = put(of_run(run), run, text, who, talk=Talk())
    if as_json:
        answers = {
            name: {**reply.to_json(), "usage": reply.usage.to_json()} for name, reply in replies.items()
        }
        typer.echo(json.dumps({"run": str(run), "question": text, "answers": answers}))
    elif len(replies) == 1:
        typer.echo(next(iter(replies.values())).text)
    else:
        typer.echo("\n\n".join(f"{name}:\n{reply.text}" for name, reply in replies.items()))
    next_command(f"spiritsafe export {run} --to hf")
