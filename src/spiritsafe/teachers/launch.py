"""`teacher.launch`: the teacher's server as a process that lives while answers are drawn from it.

One device, two programs: it starts when the first request is to be sent, serves every stage that asks it, and
is gone before training begins. It may have an environment of its own (its program can be another virtual
environment's). What it prints goes to logs/teacher-server.log in the run directory.
"""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import Sequence
from pathlib import Path

from spiritsafe.costs.prices import host_name, is_loopback
from spiritsafe.errors import UsageError
from spiritsafe.recipe import Teacher
from spiritsafe.records import Failure, Outcome, Request
from spiritsafe.talk import Talk
from spiritsafe.teachers.api import ApiSampler
from spiritsafe.teachers.connect import teacher_id
from spiritsafe.teachers.server import TeacherServer

GONE = ("connection", "disconnected")
EXAMPLE = 'launch: "vllm serve A/B --port 8000" goes with model: http://127.0.0.1:8000/v1#A/B'


def teacher_server(settings: Teacher, log: Path, talk: Talk) -> TeacherServer | None:
    """The server that the recipe asks for, not started yet; None without teacher.launch.

    Raises UsageError for a teacher.model that is not served by this machine, and for a command that cannot
    be meant.
    """
    if settings.launch is None:
        return None
    teacher = teacher_id(settings.model, settings)
    if teacher.channel != "api" or not is_loopback(teacher.host):
        raise UsageError(
            f"teacher.launch needs a teacher.model on this machine, got {settings.model!r}", hint=EXAMPLE
        )
    command, port = _split(settings.launch), int(teacher.host.rpartition(":")[2])
    named = _option(command, "port")
    if named is not None and named != str(port):
        raise UsageError(
            f"teacher.launch serves port {named}, and teacher.model asks at port {port}", hint=EXAMPLE
        )
    if _option(command, "api-key") is not None:
        raise UsageError(
            "teacher.launch would write a key into the recipe", hint="export it: vllm reads VLLM_API_KEY"
        )
    return TeacherServer(settings, command, (host_name(teacher.host), port), log, talk)


class LaunchedSampler:
    """A served teacher whose server is started by `open`, and again when it ends while it is asked."""

    def __init__(self, api: ApiSampler, server: TeacherServer) -> None:
        self.api, self.server = api, server
        self.teacher, self.batch_size, self.max_concurrency = api.teacher, api.batch_size, api.max_concurrency
        self._starting = asyncio.Lock()
        self._in_doubt = True

    @property
    def hinted_identity(self) -> str | None:
        """What the server says the model is; see `ApiSampler`."""
        return self.api.hinted_identity

    async def open(self) -> None:
        """Start the server unless it is up; check that it serves the model."""
        await self._be_up()
        await self.api.open()

    async def sample(self, requests: Sequence[Request]) -> list[Outcome]:
        """One attempt for each request, see `Sampler`; raises TeacherError when the server ends too often."""
        if self._in_doubt:
            await self._be_up()
        outcomes = await self.api.sample(requests)
        self._in_doubt |= any(isinstance(o, Failure) and o.reason in GONE for o in outcomes)
        return outcomes

    async def close(self) -> None:
        """Close the connections; the server goes on for the next stage."""
        await self.api.close()

    async def _be_up(self) -> None:
        async with self._starting:
            if not self.server.is_up():
                await self.server.start()
            self._in_doubt = False


def _split(launch: str) -> list[str]:
    try:
        command = shlex.split(launch)
    except ValueError as error:
        raise UsageError(f"teacher.launch is not a command: {error}", hint=EXAMPLE) from None
    if not command:
        raise UsageError("teacher.launch is empty", hint=EXAMPLE)
    return command


def _option(command: list[str], name: str) -> str | None:
    """The value of --name, written with a space or with =, with - or _ inside."""
    forms = {f"--{name}", f"--{name.replace('-', '_')}"}
    for position, word in enumerate(command):
        option, equals, value = word.partition("=")
        if option in forms:
            return value if equals else "".join(command[position + 1 : position + 2])
    return None
