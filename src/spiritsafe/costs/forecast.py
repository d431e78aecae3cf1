"""What the next dollars buy: the score with all answers at hand, with more, and whether more pays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from spiritsafe.costs.curve import Curves, Measured, Range, fit, interval
from spiritsafe.errors import UsageError
from spiritsafe.records import Record

FARTHEST = 8
"""Times the answers at hand: farther than that, half of them say nothing."""
LEAST_GAIN = 0.01
"""A smaller gain is not worth the next dollars."""
LEAST_SCORE = 0.1
"""With fewer problems solved by the best student learning has not begun; no curve can tell when it will."""
POINTS = 24

Verdict = Literal["go on", "stop here", "too early"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Point(Record):
    """A predicted score: what one more training would measure on the test problems."""

    answers: int
    usd: float | None
    """What so many answers cost in all; None where nobody knows."""
    score: Range


@dataclass(frozen=True, kw_only=True, slots=True)
class Forecast(Record):
    """What `pilot` has found."""

    usd: float
    """The next dollars."""
    usd_per_answer: float | None
    """Per answer that passes the selection."""
    problems: int
    measured: tuple[Measured, ...]
    now: Point
    """With all answers at hand."""
    next: Point
    """With what the next dollars buy as well."""
    capped: bool
    """They buy more than FARTHEST times the answers at hand (or cost nothing); `next` stops there."""
    gain: Range
    """Of the average training, from `now` to `next`."""
    verdict: Verdict
    reason: str
    curve: tuple[Point, ...]
    """From the smallest size measured to the largest predicted."""

    def to_json(self) -> dict[str, Any]:
        return {**Record.to_json(self), "interval": 0.9, "least_gain": LEAST_GAIN}


def forecast(
    measured: Sequence[Measured], at_hand: int, usd_per_answer: float | None, usd: float, seed: int = 0
) -> Forecast:
    """Predict the score at `at_hand` answers and at what `usd` more dollars buy.

    `usd_per_answer` of 0 or None (unknown) takes the answers as far as the curve goes. Raises UsageError
    unless `usd` is positive, InputError for scores at fewer than two sizes.
    """
    if not 0 < usd < float("inf"):
        raise UsageError(f"the next dollars must be a positive amount, got {usd}", hint="such as --usd 20")
    curves, problems = fit(measured, seed), max(m.problems for m in measured)
    bought = usd / usd_per_answer if usd_per_answer else float("inf")
    capped = at_hand + bought > FARTHEST * at_hand
    target = FARTHEST * at_hand if capped else max(at_hand + 1, round(at_hand + bought))
    gain = interval(curves.expected(target) - curves.expected(at_hand))
    best = max(m.solved / m.problems for m in measured)
    verdict, reason = _judged(gain, best, usd)
    sizes = np.unique(np.geomspace(curves.sizes[0], target, POINTS).round().astype(int))
    now, following, *line = (
        _point(curves, int(answers), usd_per_answer, problems) for answers in (at_hand, target, *sizes)
    )
    return Forecast(
        usd=usd,
        usd_per_answer=usd_per_answer,
        problems=problems,
        measured=tuple(measured),
        now=now,
        next=following,
        capped=capped,
        gain=gain,
        verdict=verdict,
        reason=reason,
        curve=tuple(line),
    )


def _point(curves: Curves, answers: int, usd_per_answer: float | None, problems: int) -> Point:
    cost = None if usd_per_answer is None else answers * usd_per_answer
    return Point(answers=answers, usd=cost, score=interval(curves.measured(answers, problems)))


def _judged(gain: Range, best: float, usd: float) -> tuple[Verdict, str]:
    told = f"{100 * gain.value:+.1f} points (90 % interval {100 * gain.low:+.1f} to {100 * gain.high:+.1f})"
    if best < LEAST_SCORE:
        return "too early", (
            f"the best student of the pilot solves {100 * best:.1f} %: learning has hardly begun, and a rise "
            "that comes later cannot be foreseen"
        )
    if gain.value < LEAST_GAIN:
        return "stop here", f"{usd:g} USD more buy {told}, less than the {100 * LEAST_GAIN:g} that would pay"
    if gain.low <= 0:
        return "stop here", f"{usd:g} USD more buy {told}, which may be nothing"
    return "go on", f"{usd:g} USD more buy {told}"
