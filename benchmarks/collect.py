"""How fast `collect` is, ledger on, against a server in another process on the same machine.

    python benchmarks/collect.py [--prompts 5000] [--repeats 3]

slow: 200 ms latency, 64 in flight; the ideal is 64 / 0.2 s = 320 requests/s, the bar 95 % of it.
fast: a server that answers at once; the bar is 2,500 requests/s.
Rates include start-up: planning, opening, slow start. Writes benchmarks/results/collect.json.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from spiritsafe.collect.generate import collect
from spiritsafe.recipe import Price, Teacher
from spiritsafe.records import Request, Sampling, teacher_key
from spiritsafe.store.ledger import Ledger
from spiritsafe.teachers.connect import connect

ROOT = Path(__file__).resolve().parent.parent
SERVER = ROOT / "tests" / "fakes" / "openai_server.py"
CASES = {"slow": {"latency": 0.2, "bar": 0.95 * 64 / 0.2}, "fast": {"latency": 0.0, "bar": 2500.0}}


@contextlib.contextmanager
def server(latency: float) -> Iterator[int]:
    """The port of a fresh server."""
    command = [sys.executable, str(SERVER), "--latency", str(latency)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline())
        finally:
            process.terminate()


async def run(port: int, prompts: int, path: Path) -> dict[str, Any]:
    """One collection into a new ledger: seconds and requests/s of the whole call."""
    ref = f"http://127.0.0.1:{port}/v1#fake"
    sampler = connect(ref, settings=Teacher(model=ref, max_concurrency=64))
    requests = [request(number, teacher_key(sampler.teacher)) for number in range(prompts)]
    with Ledger(path) as ledger:
        start, cpu = time.perf_counter(), time.process_time()
        free = Price(input_per_million=0, output_per_million=0)
        totals = await collect(requests, sampler, ledger, purpose="train", price=free, max_attempts=6)
        seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
        await sampler.close()
    assert totals.settled == prompts and totals.attempts == prompts, totals
    return {
        "seconds": round(seconds, 3),
        "requests_per_s": round(prompts / seconds, 1),
        "client_cpu_s": round(cpu, 3),
    }


def request(number: int, teacher: str) -> Request:
    """A prompt of about the length of a grade-school problem."""
    text = f"Problem {number}: " + "A baker sells some loaves in the morning and twice as many later. " * 4
    return Request(
        prompt_id=str(number),
        messages=({"role": "system", "content": "Think step by step."}, {"role": "user", "content": text}),
        teacher=teacher,
        sampling=Sampling(max_tokens=256),
    )


def surroundings() -> dict[str, Any]:
    """Date, hardware and commit: a number never travels alone."""
    names = [line.split(":", 1)[1].strip() for line in _cpuinfo() if line.startswith("model name")]
    git = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True)
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "cpu": names[0] if names else platform.processor(),
        "cores": os.cpu_count(),
        "load_1min_before": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        "commit": git.stdout.strip() if git.returncode == 0 else None,
    }


def _cpuinfo() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text().splitlines() if path.exists() else []


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--prompts", type=int, default=5000)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    result: dict[str, Any] = {"benchmark": "collect", "prompts": options.prompts, **surroundings()}
    for name, case in CASES.items():
        runs = []
        for _ in range(options.repeats):
            with tempfile.TemporaryDirectory() as folder, server(case["latency"]) as port:
                runs.append(asyncio.run(run(port, options.prompts, Path(folder) / "ledger.sqlite")))
            print(f"{name}: {runs[-1]}", file=sys.stderr)
        rates = sorted(one["requests_per_s"] for one in runs)
        median = rates[len(rates) // 2]
        result[name] = {**case, "runs": runs, "median_requests_per_s": median, "met": median >= case["bar"]}
    path = ROOT / "benchmarks" / "results" / "collect.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
