"""`spiritsafe compare`: the results of several runs in one table."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from spiritsafe.cli.common import Json, next_command


def compare(
    runs: Annotated[list[Path], typer.Argument(help="Run directories with a result.")], as_json: Json = False
) -> None:
    """Put the models of several runs side by side."""
    from rich.console import Console

    from spiritsafe.report.compare import results, same_problems, side_by_side

    found = results(runs)
    if as_json:
        rows = [{"run": str(run), **result} for run, result in zip(runs, found, strict=True)]
        typer.echo(json.dumps({"same_problems": same_problems(runs), "runs": rows}))
    else:
        Console(width=None if sys.stdout.isatty() else 160).print(side_by_side(runs, found))
    if not same_problems(runs):
        typer.echo(
            "note: these runs were measured on different test prompts: do not compare scores", err=True
        )
    next_command(f"spiritsafe export {runs[0]} --to hf")
