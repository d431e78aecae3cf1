"""The ledger: states, money, group commits, crashes."""

import asyncio
import os
import sqlite3
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spiritsafe.costs.economics import Bound
from spiritsafe.errors import BudgetReached, CorruptData, SpiritSafeError, TeacherError
from spiritsafe.recipe import Budget
from spiritsafe.records import Failure, Reply, Request, Sampling, TopK, Usage
from spiritsafe.store.ledger import Ledger

BUSY = Failure(reason="http_429", retryable=True, maybe_billed=False)
LATE = Failure(reason="timeout", retryable=True, maybe_billed=True)
WRONG = Failure(reason="http_400", retryable=False, maybe_billed=False)


def request(name: str, text: str | None = None) -> Request:
    message = {"role": "user", "content": text or f"question {name}"}
    return Request(prompt_id=name, messages=(message,), teacher="m@local", sampling=Sampling(max_tokens=8))


def reply(tokens: int = 10, text: str = "14") -> Reply:
    return Reply(text=text, usage=Usage(input_tokens=tokens - 3, output_tokens=3), fingerprint="fp")


def bound(tokens: int = 20, usd: float = 0.002) -> Bound:
    return Bound(tokens=tokens, usd=usd)


def planned(path, names, budget=None):
    ledger = Ledger(path, budget)
    return ledger, ledger.plan([request(name) for name in names], "train")


def test_reserve_then_settle_replaces_the_bound(tmp_path):
    ledger, (key,) = planned(tmp_path / "l", ["a"])
    ledger.reserve(key, bound())
    flying = ledger.totals()
    assert (flying.in_flight, flying.reserved_tokens, flying.reserved_usd) == (1, 20, 0.002)
    ledger.settle(key, reply(), 0.001)
    done = ledger.totals("train")
    assert (done.settled, done.attempts, done.spent_tokens, done.spent_usd) == (1, 1, 10, 0.001)
    assert (done.charged_tokens, done.reserved_tokens) == (10, 0)
    assert ledger.charged == (10, 0.001)
    assert done.usage == Usage(input_tokens=7, output_tokens=3)
    ledger.close()


def test_samples_are_sorted_and_whole(tmp_path):
    with Ledger(tmp_path / "l") as ledger:
        requests = [request(name) for name in "cab"]
        hashes = ledger.plan(requests, "train", channel="scripted")
        for key in hashes:
            ledger.reserve(key, bound())
            ledger.settle(key, reply(text=f"text of {key[:4]}"), 0.001)
        samples = list(ledger.samples("train"))
    assert [s.request_hash for s in samples] == sorted(hashes)
    by_id = {s.prompt_id: s for s in samples}
    assert by_id["c"].messages == requests[0].messages
    assert by_id["c"].text == f"text of {hashes[0][:4]}"
    assert by_id["c"].origin.to_json() | {"date": ""} == {
        "teacher": "m@local",
        "channel": "scripted",
        "fingerprint": "fp",
        "date": "",
    }
    assert by_id["c"].cost_usd == 0.001
    assert by_id["c"].accepted is None


def test_one_request_for_two_purposes_is_paid_once(tmp_path):
    with Ledger(tmp_path / "l") as ledger:
        (key,) = ledger.plan([request("a", "same text")], "train")
        ledger.reserve(key, bound())
        ledger.settle(key, reply(), 0.001)
        assert ledger.plan([request("b", "same text"), request("c", "same text")], "test") == [key, key]
        assert ledger.todo("test") == set()
        assert [s.prompt_id for s in ledger.samples("test")] == ["b", "c"]
        assert ledger.totals().spent_usd == 0.001


def test_a_new_plan_replaces_the_old_one_of_that_purpose(tmp_path):
    with Ledger(tmp_path / "l") as ledger:
        ledger.plan([request("a"), request("b")], "train")
        (key,) = ledger.plan([request("b")], "train")
        assert ledger.todo("train") == {key}
        assert ledger.totals("train").planned == 1
        assert ledger.totals().planned == 2


def test_settled_is_never_reserved_or_settled_again(tmp_path):
    ledger, (key,) = planned(tmp_path / "l", ["a"])
    ledger.reserve(key, bound())
    with pytest.raises(SpiritSafeError, match="is in flight already"):
        ledger.reserve(key, bound())
    ledger.settle(key, reply(), 0.0)
    with pytest.raises(SpiritSafeError, match="has no reservation"):
        ledger.settle(key, reply(), 0.0)
    with pytest.raises(SpiritSafeError, match="is not waiting"):
        ledger.reserve(key, bound())
    with pytest.raises(SpiritSafeError, match="is not waiting"):
        ledger.reserve("0" * 64, bound())
    assert ledger.charged == (10, 0.0)
    ledger.close()


@pytest.mark.parametrize(
    ("failure", "final", "state", "charged"),
    [
        (BUSY, False, "planned", 0),
        (BUSY, True, "failed", 0),
        (LATE, False, "unknown", 20),
        (LATE, True, "failed", 20),
        (WRONG, True, "failed", 0),
    ],
)
def test_failures_release_or_keep_the_reservation(tmp_path, failure, final, state, charged):
    ledger, (key,) = planned(tmp_path / "l", ["a"])
    ledger.reserve(key, bound())
    ledger.fail(key, failure, final=final)
    totals = ledger.totals()
    assert getattr(totals, state) == 1
    assert (totals.charged_tokens, totals.unknown_tokens, ledger.charged[0]) == (charged, charged, charged)
    assert totals.reasons == ({failure.reason: 1} if final else {})
    assert ledger.failed_attempts() == {failure.reason: 1}
    assert ledger.todo("train") == (set() if failure is WRONG else {key})
    ledger.close()


def test_unknown_stays_charged_after_the_answer(tmp_path):
    ledger, (key,) = planned(tmp_path / "l", ["a"])
    ledger.reserve(key, bound())
    ledger.fail(key, LATE, final=False)
    ledger.reserve(key, bound())
    ledger.settle(key, reply(), 0.001)
    totals = ledger.totals()
    assert (totals.settled, totals.unknown, totals.unknown_attempts) == (1, 0, 1)
    assert (totals.charged_tokens, totals.charged_usd) == (30, 0.003)
    ledger.close()


def test_in_flight_becomes_unknown_at_the_next_opening(tmp_path):
    ledger, keys = planned(tmp_path / "l", ["a", "b"])
    ledger.reserve(keys[0], bound())
    ledger.close()
    with Ledger(tmp_path / "l") as again:
        totals = again.totals()
        assert (totals.unknown, totals.planned, totals.unknown_tokens, totals.unknown_usd) == (
            1,
            1,
            20,
            0.002,
        )
        assert again.charged == (20, 0.002)
        assert again.todo("train") == set(keys)


def test_budget_counts_spent_reserved_and_unknown(tmp_path):
    ledger, keys = planned(tmp_path / "l", "abc", Budget(tokens=59))
    ledger.reserve(keys[0], bound())
    ledger.fail(keys[0], LATE, final=False)
    ledger.reserve(keys[1], bound())
    with pytest.raises(
        BudgetReached, match="40 of 59 tokens are charged, the next request may take 20"
    ) as error:
        ledger.reserve(keys[2], bound())
    assert error.value.hint is not None and "budget.tokens" in error.value.hint
    ledger.settle(keys[1], reply(), 0.0)
    ledger.reserve(keys[2], bound())
    ledger.close()


def test_budget_in_dollars_is_exact(tmp_path):
    ledger, keys = planned(tmp_path / "l", [str(n) for n in range(11)], Budget(usd=0.1))
    for key in keys[:10]:
        ledger.reserve(key, bound(usd=0.01))  # in floats, ten times 0.01 is not 0.1
    with pytest.raises(BudgetReached, match=r"0\.1 of 0\.1 USD"):
        ledger.reserve(keys[10], bound(usd=1e-9))
    ledger.close()


def test_free_requests_fit_into_a_budget_of_nothing(tmp_path):
    ledger, (key,) = planned(tmp_path / "l", ["a"], Budget(usd=0))
    ledger.reserve(key, bound(usd=0.0))
    ledger.settle(key, reply(), 0.0)
    assert (ledger.totals().settled, ledger.totals().spent_usd) == (1, 0.0)
    ledger.close()


def test_billed_above_the_bound_is_kept_and_reported(tmp_path):
    ledger, (key,) = planned(tmp_path / "l", ["a"])
    ledger.reserve(key, bound())
    with pytest.raises(TeacherError, match="billed above the bound"):
        ledger.settle(key, reply(), 0.0021)
    assert ledger.totals().settled == 1
    assert ledger.totals().spent_usd == 0.0021
    ledger.close()


def test_tokens_above_the_bound_matter_only_under_a_token_budget(tmp_path):
    free, (key,) = planned(tmp_path / "free", ["a"])
    free.reserve(key, bound(usd=0.0))
    free.settle(key, reply(tokens=21), 0.0)
    free.close()
    capped, (key,) = planned(tmp_path / "capped", ["a"], Budget(tokens=100))
    capped.reserve(key, bound(usd=0.0))
    with pytest.raises(TeacherError, match="took 21 tokens"):
        capped.settle(key, reply(tokens=21), 0.0)
    capped.close()


def test_a_reply_without_usage_costs_its_bound(tmp_path):
    ledger, (key,) = planned(tmp_path / "l", ["a"])
    ledger.reserve(key, bound())
    ledger.settle(key, Reply(text="14"), 0.002)
    assert ledger.totals().spent_tokens == 20
    ledger.close()


def test_judged_answers_are_kept_with_reasons(tmp_path):
    ledger, keys = planned(tmp_path / "l", "ab")
    for key in keys:
        ledger.reserve(key, bound())
        ledger.settle(key, reply(), 0.0)
    ledger.judge([(keys[0], True, None), (keys[1], False, "wrong_answer")])
    totals = ledger.totals()
    assert (totals.settled, totals.rejected) == (1, 1)
    verdicts = {s.request_hash: (s.accepted, s.reject_reason) for s in ledger.samples("train")}
    assert verdicts == {keys[0]: (True, None), keys[1]: (False, "wrong_answer")}
    assert ledger.todo("train") == set()
    ledger.judge([(keys[1], True, None)])
    assert ledger.totals().rejected == 0
    ledger.close()


def test_log_probabilities_and_odd_text_survive(tmp_path):
    top = TopK(tokens=(("a", "b"),), logprobs=((-0.1, -2.5),))
    odd = 'quote " newline \n nul \x00 \u2028 \U0001f600'
    ledger, (key,) = planned(tmp_path / "l", ["a"])
    ledger.reserve(key, bound())
    ledger.settle(key, Reply(text=odd, top_logprobs=top, reasoning="hm"), 0.0)
    (sample,) = ledger.samples("train")
    assert (sample.text, sample.reasoning) == (odd, "hm")
    ledger.close()


def test_operations_of_one_moment_are_one_commit(tmp_path):
    ledger, keys = planned(tmp_path / "l", [str(n) for n in range(64)])

    async def reserve(key: str) -> None:
        ledger.reserve(key, bound())
        await ledger.committed()
        assert in_file(tmp_path / "l", key) == "in_flight"

    async def everything() -> None:
        await asyncio.gather(*map(reserve, keys))

    before = frames(tmp_path / "l")
    asyncio.run(everything())
    # 64 single commits would write at least 64 pages; together they write each page once.
    assert frames(tmp_path / "l") - before < 40
    ledger.close()


def in_file(path, key):
    with sqlite3.connect(path) as other:
        state = other.execute("SELECT state FROM requests WHERE request_hash = ?", (key,)).fetchone()[0]
    other.close()
    return state


def frames(path):
    return os.path.getsize(f"{path}-wal") // 4096


def test_nothing_is_visible_before_the_commit(tmp_path):
    ledger, (key,) = planned(tmp_path / "l", ["a"])

    async def reserve() -> None:
        ledger.reserve(key, bound())
        assert in_file(tmp_path / "l", key) == "planned"
        await ledger.committed()
        assert in_file(tmp_path / "l", key) == "in_flight"

    asyncio.run(reserve())
    ledger.close()


def test_a_settled_answer_is_committed_without_anybody_waiting(tmp_path):
    ledger, (key,) = planned(tmp_path / "l", ["a"])

    async def settle() -> None:
        ledger.reserve(key, bound())
        await ledger.committed()
        ledger.settle(key, reply(), 0.0)
        for _ in range(100):
            await asyncio.sleep(0.01)
            if in_file(tmp_path / "l", key) == "settled":
                return
        raise AssertionError("not committed within a second")

    asyncio.run(settle())
    ledger.close()


def test_one_process_at_a_time(tmp_path):
    ledger, _ = planned(tmp_path / "l", ["a"])
    with pytest.raises(SpiritSafeError, match="the ledger is in use"):
        Ledger(tmp_path / "l")
    ledger.close()
    Ledger(tmp_path / "l").close()


def test_a_killed_process_leaves_no_lock(tmp_path):
    code = (
        "import os, sys; from spiritsafe.store.ledger import Ledger; "
        "Ledger(sys.argv[1]); os.kill(os.getpid(), 9)"
    )
    died = subprocess.run([sys.executable, "-c", code, str(tmp_path / "l")], check=False)
    assert died.returncode == -9
    Ledger(tmp_path / "l").close()


@pytest.mark.parametrize("damage", ["text", "page"])
def test_a_damaged_file_is_named_with_the_cure(tmp_path, damage):
    path = tmp_path / "l"
    ledger, _ = planned(path, [str(n) for n in range(200)])
    ledger.close()
    data = bytearray(path.read_bytes())
    if damage == "text":
        data[:] = b"this is not a database, but it is long enough to look like one" * 100
    else:
        data[4096:12288] = b"\xff" * 8192
    path.write_bytes(data)
    with pytest.raises(CorruptData, match="damaged ledger") as error:
        Ledger(path)
    assert error.value.hint is not None and ".recover" in error.value.hint


def test_a_ledger_of_another_version_is_refused(tmp_path):
    Ledger(tmp_path / "l").close()
    with sqlite3.connect(tmp_path / "l") as other:
        other.execute("PRAGMA user_version = 99")
    other.close()
    with pytest.raises(CorruptData, match="version 99"):
        Ledger(tmp_path / "l")


def test_a_ledger_that_cannot_be_opened_is_named_and_leaves_no_lock(tmp_path):
    (tmp_path / "l").mkdir()
    for _ in range(2):
        with pytest.raises(SpiritSafeError, match=r"cannot use the ledger .*: unable to open"):
            Ledger(tmp_path / "l")


def test_a_full_disk_is_reported_and_nothing_settled_is_lost(tmp_path):
    ledger, keys = planned(tmp_path / "l", "ab")
    ledger.reserve(keys[0], bound())
    ledger.settle(keys[0], reply(), 0.0)
    ledger._db.run("PRAGMA max_page_count = 1")  # SQLite's own way to run out of space
    ledger.reserve(keys[1], bound())
    with pytest.raises(SpiritSafeError, match="cannot write the ledger") as error:
        ledger.settle(keys[1], reply(text="long " * 10_000), 0.0)
    assert error.value.hint is not None and "free some space" in error.value.hint
    with pytest.raises(SpiritSafeError, match="cannot write the ledger"):
        ledger.flush()
    ledger.close()
    with Ledger(tmp_path / "l") as again:
        assert (again.totals().settled, again.totals().unknown) == (1, 1)


def test_a_closed_ledger_says_so(tmp_path):
    ledger, (key,) = planned(tmp_path / "l", ["a"])
    ledger.close()
    ledger.close()
    with pytest.raises(SpiritSafeError, match="closed"):
        ledger.reserve(key, bound())


NAMES = "abcde"
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["reserve", "settle", "late", "busy", "wrong", "crash"]), st.sampled_from(NAMES)
    ),
    max_size=60,
)


@given(steps=STEPS, limit=st.integers(0, 120))
@settings(max_examples=40, deadline=None)
def test_any_history_keeps_the_budget_and_settles_once(tmp_path_factory, steps, limit):
    """Charges stay within the budget, memory and file agree, nothing is settled twice."""
    path = tmp_path_factory.mktemp("ledger") / "l"
    ledger, keys = planned(path, NAMES, Budget(tokens=limit))
    settled: dict[str, int] = dict.fromkeys(keys, 0)
    for step, name in steps:
        key = keys[NAMES.index(name)]
        if step == "crash":
            ledger.close()  # attempts in flight stay so in the file, as after a kill
            ledger = Ledger(path, Budget(tokens=limit))
        else:
            settled[key] += attempt(ledger, step, key)
        totals = ledger.totals()
        assert totals.charged_tokens <= limit
        assert ledger.charged == (totals.charged_tokens, totals.charged_usd)
    assert set(settled.values()) <= {0, 1}
    assert ledger.totals().settled == sum(settled.values())
    ledger.close()


def attempt(ledger: Ledger, step: str, key: str) -> int:
    """Take one step where it is allowed; 1 when an answer was settled."""
    try:
        if step == "reserve":
            ledger.reserve(key, bound(usd=0.0))
        elif step == "settle":
            ledger.settle(key, reply(), 0.0)
        else:
            failure = {"late": LATE, "busy": BUSY, "wrong": WRONG}[step]
            ledger.fail(key, failure, final=step == "wrong")
    except SpiritSafeError:
        return 0
    return int(step == "settle")
