"""Batch APIs: a provider takes thousands of requests at once and answers within a day, for half the price.

`BatchTeacher` is what `collect` drives; the rest of this file is what the providers have in common.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import aiohttp

from spiritsafe.costs.prices import is_loopback
from spiritsafe.errors import TeacherError
from spiritsafe.recipe import ModelAccess
from spiritsafe.records import Outcome, Record, Request, TeacherId
from spiritsafe.teachers.api import authorization

TIMEOUT_S = 60.0
"""Patience with small calls."""
SUBMIT_S = 900.0
"""Patience with an upload or a submission: hundreds of megabytes. No submission is under way any longer."""
PASSING = {408, 409, 425, 429}

Result = tuple[str, Outcome]


class Unanswered(TeacherError):
    """No usable answer this time; whether a submission arrived is not known."""


class NotThere(TeacherError):
    """HTTP 404."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits(Record):
    """How much one batch may hold."""

    requests: int
    bytes: int
    source: str
    checked: str
    """ISO date on which the source, or a stored copy of it, was read."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchState(Record):
    """How far a batch is."""

    status: str
    """The provider's word."""
    done: int
    total: int
    ended: bool
    """Its results, whole or partial, are all there."""
    error: str | None = None
    """Why the whole batch was turned down, as the provider's code."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Search(Record):
    """What the provider's list says about a submission whose answer was lost."""

    remote: str | None = None
    undecided: bool = False
    """It may be one that shows what it is only when it has ended."""
    certain: bool = False
    """Nothing can be on its way any more: there is no need to look again."""


class BatchTeacher(Protocol):
    """A teacher that is asked by the batch."""

    teacher: TeacherId
    service: str
    """Who runs the batches: only the same service can find them again."""
    limits: Limits

    async def open(self) -> None:
        """Check that there is a batch API behind the address; raises TeacherError."""

    def line(self, key: str, request: Request) -> bytes:
        """One request as it is submitted. Raises UsageError for what the service cannot do."""

    async def prepare(self, lines: Sequence[bytes], mark: str) -> str:
        """Whatever can be done before anything may be billed; what it returns goes to `submit`."""

    async def submit(self, prepared: str, mark: str) -> str:
        """Start the batch; its id. Raises Unanswered when it may or may not have been accepted."""

    async def find(self, mark: str, keys: set[str], since: float, known: set[str]) -> Search:
        """Look for a submission made after `since` (seconds since the epoch) among batches not in `known`."""

    async def state(self, remote: str) -> BatchState:
        """How far it is."""

    def results(self, remote: str) -> AsyncGenerator[Result, None]:
        """(request hash, outcome) of an ended batch, in any order."""

    def todo(self, remote: str) -> str | None:
        """What the user has to do before it can end; None where a provider works by itself."""

    async def close(self) -> None:
        """Release connections. Safe to call twice."""


class HttpBatches:
    """One provider over aiohttp."""

    limits: Limits

    def __init__(self, base_url: str, teacher: TeacherId, settings: ModelAccess) -> None:
        self.teacher = teacher
        self.base = base_url.rstrip("/")
        self.service = self.base
        self.env = settings.api_key_env
        self.headers = self.authorize(settings, teacher.host)
        self._session: aiohttp.ClientSession | None = None

    def authorize(self, settings: ModelAccess, host: str) -> dict[str, str]:
        """Headers that carry the key. Raises UsageError when the variable is not set."""
        return authorization(settings, host)

    async def open(self) -> None:
        """See `BatchTeacher`: the list of batches is asked for, which shows address and key."""
        try:
            await self.json("GET", self.list_path, params={"limit": "1"})
        except NotThere:
            raise TeacherError(
                f"{self.teacher.host} has no batch API: GET {self.base}{self.list_path} answers HTTP 404",
                hint="set collect.mode: live, or run a file yourself: teacher.model: batch-file:FOLDER#MODEL",
            ) from None

    list_path: ClassVar[str] = "/batches"

    def todo(self, remote: str) -> str | None:
        """See `BatchTeacher`."""
        return None

    async def close(self) -> None:
        """See `BatchTeacher`."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def json(self, method: str, path: str, *, timeout_s: float = TIMEOUT_S, **options: Any) -> Any:
        """The JSON answer of one call. Raises Unanswered for what may pass, TeacherError for the rest."""
        try:
            options["timeout"] = aiohttp.ClientTimeout(total=timeout_s)
            async with self._call(method, path, **options) as response:
                await self._check(response)
                return json.loads(await response.read())
        except (TimeoutError, aiohttp.ClientError, OSError, ValueError) as error:
            raise Unanswered(f"no answer from {self.base}{path}: {type(error).__name__}") from None

    async def lines(self, path: str) -> AsyncGenerator[Any, None]:
        """The rows of a JSONL answer as they arrive. Raises Unanswered when it breaks off."""
        rest = b""
        try:
            async with self._call("GET", path) as response:
                await self._check(response)
                async for chunk in response.content.iter_any():
                    *whole, rest = (rest + chunk).split(b"\n")
                    for line in whole:
                        if line.strip():
                            yield json.loads(line)
            if rest.strip():
                yield json.loads(rest)
        except (TimeoutError, aiohttp.ClientError, OSError, ValueError) as error:
            raise Unanswered(f"no answer from {self.base}{path}: {type(error).__name__}") from None

    async def listed(self, cursor: str, since: float) -> AsyncGenerator[Mapping[str, Any], None]:
        """Batches from the newest on, until one page is older than `since`."""
        params = {"limit": "100"}
        while True:
            page = await self.json("GET", self.list_path, params=params)
            rows = page.get("data") or []
            for row in rows:
                yield row
            if not page.get("has_more") or not rows or self.created(rows[-1]) < since:
                return
            params[cursor] = rows[-1]["id"]

    def created(self, row: Mapping[str, Any]) -> float:
        """Seconds since the epoch at which a listed batch was created."""
        return float(row.get("created_at") or 0.0)

    def _call(self, method: str, path: str, **options: Any) -> Any:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                headers=self.headers,
                timeout=aiohttp.ClientTimeout(total=None, sock_read=TIMEOUT_S * 2),
                trust_env=not is_loopback(self.teacher.host),
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return self._session.request(method, self.base + path, **options)

    async def _check(self, response: aiohttp.ClientResponse) -> None:
        status = response.status
        if status < 300:
            return
        if status in (401, 403):
            raise TeacherError(
                f"the server refuses the key: {self.base} answers HTTP {status}",
                hint=f"check the environment variable {self.env}",
            )
        if status >= 500 or status in PASSING:
            raise Unanswered(f"{self.base} answers HTTP {status}")
        if status == 404:
            raise NotThere(
                f"{response.url} answers HTTP 404", hint="was it another account that submitted the batch?"
            )
        raise TeacherError(f"{response.url} answers HTTP {status}: {await _code(response)}")


async def _code(response: aiohttp.ClientResponse) -> str:
    """The error's code or type; its text may repeat a prompt."""
    try:
        error = json.loads(await response.read())["error"]
        return str(error.get("code") or error.get("type"))[:60]
    except (ValueError, KeyError, TypeError, AttributeError, aiohttp.ClientError):
        return "no reason given"
