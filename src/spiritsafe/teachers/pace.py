"""How fast to ask: concurrency that finds what the server bears, pauses, and waits between attempts.

Slow start doubles the number in flight once per round trip until the server first pushes back; from then on
it grows by one per round trip and shrinks by a quarter (additive increase, multiplicative decrease: Chiu and
Jain, 1989, doi:10.1016/0169-7552(89)90019-6). Pure logic: clock and seed come in, times are seconds.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from spiritsafe.records import Failure

START = 32
"""In flight at first: the way to 64 costs a third of a round trip; a server that bears less says so."""
SHRINK = 0.75
BACKOFF_S = 0.25
MAX_BACKOFF_S = 30.0
MAX_GONE_S = 5.0
"""Longest pause between attempts to reach a server that is gone."""
PUSH_BACK = {"timeout", "connection", "disconnected"}


class Pacer:
    """Adaptive limit for one server. `limit` may be in flight at once, from `paused_until` on."""

    def __init__(
        self, maximum: int, *, clock: Callable[[], float], seed: int = 0, start: int = START
    ) -> None:
        self._maximum = maximum
        self._clock = clock
        self._random = random.Random(seed)
        self._window = float(min(start, maximum))
        self._slow_start = True
        self._last_shrink = float("-inf")
        self._gone: list[float] = []  # times at which no connection was made, since the last answer
        self.paused_until = float("-inf")

    @property
    def limit(self) -> int:
        """Requests that may be in flight now, at least 1."""
        return max(1, int(self._window))

    def pause_s(self) -> float:
        """Seconds until anything may be sent to this server; 0 is now."""
        return max(0.0, self.paused_until - self._clock())

    def succeeded(self) -> None:
        """An answer came: one more per answer in slow start, one more per round trip afterwards."""
        self._gone.clear()
        step = 1.0 if self._slow_start else 1.0 / self._window
        self._window = min(self._window + step, float(self._maximum))

    def failed(self, failure: Failure, sent_at: float) -> None:
        """An attempt failed. Overload shrinks the limit, at most once per round trip."""
        now = self._clock()
        if failure.retry_after_s is not None:
            self.paused_until = max(self.paused_until, now + failure.retry_after_s)
        if failure.reason == "connection" and sent_at >= self.paused_until:
            self._gone.append(now)
            wait = min(MAX_GONE_S, BACKOFF_S * 2.0 ** (len(self._gone) - 1))
            self.paused_until = now + wait
        if is_push_back(failure):
            self._slow_start = False
            # What was sent before the last shrink was sent by the larger limit: it says nothing new.
            if sent_at >= self._last_shrink:
                self._window = max(1.0, self._window * SHRINK)
                self._last_shrink = now

    def unreachable_s(self) -> float:
        """Seconds since the server went away: 0 while it answers."""
        return self._clock() - self._gone[0] if self._gone else 0.0

    def backoff_s(self, attempt: int) -> float:
        """Wait before attempt + 1: doubles per attempt, drawn between half and all of that."""
        longest = min(MAX_BACKOFF_S, BACKOFF_S * 2.0 ** (attempt - 1))
        return longest * self._random.uniform(0.5, 1.0)


def is_push_back(failure: Failure) -> bool:
    """True for failures by which a server shows that it has too much to do."""
    return failure.reason in PUSH_BACK or failure.reason == "http_429" or failure.reason.startswith("http_5")
