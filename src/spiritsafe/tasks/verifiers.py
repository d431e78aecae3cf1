"""Judging an answer: right, wrong, or not decidable.

`build(verifier)` gives a function (prompt, text) -> Judgement; the recipe's `task.verifier` names the kind.

    numeric      `#### N` first, else \\boxed{}, else the last number; compared exactly or within `tolerance`
    exact        equal to the reference but for case and white space
    math         math-verify (extra `eval`), in a process of its own: it evaluates foreign text
    regex        `pattern` is found; its first group, if any, equals the reference
    json_schema  the answer, plain or fenced, satisfies the schema; with a reference, which is then JSON too,
                 its fields are the reference's, and the score is the F1 over fields (fields.py)
    python       the reference holds unit tests; they run against the answer's code in a sandbox
    label        `Label: x`, or first or last line, is the reference, one of `labels`
    none         no ground truth

Without a reference nothing can be called right: the judgement is then not correct, with the reason
UNVERIFIED, and `select` keeps such answers apart from wrong ones; a label outside the set is wrong all the
same. Reasons are short and stable because
they are counted and shown; they never quote the answer.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import jsonschema
import referencing.exceptions
from referencing.jsonschema import EMPTY_REGISTRY

from spiritsafe.errors import InputError, RecipeError
from spiritsafe.recipe import Verifier
from spiritsafe.records import Prompt, Record, canonical_json
from spiritsafe.tasks import extract, fields, sandbox

UNVERIFIED = "unverified"
"""Reason of a judgement that could not be made: there is no reference to compare with."""
WRONG = "wrong_answer"
NO_LABEL = "no_label"
"""The answer names none of the labels."""
BAD_REFERENCE = "bad_reference"
"""The reference itself cannot be read by this verifier: the task is at fault, not the answer."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Judgement(Record):
    """What a verifier found."""

    correct: bool
    score: float = None  # type: ignore[assignment]
    """In [0, 1]; where the verifier knows only right and wrong, 1 or 0."""
    reason: str | None = None
    """None when correct; otherwise short and stable, such as no_number, wrong_answer, timeout."""
    extracted: str | None = None
    """The answer in normal form, where one was found."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "score", checked_score(self.score, self.correct))


def checked_score(score: float | None, correct: bool) -> float:
    """The score, 1 or 0 where none is given. Raises ValueError outside [0, 1]."""
    value = float(correct if score is None else score)
    if not 0 <= value <= 1:
        raise ValueError(f"a score lies in [0, 1], got {value}")
    return value


Judge = Callable[[Prompt, str], Judgement]
_Compare = Callable[[str, str], Judgement]


def build(verifier: Verifier) -> Judge:
    """The judge that a recipe asks for.

    Raises RecipeError for a broken pattern or schema, MissingExtra where math-verify is not installed.
    """
    if verifier.kind == "json_schema":
        return _schema_judge(verifier)
    compare = _comparers()[verifier.kind](verifier)
    needed = needs_reference(verifier)

    def judge(prompt: Prompt, text: str) -> Judgement:
        if prompt.answer is None and needed:
            return _without_reference(verifier, answer_key(verifier, text))
        return compare(prompt.answer or "", text)

    return judge


def _without_reference(verifier: Verifier, key: str | None) -> Judgement:
    if verifier.kind == "label" and key is None:
        return Judgement(correct=False, reason=NO_LABEL)
    return Judgement(correct=False, reason=UNVERIFIED, extracted=key)


def answer_key(verifier: Verifier, text: str) -> str | None:
    """The answer of a text in normal form: equal answers give equal keys. None where there is none."""
    if verifier.kind == "numeric":
        return _show(extract.number_in(text))
    if verifier.kind == "math":
        box = extract.boxed(text)
        number = extract.number_in(text) if box is None else extract.number_alone(box)
        return box if number is None else extract.show_number(number)
    if verifier.kind == "label":
        return extract.label_in(text, verifier.labels)
    if verifier.kind == "regex":
        match = re.search(verifier.pattern or "", text)
        return match and extract.squeeze(match[1] or "" if match.re.groups else match[0])
    if verifier.kind == "json_schema":
        return _json_key(text)
    if verifier.kind == "python":
        return extract.code_in(text)
    return extract.squeeze(text) or None


def needs_reference(verifier: Verifier) -> bool:
    """True where an answer cannot be judged without the prompt's reference."""
    if verifier.kind == "regex":
        return re.compile(verifier.pattern or "").groups > 0
    return verifier.kind not in ("json_schema", "none")


def may_need_reference(verifier: Verifier) -> bool:
    """True where references decide which prompts are judged: json_schema compares with those there are."""
    return needs_reference(verifier) or verifier.kind == "json_schema"


def has_bare_answer(prompt: Prompt, verifier: Verifier) -> bool:
    """True where `bare_answer` has something to say."""
    return (prompt.solution if verifier.kind == "python" else prompt.answer) is not None


def bare_answer(prompt: Prompt, verifier: Verifier) -> str:
    """The reference without worked steps: what the baseline is trained on.

    `#### 14` for numeric; the solution for python, whose reference are tests; else the reference.
    Raises InputError where the prompt has none.
    """
    reference = prompt.solution if verifier.kind == "python" else prompt.answer
    if reference is None:
        raise InputError(
            f"prompt {prompt.prompt_id} has no reference answer",
            hint="give the prompts answers, or leave arms with data: answers out",
        )
    number = answer_key(verifier, reference) if verifier.kind == "numeric" else None
    return reference if number is None else f"#### {number}"


def _comparers() -> dict[str, Callable[[Verifier], _Compare]]:
    return {
        "numeric": _numeric,
        "exact": lambda _: _exact,
        "math": _math,
        "regex": _regex,
        "python": _python,
        "label": _label,
        "none": lambda _: _unverified,
    }


def _numeric(verifier: Verifier) -> _Compare:
    tolerance = Fraction(str(verifier.tolerance))

    def compare(reference: str, text: str) -> Judgement:
        wanted, found = extract.number_in(reference), extract.number_in(text)
        if wanted is None:
            return Judgement(correct=False, reason=BAD_REFERENCE, extracted=_show(found))
        if found is None:
            return Judgement(correct=False, reason="no_number")
        return _verdict(abs(found - wanted) <= tolerance, extract.show_number(found))

    return compare


def _exact(reference: str, text: str) -> Judgement:
    found = extract.squeeze(text)
    return _verdict(found == extract.squeeze(reference), found)


def _math(verifier: Verifier) -> _Compare:
    equal = sandbox.math_worker()

    def compare(reference: str, text: str) -> Judgement:
        found = answer_key(verifier, text)
        outcome = equal(reference, text)
        if outcome in ("equal", "different"):
            return _verdict(outcome == "equal", found)
        return Judgement(correct=False, reason=outcome, extracted=found)

    return compare


def _regex(verifier: Verifier) -> _Compare:
    try:
        pattern = re.compile(verifier.pattern or "")
    except re.error as error:
        raise RecipeError(f"task.verifier.pattern is not a regular expression: {error}") from None

    def compare(reference: str, text: str) -> Judgement:
        match = pattern.search(text)
        if match is None:
            return Judgement(correct=False, reason="no_match")
        found = extract.squeeze((match[1] or "") if pattern.groups else match[0])
        return _verdict(not pattern.groups or found == extract.squeeze(reference), found)

    return compare


def _python(verifier: Verifier) -> _Compare:
    def compare(reference: str, text: str) -> Judgement:
        code = extract.code_in(text)
        if code is None:
            return Judgement(correct=False, reason="no_code")
        reason = sandbox.run_tests(code, extract.code_in(reference) or "", timeout_s=verifier.timeout_s)
        return Judgement(correct=reason is None, reason=reason, extracted=code)

    return compare


def _label(verifier: Verifier) -> _Compare:
    def compare(reference: str, text: str) -> Judgement:
        wanted, found = extract.label_in(reference, verifier.labels), extract.label_in(text, verifier.labels)
        if wanted is None:
            return Judgement(correct=False, reason=BAD_REFERENCE, extracted=found)
        if found is None:
            return Judgement(correct=False, reason=NO_LABEL)
        return _verdict(found == wanted, found)

    return compare


def _unverified(reference: str, text: str) -> Judgement:
    return Judgement(correct=False, reason=UNVERIFIED, extracted=extract.squeeze(text) or None)


def _schema_judge(verifier: Verifier) -> Judge:
    schema = verifier.json_schema or {}
    kind = jsonschema.validators.validator_for(schema, default=jsonschema.Draft202012Validator)
    try:
        kind.check_schema(schema)
    except jsonschema.SchemaError as error:
        raise RecipeError(f"task.verifier.json_schema is not a JSON Schema: {error.message}") from None
    # With a registry of its own the validator never fetches a $ref from the network.
    validator = kind(schema, registry=EMPTY_REGISTRY)

    def is_valid(value: Any) -> bool:
        try:
            return validator.is_valid(value)
        except referencing.exceptions.Unresolvable as error:
            raise RecipeError(f"task.verifier.json_schema has a $ref to nowhere: {error.ref}") from None

    def judge(prompt: Prompt, text: str) -> Judgement:
        key = _json_key(text)
        wanted = None if prompt.answer is None else _json_key(prompt.answer)
        if prompt.answer is not None and wanted is None:
            return Judgement(correct=False, reason=BAD_REFERENCE, extracted=key)
        if key is None:
            return Judgement(correct=False, reason="no_json")
        value = extract.json_in(text)
        score = None if wanted is None else fields.compare(value, json.loads(wanted)).f1
        if not is_valid(value):
            # Fields count also where the whole cannot be used: how often that is, is told beside the score.
            return Judgement(correct=False, score=score or 0.0, reason="schema_mismatch", extracted=key)
        score = 1.0 if score is None else score
        return Judgement(correct=score == 1, score=score, reason=None if score == 1 else WRONG, extracted=key)

    return judge


def _verdict(correct: bool, extracted: str | None) -> Judgement:
    return Judgement(correct=correct, reason=None if correct else WRONG, extracted=extracted)


def _show(value: Fraction | None) -> str | None:
    return None if value is None else extract.show_number(value)


def _json_key(text: str) -> str | None:
    try:
        return canonical_json(extract.json_in(text))
    except (ValueError, RecursionError):
        return None
