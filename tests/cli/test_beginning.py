"""`init`: five questions, a recipe that loads and says why, never over an old one."""

import json

import pytest

from spiritsafe import recipe_file
from spiritsafe.errors import InputError, UsageError
from spiritsafe.pipeline import draft
from spiritsafe.pipeline.short import write_recipe


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(path, answers):
    rows = [{"prompt": f"question {i}"} | ({"answer": a} if a else {}) for i, a in enumerate(answers)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_the_defaults_are_the_bundled_run(call, here):
    done = call("init", "first.yaml", "--yes")
    assert (done.stdout, done.stderr) == ("first.yaml\n", "next: spiritsafe plan first.yaml\n")
    made, bundled = recipe_file.load("first.yaml"), recipe_file.load(recipe_file.bundled_path())
    assert made.name == "first" and made.budget.usd == 5
    assert (made.teacher, made.student) == (bundled.teacher, bundled.student)
    assert made.train == bundled.train


def test_piped_answers(call, here):
    write(here / "tickets.jsonl", ["refund", "bug", "refund", "other", "bug", "refund"])
    done = call("init", input="tickets.jsonl\nopenai:gpt-4.1-mini\n\n24gb\n$12.5\n")
    made = recipe_file.load("recipe.yaml")
    assert made.task.path == "tickets.jsonl" and made.budget.usd == 12.5
    assert made.task.verifier.labels == ("refund", "bug", "other")
    assert made.teacher.model == "openai:gpt-4.1-mini"
    assert made.student.model == "hf:Qwen/Qwen3-4B" and made.train.learning_rate == 2e-4
    assert made.student.kind == "chat"
    assert "3/5 Right answers are: numeric, math, label" in done.stderr and "[label]: label" in done.stderr
    assert sum(line.count("#") for line in (here / "recipe.yaml").read_text().splitlines()) > 8


def test_a_pipe_that_ends_takes_the_other_defaults(call, here):
    write(here / "p.jsonl", ["7", "-2.5"])
    call("init", input="p.jsonl\n")
    made = recipe_file.load("recipe.yaml")
    assert made.task.verifier.kind == "numeric"
    assert made.teacher.model == "http://127.0.0.1:8000/v1#Qwen/Qwen3-32B"
    assert all(line == line.rstrip() for line in (here / "recipe.yaml").read_text().splitlines())
    assert made.student.model == "hf:Qwen/Qwen3-0.6B"


@pytest.mark.parametrize(
    ("answers", "kind"),
    [
        ([None, None], "none"),
        (["12", "1000", "-3"], "numeric"),
        (['{"total": 3}', '{"total": 4}'], "json_schema"),
        (["yes", "no", "yes", "no"], "label"),
        (["A long answer of its own.", "Another one."], "none"),
    ],
)
def test_the_answers_of_a_file_suggest_how_they_are_judged(here, answers, kind):
    write(here / "p.jsonl", answers)
    assert draft.guess_kind("p.jsonl") == kind


@pytest.mark.parametrize(
    ("piped", "problem"),
    [
        ("nothing.jsonl\n", r"cannot read the prompts: nothing\.jsonl"),
        ("schoolbook\ngpt-4\n", "no such model or folder: 'gpt-4'"),
        ("schoolbook\n\nessay\n", "no such kind of answer: 'essay'"),
        ("schoolbook\n\n\nphone\n", "no such model or folder: 'phone'"),
        ("schoolbook\n\n\nencoder\n", "an encoder sorts into labels, and answers are numeric"),
        ("schoolbook\n\n\n\nmuch\n", "not an amount of money: 'much'"),
    ],
)
def test_a_wrong_answer_is_refused_and_nothing_is_written(call, here, piped, problem):
    with pytest.raises(UsageError, match=problem):
        call("init", input=piped)
    assert not (here / "recipe.yaml").exists()


def test_labels_that_are_none_and_a_recipe_that_exists(call, here):
    write(here / "p.jsonl", ["a text", "a second text", "a third one"])
    with pytest.raises(InputError, match="are not a set of labels"):
        call("init", input="p.jsonl\n\nlabel\n")
    (here / "recipe.yaml").write_text("name: mine\n")
    with pytest.raises(UsageError, match="exists and is not overwritten"):
        call("init", "--yes")
    assert (here / "recipe.yaml").read_text() == "name: mine\n"


def test_the_short_form_knows_the_same(here):
    write(here / "p.jsonl", ["yes", "no", "yes", "no"])
    path = write_recipe(
        teacher="openai:gpt-4.1", student="hf:A/B", prompts=here / "p.jsonl", budget_usd=1, recipe=None
    )
    made = recipe_file.load(path)
    assert made.task.verifier.labels == ("yes", "no")
    assert made.train.learning_rate == 2e-4 and made.train.max_length == 2048


def test_labels_make_a_classifier_and_json_an_extractor(call, here):
    write(here / "p.jsonl", ["yes", "no", "yes", "no"])
    call("init", "sort.yaml", input="p.jsonl\n")
    made = recipe_file.load("sort.yaml")
    assert (made.student.kind, made.student.model) == ("classifier", "hf:answerdotai/ModernBERT-base")
    write(here / "q.jsonl", ['{"total": 3}', '{"total": 4}'])
    call("init", "read.yaml", input="q.jsonl\n")
    made = recipe_file.load("read.yaml")
    assert (made.student.kind, made.student.model) == ("extractor", "hf:Qwen/Qwen3-0.6B")
