"""Every recipe end to end at toy scale: its own keys, a tiny random model of the true architecture, and a
scripted teacher that knows the answers. What a recipe's header says has been run is run here."""

import json
import shlex
import socket
import sys
from pathlib import Path

import pytest
from tests.families import save_family
from tests.sorters import FAMILIES as SORTERS
from werkzeug.wrappers import Response

from spiritsafe import recipe_file
from spiritsafe.pipeline import plan as planning
from spiritsafe.pipeline import run as pipeline
from spiritsafe.store.store import Store
from spiritsafe.tasks.base import load_task

RECIPES = Path(__file__).parents[1] / "recipes"
PROGRAM = Path(__file__).parent / "fakes" / "launched_server.py"
SMALL = (
    *("task.train_prompts=24", "task.validation_prompts=4", "task.test_prompts=6"),
    *("train.tokens=1500", "train.batch_tokens=700", "train.max_length=500", "train.micro_batch_tokens=700"),
    *("collect.max_tokens=64", "evaluate.max_tokens=6", "evaluate.speed=false", "budget.usd=null"),
)


@pytest.fixture(autouse=True)
def one_process(monkeypatch):
    """Workers would load the libraries again, which takes longer than these trainings."""
    monkeypatch.setattr(pipeline, "workers_for", lambda _: 1)
    monkeypatch.setattr("spiritsafe.teachers.local_sampler._workers", lambda _: 1)


@pytest.fixture
def sums(tmp_path):
    """Forty problems with GSM8K's keys; the answers are lengths, which the launched server knows."""
    questions = [f"How many letters are there? {'x' * n}" for n in range(40)]
    rows = [{"question": q, "answer": f"They are\n#### {len(q)}"} for q in questions]
    path = tmp_path / "sums.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def knows(httpserver):
    """knows(recipe): URL#NAME of a teacher that answers every prompt of a task rightly, and thinks before."""

    def teacher(recipe):
        splits = load_task(recipe.task, recipe.seed)
        prompts = [*splits.train, *splits.validation, *splits.test]
        right = {p.messages[-1]["content"]: p.answer or p.solution or "" for p in prompts}

        def answer(request):
            text = right[json.loads(request.data)["messages"][-1]["content"]]
            text = f"\\boxed{{{text}}}" if recipe.task.verifier.kind == "math" else text
            message = {"role": "assistant", "content": text, "reasoning_content": "Count them."}
            value = {
                "choices": [{"index": 0, "finish_reason": "stop", "message": message}],
                "usage": {"prompt_tokens": 20, "completion_tokens": 12},
            }
            return Response(json.dumps(value), content_type="application/json")

        httpserver.expect_request("/v1/models").respond_with_json({"data": [{"id": "m"}]})
        httpserver.expect_request("/v1/chat/completions").respond_with_handler(answer)
        return f"http://127.0.0.1:{httpserver.port}/v1#m"

    return teacher


def load(name, *overrides):
    return recipe_file.load(RECIPES / f"{name}.yaml", [*SMALL, *overrides])


def check(recipe, out, rows=("teacher", "student", "baseline", "untrained")):
    result = pipeline.run(recipe, out)
    assert list(result["models"]) == list(rows)
    assert result["counts"]["accepted"] > 0
    assert (out / "students/student-0/model").is_dir() and (out / "report.html").exists()
    return result


def run_served(name, family, tmp_path, knows, *overrides):
    student = (
        save_family(family, tmp_path / "student") if family in CHATS else SORTERS[family](tmp_path / "s")
    )
    recipe = load(name, f"student.model={student}", *overrides)
    recipe = load(name, f"student.model={student}", f"teacher.model={knows(recipe)}", *overrides)
    estimate = planning.plan(recipe, tmp_path / "run")
    assert estimate.requests > 0 and estimate.bound.usd in (0.0, None)
    return check(recipe, tmp_path / "run")


CHATS = ("qwen2", "qwen3", "smollm", "llama3", "mistral", "gemma2", "r1")


@pytest.mark.parametrize("family", CHATS)
def test_r1_style_math_with_every_family(family, tmp_path, sums, knows):
    result = run_served(
        "r1-style-math", family, tmp_path, knows, f"task.path={sums}", "evaluate.thinking_tokens=3"
    )
    assert result["models"]["teacher"]["task_score"]["value"] == 1.0
    reports = json.loads((tmp_path / "run/students/student-0/training.json").read_text())
    assert reports["tokens"] > 1000


@pytest.mark.parametrize("family", ["qwen2", "smollm", "llama3"])
def test_gsm8k_api(family, tmp_path, sums, knows):
    test = tmp_path / "test.jsonl"
    rows = [{"question": f"How many are {n} twos?", "answer": f"#### {2 * n}"} for n in range(9)]
    test.write_text("".join(json.dumps(row) + "\n" for row in rows))
    result = run_served("gsm8k-api", family, tmp_path, knows, f"task.path={sums}", f"task.test_path={test}")
    score = result["models"]["teacher"]["task_score"]
    assert (score["value"], score["n"]) == (1.0, 6)


def test_qwen3_8b_to_06b(tmp_path, sums):
    teacher = save_family("qwen3", tmp_path / "teacher", layers=3, seed=1)
    student = save_family("qwen3", tmp_path / "student")
    recipe = load(
        "qwen3-8b-to-0.6b",
        *(f"task.path={sums}", f"teacher.model={teacher}", f"student.model={student}"),
        *("select.verify=false", "student.adapter=lora"),
    )
    assert planning.plan(recipe, tmp_path / "run").usd.high == 0
    result = check(recipe, tmp_path / "run", ("teacher", "student", "baseline", "untrained", "white-box"))
    assert result["models"]["teacher"]["parameters"] > result["models"]["student"]["parameters"]


def test_my_logs(tmp_path, sums):
    rows = [json.loads(line) for line in sums.read_text().splitlines()]
    turns = [[("user", row["question"]), ("assistant", row["answer"])] for row in rows]
    messages = [{"messages": [{"role": r, "content": c} for r, c in turn]} for turn in turns]
    logs = tmp_path / "logs.jsonl"
    logs.write_text("".join(json.dumps(row) + "\n" for row in messages))
    student = save_family("mistral", tmp_path / "student")
    Store.take_in(tmp_path / "run", logs, origin="gpt-4.1@api.openai.com:443", date="2026-05")
    recipe = load("my-logs", f"task.path={logs}", f"student.model={student}", "select.near_duplicate=1.0")
    result = check(recipe, tmp_path / "run", ("student", "baseline", "untrained"))
    assert result["gap_reason"] == "not evaluated: teacher"


def test_vllm_one_gpu(tmp_path, sums):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, str(PROGRAM), "--port", str(port), "--state", str(tmp_path / "state")]
    recipe = load(
        "vllm-one-gpu",
        *(f"task.path={sums}", f"student.model={save_family('gemma2', tmp_path / 'student')}"),
        *(f"teacher.model=http://127.0.0.1:{port}/v1#m", f"teacher.launch={shlex.join(command)}"),
        "evaluate.thinking_tokens=3",
    )
    check(recipe, tmp_path / "run")
    assert len(list((tmp_path / "state").glob("start-*"))) == 1


@pytest.mark.parametrize("family", ["bert", "modernbert"])
def test_openai_support_classifier(family, tmp_path, knows):
    result = run_served("openai-support-classifier", family, tmp_path, knows)
    assert result["models"]["teacher"]["task_score"]["value"] == 1.0


def test_invoice_json_extractor(tmp_path, knows):
    result = run_served("invoice-json-extractor", "qwen3", tmp_path, knows)
    assert result["models"]["teacher"]["task_score"]["value"] == 1.0


BUNDLED = (
    "task.unseen_prompts=4",
    "task.stretch_prompts=4",
    "collect.max_tokens=96",
    "evaluate.max_tokens=96",
)


def test_schoolbook(tmp_path):
    result = check(load("schoolbook", *BUNDLED), tmp_path / "run")
    assert result["models"]["teacher"]["task_score"]["value"] > 0.5


def test_schoolbook_full(tmp_path):
    seeds = [f"arms.{arm}.seeds=1" for arm in ("student", "with-logits", "shrunk", "gold", "baseline")]
    further = ("with-logits", "shrunk-untrained", "shrunk", "gold")
    rows = ("teacher", "student", "baseline", "untrained", *further)
    recipe = load("schoolbook-full", *BUNDLED, *seeds, "evaluate.max_tokens=24")
    assert recipe.arms["gold"].seeds == 1
    check(recipe, tmp_path / "run", rows)


def test_no_recipe_is_left_out():
    """A recipe has a test of its name here, or in the file that its header names."""
    here = Path(__file__).read_text()
    for path in RECIPES.glob("*.yaml"):
        name = path.stem.replace("-", "_").replace(".", "")
        assert f"def test_{name}" in here or "tests/pipeline/" in path.read_text().splitlines()[0], path.name
