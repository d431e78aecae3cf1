"""Win rates at equal length, and agreement: known cases, and coverage by simulation."""

import numpy as np
import pytest
from scipy.special import expit

from spiritsafe.evaluate import preference
from spiritsafe.evaluate.preference import agreement, length_controlled, preferred, share


def drawn(seed, chance, n=200):
    """Wins of answers that are longer in 79 % of cases, by `chance` of winning at each difference."""
    rng = np.random.default_rng(seed)
    longer_by = rng.normal(120, 150, n)
    return (rng.random(n) < chance(longer_by)).astype(float), longer_by


def simulated(chance, monkeypatch, runs=60):
    """(raw win rates, controlled ones, whether each interval holds 0.5)."""
    monkeypatch.setattr(preference, "RESAMPLES", 200)
    raw, controlled, holds = [], [], []
    for seed in range(runs):
        wins, longer_by = drawn(seed, chance)
        found = length_controlled(wins, longer_by, seed + 1000)
        raw.append(wins.mean())
        controlled.append(found.value)
        holds.append(found.low <= 0.5 <= found.high)
    return np.mean(raw), np.mean(controlled), np.mean(holds)


def test_a_judge_of_length_alone_leaves_nothing_at_equal_length(monkeypatch):
    raw, controlled, holds = simulated(lambda d: (d > 0) * 1.0, monkeypatch)
    assert raw == pytest.approx(0.79, abs=0.02)
    assert controlled == pytest.approx(0.5, abs=0.03)
    assert holds >= 0.87  # 95 % is meant; three standard errors of 60 draws below it


def test_a_judge_who_leans_to_length_leaves_nothing_either(monkeypatch):
    raw, controlled, holds = simulated(lambda d: expit(3 * np.tanh(d / 150)), monkeypatch)
    assert raw > 0.7
    assert controlled == pytest.approx(0.5, abs=0.03)
    assert holds >= 0.87


def test_what_has_nothing_to_do_with_length_stays(monkeypatch):
    raw, controlled, holds = simulated(lambda d: np.full(len(d), expit(0.8)), monkeypatch)
    assert controlled == pytest.approx(raw, abs=0.01) == pytest.approx(expit(0.8), abs=0.02)
    assert holds <= 0.1  # expit(0.8) = 0.69 is told from one half


def test_a_judge_of_positions_has_exactly_one_half():
    found = length_controlled(np.full(50, 0.5), np.arange(50.0) - 10)
    assert (found.value, found.low, found.high, found.n) == (0.5, 0.5, 0.5, 50)


def test_equal_lengths_leave_the_win_rate():
    wins = np.array([1.0] * 30 + [0.0] * 10)
    # the penalty pulls expit(1.0986) by 0.01 * 1.1 / 40 problems
    assert length_controlled(wins, np.zeros(40)).value == pytest.approx(0.75, abs=1e-3)


@pytest.mark.parametrize("sign", [1, -1])
def test_without_any_answer_on_the_other_side_there_is_no_rate(sign):
    assert length_controlled(np.ones(20), sign * (1 + np.arange(20.0))) is None


def test_all_wins_and_all_losses_stay_finite():
    longer_by = np.linspace(-1, 1, 40)
    assert 0.98 < length_controlled(np.ones(40), longer_by).value < 1
    assert 0 < length_controlled(np.zeros(40), longer_by).value < 0.02


def test_seeds_are_taken_together_and_their_problems_drawn_together():
    wins, longer_by = drawn(3, lambda d: np.full(len(d), 0.6))
    one = length_controlled(wins, longer_by)
    three = length_controlled(np.stack([wins] * 3), np.stack([longer_by] * 3))
    assert three.value == pytest.approx(one.value, abs=1e-3) and three.n == one.n == 200
    assert three.high - three.low == pytest.approx(one.high - one.low, rel=0.02)


def test_agreement_counts_a_tie_as_half():
    found = agreement([1.0, 0.0, 0.5, 1.0], [1, 0, 1, 0])
    assert (found.value, found.n) == (0.625, 4)
    assert agreement([], []) is None


def test_shares_and_marks():
    assert (share([True, True, False]).value, share([]) is None) == (pytest.approx(2 / 3), True)
    assert [preferred(*pair) for pair in ((1, 0), (0, 1), (0.3, 0.1 + 0.2))] == [1.0, 0.0, 0.5]
