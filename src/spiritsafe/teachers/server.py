"""The teacher's own server: a process that is started, watched, and gone when it has to be.

What it prints goes to logs/teacher-server.log in the run directory. `launch` says when it is wanted.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from urllib.parse import urlsplit

import aiohttp

from spiritsafe.errors import TeacherError, UsageError
from spiritsafe.recipe import Teacher
from spiritsafe.talk import Talk
from spiritsafe.teachers import keeper
from spiritsafe.teachers.api import authorization

GRACE_S = 15.0
"""Between SIGTERM and SIGKILL: vLLM and SGLang need some seconds to let go of the device."""
RESTARTS = 3
"""Times that a server which ends while it is asked is started again, over the whole command."""
SHOWN_LINES = 12
"""Last lines of the log in the message when a server ends before it is ready."""
LOOK_S = 0.25
ANSWER_S = 5.0
"""Patience with one look at /health."""


class TeacherServer:
    """A server for one teacher. Started by the first sampler that is opened, ended by `stop`.

    Not started where another program serves the wanted model at that address already: that one is used,
    and left running.
    """

    def __init__(
        self, settings: Teacher, command: list[str], address: tuple[str, int], log: Path, talk: Talk
    ) -> None:
        self.settings, self.command, self.address = settings, command, address
        self.log, self.talk = log, talk
        self._base, _, self._name = settings.model.partition("#")
        self._base = self._base.rstrip("/")
        self._process: subprocess.Popen[bytes] | None = None
        self._not_ours = False
        self._starts = 0

    def __enter__(self) -> TeacherServer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def is_up(self) -> bool:
        """True while the server's process runs, or another program listens in its place."""
        if self._process is not None:
            return self._process.poll() is None
        return self._not_ours and self._port_taken()

    async def start(self) -> None:
        """Make the model served: use what is there, else start the command and wait for its health.

        Raises TeacherError when the port is another program's, the command ends or takes too long, and
        when it has ended too often.
        """
        self._reap()
        if self._port_taken():
            await self._use_what_is_there()
            return
        self._count()
        self._begin()
        try:
            await self._until_healthy()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End the server and everything that it started; returns when they are gone. Safe to call again."""
        if self._process is not None:
            self._end()
            self.talk.note("the teacher's server is stopped")
        self._not_ours = False

    def _end(self) -> None:
        process, self._process = self._process, None
        assert process is not None and process.stdin is not None
        process.stdin.close()  # the keeper does the rest, also should we be killed here
        try:
            process.wait(timeout=GRACE_S + 5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _reap(self) -> None:
        """Note why a server that was up is not; its process is gone."""
        if self._process is not None:
            self.talk.note(f"the teacher's server ended ({self._status()}); starting it again")
            self._end()
        self._not_ours = False

    def _count(self) -> None:
        self._starts += 1
        if self._starts > 1 + RESTARTS:
            raise TeacherError(
                f"the teacher's server has ended {self._starts - 1} times while it was asked",
                hint=f"its log says why: {self.log}; if memory ran out, give the command less (vllm: "
                "--max-num-seqs, --gpu-memory-utilization) or lower teacher.max_concurrency",
            )

    def _begin(self) -> None:
        environment = {**os.environ, **self.settings.launch_env}
        program = shutil.which(self.command[0], path=environment.get("PATH"))
        if program is None:
            raise UsageError(
                f"no such program: {self.command[0]!r} (teacher.launch)",
                hint="install it, or give its full path: it may live in an environment of its own",
            )
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with open(self.log, "ab") as log:
            log.write(f"--- {time.strftime('%Y-%m-%d %H:%M:%S')} {shlex.join(self.command)}\n".encode())
            log.flush()
            self._process = subprocess.Popen(
                [sys.executable, "-I", keeper.__file__, str(GRACE_S), program, *self.command[1:]],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env=environment,
                start_new_session=True,  # Ctrl-C is ours to handle: requests in flight are settled first
            )
        self.talk.note(f"starting the teacher: {shlex.join(self.command)} (log: {self.log})")

    async def _until_healthy(self) -> None:
        began = time.monotonic()
        async with _session() as session:
            self._check_start(0.0)
            while not await self._is_healthy(session):
                await asyncio.sleep(LOOK_S)
                self._check_start(time.monotonic() - began)
        self.talk.note(f"the teacher is ready after {time.monotonic() - began:.0f} s")

    def _check_start(self, waited: float) -> None:
        """Show how far the start is; raises TeacherError when it has failed or takes too long."""
        limit = self.settings.launch_timeout_s
        if not self.is_up():
            shown = "\n".join(self._last_lines(SHOWN_LINES))
            raise TeacherError(
                f"the teacher's server ended before it was ready ({self._status()}):\n{shown}",
                hint=f"the whole log: {self.log}",
            )
        if waited > limit:
            raise TeacherError(
                f"the teacher's server was not ready after {limit:.0f} s (teacher.launch_timeout_s)",
                hint=f"its log says what it was doing: {self.log}",
            )
        last = "".join(self._last_lines(1))[:60]
        self.talk.progress("teacher starts", int(waited), max(int(limit), 1), f"s at most  {last}")

    def _status(self) -> str:
        assert self._process is not None
        status = self._process.poll()
        return f"exit status {status}" + (": killed, perhaps for memory" if status == 137 else "")

    async def _is_healthy(self, session: aiohttp.ClientSession) -> bool:
        """GET /health; where there is none, GET /models beside the requests' own address."""
        parts = urlsplit(self._base)
        status = await _status_of(session, f"{parts.scheme}://{parts.netloc}/health")
        if status == 404:
            status = await _status_of(session, f"{self._base}/models")
        return status is not None and (status < 300 or status in (401, 403))

    async def _use_what_is_there(self) -> None:
        port = self.address[1]
        names = await self._names()
        if names is not None and self._name in names:
            self._not_ours = True
            self.talk.note(f"port {port} already serves {self._name}: used as it is, nothing is started")
            return
        does = f"it serves {', '.join(names[:5])}" if names else "it does not list models"
        raise TeacherError(
            f"port {port} is in use by another program, which does not serve {self._name!r}: {does}",
            hint="stop that program, or take another port in teacher.model and in teacher.launch",
        )

    async def _names(self) -> list[str] | None:
        """The models that whatever listens there lists; None where it lists none."""
        key = authorization(self.settings, self.address[0])
        try:
            async with _session() as session, session.get(f"{self._base}/models", headers=key) as response:
                return [str(row["id"]) for row in json.loads(await response.read())["data"]]
        except (aiohttp.ClientError, OSError, ValueError, KeyError, TypeError):
            return None

    def _port_taken(self) -> bool:
        try:
            socket.create_connection(self.address, timeout=1).close()
        except OSError:
            return False
        return True

    def _last_lines(self, count: int) -> list[str]:
        """The end of the log, without what could move a terminal's cursor."""
        with open(self.log, "rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - 8192))
            text = log.read().decode(errors="replace")
        lines = [_plain(line) for line in re.split(r"[\r\n]+", text)]
        return [line for line in lines if line][-count:]


def _session() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=ANSWER_S))


async def _status_of(session: aiohttp.ClientSession, url: str) -> int | None:
    with contextlib.suppress(aiohttp.ClientError, OSError):  # TimeoutError is an OSError
        async with session.get(url) as response:
            return response.status
    return None


def _plain(line: str) -> str:
    return "".join(c for c in re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", line) if c.isprintable()).strip()
