"""The command line. Verbs only: everything else is a key of the recipe.

stdout is data, stderr is talk. Exit codes: 0 done, 1 failed, 2 usage, 4 budget reached,
5 verification failed, 130 interrupted. Heavy modules are imported inside the verbs, so that
`--help` answers at once.
"""

from __future__ import annotations

import json
import sys
import textwrap
from pathlib import Path
from typing import Annotated, Any

import typer

from spiritsafe.cli import asking, beginning, comparing, examining, exporting, forecasting, stores
from spiritsafe.cli.common import Json, Out, Set, Target, next_command, resolve
from spiritsafe.errors import SpiritSafeError
from spiritsafe.talk import Talk

INTERRUPTED = 130

app = typer.Typer(
    name="spiritsafe",
    help="LLM distillation that accounts for every drop: a small model from a big one's outputs.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
recipe_app = typer.Typer(help="Recipes: the schema for editors, the bundled one.", no_args_is_help=True)
app.add_typer(recipe_app, name="recipe")
app.add_typer(stores.app, name="store")
app.command()(beginning.init)
app.command()(forecasting.pilot)
app.command()(asking.ask)
app.command()(exporting.export)
app.command()(comparing.compare)
app.command()(examining.doctor)


@app.command()
def run(
    recipe: Target = None,
    out: Out = None,
    set_: Set = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Put the old run directory aside first.")] = False,
    as_json: Json = False,
    teacher: Annotated[str | None, typer.Option(help="Short form: URL#MODEL or another model.")] = None,
    student: Annotated[str | None, typer.Option(help="Short form: the checkpoint to train.")] = None,
    prompts: Annotated[Path | None, typer.Option(help="Short form: JSONL file of prompts.")] = None,
    budget: Annotated[float | None, typer.Option(help="Short form: hard limit in US dollars.")] = None,
) -> None:
    """Collect, select, train, evaluate and report; an interrupted run goes on where it stopped."""
    from spiritsafe.pipeline import run as pipeline
    from spiritsafe.pipeline import short

    overrides = list(set_ or [])
    if any(value is not None for value in (teacher, student, prompts, budget)):
        written = short.write_recipe(
            teacher=teacher, student=student, prompts=prompts, budget_usd=budget, recipe=recipe
        )
        typer.echo(f"wrote the recipe: {written}\n{textwrap.indent(written.read_text(), '    ')}", err=True)
        recipe = str(written)
    loaded, folder = resolve(recipe, out, overrides)
    if fresh:
        _put_aside(folder)
    result = pipeline.run(loaded, folder, talk=Talk())
    _print_result(folder, result, as_json)


@app.command()
def plan(
    recipe: Target = None,
    out: Out = None,
    set_: Set = None,
    as_json: Json = False,
    memory_gb: Annotated[
        float | None, typer.Option("--memory-gb", min=0, help="Memory of the GPU that is planned for.")
    ] = None,
) -> None:
    """What a run will take in memory, tokens, money and time; the last three from a small measured sample."""
    from spiritsafe import environment
    from spiritsafe.pipeline import fits
    from spiritsafe.pipeline import plan as planning

    loaded, folder = resolve(recipe, out, set_)
    device = environment.device(memory_gb)
    needs = fits.table(loaded, device)
    if not as_json:  # before anything is asked: a teacher that does not fit cannot be asked
        typer.echo(fits.describe(needs, device))
    estimate = planning.plan(loaded, folder, talk=Talk())
    memory = {"device": device.to_json(), "memory": [need.to_json() for need in needs]}
    typer.echo(json.dumps({**estimate.to_json(), **memory}) if as_json else planning.describe(estimate))
    next_command(f"spiritsafe run {folder}")  # its recipe.json holds what --set changed


@app.command()
def collect(recipe: Target = None, out: Out = None, set_: Set = None, as_json: Json = False) -> None:
    """Put the prompts to the teacher; what was settled before is not asked again."""
    _until("collect", recipe, out, set_, as_json)


@app.command()
def select(recipe: Target = None, out: Out = None, set_: Set = None, as_json: Json = False) -> None:
    """Judge the collected answers and keep what is worth training on."""
    _until("select", recipe, out, set_, as_json)


@app.command()
def train(recipe: Target = None, out: Out = None, set_: Set = None, as_json: Json = False) -> None:
    """Train every arm of the recipe."""
    _until("train", recipe, out, set_, as_json)


@app.command()
def evaluate(recipe: Target = None, out: Out = None, set_: Set = None, as_json: Json = False) -> None:
    """Measure teacher and students on the evaluation prompts."""
    _until("evaluate", recipe, out, set_, as_json)


@app.command()
def report(recipe: Target = None, out: Out = None, set_: Set = None, as_json: Json = False) -> None:
    """Write the table and the page."""
    _until("report", recipe, out, set_, as_json)


@recipe_app.command("schema")
def recipe_schema() -> None:
    """JSON Schema of the recipe."""
    from spiritsafe.recipe import schema

    typer.echo(json.dumps(schema(), indent=1))
    next_command("spiritsafe init")


@recipe_app.command("show")
def recipe_show(recipe: Target = None, set_: Set = None) -> None:
    """The recipe with every default written out, as JSON."""
    loaded, _ = resolve(recipe, None, set_)
    typer.echo(json.dumps(loaded.to_json(), indent=1))
    next_command(f"spiritsafe plan {recipe or ''}".rstrip())


@app.callback(invoke_without_command=True)
def version(
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    if version:
        from spiritsafe import __version__

        typer.echo(__version__)
        raise typer.Exit


def main() -> None:
    """Entry point: one line and a hint for what the user can act on, a traceback only with --debug."""
    debug = "--debug" in sys.argv
    if debug:
        sys.argv.remove("--debug")
    try:
        app()
    except SpiritSafeError as error:
        if debug:
            raise
        _print_error(error)
        sys.exit(error.exit_code)
    except SystemExit as stop:
        if stop.code == INTERRUPTED:  # typer has turned Ctrl-C into this
            typer.echo("\nstopped; everything settled is kept: run the same command to go on", err=True)
        raise


def _print_error(error: SpiritSafeError) -> None:
    for line in error.message.splitlines():
        typer.echo(f"error: {line}", err=True)
    if error.hint:
        typer.echo(f"hint: {error.hint}", err=True)


def _until(verb: str, target: str | None, out: Path | None, set_: list[str] | None, as_json: bool) -> None:
    from spiritsafe.pipeline import run as pipeline

    loaded, folder = resolve(target, out, set_)
    result = pipeline.run(loaded, folder, until=verb, talk=Talk())
    if verb == "report":
        _print_result(folder, result, as_json)
        return
    typer.echo(json.dumps({"run": str(folder), "done": verb}) if as_json else f"{verb}: done in {folder}")
    following = pipeline.GROUPS[pipeline.GROUPS.index(verb) + 1]
    next_command(f"spiritsafe {following} {folder}")


def _print_result(folder: Path, result: dict[str, Any], as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(result, allow_nan=False))
        _after_run(folder, result)
        return
    from rich.console import Console

    from spiritsafe.report import judged
    from spiritsafe.report.table import terminal
    from spiritsafe.rundir import RunDir

    # In a pipe or a log there is no terminal to fit into: the table keeps its width.
    console = Console(width=None if sys.stdout.isatty() else 160)
    console.print(terminal(result, RunDir(folder).read_json("environment.json")))
    for line in judged.lines(result):
        typer.echo(line)
    typer.echo(f"report: {folder / 'report.html'}")
    _after_run(folder, result)


def _after_run(folder: Path, result: dict[str, Any]) -> None:
    asked = result["recipe"]["teacher"]["model"] != "none"
    next_command(f'spiritsafe ask {folder} "YOUR QUESTION"' + (" --who both" if asked else ""))


def _put_aside(folder: Path) -> None:
    """Rename an old run directory: paid answers are never deleted."""
    if not folder.exists():
        return
    number = 1
    while (aside := folder.with_name(f"{folder.name}.{number}")).exists():
        number += 1
    folder.rename(aside)
    typer.echo(f"the old run is kept: {aside}", err=True)
