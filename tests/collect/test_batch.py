"""Collecting by the batch: three providers' calls, failures of each kind, budgets, and both modes mixed."""

import asyncio

import pytest

from spiritsafe.collect import batch_wait
from spiritsafe.collect.batch import collect_batches
from spiritsafe.collect.generate import collect
from spiritsafe.costs.economics import request_bound
from spiritsafe.errors import BudgetReached, SpiritSafeError, TeacherError, UsageError
from spiritsafe.recipe import Budget, Price, Teacher
from spiritsafe.store.ledger import Ledger
from spiritsafe.teachers.batch_openai import OpenRouterBatches
from spiritsafe.teachers.connect import connect_batch, teacher_id
from spiritsafe.teachers.scripted import ScriptedSampler

HALF = Price(input_per_million=0.5, output_per_million=1.0)
DIALECTS = ["openai", "anthropic", "openrouter"]


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(batch_wait, "POLL_S", 0.02)
    monkeypatch.setattr(batch_wait, "MAX_POLL_S", 0.1)
    monkeypatch.setattr(batch_wait, "GRACE_S", 0.3)


class Heard:
    """What was said."""

    def __init__(self):
        self.details, self.notes = [], []

    def progress(self, done, total, detail):
        self.details.append((done, total, detail))

    def note(self, text):
        self.notes.append(text)


def gather(requests, api, ledger, *, price=HALF, max_attempts=4, submit=True, say=None):
    async def run():
        try:
            return await collect_batches(
                requests,
                api,
                ledger,
                purpose="train",
                price=price,
                max_attempts=max_attempts,
                say=say or Heard(),
                submit=submit,
            )
        finally:
            await api.close()

    return asyncio.run(run())


def api_of(server, dialect="openai", **settings):
    ref = server.batch_ref(dialect)
    if dialect == "openrouter":  # told by its host
        settings = Teacher(model=ref, **settings)
        return OpenRouterBatches(ref.partition("#")[0], teacher_id(ref, settings), settings)
    return connect_batch(ref, settings=Teacher(model=ref, **settings))


@pytest.mark.parametrize("dialect", DIALECTS)
def test_every_answer_is_settled_at_the_batch_price(tmp_path, start_batches, make_requests, dialect):
    server = start_batches(delay=0.1)
    requests, heard = make_requests(30), Heard()
    with Ledger(tmp_path / "l") as ledger:
        totals = gather(requests, api_of(server, dialect), ledger, say=heard)
        samples = list(ledger.samples("train"))
    assert (totals.settled, totals.attempts, totals.in_flight, totals.unknown) == (30, 30, 0, 0)
    billed = [row for row in server.rows() if row["event"] == "billed"]
    assert totals.usage.input_tokens == sum(row["input"] for row in billed)
    assert totals.usage.output_tokens == sum(row["output"] for row in billed)
    assert totals.spent_usd == pytest.approx(
        (0.5 * totals.usage.input_tokens + 1.0 * totals.usage.output_tokens) / 1e6
    )
    assert {s.origin.channel for s in samples} == {"batch"}
    assert all(s.text.startswith("The answer is ####") and s.finish_reason == "stop" for s in samples)
    assert (0, 30, "batch 1 of 1: in_progress, 0/30") in heard.details


@pytest.mark.parametrize("dialect", DIALECTS)
def test_expired_failed_and_refused_requests(tmp_path, start_batches, make_requests, dialect):
    """Expired ones and server errors come again, refused ones fail for good; what succeeded is kept."""
    server = start_batches(faults={"expired": 0.3, "500": 0.2, "400": 0.1}, seed=3)
    with Ledger(tmp_path / "l") as ledger:
        totals = gather(make_requests(60), api_of(server, dialect), ledger, max_attempts=20)
        failed = ledger.failed_attempts()
    refused = "batch_invalid_request_error" if dialect == "anthropic" else "http_400"
    assert totals.reasons == {refused: totals.failed}
    assert totals.failed > 0 and failed["batch_expired"] > 0
    assert totals.settled + totals.failed == 60
    assert (totals.unknown, totals.in_flight, totals.unknown_attempts) == (0, 0, 0)
    assert set(server.billed().values()) == {1}
    assert len(server.billed()) == totals.settled
    assert totals.attempts == 60 + sum(failed.values()) - totals.failed


def test_passing_failures_end_after_the_last_attempt(tmp_path, start_batches, make_requests):
    server = start_batches(faults={"expired": 1.0})
    with Ledger(tmp_path / "l") as ledger:
        totals = gather(make_requests(3), api_of(server), ledger, max_attempts=2)
        assert (totals.failed, totals.reasons, totals.attempts) == (3, {"batch_expired": 3}, 6)
        assert len(ledger.todo("train")) == 3  # another run may have more luck


def test_a_cancelled_batch_keeps_what_was_done(tmp_path, start_batches, make_requests):
    server = start_batches(cancel=1)
    with Ledger(tmp_path / "l") as ledger:
        totals = gather(make_requests(10), api_of(server), ledger)
        assert ledger.failed_attempts() == {"batch_cancelled": 5}
    assert (totals.settled, totals.attempts) == (10, 15)
    assert set(server.billed().values()) == {1}


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("fault", ["drop_after", "drop_before"])
def test_a_lost_submission_is_looked_up(tmp_path, start_batches, make_requests, dialect, fault):
    """Accepted or not: it is found out before anything is submitted again."""
    server = start_batches(**{fault: 1}, delay=0.2)
    with Ledger(tmp_path / "l") as ledger:
        totals = gather(make_requests(20), api_of(server, dialect), ledger)
    assert totals.settled == 20
    assert sorted(server.billed().values()) == [1] * 20
    assert server.events()["accepted"] == 1
    assert server.events()["list"] > 1


def test_submissions_that_never_arrive_end_the_run(tmp_path, start_batches, make_requests):
    server = start_batches(drop_before=9)
    with Ledger(tmp_path / "l") as ledger:
        with pytest.raises(TeacherError, match="answered none of 3 submissions"):
            gather(make_requests(2), api_of(server), ledger)
        assert (ledger.totals().planned, ledger.charged) == (2, (0, 0.0))


@pytest.mark.parametrize("dialect", ["openai", "anthropic"])
def test_a_broken_download_is_repeated(tmp_path, start_batches, make_requests, dialect):
    server = start_batches(break_results=2)
    with Ledger(tmp_path / "l") as ledger:
        totals = gather(make_requests(40), api_of(server, dialect), ledger)
    assert (totals.settled, totals.attempts, totals.unknown_attempts) == (40, 40, 0)
    assert server.events()["results"] == 3


def test_a_completed_batch_without_a_result_may_have_billed_it(tmp_path, start_batches, make_requests):
    server = start_batches(faults={"missing": 0.3}, seed=1)
    with Ledger(tmp_path / "l") as ledger:
        totals = gather(make_requests(20), api_of(server), ledger, max_attempts=9)
    assert (totals.settled, totals.unknown) == (20, 0)
    assert totals.unknown_attempts == totals.attempts - 20 > 0
    assert totals.unknown_usd > 0


def test_batches_are_cut_at_the_providers_limits(tmp_path, start_batches, make_requests, monkeypatch):
    server = start_batches()
    api = api_of(server)
    limits = api.limits
    sizes = [len(api.line(r.request_hash, r)) for r in make_requests(10)]
    for small in ({"requests": 4}, {"bytes": 3 * max(sizes) + 10}):
        monkeypatch.setattr(api, "limits", type(limits)(**{**limits.to_json(), **small}), raising=False)
        with Ledger(tmp_path / str(small)) as ledger:
            assert gather(make_requests(10), api, ledger).settled == 10
    accepted = [row["requests"] for row in server.rows() if row["event"] == "accepted"]
    assert accepted[:3] == [4, 4, 2]
    assert max(accepted[3:]) <= 4 and sum(accepted[3:]) == 10


def test_a_full_queue_makes_batches_smaller(tmp_path, start_batches, make_requests):
    server = start_batches(queue=5)
    with Ledger(tmp_path / "l") as ledger:
        totals = gather(make_requests(20), api_of(server), ledger, max_attempts=1)
    assert (totals.settled, totals.failed) == (20, 0)
    accepted = [row["requests"] for row in server.rows() if row["event"] == "accepted"]
    assert accepted == [20, 10, 10, 5, 5, 5, 5]


def test_the_budget_cuts_batches_and_is_never_exceeded(tmp_path, start_batches, make_requests):
    """What fits is reserved; what the first batch leaves over pays for the next."""
    server, requests = start_batches(), make_requests(40)
    bound = max(request_bound(r.messages, 32, HALF).usd for r in requests)
    budget = Budget(usd=10 * bound)
    with Ledger(tmp_path / "l", budget) as ledger:
        totals = gather(requests, api_of(server), ledger)
        assert ledger.charged[1] <= budget.usd
    assert totals.settled == 40
    accepted = [row["requests"] for row in server.rows() if row["event"] == "accepted"]
    assert len(accepted) > 3 and 10 <= accepted[0] <= 12


def test_a_budget_that_is_used_up_stops_with_what_is_settled(tmp_path, start_batches, make_requests):
    server, requests = start_batches(), make_requests(40)
    bound = max(request_bound(r.messages, 32, HALF).usd for r in requests)
    with Ledger(tmp_path / "l", Budget(usd=1.5 * bound)) as ledger:
        with pytest.raises(BudgetReached):
            gather(requests, api_of(server), ledger)
        totals = ledger.totals()
        assert 0 < totals.settled < 40 and totals.in_flight == 0
        assert totals.charged_usd <= 1.5 * bound
    assert len(server.billed()) == totals.settled
    with Ledger(tmp_path / "l") as ledger:
        assert gather(requests, api_of(server), ledger).settled == 40
    assert set(server.billed().values()) == {1}


def test_a_batch_of_refused_requests_stops_the_run_and_fails_none(tmp_path, start_batches, make_requests):
    server = start_batches(faults={"400": 1.0})
    with Ledger(tmp_path / "l") as ledger:
        with pytest.raises(TeacherError, match="turned down all 25 requests of a batch: http_400"):
            gather(make_requests(25), api_of(server), ledger)
        assert (ledger.totals().planned, ledger.totals().failed) == (25, 0)


def test_billed_above_the_bound_is_kept_and_stops(tmp_path, start_batches, make_requests):
    server = start_batches()
    with Ledger(tmp_path / "l") as ledger:
        api = api_of(server)
        reserve = ledger.reserve

        def low(key, bound, batch=None):
            reserve(key, type(bound)(tokens=bound.tokens, usd=1e-9), batch=batch)

        ledger.reserve = low
        with pytest.raises(TeacherError, match="billed above the bound"):
            gather(make_requests(4), api, ledger)
        assert ledger.totals().settled == 4


def test_live_answers_are_not_asked_again(tmp_path, start_batches, make_requests):
    """Both modes have one request hash: what one has paid the other finds."""
    server, requests = start_batches(), make_requests(10)
    with Ledger(tmp_path / "l") as ledger:
        live = ScriptedSampler(lambda request: "14")
        asyncio.run(collect(requests[:6], live, ledger, purpose="train", price=HALF, max_attempts=1))
        assert gather(requests, api_of(server), ledger).settled == 10
        channels = [sample.origin.channel for sample in ledger.samples("train")]
    assert sorted(channels) == ["batch"] * 4 + ["scripted"] * 6
    assert len(server.billed()) == 4


def test_a_live_collection_waits_for_batches_that_run(tmp_path, start_batches, make_requests):
    server, requests = start_batches(delay=0.5), make_requests(8)
    with Ledger(tmp_path / "l") as ledger:
        interrupted(requests[:5], server, ledger)
    with Ledger(tmp_path / "l") as ledger:
        assert (ledger.totals().in_flight, ledger.totals().unknown) == (5, 0)
        totals = gather(requests, api_of(server), ledger, submit=False)
        assert (totals.settled, totals.planned) == (5, 3)
    assert server.events()["accepted"] == 1


def interrupted(requests, server, ledger):
    """Submit, then stop as Ctrl-C does."""
    heard = Heard()

    async def run():
        task = asyncio.create_task(
            collect_batches(
                requests,
                api := api_of(server),
                ledger,
                purpose="train",
                price=HALF,
                max_attempts=2,
                say=heard,
            )
        )
        while not heard.details:
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await api.close()

    asyncio.run(run())
    assert heard.notes[-1].endswith("goes on at 127.0.0.1:" + str(server.port))


def test_a_batch_elsewhere_is_named(tmp_path, start_batches, make_requests):
    server, other, requests = start_batches(delay=9), start_batches(), make_requests(5)
    with Ledger(tmp_path / "l") as ledger:
        interrupted(requests, server, ledger)
        with pytest.raises(
            SpiritSafeError, match=rf"5 of these requests are in a batch at .*:{server.port}/v1"
        ):
            gather(requests, api_of(other), ledger)
    assert other.events()["accepted"] == 0


def test_a_server_without_batches_is_refused_by_name(tmp_path, start_server, make_requests):
    server = start_server()
    api = connect_batch(server.ref)
    with Ledger(tmp_path / "l") as ledger, pytest.raises(TeacherError, match="has no batch API") as caught:
        gather(make_requests(1), api, ledger)
    assert "batch-file:" in caught.value.hint


def test_the_fake_answers_as_the_real_client_expects(start_batches, make_requests):
    """The openai package reads the fake's objects: it has the fields and types of the real API."""
    openai = pytest.importorskip("openai")
    server = start_batches()
    api = api_of(server)
    lines = b"\n".join(api.line(r.request_hash, r) for r in make_requests(3))
    with openai.OpenAI(base_url=f"http://127.0.0.1:{server.port}/v1", api_key="none") as client:
        file = client.files.create(file=("b.jsonl", lines), purpose="batch")
        made = client.batches.create(
            input_file_id=file.id,
            endpoint="/v1/chat/completions",
            completion_window="24h",
            metadata={"spiritsafe": "mark"},
        )
        (listed,) = client.batches.list(limit=1).data
        assert (listed.id, listed.metadata) == (made.id, {"spiritsafe": "mark"})
        batch = client.batches.retrieve(made.id)
        assert (batch.status, batch.request_counts.completed) == ("completed", 3)
        rows = client.files.content(batch.output_file_id).text.splitlines()
    found = asyncio.run(found_by(api, "mark"))
    assert (found, len(rows)) == (made.id, 3)


async def found_by(api, mark):
    try:
        return (await api.find(mark, set(), 0.0, set())).remote
    finally:
        await api.close()


def test_models_in_this_process_have_no_batches():
    with pytest.raises(UsageError, match="has no batch API"):
        connect_batch("bundled:teacher")
