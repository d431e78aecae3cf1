"""The end of a run: result.json, the table and the page, from the files of the run directory."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping
from typing import Any

from spiritsafe.costs.economics import (
    break_even_requests,
    cost_per_1k,
    cost_per_1k_local,
    requests_per_second,
)
from spiritsafe.costs.prices import price_of
from spiritsafe.evaluate.grade import Graded, read_graded
from spiritsafe.evaluate.result import Costs, assemble
from spiritsafe.pipeline import judging, kinds
from spiritsafe.pipeline.forecasts import current_forecast
from spiritsafe.pipeline.models import is_untouched, labels, model_names
from spiritsafe.pipeline.stage import Context
from spiritsafe.records import Usage
from spiritsafe.report.page import render
from spiritsafe.store.ledger import Ledger
from spiritsafe.store.shards import read_shards
from spiritsafe.teachers.connect import teacher_id


def finish(context: Context) -> dict[str, Any]:
    """Write result.json and report.html; returns the result."""
    recipe, speed = context.recipe, context.run.read_json("evaluation/speed.json")
    result = assemble(
        run=str(context.run.path),
        seconds=wall_s(context.run.read_lines("spans.jsonl")),
        recipe=recipe,
        graded=_graded(context),
        sizes=speed["sizes"],
        speeds=speed["speeds"],
        costs=_costs(context, speed["speeds"]),
        counts=_counts(context),
        judge=judging.figures(context),
        measures=judging.summary_measures(context)
        or {name: kinds.read_measures(context, found) for name, found in labels(context).items()},
        untouched={n for n, arm, seed in model_names(recipe.arms) if is_untouched(context, n, arm, seed)},
    )
    if (forecast := current_forecast(context)) is not None:
        result["pilot"] = forecast
    context.run.write_json("result.json", result)
    render(context.run)
    return result


def wall_s(spans: Iterable[Mapping[str, Any]]) -> float:
    """Seconds in which at least one stage was at work: stages side by side count once."""
    total = end = 0.0
    for start, stop in sorted((s["started_at"], s["started_at"] + s["seconds"]) for s in spans):
        total += max(0.0, stop - max(start, end))
        end = max(end, stop)
    return total


def _graded(context: Context) -> dict[str, list[list[Graded]]]:
    """Judged answers by model, one list per seed, all in one order of problems."""
    folder = context.run.path / ("judged" if judging.scores_test(context.recipe) else "evaluation")
    return {
        name: [_ordered(read_graded(folder / f"{label}.jsonl")) for label in found]
        for name, found in labels(context).items()
    }


def _ordered(rows: list[Graded]) -> list[Graded]:
    return sorted(rows, key=lambda row: (row.slice, row.prompt_id))


def _costs(context: Context, speeds: Mapping[str, Mapping[str, Any]]) -> Costs:
    settings = context.recipe.evaluate
    samples = read_shards(context.run.path / "test_samples")
    # A server that does not count leaves the cost of its answers unknown; 0 would be a lie.
    usages = [s.usage for s in samples if s.usage.input_tokens + s.usage.output_tokens]
    per_1k = {
        name: _own_machine(usages, speed, settings.student_usd_per_hour) for name, speed in speeds.items()
    }
    if "teacher" in speeds:
        per_1k["teacher"] = _own_machine(usages, speeds["teacher"], settings.local_teacher_usd_per_hour)
    elif context.recipe.teacher.is_asked:
        teacher = teacher_id(context.recipe.teacher.model, context.recipe.teacher)
        per_1k["teacher"] = cost_per_1k(usages, price_of(context.recipe.teacher, teacher))
    with Ledger(context.run.ledger, context.recipe.budget) as ledger:
        spent = ledger.totals().spent_usd
    fixed = spent + _training_s(context) / 3600 * settings.student_usd_per_hour
    even = break_even_requests(fixed, per_1k.get("teacher"), per_1k.get("student"))
    return Costs(spent_usd=spent, per_1k=per_1k, break_even_requests=even.requests)


def _training_s(context: Context) -> float:
    """Seconds that the student's training took, over all its sessions; 0 for one that was only cut out."""
    name = "students/student-0/training.json"
    if not (context.run.path / name).exists():
        return 0.0
    return float(context.run.read_json(name)["seconds"])


def _own_machine(usages: list[Usage], speed: Mapping[str, Any], usd_per_hour: float) -> float | None:
    """Dollars per 1,000 test requests at batch 64, with answers as long as the teacher's."""
    if speed.get("examples_64") is not None:
        return cost_per_1k_local(speed["examples_64"], usd_per_hour)
    if not usages:
        return None
    rate = requests_per_second(
        statistics.fmean(u.input_tokens for u in usages),
        statistics.fmean(u.output_tokens for u in usages),
        speed["prefill_64"],
        speed["decode_64"],
    )
    return cost_per_1k_local(rate, usd_per_hour)


def _counts(context: Context) -> dict[str, Any]:
    with Ledger(context.run.ledger, context.recipe.budget) as ledger:
        totals = ledger.totals()
    counts = dict(context.run.read_json("selected/counts.json"))
    return {**counts, "ledger": totals.to_json()}
