"""The user's prompts: JSON lines in any of the common shapes (`prompt_shapes`).

`system` on any line is its system message. Other keys with short text or whole numbers become tags.
A file may mix shapes. The first bad line stops the reading: a training set is not silently halved.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from spiritsafe.errors import InputError
from spiritsafe.records import Message, Prompt, canonical_json, content_hash
from spiritsafe.tasks.prompt_shapes import SHAPES, Unusable, reader_of

MOST_TAGS = 8
MOST_TAG_VALUES = 20
"""A key with more different values, such as an id, is not a slice."""
LONGEST_TAG = 60
_USED = {
    "messages", "conversations", "instruction", "input", "output", "prompt", "completion", "question",
    "answer", "solution", "system", "id", "chosen", "rejected",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class PromptFile:
    """The distinct prompts of a file, in its order."""

    prompts: list[Prompt]
    duplicates: int
    """Lines that ask what an earlier line asks, letter by letter; they were left out."""


def read_prompts(path: str | Path, system: str | None = None) -> PromptFile:
    """Read a file of prompts; `system` is put before each, joined with the line's own system message.

    Raises InputError for a missing, empty or malformed file, naming the line and what was expected.
    """
    found: dict[str, Prompt] = {}
    lines = 0
    for number, value in _lines(Path(path)):
        try:
            prompt = to_prompt(value, system)
        except Unusable as reason:
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
    parts = reader_of(value)(value)
    turns = _with_system(parts.turns, value.get("system"))
    if not _is_unicode(value):
        raise Unusable("the line has half a surrogate pair, which is no text")
    if not any(turn["role"] == "user" and turn["content"].strip() for turn in turns):
        raise Unusable("the line has no user message with text")
    if turns[-1]["role"] == "assistant":
        raise Unusable("the last message to answer is the assistant's own")
    return Prompt(
        prompt_id="p-" + content_hash("spiritsafe-prompt-1", turns)[:16],
        messages=tuple(_with_system(turns, system)),
        answer=parts.answer,
        solution=parts.solution,
        rejected=parts.rejected,
        tags=_tags(value),
    )


def question_text(prompt: Prompt) -> str:
    """Everything but system messages: what makes two prompts the same question."""
    return "\n".join(turn["content"] for turn in prompt.messages if turn["role"] != "system")


def _is_unicode(value: object) -> bool:
    # JSON can spell "\\ud83d" alone; it cannot be hashed, stored or tokenised.
    try:
        canonical_json(value).encode()
    except (UnicodeEncodeError, RecursionError):
        return False
    return True


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
        replace(prompt, tags={key: text for key, text in prompt.tags.items() if key in kept})
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
