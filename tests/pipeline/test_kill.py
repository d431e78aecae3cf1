"""kill -9 at random moments of collect, train and evaluate, then resume: the same answers and weights.

One kill per stage in the default suite; `-m slow` makes twenty. A moment is a share of the stage's work: rows
settled, steps logged, problems answered. Weights are bit-identical on one machine and thread count.
"""

import hashlib
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.cores import one_core

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


STAGES = {
    "collect": (),
    "train": ("prompts", "collect", "select"),
    "evaluate": ("prompts", "collect", "select", "train-student-0", "train-baseline-0"),
}
"""What is done before each stage begins."""


def start(out: Path, verb: str, **options) -> subprocess.Popen:
    arguments = [part for setting in RECIPE for part in ("--set", setting)]
    return subprocess.Popen(
        [sys.executable, "-m", "spiritsafe", verb, "--out", str(out), *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        **options,
    )


def finish(out: Path, verb: str, **options) -> None:
    run = start(out, verb, **options)
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


def work_done(out: Path, stage: str) -> int:
    """How far a stage is, in its own unit."""
    if stage == "collect":
        return len(settled(out))
    files = [out / "metrics.jsonl"] if stage == "train" else out.glob("evaluation/*-0.jsonl")
    return sum(path.read_bytes().count(b"\n") for path in files if path.exists())


def stand_before(stage: str, whole: Path, out: Path) -> None:
    """Make `out` a run in which everything before `stage` is done, and nothing of it."""
    done = STAGES[stage]
    if not done:
        return
    shutil.copytree(whole, out)
    for path in out.glob("stages/*.json"):
        if path.stem not in done:
            path.unlink()
    for folder in ("evaluation", "test_samples", *(["students"] if stage == "train" else [])):
        shutil.rmtree(out / folder)
    (out / "metrics.jsonl").unlink()


def kill_at(out: Path, stage: str, work: float) -> None:
    """Start the stage and kill it once so much work is done, or at its end."""
    run = start(out, stage)
    while run.poll() is None and work_done(out, stage) < work:
        time.sleep(0.005)
    run.send_signal(signal.SIGKILL)
    run.communicate()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """On one core, as what resumes; what is killed has a worker per core, which must not show in the end."""
    out = tmp_path_factory.mktemp("undisturbed")
    finish(out, "evaluate", preexec_fn=one_core)
    return out


def check(whole: Path, out: Path, stage: str, seed: int) -> None:
    """One kill, one resume: what was settled is not asked again, and the run ends as the undisturbed one."""
    stand_before(stage, whole, out)
    kill_at(out, stage, random.Random(seed).random() * work_done(whole, stage))
    before = settled(out)
    finish(out, "evaluate", preexec_fn=one_core)
    after = settled(out)
    assert all(after[key] == attempts for key, attempts in before.items())
    assert what_counts(out) == what_counts(whole)


@pytest.mark.parametrize("stage", STAGES)
def test_one_kill(stage, undisturbed, tmp_path):
    check(undisturbed, tmp_path / "run", stage, 1)


@pytest.mark.slow
@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("seed", range(100, 120))
def test_twenty_kills(stage, seed, undisturbed, tmp_path):
    check(undisturbed, tmp_path / "run", stage, seed)
