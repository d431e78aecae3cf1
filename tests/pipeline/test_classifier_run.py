"""Classifiers end to end: a served teacher's labels train a head on a tiny checkpoint of three families."""

import json
from pathlib import Path

import pytest
from tests.sorters import FAMILIES

from spiritsafe import recipe_file
from spiritsafe.errors import InputError, RecipeError, SpiritSafeError
from spiritsafe.pipeline import run as pipeline
from spiritsafe.pipeline.ask import ask
from spiritsafe.rundir import RunDir

CLERKS = Path(__file__).parents[1] / "fakes" / "clerks.py"
LABELS = ["delivery", "money", "repair"]
THINGS = {"parcel": "is late", "bill": "is too high", "screen": "is broken"}
WORD = {"parcel": "delivery", "bill": "money", "screen": "repair"}


@pytest.fixture(autouse=True)
def one_process(monkeypatch):
    """Workers would load the libraries again, which takes longer than these trainings."""
    monkeypatch.setattr(pipeline, "workers_for", lambda _: 1)


def write(path, numbers, *, answers):
    rows = []
    for number in numbers:
        thing = list(THINGS)[number % 3]
        row = {"prompt": f"The {thing} {number} {THINGS[thing]}."}
        rows.append(row | ({"answer": WORD[thing]} if answers else {}))
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def recipe_of(tmp_path, server, student, *overrides, answers=False, clerk="untidy"):
    value = {
        "name": "sort",
        "task": {
            "kind": "jsonl",
            "path": write(tmp_path / "train.jsonl", range(200), answers=answers),
            "test_path": write(tmp_path / "test.jsonl", range(1000, 1060), answers=True),
            "validation_prompts": 20,
            "system": f"Answer with one of {', '.join(LABELS)}.",
            "verifier": {"kind": "label", "labels": LABELS},
        },
        "teacher": {"model": f"http://127.0.0.1:{server.port}/v1#fake"},
        "collect": {"max_tokens": 8},
        "student": {"model": str(student), "kind": "classifier"},
        "train": {"tokens": 30_000, "batch_tokens": 300, "max_length": 128, "learning_rate": 0.005},
    }
    return recipe_file.parse(value, list(overrides))


@pytest.mark.parametrize("family", FAMILIES)
def test_a_classifier_learns_from_a_served_teacher(tmp_path, start_server, family):
    student = FAMILIES[family](tmp_path / "checkpoint")
    server = start_server(answers=f"{CLERKS}:untidy")
    recipe = recipe_of(tmp_path, server, student, "arms.gold={data: gold}")
    result = pipeline.run(recipe, tmp_path / "run")
    rejected = result["counts"]["rejected"]
    assert rejected == {"no_label": 40, "empty": 20, "refusal": 20}
    assert result["counts"]["labels"]["prompts"] == 120
    assert list(result["models"]) == ["teacher", "student", "baseline", "untrained"]
    teacher, learnt = result["models"]["teacher"], result["models"]["student"]
    assert teacher["task_score"]["value"] == pytest.approx(0.6)
    assert learnt["task_score"]["value"] >= 0.95
    assert learnt["measures"]["accuracy"] == learnt["task_score"]["value"]
    assert learnt["measures"]["macro_f1"] >= 0.95
    assert 0 <= learnt["measures"]["ece"] < 0.3 and learnt["measures"]["n_calibrated"] == 60
    assert teacher["measures"]["ece"] is None
    assert result["models"]["baseline"]["data"] == "none"
    assert result["models"]["untrained"]["task_score"]["value"] < 0.7
    assert learnt["speed"]["examples_64"] > 0 and learnt["tokens_per_second"] is None
    assert learnt["cost_per_1k_usd"] > 0
    page = (tmp_path / "run" / "report.html").read_text()
    assert "Macro-F1" in page
    assert "120 answers give the shares of labels of 120 texts, each its label." in page
    config = json.loads((tmp_path / "run/students/student-0/model/config.json").read_text())
    assert config["id2label"] == {"0": "delivery", "1": "money", "2": "repair"}
    answer = ask(recipe, tmp_path / "run", "The parcel 5 is late.")["student"].text
    assert answer.startswith("delivery (")


def test_another_training_redoes_what_depends_on_it_and_nothing_else(tmp_path, start_server):
    student = FAMILIES["bert"](tmp_path / "checkpoint")
    server = start_server(answers=f"{CLERKS}:label")
    out = tmp_path / "run"
    short = ["train.tokens=600", "evaluate.speed=false", "collect.top_logprobs=2"]
    first = pipeline.run(recipe_of(tmp_path, server, student, *short, answers=True), out)
    assert first["models"]["baseline"]["data"] == "answers"
    assert first["counts"]["labels"]["from_logprobs"] == 200
    page = (out / "report.html").read_text()
    assert "200 of them by log-probabilities, in which 90.5&nbsp;% of the probability" in page
    assert first["models"]["teacher"]["measures"]["n_calibrated"] == 60
    before = len(RunDir(out).read_lines("spans.jsonl"))
    again = pipeline.run(recipe_of(tmp_path, server, student, *short, answers=True), out)
    assert again["models"] == first["models"]
    assert len(RunDir(out).read_lines("spans.jsonl")) == before
    pipeline.run(recipe_of(tmp_path, server, student, *short, "train.tokens=700", answers=True), out)
    redone = [row["name"] for row in RunDir(out).read_lines("spans.jsonl")[before:]]
    assert set(redone) == {
        *("train-student-0", "train-baseline-0", "evaluate-student-0", "evaluate-baseline-0", "speed")
    }


def test_votes_become_shares(tmp_path, start_server):
    student = FAMILIES["bert"](tmp_path / "checkpoint")
    server = start_server(answers=f"{CLERKS}:label")
    drawn = ["collect.samples_per_prompt=3", "collect.temperature=1.0"]
    recipe = recipe_of(tmp_path, server, student, *drawn)
    pipeline.run(recipe, tmp_path / "run", until="select")
    counts = json.loads((tmp_path / "run/selected/counts.json").read_text())
    assert (counts["accepted"], counts["labels"]["answers"], counts["labels"]["prompts"]) == (600, 600, 200)


def test_a_teacher_that_never_names_a_label_is_reported_with_the_counts(tmp_path, start_server):
    server = start_server(answers=f"{CLERKS}:sentences")
    recipe = recipe_of(tmp_path, server, FAMILIES["bert"](tmp_path / "checkpoint"))
    with pytest.raises(SpiritSafeError, match="nothing to train student on") as caught:
        pipeline.run(recipe, tmp_path / "run")
    assert "200 no_label" in caught.value.hint and "task.system" in caught.value.hint


def test_a_reference_outside_the_set_stops_before_the_teacher_is_asked(tmp_path, start_server):
    server = start_server(answers=f"{CLERKS}:label")
    recipe = recipe_of(tmp_path, server, "bundled:base", "task.verifier.labels=[delivery, money]")
    with pytest.raises(InputError, match="is not one of the labels: 'repair'"):
        pipeline.run(recipe, tmp_path / "run")
    assert server.log.read_text() == ""


def test_a_checkpoint_that_cannot_classify_stops_before_the_teacher_is_asked(tmp_path, start_server):
    server = start_server(answers=f"{CLERKS}:label")
    folder = FAMILIES["bert"](tmp_path / "checkpoint")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "model_type": "clip"}))
    with pytest.raises(InputError, match="cannot be a classifier"):
        pipeline.run(recipe_of(tmp_path, server, folder), tmp_path / "run")
    assert server.log.read_text() == ""


@pytest.mark.parametrize(
    ("override", "part"),
    [
        ("task.verifier={kind: exact}", "student.kind classifier needs task.verifier.kind label"),
        ("task.verifier.labels=[a, A]", "at least two labels"),
        ("train.packing=true", "has no train.packing"),
        ("student.adapter=lora", "has no student.adapter lora"),
        ("select.keep=shortest", "has no select.keep shortest"),
        ("arms.student={data: teacher, divergence: {}}", "has no arms with divergence"),
    ],
)
def test_recipes_that_no_classifier_can_have(tmp_path, override, part):
    given = {"task": {"verifier": {"kind": "label", "labels": ["a", "b"]}}, "student": {"kind": "classifier"}}
    assert recipe_file.parse(given).student.kind == "classifier"
    with pytest.raises(RecipeError, match=part):
        recipe_file.parse(given, [override])
