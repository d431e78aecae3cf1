"""The fake servers as processes, and requests to put to them."""

import json
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest

from spiritsafe.records import Request, Sampling

FAKES = Path(__file__).parent.parent / "fakes"
DIALECTS = {
    "openai": "http://127.0.0.1:{}/v1#fake",
    "anthropic": "anthropic:http://127.0.0.1:{}/anthropic/v1#fake",
    "openrouter": "http://127.0.0.1:{}/openrouter/v1#fake",
}
"""How a recipe names the batch server, by the API it is to speak."""


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

    def batch_ref(self, dialect: str) -> str:
        return DIALECTS[dialect].format(self.port)

    def events(self) -> Counter:
        """Events of the batch server, by name."""
        return Counter(row["event"] for row in self.rows())

    def billed(self) -> Counter:
        """Times that the batch server ran each request."""
        return Counter(row["key"] for row in self.rows() if row["event"] == "billed")

    def served(self) -> Counter:
        """Times that each request was answered, by idempotency key."""
        return Counter(row["key"] for row in self.rows())


@pytest.fixture
def start_server(tmp_path):
    """Start servers by keyword: start_server(latency=0.2, faults={"500": 0.1})."""
    yield from servers(tmp_path, "openai_server.py")


@pytest.fixture
def start_batches(tmp_path):
    """The same for providers of batches: start_batches(delay=0.2, drop_after=1)."""
    yield from servers(tmp_path, "batch_server.py")


def servers(folder, program="openai_server.py"):
    """What starts servers that log into `folder`, and ends them afterwards."""
    running = []

    def start(*, faults=None, **options) -> Running:
        log = folder / f"{program}-{len(running)}.jsonl"
        log.touch()
        command = [sys.executable, str(FAKES / program), "--log", str(log)]
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
