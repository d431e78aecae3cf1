"""The doctor's part of the pipeline: a student's checkpoint and the rows it would be trained on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spiritsafe.pipeline import models
from spiritsafe.pipeline.run import start
from spiritsafe.recipe import Arm, Recipe
from spiritsafe.store.shards import MANIFEST
from spiritsafe.tasks.base import load_task

if TYPE_CHECKING:
    from spiritsafe.training.batches import Example
    from spiritsafe.training.doctor import Finding

SHOWN = 200
"""Task prompts looked at where no answer has been collected yet."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Examination:
    """What the doctor found; one row as (text, counts in the loss) pieces, the first there is."""

    findings: list[Finding]
    row: list[tuple[str, bool]]
    collected: bool
    """False: the rows are made of the task's own answers, for nothing has been selected yet."""


def examine(recipe: Recipe, out: str | Path) -> Examination:
    """Look at the student before it is trained; nothing is asked of the teacher.

    Raises InputError or TeacherError when the checkpoint cannot be used at all.
    """
    if recipe.student.kind == "classifier":
        return _classifier(recipe)
    from spiritsafe.students.load import load_student
    from spiritsafe.students.templates import end_of_turn, rows_of, turn
    from spiritsafe.training import doctor

    model, tokenizer = load_student(recipe.student, reasoning=recipe.train.reasoning != "drop")
    collected, examples = _examples(recipe, Path(out))
    turns = [turn(tokenizer, e.prompt, e.completion, e.reasoning) for e in examples]
    rows = rows_of(tokenizer, end_of_turn(model, tokenizer), turns)
    findings = doctor.examine(model, tokenizer, rows, recipe.train.max_length)
    row = doctor.pieces(tokenizer, rows[0]) if rows else []
    return Examination(findings=findings, row=row, collected=collected)


def _classifier(recipe: Recipe) -> Examination:
    """The same for a student that sorts texts: no template, and no token counts in the loss."""
    from spiritsafe.students.heads import encode_text, load_classifier, text_of
    from spiritsafe.training import doctor

    model, tokenizer = load_classifier(recipe.student.model, recipe.task.verifier.labels)
    prompts = load_task(recipe.task, recipe.seed).train[:SHOWN]
    rows = encode_text(tokenizer, [text_of(prompt.messages) for prompt in prompts])
    findings = doctor.examine_classifier(model, tokenizer, rows, recipe.train.max_length)
    row = [(tokenizer.decode([token]), False) for token in rows[0]] if rows else []
    return Examination(findings=findings, row=row, collected=False)


def _examples(recipe: Recipe, out: Path) -> tuple[bool, list[Any]]:
    """(True, examples of the selected answers), or (False, examples of the task's own)."""
    if (out / "selected" / MANIFEST).exists():
        train, _ = models.examples_of(start(recipe, out), Arm(data="teacher"), 0)
        if train:
            return True, train
    return False, _from_task(recipe)


def _from_task(recipe: Recipe) -> list[Example]:
    from spiritsafe.training.batches import Example

    prompts = load_task(recipe.task, recipe.seed).train[:SHOWN]
    return [Example(prompt=p.messages, completion=p.solution or p.answer or "(an answer)") for p in prompts]
