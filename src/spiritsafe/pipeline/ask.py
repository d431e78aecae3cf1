"""One question put to the models of a run: the trained student, its teacher, any other row of the table."""

from __future__ import annotations

import contextlib
from pathlib import Path

from spiritsafe.errors import TeacherError, UsageError
from spiritsafe.pipeline import classifiers, inquiry, measuring, models
from spiritsafe.pipeline.stage import Context
from spiritsafe.recipe import Recipe
from spiritsafe.records import Prompt, Reply, Request, Sampling
from spiritsafe.rundir import RunDir
from spiritsafe.store.ledger import Ledger
from spiritsafe.talk import Talk
from spiritsafe.tasks.jsonl import to_prompt
from spiritsafe.teachers.connect import only_by_batch
from spiritsafe.teachers.launch import teacher_server

BOTH = ("student", "teacher")
"""Questions to the teacher stand in the ledger: they count against the run's budget, and the same question
is paid once."""


def ask(
    recipe: Recipe, out: str | Path, question: str, who: str = "student", *, talk: Talk | None = None
) -> dict[str, Reply]:
    """Greedy answers by model name. The question is posed as a training prompt was, system message included.

    `who` is student, teacher, both, or an arm of the recipe. Raises UsageError for an unknown or untrained
    arm, BudgetReached where the question to the teacher does not fit, and what `collect` raises.
    """
    context = _context(recipe, RunDir(out), talk or Talk(quiet=True))
    names = BOTH if who == "both" else (who,)
    folders = {name: trained_folder(context, name) for name in names if name != "teacher"}
    if "teacher" in names:
        _check_teacher(recipe)
    prompt = to_prompt({"prompt": question}, recipe.task.system)
    return {
        name: _student(context, folders[name], prompt) if name in folders else _teacher(context, prompt)
        for name in names
    }


def _context(recipe: Recipe, run: RunDir, talk: Talk) -> Context:
    server = teacher_server(recipe.teacher, run.path / "logs" / "teacher-server.log", talk)
    return Context(recipe=recipe, run=run, talk=talk, server=server)


def _check_teacher(recipe: Recipe) -> None:
    if not recipe.teacher.is_asked:
        raise UsageError("there is no teacher to ask: teacher.model is none", hint="--who student")
    if only_by_batch(recipe.teacher.model):
        raise UsageError(
            f"{recipe.teacher.model} is asked by the batch alone, which takes up to a day",
            hint="--who student",
        )


def trained_folder(context: Context, name: str) -> str:
    """Where the model of an arm lies: a folder, or a repository for an untouched checkpoint of one.

    Raises UsageError for an arm that does not exist, was left out, or is not trained yet.
    """
    if name not in context.recipe.arms:
        allowed = ", ".join(["both", "teacher", *context.recipe.arms])
        raise UsageError(f"no such arm: {name!r}", hint=f"one of {allowed}")
    arm = context.recipe.arms[name]
    if models.is_left_out(context, name, arm, 0):
        raise UsageError(f"{name} was left out of this run: the task has nothing to train it on")
    folder = models.student_folder(context, name, arm, 0)
    if Path(folder).is_relative_to(context.run.path) and not (Path(folder) / "config.json").exists():
        raise UsageError(
            f"{name} is not trained yet in {context.run.path}", hint=f"spiritsafe train {context.run.path}"
        )
    return folder


def _sampling(context: Context) -> Sampling:
    return Sampling(max_tokens=context.recipe.evaluate.max_tokens)


def _student(context: Context, folder: str, prompt: Prompt) -> Reply:
    if context.recipe.student.kind == "classifier":
        return Reply(text=classifiers.ask(context, folder, prompt))
    request = Request(
        prompt_id=prompt.prompt_id, messages=prompt.messages, teacher="ask", sampling=_sampling(context)
    )
    thinking = context.recipe.evaluate.thinking_tokens
    return measuring.as_asked(context, folder).generate([request], thinking_tokens=thinking)[0]


def _teacher(context: Context, prompt: Prompt) -> Reply:
    """The teacher's answer, from the ledger where it was given before."""
    with context.run.locked(), context.server or contextlib.nullcontext():
        samples = inquiry.ask(context, [prompt], _sampling(context), inquiry.ASK)
        if not samples:
            with Ledger(context.run.ledger, context.recipe.budget) as ledger:
                reasons = ", ".join(ledger.totals(inquiry.ASK).reasons)
            raise TeacherError(f"the teacher did not answer: {reasons}", hint="ask again, or see its log")
    sample = samples[0]
    return Reply(
        text=sample.text,
        reasoning=sample.reasoning,
        finish_reason=sample.finish_reason,
        usage=sample.usage,
        model=sample.origin.teacher,
    )
