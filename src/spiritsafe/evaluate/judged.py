"""Judged test answers: what has to be asked, which scores follow, and what they are worth.

Pairwise, every answer of a student meets the teacher's: 1 is a win, 0.5 a tie, 0 a loss, and the teacher's
own score is 0.5 by definition. By rubric every model's answers have marks of their own. An answer that is
not there loses, and has no mark, without a question. A problem on which a verdict is missing for one model,
or the teacher's answer where it is the measure, is left out for all of them: the models stay comparable.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from spiritsafe.collect.judge import Pair, Preference
from spiritsafe.collect.verdicts import UNPARSED
from spiritsafe.evaluate import preference, summaries
from spiritsafe.evaluate.grade import Graded
from spiritsafe.records import Prompt
from spiritsafe.stats import Interval, mean_over_seeds
from spiritsafe.tasks.verifiers import UNVERIFIED

TEACHER = "teacher"
TEST = "test"

Rows = Mapping[str, Sequence[Graded]]
"""Answers by label (teacher, student-0, ...), every label on the same problems in the same order."""
Key = tuple[str, str, str]
"""Label, slice and prompt id of an answer."""
Prompts = Mapping[str, Prompt]
"""By prompt id."""


def key_of(label: str, row: Graded) -> Key:
    """Where an answer stands."""
    return label, row.slice, row.prompt_id


@dataclass(frozen=True, kw_only=True, slots=True)
class Docket:
    """Scores that need no judge, and what is left to ask."""

    known: dict[Key, float]
    asked: list[Key]


def pairwise_docket(rows: Rows) -> Docket:
    """Answers to compare with the teacher's."""
    known: dict[Key, float] = {}
    asked: list[Key] = []
    for label, answers in rows.items():
        for row, rival in zip(answers, rows[TEACHER], strict=True):
            if not rival.text.strip():
                continue
            if label == TEACHER or row.text.strip() == rival.text.strip():
                known[key_of(label, row)] = 0.5
            elif not row.text.strip():
                known[key_of(label, row)] = 0.0
            else:
                asked.append(key_of(label, row))
    return Docket(known=known, asked=asked)


def rubric_docket(rows: Rows) -> Docket:
    """Answers to mark."""
    keys = [(key_of(label, row), row) for label, answers in rows.items() for row in answers]
    known = {key: 0.0 for key, row in keys if not row.text.strip()}
    return Docket(known=known, asked=[key for key, row in keys if row.text.strip()])


def pairs(keys: Sequence[Key], rows: Rows, prompts: Prompts) -> list[Pair]:
    """Each answer against the teacher's."""
    texts = texts_of(rows)
    return [
        Pair(prompt=prompts[key[2]], answer=texts[key], rival=texts[TEACHER, key[1], key[2]]) for key in keys
    ]


def texts_of(rows: Rows) -> dict[Key, str]:
    """Every answer by where it stands."""
    return {key_of(label, row): row.text for label, answers in rows.items() for row in answers}


def scored(rows: Rows, scores: Mapping[Key, float | None]) -> dict[str, list[Graded]]:
    """The rows with their scores; `correct` is a score of at least one half.

    A problem with a verdict missing (None) has the reason UNPARSED for every model, one that could not be
    asked (no score at all) the reason UNVERIFIED.
    """
    out: dict[tuple[str, str], str] = {}
    for label, answers in rows.items():
        for row in answers:
            key = key_of(label, row)
            if key not in scores:
                out[key[1:]] = UNVERIFIED
            elif scores[key] is None:
                out.setdefault(key[1:], UNPARSED)
    return {
        label: [_with_score(row, scores.get(key_of(label, row)), out) for row in answers]
        for label, answers in rows.items()
    }


def _with_score(row: Graded, score: float | None, out: Mapping[tuple[str, str], str]) -> Graded:
    reason = out.get((row.slice, row.prompt_id))
    if reason is not None:
        return replace(row, score=0.0, correct=False, reason=reason)
    assert score is not None
    return replace(row, score=score, correct=score >= 0.5, reason=None if row.text.strip() else "no_answer")


def problems(rows: Rows) -> int:
    """Problems of the standard test that have scores."""
    return sum(row.slice == TEST and _has_score(row) for row in _any_model(rows))


def _any_model(rows: Rows) -> Sequence[Graded]:
    """What is left out is left out for all alike."""
    return next(iter(rows.values()))


def left_out(rows: Rows) -> dict[str, int]:
    """Problems without a score, by reason."""
    reasons = Counter(row.reason for row in _any_model(rows) if not _has_score(row))
    return {str(reason): count for reason, count in sorted(reasons.items(), key=str)}


def consistency(preferences: Sequence[Preference]) -> Interval | None:
    """Share of pairs on which both orders gave one verdict."""
    return preference.share([p.consistent for p in preferences if p.consistent is not None])


def repeatability(first: Sequence[float | None], again: Sequence[float | None]) -> dict[str, Any]:
    """How often two marks of one answer are equal, and how far apart they are on average, in [0, 1]."""
    both = [(a, b) for a, b in zip(first, again, strict=False) if a is not None and b is not None]
    apart = sum(abs(a - b) for a, b in both) / len(both) if both else None
    equal = preference.share([a == b for a, b in both])
    return {"self_agreement": equal and equal.to_json(), "mean_difference": apart}


def reference_agreement(rows: Rows, prompts: Prompts, label: str, seed: int) -> Interval | None:
    """Agreement of the scores with references: of two answers the one nearer to the reference is better.

    Nearer by ROUGE-L, the answers are the model's and the teacher's. None where no prompt has a reference,
    a reference answer or a worked one.
    """
    if TEACHER not in rows:
        return None
    told, labels = [], []
    for row, rival in zip(rows[label], rows[TEACHER], strict=True):
        prompt = prompts[row.prompt_id]
        reference = prompt.answer or prompt.solution
        if reference is None or not _has_score(row):
            continue
        near, far = summaries.rouge_l(row.text, reference), summaries.rouge_l(rival.text, reference)
        if near != far:
            told.append(preference.preferred(row.score, rival.score))
            labels.append(float(near > far))
    return preference.agreement(told, labels, seed)


def length_figures(rows: Rows, names: Mapping[str, Sequence[str]], seed: int) -> dict[str, Any]:
    """By arm: length against the teacher's answers, and the win rate that equal lengths would leave."""
    return {
        name: _length_figures([rows[label] for label in labels], rows[TEACHER], seed)
        for name, labels in names.items()
        if name != TEACHER
    }


def _length_figures(
    seeds: Sequence[Sequence[Graded]], teacher: Sequence[Graded], seed: int
) -> dict[str, Any]:
    kept = [i for i, row in enumerate(teacher) if row.slice == TEST and _has_score(row)]
    if not kept:
        return {"length_ratio": None, "length_controlled": None}
    lengths = np.array([[len(rows[i].text) for i in kept] for rows in seeds], float)
    rival = np.array([len(teacher[i].text) for i in kept], float)
    wins = np.array([[rows[i].score for i in kept] for rows in seeds])
    controlled = preference.length_controlled(wins, lengths - rival, seed)
    return {
        "length_ratio": float(lengths.mean() / max(rival.mean(), 1.0)),
        "length_controlled": controlled.to_json() if controlled else None,
    }


def _has_score(row: Graded) -> bool:
    return row.reason not in (UNPARSED, UNVERIFIED)


def summary_measures(
    rows: Rows, names: Mapping[str, Sequence[str]], prompts: Prompts, seed: int
) -> dict[str, Any]:
    """By model, means over the standard test: see `summaries`."""
    teacher = {row.prompt_id: row.text for row in rows.get(TEACHER, ())}
    return {
        name: _measures(
            [[r for r in rows[label] if r.slice == TEST] for label in labels], teacher, prompts, seed
        )
        for name, labels in names.items()
    }


def _measures(
    seeds: Sequence[Sequence[Graded]], teacher: Mapping[str, str], prompts: Prompts, seed: int
) -> dict[str, Any]:
    def mean(
        measure: Callable[[str, str], float | None], against: Mapping[str, str]
    ) -> dict[str, Any] | None:
        values = [
            [measure(row.text, against[row.prompt_id]) or 0.0 for row in rows if row.prompt_id in against]
            for rows in seeds
        ]
        return mean_over_seeds(values, seed).to_json() if values[0] else None

    sources = {name: prompt.messages[-1]["content"] for name, prompt in prompts.items()}
    references = {name: p.answer or p.solution or "" for name, p in prompts.items()}
    references = {name: text for name, text in references.items() if summaries.stated(text)}
    return {
        "n": len(seeds[0]),
        "length_ratio": mean(summaries.length_ratio, sources),
        "faithful": mean(summaries.faithful, sources),
        "covered": mean(summaries.covered, references),
        "rouge_l_teacher": mean(summaries.rouge_l, teacher),
    }
