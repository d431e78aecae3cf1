"""What `store ls` shows of the shards of a run: rows and bytes, decisions, origins and damage."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spiritsafe.errors import CorruptData
from spiritsafe.records import Record
from spiritsafe.store.shards import MANIFEST, entries, load, verify


@dataclass(frozen=True, kw_only=True, slots=True)
class StoreSummary(Record):
    """What `store ls` shows of one shard set."""

    directory: str
    rows: int
    bytes: int
    accepted: int
    undecided: int
    """Rows before selection."""
    rejected: Mapping[str, int]
    """Rows per reason."""
    origins: Mapping[str, int]
    """Rows per origin: teacher key and channel."""
    problems: tuple[str, ...]
    """What `verify` found; the counts are of the readable shards."""


def list_store(run_dir: Path) -> list[StoreSummary]:
    """A summary of each shard set in a folder: the folder itself and its direct children."""
    candidates = [run_dir, *sorted(path for path in run_dir.glob("*") if path.is_dir())]
    return [_summary(path) for path in candidates if (path / MANIFEST).exists()]


def _summary(directory: Path) -> StoreSummary:
    decisions: Counter[str | None] = Counter()
    origins: Counter[str] = Counter()
    rows = size = 0
    with contextlib.suppress(CorruptData):  # damage shows in `problems`
        for path, entry in entries(directory):
            with contextlib.suppress(CorruptData):
                table = load(path, entry)
                rows, size = rows + table.num_rows, size + entry["bytes"]
                decisions.update(
                    _decision(row) for row in table.select(["accepted", "reject_reason"]).to_pylist()
                )
                origins.update(f"{o['teacher']} ({o['channel']})" for o in table["origin"].to_pylist())
    accepted, undecided = decisions.pop("", 0), decisions.pop(None, 0)
    rejected = {str(reason): count for reason, count in sorted(decisions.items(), key=str)}
    return StoreSummary(
        directory=str(directory),
        rows=rows,
        bytes=size,
        accepted=accepted,
        undecided=undecided,
        rejected=rejected,
        origins=dict(sorted(origins.items())),
        problems=tuple(verify(directory)),
    )


def _decision(row: Mapping[str, Any]) -> str | None:
    """None before selection, '' accepted, otherwise the reason."""
    if row["accepted"] is None:
        return None
    return "" if row["accepted"] else row["reject_reason"] or "no reason"
