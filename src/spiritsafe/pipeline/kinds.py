"""What students that are not chat have beside it: references that are checked, measures beside the score."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from spiritsafe.errors import InputError
from spiritsafe.evaluate import measures
from spiritsafe.evaluate.grade import Graded
from spiritsafe.pipeline.stage import Context
from spiritsafe.recipe import Recipe
from spiritsafe.records import Prompt
from spiritsafe.tasks.base import Splits
from spiritsafe.tasks.extract import label_in
from spiritsafe.tasks.verifiers import BAD_REFERENCE, build


def check_references(recipe: Recipe, splits: Splits) -> None:
    """Refuse, before money is spent, references that no answer could agree with.

    Raises InputError for a label outside the set, for a reference that is not JSON, and for an extractor
    without reference answers to be scored by.
    """
    kind, verifier = recipe.student.kind, recipe.task.verifier
    if kind == "extractor" and all(prompt.answer is None for prompt in splits.test):
        raise InputError(
            "an extractor is scored by its fields, and no test prompt has a reference answer",
            hint="give the test prompts answers in JSON, or set student.kind to chat: only the schema counts",
        )
    if kind == "chat":
        return
    judge = build(verifier)
    for prompt in [*splits.train, *splits.evaluation]:
        if prompt.answer is not None and judge(prompt, prompt.answer).reason == BAD_REFERENCE:
            raise InputError(_bad_reference(recipe, prompt), hint=_cure(recipe))


def _bad_reference(recipe: Recipe, prompt: Prompt) -> str:
    if recipe.student.kind == "extractor":
        return f"the reference of prompt {prompt.prompt_id} is not JSON"
    shown = (prompt.answer or "")[:60]
    return f"the reference of prompt {prompt.prompt_id} is not one of the labels: {shown!r}"


def _cure(recipe: Recipe) -> str:
    if recipe.student.kind == "extractor":
        return "write the reference as one JSON value"
    return f"correct it, or add it to task.verifier.labels: {', '.join(recipe.task.verifier.labels)}"


def label_of(recipe: Recipe, prompt: Prompt) -> str | None:
    """The reference label of a prompt, as the recipe writes it."""
    return None if prompt.answer is None else label_in(prompt.answer, recipe.task.verifier.labels)


def write_measures(
    context: Context,
    label: str,
    graded: Sequence[Graded],
    prompts: Sequence[Prompt],
    shares: measures.Shares,
) -> Iterable[Path]:
    """evaluation/<label>.json: what is told beside the score, on the standard test; nothing for students that
    answer in text.

    `shares` are a classifier's probabilities, where it has any.
    """
    recipe = context.recipe
    tested = [row for row in graded if row.slice == "test"]
    if recipe.student.kind == "classifier":
        found = measures.of_classifier(tested, prompts, recipe.task.verifier.labels, shares)
    elif recipe.student.kind == "extractor":
        found = measures.of_extractor(tested, prompts)
    else:
        return
    yield context.run.write_json(f"evaluation/{label}.json", found)


def read_measures(context: Context, labels: Sequence[str]) -> dict[str, Any]:
    """The measures of an arm, by the labels of its seeds; empty for students that answer in text."""
    if context.recipe.student.kind not in ("classifier", "extractor"):
        return {}
    return measures.mean([context.run.read_json(f"evaluation/{label}.json") for label in labels])
