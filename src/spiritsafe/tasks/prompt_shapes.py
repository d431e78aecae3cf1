"""The shapes in which people write prompts, told apart by their keys.

{"messages": [...]}                       OpenAI fine-tuning; a trailing assistant turn is the reference
{"conversations": [{"from", "value"}]}    ShareGPT; a trailing gpt turn is the reference
{"instruction", "input", "output"}        Alpaca
{"prompt", "completion"}                  strings or lists of messages
{"prompt", "chosen", "rejected"}          the same, with people's preference; lists may hold the prompt too
{"question", "answer"}                    GSM8K when the answer has `#### N`; else plain
{"prompt", "answer"}, {"prompt"}          plain; "solution" may hold a worked answer
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from spiritsafe.records import Message, canonical_json

SHAPES = "messages, conversations, instruction, prompt, question or chosen"
ROLES = {
    "system": "system", "developer": "system", "user": "user", "human": "user", "assistant": "assistant",
    "gpt": "assistant", "chatgpt": "assistant", "bard": "assistant", "bing": "assistant",
    "model": "assistant", "tool": "tool", "function": "tool", "observation": "tool",
}  # fmt: skip
_CALCULATOR = re.compile(r"<<[^<>\n]*>>")
_FINAL = re.compile(r"####[ \t]*\$?(-?[\d,.]*\d)[ \t]*$", re.MULTILINE | re.ASCII)


class Unusable(ValueError):
    """Why a line gives no prompt; the reader adds file and line."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Parts:
    """What a line says: turns up to the question, and what is known of the answer."""

    turns: list[Message]
    answer: str | None = None
    solution: str | None = None
    rejected: str | None = None


def reader_of(value: Mapping[str, Any]) -> Callable[[Mapping[str, Any]], Parts]:
    """What reads a line of this shape. Raises Unusable where it has none."""
    if "chosen" in value and "rejected" in value:
        return _preference
    readers = {
        "messages": lambda v: _chat(v, "messages"),
        "conversations": lambda v: _chat(v, "conversations"),
        "instruction": _alpaca,
        "question": lambda v: _plain(v, "question"),
        "prompt": lambda v: _completion(v) if "completion" in v else _plain(v, "prompt"),
    }
    for key, reader in readers.items():
        if value.get(key) is not None:
            return reader
    raise Unusable(f"no usable prompt: expected one of {SHAPES}, got the keys {', '.join(sorted(value)[:8])}")


def _chat(value: Mapping[str, Any], key: str) -> Parts:
    turns = _turns(value[key], key)
    # The answer to learn is the last assistant turn; with it gone, the rest is the question.
    if len(turns) > 1 and turns[-1]["role"] == "assistant":
        text = turns[-1]["content"] if turns[-1]["content"].strip() else None
        return Parts(turns=turns[:-1], answer=_given(value, "answer") or text, solution=text)
    return Parts(turns=turns, answer=_given(value, "answer"), solution=_given(value, "solution"))


def _alpaca(value: Mapping[str, Any]) -> Parts:
    extra = _given(value, "input")
    text = f"{_given(value, 'instruction')}\n\n{extra}" if extra else _given(value, "instruction") or ""
    reference = _given(value, "output")
    return Parts(turns=[_user(text)], answer=reference, solution=reference)


def _completion(value: Mapping[str, Any]) -> Parts:
    prompt, completion = value["prompt"], value["completion"]
    turns = _turns(prompt, "prompt") if isinstance(prompt, list) else [_user(_given(value, "prompt") or "")]
    if isinstance(completion, list):
        answers = [
            turn["content"] for turn in _turns(completion, "completion") if turn["role"] == "assistant"
        ]
        if len(answers) != 1:
            raise Unusable(f"completion must hold one assistant message, got {len(answers)}")
        return Parts(turns=turns, answer=answers[0], solution=answers[0])
    reference = _given(value, "completion")
    return Parts(turns=turns, answer=reference, solution=reference)


def _preference(value: Mapping[str, Any]) -> Parts:
    turns, answer = _continued(value, "chosen")
    _, rejected = _continued(value, "rejected")
    return Parts(turns=turns, answer=answer, solution=answer, rejected=rejected)


def _continued(value: Mapping[str, Any], key: str) -> tuple[list[Message], str]:
    """The turns before an answer, and the answer: a string, or a list that ends with the assistant's turn."""
    given, prompt = value[key], value.get("prompt")
    turns = _turns(given, key) if isinstance(given, list) else [_reply(_given(value, key) or "")]
    answer = turns.pop()
    if prompt is not None:
        turns = (
            _turns(prompt, "prompt") if isinstance(prompt, list) else [_user(_given(value, "prompt") or "")]
        )
    if not turns or answer["role"] != "assistant" or not answer["content"].strip():
        raise Unusable(
            f"{key} must be an answer: a text after a prompt, or turns that end with the assistant's"
        )
    return turns, answer["content"]


def _plain(value: Mapping[str, Any], key: str) -> Parts:
    prompt = value[key]
    turns = _turns(prompt, key) if isinstance(prompt, list) else [_user(_given(value, key) or "")]
    answer, solution = _given(value, "answer"), _given(value, "solution")
    final = _FINAL.findall(answer or "")
    if answer and final:
        # GSM8K: worked steps with the calculator's annotations, which no model should learn to write.
        return Parts(turns=turns, answer=final[-1].replace(",", ""), solution=_CALCULATOR.sub("", answer))
    return Parts(turns=turns, answer=answer, solution=solution)


def _turns(value: object, key: str) -> list[Message]:
    if not isinstance(value, list) or not value:
        raise Unusable(f"{key} must be a list of messages that is not empty")
    return [_turn(turn, f"{key}[{index}]") for index, turn in enumerate(value)]


def _turn(turn: object, where: str) -> Message:
    if not isinstance(turn, dict):
        raise Unusable(f"{where} must be an object with role and content")
    role, content = turn.get("role", turn.get("from")), turn.get("content", turn.get("value"))
    if not isinstance(role, str) or role not in ROLES:
        raise Unusable(f"{where} has an unknown role; allowed: {', '.join(ROLES)}")
    if isinstance(content, list):
        content = _joined(content, where)
    if not isinstance(content, str):
        raise Unusable(f"{where} has no text content")
    return {"role": ROLES[role], "content": content}


def _joined(parts: list[object], where: str) -> str:
    """Content given as parts; only text can be distilled here."""
    texts = [part.get("text") for part in parts if isinstance(part, dict) and part.get("type") == "text"]
    if len(texts) != len(parts) or not all(isinstance(text, str) for text in texts):
        raise Unusable(f"{where} has a part that is not text")
    return "".join(map(str, texts))


def _given(value: Mapping[str, Any], key: str) -> str | None:
    """A field as text: numbers and JSON values are written out, blank text is nothing."""
    field = value.get(key)
    if field is None or isinstance(field, str):
        return field if field and field.strip() else None
    return canonical_json(field)


def _reply(text: str) -> Message:
    return {"role": "assistant", "content": text}


def _user(text: str) -> Message:
    return {"role": "user", "content": text}
