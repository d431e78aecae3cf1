"""A pilot on the bundled models, small enough for the default suite, and what it refuses."""

import json

import pytest
from typer.testing import CliRunner

from spiritsafe import recipe_file
from spiritsafe.cli.main import app
from spiritsafe.costs.curve import Measured
from spiritsafe.errors import InputError, UsageError
from spiritsafe.pipeline import forecasts, inquiry, pilot
from spiritsafe.pipeline import run as run_module
from spiritsafe.pipeline.run import run, start
from spiritsafe.rundir import RunDir
from spiritsafe.tasks.schoolbook.generator import generate
from spiritsafe.teachers.scripted import ScriptedSampler

SMALL = {
    "task": {"train_prompts": 120, "validation_prompts": 10, "test_prompts": 20},
    "train": {"tokens": 8000, "batch_tokens": 1000, "max_length": 256},
    "evaluate": {"max_tokens": 48, "speed": False},
    "arms": {"baseline": {"data": "none"}},
}
PAID = {"model": "http://teacher.invalid/v1#big"}


@pytest.fixture(scope="module", autouse=True)
def quick():
    """A teacher that knows the worked solutions, and students one after the other in this process."""
    known = {
        p.problem_id: p.solution for name in ("train", "validation", "test") for p in generate(name, 120, 0)
    }
    script = ScriptedSampler(lambda request: known[request.prompt_id])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inquiry, "connect", lambda *_, **__: script)
        patch.setattr(run_module, "workers_for", lambda _: 1)
        yield


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    out = tmp_path_factory.mktemp("pilot")
    recipe = recipe_file.parse(SMALL)
    return recipe, out, pilot.pilot(recipe, out)


def spans(out):
    return [row["name"] for row in RunDir(out).read_lines("spans.jsonl")]


def test_students_are_trained_on_parts_of_the_same_answers(done):
    _, out, found = done
    accepted = RunDir(out).read_json("selected/counts.json")["accepted"]
    sizes = [m.answers for m in found.measured]
    assert found.now.answers <= accepted < found.now.answers + 11  # less those of the validation
    assert sizes == [
        found.now.answers * last // 8 - found.now.answers * first // 8 for first, last in pilot.PARTS.values()
    ]
    tokens = [RunDir(out).read_json(f"students/{name}-0/training.json")["tokens"] for name in pilot.PARTS]
    assert [round(t / 1000) for t in tokens] == [1, 1, 2, 4]


def test_scores_are_those_of_the_judged_answers(done):
    _, out, found = done
    rows = [r for r in RunDir(out).read_lines("evaluation/pilot-0to4-0.jsonl") if r.get("slice") == "test"]
    solved = sum(row["correct"] for row in rows)
    assert found.measured[-1] == Measured(answers=found.measured[-1].answers, solved=solved, problems=20)


def test_the_teacher_is_asked_for_training_answers_alone(done):
    _, out, _ = done
    assert "collect" in spans(out)
    assert not {"collect-test", "evaluate-teacher", "speed", "train-student-0"} & set(spans(out))


def test_numbers_and_page_are_written(done):
    _, out, found = done
    value = RunDir(out).read_json("pilot.json")
    assert value["verdict"] == found.verdict == "too early"
    assert value["next"]["score"] == found.next.score.to_json()
    assert '<section id="pilot">' in (out / "report.html").read_text()


def test_other_dollars_train_nothing_again_and_the_run_goes_on_from_there(done):
    recipe, out, found = done
    before = spans(out)
    less = pilot.pilot(recipe, out, usd=found.usd_per_answer * 40)
    assert spans(out) == before
    assert less.next.answers == found.now.answers + 40
    result = run(recipe, out)
    redone = spans(out)[len(before) :]
    assert "train-student-0" in redone and not {"prompts", "collect", "select"} & set(redone)
    assert result["pilot"]["next"]["answers"] == less.next.answers
    assert not any(name.startswith("pilot") for name in result["models"])
    other = start(recipe_file.parse(SMALL, ["train.tokens=9000"]), out)
    assert forecasts.current_forecast(other) is None and not (out / "pilot.json").exists()


def test_the_verb_prints_the_forecast(done):
    _, out, _ = done
    shown = CliRunner().invoke(app, ["pilot", str(out), "--usd", "1", "--json", "--set", "train.tokens=8000"])
    assert shown.exit_code == 0, shown.output
    value = json.loads(shown.stdout)
    assert value["usd"] == 1 and [m["problems"] for m in value["measured"]] == [20] * 4
    assert f"next: spiritsafe run {out}" in shown.stderr


@pytest.mark.parametrize(
    ("changes", "usd", "problem"),
    [
        ({"task": {"verifier": {"kind": "none"}}}, 20, "needs a task.verifier"),
        (
            {"teacher": PAID, "budget": {"tokens": 1000}},
            20,
            "the price of http://teacher.invalid/v1#big is unknown",
        ),
        ({"arms": {"student": {"data": "gold"}}}, 20, "arms.student.data is gold"),
        ({}, 0, "--usd must be a positive amount"),
    ],
)
def test_what_no_pilot_can_be_made_of_is_refused_before_anything_is_spent(tmp_path, changes, usd, problem):
    with pytest.raises(UsageError, match=problem):
        pilot.pilot(recipe_file.parse(changes), tmp_path / "run", usd=usd)
    assert not (tmp_path / "run").exists()


def test_too_few_prompts_are_refused_before_the_teacher_is_asked(tmp_path):
    with pytest.raises(InputError, match="79 training prompts are too few to be cut in eight"):
        pilot.pilot(recipe_file.parse({**SMALL, "task": {"train_prompts": 79}}), tmp_path)
    assert spans(tmp_path) == ["prompts"]


def test_too_few_answers_are_refused_before_anything_is_trained(tmp_path):
    recipe = recipe_file.parse(
        {**SMALL, "select": {"max_characters": 60}, "task": {**SMALL["task"], "train_prompts": 80}}
    )
    with pytest.raises(InputError, match="prompts with an answer that passed the selection are too few"):
        pilot.pilot(recipe, tmp_path)
    assert spans(tmp_path) == ["prompts", "collect", "select"]
