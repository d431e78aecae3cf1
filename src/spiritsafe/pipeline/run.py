"""The public `run`: stages that are not done yet, in order, beside a launched teacher where there is one."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from spiritsafe import environment
from spiritsafe.errors import UsageError
from spiritsafe.pipeline import judging, models, outcome, parallel
from spiritsafe.pipeline.stage import Context, Runner, Stage
from spiritsafe.pipeline.stages import stages
from spiritsafe.recipe import Recipe
from spiritsafe.rundir import RunDir
from spiritsafe.talk import Talk
from spiritsafe.tasks import verifiers
from spiritsafe.teachers.folders import bytes_of, check_trainable
from spiritsafe.teachers.launch import teacher_server
from spiritsafe.workers import workers_for

GROUPS = ("collect", "select", "train", "evaluate", "report")
"""The verbs, in the order in which the data passes."""


def run(
    recipe: Recipe, out: str | Path, *, until: str = "report", talk: Talk | None = None
) -> dict[str, Any]:
    """Do every stage up to the verb `until` that is not done yet; returns the result (empty before report).

    Raises BudgetReached, TeacherError, InputError and the other classes of errors.py; what was settled
    is kept, and the same call goes on from there.
    """
    if until not in GROUPS:
        raise UsageError(f"unknown stage: {until}", hint=f"one of {', '.join(GROUPS)}")
    verifiers.build(recipe.task.verifier)  # a bad pattern or schema stops here, before money is spent
    models.check(recipe)
    judging.check(recipe)
    if recipe.student.kind == "classifier":
        from spiritsafe.students.heads import check_classifier

        check_classifier(recipe.student.model)
    with RunDir(out).locked():
        return _run(start(recipe, out, talk), until)


def _run(context: Context, until: str) -> dict[str, Any]:
    wanted = [
        s for s in stages(context.recipe, context.run.path) if GROUPS.index(s.group) <= GROUPS.index(until)
    ]
    do(context, wanted)
    return outcome.finish(context) if until == "report" else {}


def do(context: Context, wanted: Sequence[Stage]) -> None:
    """Do stages that are not done yet, in order; what concerns one student each, side by side."""
    runner, server = Runner(context), context.server
    workers = workers_for(bytes_of(context.recipe.student.model))
    early = teacher_first(wanted) if server else []
    with server or contextlib.nullcontext():
        for stage in early:
            runner.do(stage)
        for alike in _side_by_side([stage for stage in wanted if stage not in early]):
            if server and not alike[0].asks:
                server.stop()  # what follows needs the device
            parallel.do_together(runner, alike, workers=workers)


def teacher_first(wanted: Sequence[Stage]) -> list[Stage]:
    """What a launched teacher can be asked before any training, and the stages that this needs, in order.

    Its server is then started once. A stage that asks it about trained students stays behind.
    """
    known = {stage.name: stage for stage in wanted}
    early: set[str] = set()
    for stage in wanted:
        wants = needed(stage, known) if stage.asks else set()
        if not any(known[name].group == "train" for name in wants):
            early |= wants
    return [stage for stage in wanted if stage.name in early]


def needed(stage: Stage, known: Mapping[str, Stage]) -> set[str]:
    """The stage and everything that it reads from, directly or not."""
    return {stage.name}.union(*(needed(known[name], known) for name in stage.needs))


def _side_by_side(wanted: Sequence[Stage]) -> list[list[Stage]]:
    """The stages in order, neighbours that only differ in the student together."""
    together: list[list[Stage]] = []
    for stage in wanted:
        if stage.student and together and together[-1][0].student and together[-1][0].group == stage.group:
            together[-1].append(stage)
        else:
            together.append([stage])
    return together


def start(recipe: Recipe, out: str | Path, talk: Talk | None = None) -> Context:
    """Open the run directory and write down what is about to be run, and on what."""
    for ref in (recipe.student.model, *(arm.shrink.model for arm in recipe.arms.values() if arm.shrink)):
        check_trainable(ref)
    run_dir, talk = RunDir(out), talk or Talk(quiet=True)
    server = teacher_server(recipe.teacher, run_dir.path / "logs" / "teacher-server.log", talk)
    context = Context(recipe=recipe, run=run_dir, talk=talk, server=server)
    context.run.write_json("recipe.json", recipe.to_json())
    context.run.write_json("environment.json", {**environment.describe(), "seed": recipe.seed})
    return context
