"""Rows equal the family's own template, token for token; the loss counts the assistant's turn alone."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.families import FAMILIES, tokenizer_of
from tests.tiny import tiny_model, tiny_tokenizer

from spiritsafe.errors import InputError
from spiritsafe.students.templates import (
    PLAIN,
    control_tokens,
    end_of_turn,
    fit_template,
    row_of,
    turn,
)
from spiritsafe.teachers.chat import encode

SINGLE = [{"role": "user", "content": "What is 2 + 2?"}]
MULTI = [*SINGLE, {"role": "assistant", "content": "It is 4."}, {"role": "user", "content": "And 3 + 3?"}]
TOOL = {
    "type": "function",
    "function": {"name": "add", "parameters": {"type": "object", "properties": {"a": {"type": "integer"}}}},
}
CALL = {"content": "", "tool_calls": [{"function": {"name": "add", "arguments": {"a": 3}}}]}
RESULT = [*SINGLE, {"role": "assistant", **CALL}, {"role": "tool", "content": "4"}]


def parts(name, messages, answer, reasoning=None, tools=None, keep=True):
    """(prompt, counted part) of a row as texts, and the tokenizer."""
    family, model = FAMILIES[name], tiny_model()
    tokenizer = tokenizer_of(family)
    fit_template(tokenizer, reasoning=keep)
    end = end_of_turn(model, tokenizer)
    assert tokenizer.convert_ids_to_tokens(end) == family.end
    row = row_of(tokenizer, end, messages, answer, reasoning, tools)
    return tokenizer, tokenizer.decode(row.ids[: row.start]), tokenizer.decode(row.ids[row.start :]), row


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("messages", [SINGLE, MULTI], ids=["single", "multi"])
def test_rows_are_the_templates_own_tokens(name, messages):
    if name == "r1":
        return  # its template drops what its prompt opens: see below
    tokenizer, prompt, counted, row = parts(name, messages, "It is 6.")
    whole = tokenizer.apply_chat_template(
        [*messages, {"role": "assistant", "content": "It is 6."}], tokenize=False
    )
    ids = encode(tokenizer, [whole])[0]
    assert list(row.ids) == ids[: len(row.ids)]
    assert tokenizer.decode(ids[len(row.ids) :]).strip() == ""  # white space after the end of the turn
    assert prompt == tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    assert counted.endswith(FAMILIES[name].end)


GOLDEN = {
    "qwen2": "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n|Yes.<|im_end|>",
    "qwen3": "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n|<think>\n\n</think>\n\nYes.<|im_end|>",
    "smollm": "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n|Yes.<|im_end|>",
    "llama3": "<|bos|><|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>"
    "<|start_header_id|>assistant<|end_header_id|>\n\n|Yes.<|eot_id|>",
    "mistral": "<s>[INST] Hi[/INST]| Yes.</s>",
    "gemma2": "<bos><start_of_turn>user\nHi<end_of_turn>\n<start_of_turn>model\n|Yes.<end_of_turn>",
    "r1": "<bos><|user|>Hi<|assistant|><think>\n|\n</think>\n\nYes.<eos>",
}


@pytest.mark.parametrize("name", FAMILIES)
def test_golden_rows(name):
    _, prompt, counted, _ = parts(name, [{"role": "user", "content": "Hi"}], "Yes.")
    assert f"{prompt}|{counted}" == GOLDEN[name]


REASONED = {
    "qwen3": "<think>\nTwo and two.\n</think>\n\nIt is 4.<|im_end|>",
    "qwen2": "<think>\nTwo and two.\n</think>\n\nIt is 4.<|im_end|>",
    "llama3": "<think>\nTwo and two.\n</think>\n\nIt is 4.<|eot_id|>",
    "mistral": " <think>\nTwo and two.\n</think>\n\nIt is 4.</s>",
    "gemma2": "<think>\nTwo and two.\n</think>\n\nIt is 4.<end_of_turn>",
    "r1": "Two and two.\n</think>\n\nIt is 4.<eos>",  # the prompt has opened it already
}


@pytest.mark.parametrize("name", REASONED)
@pytest.mark.parametrize("messages", [SINGLE, MULTI], ids=["single", "multi"])
def test_reasoning_is_written_once_and_whole(name, messages):
    _, prompt, counted, _ = parts(name, messages, "It is 4.", "Two and two.")
    assert counted == REASONED[name]
    assert (prompt + counted).count("Two and two.") == 1
    assert (prompt + counted).count("<think>") == (prompt + counted).count("</think>") == 1


def test_without_reasoning_the_switch_is_off_and_stays_with_the_student():
    tokenizer, prompt, counted, _ = parts("qwen3", SINGLE, "It is 4.", keep=False)
    assert prompt.endswith("<|im_start|>assistant\n<think>\n\n</think>\n\n")
    assert counted == "It is 4.<|im_end|>"
    asked = tokenizer.apply_chat_template(SINGLE, tokenize=False, add_generation_prompt=True)
    assert asked == prompt
    on = tokenizer.apply_chat_template(
        SINGLE, tokenize=False, add_generation_prompt=True, enable_thinking=True
    )
    assert on.endswith("assistant\n")


@pytest.mark.parametrize(
    ("name", "counted"),
    [
        ("qwen2", '<tool_call>\n{"name": "add", "arguments": {"a": 3}}\n</tool_call><|im_end|>'),
        (
            "qwen3",
            "<think>\n\n</think>\n\n"
            '<tool_call>\n{"name": "add", "arguments": {"a": 3}}\n</tool_call><|im_end|>',
        ),
        ("llama3", '{"name": "add", "arguments": {"a": 3}}<|eot_id|>'),
    ],
)
def test_tool_calls(name, counted):
    _, prompt, text, _ = parts(name, SINGLE, CALL, tools=[TOOL])
    assert text == counted
    if name != "llama3":
        assert '"name": "add"' in prompt
        _, prompt, text, _ = parts(name, RESULT, "It is 4.", tools=[TOOL])
        assert "<tool_response>\n4\n</tool_response>" in prompt
        assert text.endswith("It is 4.<|im_end|>")


def test_a_template_without_tool_calls_is_named():
    with pytest.raises(InputError, match="does not write tool calls"):
        parts("gemma2", SINGLE, CALL)


def test_a_base_checkpoint_gets_plain_words():
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = None
    fit_template(tokenizer, template="plain")
    assert turn(tokenizer, SINGLE, "4") == ("User: What is 2 + 2?\nAssistant: ", "4<|end|>\n")
    assert tokenizer.chat_template == PLAIN


def test_a_template_of_ones_own(tmp_path):
    tokenizer = tiny_tokenizer()
    (tmp_path / "t.jinja").write_text("{% for m in messages %}[{{ m.content }}]{% endfor %}")
    fit_template(tokenizer, template=str(tmp_path / "t.jinja"))
    assert turn(tokenizer, [{"role": "user", "content": "a"}], "b") == ("[a]", "[b]")
    with pytest.raises(InputError, match="cannot read the chat template"):
        fit_template(tokenizer, template=str(tmp_path / "none.jinja"))


def test_control_tokens_are_those_that_end_or_begin_turns():
    assert control_tokens(tokenizer_of(FAMILIES["qwen3"])) == ("<|endoftext|>", "<|im_end|>", "<|im_start|>")


@settings(max_examples=30, deadline=None)
@given(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=30),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=30),
)
def test_every_answer_survives(answer, reasoning):
    for name in ("qwen3", "r1", "llama3"):
        _, _, counted, _ = parts(name, SINGLE, answer, reasoning)
        assert answer.strip() in counted
        assert reasoning.strip() in counted
