"""`pilot`: what the next dollars buy, from students of an eighth, a quarter and a half of the answers.

They are arms of the same run: the same stages, in the same directory, on the same answers, which
`run` then finds collected and selected.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from spiritsafe.costs.curve import Measured
from spiritsafe.costs.forecast import Forecast, forecast
from spiritsafe.costs.prices import price_of
from spiritsafe.errors import InputError, UsageError
from spiritsafe.evaluate.grade import read_graded
from spiritsafe.pipeline import judging, part, prompt_files
from spiritsafe.pipeline.forecasts import write_forecast
from spiritsafe.pipeline.run import do, needed, start
from spiritsafe.pipeline.stage import Context, Stage
from spiritsafe.pipeline.stages import stages
from spiritsafe.pipeline.traces import training_samples
from spiritsafe.recipe import Arm, Recipe
from spiritsafe.records import Sample
from spiritsafe.report.page import render
from spiritsafe.rundir import RunDir
from spiritsafe.store.shards import read_shards
from spiritsafe.talk import Talk
from spiritsafe.tasks import verifiers
from spiritsafe.teachers.connect import teacher_id

PARTS = {"pilot-0to1": (0, 1), "pilot-1to2": (1, 2), "pilot-0to2": (0, 2), "pilot-0to4": (0, 4)}
"""The students of a pilot, by the eighths that they see. Two of the smallest, on different eighths, show how
much a score owes to chance."""
FEWEST = 80
"""Prompts: ten for each eighth."""


def pilot(recipe: Recipe, out: str | Path, *, usd: float = 20.0, talk: Talk | None = None) -> Forecast:
    """Train and measure the students of a pilot, and predict; writes pilot.json and the page.

    Raises UsageError for a recipe that no pilot can be made of, InputError for too few answers, and what
    `run` raises. What is done is kept: another amount of dollars trains nothing again.
    """
    _check(recipe, usd)
    with RunDir(out).locked():
        context = start(recipe, out, talk)
        context = replace(context, recipe=recipe.model_copy(update={"arms": arms_of(recipe)}))
        samples = _collected(context)
        wanted = _stages_of_students(context)
        do(context, [stage for stage in wanted if stage.student])
        seen = [measured(context, samples, name) for name in PARTS]
        found = forecast(seen, len(samples), usd_per_answer(context, samples), usd, recipe.seed)
        write_forecast(context, found)
        render(context.run)
        return found


def arms_of(recipe: Recipe, seeds: int = 1) -> dict[str, Arm]:
    """The recipe's student on each part."""
    student = recipe.arms["student"]
    return {
        name: student.model_copy(update={"eighths": eighths, "seeds": seeds})
        for name, eighths in PARTS.items()
    }


def measured(context: Context, samples: Sequence[Sample], name: str, seed: int = 0) -> Measured:
    """What one student was trained on, and what it solves. Raises InputError where nothing is judged."""
    arm = context.recipe.arms[name]
    chosen = part.prompts_of(arm, (s.prompt_id for s in samples), context.recipe.seed + seed)
    graded = read_graded(context.run.path / "evaluation" / f"{name}-{seed}.jsonl")
    judged = [row for row in graded if row.slice == "test" and row.reason != verifiers.UNVERIFIED]
    if not judged:
        raise InputError("no test problem can be judged", hint="give the prompts of task.test_path answers")
    return Measured(
        answers=sum(s.prompt_id in chosen for s in samples),
        solved=sum(row.score for row in judged),
        problems=len(judged),
    )


def training_answers(context: Context) -> list[Sample]:
    """The selected answers to training prompts: what a student of the whole run is trained on."""
    held_out = {p.prompt_id for p in prompt_files.read_prompts(context, "validation")}
    return [s for s in training_samples(context) if s.prompt_id not in held_out]


def usd_per_answer(context: Context, samples: Sequence[Sample]) -> float | None:
    """Dollars per answer that is trained on, rejected ones included; None where nothing tells.

    An answer that nobody bills costs the time of the machine that made it.
    """
    made_here = sum(s.origin.channel != "import" for s in samples)
    if not made_here:
        return None
    held_out = {p.prompt_id for p in prompt_files.read_prompts(context, "validation")}
    asked = read_shards(context.run.path / "samples")
    paid = sum(s.cost_usd for s in asked if s.prompt_id not in held_out)
    if not paid:
        rows = context.run.read_lines("spans.jsonl")
        hours = sum(row["seconds"] for row in rows if row["name"] == "collect") / 3600
        paid = hours * context.recipe.evaluate.local_teacher_usd_per_hour
    return paid / made_here or None


def _check(recipe: Recipe, usd: float) -> None:
    """Refuse before any money is spent."""
    verifiers.build(recipe.task.verifier)
    judging.check(recipe)
    if not 0 < usd < float("inf"):
        raise UsageError(f"--usd must be a positive amount, got {usd:g}", hint="such as --usd 20")
    if recipe.task.verifier.kind == "none":
        raise UsageError(
            "a pilot needs a task.verifier: without one there is no score to predict",
            hint="choose a task.verifier.kind that can judge an answer, and give the prompts answers",
        )
    if recipe.arms["student"].data != "teacher":
        raise UsageError(
            f"a pilot is about the teacher's answers; arms.student.data is {recipe.arms['student'].data}",
            hint="set arms.student.data to teacher",
        )
    if not recipe.teacher.is_asked:  # imported answers cost what somebody has paid elsewhere
        return
    if price_of(recipe.teacher, teacher_id(recipe.teacher.model, recipe.teacher)) is None:
        raise UsageError(
            f"the price of {recipe.teacher.model} is unknown: nobody can say what {usd:g} USD buy",
            hint="set teacher.price.input_per_million and teacher.price.output_per_million",
        )


def _collected(context: Context) -> list[Sample]:
    """The answers at hand, collected and selected if they are not yet."""
    before = [s for s in _stages_of_students(context) if not s.student]
    do(context, [stage for stage in before if stage.name == "prompts"])
    train = len(prompt_files.read_prompts(context, "train"))
    _require(max(train, context.recipe.task.expand_to), "training prompts")
    do(context, [stage for stage in before if stage.name != "prompts"])
    samples = training_answers(context)
    _require(len({s.prompt_id for s in samples}), "prompts with an answer that passed the selection")
    return samples


def _stages_of_students(context: Context) -> list[Stage]:
    """What the students of the pilot need, in order; not the teacher's answers to the test."""
    known = {stage.name: stage for stage in stages(context.recipe, context.run.path)}
    wanted = set[str]().union(*(needed(known[f"evaluate-{name}-0"], known) for name in PARTS))
    return [stage for name, stage in known.items() if name in wanted]


def _require(n: int, what: str) -> None:
    if n < FEWEST:
        raise InputError(
            f"{n} {what} are too few to be cut in eight: a pilot needs {FEWEST}",
            hint="give more prompts (task.train_prompts); selected/counts.json says what was dropped",
        )
