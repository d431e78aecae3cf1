"""`collect` against a server not written here: `transformers serve` with the bundled teacher."""

import asyncio
import contextlib
import importlib.util
import os
import re
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from spiritsafe.collect.generate import collect
from spiritsafe.costs.prices import FREE
from spiritsafe.recipe import Task
from spiritsafe.records import Request, Sampling, teacher_key
from spiritsafe.store.ledger import Ledger
from spiritsafe.tasks.base import load_task
from spiritsafe.teachers.connect import connect
from spiritsafe.teachers.folders import resolve_model

needed = all(importlib.util.find_spec(name) for name in ("fastapi", "uvicorn", "transformers"))
pytestmark = pytest.mark.skipif(not needed, reason="needs transformers[serving]")


@contextlib.contextmanager
def transformers_serve(log: Path):
    """A server on a free port of this machine; yields its base URL."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    program = Path(sys.executable).with_name("transformers")
    command = [program, "serve", "--host", "127.0.0.1", "--port", str(port), "--device", "cpu"]
    with open(log, "w") as out:
        server = subprocess.Popen(command, stdout=out, stderr=out, env={**os.environ, "HF_HUB_OFFLINE": "1"})
    try:
        wait(f"http://127.0.0.1:{port}/health", server, log)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        server.terminate()
        server.wait(timeout=30)


def wait(url: str, server: subprocess.Popen, log: Path) -> None:
    for _ in range(600):
        assert server.poll() is None, log.read_text()[-2000:]
        with contextlib.suppress(OSError, urllib.error.URLError):
            urllib.request.urlopen(url, timeout=1).close()
            return
        time.sleep(0.2)
    pytest.fail("the server did not start")


async def ask(url: str, ledger_path: Path) -> list:
    prompts = load_task(Task(train_prompts=12, validation_prompts=1, test_prompts=1), 0).train
    teacher = connect(f"{url}#{resolve_model('bundled:teacher')}")
    requests = [
        Request(
            prompt_id=p.prompt_id,
            messages=p.messages,
            teacher=teacher_key(teacher.teacher),
            sampling=Sampling(max_tokens=64),
        )
        for p in prompts
    ]
    try:
        with Ledger(ledger_path) as ledger:
            totals = await collect(requests, teacher, ledger, purpose="train", price=FREE, max_attempts=3)
            assert (totals.settled, totals.failed) == (12, 0)
            return list(ledger.samples("train"))
    finally:
        await teacher.close()


def test_answers_come_from_a_real_server(tmp_path):
    with transformers_serve(tmp_path / "log") as url:
        samples = asyncio.run(ask(url, tmp_path / "ledger.sqlite"))
    worked = [s for s in samples if re.search(r"= \d+.*#### \d+", s.text, re.DOTALL)]
    assert len(worked) >= 10
    assert all(s.usage.output_tokens > 5 and s.finish_reason in ("stop", "length") for s in samples)
    assert all(s.origin.channel == "api" for s in samples)
