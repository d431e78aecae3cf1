"""Batches in the ledger: what lives survives a reopening, what was never submitted is planned again."""

import sqlite3

import pytest

from spiritsafe.costs.economics import Bound
from spiritsafe.errors import BudgetReached, CorruptData
from spiritsafe.recipe import Budget
from spiritsafe.records import Failure, Reply, Request, Sampling, Usage
from spiritsafe.store.ledger import Ledger
from spiritsafe.store.schema import MIGRATIONS, TABLES, VERSION

EXPIRED = Failure(reason="batch_expired", retryable=True, maybe_billed=False)
BOUND = Bound(tokens=20, usd=0.002)


def request(name: str) -> Request:
    message = {"role": "user", "content": f"question {name}"}
    return Request(prompt_id=name, messages=(message,), teacher="m@here", sampling=Sampling(max_tokens=8))


def submitted(ledger, names, state="submitted"):
    """A batch of requests in this state; their hashes."""
    keys = ledger.plan([request(name) for name in names], "train")
    batch = ledger.batches.begin("https://here/v1", f"mark-{names}", "train")
    for key in keys:
        ledger.reserve(key, BOUND, batch=batch)
    if state != "prepared":
        ledger.batches.submitting(batch, len(keys))
    if state == "submitted":
        ledger.batches.submitted(batch, "batch_7")
    return batch, keys


@pytest.mark.parametrize("state", ["submitting", "submitted"])
def test_a_living_batch_stays_in_flight_and_charged(tmp_path, state):
    with Ledger(tmp_path / "l") as ledger:
        batch, keys = submitted(ledger, "ab", state)
    with Ledger(tmp_path / "l", Budget(usd=0.005)) as again:
        totals = again.totals()
        assert (totals.in_flight, totals.unknown, totals.reserved_usd) == (2, 0, 0.004)
        assert again.charged == (40, 0.004)
        assert again.todo("train") == set()
        assert again.batches.in_flight("train") == 2
        (living,) = again.batches.living()
        assert (living.id, living.state, living.requests, living.service) == (
            batch,
            state,
            2,
            "https://here/v1",
        )
        assert living.remote == ("batch_7" if state == "submitted" else None)
        assert again.batches.requests(batch) == {key: request(n) for key, n in zip(keys, "ab", strict=True)}
        (other,) = again.plan([request("c")], "other")
        with pytest.raises(BudgetReached):
            again.reserve(other, BOUND)


def test_what_was_never_submitted_is_planned_again(tmp_path):
    with Ledger(tmp_path / "l") as ledger:
        _, keys = submitted(ledger, "ab", "prepared")
    with Ledger(tmp_path / "l") as again:
        totals = again.totals()
        assert (totals.planned, totals.in_flight, totals.attempts, again.charged) == (2, 0, 0, (0, 0.0))
        assert again.todo("train") == set(keys)
        assert again.batches.living() == []


def test_a_batch_whose_requests_have_all_ended_is_closed(tmp_path):
    """Killed after the last answer, before the batch itself was ended."""
    with Ledger(tmp_path / "l") as ledger:
        _, keys = submitted(ledger, "ab")
        ledger.fail(keys[0], EXPIRED, final=True)
        ledger.settle(keys[1], Reply(text="14", usage=Usage(input_tokens=7, output_tokens=3)), 0.001)
    with Ledger(tmp_path / "l") as again:
        assert again.batches.living() == []
        assert again.charged == (10, 0.001)


def test_live_requests_in_flight_are_unknown_beside_a_batch(tmp_path):
    with Ledger(tmp_path / "l") as ledger:
        submitted(ledger, "ab")
        (live,) = ledger.plan([request("c")], "live")
        ledger.reserve(live, BOUND)
    with Ledger(tmp_path / "l") as again:
        assert (again.totals().in_flight, again.totals().unknown) == (2, 1)
        assert again.charged == (60, 0.006)


def test_answers_say_that_they_came_by_the_batch(tmp_path):
    """Until the batch gives a request up: a later live answer is a live one."""
    reply = Reply(text="14", usage=Usage(input_tokens=7, output_tokens=3))
    with Ledger(tmp_path / "l") as ledger:
        batch, keys = submitted(ledger, "ab")
    with Ledger(tmp_path / "l") as again:
        again.settle(keys[0], reply, 0.001)
        again.fail(keys[1], EXPIRED, final=False)
        assert again.batches.requests(batch) == {}
        again.batches.ended(batch, "expired")
        assert again.batches.living() == []
        assert again.batches.remotes() == {"batch_7"}
        again.reserve(keys[1], BOUND)
        again.settle(keys[1], reply, 0.001)
        channels = {sample.prompt_id: sample.origin.channel for sample in again.samples("train")}
    assert channels == {"a": "batch", "b": "api"}


def test_a_ledger_of_version_1_is_carried_over(tmp_path):
    path = tmp_path / "l"
    with Ledger(path) as ledger:
        (key,) = ledger.plan([request("a")], "train")
        ledger.reserve(key, BOUND)
        ledger.settle(key, Reply(text="14", usage=Usage(input_tokens=7, output_tokens=3)), 0.001)
    with sqlite3.connect(path) as old:
        old.executescript(
            "DROP TABLE batches; ALTER TABLE requests DROP COLUMN batch; PRAGMA user_version = 1;"
        )
    old.close()
    with Ledger(path) as again:
        assert again.charged == (10, 0.001)
        assert [sample.text for sample in again.samples("train")] == ["14"]
        assert again.verify() == []
        submitted(again, "b")
    assert shape(path) == shape_of(TABLES)


def test_every_older_version_has_a_way_here(tmp_path):
    assert sorted(MIGRATIONS) == list(range(1, VERSION))
    with sqlite3.connect(tmp_path / "l") as other:
        other.execute("PRAGMA user_version = 99")
    other.close()
    with pytest.raises(CorruptData, match="version 99"):
        Ledger(tmp_path / "l")


def shape(path):
    with sqlite3.connect(path) as db:
        found = columns(db)
    db.close()
    return found


def shape_of(tables):
    with sqlite3.connect(":memory:") as db:
        db.executescript(tables)
        found = columns(db)
    db.close()
    return found


def columns(db):
    names = [row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    return {name: db.execute(f"PRAGMA table_info({name})").fetchall() for name in sorted(names)}
