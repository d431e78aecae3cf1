"""The prompts of a run: drawn once, read by every later stage."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from spiritsafe.pipeline import kinds
from spiritsafe.pipeline.stage import Context
from spiritsafe.records import Prompt
from spiritsafe.tasks.base import load_task


def write_prompts(context: Context) -> Iterable[Path]:
    """Draw the splits of the task: prompts/{train,validation,test,<slice>}.jsonl."""
    splits = load_task(context.recipe.task, context.recipe.seed)
    kinds.check_references(context.recipe, splits)
    named = {"train": splits.train, "validation": splits.validation, "test": splits.test, **splits.slices}
    context.run.write_json("prompts/slices.json", sorted(splits.slices))
    for name, prompts in named.items():
        yield context.run.write_lines(f"prompts/{name}.jsonl", (p.to_json() for p in prompts))
    yield context.run.path / "prompts/slices.json"


def read_prompts(context: Context, name: str) -> list[Prompt]:
    """The prompts of one split."""
    return [Prompt.from_json(row) for row in context.run.read_lines(f"prompts/{name}.jsonl")]


def test_prompts(context: Context) -> dict[str, list[Prompt]]:
    """Evaluation prompts by slice; "test" is the standard one."""
    names = ["test", *context.run.read_json("prompts/slices.json")]
    return {name: read_prompts(context, name) for name in names}


def training_prompts(context: Context) -> list[Prompt]:
    """The prompts of the training set: the task's, and the expanded ones after them."""
    prompts = read_prompts(context, "train")
    if context.recipe.task.expand_to:  # an earlier recipe's expansion may still lie there
        prompts += read_prompts(context, "expanded")
    return prompts


def asked_prompts(context: Context) -> list[Prompt]:
    """The prompts put to the teacher: for training, and for the validation loss."""
    return training_prompts(context) + read_prompts(context, "validation")
