"""Training on imported answers alone: nobody is asked, nothing is spent, and no gap is claimed."""

import json

import pytest

from spiritsafe import recipe_file
from spiritsafe.errors import InputError, RecipeError, UsageError
from spiritsafe.evaluate.grade import read_graded
from spiritsafe.pipeline import data, measuring, prompt_files
from spiritsafe.pipeline import run as pipeline
from spiritsafe.pipeline.ask import ask
from spiritsafe.pipeline.plan import plan
from spiritsafe.pipeline.run import run, start
from spiritsafe.store.shards import read_shards
from spiritsafe.store.store import Store

WHO = {"origin": "gpt-4.1@api.openai.com:443", "date": "2026-05"}


@pytest.fixture(autouse=True)
def one_process(monkeypatch):
    """Workers would load the libraries again, which takes longer than these trainings."""
    monkeypatch.setattr(pipeline, "workers_for", lambda _: 1)


def logs(path, numbers, answer=lambda n: n + 1):
    rows = [
        {
            "messages": [
                {"role": "user", "content": f"What is {n} and one more, if you count them all together?"},
                {"role": "assistant", "content": f"{n} + 1 = {answer(n)}\n#### {answer(n)}"},
            ]
        }
        for n in numbers
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def recipe(path, **task):
    return recipe_file.parse(
        {
            "task": {"kind": "jsonl", "path": str(path), **task},
            "teacher": {"model": "none"},
            "train": {"tokens": 600, "batch_tokens": 300, "max_length": 256},
            "evaluate": {"max_tokens": 8, "speed": False},
        }
    )


def test_logs_alone_train_a_student_and_give_no_teacher_row(tmp_path):
    path, out = logs(tmp_path / "logs.jsonl", range(40)), tmp_path / "r"
    assert Store.take_in(out, path, **WHO) == 40
    made = recipe(path)
    result = run(made, out)
    assert list(result["models"]) == ["student", "baseline", "untrained"]
    assert result["gap_closed"] is None and result["gap_reason"] == "not evaluated: teacher"
    assert result["cost"] == {
        "spent_usd": 0.0,
        "per_1k_teacher": None,
        "per_1k_student": None,
        "break_even_requests": None,
    }
    assert result["models"]["student"]["task_score"]["n"] == 8
    samples = read_shards(out / "selected")
    assert sum(bool(s.accepted) for s in samples) == 32
    assert {s.reject_reason for s in samples} == {None, "contaminated"}  # the held-out fifth
    assert "gpt-4.1" in (out / "report.html").read_text() or {s.origin.teacher for s in samples} == {
        WHO["origin"]
    }
    with pytest.raises(UsageError, match="no teacher to ask"):
        ask(made, out, "And two more?", "both")


def test_logged_answers_to_a_test_file_are_the_teachers_row(tmp_path):
    test = logs(tmp_path / "test.jsonl", range(100, 110))
    both = logs(tmp_path / "logs.jsonl", range(100, 110), answer=lambda n: n + 1 + n % 2)  # half of it wrong
    both.write_text(both.read_text() + logs(tmp_path / "train.jsonl", range(40)).read_text())
    out = tmp_path / "r"
    Store.take_in(out, both, **WHO)
    context = start(recipe(tmp_path / "train.jsonl", test_path=str(test)), out)
    assert len(list(prompt_files.write_prompts(context))) == 4
    assert list(data.collect_test_answers(context))
    (path,) = measuring.grade_teacher(context)
    assert [row.correct for row in read_graded(path)].count(True) == 5
    carved = start(recipe(tmp_path / "train.jsonl"), out)
    list(data.collect_test_answers(carved))
    assert list(measuring.grade_teacher(carved)) == []  # held out of the logs: right by construction
    assert not path.exists()


def test_without_answers_it_stops_before_anything_is_trained(tmp_path):
    path = logs(tmp_path / "logs.jsonl", range(40))
    with pytest.raises(InputError, match="nothing to train on") as error:
        run(recipe(path), tmp_path / "r")
    assert error.value.hint.startswith(f"spiritsafe store import {tmp_path / 'r'} LOGS --teacher ")
    with pytest.raises(UsageError, match="nothing to plan"):
        plan(recipe(path), tmp_path / "r")


@pytest.mark.parametrize(
    "more",
    [{"task": {"expand_to": 100}}, {"arms": {"logits": {"data": "teacher", "divergence": {}}}}],
)
def test_what_needs_a_teacher_is_refused(more):
    with pytest.raises(RecipeError, match=r"teacher.model is none, and (task.expand_to|arms.logits)"):
        recipe_file.parse({"teacher": {"model": "none"}, **more})
