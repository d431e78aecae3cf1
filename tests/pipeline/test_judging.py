"""A whole run with a judge: as a filter, as the score, paid once, redone when the section changed."""

import json
import shutil
from pathlib import Path

import pytest
from tests.tiny import save_tiny

from spiritsafe import recipe_file
from spiritsafe.errors import BudgetReached, RecipeError, TeacherError, UsageError
from spiritsafe.pipeline import judging
from spiritsafe.pipeline.run import run
from spiritsafe.rundir import RunDir
from spiritsafe.store.ledger import Ledger
from spiritsafe.store.shards import read_shards

JUDGES = Path(__file__).parent.parent / "fakes" / "judges.py"
N = 40


@pytest.fixture(scope="module", autouse=True)
def one_process():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("spiritsafe.pipeline.run.workers_for", lambda _bytes: 1)
        yield


@pytest.fixture(scope="module")
def evaluated(start_lasting_server, tmp_path_factory):
    """A run with everything but a judge: its recipe, and its directory to copy."""
    folder = tmp_path_factory.mktemp("evaluated")
    rows = [{"prompt": f"task {i}: write quality {i % 10}."} for i in range(N)]
    for row in rows[::2]:
        row |= {"chosen": "quality 9", "rejected": "quality 3"}
    (folder / "p.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    recipe = {
        "name": "judged",
        "task": {"kind": "jsonl", "path": str(folder / "p.jsonl"), "verifier": {"kind": "none"}},
        "teacher": {"model": start_lasting_server(answers=f"{JUDGES}:teacher").ref},
        "student": {"model": str(save_tiny(folder / "student"))},
        "collect": {"max_tokens": 32},
        "train": {"tokens": 2000, "batch_tokens": 500, "max_length": 256},
        "evaluate": {"max_tokens": 8, "speed": False},
    }
    go(recipe, folder / "run", until="evaluate")
    return recipe, folder / "run"


@pytest.fixture
def world(start_server, tmp_path, evaluated):
    """A recipe with a scripted judge, the judge's server and a run in which all but judging is done."""
    shutil.copytree(evaluated[1], tmp_path / "run")

    def make(judge="perfect", **section):
        server = start_server(answers=f"{JUDGES}:{judge}")
        price = {"input_per_million": 1.0, "output_per_million": 1.0}
        section = {"model": server.ref, "max_tokens": 32, "price": price, **section}
        return {**evaluated[0], "judge": section}, server, tmp_path / "run"

    return make


def go(recipe, out, *overrides, until="report"):
    return run(recipe_file.parse(json.loads(json.dumps(recipe)), list(overrides)), out, until=until)


def spans(out):
    return [row["name"] for row in RunDir(out).read_lines("spans.jsonl")]


def test_a_judge_scores_what_no_verifier_can(world):
    recipe, server, out = world()
    result = go(recipe, out)
    models, judge = result["models"], result["judge"]
    assert models["teacher"]["task_score"] == {"value": 0.5, "low": 0.5, "high": 0.5, "n": 8}
    assert models["student"]["task_score"]["value"] < 0.5  # random letters have quality 0
    test = judge["test"]
    assert (test["mode"], test["n"], test["unparsed"], test["left_out"]) == ("pairwise", 8, 0, {})
    assert test["self_agreement"]["value"] == 1.0
    assert test["agreement_labels"]["value"] == 1.0 and test["agreement_labels"]["n"] >= 1
    assert set(test["models"]) == {"student", "baseline", "untrained"}
    assert judge["requests"] == len(server.rows())
    billed = sum(row["input"] + row["output"] for row in server.rows()) / 1e6
    assert judge["spent_usd"] == pytest.approx(billed) == result["cost"]["spent_usd"]
    page = (out / "report.html").read_text()
    assert '<section id="judge">' in page and "Agrees with people&#x27;s preferences" in page
    before = spans(out)
    assert go(recipe, out)["judge"] == judge and spans(out) == before
    assert judge["requests"] == len(server.rows())


def test_another_rubric_is_asked_anew_and_a_price_is_not(world):
    recipe, server, out = world()
    go(recipe, out)
    asked, before = len(server.rows()), len(spans(out))
    go(recipe, out, "judge.price.input_per_million=2", "judge.max_concurrency=3")
    assert spans(out)[before:] == [] and len(server.rows()) == asked
    go(recipe, out, "judge.rubric=Is it short?")
    assert spans(out)[before:] == ["judge-test"] and len(server.rows()) == 2 * asked
    go(recipe, out)  # the old question's answers are still in the ledger
    assert len(server.rows()) == 2 * asked


def test_a_filter_drops_what_is_marked_low(world):
    recipe, server, out = world(filter_below=0.5, scale="0-10")
    go(recipe, out, until="select")
    samples = read_shards(out / "selected")
    low = {s.prompt_id for s in samples if int(s.text.split()[1]) < 5}
    assert {s.prompt_id for s in samples if s.reject_reason == "judge_low"} == low and low
    assert all(s.accepted for s in samples if s.prompt_id not in low)
    counts = RunDir(out).read_json("selected/counts.json")
    assert counts["rejected"] == {"judge_low": len(low)}
    marks = RunDir(out).read_json("judged/select.json")
    assert (marks["n"], marks["unparsed"], marks["mean_difference"]) == (len(samples), 0, 0.0)
    asked, before = len(server.rows()), len(spans(out))
    go(recipe, out, "judge.filter_below=0.8", until="select")
    assert spans(out)[before:] == ["select"] and len(server.rows()) == asked


def test_answers_without_a_mark_are_dropped_and_counted(world):
    recipe, _, out = world("lapsing", filter_below=0.0, scale="0-10")
    go(recipe, out, until="select")
    numbers = {s.prompt_id: s for s in read_shards(out / "selected")}
    dropped = [s for s in numbers.values() if s.reject_reason == "judge_unparsed"]
    asked = [int(s.messages[0]["content"].split(":")[0].split()[1]) for s in dropped]
    assert asked and all(number % 3 == 0 for number in asked)
    assert RunDir(out).read_json("judged/select.json")["unparsed"] == len(dropped)


def test_by_rubric_the_teacher_has_marks_too(world):
    recipe, _, out = world(mode="rubric", scale="0-10")
    result = go(recipe, out)
    test = result["judge"]["test"]
    texts = [json.loads(line)["text"] for line in (out / "judged" / "teacher.jsonl").read_text().splitlines()]
    expected = sum(int(text.split()[1]) for text in texts) / 10 / len(texts)
    assert result["models"]["teacher"]["task_score"]["value"] == pytest.approx(expected)
    assert result["models"]["student"]["task_score"]["value"] == 0
    assert test["self_agreement"]["value"] == 1.0 and test["mean_difference"] == 0.0
    assert test["agreement_labels"]["value"] == 1.0


def test_a_position_biased_judge_is_shown_as_one(world):
    recipe, _, out = world("first_always")
    result = go(recipe, out)
    assert {m["task_score"]["value"] for m in result["models"].values()} == {0.5}
    assert result["judge"]["test"]["self_agreement"]["value"] == 0.0
    assert result["gap_closed"] is None


def test_a_judge_that_never_answers_in_format_loses_nothing(world):
    recipe, server, out = world("talkative")
    with pytest.raises(TeacherError, match="never ends with a verdict"):
        go(recipe, out)
    assert len(server.rows()) == 20
    before = len(spans(out))
    with pytest.raises(TeacherError):
        go(recipe, out)
    assert len(server.rows()) == 20 and spans(out)[before:] == ["judge-test"]


def test_the_budget_covers_the_judge_and_the_run_goes_on(world):
    recipe, server, out = world()
    with pytest.raises(BudgetReached):
        go(recipe, out, "budget.usd=0.003")
    part = len(server.rows())
    assert part > 0
    result = go(recipe, out)
    assert set(server.served().values()) == {1} and len(server.rows()) > part
    with Ledger(out / "ledger.sqlite") as ledger:
        assert ledger.totals("judge-test").settled + ledger.totals("judge-labels").settled == len(
            server.rows()
        )
    assert result["judge"]["test"]["self_agreement"]["value"] == 1.0


def test_what_a_judge_lacks_is_refused_before_anything_is_asked(world, monkeypatch):
    recipe, server, out = world()
    before = spans(out)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(UsageError, match="OPENAI_API_KEY"):
        go(recipe, out, "judge.model=https://judge.example/v1#big")
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    with pytest.raises(UsageError, match="price") as caught:
        go(recipe, out, "judge.model=https://judge.example/v1#big", "judge.price=null")
    assert "judge.price" in caught.value.hint
    assert spans(out) == before and server.rows() == []


def test_a_judge_without_work_is_refused():
    with pytest.raises(RecipeError, match="judge has nothing to do"):
        recipe_file.parse({"judge": {"model": "http://127.0.0.1:1/v1#j"}})
    with pytest.raises(RecipeError, match=r"judge\.model"):
        recipe_file.parse({"judge": {"filter_below": 0.5}})
    recipe_file.parse({"judge": {"model": "http://127.0.0.1:1/v1#j", "filter_below": 0.5}})


def test_plan_counts_what_the_judge_comes_to():
    recipe = recipe_file.parse(
        {"task": {"kind": "incidents", "verifier": {"kind": "none"}}, "judge": {"model": "bundled:teacher"}}
    )
    # three students, each answer in both orders
    assert judging.forecast(recipe, 1000, 50).endswith("at most about 300 for test answers")
    judge = recipe.judge.model_copy(update={"mode": "rubric", "filter_below": 0.5})
    told = judging.forecast(recipe.model_copy(update={"judge": judge}), 1000, 50)
    assert told.endswith("at most about 1,100 for training answers and 200 for test answers")
    assert judging.forecast(recipe_file.parse({}), 1000, 50) is None


def test_the_launched_teacher_cannot_judge():
    ref = "http://127.0.0.1:8000/v1#m"
    recipe = recipe_file.parse(
        {
            "task": {"kind": "incidents", "verifier": {"kind": "none"}},
            "teacher": {"model": ref, "launch": "serve m"},
            "judge": {"model": "http://127.0.0.1:8000/v1#other"},
        }
    )
    with pytest.raises(UsageError, match=r"teacher\.launch stops"):
        judging.check(recipe)
    judging.check(recipe_file.parse(recipe.to_json(), ["judge.model=http://127.0.0.1:8001/v1#other"]))
