"""The user's prompts: JSON lines in any of the common shapes, told apart line by line by their keys.

    {"messages": [...]}                       OpenAI fine-tuning; a trailing assistant turn is the reference
    {"conversations": [{"from", "value"}]}    ShareGPT; a trailing gpt turn is the reference
    {"instruction", "input", "output"}        Alpaca
    {"prompt", "completion"}                  strings or lists of messages
    {"question", "answer"}                    GSM8K when the answer has `#### N`; else plain
    {"prompt", "answer"}, {"prompt"}          plain; "solution" may hold a worked answer

`system` on any line is its system message. Other keys with short text or whole numbers become tags.
A file may mix shapes. The first bad line stops the reading: a training set is not silently halved.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spiritsafe.errors import InputError
from spiritsafe.records import Message, Prompt, canonical_json, content_hash

SHAPES = "messages, conversations, instruction, prompt or question"
ROLES = {
    "system": "system", "developer": "system", "user": "user", "human": "user", "assistant": "assistant",
    "gpt": "assistant", "chatgpt": "assistant", "bard": "assistant", "bing": "assistant",
    "model": "assistant", "tool": "tool", "function": "tool", "observation": "tool",
}  # fmt: skip
MOST_TAGS = 8
MOST_TAG_VALUES = 20
"""A key with more different values, such as an id, is not a slice."""
LONGEST_TAG = 60
_USED = {
    "messages", "conversations", "instruction", "input", "output", "prompt", "completion", "question",
    "answer", "solution", "system", "id",
}  # fmt: skip
_CALCULATOR = re.compile(r"<<[^<>\n]*>>")
_FINAL = re.compile(r"####[ \t]*\$?(-?[\d,.]*\d)[ \t]*$", re.MULTILINE | re.ASCII)


class _Unusable(ValueError):
    """Why a line gives no prompt; the reader adds file and line."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PromptFile:
    """The distinct prompts of a file, in its order."""

    prompts: list[Prompt]
    duplicates: int
    """Lines that ask what an earlier line asks, letter by letter; they were left out."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Parts:
    """What a line says: turns up to the question, and what is known of the answer."""

    turns: list[Message]
    answer: str | None = None
    solution: str | None = None


def read_prompts(path: str | Path, system: str | None = None) -> PromptFile:
    """Read a file of prompts; `system` is put before each, joined with the line's own system message.

    Raises InputError for a missing, empty or malformed file, naming the line and what was expected.
    """
    found: dict[str, Prompt] = {}
    lines = 0
    for number, value in _lines(Path(path)):
        try:
            prompt = to_prompt(value, system)
        except _Unusable as reason:
            raise InputError(
                f"{path}:{number}: {reason}", hint=f"a line is a JSON object with {SHAPES}"
            ) from None
        lines += 1
        found.setdefault(prompt.prompt_id, prompt)
    if not found:
        raise InputError(
            f"no prompts in {path}: the file is empty", hint=f"one JSON object per line, with {SHAPES}"
        )
    return PromptFile(prompts=_bound_tags(list(found.values())), duplicates=lines - len(found))


def to_prompt(value: Mapping[str, Any], system: str | None = None) -> Prompt:
    """The prompt of one line. Its id is a hash of the line's messages, whatever `system` is.

    Raises ValueError saying what is missing.
    """
    parts = _reader_of(value)(value)
    turns = _with_system(parts.turns, value.get("system"))
    if not _is_unicode(value):
        raise _Unusable("the line has half a surrogate pair, which is no text")
    if not any(turn["role"] == "user" and turn["content"].strip() for turn in turns):
        raise _Unusable("the line has no user message with text")
    if turns[-1]["role"] == "assistant":
        raise _Unusable("the last message to answer is the assistant's own")
    return Prompt(
        prompt_id="p-" + content_hash("spiritsafe-prompt-1", turns)[:16],
        messages=tuple(_with_system(turns, system)),
        answer=parts.answer,
        solution=parts.solution,
        tags=_tags(value),
    )


def question_text(prompt: Prompt) -> str:
    """Everything but system messages: what makes two prompts the same question."""
    return "\n".join(turn["content"] for turn in prompt.messages if turn["role"] != "system")


def _reader_of(value: Mapping[str, Any]) -> Callable[[Mapping[str, Any]], _Parts]:
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
    raise _Unusable(
        f"no usable prompt: expected one of {SHAPES}, got the keys {', '.join(sorted(value)[:8])}"
    )


def _chat(value: Mapping[str, Any], key: str) -> _Parts:
    turns = _turns(value[key], key)
    # The answer to learn is the last assistant turn; with it gone, the rest is the question.
    if len(turns) > 1 and turns[-1]["role"] == "assistant":
        text = turns[-1]["content"] if turns[-1]["content"].strip() else None
        return _Parts(turns=turns[:-1], answer=_given(value, "answer") or text, solution=text)
    return _Parts(turns=turns, answer=_given(value, "answer"), solution=_given(value, "solution"))


def _alpaca(value: Mapping[str, Any]) -> _Parts:
    extra = _given(value, "input")
    text = f"{_given(value, 'instruction')}\n\n{extra}" if extra else _given(value, "instruction") or ""
    reference = _given(value, "output")
    return _Parts(turns=[_user(text)], answer=reference, solution=reference)


def _completion(value: Mapping[str, Any]) -> _Parts:
    prompt, completion = value["prompt"], value["completion"]
    turns = _turns(prompt, "prompt") if isinstance(prompt, list) else [_user(_given(value, "prompt") or "")]
    if isinstance(completion, list):
        answers = [
            turn["content"] for turn in _turns(completion, "completion") if turn["role"] == "assistant"
        ]
        if len(answers) != 1:
            raise _Unusable(f"completion must hold one assistant message, got {len(answers)}")
        return _Parts(turns=turns, answer=answers[0], solution=answers[0])
    reference = _given(value, "completion")
    return _Parts(turns=turns, answer=reference, solution=reference)


def _plain(value: Mapping[str, Any], key: str) -> _Parts:
    prompt = value[key]
    turns = _turns(prompt, key) if isinstance(prompt, list) else [_user(_given(value, key) or "")]
    answer, solution = _given(value, "answer"), _given(value, "solution")
    final = _FINAL.findall(answer or "")
    if answer and final:
        # GSM8K: worked steps with the calculator's annotations, which no model should learn to write.
        return _Parts(turns=turns, answer=final[-1].replace(",", ""), solution=_CALCULATOR.sub("", answer))
    return _Parts(turns=turns, answer=answer, solution=solution)


def _turns(value: object, key: str) -> list[Message]:
    if not isinstance(value, list) or not value:
        raise _Unusable(f"{key} must be a list of messages that is not empty")
    return [_turn(turn, f"{key}[{index}]") for index, turn in enumerate(value)]


def _turn(turn: object, where: str) -> Message:
    if not isinstance(turn, dict):
        raise _Unusable(f"{where} must be an object with role and content")
    role, content = turn.get("role", turn.get("from")), turn.get("content", turn.get("value"))
    if not isinstance(role, str) or role not in ROLES:
        raise _Unusable(f"{where} has an unknown role; allowed: {', '.join(ROLES)}")
    if isinstance(content, list):
        content = _joined(content, where)
    if not isinstance(content, str):
        raise _Unusable(f"{where} has no text content")
    return {"role": ROLES[role], "content": content}


def _joined(parts: list[object], where: str) -> str:
    """Content given as parts; only text can be distilled here."""
    texts = [part.get("text") for part in parts if isinstance(part, dict) and part.get("type") == "text"]
    if len(texts) != len(parts) or not all(isinstance(text, str) for text in texts):
        raise _Unusable(f"{where} has a part that is not text")
    return "".join(map(str, texts))


def _given(value: Mapping[str, Any], key: str) -> str | None:
    """A field as text: numbers and JSON values are written out, blank text is nothing."""
    field = value.get(key)
    if field is None or isinstance(field, str):
        return field if field and field.strip() else None
    return canonical_json(field)


def _is_unicode(value: object) -> bool:
    # JSON can spell "\\ud83d" alone; it cannot be hashed, stored or tokenised.
    try:
        canonical_json(value).encode()
    except (UnicodeEncodeError, RecursionError):
        return False
    return True


def _user(text: str) -> Message:
    return {"role": "user", "content": text}


def _with_system(turns: list[Message], system: object) -> list[Message]:
    """Templates allow one system message at the start: a second one is joined to the first."""
    if not isinstance(system, str) or not system.strip():
        return turns
    if turns[0]["role"] != "system":
        return [{"role": "system", "content": system}, *turns]
    return [{"role": "system", "content": f"{system}\n\n{turns[0]['content']}"}, *turns[1:]]


def _tags(value: Mapping[str, Any]) -> dict[str, str]:
    tags = {
        key: str(field).strip()
        for key, field in value.items()
        if key not in _USED and isinstance(field, str | int) and len(key) <= LONGEST_TAG
    }
    return {key: text for key, text in tags.items() if 0 < len(text) <= LONGEST_TAG}


def _bound_tags(prompts: list[Prompt]) -> list[Prompt]:
    """Keep the first keys that divide the file into few slices."""
    values: dict[str, Counter[str]] = {}
    for prompt in prompts:
        for key, text in prompt.tags.items():
            values.setdefault(key, Counter())[text] += 1
    kept = set([key for key, texts in values.items() if len(texts) <= MOST_TAG_VALUES][:MOST_TAGS])
    return [
        Prompt(
            prompt_id=prompt.prompt_id,
            messages=prompt.messages,
            answer=prompt.answer,
            solution=prompt.solution,
            tags={key: text for key, text in prompt.tags.items() if key in kept},
        )
        for prompt in prompts
    ]


def _lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """(line number, object) of every line that is not blank."""
    try:
        with open(path, encoding="utf-8-sig") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    yield number, _object(line, f"{path}:{number}")
    except OSError as error:
        raise InputError(
            f"cannot read the prompts: {path} ({error.strerror})",
            hint="task.path and task.test_path name JSONL files",
        ) from None
    except UnicodeDecodeError:
        raise InputError(
            f"not UTF-8 text: {path}", hint="save the file as UTF-8, one JSON object per line"
        ) from None


def _object(line: str, where: str) -> dict[str, Any]:
    def refuse(word: str) -> object:
        raise ValueError(f"{word} is not JSON")

    try:
        value = json.loads(line, parse_constant=refuse)
    except json.JSONDecodeError as error:
        problem = f"{error.msg} at character {error.colno}"
    except (ValueError, RecursionError):
        problem = "not a JSON value"
    else:
        if isinstance(value, dict):
            return value
        problem = f"a JSON object is expected, got {type(value).__name__}"
    raise InputError(
        f"malformed JSON line: {where}: {problem}", hint="every line must be one whole JSON object"
    )
