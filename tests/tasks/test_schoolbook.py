"""The schoolbook generator and its bundled tokenizer."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import spiritsafe.tasks.schoolbook.generator as generator
from spiritsafe.tasks.schoolbook.generator import LEVEL_SHARES, SPLITS, Problem, generate, split_of
from spiritsafe.tasks.schoolbook.template import apply, draw_numbers, parse_draw, parse_work, solve
from spiritsafe.tasks.schoolbook.themes.every import TEMPLATES
from spiritsafe.tasks.schoolbook.words import Pronoun

EQUATION = re.compile(r"(\d+) ([*+/-]) (\d+) = (\d+)")
BUNDLED = Path(generator.__file__).parent / "bundled"
# A change here means that every bundled model and every measured number must be made again.
KNOWN = {
    "problem_id": "schoolbook-1eae9c7bc5e835f5",
    "template": "field_fence",
    "theme": "garden",
    "numbers": (86, 63),
    "level": 2,
    "question": "What is the perimeter in metres of a yard that is 86 metres long and 63 metres wide?",
    "solution": "Two sides are 86 + 63 = 149 metres. All the way around is 149 * 2 = 298 metres.\n#### 298",
    "answer": "298",
}
KNOWN_FINGERPRINT = "99af263249a97431"


def fingerprint(problems: list[Problem]) -> str:
    text = "\n".join(f"{p.question}|{p.solution}" for p in problems)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@pytest.mark.parametrize("split", SPLITS)
def test_every_equation_is_right_and_the_last_one_is_the_answer(split):
    for problem in generate(split, 2000, 3):
        equations = EQUATION.findall(problem.solution)
        for left, op, right, result in equations:
            assert apply(int(left), op, int(right)) == int(result), problem
        assert equations[-1][3] == problem.answer
        assert problem.solution.endswith(f"\n#### {problem.answer}")
        assert problem.bare == f"#### {problem.answer}"
        assert len(equations) == problem.level or problem.level == 5


def test_numbers_of_the_first_equation_come_from_the_question_or_from_units():
    units = {"60", "7", "12", "100", "2"}
    for problem in generate("test", 2000, 4):
        left, _, right, _ = EQUATION.findall(problem.solution)[0]
        assert {left, right} <= set(re.findall(r"\d+", problem.question)) | units


def test_splits_share_no_template_and_numbers():
    pairs = {
        split: {(p.template, p.numbers) for p in generate(split, 4000, seed)}
        for seed, split in enumerate(("train", "validation", "test"))
    }
    assert not pairs["train"] & pairs["test"]
    assert not pairs["train"] & pairs["validation"]
    assert not pairs["validation"] & pairs["test"]
    assert all(split_of(*pair) == split for split, found in pairs.items() for pair in found)


def test_unseen_templates_and_stretch_are_never_trained():
    trained = {p.template for p in generate("train", 5000, 0)}
    unseen = {p.template for p in generate("unseen", 500, 0)}
    stretch = {p.template for p in generate("stretch", 500, 0)}
    assert len(trained) >= 40 and len(unseen) == sum(t.unseen for t in TEMPLATES) == 13
    assert not trained & unseen and not trained & stretch


def test_levels_follow_their_shares():
    levels = [p.level for p in generate("test", 5000, 0)]
    for level, share in LEVEL_SHARES.items():
        assert levels.count(level) / 5000 == pytest.approx(share, abs=0.03)
    assert {p.level for p in generate("stretch", 200, 0)} == {5}
    assert {p.level for p in generate("unseen", 200, 0)} == {2, 3, 4}


def test_no_duplicates_and_a_prefix_does_not_depend_on_n():
    problems = generate("test", 5000, 1)
    assert len({p.question for p in problems}) == len({p.problem_id for p in problems}) == 5000
    assert generate("test", 20, 1) == problems[:20]


def test_another_process_draws_the_same_problems():
    code = (
        "import json; from spiritsafe.tasks.schoolbook.generator import generate;"
        "print(json.dumps([p.problem_id for p in generate('train', 50, 9)]))"
    )
    settings = {"PYTHONHASHSEED": "123", "PYTHONPATH": str(Path(generator.__file__).parents[3])}
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=settings
    )
    assert json.loads(run.stdout) == [p.problem_id for p in generate("train", 50, 9)]


def test_known_problem_of_a_fixed_seed():
    first = generate("test", 1, 0)[0]
    assert first == Problem(**KNOWN)
    assert fingerprint(generate("test", 500, 0)) == KNOWN_FINGERPRINT


def test_language():
    for problem in generate("train", 3000, 5):
        text = problem.question + problem.solution
        assert not re.search(r"does they|They has|they has|[{}\[\]]|  | 1 ", text), text
        assert text.isascii()
    they, she = Pronoun("they"), Pronoun("she")
    assert f"{they:has} {they:eats} {they:washes} {she:eats}" == "they have they eat they wash she eats"


def test_templates_have_three_wordings_and_one_equation_per_step():
    assert len({t.name for t in TEMPLATES}) == len(TEMPLATES)
    for template in TEMPLATES:
        assert len(template.ask) >= 3
        assert len(parse_work(template.work)) >= min(template.level, 5)


def test_the_template_language():
    values = {"n": 3, "p": 12, "m": 50}
    assert solve("[c = n * p] [m - c]", values) == [(3, "*", 12, 36), (50, "-", 36, 14)]
    assert solve("[n / p]", values) is None and solve("[n - p]", values) is None
    assert parse_draw("n=2..9 m=50..500/50 t:=n*4") == (
        ("n", 2, 9, 1),
        ("m", 50, 500, 50),
        ("t", "n", "*", "4"),
    )
    with pytest.raises(ValueError, match="draw 'n=2'"):
        parse_draw("n=2")


def test_derived_numbers_are_not_counted_as_drawn():
    import random

    values, drawn = draw_numbers(random.Random(0), "k=3..3 q=11..11 t:=k*q")
    assert values == {"k": 3, "q": 11, "t": 33} and drawn == (3, 11)


def test_errors_name_the_cure():
    with pytest.raises(ValueError, match="'dev' is unknown; use one of train"):
        generate("dev", 1, 0)


@pytest.fixture(scope="module", params=["teacher", "base"])
def tokenizer(request):
    transformers = pytest.importorskip("transformers")
    return transformers.AutoTokenizer.from_pretrained(BUNDLED / request.param)


@pytest.mark.parametrize(
    "text", ["12345", "Mia pays 3 * 12 = 36.\n#### 14", "na\u00efve \u6f22\u5b57 \U0001f642\r\n\t x  9 ", ""]
)
def test_tokenizer_round_trip(tokenizer, text):
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    assert tokenizer.decode(ids) == text


def test_tokenizer_has_single_digits_and_a_pad_of_its_own(tokenizer):
    assert len(tokenizer) == 2048
    assert tokenizer.convert_ids_to_tokens(tokenizer("80 * 125")["input_ids"])[-3:] == ["1", "2", "5"]
    assert not [t for t in tokenizer.get_vocab() if sum(c.isdigit() for c in t) > 1]
    assert (tokenizer.pad_token, tokenizer.eos_token) == ("<|pad|>", "<|end|>")


def test_chat_template(tokenizer):
    turns = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "2 + 2?"}]
    text = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    assert text == "<|bos|><|user|>Be brief.\n2 + 2?<|assistant|>"
    turns += [{"role": "assistant", "content": "#### 4"}, {"role": "user", "content": "Why?"}]
    text = tokenizer.apply_chat_template(turns, tokenize=False)
    assert text == "<|bos|><|user|>Be brief.\n2 + 2?<|assistant|>#### 4<|end|><|user|>Why?"
