"""What the verbs share: their arguments, what a target means, and the line that says what comes next."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from spiritsafe.errors import UsageError

if TYPE_CHECKING:
    from spiritsafe.recipe import Recipe

Target = Annotated[
    str | None, typer.Argument(help="A recipe file or a run directory; none is the bundled schoolbook run.")
]
Run = Annotated[Path, typer.Argument(help="A run directory.")]
Out = Annotated[Path | None, typer.Option("--out", help="Run directory; runs/NAME by default.")]
Set = Annotated[list[str] | None, typer.Option("--set", help="Override a key of the recipe: a.b=value.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


def resolve(target: str | None, out: Path | None, overrides: list[str] | None) -> tuple[Recipe, Path]:
    """The recipe and run directory that a verb's arguments mean."""
    from spiritsafe import recipe_file

    if target is not None and Path(target).is_dir():
        return of_run(Path(target), overrides), out or Path(target)
    path = Path(target) if target is not None else recipe_file.bundled_path()
    loaded = recipe_file.load(path, overrides)
    return loaded, out or Path("runs") / loaded.name


def of_run(folder: Path, overrides: list[str] | None = None) -> Recipe:
    """The recipe that a run directory was made with. Raises UsageError when it is none."""
    from spiritsafe import recipe_file

    written = folder / "recipe.json"
    if not written.exists():
        raise UsageError(
            f"not a run directory: {folder}", hint="it has no recipe.json; `spiritsafe run` makes one"
        )
    return recipe_file.load(written, overrides)


def next_command(command: str) -> None:
    """The last line of every verb, on stderr: what most people do now."""
    typer.echo(f"next: {command}", err=True)
