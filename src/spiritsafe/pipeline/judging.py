"""The stages that ask a judge: for training answers before they are selected, for test answers at the end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from spiritsafe.collect.generate import check_price
from spiritsafe.collect.judge import Court, Pair
from spiritsafe.costs.prices import price_of
from spiritsafe.errors import UsageError
from spiritsafe.evaluate import judged, preference
from spiritsafe.evaluate.grade import Graded, read_graded
from spiritsafe.pipeline import data, inquiry, models, prompt_files
from spiritsafe.pipeline.stage import Context
from spiritsafe.recipe import Judge, Recipe
from spiritsafe.records import Prompt, Sample, TeacherId, content_hash
from spiritsafe.stats import Interval, mean_over_seeds
from spiritsafe.store.ledger import Ledger
from spiritsafe.teachers.connect import connect, teacher_id

SELECT, TEST, LABELS = "judge-select", "judge-test", "judge-labels"
"""Purposes in the ledger."""
SUMMARIES = "judged/summaries.json"
REPEATED = 100
"""So many answers are marked twice, to see whether the judge agrees with itself."""

T = TypeVar("T")


def filters(recipe: Recipe) -> bool:
    """True where a judge decides about training answers."""
    return recipe.judge is not None and recipe.judge.filter_below is not None


def scores_test(recipe: Recipe) -> bool:
    """True where a judge scores the test answers, because no verifier can."""
    return recipe.judge is not None and recipe.task.verifier.kind == "none"


def inputs(settings: Judge, *, test: bool) -> dict[str, Any]:
    """The keys of the section on which its verdicts depend, who judges aside."""
    keys = {"rubric", "scale", "max_tokens"} | ({"mode"} if test else set())
    return settings.model_dump(include=keys)


def check(recipe: Recipe) -> None:
    """Refuse a judge without address, key or price before anything is asked of anybody.

    Raises UsageError, or InputError for a model folder that is not there.
    """
    if recipe.judge is not None:
        judge = connect(recipe.judge.model, settings=recipe.judge).teacher
        _check_launched(recipe, judge)
        check_price(price_of(recipe.judge, judge), judge, recipe.budget, recipe.judge.section)


def _check_launched(recipe: Recipe, judge: TeacherId) -> None:
    """A server that this run starts for the teacher alone is gone when the judge is asked."""
    teacher = recipe.teacher
    if teacher.launch and teacher_id(teacher.model, teacher).host == judge.host:
        raise UsageError(
            f"the judge is at {judge.host}, the server that teacher.launch stops before anything is judged",
            hint="name another server in judge.model, or start this one yourself, without teacher.launch",
        )


def forecast(recipe: Recipe, training: int, test: int) -> str | None:
    """How many requests a judge may take for so many training answers and test prompts; None without one."""
    if recipe.judge is None:
        return None
    students = sum(arm.seeds for arm in recipe.arms.values())
    each = 2 * students if recipe.judge.mode == "pairwise" else students + 1
    wanted = {
        "training answers": filters(recipe) * (training + min(training, REPEATED)),
        "test answers": scores_test(recipe) * each * test,
    }
    told = " and ".join(f"{count:,} for {what}" for what, count in wanted.items() if count)
    return f"the judge comes on top, under the same budget: at most about {told}"


def judge_training(context: Context) -> Iterable[Path]:
    """Mark the answers that selection would keep: judged/select.jsonl, and what the marks are worth."""
    asked = {prompt.prompt_id: prompt for prompt in prompt_files.asked_prompts(context)}
    kept = sorted(data.chosen(context, judged=False).accepted, key=lambda sample: sample.request_hash)
    answers = [(asked.get(s.prompt_id) or _prompt_of(s), s.text) for s in kept]
    first, again = _with_judge(context, lambda court: court.mark(answers, SELECT, repeated=REPEATED))
    rows = [{"request_hash": s.request_hash, "score": score} for s, score in zip(kept, first, strict=True)]
    given = [score for score in first if score is not None]
    numbers = {
        "n": len(first),
        "unparsed": len(first) - len(given),
        "mean_score": sum(given) / len(given) if given else None,
        **judged.repeatability(first, again),
    }
    context.talk.note(f"judge: {len(given):,} of {len(first):,} training answers marked")
    yield context.run.write_lines("judged/select.jsonl", rows)
    yield context.run.write_json("judged/select.json", numbers)


def _prompt_of(sample: Sample) -> Prompt:
    """The prompt of an imported answer that is not among the task's."""
    return Prompt(prompt_id=sample.prompt_id, messages=sample.messages)


def judge_test(context: Context) -> Iterable[Path]:
    """Score every model's test answers: judged/<label>.jsonl and judged/test.json."""
    recipe, settings = context.recipe, _settings(context)
    prompts = {p.prompt_id: p for of_slice in prompt_files.test_prompts(context).values() for p in of_slice}
    names = models.labels(context)
    rows = {label: _answers(context, label) for labels in names.values() for label in labels}
    if judged.TEACHER not in rows and settings.mode == "pairwise":
        raise UsageError(
            "judge.mode pairwise compares with the teacher's answers, and this run has none",
            hint="set judge.mode to rubric",
        )
    work = _pairwise if settings.mode == "pairwise" else _by_rubric
    scores, numbers = work(context, rows, prompts)
    found = judged.scored(rows, scores)
    agreed = judged.reference_agreement(found, prompts, "student-0", recipe.seed)
    labelled = _label_agreement(context, prompts.values())
    numbers |= {
        "mode": settings.mode,
        "n": judged.problems(found),
        "left_out": judged.left_out(found),
        "agreement_references": agreed and agreed.to_json(),
        "agreement_labels": labelled and labelled.to_json(),
        "models": judged.length_figures(found, names, recipe.seed) if settings.mode == "pairwise" else {},
    }
    if recipe.student.kind == "summariser":
        measured = judged.summary_measures(rows, names, prompts, recipe.seed)
        yield context.run.write_json(SUMMARIES, measured)
    for label, answers in found.items():
        yield context.run.write_lines(f"judged/{label}.jsonl", (row.to_json() for row in answers))
    yield context.run.write_json("judged/test.json", numbers)


def complete_training(context: Context) -> bool:
    """False while a mark is missing that another run may bring."""
    return inquiry.is_complete(context, SELECT)


def complete_test(context: Context) -> bool:
    """The same for the test answers."""
    return inquiry.is_complete(context, TEST) and inquiry.is_complete(context, LABELS)


def figures(context: Context) -> dict[str, Any] | None:
    """What the result says of the judge; None where there is none."""
    recipe = context.recipe
    if recipe.judge is None:
        return None
    purposes = [SELECT] * filters(recipe) + [TEST, LABELS] * scores_test(recipe)
    with Ledger(context.run.ledger, recipe.budget) as ledger:
        totals = [ledger.totals(purpose) for purpose in purposes]
    return {
        "model": recipe.judge.is_model or recipe.judge.model,
        "requests": sum(t.settled for t in totals),
        "failed": sum(t.failed for t in totals),
        "spent_usd": sum(t.spent_usd for t in totals),
        "select": context.run.read_json("judged/select.json") if filters(recipe) else None,
        "test": context.run.read_json("judged/test.json") if scores_test(recipe) else None,
    }


def summary_measures(context: Context) -> dict[str, Any]:
    """What is told of summaries beside their score, by model; empty for other students."""
    if context.recipe.student.kind != "summariser":
        return {}
    found: dict[str, Any] = context.run.read_json(SUMMARIES)
    return found


def _answers(context: Context, label: str) -> list[Graded]:
    rows = read_graded(context.run.path / "evaluation" / f"{label}.jsonl")
    return sorted(rows, key=lambda row: (row.slice, row.prompt_id))


Rows = Mapping[str, Sequence[Graded]]
Scores = dict[judged.Key, float | None]


def _pairwise(context: Context, rows: Rows, prompts: Mapping[str, Prompt]) -> tuple[Scores, dict[str, Any]]:
    docket = judged.pairwise_docket(rows)
    pairs = judged.pairs(docket.asked, rows, prompts)
    found = _with_judge(context, lambda court: court.compare(pairs, TEST))
    scores: Scores = {**docket.known, **dict(zip(docket.asked, [p.score for p in found], strict=True))}
    agreed = judged.consistency(found)
    return scores, {
        "asked": len(found),
        "unparsed": sum(p.score is None for p in found),
        "inconsistent": sum(p.consistent is False for p in found),
        "self_agreement": agreed and agreed.to_json(),
    }


def _by_rubric(context: Context, rows: Rows, prompts: Mapping[str, Prompt]) -> tuple[Scores, dict[str, Any]]:
    docket, texts = judged.rubric_docket(rows), judged.texts_of(rows)
    keys = sorted(docket.asked, key=lambda key: content_hash("spiritsafe-repeat-1", key))
    answers = [(prompts[key[2]], texts[key]) for key in keys]
    first, again = _with_judge(context, lambda court: court.mark(answers, TEST, repeated=REPEATED))
    return {**docket.known, **dict(zip(keys, first, strict=True))}, {
        "asked": len(first),
        "unparsed": first.count(None),
        **judged.repeatability(first, again),
    }


def _label_agreement(context: Context, prompts: Iterable[Prompt]) -> Interval | None:
    """Agreement with people's preferences, where the test prompts carry them."""
    pairs = [Pair(prompt=p, answer=p.answer, rival=p.rejected) for p in prompts if p.answer and p.rejected]
    if not pairs:
        return None
    if _settings(context).mode == "pairwise":
        found = _with_judge(context, lambda court: court.compare(pairs, LABELS))
        told = [p.score for p in found if p.score is not None]
    else:
        texts = [(pair.prompt, text) for pair in pairs for text in (pair.answer, pair.rival)]
        marks, _ = _with_judge(context, lambda court: court.mark(texts, LABELS, repeated=0))
        both = zip(marks[::2], marks[1::2], strict=True)
        told = [preference.preferred(a, b) for a, b in both if a is not None and b is not None]
    return mean_over_seeds(told, context.recipe.seed) if told else None


def _settings(context: Context) -> Judge:
    assert context.recipe.judge is not None, "these stages exist only with a judge"
    return context.recipe.judge


def _with_judge(context: Context, work: Callable[[Court], Awaitable[T]]) -> T:
    async def session() -> T:
        recipe, settings = context.recipe, _settings(context)
        sampler = connect(settings.model, settings=settings)
        try:
            with Ledger(context.run.ledger, recipe.budget) as ledger:
                court = Court(
                    settings=settings,
                    sampler=sampler,
                    ledger=ledger,
                    judge_key=inquiry.answerer(settings, sampler.teacher),
                    price=price_of(settings, sampler.teacher),
                    max_attempts=recipe.collect.max_attempts,
                    progress=lambda p: inquiry.show(context, "judge", p),
                )
                return await work(court)
        finally:
            await sampler.close()

    return asyncio.run(session())
