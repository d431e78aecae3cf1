"""Records of another tool's file, one in memory at a time, and their fields, checked."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from spiritsafe.errors import InputError

Item = TypeVar("Item")
MOST_TOKENS = 1 << 53
"""More is no count, and what reads JSON numbers as floats would change it."""


class Malformed(Exception):
    """What a record lacks; the reader adds file and place."""


def read(
    path: Path, records: Iterator[tuple[str, Any]], parse: Callable[[Any], Iterator[Item]], what: str
) -> Iterator[Item]:
    """What `parse` makes of each record; InputError with the place of the first that is Malformed."""
    for place, record in records:
        try:
            yield from parse(record)
        except Malformed as problem:
            hint = f"expected {what}; nothing was imported"
            raise InputError(f"{path}, {place}: {problem}", hint) from None


def parquet_records(path: Path) -> Iterator[tuple[str, Any]]:
    """(row, record), 1,024 rows in memory at a time."""
    number = itertools.count(1)
    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(1024):
                for row in batch.to_pylist():
                    yield f"row {next(number)}", row
    except (pa.ArrowException, OSError):
        raise InputError(f"not a readable Parquet file: {path}") from None


def json_records(path: Path) -> Iterator[tuple[str, Any]]:
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


def object_of(record: Any, key: str) -> dict[str, Any]:
    value = record.get(key) if isinstance(record, dict) else None
    if value is not None and not isinstance(value, dict):
        raise Malformed(f"{key} must be an object")
    return value or {}


def count_of(record: Mapping[str, Any], key: str) -> int:
    value = record.get(key) or 0
    if not isinstance(value, int) or not 0 <= value < MOST_TOKENS:
        raise Malformed(f"{key} must be a number of tokens")
    return value


def list_of(record: Any, key: str) -> list[Any]:
    value = record.get(key) if isinstance(record, dict) else None
    if not isinstance(value, list) or not value:
        raise Malformed(f"{key} must be a list that is not empty")
    return value


def text_of(record: Any, key: str) -> str:
    value = maybe_text(record, key)
    if value is None:
        raise Malformed(f"{key} must be a string")
    return value


def maybe_text(record: Any, key: str) -> str | None:
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
