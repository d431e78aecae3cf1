"""Arithmetic of money: upper bounds, cost per 1,000 requests, break-even, and the estimate of `plan`.

Pure functions: no clock, no files. Dollars are US dollars, tokens are counts, times are seconds.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from spiritsafe.costs.prices import cost_usd, rates
from spiritsafe.errors import UsageError
from spiritsafe.recipe import Budget, Price
from spiritsafe.records import Message, Record, Usage

MESSAGE_ALLOWANCE = 16
"""Tokens a chat template may put around one message: header, role markers, end of turn, separators."""
REQUEST_ALLOWANCE = 256
"""Tokens a template or server may add to a request: begin of text, default system prompt, dates, the
opening of the answer. Templates in use stay below 100; a few with long default prompts reach 200."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Bound(Record):
    """What something can cost at most."""

    tokens: int
    """Input plus output."""
    usd: float
    """0 where the price is unknown: then only a token cap can hold a budget."""

    def __add__(self, other: Bound) -> Bound:
        return Bound(tokens=self.tokens + other.tokens, usd=self.usd + other.usd)


def input_bound(messages: Iterable[Message]) -> int:
    """Upper bound on the input tokens of a chat request.

    A byte-level tokenizer, and one with byte fallback, never makes more tokens than UTF-8 bytes. (One that
    expands text first, such as NFKC normalisation of rare ligatures, can exceed it: then the ledger stops.)
    """
    sizes = [_bytes(message["role"]) + _bytes(message["content"]) + MESSAGE_ALLOWANCE for message in messages]
    return sum(sizes) + REQUEST_ALLOWANCE


def request_bound(messages: Iterable[Message], max_tokens: int, price: Price | None) -> Bound:
    """Upper bound on one attempt, to be reserved before it is sent. `max_tokens` includes reasoning."""
    most = input_bound(messages)
    return Bound(tokens=most + max_tokens, usd=cost_of(most, max_tokens, price))


def cost_of(input_tokens: int, output_tokens: int, price: Price | None) -> float:
    """Dollars of one request without any cache discount; 0 when the price is unknown."""
    if price is None:
        return 0.0
    input_rate, output_rate = rates(price, input_tokens)
    return (input_tokens * input_rate + output_tokens * output_rate) / 1e6


def cost_per_1k(usages: Iterable[Usage], price: Price | None) -> float | None:
    """Dollars per 1,000 requests of a model paid by the token: the mean over these requests.

    None when the price is unknown or there is no request.
    """
    if price is None:
        return None
    costs = [cost_usd(price, usage) for usage in usages]
    return 1000 * math.fsum(costs) / len(costs) if costs else None


def requests_per_second(
    input_tokens: float, output_tokens: float, prefill_per_second: float, decode_per_second: float
) -> float:
    """Throughput of a model of one's own from mean tokens per request and its measured tokens/s.

    Prefill and decode are taken one after the other. Raises UsageError for a speed that is not positive.
    """
    if prefill_per_second <= 0 or decode_per_second <= 0:
        raise UsageError(
            f"speeds must be positive, got {prefill_per_second} and {decode_per_second} tokens/s"
        )
    seconds = input_tokens / prefill_per_second + output_tokens / decode_per_second
    if seconds <= 0:
        raise UsageError("a request without tokens has no throughput")
    return 1 / seconds


def cost_per_1k_local(requests_per_second: float, usd_per_hour: float) -> float:
    """Dollars per 1,000 requests of a model of one's own on a machine that is kept busy."""
    if requests_per_second <= 0:
        raise UsageError(f"requests per second must be positive, got {requests_per_second}")
    return 1000 / requests_per_second / 3600 * usd_per_hour


@dataclass(frozen=True, kw_only=True, slots=True)
class BreakEven(Record):
    """After how many requests the student has paid back what it cost to make."""

    requests: int | None
    reason: str | None
    """Why there is no number; None where there is one."""


def break_even_requests(
    fixed_usd: float, per_1k_teacher: float | None, per_1k_student: float | None
) -> BreakEven:
    """Least n with fixed_usd + n * student <= n * teacher, costs given per 1,000 requests."""
    if per_1k_teacher is None or per_1k_student is None:
        who = "teacher" if per_1k_teacher is None else "student"
        return BreakEven(requests=None, reason=f"the {who}'s cost per request is unknown")
    # Decimal fractions as written: 0.3 - 0.2 is 0.1 here, so that the ceiling is not one too high.
    saved = Fraction(repr(float(per_1k_teacher))) - Fraction(repr(float(per_1k_student)))
    if saved <= 0:
        return BreakEven(
            requests=None, reason="a request to the student costs no less than one to the teacher"
        )
    return BreakEven(requests=math.ceil(1000 * Fraction(repr(float(fixed_usd))) / saved), reason=None)


@dataclass(frozen=True, kw_only=True, slots=True)
class Measured(Record):
    """One request of the small sample that `plan` draws."""

    input_tokens: int
    output_tokens: int
    latency_s: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Span(Record):
    """A total with its 95 % prediction interval (Student's t on the mean per request)."""

    low: float
    mid: float
    high: float


Fit = Literal["surely", "likely", "perhaps", "no", "unlimited", "unknown"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Estimate(Record):
    """What a collection is expected to take, from a measured sample."""

    requests: int
    measured: int
    """Requests in the sample."""
    input_tokens: Span
    output_tokens: Span
    tokens: Span
    usd: Span | None
    """None when the price is unknown."""
    seconds: float
    """Expected wall time at the given concurrency."""
    bound: Bound
    """Hard upper bound: every request at its most, one attempt each."""
    fits: Fit
    """surely: the bound fits the budget; likely: the high end; perhaps: the middle; no: not even that.
    unlimited: there is no budget; unknown: a dollar budget alone, without a price."""
    batch: bool = False
    """Collected by the batch, at the batch price."""
    live_usd: Span | None = None
    """The same requests at the live price; None in live mode, and where the price is unknown."""


def estimate(
    n_requests: int,
    measured: Sequence[Measured],
    price: Price | None,
    *,
    concurrency: int,
    bound: Bound,
    budget: Budget | None = None,
) -> Estimate:
    """Tokens, money and time of `n_requests` like the measured ones, never above `bound`.

    `bound` is the sum of `request_bound` over the planned requests. Raises UsageError without a sample.
    """
    if not measured or concurrency < 1:
        raise UsageError(f"an estimate needs a measured request and concurrency >= 1, got {len(measured)}")
    totals = [float(m.input_tokens + m.output_tokens) for m in measured]
    costs = [cost_of(m.input_tokens, m.output_tokens, price) for m in measured]
    tokens = _span(totals, n_requests, bound.tokens)
    usd = None if price is None else _span(costs, n_requests, bound.usd)
    latency = statistics.fmean(m.latency_s for m in measured)
    return Estimate(
        requests=n_requests,
        measured=len(measured),
        input_tokens=_span([float(m.input_tokens) for m in measured], n_requests, bound.tokens),
        output_tokens=_span([float(m.output_tokens) for m in measured], n_requests, bound.tokens),
        tokens=tokens,
        usd=usd,
        # Little's law: requests in flight = rate * latency; one request takes its latency at least.
        seconds=latency * max(1.0, n_requests / concurrency) if n_requests else 0.0,
        bound=bound,
        fits=_fit(tokens, usd, bound, budget),
    )


def at_most(n_requests: int, price: Price | None, bound: Bound, budget: Budget | None = None) -> Estimate:
    """The estimate where no sample can be measured: nothing but the upper bound."""
    tokens = Span(low=0.0, mid=bound.tokens, high=bound.tokens)
    usd = None if price is None else Span(low=0.0, mid=bound.usd, high=bound.usd)
    return Estimate(
        requests=n_requests,
        measured=0,
        input_tokens=tokens,
        output_tokens=tokens,
        tokens=tokens,
        usd=usd,
        seconds=0.0,
        bound=bound,
        fits=_fit(tokens, usd, bound, budget),
    )


def _span(values: Sequence[float], n: int, most: float) -> Span:
    """Total of n further draws: prediction interval, sample mean and the draws themselves both uncertain.

    One value alone says nothing of the spread: the interval is then 0 to the bound.
    """
    if n == 0:
        return Span(low=0.0, mid=0.0, high=0.0)
    mean, half = statistics.fmean(values), math.inf
    if len(values) > 1:
        error = statistics.stdev(values) * math.sqrt(1 / len(values) + 1 / n)
        half = _t975(len(values) - 1) * error
    mid = min(mean * n, most)
    return Span(low=min(max(0.0, mean - half) * n, mid), mid=mid, high=max(mid, min((mean + half) * n, most)))


def _t975(degrees: int) -> float:
    # Imported here: scipy is not needed by the arithmetic above, and `--help` should stay quick.
    from scipy.special import stdtrit

    return float(stdtrit(degrees, 0.975))


def _fit(tokens: Span, usd: Span | None, bound: Bound, budget: Budget | None) -> Fit:
    if budget is None or (budget.usd is None and budget.tokens is None):
        return "unlimited"
    if usd is None and budget.tokens is None:
        return "unknown"
    limits: list[tuple[Span, float, float]] = []
    if budget.tokens is not None:
        limits.append((tokens, bound.tokens, budget.tokens))
    if budget.usd is not None and usd is not None:
        limits.append((usd, bound.usd, budget.usd))
    if all(most <= limit for _, most, limit in limits):
        return "surely"
    if all(span.high <= limit for span, _, limit in limits):
        return "likely"
    return "perhaps" if all(span.mid <= limit for span, _, limit in limits) else "no"


def _bytes(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))
