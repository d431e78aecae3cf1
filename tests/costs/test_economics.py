import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spiritsafe.costs.economics import (
    MESSAGE_ALLOWANCE,
    REQUEST_ALLOWANCE,
    Bound,
    BreakEven,
    Measured,
    Span,
    break_even_requests,
    cost_of,
    cost_per_1k,
    cost_per_1k_local,
    estimate,
    request_bound,
    requests_per_second,
)
from spiritsafe.costs.prices import KnownPrice, cost_usd
from spiritsafe.errors import UsageError
from spiritsafe.recipe import Budget, Price
from spiritsafe.records import Usage

PRICE = Price(input_per_million=2, output_per_million=8)
FAR = Bound(tokens=10**9, usd=1e6)


def test_bound_by_hand():
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "d\u00e9j\u00e0"}]
    # system 6 + 9 bytes, user 4 + 6 bytes (two letters of two bytes each), 16 per message, 256 per request
    tokens = (6 + 9 + 16) + (4 + 6 + 16) + 256
    assert (MESSAGE_ALLOWANCE, REQUEST_ALLOWANCE) == (16, 256)
    bound = request_bound(messages, 100, PRICE)
    assert bound.tokens == tokens + 100 == 413
    assert bound.usd == pytest.approx((313 * 2 + 100 * 8) / 1e6, rel=1e-12)
    assert request_bound(messages, 100, None) == Bound(tokens=413, usd=0.0)


def test_bounds_add_up():
    assert Bound(tokens=1, usd=0.5) + Bound(tokens=2, usd=0.25) == Bound(tokens=3, usd=0.75)


def test_bound_uses_the_long_rate_where_the_request_could_reach_it():
    tiered = KnownPrice(
        model="m",
        input_per_million=1,
        output_per_million=1,
        long_from=300,
        long_input_per_million=10,
        long_output_per_million=10,
    )
    short, long = ([{"role": "user", "content": "x" * size}] for size in (1, 24))
    assert request_bound(short, 0, tiered).usd == pytest.approx(277e-6)
    assert request_bound(long, 0, tiered).usd == pytest.approx(3000e-6)


messages = st.lists(
    st.fixed_dictionaries({"role": st.sampled_from(["system", "user", "assistant"]), "content": st.text()}),
    min_size=1,
    max_size=4,
)
prices = st.builds(Price, input_per_million=st.floats(0, 100), output_per_million=st.floats(0, 100))


def merged(data: bytes, seed: int) -> int:
    """Tokens of some byte-level BPE: adjacent pieces merged at random, so at most one token per byte."""
    draw = random.Random(seed)
    return sum(1 for place in range(len(data)) if place == 0 or draw.random() < 0.6)


@given(messages, st.integers(1, 4000), st.integers(0, 4000), st.integers(0), prices, st.booleans())
def test_bound_holds_for_any_byte_level_tokenizer(talk, max_tokens, answered, seed, price, worst):
    """A ChatML-like template of one token per byte at worst, with a default system prompt of 100 tokens."""
    text = "".join(f"{m['role']}{m['content']}" for m in talk).encode("utf-8", "surrogatepass")
    tokens = len(text) if worst else merged(text, seed)
    used = Usage(input_tokens=tokens + 12 * len(talk) + 100, output_tokens=min(answered, max_tokens))
    bound = request_bound(talk, max_tokens, price)
    assert used.input_tokens + used.output_tokens <= bound.tokens
    assert cost_usd(price, used) <= bound.usd


def test_cost_of_is_zero_without_a_price():
    assert cost_of(1000, 1000, None) == 0
    assert cost_of(1000, 1000, PRICE) == pytest.approx(0.01)


def test_cost_per_1k_by_hand():
    usages = [Usage(input_tokens=100, output_tokens=50), Usage(input_tokens=300, output_tokens=150)]
    # 600 and 1,800 micro-dollars: 1,200 on average, 1.2 dollars per 1,000
    assert cost_per_1k(usages, PRICE) == pytest.approx(1.2, rel=1e-12)
    assert cost_per_1k(usages, None) is None
    assert cost_per_1k([], PRICE) is None


def test_local_cost_by_hand():
    # 100 / 1,000 + 50 / 100 = 0.6 s a request; 1,000 requests take 600 s, a sixth of an hour at 0.90 dollars
    speed = requests_per_second(100, 50, prefill_per_second=1000, decode_per_second=100)
    assert speed == pytest.approx(1 / 0.6)
    assert cost_per_1k_local(speed, 0.90) == pytest.approx(0.15)


def test_speeds_must_make_sense():
    with pytest.raises(UsageError, match="speeds must be positive, got 0 and 5"):
        requests_per_second(1, 1, 0, 5)
    with pytest.raises(UsageError, match="without tokens"):
        requests_per_second(0, 0, 5, 5)
    with pytest.raises(UsageError, match="must be positive, got -1"):
        cost_per_1k_local(-1, 0.1)


@pytest.mark.parametrize(
    ("fixed", "teacher", "student", "requests"),
    [
        (10, 2.0, 0.5, 6667),  # 10 / 0.0015 = 6,666.7
        (1, 0.3, 0.2, 10_000),  # exactly, though 0.3 - 0.2 < 0.1 in binary
        (0, 1.0, 0.5, 0),
        (3, 1e-7, 0.0, 30_000_000_000),
    ],
)
def test_break_even_by_hand(fixed, teacher, student, requests):
    assert break_even_requests(fixed, teacher, student) == BreakEven(requests=requests, reason=None)


@pytest.mark.parametrize(
    ("teacher", "student", "reason"),
    [
        (1.0, 1.0, "a request to the student costs no less than one to the teacher"),
        (0.0, 0.1, "a request to the student costs no less than one to the teacher"),
        (None, 0.1, "the teacher's cost per request is unknown"),
        (1.0, None, "the student's cost per request is unknown"),
    ],
)
def test_no_break_even_says_why(teacher, student, reason):
    assert break_even_requests(5, teacher, student) == BreakEven(requests=None, reason=reason)


@given(st.integers(0, 10**6), st.integers(1, 10**6), st.integers(0, 10**6))
def test_break_even_is_the_least_number(fixed, gain, student):
    fixed, teacher, student = fixed / 100, (student + gain) / 1000, student / 1000
    n = break_even_requests(fixed, teacher, student).requests
    assert n is not None
    slack = 1e-6 * (1 + n * teacher / 1000)
    assert fixed + n * student / 1000 <= n * teacher / 1000 + slack
    assert n == 0 or fixed + (n - 1) * student / 1000 >= (n - 1) * teacher / 1000 - slack


SAMPLE = [
    Measured(input_tokens=90, output_tokens=10, latency_s=1.0),
    Measured(input_tokens=110, output_tokens=10, latency_s=3.0),
]


def test_estimate_by_hand():
    result = estimate(1000, SAMPLE, PRICE, concurrency=50, bound=FAR)
    # Totals 100 and 120: mean 110, deviation 14.1421, sqrt(1/2 + 1/1000) = 0.707814, t(1, 0.975) = 12.7062.
    assert result.tokens.mid == pytest.approx(110_000)
    assert result.tokens.high == pytest.approx(1000 * (110 + 127.189), rel=1e-5)
    assert result.tokens.low == 0.0
    assert (result.input_tokens.mid, result.output_tokens) == (
        100_000,
        Span(low=10_000, mid=10_000, high=10_000),
    )
    # 260 and 300 micro-dollars
    assert result.usd is not None
    assert result.usd.mid == pytest.approx(0.28)
    # 1,000 requests, 50 at a time, 2 s each
    assert result.seconds == pytest.approx(40)
    assert (result.requests, result.measured, result.fits) == (1000, 2, "unlimited")


def test_estimate_is_capped_by_the_bound_and_open_for_one_request():
    bound = Bound(tokens=150_000, usd=0.3)
    result = estimate(1000, SAMPLE[:1], PRICE, concurrency=1, bound=bound)
    assert (result.tokens.low, result.tokens.mid, result.tokens.high) == (0, 100_000, 150_000)
    assert result.usd == Span(low=0.0, mid=pytest.approx(0.26), high=0.3)


def test_estimate_without_a_price_and_of_nothing():
    unknown = estimate(10, SAMPLE, None, concurrency=4, bound=FAR, budget=Budget(usd=1))
    assert (unknown.usd, unknown.fits) == (None, "unknown")
    none = estimate(0, SAMPLE, PRICE, concurrency=4, bound=Bound(tokens=0, usd=0.0))
    assert (none.tokens, none.seconds) == (Span(low=0, mid=0, high=0), 0)
    few = estimate(2, SAMPLE, PRICE, concurrency=64, bound=FAR)
    assert few.seconds == pytest.approx(2.0)
    with pytest.raises(UsageError, match="needs a measured request"):
        estimate(10, [], PRICE, concurrency=4, bound=FAR)


@pytest.mark.parametrize(
    ("budget", "fits"),
    [
        (Budget(tokens=200_000), "surely"),
        (Budget(tokens=120_000), "likely"),
        (Budget(tokens=102_000), "perhaps"),
        (Budget(tokens=90_000), "no"),
        (Budget(usd=10.0), "surely"),
        (Budget(usd=10.0, tokens=90_000), "no"),
        (Budget(usd=0.0), "no"),
        (Budget(), "unlimited"),
        (None, "unlimited"),
    ],
)
def test_fits(budget, fits):
    # Forty requests of 90 or 110 tokens: 100 +- 3.2.
    steady = [Measured(input_tokens=80 + 20 * (n % 2), output_tokens=10, latency_s=1.0) for n in range(40)]
    bound = Bound(tokens=200_000, usd=5.0)
    assert estimate(1000, steady, PRICE, concurrency=8, bound=bound, budget=budget).fits == fits


@given(
    st.lists(
        st.builds(
            Measured,
            input_tokens=st.integers(0, 10**5),
            output_tokens=st.integers(0, 10**5),
            latency_s=st.floats(0, 100),
        ),
        min_size=1,
        max_size=20,
    ),
    st.integers(0, 10**6),
    st.integers(0, 10**9),
)
def test_estimates_are_ordered_finite_and_below_the_bound(sample, n, most):
    result = estimate(n, sample, PRICE, concurrency=8, bound=Bound(tokens=most, usd=most / 1e6))
    for span, limit in ((result.tokens, most), (result.usd, most / 1e6)):
        assert span is not None
        assert 0 <= span.low <= span.mid <= span.high <= limit
    assert math.isfinite(result.seconds)
