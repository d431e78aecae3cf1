"""`plan`: what a run will take, from a few answers that the run then keeps."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import replace
from itertools import cycle, islice
from pathlib import Path

from spiritsafe.costs.economics import Bound, Estimate, Measured, Span, at_most, estimate, request_bound
from spiritsafe.costs.prices import batch_price, price_of
from spiritsafe.errors import UsageError
from spiritsafe.pipeline import data, inquiry, judging, prompt_files
from spiritsafe.pipeline.run import start
from spiritsafe.pipeline.stage import Context, Runner
from spiritsafe.pipeline.stages import stages
from spiritsafe.recipe import Price, Recipe
from spiritsafe.records import Prompt, Request, TeacherId
from spiritsafe.rundir import RunDir
from spiritsafe.store.ledger import Ledger
from spiritsafe.talk import Talk
from spiritsafe.teachers.connect import connect, connect_batch, only_by_batch

SAMPLE = 16
"""Requests measured: enough for an interval, few enough to cost next to nothing."""
BATCH_S = 86_400.0
"""The longest that providers give a batch."""

FITS = {
    "surely": "enough even if every answer is as long as allowed",
    "likely": "enough at the high end of the interval",
    "perhaps": "enough in the middle of the interval, not at its high end",
    "no": "not enough: collection will stop at the budget and keep what it has",
    "unlimited": "no limit is set (budget.usd, budget.tokens)",
    "unknown": "a limit in dollars needs a price: set teacher.price, or budget.tokens",
}


def plan(recipe: Recipe, out: str | Path, *, talk: Talk | None = None) -> Estimate:
    """Tokens, money and time that the collection of a run will take.

    Sends the first few training prompts through the run's ledger under the run's budget: `run` finds
    them answered. Raises what `collect` raises.
    """
    if not recipe.teacher.is_asked:
        raise UsageError(
            "there is nothing to plan: teacher.model is none, so no money is spent", hint="spiritsafe run"
        )
    with RunDir(out).locked():
        context = start(recipe, out, talk)
        with context.server or contextlib.nullcontext():
            return _plan(context)


def _plan(context: Context) -> Estimate:
    recipe = context.recipe
    Runner(context).do(next(stage for stage in stages(recipe, context.run.path) if stage.name == "prompts"))
    train = prompt_files.asked_prompts(context)
    test = [prompt for slice_ in prompt_files.test_prompts(context).values() for prompt in slice_]
    measured = [] if only_by_batch(recipe.teacher.model) else _measure(context, train)
    teacher = _teacher_id(recipe)
    missing = max(0, recipe.task.expand_to - len(prompt_files.training_prompts(context)))
    expansions = data.expansions(context, teacher, missing) if missing else []
    train += islice(cycle(train), missing)  # new prompts are about as long as those they are modelled on
    count = len(train) * recipe.collect.samples_per_prompt + len(test) + len(expansions)
    if told := judging.forecast(recipe, len(train) * recipe.collect.samples_per_prompt, len(test)):
        context.talk.note(told)

    def at(price: Price | None) -> Estimate:
        bound = _bound(context, train, test, expansions, price)
        if not measured:
            return at_most(count, price, bound, recipe.budget)
        together = _concurrency(recipe)
        return estimate(count, measured, price, concurrency=together, bound=bound, budget=recipe.budget)

    live = price_of(recipe.teacher, teacher)
    if not inquiry.by_batch(recipe):
        return at(live)
    return replace(at(batch_price(live, teacher)), batch=True, live_usd=at(live).usd, seconds=BATCH_S)


def _teacher_id(recipe: Recipe) -> TeacherId:
    make = connect_batch if inquiry.by_batch(recipe) else connect
    return make(recipe.teacher.model, settings=recipe.teacher).teacher


def _concurrency(recipe: Recipe) -> int:
    """Requests at the same time of a teacher that is asked live."""
    sampler = connect(recipe.teacher.model, settings=recipe.teacher)
    return sampler.max_concurrency * sampler.batch_size


def describe(value: Estimate) -> str:
    """The estimate in a few lines for a person."""
    lines = [
        f"{value.requests:,} requests, {_from(value)}",
        f"tokens   {_span(value.tokens, ',.0f')}, at most {value.bound.tokens:,}",
        f"time     {'up to a day for each round of batches' if value.batch else f'{value.seconds:,.0f} s'}",
    ]
    if value.usd is None:
        lines.append("money    the teacher's price is unknown (teacher.price): budget.tokens is the limit")
    elif value.bound.usd == 0:
        lines.append("money    0 USD: this teacher's tokens cost nothing")
    else:
        lines.append(f"money    {_span(value.usd, ',.4f')} USD, at most {value.bound.usd:,.4f}")
    if value.live_usd and value.usd:
        lines.append(f"batch    the same requests live would take {value.live_usd.mid:,.4f} USD")
    return "\n".join([*lines, f"budget   {FITS[value.fits]}"])


def _from(value: Estimate) -> str:
    if value.measured:
        return f"from {value.measured} measured ones"
    return "none measured, because this teacher is asked by the batch alone: upper bounds"


def _span(span: Span, form: str) -> str:
    return f"{span.mid:{form}} (95 %: {span.low:{form}} to {span.high:{form}})"


def _measure(context: Context, prompts: Sequence[Prompt]) -> list[Measured]:
    """Ask a few prompts; their input tokens are scaled to the mean length of all, which is known."""
    asked = prompts[:SAMPLE]
    samples = inquiry.ask(context, asked, data.drawing(context.recipe), "plan")
    with Ledger(context.run.ledger, context.recipe.budget) as ledger:
        latencies = ledger.latencies("plan")
    scale = _mean_bytes(prompts) / _mean_bytes(asked)
    return [
        Measured(
            input_tokens=round(s.usage.input_tokens * scale),
            output_tokens=s.usage.output_tokens,
            latency_s=latencies[s.request_hash],
        )
        for s in samples
    ]


def _mean_bytes(prompts: Sequence[Prompt]) -> float:
    sizes = [sum(len(message["content"].encode()) for message in prompt.messages) for prompt in prompts]
    return max(1.0, sum(sizes) / len(sizes))


def _bound(
    context: Context,
    train: Sequence[Prompt],
    test: Sequence[Prompt],
    expansions: Sequence[Request],
    price: Price | None,
) -> Bound:
    """Every request at its most, one attempt each."""
    collect, evaluate = context.recipe.collect, context.recipe.evaluate
    total = Bound(tokens=0, usd=0.0)
    for prompt in train:
        for _ in range(collect.samples_per_prompt):
            total += request_bound(prompt.messages, collect.max_tokens, price)
    for prompt in test:
        total += request_bound(prompt.messages, evaluate.max_tokens, price)
    for request in expansions:
        total += request_bound(request.messages, request.sampling.max_tokens, price)
    return total
