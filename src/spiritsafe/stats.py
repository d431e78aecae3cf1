"""Intervals: Wilson for a score, paired bootstraps for differences and for the gap closed.

Scores are 1 (right) or 0 (wrong), or any finite number, in one of two shapes:
N problems, or (S seeds, N problems) for an arm trained S times. All intervals are 95 %.

Paired means: one resample of problems is applied to every arm. Problems and seeds are resampled
together (the pigeonhole bootstrap, Owen, Annals of Applied Statistics 1(2), 2007: slightly
conservative); of S seeds S - 1 are drawn, which makes the variance of their mean unbiased (Rao and Wu,
JASA 83, 1988). An arm of a single seed has no variance between seeds: its interval speaks of that
student, not of the method.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spiritsafe.records import Record

Matrix: TypeAlias = NDArray[np.float64]

RESAMPLES = 10_000
TAILS = (0.025, 0.975)
Z_95 = 1.959963984540054  # 0.975 quantile of the normal distribution
MIN_PROBLEMS = 10  # below this a bootstrap interval may have no width at all
CHUNK_CELLS = 500_000  # resamples times problems held at once: 4 MB, stays in the cache


@dataclass(frozen=True, kw_only=True, slots=True)
class Interval(Record):
    """An estimate with its 95 % interval."""

    value: float
    low: float
    high: float
    n: int
    """Problems it rests on."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Gap(Record):
    """Gap closed, or the reason why there is none."""

    interval: Interval | None
    reason: str | None = None


def wilson(successes: float, n: int) -> Interval:
    """Wilson score interval of a proportion (JASA 22, 1927).

    Raises ValueError unless 0 <= successes <= n and n > 0.
    """
    if n <= 0 or not 0 <= successes <= n:
        raise ValueError(f"wilson needs 0 <= successes <= n and n > 0, got {successes} of {n}")
    share, z2 = successes / n, Z_95**2
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = Z_95 / (1 + z2 / n) * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n))
    # Rounding must not push a bound past 0, 1 or the estimate.
    low, high = max(0.0, min(share, centre - half)), min(1.0, max(share, centre + half))
    return Interval(value=share, low=low, high=high, n=n)


def mean_over_seeds(scores: ArrayLike, seed: int = 0, resamples: int = RESAMPLES) -> Interval:
    """Mean score of an arm, shape (N,) or (S, N): Wilson for one student, bootstrap over several."""
    rows = _rows(scores)
    same = bool((rows == rows[0]).all())
    if same and np.isin(rows[0], (0.0, 1.0)).all():
        return wilson(float(rows[0].sum()), rows.shape[1])
    (means,) = _resampled_means([rows], seed, resamples)
    return _interval(float(rows.mean()), means, rows.shape[1])


def paired_difference(a: ArrayLike, b: ArrayLike, seed: int = 0, resamples: int = RESAMPLES) -> Interval:
    """mean(a) - mean(b) on the same N problems; each (N,) or (S, N). Raises ValueError on unequal N."""
    rows_a, rows_b = _rows_of_same_problems(a, b)
    means_a, means_b = _resampled_means([rows_a, rows_b], seed, resamples)
    return _interval(float(rows_a.mean() - rows_b.mean()), means_a - means_b, rows_a.shape[1])


def gap_closed(
    student: ArrayLike, baseline: ArrayLike, teacher: ArrayLike, seed: int = 0, resamples: int = RESAMPLES
) -> Gap:
    """(student - baseline) / (teacher - baseline) on the same N problems, each (N,) or (S, N).

    Percentile interval of the ratio. There is no gap to close, and the reason is given, when the
    interval of teacher - baseline includes 0 or lies below it, or with fewer than 10 problems.
    """
    arms = _rows_of_same_problems(student, baseline, teacher)
    n = arms[0].shape[1]
    if n < MIN_PROBLEMS:
        return Gap(interval=None, reason=f"only {n} test problems; at least {MIN_PROBLEMS} are needed")
    means = _resampled_means(arms, seed, resamples)
    gained, whole = means[0] - means[1], means[2] - means[1]
    observed = float(arms[2].mean() - arms[1].mean())
    low, high = _tails(whole)
    if low <= 0 or observed <= 0:
        return Gap(interval=None, reason=_no_gap(observed, low, high))
    # A resample without a gap has no ratio: it counts as unbounded, so it can only widen the interval.
    ratios = np.where(whole > 0, gained / np.where(whole > 0, whole, 1.0), np.copysign(np.inf, gained))
    value = float(arms[0].mean() - arms[1].mean()) / observed
    low, high = (float(bound) for bound in np.quantile(ratios, TAILS, method="inverted_cdf"))
    if not (math.isfinite(low) and math.isfinite(high)):
        return Gap(
            interval=None, reason="teacher - baseline is too uncertain for a ratio; use more test problems"
        )
    return Gap(interval=Interval(value=value, low=low, high=high, n=n))


def _no_gap(observed: float, low: float, high: float) -> str:
    shown = f"teacher - baseline is {observed:+.3f} (95 % interval {low:+.3f} to {high:+.3f})"
    if high < 0:
        return f"the teacher is worse than the baseline on this task: {shown}"
    return f"the teacher is not measurably better than the baseline on this task: {shown}, which includes 0"


def _rows(scores: ArrayLike) -> Matrix:
    """Scores as (S, N) with at least one of each, all finite."""
    rows = np.atleast_2d(np.asarray(scores, dtype=np.float64))
    if rows.ndim != 2 or rows.size == 0:
        raise ValueError(
            f"scores must be (problems,) or (seeds, problems) and not empty, got shape {rows.shape}"
        )
    if not np.isfinite(rows).all():
        raise ValueError("scores must be finite numbers")
    return rows


def _rows_of_same_problems(*arms: ArrayLike) -> list[Matrix]:
    rows = [_rows(arm) for arm in arms]
    counts = {row.shape[1] for row in rows}
    if len(counts) != 1:
        raise ValueError(f"paired scores need the same problems, got {', '.join(map(str, sorted(counts)))}")
    return rows


def _resampled_means(arms: Sequence[Matrix], seed: int, resamples: int) -> list[Matrix]:
    """Mean of each arm under the same resamples of problems: one array (resamples,) per arm."""
    rng = np.random.default_rng(seed)
    parts: list[list[Matrix]] = [[] for _ in arms]
    for weights in _problem_weights(rng, arms[0].shape[1], resamples):
        for rows, part in zip(arms, parts, strict=True):
            part.append(_mean_of_drawn_seeds(rng, rows @ weights))
    return [np.concatenate(part) for part in parts]


def _problem_weights(rng: np.random.Generator, n: int, resamples: int) -> Iterator[Matrix]:
    """How often each problem was drawn, as a share: chunks of shape (n, resamples in this chunk)."""
    size = max(1, CHUNK_CELLS // n)
    for start in range(0, resamples, size):
        count = min(size, resamples - start)
        drawn = rng.integers(0, n, size=(count, n))
        drawn += np.arange(count)[:, None] * n
        yield (np.bincount(drawn.ravel(), minlength=count * n).reshape(count, n) / n).T


def _mean_of_drawn_seeds(rng: np.random.Generator, means: Matrix) -> Matrix:
    """(S, R) means of each seed in each resample -> (R,) means over S - 1 drawn seeds."""
    seeds, resamples = means.shape
    if seeds == 1:
        return means.reshape(resamples)
    drawn = rng.integers(0, seeds, size=(seeds - 1, resamples))
    mean: Matrix = np.take_along_axis(means, drawn, axis=0).mean(axis=0)
    return mean


def _tails(values: Matrix) -> tuple[float, float]:
    low, high = np.quantile(values, TAILS)
    return float(low), float(high)


def _interval(value: float, resampled: Matrix, n: int) -> Interval:
    low, high = _tails(resampled)
    return Interval(value=value, low=min(low, value), high=max(high, value), n=n)
