"""An extractor end to end: a served teacher's JSON trains a tiny causal student, scored by its fields."""

import json
from pathlib import Path

import pytest
from tests.tiny import save_tiny

from spiritsafe import recipe_file
from spiritsafe.errors import InputError, RecipeError
from spiritsafe.pipeline import run as pipeline

CLERKS = Path(__file__).parents[1] / "fakes" / "clerks.py"
SCHEMA = {
    "type": "object",
    "properties": {"thing": {"type": "string"}, "number": {"type": "integer"}},
    "required": ["thing", "number"],
}


@pytest.fixture(autouse=True)
def one_process(monkeypatch):
    monkeypatch.setattr(pipeline, "workers_for", lambda _: 1)


def write(path, numbers, *, answers):
    rows = []
    for number in numbers:
        thing = ("parcel", "bill", "screen")[number % 3]
        row = {"prompt": f"The {thing} {number} is here."}
        right = {"thing": thing, "number": number}
        rows.append(row | ({"answer": json.dumps(right)} if answers else {}))
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def recipe_of(tmp_path, server, *overrides, test_answers=True):
    value = {
        "name": "read",
        "task": {
            "kind": "jsonl",
            "path": write(tmp_path / "train.jsonl", range(100), answers=False),
            "test_path": write(tmp_path / "test.jsonl", range(100, 140), answers=test_answers),
            "validation_prompts": 10,
            "verifier": {"kind": "json_schema", "json_schema": SCHEMA},
        },
        "teacher": {"model": f"http://127.0.0.1:{server.port}/v1#fake"},
        "collect": {"max_tokens": 64},
        "student": {"model": str(save_tiny(tmp_path / "checkpoint")), "kind": "extractor"},
        "train": {"tokens": 120_000, "batch_tokens": 400, "max_length": 128, "learning_rate": 0.005},
        "evaluate": {"max_tokens": 48, "speed_tokens": 4},
    }
    return recipe_file.parse(value, list(overrides))


def test_an_extractor_is_scored_by_its_fields(tmp_path, start_server):
    server = start_server(answers=f"{CLERKS}:fields")
    result = pipeline.run(recipe_of(tmp_path, server), tmp_path / "run")
    assert result["counts"]["rejected"] == {"no_json": 20, "schema_mismatch": 10}
    teacher, student = (result["models"][name] for name in ("teacher", "student"))
    # Of ten answers two are no JSON and one has one of two fields: F1 of 2 * 1 / (1 + 2).
    assert teacher["task_score"]["value"] == pytest.approx((7 + 2 / 3) / 10)
    assert teacher["measures"] == {
        "n": 40,
        "field_f1_micro": pytest.approx(2 * 60 / (60 + 80)),
        "valid_json": 0.8,
        "valid_schema": 0.7,
        "exact": 0.7,
    }
    assert student["measures"]["valid_json"] > 0.4
    assert 0.15 < student["task_score"]["value"] <= 1
    assert student["task_score"]["low"] < student["task_score"]["value"] < student["task_score"]["high"]
    assert result["models"]["baseline"]["data"] == "none"
    assert "F1 over all fields" in (tmp_path / "run/report.html").read_text()


def test_references_are_needed_and_must_be_json(tmp_path, start_server):
    server = start_server(answers=f"{CLERKS}:fields")
    with pytest.raises(InputError, match="no test prompt has a reference answer"):
        pipeline.run(recipe_of(tmp_path, server, test_answers=False), tmp_path / "a")
    recipe = recipe_of(tmp_path, server)
    (tmp_path / "test.jsonl").write_text('{"prompt": "The bill 7 is here.", "answer": "bill: 7"}\n')
    with pytest.raises(InputError, match="is not JSON"):
        pipeline.run(recipe, tmp_path / "b")
    assert server.log.read_text() == ""


def test_an_extractor_needs_a_schema():
    with pytest.raises(RecipeError, match=r"student\.kind extractor needs task\.verifier\.kind json_schema"):
        recipe_file.parse({"student": {"kind": "extractor"}})
