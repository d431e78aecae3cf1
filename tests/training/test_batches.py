"""Rows, the end of a turn, the order of steps, and how a step is cut."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.tiny import tiny_model, tiny_tokenizer

from spiritsafe.errors import InputError
from spiritsafe.students.templates import Row, end_of_turn
from spiritsafe.training.batches import Example, group, plan_steps, to_batch, tokenize

END = 1


def row(length: int, loss_tokens: int = 1) -> Row:
    return Row(tuple(range(2, length + 3)), length + 1 - loss_tokens)


def test_only_the_answer_and_the_end_of_its_turn_count() -> None:
    tokenizer = tiny_tokenizer()
    rows, dropped = tokenize([Example(({"role": "user", "content": "hi"},), "yes")], tokenizer, END, 100)
    assert dropped == 0
    assert tokenizer.decode(rows[0].ids) == "<|user|>hi<|end|><|assistant|>yes<|end|>"
    assert tokenizer.decode(rows[0].ids[rows[0].start :]) == "yes<|end|>"
    assert (rows[0].length, rows[0].loss_tokens) == (len(rows[0].ids) - 1, 4)


def test_end_of_turn_is_the_templates_even_if_pad_is_eos() -> None:
    tokenizer = tiny_tokenizer()
    tokenizer.pad_token = tokenizer.eos_token
    assert end_of_turn(tiny_model(), tokenizer) == END
    tokenizer.chat_template = tokenizer.chat_template.replace(
        "{{ m['content'] }}<|end|>", "{{ m['content'] }}<|pad|>"
    )
    tokenizer.pad_token = "<|pad|>"
    assert end_of_turn(tiny_model(), tokenizer) == 0


def test_no_end_token_at_all_is_an_error() -> None:
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = "{{ messages[0]['content'] }}"
    tokenizer.eos_token = None
    with pytest.raises(InputError, match="no end-of-turn token"):
        end_of_turn(tiny_model(), tokenizer)


def test_longer_examples_are_dropped_and_counted() -> None:
    examples = [Example(({"role": "user", "content": "q"},), "a" * n) for n in (1, 5, 6, 50)]
    rows, dropped = tokenize(examples, tiny_tokenizer(), END, 10)
    # Four tokens before the answer, one after it.
    assert [len(r.ids) for r in rows] == [6, 10]
    assert dropped == 2


def test_plan_uses_the_budget_and_reshuffles() -> None:
    rows = [row(n) for n in (10, 20, 30, 40, 25)]
    steps = plan_steps(rows, tokens=250, batch_tokens=60, seed=3)
    flat = [i for step in steps for i in step]
    assert sorted(flat[:5]) == sorted(flat[5:10]) == [0, 1, 2, 3, 4]
    assert flat[:5] != flat[5:10]
    assert all(sum(rows[i].length for i in step) <= 60 for step in steps)
    assert sum(rows[i].length for i in flat) == 250
    assert steps == plan_steps(rows, tokens=250, batch_tokens=60, seed=3)
    assert steps != plan_steps(rows, tokens=250, batch_tokens=60, seed=4)


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.integers(1, 50), min_size=1, max_size=30),
    st.integers(1, 300),
    st.integers(1, 200),
)
def test_plan_never_exceeds_its_budgets(lengths: list[int], tokens: int, batch_tokens: int) -> None:
    rows = [row(n) for n in lengths]
    steps = plan_steps(rows, tokens=tokens, batch_tokens=batch_tokens, seed=0)
    used = [[rows[i].length for i in step] for step in steps]
    assert all(step for step in used)
    assert all(sum(step) <= batch_tokens or len(step) == 1 for step in used)
    total = sum(map(sum, used))
    assert tokens - max(lengths) < total <= tokens or len(steps) == len(steps[0]) == 1


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(1, 50), min_size=1, max_size=40), st.integers(1, 300), st.integers(1, 4))
def test_groups_hold_every_row_once_within_the_limit(lengths: list[int], limit: int, ranks: int) -> None:
    rows = [Row(tuple(range(n + 1)), n) for n in lengths]
    groups = group(rows, limit, ranks)
    assert sorted(r.length for g in groups for r in g) == sorted(lengths)
    assert len(groups) % ranks == 0
    assert all(len(g) * max(r.length for r in g) <= limit or len(g) == 1 for g in groups if g)


def test_batch_points_at_the_token_before_each_target() -> None:
    batch = to_batch([Row((5, 6, 7, 8), 2), Row((9, 10), 1)], torch.device("cpu"))
    assert batch.ids_BT.tolist() == [[5, 6, 7], [9, 0, 0]]
    assert batch.index_N.tolist() == [1, 2, 3]
    assert batch.target_N.tolist() == [7, 8, 10]
    empty = to_batch([], torch.device("cpu"))
    assert (empty.ids_BT.tolist(), empty.index_N.numel(), empty.target_N.numel()) == ([[0]], 0, 0)


def test_packed_rows_lie_end_to_end_and_count_their_own_positions() -> None:
    batch = to_batch([Row((5, 6, 7, 8), 2), Row((9, 10), 1)], torch.device("cpu"), packed=True)
    assert batch.ids_BT.tolist() == [[5, 6, 7, 9]]
    assert batch.positions_BT is not None and batch.positions_BT.tolist() == [[0, 1, 2, 0]]
    assert batch.index_N.tolist() == [1, 2, 3]
    assert batch.target_N.tolist() == [7, 8, 10]


def test_packed_groups_fill_a_pass_without_counting_padding() -> None:
    rows = [row(n) for n in (30, 5, 5)]
    assert [[r.length for r in g] for g in group(rows, 40)] == [[30], [5, 5]]
    assert [[r.length for r in g] for g in group(rows, 40, packed=True)] == [[30, 5, 5]]
