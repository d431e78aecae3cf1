"""The short form of `run`: four arguments become a recipe that the user can read, keep and edit."""

from __future__ import annotations

import contextlib
import copy
from pathlib import Path
from typing import Any

import yaml

from spiritsafe import recipe_file
from spiritsafe.errors import InputError, UsageError
from spiritsafe.pipeline import draft
from spiritsafe.rundir import write_atomic

HEADER = "# Written by the short form of `spiritsafe run`; `spiritsafe recipe show` lists every other key.\n"


def write_recipe(
    *,
    teacher: str | None,
    student: str | None,
    prompts: Path | None,
    budget_usd: float | None,
    recipe: str | None,
) -> Path:
    """Write the recipe that the short form means, beside the prompts' run; returns its path.

    Raises UsageError when a recipe is named too, when teacher or prompts are missing, and when the file
    there belongs to other prompts; RecipeError for values that no recipe may have.
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
    path = Path("runs") / f"{prompts.stem}.yaml"
    value: dict[str, Any] = {
        "name": prompts.stem,
        "task": {"kind": "jsonl", "path": str(prompts)},
        "teacher": {"model": teacher},
        "student": {"model": student or "bundled:base"},
    }
    if budget_usd is not None:
        value["budget"] = {"usd": budget_usd}
    found = yaml.safe_load(path.read_text(encoding="utf-8")) if path.exists() else {}
    if found and found.get("task", {}).get("path") != str(prompts):
        raise UsageError(
            f"{path} is the recipe of another prompt file", hint="rename one of the files, or edit the recipe"
        )
    if not found:
        value = _with_settings(value)
    # What the user has edited since stays.
    merged = {
        **found,
        **{k: {**found.get(k, {}), **v} if isinstance(v, dict) else v for k, v in value.items()},
    }
    recipe_file.parse(copy.deepcopy(merged))
    if merged != found:
        write_atomic(path, HEADER + yaml.safe_dump(merged, sort_keys=False, allow_unicode=True))
    return path


def _with_settings(value: dict[str, Any]) -> dict[str, Any]:
    """A first recipe knows how its answers are judged, and how a student of real size is trained."""
    with contextlib.suppress(InputError):  # the run itself says what is wrong with the file
        answers = draft.guess_kind(value["task"]["path"])
        value = {
            **value,
            "task": {**value["task"], "verifier": draft.verifier(answers, value["task"]["path"])},
        }
    if not value["student"]["model"].startswith("bundled:"):
        value = {**value, "collect": {"max_tokens": 1024}, "train": draft.REAL_TRAIN}
        value["evaluate"] = {"max_tokens": 1024}
    return value
