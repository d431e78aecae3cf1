"""The stages that measure: judge the teacher's answers, let each student answer the test, time them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spiritsafe.pipeline import kinds, models, prompt_files
from spiritsafe.pipeline.stage import Context
from spiritsafe.recipe import Arm
from spiritsafe.records import canonical_json
from spiritsafe.store.shards import read_shards
from spiritsafe.teachers.connect import is_served
from spiritsafe.teachers.folders import resolve_model, weights_of

if TYPE_CHECKING:
    from spiritsafe.evaluate.measures import Shares
    from spiritsafe.evaluate.speed import Speed, Timed
    from spiritsafe.teachers.local import LocalModel


Measure = Callable[..., "dict[str, Speed]"]
"""`evaluate.speed.measure`, or what does the same for models of other kinds."""


def grade_teacher(context: Context, shares: Shares | None = None) -> Iterable[Path]:
    """Judge the teacher's test answers: evaluation/teacher.jsonl, which is missing where it gave none.

    `shares` are its probabilities of labels, where it sorts texts.
    """
    from spiritsafe.evaluate.grade import grade_replies, majority

    verifier = context.recipe.task.verifier
    drawn: dict[str, list[str]] = {}
    for sample in sorted(read_shards(context.run.path / "test_samples"), key=lambda s: s.index):
        drawn.setdefault(sample.prompt_id, []).append(sample.text)
    if not drawn and not context.recipe.teacher.is_asked:
        (context.run.path / "evaluation/teacher.jsonl").unlink(missing_ok=True)
        context.talk.note("no teacher is asked: its row is left out, and so is the share of the gap closed")
        return
    texts = {prompt_id: answers[majority(answers, verifier)] for prompt_id, answers in drawn.items()}
    slices = prompt_files.test_prompts(context)
    graded = grade_replies(slices, texts, verifier)
    yield context.run.write_lines("evaluation/teacher.jsonl", (row.to_json() for row in graded))
    yield from kinds.write_measures(context, "teacher", graded, slices["test"], shares or {})


def answer_test(context: Context, name: str, arm: Arm, seed: int) -> Iterable[Path]:
    """Let one student answer the test prompts: evaluation/<arm>-<seed>.jsonl."""
    from spiritsafe.evaluate.grade import answer

    label, folder = f"{name}-{seed}", models.student_folder(context, name, arm, seed)
    path = context.run.file("evaluation", f"{label}.jsonl")
    if models.is_left_out(context, name, arm, seed):
        return
    slices = prompt_files.test_prompts(context)
    graded = answer(
        as_asked(context, folder),
        slices,
        context.recipe.evaluate,
        context.recipe.task.verifier,
        path,
        key="/".join(weights_of(folder)) or folder,
        progress=lambda done, total: context.talk.progress(f"evaluate {label}", done, total),
    )
    yield path
    yield from kinds.write_measures(context, label, graded, slices["test"], {})


def as_asked(context: Context, folder: str) -> LocalModel:
    """A model as it is asked: the untouched checkpoint with the template that its students got."""
    from spiritsafe.students.templates import fit_template
    from spiritsafe.teachers.local import LocalModel

    local, recipe = LocalModel.load(folder), context.recipe
    if folder == resolve_model(recipe.student.model):
        reasoning = recipe.train.reasoning != "drop"
        fit_template(local.tokenizer, template=recipe.student.chat_template, reasoning=reasoning)
    return local


def local_teacher(context: Context) -> str | None:
    """The teacher's folder or repository when it runs in this process, else None."""
    teacher = context.recipe.teacher
    return resolve_model(teacher.model) if teacher.is_asked and not is_served(teacher.model) else None


def time_models(context: Context) -> Iterable[Path]:
    """Prefill and decode speed of all local models in one run: evaluation/speed.json."""
    from spiritsafe.evaluate.speed import measure

    students = {name: as_asked(context, folder) for name, folder in folders_of(context).items()}
    yield write_speeds(context, {**teacher_model(context), **students}, measure)


def folders_of(context: Context) -> dict[str, str]:
    """Folder or repository of the first student of every arm that is not left out."""
    arms = {
        name: arm
        for name, arm in context.recipe.arms.items()
        if not models.is_left_out(context, name, arm, 0)
    }
    return {name: models.student_folder(context, name, arm, 0) for name, arm in arms.items()}


def teacher_model(context: Context) -> dict[str, Timed]:
    """The teacher under its name, where it runs in this process."""
    from spiritsafe.teachers.local import LocalModel

    folder = local_teacher(context)
    return {} if folder is None else {"teacher": LocalModel.load(folder)}


def write_speeds(context: Context, loaded: Mapping[str, Timed], measure: Measure) -> Path:
    """Sizes of models, and what `measure` finds of their speed: evaluation/speed.json."""
    sizes = {name: {"parameters": m.parameters, "bytes": m.bytes} for name, m in loaded.items()}
    speeds: dict[str, Any] = {}
    if context.recipe.evaluate.speed:
        twins = _twins(sizes)
        measured = measure(
            {name: loaded[name] for name in dict.fromkeys(twins.values())},
            prompt_files.read_prompts(context, "test"),
            context.recipe.evaluate.speed_tokens,
            progress=lambda done, total: context.talk.progress("speed", done, total, "repeats"),
        )
        speeds = {name: measured[twin].to_json() for name, twin in twins.items()}
    return context.run.write_json("evaluation/speed.json", {"sizes": sizes, "speeds": speeds})


def _twins(sizes: Mapping[str, Mapping[str, int]]) -> dict[str, str]:
    """For each model the one that is timed for it: students of one shape have one speed."""
    first: dict[str, str] = {}
    return {
        name: first.setdefault(name if name == "teacher" else canonical_json(size), name)
        for name, size in sizes.items()
    }
