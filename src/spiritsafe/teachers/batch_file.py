"""Batches that the user runs: a file in OpenAI's batch format for `vllm run-batch`, and the file it writes.

FOLDER/batch-MARK.jsonl             written here
FOLDER/batch-MARK.answers.jsonl     expected there; appears whole, because the command given renames it
"""

from __future__ import annotations

import json
import shlex
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from typing import Any

from spiritsafe.errors import InputError
from spiritsafe.recipe import ModelAccess
from spiritsafe.records import Request, TeacherId
from spiritsafe.rundir import write_atomic
from spiritsafe.teachers.batch_openai import OpenAiLines
from spiritsafe.teachers.batchapi import BatchState, Limits, Result, Search


class FileBatches:
    """A folder through which requests go out and answers come in."""

    limits = Limits(
        requests=1_000_000,
        bytes=2_000_000_000,
        source="vllm run-batch reads the whole file into memory",
        checked="2026-11-22",
    )

    def __init__(self, folder: str, teacher: TeacherId, settings: ModelAccess) -> None:
        self.teacher = teacher
        self.folder = Path(folder)
        self.service = f"batch-file:{self.folder}"
        self._lines = OpenAiLines(teacher, settings)

    async def open(self) -> None:
        """Make the folder. Raises InputError when that fails."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"cannot make the folder {self.folder}: {error.strerror}") from None

    def line(self, key: str, request: Request) -> bytes:
        """See `BatchTeacher`."""
        return self._lines.line(key, request)

    async def prepare(self, lines: Sequence[bytes], mark: str) -> str:
        """Nothing: the file is written by `submit`."""
        return b"\n".join(lines).decode() + "\n"

    async def submit(self, prepared: str, mark: str) -> str:
        """Write the file, whole or not at all; its name is the batch's id."""
        write_atomic(self.folder / f"batch-{mark}.jsonl", prepared)
        return f"batch-{mark}"

    async def find(self, mark: str, keys: set[str], since: float, known: set[str]) -> Search:
        """The file, if it was written."""
        written = (self.folder / f"batch-{mark}.jsonl").exists()
        return Search(remote=f"batch-{mark}" if written else None, certain=True)

    async def state(self, remote: str) -> BatchState:
        """Ended as soon as the answers are there."""
        there = self._answers(remote).exists()
        return BatchState(status="answered" if there else "waiting", done=0, total=0, ended=there)

    async def results(self, remote: str) -> AsyncGenerator[Result, None]:
        """The lines of the answers. Raises InputError naming the first that is not JSON."""
        path = self._answers(remote)
        with open(path, "rb") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield self._lines.result(_parse(path, number, line))

    def todo(self, remote: str) -> str | None:
        """The command; renaming at the end keeps half a file from being taken for all of it."""
        source, target = self.folder / f"{remote}.jsonl", self._answers(remote)
        part = f"{target}.part"
        words = ["vllm", "run-batch", "-i", str(source), "-o", part, "--model", self.teacher.wire_name]
        return f"{shlex.join(words)} && {shlex.join(['mv', part, str(target)])}"

    async def close(self) -> None:
        """Nothing is open."""

    def _answers(self, remote: str) -> Path:
        return self.folder / f"{remote}.answers.jsonl"


def _parse(path: Path, number: int, line: bytes) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        raise InputError(
            f"{path}, line {number}: not valid JSON",
            hint="if the program was stopped while writing, delete the file and run it again",
        ) from None
