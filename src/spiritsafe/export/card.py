"""The model card of an exported student: its numbers, whose words it learned, and how to ask it.

Everything comes from files of the run directory. What was not measured is said to be so.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from spiritsafe import __version__
from spiritsafe.recipe import Recipe
from spiritsafe.records import Sample
from spiritsafe.report import table
from spiritsafe.rundir import RunDir, file_sha256
from spiritsafe.store.shards import MANIFEST, read_shards

NOT_MEASURED = "Not evaluated with this recipe: `spiritsafe run` measures it.\n"


def write_card(run: RunDir, recipe: Recipe, arm: str, name: str) -> str:
    """The card as Markdown with the front matter that model hubs read."""
    environment = _read(run, "environment.json")
    sections = [
        f"---\n{_front(recipe)}---\n# {name}\n",
        f"A student of {_teacher(recipe)}, made by LLM distillation with Spirit Safe {__version__} on "
        f"{str(environment.get('date') or '')[:10] or 'an unknown date'}.\n",
        f"## How good it is\n\n{_numbers(run, arm, environment)}",
        f"## What it was trained on\n\n{_data(run, recipe, arm)}",
        f"## How to ask it\n\n{_asking(recipe)}",
        "## Terms\n\nNobody has checked by machine whether the teacher's terms and the licence of the base "
        "checkpoint allow this model to be used or passed on. Read both before you do.\n",
    ]
    return "\n".join(sections)


def _teacher(recipe: Recipe) -> str:
    teacher = recipe.teacher
    return teacher.is_model or teacher.model if teacher.is_asked else "answers that were there before"


def _read(run: RunDir, name: str) -> dict[str, Any]:
    value: dict[str, Any] = run.read_json(name) if (run.path / name).exists() else {}
    return value


def _front(recipe: Recipe) -> str:
    lines = ["library_name: transformers", "tags: [distillation, spiritsafe]"]
    if recipe.student.model.startswith("hf:"):
        lines.append(f"base_model: {recipe.student.model.removeprefix('hf:')}")
    return "".join(f"{line}\n" for line in lines)


def _numbers(run: RunDir, arm: str, environment: table.Json) -> str:
    """The rows of the result; a result of another recipe says nothing about this model."""
    result = _read(run, "result.json")
    if result.get("recipe") != _read(run, "recipe.json") or arm not in (result.get("models") or {}):
        return NOT_MEASURED
    wanted = ("teacher", arm, "baseline", "untrained")
    shown = {**result, "models": {n: m for n, m in result["models"].items() if n in wanted}}
    return f"{table.markdown(shown, environment)}\n{_gap(result, arm)}"


def _gap(result: table.Json, arm: str) -> str:
    if arm != "student":
        return ""
    gap = result.get("gap_closed")
    if not gap:
        return f"Gap closed: not known ({result.get('gap_reason')}).\n"
    return (
        f"Gap closed {gap['value']:.2f} (95 % interval {gap['low']:.2f} to {gap['high']:.2f}, "
        f"n = {gap['n']:,}): (student - baseline) / (teacher - baseline).\n"
    )


def _data(run: RunDir, recipe: Recipe, arm: str) -> str:
    digest = f"- recipe: SHA-256 `{file_sha256(run.path / 'recipe.json')}`\n"
    kind = recipe.arms[arm].data
    if kind != "teacher":
        return f"- trained on {table.DATA[kind]}\n{digest}"
    manifest = run.path / "selected" / MANIFEST
    if not manifest.exists():
        return digest
    samples = read_shards(manifest.parent)
    kept = [sample for sample in samples if sample.accepted]
    return (
        f"{len(kept):,} answers, kept of {len(samples):,}:\n\n{_origins(kept)}\n"
        f"{digest}- answers: SHA-256 of their manifest `{file_sha256(manifest)}`\n"
    )


def _origins(samples: Iterable[Sample]) -> str:
    """Whose answers they are, how they came, and when they were given."""
    dates: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    for sample in samples:
        dates[sample.origin.teacher, sample.origin.channel].append(sample.origin.date)
    rows = [
        f"| {_cell(teacher)} | {channel} | {min(of)} to {max(of)} | {len(of):,} |"
        for (teacher, channel), of in sorted(dates.items())
    ]
    return "\n".join(["| who answered | how | dates | answers |", "|---|---|---|---:|", *rows]) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ").replace("<", "&lt;")


def _asking(recipe: Recipe) -> str:
    if recipe.task.system is None:
        return "With the chat template in this folder and no system message, as in training.\n"
    fenced = "\n".join(f"    {line}" for line in recipe.task.system.splitlines())
    return f"With the chat template in this folder and the system message of the training:\n\n{fenced}\n"
