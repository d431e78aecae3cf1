"""The run directory: the only class that knows where a run's files are.

    recipe.json        the resolved recipe            environment.json  versions, hardware, seeds, revision
    stages/NAME.json   key and output hashes          metrics.jsonl     one JSON object per measurement
    spans.jsonl        name, start, seconds           ledger.sqlite     requests and spend
    prompts/ samples/ judged/ selected/ students/ evaluation/ report.html result.json

Files appear whole or not at all: written under a temporary name, fsynced, renamed. A stage is done when
its record carries the same key (recipe part + upstream outputs) and every output still has its hash.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from spiritsafe.errors import CorruptData, SpiritSafeError, UsageError
from spiritsafe.records import canonical_json

FREE_SPACE = "free some space and run the same command again"


def write_atomic(path: Path, data: bytes | str) -> None:
    """Write a file so that a crash leaves the old content or the new, never a part.

    Raises SpiritSafeError when the disk is full; the old file is untouched.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "wb") as file:
            file.write(data.encode() if isinstance(data, str) else data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        sync_directory(path.parent)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise SpiritSafeError(f"cannot write {path}: {error.strerror}", hint=FREE_SPACE) from None


def sync_directory(path: Path) -> None:
    """Make renames in a directory durable."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def file_sha256(path: Path) -> str:
    """Hex SHA-256 of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def dump_json(value: object) -> str:
    """Readable JSON; NaN and infinity are an error rather than invalid JSON."""
    return json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _drop_torn_line(file: BinaryIO) -> None:
    """Cut off what a crash or a full disk left of a line, so that the next one stands on its own."""
    end = file.seek(0, os.SEEK_END)
    if end == 0:
        return
    file.seek(end - 1)
    if file.read(1) != b"\n":
        file.seek(0)
        file.truncate(file.read().rfind(b"\n") + 1)


class RunDir:
    """Typed access to one run's directory."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(
                f"cannot make the run directory {path}: {error.strerror}", hint="name another one with --out"
            ) from None

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other runs out; the kernel drops the lock when the process ends, however it ends.

        Raises SpiritSafeError when another process works in this directory.
        """
        try:
            handle = os.open(self.path / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise SpiritSafeError(f"cannot write in {self.path}: {error.strerror}") from None
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
        except BlockingIOError:
            raise SpiritSafeError(
                f"another run is at work in {self.path}", hint="wait for it, or name another --out"
            ) from None
        finally:
            os.close(handle)

    def file(self, *parts: str) -> Path:
        """A path inside the run; its parent exists afterwards."""
        path = self.path.joinpath(*parts)
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    @property
    def ledger(self) -> Path:
        return self.path / "ledger.sqlite"

    def write_json(self, name: str, value: object) -> Path:
        """Write `name` (relative) as JSON, atomically."""
        path = self.file(name)
        write_atomic(path, dump_json(value))
        return path

    def read_json(self, name: str) -> Any:
        """Read a JSON file of this run; raises CorruptData when it is damaged."""
        path = self.path / name
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except (ValueError, UnicodeDecodeError):
            raise CorruptData(
                f"damaged file: {path}", hint="delete it and run again; it is made anew"
            ) from None

    def write_lines(self, name: str, rows: Iterable[Mapping[str, Any]]) -> Path:
        """Write JSON lines, atomically."""
        path = self.file(name)
        write_atomic(path, "".join(canonical_json(row) + "\n" for row in rows))
        return path

    def read_lines(self, name: str) -> list[dict[str, Any]]:
        """Read JSON lines; an unfinished last line (a crash while appending) is left out."""
        path = self.path / name
        if not path.exists():
            return []
        try:
            lines = path.read_text(encoding="utf-8").split("\n")
            return [json.loads(line) for line in lines[:-1] if line]
        except ValueError:
            raise CorruptData(
                f"damaged file: {path}", hint="delete it and run again; it is made anew"
            ) from None

    def log(self, **values: object) -> None:
        """Append one measurement to metrics.jsonl."""
        self._append("metrics.jsonl", values)

    @contextlib.contextmanager
    def span(self, name: str) -> Iterator[None]:
        """Time a stage: wall seconds, kept also when it fails."""
        start, started_at = time.perf_counter(), time.time()
        try:
            yield
        finally:
            seconds = time.perf_counter() - start
            self._append(
                "spans.jsonl", {"name": name, "started_at": started_at, "seconds": round(seconds, 3)}
            )

    def is_done(self, stage: str, key: str) -> bool:
        """True when the stage ran with this key and its outputs are unchanged."""
        record = self.path / "stages" / f"{stage}.json"
        if not record.exists():
            return False
        value = self.read_json(f"stages/{stage}.json")
        return value["key"] == key and all(
            (self.path / name).is_file() and file_sha256(self.path / name) == digest
            for name, digest in value["outputs"].items()
        )

    def outputs(self, stage: str) -> dict[str, str]:
        """Hash of every output of a stage that was run, by path."""
        outputs: dict[str, str] = self.read_json(f"stages/{stage}.json")["outputs"]
        return outputs

    def mark_done(self, stage: str, key: str, outputs: Iterable[Path]) -> None:
        """Record that a stage is complete, with the hash of every output."""
        hashes = {str(path.relative_to(self.path)): file_sha256(path) for path in sorted(outputs)}
        self.write_json(f"stages/{stage}.json", {"key": key, "outputs": hashes})

    def _append(self, name: str, values: Mapping[str, object]) -> None:
        # One write of one whole line: lines of different processes do not interleave.
        try:
            with open(self.file(name), "ab+") as file:
                _drop_torn_line(file)
                file.write((canonical_json(values) + "\n").encode())
        except OSError as error:
            raise SpiritSafeError(
                f"cannot write {self.path / name}: {error.strerror}", hint=FREE_SPACE
            ) from None
