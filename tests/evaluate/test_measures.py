"""Accuracy, macro-F1, calibration and field counts by hand."""

import json

import pytest

from spiritsafe.evaluate.grade import grade_replies
from spiritsafe.evaluate.measures import calibrated, mean, of_classifier, of_extractor
from spiritsafe.recipe import Verifier
from spiritsafe.records import Prompt

LABELS = ("a", "b", "c")


def prompts(answers):
    return [
        Prompt(prompt_id=str(i), messages=({"role": "user", "content": str(i)},), answer=answer)
        for i, answer in enumerate(answers)
    ]


def test_classifier_by_hand() -> None:
    asked = prompts(["a", "a", "A", "b", None])
    graded = grade_replies(
        {"test": asked},
        {"0": "a", "1": "b", "2": "a", "3": "hm", "4": "a"},
        Verifier(kind="label", labels=LABELS),
    )
    found = of_classifier(graded, asked, LABELS, {})
    assert (found["n"], found["accuracy"]) == (4, 0.5)
    # a: 2 found of 3, none wrong; b: 0. c occurs nowhere.
    assert found["macro_f1"] == pytest.approx((2 * 2 / (2 + 3) + 0) / 2)
    assert (found["ece"], found["brier"], found["n_calibrated"]) == (None, None, 0)
    shares = {"0": [0.9, 0.1, 0], "1": [0.2, 0.8, 0], "4": [1, 0, 0]}
    found = of_classifier(graded, asked, LABELS, shares)
    assert found["n_calibrated"] == 2
    assert found["ece"] == pytest.approx((0.1 + 0.8) / 2)
    assert found["brier"] == pytest.approx((0.01 + 0.01 + 0.64 + 0.64) / 2)


def test_calibration_is_the_distance_within_a_bin() -> None:
    # Ten answers with probability 0.8, of which eight are right: calibrated, though each is off.
    found = calibrated([[0.8, 0.2]] * 10, [0] * 8 + [1] * 2)
    assert found["ece"] == pytest.approx(0)
    assert found["brier"] == pytest.approx(0.8 * 2 * 0.04 + 0.2 * 2 * 0.64)
    assert calibrated([[1.0, 0.0]], [1])["ece"] == 1


def test_extractor_by_hand() -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    asked = prompts(['{"n": 1, "m": 2}', '{"n": 3}', '{"n": 4}', '{"n": 5}', None])
    texts = {"0": '{"n": 1}', "1": '{"n": "3"}', "2": "no", "3": '{"n": 5}', "4": "{}"}
    graded = grade_replies({"test": asked[:4]}, texts, Verifier(kind="json_schema", json_schema=schema))
    assert [row.score for row in graded] == pytest.approx([2 / 3, 0, 0, 1])
    assert of_extractor(graded, asked) == {
        "n": 4,
        "field_f1_micro": pytest.approx(2 * 2 / (3 + 5)),
        "valid_json": 0.75,
        "valid_schema": 0.5,
        "exact": 0.25,
    }
    assert of_extractor([], asked)["field_f1_micro"] is None


def test_seeds_are_averaged_and_what_one_lacks_is_missing() -> None:
    assert mean([{"n": 4, "ece": 0.1, "f": 1.0}, {"n": 4, "ece": None, "f": 0.5}]) == {
        "n": 4,
        "ece": None,
        "f": 0.75,
    }
    assert json.dumps(mean([]), allow_nan=False) == "{}"
