"""Readers of other tools' files: records one at a time, each checked, each turned into question and answer.

A record that does not fit stops the reading with the file, its place in it and what was expected; what the
record says is never repeated, because errors are pasted into bug reports.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from spiritsafe.errors import InputError
from spiritsafe.records import Message, Usage

IMPORT_FORMATS = ("openai", "sharegpt", "alpaca", "parquet", "openai-batch")
ROLES = ("system", "developer", "user", "assistant", "tool", "function")
SHAREGPT_ROLES = {"human": "user", "gpt": "assistant", "chatgpt": "assistant", "bard": "assistant"}
NO_USAGE = Usage()

Item = TypeVar("Item")
Prompts = Mapping[str, tuple[Message, ...]]


class Malformed(Exception):
    """What a record lacks; the reader adds file and place."""


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
    records = _parquet_records(path) if format == "parquet" else _json_records(path)
    return _read(path, records, parsers[format], f"a record of the format {format}")


def batch_prompts(path: Path) -> dict[str, tuple[Message, ...]]:
    """custom_id -> messages, from the JSONL file that was sent to the Batch API."""

    def parse(record: Any) -> Iterator[tuple[str, tuple[Message, ...]]]:
        body = record.get("body") if isinstance(record, dict) else None
        turns = [_message(turn, "role", "content", {}) for turn in _list(body, "messages")]
        yield _text(record, "custom_id"), tuple(turns)

    return dict(_read(path, _json_records(path), parse, "a line of a Batch input file"))


def detect_format(path: Path) -> str:
    """The import format of a file, from its suffix or its first record. Raises InputError when unclear."""
    if path.suffix == ".parquet":
        return "parquet"
    first = next((record for _, record in _json_records(path)), None)
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


def _read(
    path: Path, records: Iterator[tuple[str, Any]], parse: Callable[[Any], Iterator[Item]], what: str
) -> Iterator[Item]:
    for place, record in records:
        try:
            yield from parse(record)
        except Malformed as problem:
            hint = f"expected {what}; nothing was imported"
            raise InputError(f"{path}, {place}: {problem}", hint) from None


def _from_openai(record: Any) -> Iterator[Turn]:
    yield _conversation(_list(record, "messages"), "role", "content", {})


def _from_sharegpt(record: Any) -> Iterator[Turn]:
    yield _conversation(_list(record, "conversations"), "from", "value", SHAREGPT_ROLES)


def _from_alpaca(record: Any) -> Iterator[Turn]:
    instruction, extra, system = (
        _text(record, "instruction"),
        _maybe(record, "input"),
        _maybe(record, "system"),
    )
    question: Message = {"role": "user", "content": f"{instruction}\n\n{extra}" if extra else instruction}
    start: list[Message] = [{"role": "system", "content": system}] if system else []
    yield Turn(messages=(*start, question), text=_text(record, "output"))


def _from_columns(record: Any) -> Iterator[Turn]:
    """A Parquet row: `messages`, or `prompt` and `completion` as texts or lists of messages."""
    sides = (("prompt", "user"), ("completion", "assistant"))
    turns = record.get("messages") or [turn for key, role in sides for turn in _as_turns(record, key, role)]
    turn = _conversation(turns, "role", "content", {})
    reasoning = _maybe(record, "reasoning_content")
    yield Turn(turn.messages, turn.text, turn.reasoning if reasoning is None else reasoning, _name(record))


def _name(record: Any) -> str | None:
    value = record.get("prompt_id")
    return None if value is None else str(value)


def _as_turns(record: Any, key: str, role: str) -> list[Any]:
    value = record.get(key)
    return [{"role": role, "content": value}] if isinstance(value, str) else _list(record, key)


def _from_batch(record: Any, prompts: Prompts | None) -> Iterator[Turn]:
    """One line of a Batch output: every choice is a turn, a failed request a rejected one."""
    name = _text(record, "custom_id")
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
    for number, choice in enumerate(_list(body, "choices")):
        # Billed once for all choices of a request.
        yield _choice(
            choice, messages, name, usage if number == 0 else NO_USAGE, _maybe(body, "system_fingerprint")
        )


def _choice(
    choice: Any, messages: tuple[Message, ...], name: str, usage: Usage, fingerprint: str | None
) -> Turn:
    message = choice.get("message") if isinstance(choice, dict) else None
    if not isinstance(message, dict):
        raise Malformed("response.body.choices[].message must be an object")
    text = _maybe(message, "content")
    return Turn(
        messages=messages,
        text=text or "",
        reasoning=_maybe(message, "reasoning_content") or None,
        prompt_id=name,
        finish_reason=_maybe(choice, "finish_reason") or "stop",
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
    usage = _object(body, "usage")
    prompt, completion = _object(usage, "prompt_tokens_details"), _object(usage, "completion_tokens_details")
    return Usage(
        input_tokens=_count(usage, "prompt_tokens"),
        output_tokens=_count(usage, "completion_tokens"),
        reasoning_tokens=_count(completion, "reasoning_tokens"),
        cached_tokens=_count(prompt, "cached_tokens"),
    )


def _conversation(turns: Any, role: str, content: str, roles: Mapping[str, str]) -> Turn:
    """A conversation whose last message is the answer."""
    messages = [_message(turn, role, content, roles) for turn in turns]
    if not messages or messages[-1]["role"] != "assistant":
        raise Malformed("the last message must be the assistant's answer")
    return Turn(tuple(messages[:-1]), messages[-1]["content"], _maybe(turns[-1], "reasoning_content"))


def _message(turn: Any, role: str, content: str, roles: Mapping[str, str]) -> Message:
    said = _text(turn, role)
    name = roles.get(said, said)
    if name not in ROLES:
        raise Malformed(f"{role} must be one of {', '.join([*roles, *ROLES])}")
    parts = turn.get(content)
    if isinstance(parts, list):  # content parts, as the OpenAI API has them
        if not all(isinstance(part, dict) and part.get("type") == "text" for part in parts):
            raise Malformed(f"{content} must be text; images, audio and tool calls are not imported")
        return {"role": name, "content": "".join(_text(part, "text") for part in parts)}
    return {"role": name, "content": _text(turn, content)}


def _object(record: Any, key: str) -> dict[str, Any]:
    value = record.get(key) if isinstance(record, dict) else None
    if value is not None and not isinstance(value, dict):
        raise Malformed(f"{key} must be an object")
    return value or {}


def _count(record: Mapping[str, Any], key: str) -> int:
    value = record.get(key) or 0
    if not isinstance(value, int) or value < 0:
        raise Malformed(f"{key} must be a number of tokens")
    return value


def _list(record: Any, key: str) -> list[Any]:
    value = record.get(key) if isinstance(record, dict) else None
    if not isinstance(value, list) or not value:
        raise Malformed(f"{key} must be a list that is not empty")
    return value


def _text(record: Any, key: str) -> str:
    value = _maybe(record, key)
    if value is None:
        raise Malformed(f"{key} must be a string")
    return value


def _maybe(record: Any, key: str) -> str | None:
    """A string of a record, or None. Half a surrogate pair is JSON but not text: no file can hold it."""
    value = record.get(key) if isinstance(record, dict) else None
    if value is None:
        return None
    if not isinstance(value, str):
        raise Malformed(f"{key} must be a string")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise Malformed(f"{key} holds half a surrogate pair, which is not text") from None
    return value


def _parquet_records(path: Path) -> Iterator[tuple[str, Any]]:
    """(row, record), 1,024 rows in memory at a time."""
    number = itertools.count(1)
    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(1024):
                for row in batch.to_pylist():
                    yield f"row {next(number)}", row
    except (pa.ArrowException, OSError):
        raise InputError(f"not a readable Parquet file: {path}") from None


def _json_records(path: Path) -> Iterator[tuple[str, Any]]:
    """(line, record) of JSON lines, one in memory at a time, or (item, record) of one JSON array."""
    try:
        with open(path, "rb") as file:
            lines = (
                (number, line) for number, line in enumerate(file, 1) if line.strip(b" \t\r\n\xef\xbb\xbf")
            )
            first = next(lines, None)
            if first is not None and first[1].lstrip(b"\xef\xbb\xbf \t")[:1] == b"[":
                items = _parse(path, first[0], first[1] + file.read())
                yield from ((f"item {number}", item) for number, item in enumerate(items, 1))
            elif first is not None:
                for number, line in itertools.chain([first], lines):
                    yield f"line {number}", _parse(path, number, line.rstrip(b"\r\n"))
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from None


def _parse(path: Path, number: int, data: bytes) -> Any:
    hint = "expected one JSON object per line, in UTF-8; nothing was imported"
    try:
        return json.loads(data.decode("utf-8-sig"))
    except json.JSONDecodeError as error:
        line = number + error.lineno - 1
        problem = f"not valid JSON: {error.msg} (column {error.colno})"
        raise InputError(f"{path}, line {line}: {problem}", hint) from None
    except UnicodeDecodeError:
        raise InputError(f"{path}, line {number}: not UTF-8 text", hint) from None
    except (ValueError, RecursionError):  # a number of thousands of digits; thousands of open brackets
        raise InputError(f"{path}, line {number}: not JSON of a sensible size", hint) from None
