"""The short form of `run`: four arguments become a recipe that the user can read, keep and edit."""

from __future__ import annotations

from pathlib import Path

import yaml

from spiritsafe.errors import UsageError
from spiritsafe.rundir import write_atomic


def write_recipe(
    *,
    teacher: str | None,
    student: str | None,
    prompts: Path | None,
    budget_usd: float | None,
    recipe: str | None,
) -> Path:
    """Write the recipe that the short form means, beside the prompts' run; returns its path.

    Raises UsageError when a recipe is named too, or when teacher or prompts are missing.
    """
    if recipe is not None:
        raise UsageError(
            "a recipe and the short form exclude each other", hint="use --set to change a recipe"
        )
    missing = [name for name, value in (("--teacher", teacher), ("--prompts", prompts)) if value is None]
    if missing or prompts is None:
        raise UsageError(
            f"the short form of run needs {' and '.join(missing)}",
            hint="spiritsafe run --teacher URL#MODEL --student MODEL --prompts FILE --budget USD",
        )
    value: dict[str, object] = {
        "name": prompts.stem,
        "task": {"kind": "jsonl", "path": str(prompts)},
        "teacher": {"model": teacher},
        "student": {"model": student or "bundled:base"},
    }
    if budget_usd is not None:
        value["budget"] = {"usd": budget_usd}
    path = Path("runs") / f"{prompts.stem}.yaml"
    header = (
        "# Written by the short form of `spiritsafe run`; `spiritsafe recipe show` lists every other key.\n"
    )
    write_atomic(path, header + yaml.safe_dump(value, sort_keys=False, allow_unicode=True))
    return path
