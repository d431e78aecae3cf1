import time

import numpy as np
import pytest
from scipy import stats as scipy_stats

from spiritsafe.stats import Interval, gap_closed, mean_over_seeds, paired_difference, wilson


def test_wilson_hand_values():
    half = wilson(5, 10)
    assert half == Interval(value=0.5, low=pytest.approx(0.236593), high=pytest.approx(0.763407), n=10)
    reference = scipy_stats.binomtest(81, 263).proportion_ci(method="wilson")
    assert (wilson(81, 263).low, wilson(81, 263).high) == pytest.approx((reference.low, reference.high))


@pytest.mark.parametrize("n", [1, 7, 1000])
def test_wilson_ends_stay_in_the_unit_interval(n):
    assert wilson(0, n).low == 0.0
    assert wilson(n, n).high == 1.0
    assert 0 < wilson(0, n).high < 1
    assert 0 < wilson(n, n).low < 1


@pytest.mark.parametrize(("successes", "n"), [(0, 0), (-1, 5), (6, 5)])
def test_wilson_refuses_impossible_counts(successes, n):
    with pytest.raises(ValueError, match="successes"):
        wilson(successes, n)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.95])
def test_wilson_covers_95_percent_exactly_computed(share):
    n = 200
    covered = [wilson(k, n).low <= share <= wilson(k, n).high for k in range(n + 1)]
    assert scipy_stats.binom.pmf(np.arange(n + 1), n, share)[covered].sum() == pytest.approx(0.95, abs=0.02)


def test_one_student_gets_a_wilson_interval_and_several_a_bootstrap():
    one = [1] * 90 + [0] * 10
    assert mean_over_seeds(one) == wilson(90, 100)
    assert mean_over_seeds([one, one]) == wilson(90, 100)
    several = mean_over_seeds([one, [1] * 80 + [0] * 20, [1] * 85 + [0] * 15])
    assert several.value == pytest.approx(0.85)
    assert several.low < 0.80 < 0.90 < several.high


def test_a_perfect_score_still_has_a_width():
    assert mean_over_seeds(np.ones((3, 50))).low == wilson(50, 50).low < 1


def test_paired_difference_is_narrower_than_unpaired_and_matches_the_normal_limit():
    rng = np.random.default_rng(1)
    a = (rng.random(2000) < 0.8).astype(float)
    b = np.where(rng.random(2000) < 0.9, a, 1 - a)
    found = paired_difference(a, b)
    error = (a - b).std() / np.sqrt(2000)
    assert found.value == pytest.approx((a - b).mean())
    assert found.low == pytest.approx(found.value - 1.96 * error, abs=error * 0.1)
    assert found.high == pytest.approx(found.value + 1.96 * error, abs=error * 0.1)


def test_the_difference_of_an_arm_with_itself_is_zero():
    same = paired_difference([1, 0, 1, 1], [1, 0, 1, 1])
    assert (same.value, same.low, same.high, same.n) == (0.0, 0.0, 0.0, 4)


def test_spread_between_seeds_widens_the_interval():
    problems = np.arange(400) % 10
    steady = np.stack([problems < 8] * 3).astype(float)
    moving = np.stack([problems < 7, problems < 8, problems < 9]).astype(float)
    teacher = np.ones(400)
    width = [abs(i.high - i.low) for i in (paired_difference(x, teacher) for x in (steady, moving))]
    assert width[1] > 1.5 * width[0]


def test_gap_closed_hand_value():
    teacher = np.ones(100)
    baseline = np.r_[np.ones(20), np.zeros(80)]
    student = np.r_[np.ones(92), np.zeros(8)]
    gap = gap_closed(student, baseline, teacher)
    assert gap.reason is None
    assert gap.interval is not None
    assert gap.interval.value == pytest.approx((0.92 - 0.20) / 0.80)
    assert 0.80 < gap.interval.low < 0.90 < gap.interval.high < 0.97
    assert gap.interval.n == 100


@pytest.mark.parametrize(
    ("teacher", "baseline", "why"),
    [
        ([1, 0] * 50, [0, 1] * 50, "includes 0"),
        ([1, 0] * 50, [1, 0] * 50, "includes 0"),
        ([0] * 100, [1, 0] * 50, "worse than the baseline"),
        ([1] * 5, [0] * 5, "only 5 test problems"),
    ],
)
def test_no_gap_has_a_reason(teacher, baseline, why):
    gap = gap_closed(teacher, baseline, teacher)
    assert gap.interval is None
    assert gap.reason is not None
    assert why in gap.reason


def test_the_same_seed_gives_the_same_bounds_and_another_seed_others():
    rng = np.random.default_rng(2)
    a, b = rng.random(301) < 0.6, rng.random((2, 301)) < 0.5
    assert paired_difference(a, b, 7) == paired_difference(a, b, 7)
    assert paired_difference(a, b, 7).low != paired_difference(a, b, 8).low


@pytest.mark.parametrize("bad", [[], [[]], [0.5, float("nan")], np.zeros((2, 2, 2))])
def test_bad_scores_are_refused(bad):
    with pytest.raises(ValueError, match="scores"):
        mean_over_seeds(bad)


def test_unequal_problems_are_refused():
    with pytest.raises(ValueError, match="same problems"):
        paired_difference([1, 0], [1, 0, 1])


def simulate(rng, n, shares):
    """Correlated right/wrong of several arms: a problem easy for one is easier for all."""
    ease = rng.random(n)[:, None] * 0.5 + rng.random((n, len(shares))) * 0.5
    return [(ease[:, i] < np.quantile(REFERENCE_EASE, share)).astype(float) for i, share in enumerate(shares)]


REFERENCE_EASE = (np.random.default_rng(0).random(400_000) + np.random.default_rng(1).random(400_000)) / 2


def test_coverage_of_difference_and_gap_is_about_95_percent():
    rng = np.random.default_rng(3)
    covered = np.zeros(2)
    for i in range(200):
        student, baseline, teacher = simulate(rng, 200, (0.8, 0.2, 0.9))
        difference = paired_difference(student, baseline, i, 300)
        gap = gap_closed(student, baseline, teacher, i, 300).interval
        assert gap is not None
        covered += [difference.low <= 0.6 <= difference.high, gap.low <= 0.6 / 0.7 <= gap.high]
    assert covered / 200 == pytest.approx(0.95, abs=0.05)


def test_coverage_over_seeds_holds_for_the_method_not_only_for_one_student():
    rng = np.random.default_rng(4)
    covered = 0
    for i in range(200):
        shares = np.clip(rng.normal(0.7, 0.04, size=8), 0, 1)
        found = mean_over_seeds((rng.random((8, 200)) < shares[:, None]).astype(float), i, 300)
        covered += found.low <= 0.7 <= found.high
    assert 0.89 <= covered / 200 <= 0.995


def test_ten_thousand_resamples_of_a_thousand_problems_take_under_a_second():
    rng = np.random.default_rng(5)
    arms = [rng.random(1000) < share for share in (0.9, 0.2, 0.97)]
    start = time.process_time()
    gap_closed(*arms)
    assert time.process_time() - start < 1.0
