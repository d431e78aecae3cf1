"""The result of a run: one pure function from judged answers, speeds and costs to result.json."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spiritsafe.collect.verdicts import UNPARSED
from spiritsafe.evaluate.grade import Graded
from spiritsafe.recipe import Recipe
from spiritsafe.stats import Gap, gap_closed, mean_over_seeds, paired_difference
from spiritsafe.tasks.verifiers import UNVERIFIED

SCHEMA = 1
TEST = "test"
MAX_VALUES = 12  # a tag with more values than this is an identifier, not a slice

NO_MEASURES: Mapping[str, Mapping[str, Any]] = {}

Scores = NDArray[np.float64]
Place = tuple[str, str]  # slice and prompt_id of a problem


@dataclass(frozen=True, kw_only=True, slots=True)
class Costs:
    """What the run and the models cost, in US dollars; None is unknown."""

    spent_usd: float = 0.0
    per_1k: Mapping[str, float | None] = field(default_factory=dict)
    """Cost of 1,000 requests by model name."""
    break_even_requests: float | None = None
    """Requests after which the student has paid back what the run cost; None: never, or unknown."""


def assemble(
    *,
    run: str,
    seconds: float,
    recipe: Recipe,
    graded: Mapping[str, Sequence[Sequence[Graded]]],
    sizes: Mapping[str, Mapping[str, int]],
    speeds: Mapping[str, Mapping[str, Any]],
    costs: Costs,
    counts: Mapping[str, Any],
    measures: Mapping[str, Mapping[str, Any]] = NO_MEASURES,
    untouched: Collection[str] = (),
    verdict: str = "not checked",
    judge: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The result as JSON values.

    graded: for every model name (teacher, student, baseline, untrained, further arms) one list of judged
    answers per seed, all on the same problems. sizes: {"parameters", "bytes"}; speeds: `Speed.to_json()`
    (tokens/s and bytes); a model without either has null there. counts: what the report shows of the
    collection, taken over as it is. measures: what is told of a model beside its score. untouched: arms
    that had nothing to train on. judge: what is known of the judge, taken over too.

    Raises ValueError when models were judged on different problems, or a number is not finite.
    """
    tables = {name: _Table.of(rows) for name, rows in graded.items()}
    _check_same_problems(tables)
    models = {
        name: _model(name, tables, recipe, sizes.get(name), speeds.get(name), costs.per_1k.get(name))
        | ({"measures": dict(measures[name])} if measures.get(name) else {})
        | ({"data": "none"} if name in untouched else {})
        for name in tables
    }
    gap = _gap(tables, recipe.seed)
    value = {
        "schema": SCHEMA,
        "run": run,
        "seconds": round(seconds, 1),
        "models": models,
        "gap_closed": gap.interval.to_json() if gap.interval else None,
        **({} if gap.interval else {"gap_reason": gap.reason}),
        "speedup": {f"batch_{batch}": _speedup(speeds, f"decode_{batch}") for batch in (1, 64)},
        "size_ratio": _ratio(_size(sizes, "student"), _size(sizes, "teacher")),
        "cost": {
            "spent_usd": costs.spent_usd,
            "per_1k_teacher": costs.per_1k.get("teacher"),
            "per_1k_student": costs.per_1k.get("student"),
            "break_even_requests": costs.break_even_requests,
        },
        "terms": {"verdict": verdict},
        **({"judge": dict(judge)} if judge else {}),
        "counts": dict(counts),
        "recipe": recipe.to_json(),
    }
    _check_finite(value, "result")
    return value


@dataclass(frozen=True, slots=True)
class _Table:
    """Judged answers of one model: scores (S seeds, N problems) in [0, 1], 1 is right."""

    places: list[Place]
    tags: list[Mapping[str, str]]
    scores: Scores

    @classmethod
    def of(cls, seeds: Sequence[Sequence[Graded]]) -> _Table:
        # Where nothing could be verified there is no score, rather than a score of 0.
        kept = [[row for row in rows if row.reason not in (UNVERIFIED, UNPARSED)] for rows in seeds]
        places = [[(row.slice, row.prompt_id) for row in rows] for rows in kept]
        if any(other != places[0] for other in places[1:]):
            raise ValueError("the seeds of an arm were judged on different problems")
        scores = np.array([[row.score for row in rows] for rows in kept])
        return cls(places[0], [row.tags for row in kept[0]], scores.reshape(len(kept), len(places[0])))

    def of_slice(self, name: str) -> Scores:
        return self.scores[:, [place[0] == name for place in self.places]]

    def of_tag(self, tag: str, value: str) -> Scores:
        chosen = [
            place[0] == TEST and tags.get(tag) == value
            for place, tags in zip(self.places, self.tags, strict=True)
        ]
        return self.scores[:, chosen]


def _check_same_problems(tables: Mapping[str, _Table]) -> None:
    first = next(iter(tables.values()), None)
    for name, table in tables.items():
        if first is not None and table.places != first.places:
            raise ValueError(f"{name} was judged on other problems than the rest")


def _model(
    name: str,
    tables: Mapping[str, _Table],
    recipe: Recipe,
    size: Mapping[str, int] | None,
    speed: Mapping[str, Any] | None,
    cost: float | None,
) -> dict[str, Any]:
    table, seed, arm = tables[name], recipe.seed, recipe.arms.get(name)
    return {
        "task_score": _mean(table.of_slice(TEST), seed),
        "slices": _slices(table, seed),
        "parameters": size["parameters"] if size else None,
        "bytes": size["bytes"] if size else None,
        "tokens_per_second": speed["decode_1"] if speed else None,
        "speed": dict(speed) if speed else None,
        "cost_per_1k_usd": cost,
        "data": arm.data if arm else None,
        "seeds": len(table.scores),
        "difference": _difference(name, tables, seed),
    }


def _slices(table: _Table, seed: int) -> dict[str, Any]:
    """Scores of the further slices, and of the standard test by the values of its tags."""
    names = list(dict.fromkeys(place[0] for place in table.places if place[0] != TEST))
    slices = {name: _mean(table.of_slice(name), seed) for name in names}
    for tag, values in _tag_values(table).items():
        slices |= {f"{tag} {value}": _mean(table.of_tag(tag, value), seed) for value in values}
    return slices


def _tag_values(table: _Table) -> dict[str, list[str]]:
    found: dict[str, set[str]] = {}
    for place, tags in zip(table.places, table.tags, strict=True):
        if place[0] == TEST:
            for tag, value in tags.items():
                found.setdefault(tag, set()).add(value)
    return {tag: sorted(values) for tag, values in found.items() if 1 < len(values) <= MAX_VALUES}


def _mean(scores: Scores, seed: int) -> dict[str, Any] | None:
    return mean_over_seeds(scores, seed).to_json() if scores.size else None


def _difference(name: str, tables: Mapping[str, _Table], seed: int) -> dict[str, Any] | None:
    """Score minus the teacher's, on the same problems of the standard test."""
    if name == "teacher" or "teacher" not in tables:
        return None
    own, teacher = tables[name].of_slice(TEST), tables["teacher"].of_slice(TEST)
    return paired_difference(own, teacher, seed).to_json() if own.size else None


def _gap(tables: Mapping[str, _Table], seed: int) -> Gap:
    needed = ("student", "baseline", "teacher")
    missing = [name for name in needed if name not in tables]
    if missing:
        return Gap(interval=None, reason=f"not evaluated: {', '.join(missing)}")
    student, baseline, teacher = (tables[name].of_slice(TEST) for name in needed)
    if not student.size:
        return Gap(interval=None, reason="no test problem has a reference answer to compare with")
    return gap_closed(student, baseline, teacher, seed)


def _speedup(speeds: Mapping[str, Mapping[str, Any]], key: str) -> float | None:
    return _ratio(*(speeds.get(name, {}).get(key) for name in ("student", "teacher")))


def _size(sizes: Mapping[str, Mapping[str, int]], name: str) -> int | None:
    return sizes[name]["parameters"] if name in sizes else None


def _ratio(above: float | None, below: float | None) -> float | None:
    return above / below if above is not None and below else None


def _check_finite(value: object, where: str) -> None:
    """Every number in JSON must be one: raises ValueError that names the place of a NaN or infinity."""
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{where} is {value}")
    if isinstance(value, Mapping):
        for key, inner in value.items():
            _check_finite(inner, f"{where}.{key}")
    elif isinstance(value, list | tuple):
        for index, inner in enumerate(value):
            _check_finite(inner, f"{where}[{index}]")
