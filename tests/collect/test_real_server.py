"""`collect` against a server not written here: `transformers serve` with the bundled teacher."""

import asyncio
import contextlib
import importlib.util
import os
import re
import shlex
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from spiritsafe import recipe_file
from spiritsafe.collect.generate import collect
from spiritsafe.costs.prices import FREE
from spiritsafe.pipeline.run import run
from spiritsafe.recipe import Task
from spiritsafe.records import Request, Sampling, teacher_key
from spiritsafe.rundir import RunDir
from spiritsafe.store.ledger import Ledger
from spiritsafe.tasks.base import load_task
from spiritsafe.teachers.connect import connect
from spiritsafe.teachers.folders import resolve_model

needed = all(importlib.util.find_spec(name) for name in ("fastapi", "uvicorn", "transformers"))
pytestmark = pytest.mark.skipif(not needed, reason="needs transformers[serving]")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def serve_command(port: int) -> list[str]:
    program = str(Path(sys.executable).with_name("transformers"))
    return [program, "serve", "--host", "127.0.0.1", "--port", str(port), "--device", "cpu"]


@contextlib.contextmanager
def transformers_serve(log: Path):
    """A server on a free port of this machine; yields its base URL."""
    port = free_port()
    command = serve_command(port)
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


@pytest.mark.slow  # a second server, 10 to 20 seconds
def test_a_run_launches_it_and_ends_it(tmp_path):
    port = free_port()
    recipe = recipe_file.parse(
        {
            "task": {"train_prompts": 10, "validation_prompts": 2, "test_prompts": 2},
            "teacher": {
                "model": f"http://127.0.0.1:{port}/v1#{resolve_model('bundled:teacher')}",
                "launch": shlex.join(serve_command(port)),
                "launch_env": {"HF_HUB_OFFLINE": "1"},
            },
            "collect": {"max_tokens": 64},
        }
    )
    run(recipe, tmp_path / "run", until="collect")
    with Ledger(tmp_path / "run" / "ledger.sqlite") as ledger:
        samples = list(ledger.samples("train"))
    assert len(samples) == 12
    assert sum(bool(re.search(r"#### \d+", s.text)) for s in samples) >= 10
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=1)
    assert "transformers serve" in (RunDir(tmp_path / "run").path / "logs" / "teacher-server.log").read_text()
