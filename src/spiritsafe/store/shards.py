"""Samples as Parquet shards with a manifest: whole or not at all, and the same bytes for the same rows.

    shard-00000-0f3a9c21d4e5.parquet   rows sorted by request hash, zstd; the name carries its content's hash
    manifest.json                      files, rows, bytes and SHA-256; written last, so it is the commit

A new set never overwrites a file of the old one: until the new manifest is in place the old set is whole,
and only then are its files removed. `messages` is a list of {role, content}, `usage` and `origin` are
structs, all text is plain strings: pandas and Hugging Face datasets read a shard as it is.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from spiritsafe.errors import CorruptData, SpiritSafeError
from spiritsafe.records import Record, Sample, content_hash
from spiritsafe.rundir import dump_json, sync_directory, write_atomic

FORMAT = "spiritsafe-shards-1"
MANIFEST = "manifest.json"
CURE = "delete the folder and run the stage again; settled answers are still in the ledger"

_MESSAGES = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
SCHEMA = pa.schema(
    [
        ("request_hash", pa.string()),
        ("prompt_id", pa.string()),
        ("messages", _MESSAGES),
        ("text", pa.string()),
        ("reasoning", pa.string()),
        ("finish_reason", pa.string()),
        ("index", pa.int64()),
        (
            "usage",
            pa.struct(
                [
                    (name, pa.int64())
                    for name in ("input_tokens", "output_tokens", "reasoning_tokens", "cached_tokens")
                ]
            ),
        ),
        ("cost_usd", pa.float64()),
        (
            "origin",
            pa.struct([(name, pa.string()) for name in ("teacher", "channel", "fingerprint", "date")]),
        ),
        ("accepted", pa.bool_()),
        ("reject_reason", pa.string()),
    ]
)


def write_shards(samples: Iterable[Sample], directory: Path, rows_per_shard: int = 50_000) -> list[Path]:
    """Write samples as shards; the files written, manifest last.

    Raises SpiritSafeError when the disk is full: nothing of the new set is left, the old set is untouched.
    """
    assert rows_per_shard > 0, "a shard holds at least one row"
    rows = sorted(samples, key=lambda sample: (sample.request_hash, sample.prompt_id, sample.index))
    _make(directory)
    before = set(directory.glob("shard-*.parquet"))
    entries: list[dict[str, Any]] = []
    try:
        for start in range(0, len(rows), rows_per_shard):
            entries.append(_write_shard(rows[start : start + rows_per_shard], directory, len(entries)))
        write_atomic(directory / MANIFEST, dump_json(_manifest(entries)))
    except BaseException:  # also Ctrl-C: what was begun is taken back, then the error goes on
        # The manifest may be in place already: what it lists stays.
        _remove(set(directory.glob("shard-*.parquet")) - before - _listed(directory))
        raise
    files = [directory / entry["file"] for entry in entries]
    _remove(set(directory.glob("shard-*.parquet")) - set(files))
    _remove(set(directory.glob(".shard-*.tmp")))
    return [*files, directory / MANIFEST]


def read_shards(directory: Path) -> list[Sample]:
    """All samples, sorted by request hash. Raises CorruptData naming the file that is damaged or missing."""
    samples: list[Sample] = []
    for path, entry in entries(directory):
        samples += [Sample.from_json(row) for row in load(path, entry).to_pylist()]
    return samples


def verify(directory: Path) -> list[str]:
    """Every problem of a shard set, one line each; empty when all is well."""
    problems: list[str] = []
    try:
        shards = list(entries(directory))
    except CorruptData as error:
        return [error.message]
    for path, entry in shards:
        try:
            load(path, entry)
        except CorruptData as error:
            problems.append(error.message)
    strangers = set(directory.glob("*.parquet")) - {path for path, _ in shards}
    return problems + [f"not in the manifest: {path}" for path in sorted(strangers)]


def _write_shard(rows: list[Sample], directory: Path, number: int) -> dict[str, Any]:
    data = _encode(rows)
    digest = hashlib.sha256(data).hexdigest()
    name = f"shard-{number:05d}-{digest[:12]}.parquet"
    write_atomic(directory / name, data)
    return {"file": name, "rows": len(rows), "bytes": len(data), "sha256": digest}


def _encode(rows: list[Sample]) -> bytes:
    """Parquet bytes: no time stamps, one row group, so equal rows give equal bytes (per pyarrow version)."""
    try:
        table = pa.Table.from_pylist([_row(sample) for sample in rows], schema=SCHEMA)
    except UnicodeEncodeError:
        raise SpiritSafeError(
            f"an answer holds half a surrogate pair, which is not text: {_not_text(rows)}",
            hint="mark that request as failed in the ledger, or replace the character in the imported file",
        ) from None
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd", row_group_size=max(1, len(rows)))
    return bytes(sink.getvalue())


def _row(sample: Sample) -> dict[str, Any]:
    """`to_json` without its deep copies, which cost more than all the rest of the writing."""
    for message in sample.messages:
        assert message.keys() == {"role", "content"}, "a shard would drop other keys of a message"
    row = {name: getattr(sample, name) for name in SCHEMA.names}
    return row | {"usage": _struct(sample.usage), "origin": _struct(sample.origin)}


def _struct(record: Record) -> dict[str, Any]:
    return {field.name: getattr(record, field.name) for field in fields(record)}


def _not_text(rows: list[Sample]) -> str:
    for row in rows:
        try:
            json.dumps(row.to_json(), ensure_ascii=False).encode()
        except UnicodeEncodeError:
            return f"request {row.request_hash[:12]}"
    return "unknown request"


def _manifest(entries: list[dict[str, Any]]) -> dict[str, Any]:
    body = {"format": FORMAT, "rows": sum(entry["rows"] for entry in entries), "shards": entries}
    return {**body, "sha256": content_hash(FORMAT, body)}


def entries(directory: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """The manifest's shards. Raises CorruptData when it is missing, damaged or edited."""
    path = directory / MANIFEST
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        entries = value["shards"]
        whole = _manifest(entries) == value
    except FileNotFoundError:
        raise CorruptData(f"no manifest: {path}", hint=CURE) from None
    except (OSError, ValueError, KeyError, TypeError):
        raise CorruptData(f"damaged manifest: {path}", hint=CURE) from None
    if not whole:
        raise CorruptData(f"edited or foreign manifest: {path}", hint=CURE)
    for entry in entries:
        yield directory / entry["file"], entry


def load(path: Path, entry: Mapping[str, Any]) -> Any:
    """One shard as a pyarrow table, after its bytes proved right."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise CorruptData(f"missing shard: {path}", hint=CURE) from None
    except OSError as error:
        raise CorruptData(f"unreadable shard: {path}: {error.strerror}", hint=CURE) from None
    if len(data) != entry["bytes"]:
        raise CorruptData(f"shard of {len(data)} bytes instead of {entry['bytes']}: {path}", hint=CURE)
    if hashlib.sha256(data).hexdigest() != entry["sha256"]:
        raise CorruptData(f"shard does not match its checksum: {path}", hint=CURE)
    return pq.read_table(pa.BufferReader(data))


def _make(directory: Path) -> None:
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SpiritSafeError(
            f"cannot make the folder {directory}: {error.strerror}",
            hint="choose another --out, or free some space",
        ) from None


def _listed(directory: Path) -> set[Path]:
    """The shards of a whole manifest; none when it is missing or damaged."""
    try:
        return {path for path, _ in entries(directory)}
    except CorruptData:
        return set()


def _remove(paths: set[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)
    if paths:
        sync_directory(next(iter(paths)).parent)
