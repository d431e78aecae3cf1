"""kill -9 at every step of a batch, then resume: nothing lost, nothing paid twice.

The provider counts what it would have billed: each request exactly once, whatever was killed when.
"""

import os
import random
import subprocess
import sys
import time

import pytest

from spiritsafe.store.ledger import Ledger

PROMPTS = 60
COLLECT = """
import asyncio, sys
from spiritsafe.collect import batch, batch_wait
from spiritsafe.recipe import Budget, Price, Teacher
from spiritsafe.records import Request, Sampling
from spiritsafe.store.ledger import Ledger
from spiritsafe.teachers.connect import connect_batch

batch_wait.POLL_S, batch_wait.MAX_POLL_S, batch_wait.GRACE_S = 0.02, 0.1, float(sys.argv[5])
path, ref, prompts, usd = sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4])

class Say:
    def progress(self, done, total, detail): pass
    def note(self, text): pass

def request(number):
    message = {"role": "user", "content": f"problem {number}"}
    sampling = Sampling(max_tokens=32)
    return Request(prompt_id=str(number), messages=(message,), teacher="fake@here", sampling=sampling)

async def main():
    api = connect_batch(ref, settings=Teacher(model=ref))
    price = Price(input_per_million=0.5, output_per_million=1.0)
    with Ledger(path, Budget(usd=usd or None)) as ledger:
        print("started", flush=True)
        requests = [request(number) for number in range(prompts)]
        await batch.collect_batches(
            requests, api, ledger, purpose="train", price=price, max_attempts=50, say=Say()
        )
        await api.close()

asyncio.run(main())
"""


def start(ledger, server, dialect, usd=0.0, grace=0.5) -> subprocess.Popen:
    ref = server.batch_ref(dialect)
    command = [sys.executable, "-c", COLLECT, str(ledger), ref, str(PROMPTS), str(usd), str(grace)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "started\n"
    return process


def finish(process) -> int:
    process.wait(timeout=120)
    process.stdout.close()
    return process.returncode


def kill(process) -> None:
    os.kill(process.pid, 9)
    assert finish(process) == -9


def wait_for(server, event, process, count=1) -> None:
    while server.events()[event] < count:
        assert process.poll() is None, "ended before it could be killed"
        time.sleep(0.005)


def check_books(ledger, server) -> None:
    """Every request settled, each billed once, and the ledger has charged exactly that."""
    billed = [row for row in server.rows() if row["event"] == "billed"]
    assert sorted(server.billed().values()) == [1] * PROMPTS
    with Ledger(ledger) as opened:
        totals = opened.totals("train")
        assert {s.request_hash for s in opened.samples("train")} == set(server.billed())
        assert (totals.settled, totals.in_flight, totals.unknown_attempts) == (PROMPTS, 0, 0)
        assert totals.usage.input_tokens == sum(row["input"] for row in billed)
        assert totals.usage.output_tokens == sum(row["output"] for row in billed)
        usd = (0.5 * totals.usage.input_tokens + totals.usage.output_tokens) / 1e6
        assert opened.charged[1] == pytest.approx(usd)
        assert opened.batches.living() == []


MOMENTS = [
    pytest.param("openai", "upload", "upload", marks=pytest.mark.slow),
    ("openai", "submit", "submit"),  # accepted, its id never stored
    pytest.param("openai", "", "state", marks=pytest.mark.slow),  # while it is polled
    ("openai", "results", "results"),  # in the middle of settling
    ("anthropic", "submit", "submit"),  # the same without metadata to find it by
    pytest.param("anthropic", "results", "results", marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("dialect", "hold", "event"), MOMENTS)
def test_killed_at_a_moment(tmp_path, start_batches, dialect, hold, event):
    server, ledger = start_batches(delay=0.3, hold=hold), tmp_path / "ledger"
    process = start(ledger, server, dialect)
    wait_for(server, event, process, count=3 if event == "state" else 1)
    if event == "results":
        time.sleep(0.2)  # the first half is on its way into the ledger
    kill(process)
    with Ledger(ledger) as opened:
        totals = opened.totals()
        assert totals.unknown == 0
        if event != "upload":
            assert totals.in_flight + totals.settled == PROMPTS
        if event == "results":
            assert 0 < totals.settled < PROMPTS
    assert finish(start(ledger, server, dialect)) == 0
    assert server.events()["accepted"] == 1
    check_books(ledger, server)


def test_a_submission_that_arrives_late_is_waited_for(tmp_path, start_batches):
    """Killed while the provider still reads the body: the list does not show the batch at first."""
    server, ledger = start_batches(hold="received", hold_s=4.0), tmp_path / "ledger"
    began = time.monotonic()
    process = start(ledger, server, "anthropic")
    wait_for(server, "received", process)
    kill(process)
    again = start(ledger, server, "anthropic", grace=20)
    wait_for(server, "list", again, count=2)
    assert server.events()["accepted"] == 0
    assert finish(again) == 0
    time.sleep(max(0.0, began + 6.0 - time.monotonic()))  # the provider is through by then in any case
    assert server.events()["accepted"] == 1
    check_books(ledger, server)


def test_killed_while_faults_rage(tmp_path, start_batches):
    """Expiry, server errors, cancelled batches, lost submissions, broken downloads and a tight budget."""
    random_kills(tmp_path, start_batches, kills=2, seed=0, dialect="openai")


@pytest.mark.slow
@pytest.mark.parametrize("dialect", ["openai", "anthropic"])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_killed_ten_times(tmp_path, start_batches, dialect, seed):
    random_kills(tmp_path, start_batches, kills=10, seed=seed, dialect=dialect)


def random_kills(tmp_path, start_batches, *, kills, seed, dialect) -> None:
    draw = random.Random(seed)
    server = start_batches(
        delay=0.15,
        seed=seed,
        faults={"expired": 0.3, "500": 0.2},
        drop_after=2,
        drop_before=1,
        break_results=2,
        cancel=1,
    )
    ledger, usd = tmp_path / "ledger", 0.006
    for _ in range(kills):
        process = start(ledger, server, dialect, usd)
        time.sleep(draw.uniform(0.0, 0.6))
        process.kill()
        if finish(process) == 0:  # there was nothing left to do
            break
        with Ledger(ledger) as opened:
            assert opened.charged[1] <= usd
            assert opened.totals().unknown == 0
            assert opened.totals().settled <= len(server.billed())
    assert finish(start(ledger, server, dialect, usd)) == 0
    check_books(ledger, server)
    with Ledger(ledger) as opened:
        assert opened.failed_attempts()["batch_expired"] > 0
