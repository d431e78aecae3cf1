"""Several runs side by side: the rows of their results, and whether they were asked the same problems."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from spiritsafe.errors import UsageError
from spiritsafe.report import table
from spiritsafe.rundir import RunDir, file_sha256

COLUMNS = tuple(
    column
    for column in table.COLUMNS
    if column.title
    in ("model", "trained on", "task score", "95 % interval", "parameters", "USD per 1,000 requests")
)


def results(folders: Sequence[Path]) -> list[dict[str, Any]]:
    """The results of run directories; raises UsageError for one that has none."""
    for folder in folders:
        if not (folder / "result.json").exists():
            raise UsageError(f"no result in {folder}", hint=f"spiritsafe run {folder}")
    return [RunDir(folder).read_json("result.json") for folder in folders]


def same_problems(folders: Sequence[Path]) -> bool:
    """True when every run was measured on one set of test prompts; scores are comparable only then."""
    files = [folder / "prompts" / "test.jsonl" for folder in folders]
    return all(file.exists() for file in files) and len({file_sha256(file) for file in files}) == 1


def side_by_side(folders: Sequence[Path], found: Sequence[table.Json]) -> Table:
    """One row per run and model."""
    shown = Table(box=None, pad_edge=False)
    shown.add_column("run")
    for column in COLUMNS:
        shown.add_column(column.title, justify="right" if column.numeric else "left", vertical="bottom")
    shown.add_column("n", justify="right")
    for folder, result in zip(folders, found, strict=True):
        for name, model in table.ordered(result):
            n = (model.get("task_score") or {}).get("n")
            shown.add_row(str(folder), *(column.cell(name, model) for column in COLUMNS), table.whole(n))
    return shown
