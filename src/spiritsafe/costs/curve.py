"""The learning curve: from scores at a few sizes of the training data to the score at another size.

Three sizes do not tell a law, so none is chosen. Three families share the weight as far as they explain the
scores, with p the share of problems solved, n the answers trained on and c the score that no n exceeds:

    power      1 - p / c = a * n^-b             the error falls as a power (Hestness et al. 2017)
    logistic   p / c = 1 / (1 + a * n^-b)       a rise that is slow, steep and slow again
    exponent   1 - p / c = exp(-a * n^b)        one that ends more suddenly (Weibull)

Each is a straight line in log n after a transformation of p / c, its link.

Their parameters are weighted by importance sampling: flat in the two outer scores, c from a prior. What
varies between two trainings is noise on the logit of the score, with a prior that two trainings on equally
many answers sharpen. A prediction holds all of it: the curve, how far it may leave all families, another
training, and that a finite number of problems is solved or not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from spiritsafe.errors import InputError
from spiritsafe.records import Record

Vector: TypeAlias = NDArray[np.float64]
Link: TypeAlias = Callable[[Vector], Vector]

DRAWS, KEPT = 20_000, 2_000
TAILS = (0.05, 0.95)
LEAST = 1e-4
"""Scores are kept this far from 0 and from the ceiling."""
CEILING = (4.0, 1.0)
"""Beta prior of c: a fifth of the problems is out of reach on average, and anything is possible."""
NOISE = (0.1, 0.6)
"""Between two trainings, standard deviation of the logit: median and spread (of its logarithm) before any
score is seen. 0.1 is 0.9 points at a score of 90 %, 2.5 points at 50 %."""
DRIFT = 0.05
"""Logits by which the truth leaves the curve per doubling beyond the largest size (standard deviation)."""
FALLING = 0.1
"""Prior odds of a curve that falls with more data."""
LINKS: tuple[tuple[Link, Link], ...] = (
    (lambda share: -np.log1p(-share), lambda line: -np.expm1(-line)),
    (logit, expit),
    (lambda share: np.log(-np.log1p(-share)), lambda line: -np.expm1(-np.exp(np.minimum(line, 50.0)))),
)
"""power, logistic, exponent: from p / c to what is straight in log n, and back."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Measured(Record):
    """The score of one student."""

    answers: int
    """Trained on."""
    solved: float
    problems: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Range(Record):
    """A prediction: median and 90 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Curves:
    """Curves that explain the scores, each as likely as the other; all arrays have KEPT entries."""

    low: Vector
    """Logit of the score at the smallest size."""
    high: Vector
    """The same at the largest."""
    ceiling: Vector
    noise: Vector
    family: NDArray[np.int64]
    """Place in LINKS."""
    sizes: tuple[int, int]
    """The smallest and the largest size measured."""
    seed: int

    def expected(self, answers: float) -> Vector:
        """Score at a size, of the average training, on endless problems."""
        drift = np.random.default_rng([self.seed, 1]).normal(size=self.low.size)
        beyond = max(0.0, np.log2(answers / self.sizes[1]))
        return _moved(self._on_curve(answers), DRIFT * beyond * drift)

    def trained(self, answers: float, training: int = 0) -> Vector:
        """The same of one training: those of different numbers differ by chance."""
        chance = np.random.default_rng([self.seed, 2, training]).normal(size=self.low.size)
        return _moved(self.expected(answers), self.noise * chance)

    def measured(self, answers: float, problems: int, training: int = 0) -> Vector:
        """What one training will solve of so many problems."""
        rng = np.random.default_rng([self.seed, 3, training])
        return rng.binomial(problems, self.trained(answers, training)) / problems

    def _on_curve(self, answers: float) -> Vector:
        place = np.log2(answers / self.sizes[0]) / np.log2(self.sizes[1] / self.sizes[0])
        ends = [np.clip(expit(end) / self.ceiling, LEAST, 1 - LEAST) for end in (self.low, self.high)]
        score = np.empty_like(self.low)
        for index, (link, inverse) in enumerate(LINKS):
            low, high = (link(end) for end in ends)
            share = inverse(low + (high - low) * place)
            score = np.where(self.family == index, self.ceiling * share, score)
        return np.clip(score, LEAST, 1 - LEAST)


def fit(measured: Sequence[Measured], seed: int = 0) -> Curves:
    """Curves through scores at two sizes or more. Raises InputError for fewer."""
    sizes = (min(m.answers for m in measured), max(m.answers for m in measured))
    if sizes[0] <= 0 or sizes[0] == sizes[1]:
        raise InputError(f"a learning curve needs scores at two sizes, got {sizes}")
    rng = np.random.default_rng([seed, 0])
    ceiling = rng.beta(*CEILING, DRAWS)
    noise = NOISE[0] * np.exp(NOISE[1] * rng.normal(size=DRAWS))
    family = rng.integers(len(LINKS), size=DRAWS)
    (low, low_weight), (high, high_weight) = (_ends(rng, measured, size) for size in sizes)
    curves = Curves(low, high, ceiling, noise, family, sizes, seed)
    log_weight = low_weight + high_weight + _log_likelihood(curves, measured)
    log_weight += np.where(high < low, np.log(FALLING), 0.0)
    # A score above its ceiling belongs to no curve.
    log_weight[expit(np.maximum(low, high)) >= ceiling - LEAST] = -np.inf
    chosen = _resampled(rng, log_weight)
    low, high, ceiling, noise = (array[chosen] for array in (low, high, ceiling, noise))
    return Curves(low, high, ceiling, noise, family[chosen], sizes, seed)


def interval(draws: Vector) -> Range:
    """Median and 90 % interval."""
    low, middle, high = (float(q) for q in np.quantile(draws, (TAILS[0], 0.5, TAILS[1])))
    return Range(value=middle, low=low, high=high)


def _ends(rng: np.random.Generator, measured: Sequence[Measured], size: int) -> tuple[Vector, Vector]:
    """Draws of the logit at one end of the curve, and the logarithm of 1 / their density."""
    here = [_logit(m) for m in measured if m.answers == size]
    centre = float(np.mean([value for value, _ in here]))
    width = 2 * np.sqrt(np.mean([variance for _, variance in here]) + (2 * NOISE[0]) ** 2)
    standard = rng.normal(size=DRAWS)
    return centre + width * standard, standard**2 / 2


def _log_likelihood(curves: Curves, measured: Sequence[Measured]) -> Vector:
    total = np.zeros(curves.low.size)
    for m in measured:
        value, variance = _logit(m)
        spread = variance + curves.noise**2
        total -= (value - logit(curves._on_curve(m.answers))) ** 2 / (2 * spread) + np.log(spread) / 2
    return total


def _logit(m: Measured) -> tuple[float, float]:
    """Logit of a score and its variance; half a problem is added to either side (Haldane, Anscombe)."""
    right, wrong = m.solved + 0.5, m.problems - m.solved + 0.5
    return float(np.log(right / wrong)), 1 / right + 1 / wrong


def _moved(score: Vector, by: Vector) -> Vector:
    moved: Vector = expit(logit(score) + by)
    return moved


def _resampled(rng: np.random.Generator, log_weight: Vector) -> NDArray[np.int64]:
    """Indices of KEPT draws, by weight (systematic resampling)."""
    total = np.cumsum(np.exp(log_weight - log_weight.max()))
    places = (np.arange(KEPT) + rng.random()) / KEPT * total[-1]
    chosen: NDArray[np.int64] = np.minimum(np.searchsorted(total, places), total.size - 1)
    return chosen
