"""Copies and contamination: what is caught, what must pass, and that templated tasks survive."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spiritsafe.collect.duplicates import GRAM, Contamination, copies, jaccard, normal_form, tokens
from spiritsafe.recipe import Task
from spiritsafe.records import Prompt
from spiritsafe.tasks.base import load_task
from spiritsafe.tasks.jsonl import question_text, to_prompt

LONG = (
    "A farmer in the valley has 12 cows and each of them gives 9 litres of milk on every day of the week "
    "except Sunday when they rest. How many litres are there on Friday evening?"
)


def asked(*texts: str) -> list[Prompt]:
    return [to_prompt({"prompt": text}) for text in texts]


def flagged(evaluation: list[Prompt], text: str, threshold: float = 0.8) -> bool:
    return Contamination(evaluation).flags(asked(text), threshold)[0]


def test_tokens_tell_problems_apart() -> None:
    assert tokens("What is 1,000 + 3.5?") == ["what", "is", "1,000", "+", "3.5"]
    assert normal_form("What is  3 + 4?") == normal_form("what is 3 + 4")
    assert normal_form("What is 3 + 4?") != normal_form("What is 3 - 4?")
    assert tokens("\u5927\u6a21\u578b x") == ["\u5927", "\u6a21", "\u578b", "x"]
    assert normal_form("...") != normal_form("???")


def test_equal_prompts_are_contaminated_whatever_their_length() -> None:
    evaluation = asked("Sing!", LONG, "...")
    assert flagged(evaluation, "sing!")
    assert flagged(evaluation, LONG.upper(), 1.0)
    assert not flagged(evaluation, "Sing a song!")
    assert not flagged(evaluation, "???")


def test_share_of_grams_decides() -> None:
    evaluation = asked(LONG, "Something else")
    assert flagged(evaluation, "Listen. " + LONG)
    longer = LONG + " other" * 20  # 27 of its 35 distinct grams: the repeated word makes few
    assert not flagged(evaluation, longer)
    assert flagged(evaluation, longer, 0.75)
    other_numbers = LONG.replace("12", "15").replace("9 litres", "8 litres").replace("Friday", "Monday")
    assert not flagged(evaluation, other_numbers)


def test_one_evaluation_prompt_must_hold_the_share() -> None:
    words = LONG.split()
    halves = [" ".join(words[: len(words) // 2]), " ".join(words[len(words) // 2 :])]
    assert not flagged(asked(*halves), LONG, 0.6)


def test_common_wording_is_no_evidence() -> None:
    frame = (
        "You will be given a short film review. Read it with care and say if it is kind or not. Review: {}"
    )
    rng = random.Random(0)

    def review() -> str:
        return " ".join(rng.choice(["good", "bad", "long", "dull", "fine", "odd", "loud"]) for _ in range(12))

    evaluation = asked(*(frame.format(review()) for _ in range(60)))
    train = asked(*(frame.format(review()) for _ in range(60)))
    index = Contamination(evaluation)
    assert sum(index.flags(train, 0.8)) == 0
    assert all(index.flags(evaluation, 0.8))


def test_system_messages_are_left_out() -> None:
    index = Contamination([to_prompt({"prompt": "Sing!"}, "Be brief.")])
    assert index.flags([to_prompt({"prompt": "Sing!"}, "Be kind.")]) == [True]


def test_nothing_to_compare_with() -> None:
    assert Contamination([]).flags(asked(LONG, "Sing!")) == [False, False]
    assert Contamination(asked(LONG)).flags([]) == []


def test_schoolbook_keeps_its_training_set() -> None:
    splits = load_task(Task(unseen_prompts=200, stretch_prompts=200), 0)
    flags = Contamination(splits.evaluation).flags(splits.train, 0.8)
    assert len(flags) == 8000
    assert sum(flags) <= 80  # at most 1 %: the same template, names and things, and nearly the same numbers
    assert all(Contamination(splits.evaluation).flags(splits.test, 0.8))


def naive_share(text: str, other: str) -> float:
    def grams(words: list[str]) -> set[tuple[str, ...]]:
        return {tuple(words[i : i + GRAM]) for i in range(len(words) - GRAM + 1)}

    mine = grams(tokens(text))
    return len(mine & grams(tokens(other))) / len(mine) if mine else 0.0


words = st.lists(st.sampled_from("abc"), max_size=30).map(" ".join)


texts = st.lists(words.filter(bool), min_size=1, max_size=4)


@settings(max_examples=50, deadline=None)
@given(texts, texts, st.floats(0.1, 1))
def test_flags_agree_with_a_plain_count(evaluation: list[str], train: list[str], threshold: float) -> None:
    held_out = asked(*evaluation)
    flags = Contamination(held_out).flags(asked(*train), threshold)
    for text, flag in zip(train, flags, strict=True):
        shares = [naive_share(text, question_text(prompt)) for prompt in held_out]
        equal = any(normal_form(text) == normal_form(question_text(prompt)) for prompt in held_out)
        assert flag == (equal or any(share >= threshold for share in shares))


def test_exact_copies() -> None:
    assert copies(asked("Sing!", "sing! ", "Dance!", "SING!")) == [False, True, False, True]


def test_near_copies() -> None:
    pytest.importorskip("rensa")
    prompts = asked(LONG, LONG.replace("Friday", "Monday"), LONG.replace("farmer", "baker"), "Sing!", "sing")
    assert copies(prompts, 0.7) == [False, True, True, False, False]
    assert copies(prompts, 1.0) == [False, False, False, False, False]
    assert copies(prompts, 0.99) == [False, False, False, False, False]


def test_jaccard() -> None:
    assert jaccard({"a", "b"}, {"b", "c"}) == 1 / 3
    assert jaccard(set(), set()) == 0
