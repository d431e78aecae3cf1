"""`ask`: the question is posed as in training, and the teacher is paid from the budget of the run."""

import json
import shlex
import shutil
import socket
import sys
from pathlib import Path

import pytest

from spiritsafe import recipe_file
from spiritsafe.errors import BudgetReached, TeacherError, UsageError
from spiritsafe.records import Request, Sampling
from spiritsafe.rundir import RunDir
from spiritsafe.store.ledger import Ledger
from spiritsafe.teachers.folders import resolve_model
from spiritsafe.teachers.local import LocalModel

SYSTEM = "Solve it. End with the number after ####."
QUESTION = "Tom has 3 pens and buys 4 more. How many pens has he?"
ASKED = ({"role": "system", "content": SYSTEM}, {"role": "user", "content": QUESTION})
REPLY = {
    "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "#### 7"}}],
    "usage": {"prompt_tokens": 40, "completion_tokens": 8},
}


@pytest.fixture
def teacher(httpserver):
    """A paid teacher; returns the bodies that it was sent."""
    httpserver.expect_request("/v1/models").respond_with_json({"data": [{"id": "m"}]})
    httpserver.expect_request("/v1/chat/completions").respond_with_json(REPLY)
    return lambda: [json.loads(r.data) for r, _ in httpserver.log if r.path.endswith("completions")]


@pytest.fixture
def made(tmp_path, httpserver):
    """A run directory whose student is the base checkpoint; returns a function of budget and other keys."""

    def run(usd=1.0, *overrides):
        (tmp_path / "p.jsonl").write_text('{"prompt": "1 + 1?", "answer": "2"}\n')
        recipe = {
            "task": {"kind": "jsonl", "path": str(tmp_path / "p.jsonl"), "system": SYSTEM},
            "teacher": {
                "model": f"http://127.0.0.1:{httpserver.port}/v1#m",
                "price": {"input_per_million": 10, "output_per_million": 20},
            },
            "budget": {"usd": usd},
            "evaluate": {"max_tokens": 12},
        }
        folder = RunDir(tmp_path / "r")
        folder.write_json("recipe.json", recipe_file.parse(recipe, list(overrides)).to_json())
        shutil.copytree(resolve_model("bundled:base"), folder.path / "students/student-0/model")
        return folder.path

    return run


def test_both_get_the_question_as_in_training_and_it_is_paid_once(call, made, teacher):
    folder = made()
    done = json.loads(call("ask", folder, QUESTION, "--who", "both", "--json").stdout)
    sampling = Sampling(max_tokens=12)
    direct = LocalModel.load(resolve_model("bundled:base")).generate(
        [Request(prompt_id="p", messages=ASKED, teacher="t", sampling=sampling)]
    )
    assert done["answers"]["student"]["text"] == direct[0].text
    assert done["answers"]["teacher"]["text"] == "#### 7"
    assert call("ask", folder, QUESTION, "--who", "teacher").stdout == "#### 7\n"
    (body,) = teacher()
    assert body["messages"] == list(ASKED)
    with Ledger(folder / "ledger.sqlite") as ledger:
        assert ledger.totals("ask").spent_usd == pytest.approx(40 * 10e-6 + 8 * 20e-6)


def test_people_read_names_above_answers(call, made, teacher):
    folder = made()
    done = call("ask", folder, QUESTION, "--who", "both")
    assert done.stdout.startswith("student:\n") and done.stdout.endswith("teacher:\n#### 7\n")
    assert f"next: spiritsafe export {folder} --to hf\n" in done.stderr
    base = call("ask", folder, QUESTION, "--who", "untrained").stdout
    assert base == call("ask", folder, QUESTION).stdout  # the student of this run is the base checkpoint


def test_a_question_that_does_not_fit_the_budget_is_not_sent(call, made, teacher):
    with pytest.raises(BudgetReached):
        call("ask", made(usd=0.00001), QUESTION, "--who", "teacher")
    assert teacher() == []


def test_a_teacher_that_refuses_says_why(call, made, httpserver):
    httpserver.expect_request("/v1/models").respond_with_json({"data": [{"id": "m"}]})
    httpserver.expect_request("/v1/chat/completions").respond_with_json({}, status=400)
    with pytest.raises(TeacherError, match="did not answer: http_400"):
        call("ask", made(), QUESTION, "--who", "teacher")


def test_who_cannot_be_asked(call, made, tmp_path):
    folder = made()
    with pytest.raises(UsageError, match="no such arm: 'gpt'") as error:
        call("ask", folder, QUESTION, "--who", "gpt")
    assert error.value.hint == "one of both, teacher, student, baseline, untrained"
    with pytest.raises(UsageError, match="baseline is not trained yet") as error:
        call("ask", folder, QUESTION, "--who", "baseline")
    assert error.value.hint == f"spiritsafe train {folder}"
    with pytest.raises(UsageError, match="not a run directory"):
        call("ask", tmp_path, QUESTION)


def test_nobody_waits_a_day_for_an_answer(call, made, teacher):
    assert call("ask", made(1.0, "collect.mode=batch"), QUESTION, "--who", "teacher").stdout == "#### 7\n"
    assert len(teacher()) == 1


def test_a_teacher_of_batches_alone_is_not_asked(call, made):
    with pytest.raises(UsageError, match="asked by the batch alone"):
        call("ask", made(1.0, "teacher.model=anthropic:claude-haiku-4-5"), QUESTION, "--who", "teacher")


def test_a_launched_teacher_is_started_and_stopped(call, made, tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    program = Path(__file__).parents[1] / "fakes" / "launched_server.py"
    launch = shlex.join(
        [sys.executable, str(program), "--port", str(port), "--state", str(tmp_path / "state")]
    )
    folder = made(1.0, f"teacher.model=http://127.0.0.1:{port}/v1#m", f"teacher.launch={launch}")
    answer = f"The answer is #### {len(QUESTION)}\n"
    assert call("ask", folder, QUESTION, "--who", "teacher").stdout == answer
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0
