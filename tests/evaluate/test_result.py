import json

import pytest

from spiritsafe.evaluate.grade import Graded
from spiritsafe.evaluate.result import Costs, assemble
from spiritsafe.recipe import Arm, Recipe
from spiritsafe.stats import wilson

RECIPE = Recipe(arms={**Recipe().arms, "gold": Arm(data="gold", seeds=2)})
SIZES = {"teacher": {"parameters": 400, "bytes": 1600}, "student": {"parameters": 100, "bytes": 400}}
SPEEDS = {
    "teacher": {"prefill_1": 10.0, "decode_1": 5.0, "prefill_64": 40.0, "decode_64": 20.0},
    "student": {"prefill_1": 30.0, "decode_1": 15.0, "prefill_64": 80.0, "decode_64": 50.0},
}


def rows(right, n=100, reason=None):
    """n standard problems of two levels of which the first `right` are solved, and one unseen one."""
    tags = [{"level": str(1 + i % 2), "template": f"t{i}"} for i in range(n)]
    test = [
        Graded(prompt_id=f"p{i}", slice="test", correct=i < right, text="", reason=reason, tags=tags[i])
        for i in range(n)
    ]
    return [*test, Graded(prompt_id="u", slice="unseen", correct=right > 50, text="", reason=reason)]


def result(**changes):
    given = {
        "run": "runs/x",
        "seconds": 12.34,
        "recipe": RECIPE,
        "graded": {
            "teacher": [rows(100)],
            "student": [rows(90)],
            "baseline": [rows(20)],
            "untrained": [rows(10)],
            "gold": [rows(80), rows(84)],
        },
        "sizes": SIZES,
        "speeds": SPEEDS,
        "costs": Costs(spent_usd=1.5, per_1k={"teacher": 0.4, "student": 0.1}, break_even_requests=5000),
        "counts": {"spend": {"requests": 7}},
    }
    return assemble(**{**given, **changes})


def test_scores_slices_and_ratios():
    value = result()
    student = value["models"]["student"]
    assert student["task_score"] == wilson(90, 100).to_json()
    assert set(student["slices"]) == {"unseen", "level 1", "level 2"}
    assert student["slices"]["level 1"] == wilson(45, 50).to_json()
    assert student["slices"]["unseen"]["n"] == 1
    assert (student["parameters"], student["bytes"], student["tokens_per_second"]) == (100, 400, 15.0)
    assert (student["data"], student["seeds"], student["cost_per_1k_usd"]) == ("teacher", 1, 0.1)
    assert student["difference"]["value"] == pytest.approx(-0.1)
    assert value["models"]["teacher"]["data"] is None
    assert value["models"]["teacher"]["difference"] is None
    assert value["speedup"] == {"batch_1": 3.0, "batch_64": 2.5}
    assert value["size_ratio"] == 0.25


def test_gap_cost_terms_and_recipe():
    value = result()
    assert value["gap_closed"]["value"] == pytest.approx(0.875)
    assert value["gap_closed"]["n"] == 100
    assert "gap_reason" not in value
    assert value["cost"] == {
        "spent_usd": 1.5,
        "per_1k_teacher": 0.4,
        "per_1k_student": 0.1,
        "break_even_requests": 5000,
    }
    assert value["terms"] == {"verdict": "not checked"}
    assert value["counts"] == {"spend": {"requests": 7}}
    assert value["recipe"]["arms"]["gold"]["seeds"] == 2
    assert json.loads(json.dumps(value, allow_nan=False)) == value


def test_an_arm_of_several_seeds_is_their_mean():
    gold = result()["models"]["gold"]
    assert gold["task_score"]["value"] == pytest.approx(0.82)
    assert gold["task_score"]["low"] < 0.80
    assert gold["seeds"] == 2


def test_a_teacher_behind_an_api_has_neither_size_nor_speed():
    value = result(sizes={"student": SIZES["student"]}, speeds={"student": SPEEDS["student"]})
    teacher = value["models"]["teacher"]
    assert (teacher["parameters"], teacher["bytes"], teacher["speed"]) == (None, None, None)
    assert value["speedup"] == {"batch_1": None, "batch_64": None}
    assert value["size_ratio"] is None


def test_a_teacher_no_better_than_the_baseline_leaves_no_gap_but_a_reason():
    same = {name: [rows(50)] for name in ("teacher", "student", "baseline", "untrained")}
    value = result(graded=same)
    assert value["gap_closed"] is None
    assert "not measurably better" in value["gap_reason"]


def test_without_reference_answers_there_is_no_score():
    names = ("teacher", "student", "baseline", "untrained")
    value = result(graded={name: [rows(0, reason="unverified")] for name in names})
    assert value["models"]["student"]["task_score"] is None
    assert value["models"]["student"]["difference"] is None
    assert value["gap_closed"] is None
    assert "reference answer" in value["gap_reason"]


def test_a_run_without_baseline_says_what_was_not_evaluated():
    value = result(graded={"teacher": [rows(100)], "student": [rows(90)]})
    assert value["gap_reason"] == "not evaluated: baseline"


def test_models_judged_on_different_problems_are_refused():
    with pytest.raises(ValueError, match="student was judged on other problems"):
        result(graded={"teacher": [rows(10)], "student": [rows(10, n=99)]})
    with pytest.raises(ValueError, match="seeds of an arm"):
        result(graded={"teacher": [rows(10)], "gold": [rows(10), rows(10, n=99)]})


def test_nan_is_refused_with_its_place():
    with pytest.raises(ValueError, match=r"result\.cost\.spent_usd is nan"):
        result(costs=Costs(spent_usd=float("nan")))


def partly(shift, n=100):
    """Answers of which parts are right: scores 0, 0.25, ... 1 in turn, and `shift` more of it."""
    scores = [min((i % 5) / 4 + shift, 1.0) for i in range(n)]
    return [
        Graded(prompt_id=f"p{i}", slice="test", correct=score == 1, score=score, text="")
        for i, score in enumerate(scores)
    ]


def test_scores_between_right_and_wrong_are_averaged_with_a_bootstrap_interval():
    graded = {"teacher": [partly(0.5)], "student": [partly(0.25)], "baseline": [partly(0.0)]}
    value = result(graded=graded)
    score = value["models"]["student"]["task_score"]
    # 0.25, 0.5, 0.75, 1 and 1 in turn: mean 0.7, standard deviation 0.2915, error of the mean of 100 0.0292
    assert score["value"] == pytest.approx(0.7)
    assert score["high"] - score["low"] == pytest.approx(2 * 1.96 * 0.0292, rel=0.05)
    assert value["models"]["student"]["difference"]["value"] == pytest.approx(-0.15)
    assert value["gap_closed"]["value"] == pytest.approx(0.2 / 0.35)
