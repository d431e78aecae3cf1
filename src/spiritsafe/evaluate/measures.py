"""What is told beside the task score: of classifiers and of extractors. Pure arithmetic, no torch.

N problems, C labels. Problems without a reference are left out.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import reduce
from operator import add
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spiritsafe.evaluate.grade import CUT_OFF, Graded
from spiritsafe.records import Prompt
from spiritsafe.tasks import fields
from spiritsafe.tasks.extract import json_in, label_in
from spiritsafe.tasks.verifiers import UNVERIFIED

BINS = 15
"""Of equal width, as in Guo et al. 2017, On Calibration of Modern Neural Networks, section 2."""

OUTSIDE = ("schema_mismatch", CUT_OFF)
"""Reasons that tell that an answer does not satisfy the schema."""
Shares = Mapping[str, Sequence[float]]
"""Probabilities of the labels by prompt_id."""


def of_classifier(
    graded: Sequence[Graded], prompts: Sequence[Prompt], labels: Sequence[str], shares: Shares
) -> dict[str, Any]:
    """Accuracy, macro-F1, and where there are probabilities, expected calibration error and Brier score.

    Macro-F1 is the mean over the labels that occur as reference or answer. Calibration rests on the
    problems that have probabilities; their number is `n_calibrated`.
    """
    answers = {p.prompt_id: p.answer for p in prompts if p.answer is not None}
    known = [row for row in graded if row.prompt_id in answers and row.reason != UNVERIFIED]
    wanted = [label_in(answers[row.prompt_id] or "", labels) for row in known]
    given = [row.extracted for row in known]
    pairs = [
        (list(shares[row.prompt_id]), labels.index(label))
        for row, label in zip(known, wanted, strict=True)
        if row.prompt_id in shares and label is not None
    ]
    calibration = calibrated([p for p, _ in pairs], [y for _, y in pairs]) if pairs else {}
    right = sum(g == w for g, w in zip(given, wanted, strict=True))
    return {
        "n": len(known),
        "accuracy": right / len(known) if known else None,
        "macro_f1": _macro_f1(given, wanted),
        "ece": calibration.get("ece"),
        "brier": calibration.get("brier"),
        "n_calibrated": len(pairs),
    }


def calibrated(probabilities: Sequence[Sequence[float]], truth: Sequence[int]) -> dict[str, float]:
    """Expected calibration error of the likeliest label, and Brier score over all labels (0 to 2).

    probabilities (N, C), truth (N,) places of the right labels; N at least 1.
    """
    p = np.asarray(probabilities, dtype=np.float64)
    y = np.asarray(truth)
    right = (p.argmax(1) == y).astype(np.float64)
    brier = ((p - np.eye(p.shape[1])[y]) ** 2).sum(1).mean()
    return {"ece": _expected_error(p.max(1), right), "brier": float(brier)}


def _expected_error(confidence: NDArray[np.float64], right: NDArray[np.float64]) -> float:
    """Mean distance of confidence from accuracy, over bins weighted by their problems."""
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    apart = np.bincount(bins, weights=confidence - right, minlength=BINS)
    return float(np.abs(apart).sum() / len(right))


def _macro_f1(given: Sequence[str | None], wanted: Sequence[str | None]) -> float | None:
    occurring = sorted({label for label in (*given, *wanted) if label is not None})
    scores = []
    for label in occurring:
        both = sum(g == w == label for g, w in zip(given, wanted, strict=True))
        scores.append(2 * both / (given.count(label) + wanted.count(label)))
    return sum(scores) / len(scores) if scores else None


def of_extractor(graded: Sequence[Graded], prompts: Sequence[Prompt]) -> dict[str, Any]:
    """Field F1 over all fields of all problems, and the shares of answers that are JSON, that satisfy the
    schema, and that are right in every field."""
    answers = {p.prompt_id: p.answer for p in prompts if p.answer is not None}
    known = [row for row in graded if row.prompt_id in answers and row.reason != UNVERIFIED]
    if not known:
        return {"n": 0, "field_f1_micro": None, "valid_json": None, "valid_schema": None, "exact": None}
    counts = [_fields(row, json_in(answers[row.prompt_id] or "")) for row in known]
    is_json = [row.extracted is not None for row in known]
    in_schema = [found and row.reason not in OUTSIDE for found, row in zip(is_json, known, strict=True)]
    return {
        "n": len(known),
        "field_f1_micro": reduce(add, counts).f1,
        "valid_json": sum(is_json) / len(known),
        "valid_schema": sum(in_schema) / len(known),
        "exact": sum(row.correct for row in known) / len(known),
    }


def _fields(row: Graded, reference: Any) -> fields.FieldCounts:
    if row.extracted is None:
        return fields.missing(reference)
    return fields.compare(json.loads(row.extracted), reference)


def mean(measured: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The measures of an arm: means over its seeds; None where a seed has none."""
    return {name: _mean([of_seed[name] for of_seed in measured]) for name in measured[0]} if measured else {}


def _mean(values: Sequence[Any]) -> Any:
    if any(value is None for value in values):
        return None
    return values[0] if all(value == values[0] for value in values) else sum(values) / len(values)
