"""From a judge's verdicts to numbers: win rates with and without length, agreement with itself and labels."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit

from spiritsafe.stats import TAILS, Interval, mean_over_seeds, wilson

Matrix = NDArray[np.float64]

RESAMPLES = 1000
CHUNK = 100
"""Resamples fitted together."""
RIDGE = 0.01
"""Penalty of the fit: a normal prior of 10 logits, next to nothing unless lengths decide everything."""
STEPS = 40
LONGEST_STEP = 2.0
"""Logits per Newton step: without a limit it overshoots where lengths decide everything."""


def length_controlled(wins: ArrayLike, longer_by: ArrayLike, seed: int = 0) -> Interval | None:
    """The win rate that would be left if both answers were equally long.

    wins: scores in [0, 1], (N,) problems or (S, N) seeds and problems. longer_by: characters by which the
    answer is longer than its rival, same shape. Fits P(win) = expit(theta + phi * tanh(d / sd(d))) and gives
    expit(theta); 95 % interval by a bootstrap over problems. None where every answer is longer than its
    rival, or every one shorter: what would be at equal length is then not in the data.

    Source: length-controlled AlpacaEval, Dubois et al., arXiv 2404.04475, section 3, without the terms for
    the difficulty of single instructions, which need the verdicts on many models.
    """
    scores, lengths = np.atleast_2d(np.asarray(wins, float)), np.atleast_2d(np.asarray(longer_by, float))
    if lengths.min() > 0 or lengths.max() < 0:
        return None
    spread = float(lengths.std())
    x = np.tanh(lengths / spread) if spread > 0 else np.zeros_like(lengths)
    n = scores.shape[1]
    value = float(_at_equal_length(scores, x, np.ones((1, n)))[0])
    rates = np.concatenate([_at_equal_length(scores, x, weights) for weights in _resamples(n, seed)])
    low, high = (float(bound) for bound in np.quantile(rates, TAILS))
    return Interval(value=value, low=min(low, value), high=max(high, value), n=n)


def _resamples(n: int, seed: int) -> Iterator[Matrix]:
    """How often each problem was drawn: chunks of shape (CHUNK, n)."""
    rng = np.random.default_rng(seed)
    for _ in range(RESAMPLES // CHUNK):
        yield rng.multinomial(n, np.full(n, 1 / n), size=CHUNK).astype(np.float64)


def _at_equal_length(scores: Matrix, x: Matrix, weights: Matrix) -> Matrix:
    """expit(theta) of a weighted fit for each row of `weights` (R, N); scores and x are (S, N)."""
    y, x, w = scores.ravel(), x.ravel(), np.tile(weights, (1, len(scores)))
    theta, phi = np.zeros(len(w)), np.zeros(len(w))
    for _ in range(STEPS):
        p = expit(theta[:, None] + phi[:, None] * x)
        slope, curve = w * (y - p), w * p * (1 - p)
        g0, g1 = slope.sum(1) - RIDGE * theta, slope @ x - RIDGE * phi
        h00, h01, h11 = curve.sum(1) + RIDGE, curve @ x, curve @ (x * x) + RIDGE
        determinant = h00 * h11 - h01 * h01
        steps = np.stack([h11 * g0 - h01 * g1, h00 * g1 - h01 * g0]) / determinant
        steps *= np.minimum(1.0, LONGEST_STEP / np.maximum(np.abs(steps).max(0), 1e-12))
        theta, phi = theta + steps[0], phi + steps[1]
    rate: Matrix = expit(theta)
    return rate


def share(flags: Sequence[bool]) -> Interval | None:
    """Share of True with its Wilson interval; None of nothing."""
    return wilson(sum(flags), len(flags)) if flags else None


def agreement(preferences: Sequence[float], labels: Sequence[float], seed: int = 0) -> Interval | None:
    """How far a judge's preferences agree with labels on the same pairs; None without pairs.

    A preference is 1 for the first answer, 0 for the second, 0.5 for a tie, which agrees by half; a label is
    1 or 0. 0.5 is what a coin has.
    """
    agreed = [1 - abs(p - label) for p, label in zip(preferences, labels, strict=True)]
    return mean_over_seeds(agreed, seed) if agreed else None


def preferred(first: float, second: float) -> float:
    """Which of two marks is higher, as a preference."""
    return 0.5 if math.isclose(first, second) else float(first > second)
