"""A run that launches its teacher: one start for every stage that asks, none left when training begins."""

import socket
import sys
from pathlib import Path

import pytest

from spiritsafe import recipe_file
from spiritsafe.pipeline import run as pipeline
from spiritsafe.pipeline.plan import plan
from spiritsafe.pipeline.run import start, teacher_first
from spiritsafe.pipeline.stage import Stage
from spiritsafe.pipeline.stages import stages
from spiritsafe.rundir import RunDir

PROGRAM = Path(__file__).parent.parent / "fakes" / "launched_server.py"


@pytest.fixture
def recipe(tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (tmp_path / "p.jsonl").write_text(
        "".join(f'{{"prompt": "Say {n}, please.", "answer": "{n}"}}\n' for n in range(40))
    )
    return recipe_file.parse(
        {
            "task": {
                "kind": "jsonl",
                "path": str(tmp_path / "p.jsonl"),
                "validation_prompts": 4,
                "test_prompts": 6,
            },
            "teacher": {
                "model": f"http://127.0.0.1:{port}/v1#m",
                "launch": f"{sys.executable} {PROGRAM} --port {port} --state {tmp_path / 'state'}",
            },
            "arms": {"other": {"data": "teacher"}},
        }
    )


def starts(tmp_path):
    return len(list((tmp_path / "state").glob("start-*")))


def test_everything_that_asks_comes_before_training(recipe, tmp_path):
    assert [stage.name for stage in teacher_first(stages(recipe, tmp_path))] == [
        "prompts",
        "collect",
        "collect-test",
    ]


def test_a_question_about_students_stays_behind_them():
    def stage(name, *needs, group="collect", asks=False):
        return Stage(name=name, group=group, inputs={}, needs=needs, action=lambda _: [], asks=asks)

    wanted = [
        stage("prompts"),
        stage("collect", "prompts", asks=True),
        stage("select", "collect"),
        stage("filter", "select", asks=True),
        stage("train-a-0", "filter", group="train"),
        stage("judge", "train-a-0", group="evaluate", asks=True),
    ]
    assert [s.name for s in teacher_first(wanted)] == ["prompts", "collect", "select", "filter"]


def test_one_start_for_both_collections_and_none_left_for_training(recipe, tmp_path, monkeypatch):
    context = start(recipe, tmp_path / "run")
    asking = [s for s in stages(recipe, tmp_path) if s.name in ("prompts", "collect", "collect-test")]
    seen = []

    def train(inside):
        seen.append((inside.server.is_up(), starts(tmp_path)))
        return []

    training = [
        Stage(name=f"train-{n}", group="train", inputs={}, needs=("collect",), action=train) for n in (1, 2)
    ]
    # The order of the verbs: the test questions come last, as in a run that launches nothing.
    listed = [*asking[:2], *training, asking[2]]
    monkeypatch.setattr(pipeline, "stages", lambda *_: listed)
    pipeline._run(context, "evaluate")
    assert seen == [(False, 1), (False, 1)]
    names = [row["name"] for row in RunDir(tmp_path / "run").read_lines("spans.jsonl")]
    assert names == ["prompts", "collect", "collect-test", "train-1", "train-2"]


def test_a_second_run_starts_nothing(recipe, tmp_path):
    pipeline.run(recipe, tmp_path / "run", until="collect")
    pipeline.run(recipe, tmp_path / "run", until="collect")
    assert starts(tmp_path) == 1


def test_plan_launches_the_teacher_and_its_answers_are_kept(recipe, tmp_path):
    estimate = plan(recipe, tmp_path / "run")
    assert estimate.requests == 40
    assert (estimate.usd.high, estimate.fits) == (0.0, "unlimited")
    assert starts(tmp_path) == 1
    pipeline.run(recipe, tmp_path / "run", until="collect")
    served = (tmp_path / "state" / "served").read_text().split()
    assert len(served) == 34
