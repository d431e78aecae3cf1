"""kill -9 at random moments of a collection, then resume: nothing lost, nothing paid twice without need."""

import os
import random
import subprocess
import sys
import time

import pytest

from spiritsafe.store.ledger import Ledger

PROMPTS = 200
IN_FLIGHT = 16
COLLECT = """
import asyncio, sys
from spiritsafe.collect.generate import collect
from spiritsafe.recipe import Teacher
from spiritsafe.records import Request, Sampling
from spiritsafe.store.ledger import Ledger
from spiritsafe.teachers.connect import connect

path, ref, prompts, in_flight = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])

def request(number):
    message = {"role": "user", "content": f"problem {number}"}
    # The same key for every server, so that runs against different ports can be compared.
    sampling = Sampling(max_tokens=32)
    return Request(prompt_id=str(number), messages=(message,), teacher="fake@here", sampling=sampling)

async def main():
    sampler = connect(ref, settings=Teacher(model=ref, max_concurrency=in_flight))
    with Ledger(path) as ledger:
        print("started", flush=True)
        requests = [request(number) for number in range(prompts)]
        await collect(requests, sampler, ledger, purpose="train", price=None, max_attempts=6)
        await sampler.close()

asyncio.run(main())
"""


def start(ledger, server) -> subprocess.Popen:
    command = [sys.executable, "-c", COLLECT, str(ledger), server.ref, str(PROMPTS), str(IN_FLIGHT)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "started\n"
    return process


def finish(process) -> int:
    process.wait(timeout=120)
    process.stdout.close()
    return process.returncode


def settled(ledger) -> dict[str, str]:
    with Ledger(ledger) as opened:
        return {sample.request_hash: sample.text for sample in opened.samples("train")}


def killed_and_resumed(tmp_path, start_server, kills: int, seed: int) -> None:
    """Kill `kills` times at random moments of the sending, then let it end; compare with a quiet run."""
    draw = random.Random(seed)
    server = start_server(latency=0.02)
    ledger = tmp_path / "ledger"
    for _ in range(kills):
        process = start(ledger, server)
        wait_for_more(server, process, draw.randint(0, PROMPTS // (kills + 1)))
        before = server.served()
        os.kill(process.pid, 9)
        assert finish(process) == -9
        kept = settled(ledger)
        assert set(kept) <= set(server.served())
        assert len(set(before) - set(kept)) <= IN_FLIGHT  # what the server answered and nobody wrote down
    assert finish(start(ledger, server)) == 0
    served = server.served()
    extra = sum(served.values()) - len(served)
    assert len(served) == PROMPTS
    assert extra <= IN_FLIGHT * kills
    compare_with_quiet_run(tmp_path, start_server, ledger, extra)


def wait_for_more(server, process, count: int) -> None:
    wanted = len(server.rows()) + count
    while len(server.rows()) < wanted and process.poll() is None:
        time.sleep(0.002)


def compare_with_quiet_run(tmp_path, start_server, ledger, extra: int) -> None:
    quiet = tmp_path / "quiet"
    assert finish(start(quiet, start_server(latency=0.0))) == 0
    with Ledger(quiet) as one, Ledger(ledger) as other:
        assert list(one.samples("train")) == list(other.samples("train"))
        totals = other.totals()
        assert (totals.settled, totals.in_flight, totals.unknown) == (PROMPTS, 0, 0)
        assert totals.unknown_attempts >= extra
        assert totals.attempts == PROMPTS + totals.unknown_attempts


def test_killed_twice(tmp_path, start_server):
    killed_and_resumed(tmp_path, start_server, kills=2, seed=0)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 21))
def test_killed_at_a_random_moment(tmp_path, start_server, seed):
    killed_and_resumed(tmp_path, start_server, kills=1, seed=seed)


def test_a_settled_row_is_never_sent_again(tmp_path, start_server):
    server = start_server(latency=0.01)
    ledger = tmp_path / "ledger"
    process = start(ledger, server)
    wait_for_more(server, process, 80)
    os.kill(process.pid, 9)
    finish(process)
    kept, before = settled(ledger), server.served()
    assert finish(start(ledger, server)) == 0
    again = server.served() - before
    assert set(again) & set(kept) == set()
    assert settled(ledger).items() >= kept.items()
