"""kill -9 at random moments of a whole run, then resume: the same shards, answers and weights.

One kill per stage in the default suite; `-m slow` makes twenty. Weights are bit-identical on one machine
and thread count.
"""

import hashlib
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

RECIPE = [
    "task.train_prompts=40",
    "task.validation_prompts=4",
    "task.test_prompts=24",
    "collect.max_tokens=24",
    "evaluate.max_tokens=24",
    "evaluate.batch_size=4",
    "evaluate.speed=false",
    "teacher.batch_size=4",
    "select.verify=false",
    "train.tokens=6000",
    "train.batch_tokens=300",
    "train.checkpoint_steps=3",
    "task.unseen_prompts=0",
    "task.stretch_prompts=0",
]


def start(out: Path) -> subprocess.Popen:
    arguments = [part for setting in RECIPE for part in ("--set", setting)]
    return subprocess.Popen(
        [sys.executable, "-m", "spiritsafe", "run", "--out", str(out), *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def finish(out: Path) -> None:
    run = start(out)
    _, talk = run.communicate(timeout=300)
    assert run.returncode == 0, talk.decode()


def what_counts(out: Path) -> dict[str, str]:
    """Everything that must not depend on being killed: shards without dates, answers, weights."""
    import pyarrow.parquet as pq

    found = {}
    for path in sorted(out.glob("*/*.parquet")):
        table = pq.read_table(path)
        rows = [{**row, "origin": {**row["origin"], "date": ""}} for row in table.to_pylist()]
        found[str(path.parent.name)] = hashlib.sha256(json.dumps(rows).encode()).hexdigest()
    for pattern in ("students/*/model/*.safetensors", "evaluation/*-*.jsonl", "evaluation/teacher.jsonl"):
        for path in sorted(out.glob(pattern)):
            found[str(path.relative_to(out))] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def settled(out: Path) -> dict[str, int]:
    """Attempts of every settled request."""
    if not (out / "ledger.sqlite").exists():
        return {}
    with sqlite3.connect(f"file:{out}/ledger.sqlite?mode=ro", uri=True) as ledger:
        query = "SELECT request_hash, attempts FROM requests WHERE state IN ('settled', 'rejected')"
        try:
            return dict(ledger.execute(query).fetchall())
        except sqlite3.OperationalError:
            return {}


def stage_of(out: Path) -> str:
    done = {path.stem for path in out.glob("stages/*.json")}
    if "collect" not in done:
        return "collect"
    if "train-baseline-0" not in done:
        return "train"
    return "evaluate"


def kill_in(out: Path, stage: str, draw: random.Random) -> bool:
    """Start a run, kill it at a random moment of a stage; False when it was over too soon."""
    run = start(out)
    while run.poll() is None and stage_of(out) != stage:
        time.sleep(0.01)
    time.sleep(draw.uniform(0, 1.5))
    over = run.poll() is not None
    run.send_signal(signal.SIGKILL)
    run.communicate()
    return not over


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    out = tmp_path_factory.mktemp("undisturbed")
    finish(out)
    return what_counts(out)


def check(out: Path, stage: str, kills: int, seed: int, undisturbed: dict[str, str]) -> None:
    draw = random.Random(seed)
    for _ in range(kills):
        killed = kill_in(out, stage, draw)
        before = settled(out)
        if not killed:
            break
        time.sleep(0.05)
        # A settled request is never sent again: its attempts stay what they were.
        assert all(settled(out)[key] == attempts for key, attempts in before.items())
    finish(out)
    after = settled(out)
    assert all(after[key] == attempts for key, attempts in before.items())
    assert what_counts(out) == undisturbed


@pytest.mark.parametrize("stage", ["collect", "train", "evaluate"])
def test_one_kill(stage, undisturbed, tmp_path):
    check(tmp_path, stage, 1, 1, undisturbed)


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["collect", "train", "evaluate"])
@pytest.mark.parametrize("seed", range(20))
def test_twenty_kills(stage, seed, undisturbed, tmp_path):
    check(tmp_path, stage, 1, 100 + seed, undisturbed)
