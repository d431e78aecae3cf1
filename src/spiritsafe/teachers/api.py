"""Any OpenAI-compatible server as a teacher: chat or completions over aiohttp.

One attempt per call; what went wrong comes back as a `Failure`. The path of one request is kept short (one
JSON dump, one JSON parse, no schema library), because a fast local server answers thousands per second.
"""

from __future__ import annotations

import asyncio
import difflib
import json
import os
import re
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

import aiohttp

from spiritsafe.costs.prices import is_loopback
from spiritsafe.errors import TeacherError, UsageError
from spiritsafe.recipe import ModelAccess
from spiritsafe.records import Outcome, Request, TeacherId
from spiritsafe.teachers import wire

OPEN_TIMEOUT_S = 15.0
"""Patience with GET /models, where a server that is up answers at once."""


class ApiSampler:
    """A served model.

    Raises UsageError when the server is not this machine and the variable `settings.api_key_env` is not set.
    """

    batch_size = 1

    def __init__(self, base_url: str, teacher: TeacherId, settings: ModelAccess) -> None:
        self.teacher = teacher
        self.max_concurrency = settings.max_concurrency
        self.hinted_identity: str | None = None
        """What the server says the model is (vLLM: `root` in /models); known after `open`."""
        self._base = base_url.rstrip("/")
        self._env, self._section = settings.api_key_env, settings.section
        self._headers = {"Content-Type": "application/json", **authorization(settings, teacher.host)}
        self._deadline_s = settings.deadline_s
        self._chat = settings.endpoint == "chat"
        self._url = f"{self._base}/chat/completions" if self._chat else f"{self._base}/completions"
        self._max_tokens = max_tokens_key(teacher.host)
        self._session: aiohttp.ClientSession | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def open(self) -> None:
        """Check server, key and model name with GET /models; a server without /models is taken as it is.

        Raises TeacherError naming what is wrong. Safe to call again.
        """
        if self._session is not None and self._loop is asyncio.get_running_loop():
            return
        await self.close()
        self._loop = asyncio.get_running_loop()
        self._session = self._new_session()
        try:
            await self._check_models(self._session)
        except BaseException:
            await self.close()
            raise

    async def sample(self, requests: Sequence[Request]) -> list[Outcome]:
        """One attempt for each request, at the same time; see `Sampler`."""
        if self._session is None:
            await self.open()
        if len(requests) == 1:
            return [await self._attempt(requests[0])]
        return list(await asyncio.gather(*map(self._attempt, requests)))

    async def close(self) -> None:
        """Close the connections. Safe to call twice."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def __aenter__(self) -> ApiSampler:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def _new_session(self) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=self.max_concurrency, keepalive_timeout=20),
            timeout=aiohttp.ClientTimeout(total=None),
            headers=self._headers,
            # A proxy meant for the internet must not swallow requests to this machine.
            trust_env=not is_loopback(self.teacher.host),
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    async def _attempt(self, request: Request) -> Outcome:
        key = request.request_hash
        body = wire.payload(
            request, key, self.teacher.wire_name, chat=self._chat, max_tokens=self._max_tokens
        )
        start = time.perf_counter()
        assert self._session is not None
        try:
            async with (
                asyncio.timeout(self._deadline_s),  # 5 us; aiohttp's own takes 25
                self._session.post(self._url, data=body, headers={"Idempotency-Key": key}) as response,
            ):
                if response.status != 200:
                    return wire.http_failure(
                        response.status, response.headers.get("Retry-After"), time.time()
                    )
                data = await response.read()
        except TimeoutError:
            return wire.TIMEOUT
        except aiohttp.ClientPayloadError:
            return wire.TRUNCATED
        except aiohttp.ClientConnectorError:
            return wire.UNREACHABLE
        except (aiohttp.ClientError, OSError):
            return wire.DISCONNECTED
        return wire.parse_reply(data, chat=self._chat, latency_s=time.perf_counter() - start)

    async def _check_models(self, session: aiohttp.ClientSession) -> None:
        status, data = await self._get_models(session)
        if status in (401, 403):
            raise TeacherError(
                f"the server refuses the key: {self._base} answers HTTP {status}",
                hint=f"check the environment variable {self._env}",
            )
        if status in (502, 503, 504):
            raise TeacherError(
                f"the server is not ready: {self._base} answers HTTP {status}",
                hint="wait until it has loaded",
            )
        if status == 200:
            self._check_name(_listed(data, self._base))

    async def _get_models(self, session: aiohttp.ClientSession) -> tuple[int, bytes]:
        timeout = aiohttp.ClientTimeout(total=min(OPEN_TIMEOUT_S, self._deadline_s))
        try:
            async with session.get(f"{self._base}/models", timeout=timeout) as response:
                return response.status, await response.read()
        except (aiohttp.ClientError, OSError) as error:  # TimeoutError is an OSError
            raise TeacherError(
                f"cannot reach the {self._section} at {self._base}: {_why(error)}",
                hint="is the server running, and are host and port right?",
            ) from None

    def _check_name(self, listed: dict[str, str | None]) -> None:
        name = self.teacher.wire_name
        if name in listed:
            root = listed[name]
            self.hinted_identity = root if root and root != name and not root.startswith("/") else None
        elif listed and not _is_path(name):  # transformers serve loads folders that it does not list
            near = difflib.get_close_matches(name, listed, n=1, cutoff=0.4)
            meant = f", did you mean {near[0]!r}?" if near else ""
            shown = ", ".join(sorted(listed)[:10]) + (", ..." if len(listed) > 10 else "")
            raise TeacherError(
                f"{self._base} does not serve the model {name!r}{meant}", hint=f"it serves: {shown}"
            )


def max_tokens_key(host: str) -> str:
    """What a server calls the cap on generated tokens."""
    return "max_completion_tokens" if host.startswith("api.openai.com:") else "max_tokens"


def authorization(settings: ModelAccess, host: str) -> dict[str, str]:
    """The header with the key that `settings` name; none where this machine asks for none.

    Raises UsageError where `host` needs a key and there is none, or it cannot be one.
    """
    env = settings.api_key_env
    key = os.environ.get(env, "").strip()
    if not key and is_loopback(host):
        return {}
    if not key:
        raise UsageError(
            f"the environment variable {env} is not set: {host} needs a key",
            hint=f"export {env}=... or name another variable in {settings.section}.api_key_env",
        )
    if not re.fullmatch(r"[\x21-\x7e]+", key):
        raise UsageError(
            f"the environment variable {env} does not hold a key: it has spaces or unusual characters",
            hint="paste the key again",
        )
    return {"Authorization": f"Bearer {key}"}


def _listed(data: bytes, base: str) -> dict[str, str | None]:
    """Model names with their `root`, as /models lists them."""
    try:
        rows = json.loads(data)["data"]
        return {str(row["id"]): row.get("root") for row in rows}
    except (ValueError, KeyError, TypeError, AttributeError):
        raise TeacherError(
            f"no OpenAI-compatible server at {base}: /models is not a list of models",
            hint="the URL usually ends in /v1",
        ) from None


def _is_path(name: str) -> bool:
    return name.startswith(("/", "./", "../", "~")) or Path(name).is_dir()


def _why(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    cause = getattr(error, "os_error", None) or error
    return getattr(cause, "strerror", None) or type(cause).__name__
