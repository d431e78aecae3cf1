"""Verifiers: what counts as an answer, what counts as right, and the words for everything else."""

import sys
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spiritsafe.errors import InputError, RecipeError
from spiritsafe.recipe import Verifier
from spiritsafe.records import Prompt
from spiritsafe.tasks import extract
from spiritsafe.tasks.verifiers import (
    UNVERIFIED,
    Judgement,
    answer_key,
    bare_answer,
    build,
    has_bare_answer,
)

SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}


def asked(answer: str | None, solution: str | None = None) -> Prompt:
    return Prompt(
        prompt_id="p", messages=({"role": "user", "content": "Q"},), answer=answer, solution=solution
    )


NUMBERS = {
    "She pays 3 * 4 = 12.\n#### 12": "12",
    "#### 1,234,567": "1234567",
    "#### $1,000.50": "1000.5",
    "####-3": "-3",
    "#### 72 clips.": "72",
    "#### 50%": "50",
    "#### **14**": "14",
    "first #### 5\nand a ramble #### 6": "5",
    "#### 1. Compute\n5 * 3 = 15\n#### 2. Conclude\nThe answer is 15.": "15",
    "#### Step 2\nIt is 8.": "8",
    r"so \boxed{42}, not 41 or 40": "42",
    r"first \boxed{1}, then $\boxed{\frac{3}{4}}$ 9": "0.75",
    r"\boxed{1{,}200\text{ km}}": "1200",
    r"\boxed{\$5}": "5",
    "The answer is 1,000, in all.": "1000",
    "It costs $3.50.": "3.5",
    "48/2 = 24, or 3/4": "0.75",
    "a mix: 2 1/2": "2.5",
    "1/3": "1/3",
    "between 10-5": "5",
    "it is -7 degrees": "-7",
    "it is \u22127 degrees": "-7",
    "owes -$20": "-20",
    "1e3 things": "1000",
    "0.10": "0.1",
    ".5": "0.5",
    "1, 2, 3": "3",
    "an area of 20 cm^2": "20",
    r"an area of $20\text{ cm}^{-2}$ x_1": "20",
    "x^25 and 3": "3",
    "divided 1/0": None,
    "none at all": None,
    "": None,
    "9" * 5000: None,
}


@pytest.mark.parametrize("text", NUMBERS)
def test_number_in_a_text(text: str) -> None:
    assert answer_key(Verifier(), text) == NUMBERS[text]


@given(st.integers(-(10**12), 10**12), st.text(st.characters(categories=["L", "Zs"]), max_size=30))
def test_any_integer_is_found(number: int, words: str) -> None:
    for text in (f"{words}\n#### {number:,}", f"{words} \\boxed{{{number}}}", f"{words} = {number:,}."):
        assert extract.number_in(text) == number


@given(st.fractions(max_denominator=10**6))
def test_shown_numbers_read_back(value: Fraction) -> None:
    assert extract.to_number(extract.show_number(value)) == value


@given(st.text(st.sampled_from("0123456789.,/ $-+eE#\\boxed{}\n%")) | st.text())
def test_number_search_takes_any_text(text: str) -> None:
    value = extract.number_in(text)
    assert value is None or extract.to_number(extract.show_number(value)) in (value, None)


def test_numeric_tolerance_and_reasons() -> None:
    near = build(Verifier(tolerance=0.01))
    assert near(asked("0.33"), "#### 0.34").correct
    assert near(asked("0.33"), "#### 0.35").reason == "wrong_answer"
    exact = build(Verifier())
    assert exact(asked("1/3"), "so 2/6").correct
    assert exact(asked("14"), "hm").reason == "no_number"
    assert exact(asked("many"), "14").reason == "bad_reference"
    judged = exact(asked(None), "#### 14")
    assert (judged.correct, judged.reason, judged.extracted) == (False, UNVERIFIED, "14")


CASES = [
    (Verifier(kind="exact"), "New York", " new\n york ", None),
    (Verifier(kind="exact"), "New York", "York", "wrong_answer"),
    (Verifier(kind="regex", pattern=r"code (\d+)"), "42", "the code 42", None),
    (Verifier(kind="regex", pattern=r"code (\d+)"), "42", "the code 43", "wrong_answer"),
    (Verifier(kind="regex", pattern=r"code (\d+)"), "42", "no", "no_match"),
    (Verifier(kind="regex", pattern="^yes"), None, "yes!", None),
    (Verifier(kind="regex", pattern="^yes"), None, "no", "no_match"),
    (Verifier(kind="json_schema", json_schema=SCHEMA), None, '{"n": 1}', None),
    (Verifier(kind="json_schema", json_schema=SCHEMA), None, 'Here:\n```json\n{"n": 1}\n```\nDone', None),
    (Verifier(kind="json_schema", json_schema=SCHEMA), None, '{"n": "1"}', "schema_mismatch"),
    (Verifier(kind="json_schema", json_schema=SCHEMA), None, '{"n": NaN}', "no_json"),
    (Verifier(kind="json_schema", json_schema=SCHEMA), None, "[" * 100_000, "no_json"),
    (Verifier(kind="json_schema", json_schema=SCHEMA), None, "n is 1", "no_json"),
    (Verifier(kind="label", labels=("Spam", "Ham")), "spam", "SPAM", None),
    (Verifier(kind="label", labels=("Spam", "Ham")), "spam", "I think so.\n**Label:** `Spam`.\nBye", None),
    (Verifier(kind="label", labels=("Spam", "Ham")), "spam", "It begs for money.\n\nSpam", None),
    (Verifier(kind="label", labels=("Spam", "Ham")), "spam", "Ham\nbecause it is polite", "wrong_answer"),
    (Verifier(kind="label", labels=("Spam", "Ham")), "spam", "This is not spam", "no_label"),
    (Verifier(kind="label", labels=("Spam", "Ham")), "eggs", "spam", "bad_reference"),
    (Verifier(kind="label", labels=("Spam", "Ham")), None, "Spam", UNVERIFIED),
    (Verifier(kind="label", labels=("Spam", "Ham")), None, "It sounds like begging to me.", "no_label"),
    (Verifier(kind="json_schema", json_schema=SCHEMA), '{"n": 1}', '```\n{"n": 1.0}\n```', None),
    (Verifier(kind="json_schema", json_schema=SCHEMA), '{"n": 1}', '{"n": 2}', "wrong_answer"),
    (Verifier(kind="json_schema", json_schema=SCHEMA), '{"n": 1}', '{"n": "1"}', "schema_mismatch"),
    (Verifier(kind="json_schema", json_schema=SCHEMA), "one", '{"n": 1}', "bad_reference"),
    (Verifier(kind="none"), "x", "y", UNVERIFIED),
]


@pytest.mark.parametrize(("verifier", "answer", "text", "reason"), CASES)
def test_other_kinds(verifier: Verifier, answer: str | None, text: str, reason: str | None) -> None:
    judged = build(verifier)(asked(answer), text)
    assert (judged.correct, judged.reason) == (reason is None, reason)


PYTHON = Verifier(kind="python", timeout_s=5)
TESTS = "assert double(2) == 4\n\ndef test_zero():\n    assert double(0) == 0\n"
ANSWERS = {
    "Sure:\n```python\ndef double(x):\n    return 2 * x\n```\nUse it so:\n```\ndouble(1)\n```": None,
    "def double(x): return x * x": None,
    "def double(x): return 4": "wrong_answer",
    "def triple(x): return 3 * x": "test_error",
    "def double(x:": "code_error",
    "raise SystemExit(0)": "code_error",
    "import os; os._exit(0)": "crashed",
    "print('passed')\nimport os; os.write(1, b'passed'); os._exit(0)": "crashed",
    "import numpy": "code_error",
    "x = 'a' * (4 << 30)": "out_of_memory",
    "open('big', 'wb').write(b'x' * (4 << 20))": "code_error",
    " ": "no_code",
}


@pytest.mark.skipif(sys.platform == "win32", reason="the sandbox needs POSIX")
@pytest.mark.parametrize("text", ANSWERS)
def test_python_runs_apart(text: str) -> None:
    judged = build(PYTHON)(asked(TESTS), text)
    assert judged.reason == ANSWERS[text]


def test_python_answers_for_the_baseline_are_solutions_not_tests() -> None:
    prompt = asked("assert f() == 1", "def f(): return 1")
    assert bare_answer(prompt, PYTHON) == "def f(): return 1"
    assert not has_bare_answer(asked("assert f() == 1"), PYTHON)


def test_bare_answers() -> None:
    assert bare_answer(asked("so 2 + 12 = 14"), Verifier()) == "#### 14"
    assert bare_answer(asked("1,200"), Verifier()) == "#### 1200"
    assert bare_answer(asked("Ham"), Verifier(kind="exact")) == "Ham"
    with pytest.raises(InputError, match="has no reference answer"):
        bare_answer(asked(None), Verifier())


def test_broken_recipes_are_named() -> None:
    with pytest.raises(RecipeError, match=r"task\.verifier\.pattern is not a regular expression"):
        build(Verifier(kind="regex", pattern="("))
    with pytest.raises(RecipeError, match=r"task\.verifier\.json_schema is not a JSON Schema"):
        build(Verifier(kind="json_schema", json_schema={"type": "nothing"}))
    remote = build(Verifier(kind="json_schema", json_schema={"$ref": "http://127.0.0.1:9/x.json"}))
    with pytest.raises(RecipeError, match=r"has a \$ref to nowhere"):
        remote(asked(None), "{}")


def test_answer_keys_are_equal_for_equal_answers() -> None:
    assert answer_key(Verifier(), "#### 1,200.0") == answer_key(Verifier(), "so 1200")
    schema = Verifier(kind="json_schema", json_schema=SCHEMA)
    assert answer_key(schema, '{"b": 1, "a": 2}') == answer_key(schema, '```json\n{"a": 2,"b":1}\n```')
    math = Verifier(kind="math")
    assert answer_key(math, r"\boxed{12}") == answer_key(math, "it is 12") == "12"
    assert answer_key(math, r"\boxed{x + 1}") == "x + 1"
    assert answer_key(math, r"\boxed{\frac{1}{2}}") == answer_key(math, "half is 0.5") == "0.5"


def test_math_worker_compares_expressions() -> None:
    pytest.importorskip("math_verify")
    judge = build(Verifier(kind="math"))
    assert judge(asked(r"\frac{1}{2}"), r"Thus $\boxed{0.5}$").correct
    assert judge(asked("x+1"), r"$\boxed{1+x}$").correct
    assert judge(asked("7"), r"\boxed{8}").reason == "wrong_answer"
    assert judge(asked("7"), "no idea").reason == "no_answer"


def test_a_score_is_one_or_zero_unless_it_is_given() -> None:
    assert (Judgement(correct=True).score, Judgement(correct=False).score) == (1.0, 0.0)
    assert Judgement(correct=False, score=0.5).score == 0.5
    for score in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match="lies in"):
            Judgement(correct=False, score=score)


def test_a_json_answer_scores_by_its_fields() -> None:
    judge = build(Verifier(kind="json_schema", json_schema={"type": "object"}))
    reference = asked('{"a": "New York", "b": [1, 2], "c": null}')
    assert judge(reference, '{"c": null, "b": [2, 1.0], "a": " new  york"}').correct
    # Two of the three fields given are right, of four wanted: 2 * 2 / (3 + 4).
    judged = judge(reference, '{"a": "New York", "b": [1, 3]}')
    assert (judged.correct, judged.reason) == (False, "wrong_answer")
    assert judged.score == pytest.approx(4 / 7)
    assert judge(reference, "[1").score == 0
    assert judge(asked(None), "{}").score == 1
