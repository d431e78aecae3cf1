"""What a collection reports while it runs."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from spiritsafe.records import Record

RATE_WINDOW_S = 15.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress(Record):
    """How far a collection is."""

    done: int
    """Settled or failed, earlier runs included."""
    total: int
    """Distinct requests; two prompts with the same text are one request."""
    settled: int
    failed: int
    in_flight: int
    concurrency: int
    """Requests that may be in flight now."""
    rate: float
    """Requests done per second, over the last 15 s."""
    charged_tokens: int
    charged_usd: float
    """What counts against the budget, all runs of this ledger: spent, in flight and unknown."""
    eta_s: float | None
    """Seconds to go at this rate; None while nothing has come back."""
    paused_s: float
    """Seconds of rest that are left, as the server asked (Retry-After) or because it is gone."""


class Rate:
    """Events per second over a sliding window. Times are seconds of any monotonic clock."""

    def __init__(self, now: float) -> None:
        self._points = deque([(now, 0)])

    def add(self, now: float, count: int) -> float:
        """Note that `count` events happened until `now`; returns the rate of the window."""
        self._points.append((now, count))
        while len(self._points) > 2 and self._points[1][0] <= now - RATE_WINDOW_S:
            self._points.popleft()
        start, before = self._points[0]
        return (count - before) / (now - start) if now > start else 0.0
