"""The stages up to the training set: prompts, expansion, answers of the teacher, selection."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from spiritsafe.collect import expand
from spiritsafe.collect.batch import collect_batches
from spiritsafe.collect.generate import Progress, collect
from spiritsafe.collect.labels import targets
from spiritsafe.collect.select import Selection, select
from spiritsafe.costs.prices import batch_price, price_of
from spiritsafe.errors import InputError
from spiritsafe.evaluate.grade import answer_sampling
from spiritsafe.pipeline import kinds
from spiritsafe.pipeline.stage import Context
from spiritsafe.recipe import ModelAccess, Recipe
from spiritsafe.records import Prompt, Request, Sample, Sampling, TeacherId, canonical_json, teacher_key
from spiritsafe.rundir import file_sha256
from spiritsafe.store.ledger import Ledger, Totals
from spiritsafe.store.shards import MANIFEST, read_shards, write_shards
from spiritsafe.talk import Talk
from spiritsafe.tasks.base import load_task
from spiritsafe.teachers.api import ApiSampler
from spiritsafe.teachers.connect import connect, connect_batch, is_served, only_by_batch
from spiritsafe.teachers.folders import resolve_model
from spiritsafe.teachers.launch import LaunchedSampler
from spiritsafe.teachers.sampler import Sampler

MakeRequests = Callable[[TeacherId], Sequence[Request]]

TRAIN, TEST, EXPAND, PLAN, ASK = "train", "test", "expand", "plan", "ask"
"""Purposes in the ledger."""


def write_prompts(context: Context) -> Iterable[Path]:
    """Draw the splits of the task: prompts/{train,validation,test,<slice>}.jsonl."""
    splits = load_task(context.recipe.task, context.recipe.seed)
    kinds.check_references(context.recipe, splits)
    named = {"train": splits.train, "validation": splits.validation, "test": splits.test, **splits.slices}
    context.run.write_json("prompts/slices.json", sorted(splits.slices))
    for name, prompts in named.items():
        yield context.run.write_lines(f"prompts/{name}.jsonl", (p.to_json() for p in prompts))
    yield context.run.path / "prompts/slices.json"


def read_prompts(context: Context, name: str) -> list[Prompt]:
    """The prompts of one split."""
    return [Prompt.from_json(row) for row in context.run.read_lines(f"prompts/{name}.jsonl")]


def test_prompts(context: Context) -> dict[str, list[Prompt]]:
    """Evaluation prompts by slice; "test" is the standard one."""
    names = ["test", *context.run.read_json("prompts/slices.json")]
    return {name: read_prompts(context, name) for name in names}


def training_prompts(context: Context) -> list[Prompt]:
    """The prompts of the training set: the task's, and the expanded ones after them."""
    prompts = read_prompts(context, "train")
    if context.recipe.task.expand_to:  # an earlier recipe's expansion may still lie there
        prompts += read_prompts(context, "expanded")
    return prompts


def asked_prompts(context: Context) -> list[Prompt]:
    """The prompts put to the teacher: for training, and for the validation loss."""
    return training_prompts(context) + read_prompts(context, "validation")


def collect_answers(context: Context) -> Iterable[Path]:
    """Put the training and validation prompts to the teacher: samples/ shards, none without a teacher.

    Raises InputError where there is neither a teacher nor an imported answer.
    """
    sampling, n = drawing(context.recipe), context.recipe.collect.samples_per_prompt
    if not context.recipe.teacher.is_asked and not (context.run.path / "imported" / MANIFEST).exists():
        raise InputError(
            f"nothing to train on: teacher.model is none, and nothing is imported into {context.run.path}",
            hint=f"spiritsafe store import {context.run.path} LOGS --teacher openai:MODEL --date 2026-05",
        )
    samples = ask(context, asked_prompts(context), sampling, TRAIN, n)
    return write_shards(samples, context.run.file("samples", "manifest.json").parent)


def drawing(recipe: Recipe) -> Sampling:
    """How training answers are drawn."""
    return Sampling(
        temperature=recipe.collect.temperature,
        top_p=recipe.collect.top_p,
        max_tokens=recipe.collect.max_tokens,
        top_logprobs=recipe.collect.top_logprobs,
    )


def collect_test_answers(context: Context) -> Iterable[Path]:
    """The teacher's answers to the evaluation prompts: test_samples/ shards."""
    prompts = [prompt for slice_ in test_prompts(context).values() for prompt in slice_]
    settings = context.recipe.evaluate
    top = context.recipe.collect.top_logprobs if context.recipe.student.kind == "classifier" else 0
    sampling = replace(answer_sampling(settings), top_logprobs=top)
    if context.recipe.teacher.is_asked:
        samples = ask(context, prompts, sampling, TEST, settings.votes)
    else:
        samples = _imported_test_answers(context, prompts)
    return write_shards(samples, context.run.file("test_samples", "manifest.json").parent)


def _imported_test_answers(context: Context, prompts: Sequence[Prompt]) -> list[Sample]:
    """The first imported answer to each evaluation prompt, where a file of their own has all of them.

    Prompts held out of the logs themselves have the logged answer as reference: it would be right by
    construction, and so be no measure of the teacher.
    """
    if context.recipe.task.test_path is None:
        return []
    first: dict[str, Sample] = {}
    for sample in imported_samples(context, prompts):
        if sample.accepted is not False:
            first.setdefault(sample.prompt_id, sample)
    wanted = [prompt.prompt_id for prompt in prompts]
    return [first[name] for name in wanted] if first.keys() >= set(wanted) else []


def expand_prompts(context: Context) -> Iterable[Path]:
    """Ask the teacher for prompts like the task's: prompts/expanded.jsonl."""
    recipe = context.recipe
    seeds = read_prompts(context, "train")
    evaluation = [prompt for slice_ in test_prompts(context).values() for prompt in slice_]
    evaluation += read_prompts(context, "validation")
    missing = max(recipe.task.expand_to - len(seeds), 0)
    if not missing:
        yield context.run.write_lines("prompts/expanded.jsonl", [])
        return
    samples = with_teacher(context, EXPAND, lambda teacher: expansions(context, teacher, missing))
    prompts, counts = expand.parse_expansions(samples, seeds, evaluation)
    yield context.run.write_lines("prompts/expanded.jsonl", (p.to_json() for p in prompts[:missing]))
    yield context.run.write_json("prompts/expanded_counts.json", counts)


def expansions(context: Context, teacher: TeacherId, missing: int) -> list[Request]:
    """The requests that should bring `missing` more prompts."""
    recipe, seeds = context.recipe, read_prompts(context, "train")
    sampling = Sampling(temperature=1.0, max_tokens=recipe.collect.max_tokens)
    return expand.expansion_requests(seeds, missing, teacher_of(context, teacher), sampling, recipe.seed)


def select_samples(context: Context) -> Iterable[Path]:
    """Keep what is worth training on: selected/ shards and selected/counts.json."""
    selection = chosen(context, judged=True)
    with Ledger(context.run.ledger, context.recipe.budget) as ledger:
        ledger.judge((s.request_hash, bool(s.accepted), s.reject_reason) for s in selection.samples)
        tops = ledger.top_logprobs(TRAIN) if context.recipe.student.kind == "classifier" else {}
    context.talk.note(f"selected {len(selection.accepted):,} of {len(selection.samples):,}")
    yield from write_shards(selection.samples, context.run.file("selected", "manifest.json").parent)
    counts = selection.summary()
    if context.recipe.student.kind == "classifier":
        labels = context.recipe.task.verifier.labels
        found, counts["labels"] = targets(selection.samples, labels, tops)
        yield context.run.write_lines("selected/labels.jsonl", (target.to_json() for target in found))
    yield context.run.write_json("selected/counts.json", counts)


def chosen(context: Context, *, judged: bool) -> Selection:
    """What the recipe's selection keeps of the collected answers; `judged`: a judge's marks count, if any."""
    asked = asked_prompts(context)
    evaluation = [prompt for slice_ in test_prompts(context).values() for prompt in slice_]
    collected = read_shards(context.run.path / "samples")
    judge = context.recipe.judge
    lowest = judge.filter_below if judged and judge is not None else None
    marks = {row["request_hash"]: row["score"] for row in context.run.read_lines("judged/select.jsonl")}
    return select(
        [*collected, *imported_samples(context, asked)],
        asked,
        evaluation,
        context.recipe.select,
        context.recipe.task.verifier,
        progress=lambda done, total: context.talk.progress("select", done, total),
        marks=None if lowest is None else marks,
        lowest=lowest or 0.0,
        votes=context.recipe.student.kind == "classifier",
    )


def imported_samples(context: Context, asked: Sequence[Prompt]) -> list[Sample]:
    """Answers made elsewhere (`store import`); one to a prompt of the task takes that prompt's reference."""
    folder = context.run.path / "imported"
    if not (folder / MANIFEST).exists():
        return []
    known = {canonical_json(p.messages): p.prompt_id for p in asked}
    samples = read_shards(folder)
    return [replace(s, prompt_id=known.get(canonical_json(s.messages), s.prompt_id)) for s in samples]


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


def weights_of(folder: str) -> list[str]:
    """First 16 hex digits of each weight file's SHA-256; none for a repository's name."""
    return [file_sha256(path)[:16] for path in sorted(Path(folder).glob("*.safetensors"))]


def bytes_of(ref: str) -> int:
    """Size of a local model's weight files; 0 for one that is not in a folder here."""
    return sum(path.stat().st_size for path in Path(resolve_model(ref)).glob("*.safetensors"))


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
