"""The formats of other tools: each record checked and turned into question and answer.

A record that does not fit stops the reading with the file, its place in it and what was expected; what the
record says is never repeated, because errors are pasted into bug reports.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spiritsafe.errors import InputError
from spiritsafe.records import Message, Usage
from spiritsafe.store.foreign_files import (
    Malformed,
    count_of,
    json_records,
    list_of,
    maybe_text,
    object_of,
    parquet_records,
    read,
    text_of,
)

IMPORT_FORMATS = ("openai", "sharegpt", "alpaca", "parquet", "openai-batch")
ROLES = ("system", "developer", "user", "assistant", "tool", "function")
SHAREGPT_ROLES = {"human": "user", "gpt": "assistant", "chatgpt": "assistant", "bard": "assistant"}
NO_USAGE = Usage()

Prompts = Mapping[str, tuple[Message, ...]]


@dataclass(frozen=True)
class Turn:
    """One question with one answer."""

    messages: tuple[Message, ...]
    text: str
    reasoning: str | None = None
    prompt_id: str | None = None
    finish_reason: str = "stop"
    usage: Usage = NO_USAGE
    fingerprint: str | None = None
    reject_reason: str | None = None
    """Why there is no answer to use; None where there is one."""


def read_turns(path: Path, format: str, prompts: Prompts | None = None) -> Iterator[Turn]:
    """The turns of a file in one of IMPORT_FORMATS; `prompts` are `batch_prompts` for openai-batch.

    Raises InputError naming file and line (row, item) for the first record that does not fit.
    """
    parsers: dict[str, Callable[[Any], Iterator[Turn]]] = {
        "openai": _from_openai,
        "sharegpt": _from_sharegpt,
        "alpaca": _from_alpaca,
        "parquet": _from_columns,
        "openai-batch": lambda record: _from_batch(record, prompts),
    }
    records = parquet_records(path) if format == "parquet" else json_records(path)
    return read(path, records, parsers[format], f"a record of the format {format}")


def batch_prompts(path: Path) -> dict[str, tuple[Message, ...]]:
    """custom_id -> messages, from the JSONL file that was sent to the Batch API."""
    prompts: dict[str, tuple[Message, ...]] = {}

    def parse(record: Any) -> Iterator[tuple[str, tuple[Message, ...]]]:
        name = text_of(record, "custom_id")
        if name in prompts:  # which of the two an answer belongs to could not be told
            raise Malformed("its custom_id is that of an earlier line")
        body = record.get("body") if isinstance(record, dict) else None
        turns = [_message(turn, "role", "content", {}) for turn in list_of(body, "messages")]
        yield name, tuple(turns)

    for name, messages in read(path, json_records(path), parse, "a line of a Batch input file"):
        prompts[name] = messages
    return prompts


def detect_format(path: Path) -> str:
    """The import format of a file, from its suffix or its first record. Raises InputError when unclear."""
    if path.suffix == ".parquet":
        return "parquet"
    first = next((record for _, record in json_records(path)), None)
    keys = set(first) if isinstance(first, dict) else set()
    marks = {
        "openai": {"messages"},
        "sharegpt": {"conversations"},
        "alpaca": {"instruction", "output"},
        "openai-batch": {"custom_id", "response"},
    }
    for name, mark in marks.items():
        if mark <= keys:
            return name
    raise InputError(
        f"cannot tell the format of {path} from its first record",
        hint="say which it is: " + ", ".join(IMPORT_FORMATS),
    )


def _from_openai(record: Any) -> Iterator[Turn]:
    yield _conversation(list_of(record, "messages"), "role", "content", {})


def _from_sharegpt(record: Any) -> Iterator[Turn]:
    yield _conversation(list_of(record, "conversations"), "from", "value", SHAREGPT_ROLES)


def _from_alpaca(record: Any) -> Iterator[Turn]:
    instruction, extra, system = (
        text_of(record, "instruction"),
        maybe_text(record, "input"),
        maybe_text(record, "system"),
    )
    question: Message = {"role": "user", "content": f"{instruction}\n\n{extra}" if extra else instruction}
    start: list[Message] = [{"role": "system", "content": system}] if system else []
    yield Turn(messages=(*start, question), text=text_of(record, "output"))


def _from_columns(record: Any) -> Iterator[Turn]:
    """A Parquet row: `messages`, or `prompt` and `completion` as texts or lists of messages."""
    sides = (("prompt", "user"), ("completion", "assistant"))
    if record.get("messages"):
        turns = list_of(record, "messages")
    else:
        turns = [turn for key, role in sides for turn in _as_turns(record, key, role)]
    turn = _conversation(turns, "role", "content", {})
    reasoning = maybe_text(record, "reasoning_content")
    yield Turn(turn.messages, turn.text, turn.reasoning if reasoning is None else reasoning, _name(record))


def _name(record: Any) -> str | None:
    value = record.get("prompt_id")
    return None if value is None else str(value)


def _as_turns(record: Any, key: str, role: str) -> list[Any]:
    value = record.get(key)
    return [{"role": role, "content": value}] if isinstance(value, str) else list_of(record, key)


def _from_batch(record: Any, prompts: Prompts | None) -> Iterator[Turn]:
    """One line of a Batch output: every choice is a turn, a failed request a rejected one."""
    name = text_of(record, "custom_id")
    if prompts is not None and name not in prompts:
        raise Malformed("its custom_id is not in the batch input file")
    messages = prompts[name] if prompts is not None else ()
    response = record.get("response") if isinstance(record.get("response"), dict) else {}
    if record.get("error") or response.get("status_code") != 200:
        reason = f"batch_{_code(record.get('error'), response.get('status_code'))}"
        yield Turn(messages, "", prompt_id=name, finish_reason="error", reject_reason=reason)
        return
    body = response.get("body")
    usage = _usage(body)
    for number, choice in enumerate(list_of(body, "choices")):
        # Billed once for all choices of a request.
        yield _choice(
            choice, messages, name, usage if number == 0 else NO_USAGE, maybe_text(body, "system_fingerprint")
        )


def _choice(
    choice: Any, messages: tuple[Message, ...], name: str, usage: Usage, fingerprint: str | None
) -> Turn:
    message = choice.get("message") if isinstance(choice, dict) else None
    if not isinstance(message, dict):
        raise Malformed("response.body.choices[].message must be an object")
    text = maybe_text(message, "content")
    return Turn(
        messages=messages,
        text=text or "",
        reasoning=maybe_text(message, "reasoning_content") or None,
        prompt_id=name,
        finish_reason=maybe_text(choice, "finish_reason") or "stop",
        usage=usage,
        fingerprint=fingerprint,
        reject_reason="batch_no_text" if text is None else None,
    )


def _code(error: Any, status: Any) -> str:
    """A short, countable name for a failed request: the error's code, or the HTTP status."""
    code = error.get("code") if isinstance(error, dict) else None
    if isinstance(code, str) and re.fullmatch(r"[A-Za-z0-9_.-]{1,40}", code):
        return code
    return f"http_{status}" if isinstance(status, int) else "failed"


def _usage(body: Any) -> Usage:
    usage = object_of(body, "usage")
    prompt, completion = (
        object_of(usage, "prompt_tokens_details"),
        object_of(usage, "completion_tokens_details"),
    )
    return Usage(
        input_tokens=count_of(usage, "prompt_tokens"),
        output_tokens=count_of(usage, "completion_tokens"),
        reasoning_tokens=count_of(completion, "reasoning_tokens"),
        cached_tokens=count_of(prompt, "cached_tokens"),
    )


def _conversation(turns: Any, role: str, content: str, roles: Mapping[str, str]) -> Turn:
    """A conversation whose last message is the answer."""
    messages = [_message(turn, role, content, roles) for turn in turns]
    if not messages or messages[-1]["role"] != "assistant":
        raise Malformed("the last message must be the assistant's answer")
    return Turn(tuple(messages[:-1]), messages[-1]["content"], maybe_text(turns[-1], "reasoning_content"))


def _message(turn: Any, role: str, content: str, roles: Mapping[str, str]) -> Message:
    said = text_of(turn, role)
    name = roles.get(said, said)
    if name not in ROLES:
        raise Malformed(f"{role} must be one of {', '.join([*roles, *ROLES])}")
    parts = turn.get(content)
    if isinstance(parts, list):  # content parts, as the OpenAI API has them
        if not all(isinstance(part, dict) and part.get("type") == "text" for part in parts):
            raise Malformed(f"{content} must be text; images, audio and tool calls are not imported")
        return {"role": name, "content": "".join(text_of(part, "text") for part in parts)}
    return {"role": name, "content": text_of(turn, content)}
