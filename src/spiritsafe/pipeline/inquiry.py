"""The teacher's answers, through the ledger: live or by the batch; only what is missing is asked for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from spiritsafe.collect.batch import collect_batches
from spiritsafe.collect.generate import Progress, collect
from spiritsafe.costs.prices import batch_price, price_of
from spiritsafe.pipeline.stage import Context
from spiritsafe.recipe import ModelAccess, Recipe
from spiritsafe.records import Prompt, Request, Sample, Sampling, TeacherId, teacher_key
from spiritsafe.store.ledger import Ledger, Totals
from spiritsafe.talk import Talk
from spiritsafe.teachers.api import ApiSampler
from spiritsafe.teachers.connect import connect, connect_batch, is_served, only_by_batch
from spiritsafe.teachers.folders import resolve_model, weights_of
from spiritsafe.teachers.launch import LaunchedSampler
from spiritsafe.teachers.sampler import Sampler

MakeRequests = Callable[[TeacherId], Sequence[Request]]

TRAIN, TEST, EXPAND, PLAN, ASK = "train", "test", "expand", "plan", "ask"
"""Purposes in the ledger."""


def ask(
    context: Context, prompts: Sequence[Prompt], sampling: Sampling, purpose: str, samples_per_prompt: int = 1
) -> list[Sample]:
    """Every prompt's answers from the teacher, through the ledger; only missing ones are asked for."""
    if not context.recipe.teacher.is_asked:
        return []

    def requests(teacher: TeacherId) -> list[Request]:
        key = teacher_of(context, teacher)
        return [
            Request(prompt_id=p.prompt_id, messages=p.messages, teacher=key, sampling=sampling, index=index)
            for p in prompts
            for index in range(samples_per_prompt)
        ]

    return with_teacher(context, purpose, requests)


def teacher_of(context: Context, teacher: TeacherId) -> str:
    """Whose answers are wanted: `answerer` for the recipe's teacher."""
    return answerer(context.recipe.teacher, teacher)


def answerer(settings: ModelAccess, model: TeacherId) -> str:
    """Whose answers these are: the model's key, its endpoint, and the weights of a model in this process.

    A local folder can hold other weights tomorrow; its old answers are then another model's.
    """
    if model.channel != "local":
        wire = settings.endpoint
        return teacher_key(model) if wire == "chat" else f"{teacher_key(model)}#{wire}"
    return "#".join([teacher_key(model), *weights_of(resolve_model(settings.model))])


def connect_teacher(context: Context) -> Sampler:
    """The recipe's teacher; its server is started when it is opened, where this run launches it."""
    teacher = connect(context.recipe.teacher.model, settings=context.recipe.teacher)
    if context.server is not None and isinstance(teacher, ApiSampler):
        return LaunchedSampler(teacher, context.server)
    return teacher


def with_teacher(context: Context, purpose: str, make_requests: MakeRequests) -> list[Sample]:
    """Answers to requests that are made once the teacher's identity is known; only missing ones are asked."""
    return asyncio.run(_ask(context, purpose, make_requests))


def by_batch(recipe: Recipe) -> bool:
    """True when the teacher's answers are collected by the batch."""
    return recipe.collect.mode == "batch" or only_by_batch(recipe.teacher.model)


async def _ask(context: Context, purpose: str, make_requests: MakeRequests) -> list[Sample]:
    """By the batch, live, or live after the batches that were submitted before the mode was changed."""
    if purpose == ASK:  # somebody waits for the answer
        return await _ask_live(context, purpose, make_requests)
    batch = by_batch(context.recipe) and purpose != PLAN  # a small measured sample cannot wait for a day
    if batch or (is_served(context.recipe.teacher.model) and _has_batches(context)):
        samples = await _ask_batches(context, purpose, make_requests, submit=batch)
        if batch:
            return samples
    return await _ask_live(context, purpose, make_requests)


def _has_batches(context: Context) -> bool:
    with Ledger(context.run.ledger, context.recipe.budget) as ledger:
        return bool(ledger.batches.living())


async def _ask_batches(
    context: Context, purpose: str, make_requests: MakeRequests, *, submit: bool
) -> list[Sample]:
    recipe = context.recipe
    api = connect_batch(recipe.teacher.model, settings=recipe.teacher)
    try:
        requests = make_requests(api.teacher)
        with Ledger(context.run.ledger, recipe.budget) as ledger:
            totals = await collect_batches(
                requests,
                api,
                ledger,
                purpose=purpose,
                price=batch_price(price_of(recipe.teacher, api.teacher), api.teacher),
                max_attempts=recipe.collect.max_attempts,
                say=BatchTalk(context.talk, purpose),
                submit=submit,
            )
            _note_failures(context, purpose, totals)
            return list(ledger.samples(purpose))
    finally:
        await api.close()


async def _ask_live(context: Context, purpose: str, make_requests: MakeRequests) -> list[Sample]:
    recipe = context.recipe
    teacher = connect_teacher(context)
    try:
        requests = make_requests(teacher.teacher)
        with Ledger(context.run.ledger, recipe.budget) as ledger:
            totals = await collect(
                requests,
                teacher,
                ledger,
                purpose=purpose,
                price=price_of(recipe.teacher, teacher.teacher),
                max_attempts=recipe.collect.max_attempts,
                progress=lambda p: show(context, purpose, p),
            )
            _note_failures(context, purpose, totals)
            _note_hint(context, teacher)
            return list(ledger.samples(purpose))
    finally:
        await teacher.close()


def is_complete(context: Context, purpose: str) -> bool:
    """False while requests of a purpose have failed for a reason that another run may not meet."""
    with Ledger(context.run.ledger, context.recipe.budget) as ledger:
        return not ledger.todo(purpose)


def _note_failures(context: Context, purpose: str, totals: Totals) -> None:
    if totals.failed:
        why = ", ".join(f"{reason}: {count}" for reason, count in sorted(totals.reasons.items()))
        context.talk.note(f"collect {purpose}: {totals.failed:,} requests failed ({why})")


def _note_hint(context: Context, teacher: Sampler) -> None:
    """A served model may say what it is (vLLM's `root`): a hint, which the user has to confirm."""
    hint = getattr(teacher, "hinted_identity", None)
    if hint and context.recipe.teacher.is_model is None:
        context.talk.note(f"the server says it serves {hint}; if so, put `is: {hint}` under teacher")


@dataclass(frozen=True, slots=True)
class BatchTalk:
    """What a collection by the batch tells the user."""

    talk: Talk
    purpose: str

    def progress(self, done: int, total: int, detail: str) -> None:
        """See `Say`."""
        self.talk.progress(f"collect {self.purpose}", done, total, detail)

    def note(self, text: str) -> None:
        """See `Say`."""
        self.talk.note(f"collect {self.purpose}: {text}")


def show(context: Context, purpose: str, progress: Progress) -> None:
    """One progress line of a collection."""
    eta = "" if progress.eta_s is None else f", {progress.eta_s:.0f} s left"
    detail = f"{progress.rate:.0f}/s, {progress.charged_usd:.4f} USD{eta}"
    context.talk.progress(f"collect {purpose}", progress.done, progress.total, detail)
