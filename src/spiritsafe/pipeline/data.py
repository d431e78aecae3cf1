"""The stages up to the training set: expansion, answers of the teacher, selection."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from spiritsafe.collect import expand
from spiritsafe.collect.labels import targets
from spiritsafe.collect.select import Selection, select
from spiritsafe.errors import InputError
from spiritsafe.evaluate.grade import answer_sampling
from spiritsafe.pipeline import inquiry, prompt_files
from spiritsafe.pipeline.stage import Context
from spiritsafe.recipe import Recipe
from spiritsafe.records import Prompt, Request, Sample, Sampling, TeacherId, canonical_json
from spiritsafe.store.ledger import Ledger
from spiritsafe.store.shards import MANIFEST, read_shards, write_shards


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
    samples = inquiry.ask(context, prompt_files.asked_prompts(context), sampling, inquiry.TRAIN, n)
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
    prompts = [prompt for slice_ in prompt_files.test_prompts(context).values() for prompt in slice_]
    settings = context.recipe.evaluate
    top = context.recipe.collect.top_logprobs if context.recipe.student.kind == "classifier" else 0
    sampling = replace(answer_sampling(settings), top_logprobs=top)
    if context.recipe.teacher.is_asked:
        samples = inquiry.ask(context, prompts, sampling, inquiry.TEST, settings.votes)
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
    seeds = prompt_files.read_prompts(context, "train")
    evaluation = [prompt for slice_ in prompt_files.test_prompts(context).values() for prompt in slice_]
    evaluation += prompt_files.read_prompts(context, "validation")
    missing = max(recipe.task.expand_to - len(seeds), 0)
    if not missing:
        yield context.run.write_lines("prompts/expanded.jsonl", [])
        return
    samples = inquiry.with_teacher(
        context, inquiry.EXPAND, lambda teacher: expansions(context, teacher, missing)
    )
    prompts, counts = expand.parse_expansions(samples, seeds, evaluation)
    yield context.run.write_lines("prompts/expanded.jsonl", (p.to_json() for p in prompts[:missing]))
    yield context.run.write_json("prompts/expanded_counts.json", counts)


def expansions(context: Context, teacher: TeacherId, missing: int) -> list[Request]:
    """The requests that should bring `missing` more prompts."""
    recipe, seeds = context.recipe, prompt_files.read_prompts(context, "train")
    sampling = Sampling(temperature=1.0, max_tokens=recipe.collect.max_tokens)
    return expand.expansion_requests(
        seeds, missing, inquiry.teacher_of(context, teacher), sampling, recipe.seed
    )


def select_samples(context: Context) -> Iterable[Path]:
    """Keep what is worth training on: selected/ shards and selected/counts.json."""
    selection = chosen(context, judged=True)
    with Ledger(context.run.ledger, context.recipe.budget) as ledger:
        ledger.judge((s.request_hash, bool(s.accepted), s.reject_reason) for s in selection.samples)
        tops = ledger.top_logprobs(inquiry.TRAIN) if context.recipe.student.kind == "classifier" else {}
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
    asked = prompt_files.asked_prompts(context)
    evaluation = [prompt for slice_ in prompt_files.test_prompts(context).values() for prompt in slice_]
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
