"""The stages that train: each arm's student, from what it may learn from."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spiritsafe.errors import SpiritSafeError, UsageError
from spiritsafe.pipeline import part, prompt_files
from spiritsafe.pipeline.stage import Context
from spiritsafe.pipeline.traces import training_samples
from spiritsafe.recipe import Arm, Recipe
from spiritsafe.records import Message
from spiritsafe.tasks import verifiers
from spiritsafe.teachers.connect import is_served
from spiritsafe.teachers.folders import resolve_model

if TYPE_CHECKING:
    from spiritsafe.evaluate.speed import Speed
    from spiritsafe.training.batches import Example


Measure = Callable[..., "dict[str, Speed]"]
"""`evaluate.speed.measure`, or what does the same for models of other kinds."""
LEFT_OUT = "left_out.json"
"""Stands in a student's folder instead of a model when there is nothing to train on: the row is left out."""
UNTOUCHED = "untouched.json"
"""The same for an arm of bare answers: its row is the checkpoint as it was."""


def model_names(recipe_arms: Mapping[str, Arm]) -> list[tuple[str, Arm, int]]:
    """(arm, its recipe, seed index) for every student of a run, in the order of the recipe."""
    return [(name, arm, seed) for name, arm in recipe_arms.items() for seed in range(arm.seeds)]


def check(recipe: Recipe) -> None:
    """Raise UsageError or MissingExtra for what cannot be trained here, before the teacher is asked."""
    if recipe.student.adapter == "qlora":
        from spiritsafe.students.adapters import quantization

        quantization(recipe.student)
    teacher = recipe.teacher
    for name, arm in recipe.arms.items():
        if arm.divergence is not None and (not teacher.is_asked or is_served(teacher.model)):
            raise UsageError(
                f"arms.{name}.divergence needs a local teacher, not {teacher.model}",
                hint="teacher.model: hf:REPO or a folder, or leave divergence out",
            )


def labels(context: Context) -> dict[str, list[str]]:
    """By model of the table, what the files of its test answers are named: one per seed."""
    answered = (context.run.path / "evaluation/teacher.jsonl").exists()
    found = {"teacher": ["teacher"]} if answered else {}
    for name, arm, seed in model_names(context.recipe.arms):
        if not is_left_out(context, name, arm, seed):
            found.setdefault(name, []).append(f"{name}-{seed}")
    return found


def student_folder(context: Context, name: str, arm: Arm, seed: int) -> str:
    """The folder or repository of a student: trained here, or the checkpoint itself."""
    if (arm.data == "none" and arm.shrink is None) or is_untouched(context, name, arm, seed):
        return resolve_model(context.recipe.student.model)
    return str(context.run.path / "students" / f"{name}-{seed}" / "model")


def train_arm(context: Context, name: str, arm: Arm, seed: int) -> Iterable[Path]:
    """Train one student: students/<arm>-<seed>/model."""
    from spiritsafe.teachers.local import LocalModel
    from spiritsafe.training.causal import train
    from spiritsafe.training.checkpoint import save_model

    recipe, label = context.recipe, f"{name}-{seed}"
    model, tokenizer = _initial(context, arm, recipe.seed + seed)
    folder = clear_marks(context, label)
    if arm.data == "none":
        save_model(model, tokenizer, folder / "model")
        return files_of(folder / "model")
    examples, validation = examples_of(context, arm, seed)
    if not examples:
        return [do_without(context, name, arm, seed)]
    teacher = LocalModel.load(resolve_model(recipe.teacher.model)) if arm.divergence else None
    report = train(
        model,
        tokenizer,
        examples,
        part.settings_of(arm, recipe.train),
        seed=recipe.seed + seed,
        directory=folder,
        validation=validation,
        divergence=arm.divergence,
        teacher=teacher,
        log=lambda **row: context.run.log(arm=name, seed=seed, **row),
        progress=lambda done, total: context.talk.progress(f"train {label}", done, total, "tokens"),
    )
    context.run.write_json(f"students/{label}/training.json", asdict(report))
    shutil.rmtree(folder / "checkpoint", ignore_errors=True)
    return [*files_of(folder / "model"), folder / "training.json"]


def clear_marks(context: Context, label: str) -> Path:
    """The folder of a student that is about to be trained, without what an earlier recipe noted there."""
    folder = context.run.file("students", label, "training.json").parent
    for mark in (LEFT_OUT, UNTOUCHED):
        (folder / mark).unlink(missing_ok=True)
    return folder


def is_left_out(context: Context, name: str, arm: Arm, seed: int) -> bool:
    """True for an arm that the task has nothing to train on."""
    return arm.data != "none" and (context.run.path / "students" / f"{name}-{seed}" / LEFT_OUT).exists()


def is_untouched(context: Context, name: str, arm: Arm, seed: int) -> bool:
    """True for an arm of bare answers where the task has none."""
    return arm.data == "answers" and (context.run.path / "students" / f"{name}-{seed}" / UNTOUCHED).exists()


def do_without(context: Context, name: str, arm: Arm, seed: int) -> Path:
    """Note that the task has no such ground truth: a row less, or an untrained baseline.

    Raises SpiritSafeError where the teacher's answers are missing.
    """
    if arm.data == "teacher":
        raise SpiritSafeError(
            f"nothing to train {name} on: no answer of the teacher passed the selection",
            hint=f"dropped were {_dropped(context)}; what the teacher is told stands in task.system",
        )
    if arm.data == "answers" and arm.shrink is None:
        context.talk.note(
            f"{name} is the untouched checkpoint: the training prompts have no reference answers"
        )
        why, mark = "no reference answers", UNTOUCHED
    else:
        why, mark = "no worked solutions" if arm.data == "gold" else "no reference answers", LEFT_OUT
        context.talk.note(f"{name} is left out: the training prompts have {why}")
    return context.run.write_json(f"students/{name}-{seed}/{mark}", {"reason": why})


def _dropped(context: Context) -> str:
    rejected = context.run.read_json("selected/counts.json")["rejected"]
    return ", ".join(f"{count:,} {reason}" for reason, count in rejected.items()) or "none"


def examples_of(context: Context, arm: Arm, seed: int) -> tuple[list[Example], list[Example]]:
    """Training and validation examples of an arm: teacher answers, bare answers or worked ground truth."""
    from spiritsafe.training.batches import Example

    validation_ids = {p.prompt_id for p in prompt_files.read_prompts(context, "validation")}
    train: list[Example] = []
    validation: list[Example] = []
    completions = _completions(context, arm.data)
    known = (row[0] for row in completions if row[0] not in validation_ids)
    chosen = part.prompts_of(arm, known, context.recipe.seed + seed)
    for prompt_id, messages, text, reasoning in completions:
        if prompt_id in chosen or prompt_id in validation_ids:
            target = train if prompt_id in chosen else validation
            target.append(Example(prompt=messages, completion=text, reasoning=reasoning))
    return train, validation


def _completions(context: Context, kind: str) -> list[tuple[str, tuple[Message, ...], str, str | None]]:
    """(prompt id, messages, answer, reasoning) of everything an arm may learn from."""
    if kind == "teacher":
        samples = training_samples(context)
        return [(s.prompt_id, s.messages, s.text, s.reasoning) for s in samples]
    prompts, verifier = prompt_files.asked_prompts(context), context.recipe.task.verifier
    if kind == "gold":
        return [(p.prompt_id, p.messages, p.solution, None) for p in prompts if p.solution is not None]
    known = [p for p in prompts if verifiers.has_bare_answer(p, verifier)]
    return [(p.prompt_id, p.messages, verifiers.bare_answer(p, verifier), None) for p in known]


def _initial(context: Context, arm: Arm, seed: int) -> tuple[Any, Any]:
    """The model that is trained, with its adapter if it has one, and its tokenizer."""
    from spiritsafe.students.adapters import adapt
    from spiritsafe.students.load import load_student
    from spiritsafe.students.shrink import shrink

    student, reasoning = context.recipe.student, context.recipe.train.reasoning != "drop"
    if arm.shrink is not None:
        student = student.model_copy(update={"model": arm.shrink.model})
        model, tokenizer = load_student(student, reasoning=reasoning)
        return shrink(model, arm.shrink.layers), tokenizer
    model, tokenizer = load_student(student, reasoning=reasoning, adapter=arm.data != "none")
    return adapt(model, student, seed), tokenizer


def files_of(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())
