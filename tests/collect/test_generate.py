"""collect: every request settled or failed, money kept, interruptions survived."""

import asyncio

import pytest

from spiritsafe.collect.generate import collect
from spiritsafe.costs.economics import request_bound
from spiritsafe.errors import BudgetReached, InputError, SpiritSafeError, TeacherError, UsageError
from spiritsafe.recipe import Budget, Price, Teacher
from spiritsafe.records import Failure, Reply, Usage
from spiritsafe.store.ledger import Ledger
from spiritsafe.teachers.connect import connect
from spiritsafe.teachers.scripted import ScriptedSampler

FREE = Price(input_per_million=0, output_per_million=0)
DEAR = Price(input_per_million=1, output_per_million=2)
BUSY = Failure(reason="http_429", retryable=True, maybe_billed=False)
LATE = Failure(reason="timeout", retryable=True, maybe_billed=True)
WRONG = Failure(reason="http_400", retryable=False, maybe_billed=False)


@pytest.fixture
def ledger(tmp_path):
    with Ledger(tmp_path / "ledger") as opened:
        yield opened


@pytest.fixture(autouse=True)
def quick_retries(monkeypatch):
    monkeypatch.setattr("spiritsafe.teachers.pace.BACKOFF_S", 0.001)


def gather(requests, sampler, ledger, *, price=FREE, max_attempts=3, purpose="train", progress=None):
    return asyncio.run(
        collect(
            requests,
            sampler,
            ledger,
            purpose=purpose,
            price=price,
            max_attempts=max_attempts,
            progress=progress,
        )
    )


def echo(request) -> str:
    return f"answer to {request.prompt_id}"


def test_every_answer_is_kept(ledger, make_requests):
    requests = make_requests(50)
    totals = gather(requests, ScriptedSampler(echo), ledger)
    assert (totals.settled, totals.attempts, totals.failed, totals.in_flight) == (50, 50, 0, 0)
    assert {s.prompt_id: s.text for s in ledger.samples("train")} == {r.prompt_id: echo(r) for r in requests}
    assert {s.origin.channel for s in ledger.samples("train")} == {"scripted"}


def test_nothing_to_collect(ledger):
    with pytest.raises(InputError, match="no prompts"):
        gather([], ScriptedSampler(echo), ledger)


def test_a_second_call_sends_nothing_and_opens_nothing(ledger, make_requests):
    gather(make_requests(5), ScriptedSampler(echo), ledger)
    sampler = ScriptedSampler(echo)
    totals = gather(make_requests(5), sampler, ledger)
    assert (totals.settled, sampler.requests, sampler.opened) == (5, [], 0)


def test_two_prompts_with_one_text_are_one_request(ledger, make_requests):
    (request,) = make_requests(1)
    twin = type(request).from_json(request.to_json() | {"prompt_id": "twin"})
    sampler = ScriptedSampler(lambda asked: "14")
    gather([request, twin], sampler, ledger)
    assert len(sampler.requests) == 1
    assert [s.prompt_id for s in ledger.samples("train")] == ["0", "twin"]


def test_failures_are_repeated_until_the_answer(ledger, make_requests):
    sampler = ScriptedSampler({"0": [BUSY, LATE, "14"], "1": "15"})
    totals = gather(make_requests(2), sampler, ledger)
    assert (totals.settled, totals.failed, totals.attempts, totals.unknown_attempts) == (2, 0, 4, 1)
    assert ledger.failed_attempts() == {"http_429": 1, "timeout": 1}


def test_after_the_last_attempt_a_request_has_failed_with_its_reason(ledger, make_requests):
    sampler = ScriptedSampler({"0": [LATE, BUSY], "1": WRONG, "2": "14"})
    totals = gather(make_requests(3), sampler, ledger)
    assert (totals.settled, totals.failed) == (1, 2)
    assert totals.reasons == {"http_400": 1, "http_429": 1}
    assert [r.prompt_id for r in sampler.requests].count("0") == 3
    assert [r.prompt_id for r in sampler.requests].count("1") == 1


def test_a_later_call_gives_passing_failures_another_chance(ledger, make_requests):
    gather(make_requests(2), ScriptedSampler({"0": BUSY, "1": WRONG}), ledger)
    sampler = ScriptedSampler(echo)
    totals = gather(make_requests(2), sampler, ledger)
    assert [r.prompt_id for r in sampler.requests] == ["0"]
    assert (totals.settled, totals.failed, totals.reasons) == (1, 1, {"http_400": 1})


def test_local_models_get_whole_batches_of_like_length(ledger, make_requests):
    sampler = ScriptedSampler(echo, batch_size=8, max_concurrency=1)
    gather(make_requests(20), sampler, ledger)
    assert [len(call) for call in sampler.calls] == [8, 8, 4]
    lengths = [len(r.messages[0]["content"]) for r in sampler.requests]
    assert lengths == sorted(lengths)


def test_concurrency_stays_below_the_samplers_maximum(ledger, make_requests):
    peak = Peak(limit=5)
    gather(make_requests(40), peak, ledger)
    assert peak.highest == 5


class Peak(ScriptedSampler):
    """Counts calls that run at the same time."""

    def __init__(self, limit: int) -> None:
        super().__init__(echo, max_concurrency=limit)
        self.now = self.highest = 0

    async def sample(self, requests):
        self.now += 1
        self.highest = max(self.highest, self.now)
        await asyncio.sleep(0.002)
        self.now -= 1
        return await super().sample(requests)


def test_the_budget_stops_before_it_is_exceeded(tmp_path, make_requests):
    requests = make_requests(60)
    most = sum(request_bound(r.messages, 32, DEAR).usd for r in requests[:2])
    with Ledger(tmp_path / "l", Budget(usd=most)) as ledger:
        sampler = ScriptedSampler(lambda r: BILLED, delay_s=0.005)
        with pytest.raises(BudgetReached, match="budget reached"):
            gather(requests, sampler, ledger, price=DEAR)
        totals = ledger.totals()
        assert totals.charged_usd <= most
        assert (totals.settled, totals.in_flight) == (len(sampler.requests), 0)
        assert totals.settled >= 5  # more than two: each answer leaves most of its bound
        assert totals.spent_usd == pytest.approx(totals.settled * (20 * 1 + 4 * 2) / 1e6)


BILLED = Reply(text="14", usage=Usage(input_tokens=20, output_tokens=4))


def test_a_larger_budget_goes_on_where_the_smaller_stopped(tmp_path, make_requests):
    with Ledger(tmp_path / "l", Budget(tokens=700)) as small, pytest.raises(BudgetReached):
        gather(make_requests(60), ScriptedSampler(echo), small)
    with Ledger(tmp_path / "l", Budget(tokens=100_000)) as large:
        before = large.totals().settled
        sampler = ScriptedSampler(echo)
        totals = gather(make_requests(60), sampler, large)
        assert 0 < before < 60
        assert (totals.settled, len(sampler.requests)) == (60, 60 - before)


def test_billed_above_the_bound_stops_with_the_answer_kept(ledger, make_requests):
    greedy = Reply(text="14", usage=Usage(input_tokens=20, output_tokens=10_000))
    sampler = ScriptedSampler(lambda r: greedy, max_concurrency=1)
    with pytest.raises(TeacherError, match="billed above the bound"):
        gather(make_requests(10), sampler, ledger, price=DEAR)
    assert (len(sampler.requests), ledger.totals().settled, ledger.totals().planned) == (1, 1, 9)


@pytest.mark.parametrize("budget", [None, Budget(usd=1.0), Budget(usd=1.0, tokens=1000)])
def test_an_unknown_remote_price_is_refused(tmp_path, make_requests, monkeypatch, budget):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    with (
        Ledger(tmp_path / "l", budget) as ledger,
        pytest.raises(UsageError, match="the price of 'm'") as error,
    ):
        gather(make_requests(1), connect("https://example.org/v1#m"), ledger, price=None)
    assert error.value.hint == "set teacher.price, or budget.tokens instead of budget.usd"


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_key_stops_at_once_and_fails_nothing(ledger, make_requests, status):
    refused = Failure(reason=f"http_{status}", retryable=False, maybe_billed=False)
    sampler = ScriptedSampler(lambda r: refused, max_concurrency=1)
    with pytest.raises(TeacherError, match="refuses the key"):
        gather(make_requests(10), sampler, ledger)
    assert (len(sampler.requests), ledger.totals().planned, ledger.totals().failed) == (1, 10, 0)


def test_a_server_that_turns_down_everything_is_not_asked_a_thousand_times(ledger, make_requests):
    sampler = ScriptedSampler(lambda r: WRONG, max_concurrency=1)
    with pytest.raises(TeacherError, match="turned down the first 20 requests: http_400"):
        gather(make_requests(100), sampler, ledger)
    assert ledger.totals().failed == 20


def test_a_server_that_went_away_fails_nothing(ledger, make_requests, monkeypatch):
    monkeypatch.setattr("spiritsafe.collect.generate.UNREACHABLE_S", 0.05)
    gone = Failure(reason="connection", retryable=True, maybe_billed=False)
    sampler = ScriptedSampler(lambda r: "14" if int(r.prompt_id) < 5 else gone, max_concurrency=2)
    with pytest.raises(TeacherError, match="has not been reachable"):
        gather(make_requests(40), sampler, ledger)
    totals = ledger.totals()
    assert (totals.settled, totals.planned, totals.failed, totals.charged_usd) == (5, 35, 0, 0.0)


def test_cancelling_marks_what_was_in_flight(tmp_path, make_requests):
    sampler = Stuck(ScriptedSampler(echo).teacher)

    async def run(ledger) -> None:
        task = asyncio.create_task(
            collect(make_requests(30), sampler, ledger, purpose="train", price=FREE, max_attempts=3)
        )
        await sampler.full.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    with Ledger(tmp_path / "l") as ledger:
        asyncio.run(run(ledger))
        totals = ledger.totals()
        assert (totals.unknown, totals.planned, totals.in_flight, totals.unknown_attempts) == (4, 26, 0, 4)
    with Ledger(tmp_path / "l") as again:
        assert again.totals().unknown == 4
        assert gather(make_requests(30), ScriptedSampler(echo), again).settled == 30


class Stuck:
    """Takes four requests and never answers."""

    batch_size = 1
    max_concurrency = 4

    def __init__(self, teacher) -> None:
        self.teacher = teacher
        self.taken = 0
        self.full = asyncio.Event()

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def sample(self, requests):
        self.taken += 1
        if self.taken == 4:
            self.full.set()
        await asyncio.Event().wait()


def test_progress_tells_how_far_it_is(ledger, make_requests, monkeypatch):
    monkeypatch.setattr("spiritsafe.collect.generate.TICK_S", 0.01)
    gather(make_requests(10), ScriptedSampler(echo), ledger)
    seen = []
    script = {str(n): "14" for n in range(40)} | {"30": WRONG}
    gather(make_requests(40), ScriptedSampler(script, delay_s=0.02), ledger, progress=seen.append)
    last = seen[-1]
    assert len(seen) > 2
    assert (last.done, last.total, last.settled, last.failed, last.in_flight) == (40, 40, 39, 1, 0)
    assert last.rate > 0 and last.eta_s == 0.0
    assert [p.done for p in seen] == sorted(p.done for p in seen)
    assert seen[0].done >= 10
    assert any(p.in_flight > 0 and p.concurrency == 8 for p in seen)


def test_a_full_disk_stops_with_the_cure(ledger, make_requests):
    ledger.plan(make_requests(20), "train")
    ledger._db.run("PRAGMA max_page_count = 1")
    with pytest.raises(SpiritSafeError, match="cannot write the ledger"):
        gather(make_requests(20), ScriptedSampler(lambda r: "long " * 10_000), ledger)


def test_against_a_server(ledger, start_server, make_requests):
    server = start_server(latency=0.01)
    sampler = connect(server.ref, settings=Teacher(model=server.ref))

    async def run():
        totals = await collect(
            make_requests(200), sampler, ledger, purpose="train", price=None, max_attempts=3
        )
        await sampler.close()
        return totals

    totals = asyncio.run(run())
    assert (totals.settled, totals.attempts) == (200, 200)
    assert set(server.served().values()) == {1}
    assert set(server.served()) == {s.request_hash for s in ledger.samples("train")}
    assert totals.spent_tokens == sum(row["input"] + row["output"] for row in server.rows())
