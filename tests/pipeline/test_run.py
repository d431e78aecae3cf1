"""A whole run on the bundled models, small enough for the default suite, and what a second run redoes."""

import json

import pytest

from spiritsafe import recipe_file
from spiritsafe.errors import UsageError
from spiritsafe.pipeline.run import GROUPS, run, start
from spiritsafe.pipeline.stage import Runner, Stage
from spiritsafe.pipeline.stages import stages
from spiritsafe.rundir import RunDir

pytestmark = pytest.mark.usefixtures("in_this_process")
SMALL = {
    "task": {
        "train_prompts": 60,
        "validation_prompts": 10,
        "test_prompts": 40,
        "unseen_prompts": 8,
        "stretch_prompts": 8,
    },
    "train": {"tokens": 4000, "batch_tokens": 1000, "max_length": 256},
    "evaluate": {"max_tokens": 96, "speed_tokens": 4},
    "collect": {"max_tokens": 96},
}


@pytest.fixture(scope="module")
def done(tmp_path_factory, in_this_process):
    out = tmp_path_factory.mktemp("run")
    recipe = recipe_file.parse(SMALL)
    return recipe, out, run(recipe, out)


def spans(out):
    return [row["name"] for row in RunDir(out).read_lines("spans.jsonl")]


def test_result_has_the_frozen_shape(done):
    _, out, result = done
    assert result == json.loads((out / "result.json").read_text())
    assert list(result["models"]) == ["teacher", "student", "baseline", "untrained"]
    assert {
        "schema",
        "run",
        "seconds",
        "models",
        "gap_closed",
        "speedup",
        "size_ratio",
        "cost",
        "terms",
    } <= set(result)
    for model in result["models"].values():
        assert model["task_score"]["n"] == 40
        assert model["task_score"]["low"] <= model["task_score"]["value"] <= model["task_score"]["high"]
        assert model["parameters"] > 100_000 and model["bytes"] > 400_000
        assert model["tokens_per_second"] > 0
    assert result["size_ratio"] <= 1 / 3
    assert result["cost"]["spent_usd"] == 0


def test_teacher_solves_what_the_base_student_cannot(done):
    models = done[2]["models"]
    assert models["teacher"]["task_score"]["value"] >= 0.8
    assert models["untrained"]["task_score"]["value"] <= 0.4


def test_the_page_is_there_and_asks_for_nothing(done):
    page = (done[1] / "report.html").read_text()
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert "<script" not in page


def test_a_second_run_does_nothing_again(done):
    recipe, out, result = done
    before = spans(out)
    assert run(recipe, out)["models"] == result["models"]
    assert spans(out) == before


def test_only_what_changed_is_redone(done, tmp_path):
    recipe, out, _ = done
    before = len(spans(out))
    run(recipe_file.parse(SMALL, ["select.max_characters=5000"]), out)
    assert spans(out)[before:] == ["select"]  # it keeps the same answers, so nothing else changes
    before = len(spans(out))
    run(recipe_file.parse(SMALL, ["select.max_characters=90"]), out)
    redone = spans(out)[before:]
    assert "select" in redone and "train-student-0" in redone and "evaluate-student-0" in redone
    assert not {"prompts", "collect", "train-baseline-0", "collect-test"} & set(redone)
    run(recipe, out)


def test_a_damaged_output_is_made_anew(done):
    recipe, out, result = done
    (out / "evaluation" / "student-0.jsonl").write_text("")
    before = len(spans(out))
    assert run(recipe, out)["models"]["student"]["task_score"] == result["models"]["student"]["task_score"]
    assert spans(out)[before:] == ["evaluate-student-0"]


def test_a_stage_stops_where_asked(tmp_path):
    assert run(recipe_file.parse(SMALL), tmp_path, until="collect") == {}
    assert spans(tmp_path) == ["prompts", "collect"]
    with pytest.raises(UsageError):
        run(recipe_file.parse(SMALL), tmp_path, until="distil")


def test_a_stage_that_may_give_more_is_run_again(tmp_path):
    context = start(recipe_file.parse(SMALL), tmp_path)
    tries, path = [], tmp_path / "answers"

    def action(_):
        tries.append(len(tries))
        path.write_text("the same")
        return [path]

    partly = Stage(
        name="a", group="collect", inputs=1, needs=(), action=action, complete=lambda _: len(tries) > 1
    )
    after = Stage(name="b", group="select", inputs=1, needs=("a",), action=action)
    runner = Runner(context)
    runner.do(partly)
    runner.do(after)
    runner.do(partly)
    runner.do(partly)
    runner.do(after)  # what it reads is the same
    assert tries == [0, 1, 2]


def test_every_stage_belongs_to_a_verb_and_needs_earlier_ones(tmp_path):
    seen = set()
    for stage in stages(recipe_file.parse({"arms": {"gold": {"data": "gold", "seeds": 2}}}), tmp_path):
        assert stage.group in GROUPS
        assert set(stage.needs) <= seen
        seen.add(stage.name)
    assert {"train-gold-0", "train-gold-1", "evaluate-gold-1"} <= seen
