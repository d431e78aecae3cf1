"""Reasoning from a served teacher into the student's think tags, and how such a student is measured."""

from __future__ import annotations

import json

import pytest
from tests.families import save_family
from werkzeug.wrappers import Request, Response

from spiritsafe import recipe_file
from spiritsafe.pipeline.run import run
from spiritsafe.rundir import RunDir
from spiritsafe.store.shards import read_shards

pytestmark = pytest.mark.usefixtures("in_this_process")
TRACE = "First add the tens, then the ones."


@pytest.fixture
def teacher(httpserver):
    """Answers sums with a trace: apart, inline, or cut off; and shortens traces when it is asked to."""
    seen = []

    def answer(request: Request) -> Response:
        body = json.loads(request.data)
        question = body["messages"][-1]["content"]
        seen.append(question)
        message, finish = {"content": "#### 7", "reasoning_content": TRACE}, "stop"
        if "train of thought" in question:
            message = {"content": "Add."}
        elif "case 3" in question:
            message = {"content": f"<think>\n{TRACE}\n</think>\n\n#### 7"}
        elif "case 4" in question:
            message, finish = {"content": f"<think>\n{TRACE}"}, "length"
        elif "case 5" in question:
            message = {"content": "I'm sorry, but I can't help with that."}
        value = {
            "model": "r",
            "choices": [{"message": message, "finish_reason": finish}],
            "usage": {"prompt_tokens": 9, "completion_tokens": 9},
        }
        return Response(json.dumps(value), content_type="application/json")

    httpserver.expect_request("/v1/chat/completions").respond_with_handler(answer)
    return f"{httpserver.url_for('/v1')}#r", seen


def recipe_for(tmp_path, teacher, checkpoint, **changes):
    rows = [{"question": f"What is 3 + 4, case {i}?", "answer": "7"} for i in range(40)]
    (tmp_path / "sums.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    value = {
        "task": {"kind": "jsonl", "path": str(tmp_path / "sums.jsonl"), "test_prompts": 6},
        "teacher": {"model": teacher},
        "student": {"model": str(checkpoint), **changes.pop("student", {})},
        "train": {
            "tokens": 3000,
            "batch_tokens": 1000,
            "max_length": 400,
            **changes.pop("train", {}),
        },
        "evaluate": {"max_tokens": 12, "speed": False, **changes.pop("evaluate", {})},
        "arms": {"baseline": {"data": "none"}, "untrained": {"data": "none"}},
    }
    assert not changes
    return recipe_file.parse(value)


def selected(out):
    return {s.messages[-1]["content"].split()[-1]: s for s in read_shards(out / "selected")}


def test_traces_are_kept_apart_and_truncated_ones_dropped(tmp_path, teacher):
    out = tmp_path / "run"
    run(recipe_for(tmp_path, teacher[0], save_family("qwen3", tmp_path / "m")), out)
    samples = selected(out)
    reasons = {s.reject_reason for s in samples.values()}
    assert {s.reasoning for s in samples.values() if s.accepted} == {TRACE}
    assert reasons <= {None, "truncated", "refusal"}
    for case, reason in (("4?", "truncated"), ("5?", "refusal")):
        assert case not in samples or samples[case].reject_reason == reason
    assert "3?" not in samples or (samples["3?"].accepted and samples["3?"].text == "#### 7")


def test_dropped_reasoning_turns_the_students_switch_off(tmp_path, teacher):
    out = tmp_path / "run"
    student = save_family("qwen3", tmp_path / "m")
    run(recipe_for(tmp_path, teacher[0], student, train={"reasoning": "drop"}), out)
    template = (out / "students" / "student-0" / "model" / "chat_template.jinja").read_text()
    assert template.startswith(
        "{%- set enable_thinking = enable_thinking if enable_thinking is defined else false"
    )


def test_traces_are_shortened_once_and_only_where_they_are_trained_on(tmp_path, teacher):
    out, (ref, seen) = tmp_path / "run", teacher
    recipe = recipe_for(tmp_path, ref, save_family("r1", tmp_path / "m"), train={"reasoning": "summary"})
    run(recipe, out)
    chosen = [s for s in selected(out).values() if s.accepted]
    asked = [question for question in seen if "train of thought" in question]
    assert len(asked) == len(chosen) == len(set(asked))
    short = RunDir(out).read_json("selected/summaries.json")
    assert short == {s.request_hash: "Add." for s in chosen}
    before = len(seen)
    run(recipe, out)
    assert len(seen) == before


def test_a_thinking_budget_and_a_vote(tmp_path, teacher):
    out = tmp_path / "run"
    student = save_family("r1", tmp_path / "m")
    run(recipe_for(tmp_path, teacher[0], student, evaluate={"thinking_tokens": 4, "votes": 3}), out)
    rows = [row for row in RunDir(out).read_lines("evaluation/student-0.jsonl") if "prompt_id" in row]
    assert len(rows) == 6
    assert len(list(read_shards(out / "test_samples"))) == 18  # three answers of the teacher to each
    teacher_rows = RunDir(out).read_lines("evaluation/teacher.jsonl")
    assert [row["correct"] for row in teacher_rows] == [row["text"] == "#### 7" for row in teacher_rows]
    assert any(row["correct"] for row in teacher_rows)


def test_a_base_checkpoint_without_a_template(tmp_path, teacher):
    out = tmp_path / "run"
    student = save_family("llama3", tmp_path / "m")
    (student / "chat_template.jinja").unlink()
    recipe = recipe_for(tmp_path, teacher[0], student, student={"chat_template": "plain", "adapter": "lora"})
    result = run(recipe, out)
    assert set(result["models"]) == {"teacher", "student", "baseline", "untrained"}
    assert (out / "students" / "student-0" / "model" / "chat_template.jinja").read_text().startswith("{% for")
