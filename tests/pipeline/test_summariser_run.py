"""The bundled recipe for summaries end to end: scripted teacher and judge behind servers, a tiny Qwen3."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from tests.families import FAMILIES, save_family

from spiritsafe import recipe_file
from spiritsafe.errors import RecipeError
from spiritsafe.pipeline.run import run
from spiritsafe.rundir import RunDir
from spiritsafe.store.shards import read_shards

RECIPE = Path(__file__).parents[2] / "recipes" / "summaries-with-judge.yaml"
SCRIPT = Path(__file__).parents[1] / "fakes" / "summaries.py"
SMALL = (
    *("task.train_prompts=40", "task.validation_prompts=6", "task.test_prompts=12"),
    *("train.tokens=15000", "train.batch_tokens=5000", "train.max_length=1400"),
    *("evaluate.max_tokens=24", "evaluate.speed=false"),
)


@pytest.fixture(scope="module")
def done(start_lasting_server, tmp_path_factory):
    folder = tmp_path_factory.mktemp("summaries")
    teacher, judge = (start_lasting_server(answers=f"{SCRIPT}:{name}") for name in ("teacher", "judge"))
    qwen3 = FAMILIES["qwen3"]
    longer = replace(qwen3, sizes={**qwen3.sizes, "max_position_embeddings": 2048})  # a report has 900 bytes
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(FAMILIES, "qwen3", longer)
        student = save_family("qwen3", folder / "student")
    own = (f"teacher.model={teacher.ref}", f"judge.model={judge.ref}", f"student.model={student}")
    recipe = recipe_file.load(RECIPE, [*SMALL, *own])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("spiritsafe.pipeline.run.workers_for", lambda _bytes: 1)
        yield run(recipe, folder / "run"), RunDir(folder / "run"), judge


def test_careless_summaries_are_not_trained_on(done):
    _, out, _ = done
    samples = read_shards(out.path / "selected")
    careless = {s.prompt_id for s in samples if s.text.count(".") == 1}
    assert careless and {s.prompt_id for s in samples if s.reject_reason == "judge_low"} == careless
    assert all(s.accepted for s in samples if s.prompt_id not in careless)


def test_the_score_is_the_judge_s_and_the_measures_stand_beside_it(done):
    result, _, judge = done
    models = result["models"]
    assert models["teacher"]["task_score"]["value"] == 0.5
    assert models["student"]["task_score"]["value"] < 0.1  # random letters
    teacher, student = (models[name]["measures"] for name in ("teacher", "student"))
    assert teacher["n"] == 12 and teacher["faithful"]["value"] == teacher["rouge_l_teacher"]["value"] == 1.0
    assert 0.8 < teacher["covered"]["value"] <= 1.0 and 0.2 < teacher["length_ratio"]["value"] < 0.9
    assert student["covered"]["value"] < 0.1 and student["rouge_l_teacher"]["value"] < 0.2
    assert result["judge"]["requests"] == len(judge.rows())
    assert result["judge"]["test"]["agreement_references"]["value"] == 1.0


def test_the_report_shows_both(done):
    _, out, _ = done
    page = (out.path / "report.html").read_text()
    assert "Names and numbers that the source has" in page and '<section id="judge">' in page
    assert "ROUGE-L to the teacher&#x27;s" in page


def test_a_summariser_needs_a_judge_and_no_verifier():
    recipe = {"task": {"kind": "incidents", "verifier": {"kind": "none"}}, "student": {"kind": "summariser"}}
    with pytest.raises(RecipeError, match="needs a section judge"):
        recipe_file.parse(json.loads(json.dumps(recipe)))
    with pytest.raises(RecipeError, match=r"needs task\.verifier\.kind none"):
        recipe_file.parse(recipe, ["task.verifier.kind=exact", "judge.model=bundled:teacher"])
