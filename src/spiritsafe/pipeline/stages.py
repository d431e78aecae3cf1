"""The stages of a run: what each reads, and on which keys of the recipe its result depends."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

from spiritsafe.errors import InputError
from spiritsafe.evaluate.grade import answer_sampling
from spiritsafe.pipeline import classifiers, data, inquiry, judging, measuring, models, prompt_files, traces
from spiritsafe.pipeline.stage import Stage
from spiritsafe.recipe import Judge, ModelAccess, Recipe
from spiritsafe.rundir import file_sha256
from spiritsafe.store.shards import MANIFEST
from spiritsafe.tasks import verifiers
from spiritsafe.teachers.connect import is_served
from spiritsafe.teachers.folders import resolve_model, weights_of


def stages(recipe: Recipe, out: Path) -> list[Stage]:
    """The stages of a run in the order in which they are done."""
    return [*_data_stages(recipe, out), *_student_stages(recipe), *_measuring_stages(recipe, out)]


def _data_stages(recipe: Recipe, out: Path) -> Iterable[Stage]:
    task, teacher = recipe.task, _teacher_inputs(recipe)
    drawn = task.model_dump(exclude={"verifier", "expand_to"})
    yield Stage(
        name="prompts",
        group="collect",
        inputs={
            "task": {**drawn, "gradable": verifiers.may_need_reference(task.verifier)},
            "files": _task_files(recipe),
            "seed": recipe.seed,
        },
        needs=(),
        action=prompt_files.write_prompts,
    )
    asked: tuple[str, ...] = ("prompts",)
    if task.expand_to:  # how many prompts the file has is not known yet
        asked = ("prompts", "expand")
        inputs = {"teacher": teacher, "expand_to": task.expand_to, "max_tokens": recipe.collect.max_tokens}
        yield Stage(
            name="expand",
            group="collect",
            inputs=inputs,
            needs=("prompts",),
            action=data.expand_prompts,
            asks=True,
        )
    drawing = recipe.collect.model_dump(exclude={"max_attempts", "summary_words", "mode"})
    yield Stage(
        name="collect",
        group="collect",
        inputs={"teacher": teacher, "collect": drawing},
        needs=asked,
        action=data.collect_answers,
        complete=partial(inquiry.is_complete, purpose=inquiry.TRAIN),
        asks=True,
    )
    choosing: dict[str, Any] = {
        "select": recipe.select.model_dump(),
        "verifier": task.verifier.model_dump(),
        "imported": _digest(out / "imported" / MANIFEST),
        **_kind_inputs(recipe),
    }
    judged: tuple[str, ...] = ()
    if recipe.judge is not None and judging.filters(recipe):
        judged = ("judge-select",)
        yield Stage(
            name="judge-select",
            group="select",
            inputs={**choosing, "judge": _judge_inputs(recipe.judge, test=False)},
            needs=("collect",),
            action=judging.judge_training,
            complete=judging.complete_training,
        )
        choosing["filter_below"] = recipe.judge.filter_below
    yield Stage(
        name="select",
        group="select",
        inputs=choosing,
        needs=("collect", *judged),
        action=data.select_samples,
    )
    if recipe.train.reasoning == "summary":
        yield Stage(
            name="summaries",
            group="select",
            inputs={"teacher": teacher, "words": recipe.collect.summary_words},
            needs=("select",),
            action=traces.summarise,
            complete=partial(inquiry.is_complete, purpose=traces.SUMMARY),
            asks=True,
        )


def _kind_inputs(recipe: Recipe) -> dict[str, Any]:
    """What results of students that are not chat depend on further: fresh heads are drawn with the seed."""
    return {} if recipe.student.kind == "chat" else {"kind": recipe.student.kind, "seed": recipe.seed}


def _of_kind(recipe: Recipe, others: Any) -> Any:
    """The module that trains or measures this kind of student; `others` does so for all but classifiers."""
    return classifiers if recipe.student.kind == "classifier" else others


def _student_stages(recipe: Recipe) -> Iterable[Stage]:
    chosen = ("select", "summaries") if recipe.train.reasoning == "summary" else ("select",)
    student = {**recipe.student.model_dump(), **_model_inputs(recipe.student.model)}
    verifier = recipe.task.verifier.model_dump()
    for name, arm, seed in models.model_names(recipe.arms):
        if arm.data == "none" and arm.shrink is None:
            continue
        yield Stage(
            name=f"train-{name}-{seed}",
            group="train",
            inputs={
                "arm": arm.model_dump(exclude={"seeds"}),
                "student": student,
                "train": recipe.train.model_dump(exclude={"checkpoint_steps"}),
                "teacher": _teacher_inputs(recipe) if arm.divergence or arm.shrink else None,
                "verifier": verifier
                if arm.data == "answers" or recipe.student.kind == "classifier"
                else None,
                "seed": recipe.seed + seed,
            },
            # Bare and worked answers come with the prompts; only teacher answers pass the selection.
            needs=chosen if arm.data == "teacher" else ("prompts",),
            action=partial(_of_kind(recipe, models).train_arm, name=name, arm=arm, seed=seed),
            student=True,
        )


def _measuring_stages(recipe: Recipe, out: Path) -> Iterable[Stage]:
    drawn = {**answer_sampling(recipe.evaluate).to_json(), "votes": recipe.evaluate.votes}
    answered = {**drawn, "thinking_tokens": recipe.evaluate.thinking_tokens}
    untouched = {
        **_model_inputs(recipe.student.model),
        "chat_template": recipe.student.chat_template,
        "reasoning": recipe.train.reasoning != "drop",
    }
    verifier = recipe.task.verifier.model_dump()
    yield Stage(
        name="collect-test",
        group="evaluate",
        inputs={
            "teacher": _teacher_inputs(recipe),
            "evaluate": drawn,
            **_brought(recipe, out),
            **({"top_logprobs": recipe.collect.top_logprobs} if _kind_inputs(recipe) else {}),
        },
        needs=("prompts",),
        action=data.collect_test_answers,
        complete=partial(inquiry.is_complete, purpose=inquiry.TEST),
        asks=True,
    )
    yield Stage(
        name="evaluate-teacher",
        group="evaluate",
        inputs={"verifier": verifier, **_kind_inputs(recipe)},
        needs=("collect-test",),
        action=_of_kind(recipe, measuring).grade_teacher,
    )
    trained, measured = [], ["evaluate-teacher"]
    for name, arm, seed in models.model_names(recipe.arms):
        needs = ["prompts"]
        if arm.data != "none" or arm.shrink is not None:
            needs.append(f"train-{name}-{seed}")
            trained.append(f"train-{name}-{seed}")
        inputs = {
            "verifier": verifier,
            "evaluate": answered,
            "student": untouched if len(needs) == 1 else None,
            **_kind_inputs(recipe),
        }
        yield Stage(
            name=f"evaluate-{name}-{seed}",
            group="evaluate",
            inputs=inputs,
            needs=tuple(needs),
            action=partial(_of_kind(recipe, measuring).answer_test, name=name, arm=arm, seed=seed),
            student=True,
        )
        measured.append(f"evaluate-{name}-{seed}")
    if recipe.judge is not None and judging.scores_test(recipe):
        yield Stage(
            name="judge-test",
            group="evaluate",
            inputs={
                **_judge_inputs(recipe.judge, test=True),
                "student": recipe.student.kind,
                "seed": recipe.seed,
            },
            needs=("prompts", *measured),
            action=judging.judge_test,
            complete=judging.complete_test,
        )
    speed = recipe.evaluate.model_dump(include={"speed", "speed_tokens"})
    yield Stage(
        name="speed",
        group="evaluate",
        inputs={
            "evaluate": speed,
            "teacher": _teacher_inputs(recipe),
            "arms": list(recipe.arms),
            **_kind_inputs(recipe),
        },
        needs=("prompts", *trained),
        action=_of_kind(recipe, measuring).time_models,
    )


def _teacher_inputs(recipe: Recipe) -> dict[str, Any]:
    return _access_inputs(recipe.teacher)


def _judge_inputs(judge: Judge, *, test: bool) -> dict[str, Any]:
    return {**_access_inputs(judge), **judging.inputs(judge, test=test)}


def _access_inputs(settings: ModelAccess) -> dict[str, Any]:
    return {"is": settings.is_model, "endpoint": settings.endpoint, **_model_inputs(settings.model)}


def _model_inputs(ref: str) -> dict[str, Any]:
    """What identifies a model's content: its reference, and the hash of its weights when they are here."""
    if is_served(ref) or ref == "none":
        return {"model": ref}
    return {"model": ref, "weights": weights_of(resolve_model(ref))}


def _brought(recipe: Recipe, out: Path) -> dict[str, Any]:
    """Imported answers stand for the teacher's where there is none to ask."""
    return {} if recipe.teacher.is_asked else {"imported": _digest(out / "imported" / MANIFEST)}


def _task_files(recipe: Recipe) -> dict[str, str]:
    files = {}
    for name in ("path", "test_path"):
        text = getattr(recipe.task, name)
        if text is not None:
            if not Path(text).is_file():
                raise InputError(f"no such file: {text} (task.{name})", hint="the path is read as written")
            files[name] = file_sha256(Path(text))
    return files


def _digest(path: Path) -> str | None:
    return file_sha256(path) if path.exists() else None
