"""`spiritsafe store`: the answers of a run directory."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from spiritsafe.cli.common import Json, Run, next_command
from spiritsafe.errors import CorruptData

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spiritsafe.store.rows import Totals
    from spiritsafe.store.summary import StoreSummary

app = typer.Typer(help="Stored answers: list, verify, export, import.", no_args_is_help=True)


@app.command("ls")
def list_(run: Run, as_json: Json = False) -> None:
    """What is stored: requests by state, money, rows by decision and origin."""
    from spiritsafe.store.store import Store

    store = Store(run)
    totals, parts, batches = store.totals(), store.summaries(), store.batches()
    if as_json:
        value = {"ledger": totals.to_json() if totals else None, "parts": [part.to_json() for part in parts]}
        typer.echo(json.dumps(value | {"batches": [batch.to_json() for batch in batches]}))
    else:
        _show(totals, parts)
        for batch in batches:
            name = batch.remote or "a batch that may not have been accepted"
            typer.echo(f"out: {name}, {batch.requests:,} requests for {batch.purpose}, at {batch.service}")
    next_command(f"spiritsafe store verify {run}")


def _show(totals: Totals | None, parts: Sequence[StoreSummary]) -> None:
    if totals:
        typer.echo(
            f"ledger: {totals.settled + totals.rejected:,} settled, {totals.failed:,} failed, "
            f"{totals.unknown:,} unknown, {totals.planned:,} planned; "
            f"{totals.charged_tokens:,} tokens and {totals.charged_usd:.4f} USD charged"
        )
    for part in parts:
        _describe(part)


@app.command()
def verify(run: Run, as_json: Json = False) -> None:
    """Check every checksum and re-derive every request's hash; exit code 5 when something is wrong."""
    from spiritsafe.store.store import Store

    problems = Store(run).verify()
    if as_json:
        typer.echo(json.dumps({"problems": problems}))
    for problem in problems:
        typer.echo(f"problem: {problem}", err=True)
    if problems:
        raise CorruptData(
            f"{len(problems)} problem(s) in {run}",
            hint="delete what is damaged and run the same recipe again: settled answers come from the ledger",
        )
    if not as_json:
        typer.echo("all is well")
    next_command(f"spiritsafe store export {run} answers.jsonl")


@app.command()
def export(
    run: Run,
    to: Annotated[Path, typer.Argument(help="File to write.")],
    format: Annotated[str, typer.Option(help="openai, sharegpt or parquet.")] = "openai",
    part: Annotated[str | None, typer.Option(help="selected, samples, imported or test_samples.")] = None,
    rejected: Annotated[bool, typer.Option("--rejected", help="Include what selection dropped.")] = False,
    as_json: Json = False,
) -> None:
    """Write answers for other tools."""
    from spiritsafe.store.store import Store

    count = Store(run).export(to, format, part=part, rejected=rejected)
    _done(as_json, {"written": count, "file": str(to)}, f"{count:,} samples written to {to}")
    next_command(f"spiritsafe export {run} --to hf")


@app.command("import")
def import_(
    run: Run,
    file: Annotated[Path, typer.Argument(help="File to read: answers somebody has already.")],
    teacher: Annotated[
        str | None, typer.Option(help="Who answered: openai:gpt-4.1, http(s)://host/v1#MODEL or MODEL@HOST.")
    ] = None,
    date: Annotated[str | None, typer.Option(help="When: 2026-05 or 2026-05-31.")] = None,
    format: Annotated[
        str, typer.Option(help="auto, openai, sharegpt, parquet, alpaca, openai-batch.")
    ] = "auto",
    batch_input: Annotated[Path | None, typer.Option(help="openai-batch: the input file.")] = None,
    as_json: Json = False,
) -> None:
    """Add answers that were made elsewhere; the next select takes them in."""
    from spiritsafe.store.store import Store
    from spiritsafe.teachers.connect import origin_of

    origin = origin_of(teacher) if teacher and teacher.strip() else None
    count = Store.take_in(run, file, format, origin=origin, date=date, batch_input=batch_input)
    _done(as_json, {"imported": count}, f"{count:,} new samples in {run / 'imported'}")
    begun = (run / "recipe.json").exists()
    next_command(f"spiritsafe run {run}" if begun else f"spiritsafe run RECIPE --out {run}")


def _describe(part: StoreSummary) -> None:
    name = Path(part.directory).name
    typer.echo(f"{name}: {part.rows:,} rows, {part.bytes:,} bytes, {part.accepted:,} accepted")
    for reason, count in part.rejected.items():
        typer.echo(f"  rejected, {reason}: {count:,}")
    for origin, count in part.origins.items():
        typer.echo(f"  from {origin}: {count:,}")
    for problem in part.problems:
        typer.echo(f"  problem: {problem}", err=True)


def _done(as_json: bool, value: dict[str, Any], text: str) -> None:
    typer.echo(json.dumps(value) if as_json else text)
