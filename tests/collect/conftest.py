"""The fake server as a process, and requests to put to it."""

import json
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest

from spiritsafe.records import Request, Sampling

SERVER = Path(__file__).parent.parent / "fakes" / "openai_server.py"


@dataclass
class Running:
    """A server, and what it served so far."""

    port: int
    log: Path

    @property
    def ref(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1#fake"

    def rows(self) -> list[dict]:
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    def served(self) -> Counter:
        """Times that each request was answered, by idempotency key."""
        return Counter(row["key"] for row in self.rows())


@pytest.fixture
def start_server(tmp_path):
    """Start servers by keyword: start_server(latency=0.2, faults={"500": 0.1})."""
    running = []

    def start(*, faults=None, **options) -> Running:
        log = tmp_path / f"served-{len(running)}.jsonl"
        log.touch()
        command = [sys.executable, str(SERVER), "--log", str(log)]
        for name, value in options.items():
            command += [f"--{name.replace('_', '-')}", str(value)]
        for name, share in (faults or {}).items():
            command += ["--fault", f"{name}={share}"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        running.append(process)
        return Running(int(process.stdout.readline()), log)

    yield start
    for process in running:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.fixture
def make_requests():
    """n requests of different length to one teacher; their prompt ids are their numbers."""

    def make(n: int, teacher: str = "fake@here") -> list[Request]:
        return [
            Request(
                prompt_id=str(number),
                messages=({"role": "user", "content": f"problem {number} " + "and more " * (number % 7)},),
                teacher=teacher,
                sampling=Sampling(max_tokens=32),
            )
            for number in range(n)
        ]

    return make
