"""Concurrency, pauses and backoff, with a clock that the test moves."""

import pytest

from spiritsafe.records import Failure
from spiritsafe.teachers.pace import Pacer


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def failure(reason: str, retry_after_s: float | None = None) -> Failure:
    return Failure(reason=reason, retryable=True, maybe_billed=False, retry_after_s=retry_after_s)


def round_trip(pacer: Pacer) -> None:
    for _ in range(pacer.limit):
        pacer.succeeded()


def test_slow_start_doubles_per_round_trip_up_to_the_maximum():
    pacer = Pacer(100, clock=Clock(), start=16)
    seen = [pacer.limit]
    for _ in range(4):
        round_trip(pacer)
        seen.append(pacer.limit)
    assert seen == [16, 32, 64, 100, 100]


def test_a_small_maximum_is_the_start():
    assert Pacer(1, clock=Clock()).limit == 1


def test_push_back_ends_the_slow_start():
    pacer = Pacer(100, clock=Clock(), start=16)
    pacer.failed(failure("http_429"), sent_at=0.0)
    assert pacer.limit == 12
    for _ in range(12):
        pacer.succeeded()
    assert pacer.limit == 12  # 12 answers at 1/12 each, a little less as the window grows
    pacer.succeeded()
    assert pacer.limit == 13


@pytest.mark.parametrize("reason", ["http_429", "http_500", "http_503", "timeout", "disconnected"])
def test_one_shrink_per_round_trip(reason):
    clock = Clock()
    pacer = Pacer(64, clock=clock, start=64)
    clock.now = 1.0
    for _ in range(10):  # all sent before the first of them came back
        pacer.failed(failure(reason), sent_at=0.5)
    assert pacer.limit == 48
    clock.now = 2.0
    pacer.failed(failure(reason), sent_at=1.5)
    assert pacer.limit == 36


@pytest.mark.parametrize("reason", ["malformed_json", "truncated", "http_400", "empty_choices"])
def test_other_failures_do_not_shrink(reason):
    pacer = Pacer(64, clock=Clock(), start=16)
    pacer.failed(failure(reason), sent_at=0.0)
    assert pacer.limit == 16


def test_at_least_one_stays_in_flight():
    clock = Clock()
    pacer = Pacer(8, clock=clock)
    for _ in range(50):
        clock.now += 1.0
        pacer.failed(failure("http_429"), sent_at=clock.now)
    assert pacer.limit == 1


def test_retry_after_rests_the_whole_server_and_the_longest_counts():
    clock = Clock()
    pacer = Pacer(8, clock=clock)
    assert pacer.pause_s() == 0.0
    pacer.failed(failure("http_429", retry_after_s=5.0), sent_at=0.0)
    pacer.failed(failure("http_429", retry_after_s=2.0), sent_at=0.0)
    assert pacer.pause_s() == 5.0
    clock.now = 4.5
    assert pacer.pause_s() == 0.5
    clock.now = 6.0
    assert pacer.pause_s() == 0.0


def test_backoff_doubles_and_is_spread_but_reproducible():
    first, second = (Pacer(8, clock=Clock(), seed=3) for _ in range(2))
    waits = [first.backoff_s(attempt) for attempt in range(1, 12)]
    assert waits == [second.backoff_s(attempt) for attempt in range(1, 12)]
    for attempt, wait in enumerate(waits, start=1):
        longest = min(30.0, 0.25 * 2 ** (attempt - 1))
        assert longest / 2 <= wait <= longest
    assert len({round(first.backoff_s(1), 6) for _ in range(20)}) == 20


def test_a_server_that_is_gone_is_asked_ever_more_rarely():
    clock = Clock()
    pacer = Pacer(8, clock=clock)
    pauses = []
    for _ in range(7):
        clock.now += pacer.pause_s()
        sent_at = clock.now
        for _ in range(5):  # those that were under way together count once
            pacer.failed(failure("connection"), sent_at=sent_at)
        pauses.append(pacer.pause_s())
    assert pauses == [0.25, 0.5, 1.0, 2.0, 4.0, 5.0, 5.0]
    assert pacer.unreachable_s() == pytest.approx(0.25 + 0.5 + 1 + 2 + 4 + 5)
    pacer.succeeded()
    assert pacer.unreachable_s() == 0.0
