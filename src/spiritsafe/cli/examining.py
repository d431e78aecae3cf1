"""`spiritsafe doctor`: what would go wrong in training, before it does."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from spiritsafe.cli.common import Json, Out, Set, Target, next_command, resolve
from spiritsafe.errors import InputError


def doctor(
    recipe: Target = None,
    out: Out = None,
    set_: Set = None,
    show_row: Annotated[
        bool, typer.Option("--show-row", help="Print one training row; what counts in the loss is green.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Check the student's template, control tokens, reasoning tags, vocabulary and row lengths."""
    from spiritsafe.pipeline.examine import examine

    loaded, folder = resolve(recipe, out, set_)
    found = examine(loaded, folder)
    problems = [finding for finding in found.findings if finding.cure]
    if as_json:
        row = [{"text": text, "counts": counts} for text, counts in found.row] if show_row else None
        typer.echo(json.dumps({"findings": [f.to_json() for f in found.findings], "row": row}))
    else:
        for finding in found.findings:
            typer.echo(f"{'PROBLEM' if finding.cure else 'ok':8}{finding.about:12}{finding.text}")
        if show_row:
            _show(found.row, found.collected)
    if problems:
        raise InputError(
            f"{len(problems)} problem(s) with {loaded.student.model}",
            hint="; ".join(f"{finding.about}: {finding.cure}" for finding in problems),
        )
    next_command(f"spiritsafe run {recipe or ''}".rstrip())


def _show(row: list[tuple[str, bool]], collected: bool) -> None:
    if not collected:
        typer.echo("(nothing is collected yet: the row has the task's own answer)", err=True)
    for text, counts in row:
        # A marked space and line end: a row is judged by them as well.
        shown = text.replace("\n", "\\n\n")
        typer.secho(shown, fg="green" if counts else None, dim=not counts, nl=False)
    typer.echo()
