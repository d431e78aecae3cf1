"""`spiritsafe pilot`: what the next dollars buy."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from spiritsafe.cli.common import Json, Out, Set, Target, next_command, resolve
from spiritsafe.talk import Talk


def pilot(
    recipe: Target = None,
    usd: Annotated[float, typer.Option("--usd", help="The next US dollars.")] = 20.0,
    out: Out = None,
    set_: Set = None,
    as_json: Json = False,
) -> None:
    """Train on an eighth, a quarter and a half of the answers, and predict what more of them would bring."""
    from spiritsafe.pipeline import pilot as piloting
    from spiritsafe.report.forecast import describe

    loaded, folder = resolve(recipe, out, set_)
    found = piloting.pilot(loaded, folder, usd=usd, talk=Talk()).to_json()
    typer.echo(json.dumps({"run": str(folder), **found}) if as_json else describe(found))
    next_command(f"spiritsafe run {folder}")  # it finds the answers collected
