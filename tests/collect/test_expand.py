"""Expansion: requests that can be repeated, replies in any shape, nothing let through twice."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spiritsafe.collect.expand import SHOWN, WANTED, expansion_requests, parse_expansions, split_items
from spiritsafe.errors import InputError
from spiritsafe.records import Prompt, Reply, Sampling
from spiritsafe.tasks.jsonl import to_prompt

SYSTEM = "You are a pupil."
SEEDS = [
    to_prompt({"prompt": f"Ann has {i} apples and eats one. How many are left?"}, SYSTEM) for i in range(2, 9)
]
SAMPLING = Sampling(temperature=1.0)


def parsed(
    *texts: str, evaluation: list[Prompt] | None = None, finish: str = "stop"
) -> tuple[list[str], dict[str, int]]:
    replies = [Reply(text=text, finish_reason=finish) for text in texts]
    prompts, counts = parse_expansions(replies, SEEDS, evaluation or [])
    return [prompt.messages[-1]["content"] for prompt in prompts], counts


def test_requests_are_repeatable_and_distinct() -> None:
    requests = expansion_requests(SEEDS, 100, "t@local", SAMPLING, 7)
    assert requests == expansion_requests(SEEDS, 100, "t@local", SAMPLING, 7)
    assert len({request.request_hash for request in requests}) == len(requests) == 33
    assert len(requests) * WANTED >= 100
    text = requests[0].messages[0]["content"]
    assert sum(seed.messages[-1]["content"] in text for seed in SEEDS) == SHOWN
    assert SYSTEM not in text
    assert expansion_requests(SEEDS, 100, "t@local", SAMPLING, 8)[0] != requests[0]


def test_few_seeds_still_give_distinct_requests() -> None:
    requests = expansion_requests(SEEDS[:1], 40, "t@local", SAMPLING, 0)
    assert len({request.request_hash for request in requests}) == len(requests)


def test_seeds_must_be_single_questions() -> None:
    turns = [{"role": role, "content": "x"} for role in ("user", "assistant", "user")]
    with pytest.raises(InputError, match="single questions"):
        expansion_requests([to_prompt({"messages": turns})], 4, "t@local", SAMPLING, 0)


SHAPES = {
    "1. Add 2 and 3.\n2. Add 4 and 5.": ["Add 2 and 3.", "Add 4 and 5."],
    "Sure! Here they are:\n\n**1.** Add 2.\nThen 3.\n\n**2.** Add 4.": ["Add 2.\nThen 3.", "Add 4."],
    "### Task 1: Add 2.\n### Task 2: Add 4.": ["Add 2.", "Add 4."],
    "1) Write code that\n   1) reads\n   5) prints\n2) Sing.": [
        "Write code that\n   1) reads\n   5) prints",
        "Sing.",
    ],
    "Just one task.": ["Just one task."],
    "It costs 3. Or 4.": ["It costs 3. Or 4."],
    "  ": [],
}


@pytest.mark.parametrize("text", SHAPES)
def test_replies_in_any_shape(text: str) -> None:
    assert split_items(text) == SHAPES[text]


def test_new_prompts_carry_the_system_message_and_no_answer() -> None:
    prompts, _ = parse_expansions([Reply(text="1. Bob has 9 pears and buys 3. How many now?")], SEEDS, [])
    assert [turn["role"] for turn in prompts[0].messages] == ["system", "user"]
    assert prompts[0].messages[0]["content"] == SYSTEM
    assert (prompts[0].answer, prompts[0].solution) == (None, None)


def test_copies_of_anything_known_are_counted() -> None:
    held_out = to_prompt({"prompt": "Cy has 4 kites and buys 6. How many now?"})
    kept, counts = parsed(
        "1. Bob has 9 pears and buys 3. How many now?\n2. bob has 9 pears and buys 3.  How many now\n"
        "3. Ann has 5 apples and eats one. How many are left?\n4. Cy has 4 kites and buys 6. How many now?",
        "1. Sing!\n2. " + "on and on " * 40,
        evaluation=[held_out],
    )
    assert kept == ["Bob has 9 pears and buys 3. How many now?"]
    assert counts == {"kept": 1, "copy": 2, "contaminated": 1, "too_short": 1, "too_long": 1, "proposed": 6}


def test_the_end_of_a_truncated_reply_is_left_out() -> None:
    kept, counts = parsed("1. Bob has 9 pears.\n2. Dan has 8 ki", finish="length")
    assert kept == ["Bob has 9 pears."]
    assert counts == {"kept": 1, "cut_off": 1, "proposed": 2}


@given(st.lists(st.text(max_size=80), max_size=5), st.sampled_from(["stop", "length"]))
def test_any_reply_is_accounted_for(texts: list[str], finish: str) -> None:
    kept, counts = parsed(*texts, finish=finish)
    assert counts["proposed"] == sum(n for fate, n in counts.items() if fate != "proposed")
    assert len(kept) == counts.get("kept", 0) == len(set(kept))


@given(st.lists(st.text("abc de", min_size=1).map(str.strip).filter(bool), min_size=1, max_size=9))
def test_numbered_lists_read_back(items: list[str]) -> None:
    assert split_items("\n".join(f"{number}. {item}" for number, item in enumerate(items, 1))) == items
