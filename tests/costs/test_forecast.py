"""What the next dollars buy, and when it is time to stop."""

import json

import pytest

from spiritsafe.costs.curve import Measured
from spiritsafe.costs.forecast import FARTHEST, LEAST_GAIN, forecast
from spiritsafe.errors import UsageError


def pilot(*shares, problems=1000):
    sizes = (1000, 1000, 2000, 4000)
    return [
        Measured(answers=n, solved=share * problems, problems=problems)
        for n, share in zip(sizes, shares, strict=True)
    ]


RISING, SATURATED, ASLEEP = (0.25, 0.26, 0.4, 0.56), (0.7, 0.71, 0.705, 0.71), (0.02, 0.01, 0.02, 0.03)


def test_a_steep_curve_goes_on():
    found = forecast(pilot(*RISING, problems=5000), 8000, 0.002, 20)
    assert (found.verdict, found.capped) == ("go on", False)
    assert (found.now.answers, found.now.usd) == (8000, 16.0)
    assert (found.next.answers, found.next.usd) == (18_000, 36.0)
    assert found.gain.low > 0 and found.gain.value > LEAST_GAIN
    assert found.reason.startswith("20 USD more buy +")
    assert [p.answers for p in (found.curve[0], found.curve[-1])] == [1000, 18_000]


def test_a_flat_curve_stops():
    found = forecast(pilot(*SATURATED), 8000, 0.002, 20)
    assert found.verdict == "stop here" and "less than the 1 that would pay" in found.reason
    assert found.gain.value < LEAST_GAIN


def test_a_gain_that_may_be_nothing_stops():
    found = forecast(pilot(0.354, 0.333, 0.575, 0.764), 8000, 0.002, 20)
    assert found.verdict == "stop here" and found.reason.endswith("which may be nothing")
    assert found.gain.low <= 0 < LEAST_GAIN < found.gain.value


def test_a_student_that_has_learnt_nothing_yet_is_not_judged():
    found = forecast(pilot(*ASLEEP), 8000, 0.002, 20)
    assert found.verdict == "too early" and "3.0 %" in found.reason


@pytest.mark.parametrize("price", [None, 0.0, 1e-9])
def test_answers_that_cost_next_to_nothing_end_where_the_curve_does(price):
    found = forecast(pilot(*RISING), 8000, price, 20)
    assert found.capped and found.next.answers == FARTHEST * 8000
    assert found.next.usd == (None if price is None else price * FARTHEST * 8000)


@pytest.mark.parametrize("usd", [0, -1, float("nan"), float("inf")])
def test_an_amount_that_is_none_is_refused(usd):
    with pytest.raises(UsageError, match="positive amount"):
        forecast(pilot(*RISING), 8000, 0.002, usd)


def test_a_cent_buys_an_answer_at_least():
    assert forecast(pilot(*RISING), 8000, 5.0, 0.01).next.answers == 8001


def test_json_says_what_the_numbers_are():
    value = forecast(pilot(*RISING), 8000, 0.002, 20).to_json()
    assert json.loads(json.dumps(value, allow_nan=False))["interval"] == 0.9
    assert value["least_gain"] == LEAST_GAIN and value["measured"][0]["answers"] == 1000
