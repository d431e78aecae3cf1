"""Learning curves: what the fit says of scores drawn from known laws, and how often its intervals hold."""

import numpy as np
import pytest
from scipy.special import expit, logit

from spiritsafe.costs.curve import LEAST, LINKS, Curves, Measured, fit, interval
from spiritsafe.errors import InputError

SIZES = (1000, 1000, 2000, 4000)


def scores(*shares, sizes=SIZES, problems=1000):
    return [
        Measured(answers=n, solved=share * problems, problems=problems)
        for n, share in zip(sizes, shares, strict=True)
    ]


def one(family, low, high, ceiling):
    """The curve of one family through two scores."""
    ends = (np.array([logit(low)]), np.array([logit(high)]))
    return Curves(*ends, np.array([ceiling]), np.array([0.1]), np.array([family]), (1000, 4000), 0)


def test_each_family_is_the_law_it_is_named_after():
    power = one(0, 0.9 - 0.4, 0.9 - 0.1, 0.9)  # the error above 0.1 falls fourfold in two doublings
    assert power.expected(2000) == pytest.approx([0.9 - 0.2])
    assert power.expected(500) == pytest.approx([0.9 - 0.8])
    logistic = one(1, 0.8 * expit(-1.0), 0.8 * expit(1.0), 0.8)
    assert logistic.expected(2000) == pytest.approx([0.4])
    exponent = one(2, 1 - np.exp(-0.5), 1 - np.exp(-2.0), 1.0)
    assert exponent.expected(2000) == pytest.approx([1 - np.exp(-1.0)], abs=1e-3)


@pytest.mark.parametrize(("link", "inverse"), LINKS)
def test_a_link_and_its_inverse(link, inverse):
    share = np.linspace(LEAST, 1 - LEAST, 50)
    assert inverse(link(share)) == pytest.approx(share)


def test_scores_that_do_not_move_stay_where_they_are():
    found = interval(fit(scores(0.6, 0.61, 0.6, 0.61)).expected(8000))
    assert 0.55 < found.low < found.value < found.high < 0.68


def test_scores_that_rise_steeply_go_on():
    found = interval(fit(scores(0.34, 0.35, 0.55, 0.76)).measured(8000, 1000))
    assert found.low > 0.76 and found.high > 0.86


def test_fewer_problems_and_trainings_that_differ_widen_the_interval():
    def width(*given, **settings):
        found = interval(fit(scores(*given, **settings)).measured(8000, 1000))
        return found.high - found.low

    assert width(0.34, 0.35, 0.55, 0.76, problems=100) > width(0.34, 0.35, 0.55, 0.76) + 0.05
    assert width(0.2, 0.49, 0.55, 0.76) > width(0.34, 0.35, 0.55, 0.76) + 0.05


def test_the_same_scores_give_the_same_curves():
    first, again = (fit(scores(0.3, 0.3, 0.5, 0.7)) for _ in range(2))
    assert (first.expected(9000) == again.expected(9000)).all()


@pytest.mark.parametrize("shares", [(0, 0, 0, 0), (1, 1, 1, 1), (0, 0, 0, 1), (1, 1, 0, 0)])
def test_extreme_scores_give_numbers(shares):
    found = interval(fit(scores(*shares, problems=50)).measured(64_000, 50))
    assert 0 <= found.low <= found.value <= found.high <= 1


def test_one_size_is_no_curve():
    with pytest.raises(InputError, match="two sizes"):
        fit(scores(0.5, 0.6, sizes=(1000, 1000)))


def law(name, rng):
    """A curve of a family that is fitted (the first three), or of none of them."""
    ceiling, slope, start = rng.uniform(0.6, 1), rng.uniform(0.3, 1.2), rng.uniform(0.3, 3)
    laws = {
        "power": lambda n: ceiling - 0.25 * start * ceiling * (n / 1000) ** -slope,
        "logistic": lambda n: ceiling / (1 + start * (n / 1000) ** -slope),
        "exponent": lambda n: ceiling * (1 - np.exp(-((n / (1000 + 2000 * start)) ** slope))),
        "gompertz": lambda n: ceiling * np.exp(-start * (n / 1000) ** -slope),
        "late power": lambda n: ceiling - 0.95 * ceiling * (1 + n / (2000 * start)) ** -slope,
    }
    return lambda n: float(np.clip(laws[name](n), 1e-3, 1 - 1e-3))


LAWS = ("power", "logistic", "exponent", "gompertz", "late power")


def held(name, draw):
    """Whether the 90 % interval from three sizes holds what is measured at the next."""
    rng = np.random.default_rng([draw, len(name)])
    truth, noise, problems = law(name, rng), rng.uniform(0.03, 0.2), int(rng.choice([200, 500, 1000]))

    def measure(n):
        return int(rng.binomial(problems, expit(logit(truth(n)) + noise * rng.normal())))

    seen = [Measured(answers=n, solved=measure(n), problems=problems) for n in SIZES]
    found = interval(fit(seen).measured(8000, problems))
    return found.low <= measure(8000) / problems <= found.high


def test_simulated_intervals_hold_as_often_as_they_say():
    """200 draws from five laws, two of which are not fitted: simulated coverage of 90 % intervals."""
    assert 0.87 <= np.mean([held(name, draw) for name in LAWS for draw in range(40)]) <= 0.97


@pytest.mark.slow
@pytest.mark.parametrize("name", LAWS)
def test_simulated_intervals_hold_for_each_law(name):
    share = np.mean([held(name, draw) for draw in range(200)])
    print(f"{name}: {share:.3f}")
    assert 0.85 <= share <= 0.99
