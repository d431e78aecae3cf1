"""OpenAI's batch API (upload a JSONL file, create a batch of it, poll, download), and OpenRouter's, which is
like it but takes and gives everything inline.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import Any

import aiohttp

from spiritsafe.recipe import ModelAccess
from spiritsafe.records import Failure, Request, TeacherId
from spiritsafe.teachers import wire
from spiritsafe.teachers.api import max_tokens_key
from spiritsafe.teachers.batch_search import find_by_results
from spiritsafe.teachers.batchapi import (
    SUBMIT_S,
    BatchState,
    HttpBatches,
    Limits,
    Result,
    Search,
)

MARK = "spiritsafe"
"""The key in a batch's metadata."""


class OpenAiBatches(HttpBatches):
    """OpenAI's batches, and those of providers with the same calls."""

    limits = Limits(
        requests=50_000,
        bytes=200_000_000,
        source="https://developers.openai.com/api/reference/resources/batches/methods/create",
        checked="2026-11-22",
    )
    ENDED = ("completed", "failed", "expired", "cancelled")

    def __init__(self, base_url: str, teacher: TeacherId, settings: ModelAccess) -> None:
        super().__init__(base_url, teacher, settings)
        self.lines_of = OpenAiLines(teacher, settings)

    def line(self, key: str, request: Request) -> bytes:
        """See `BatchTeacher`."""
        return self.lines_of.line(key, request)

    async def prepare(self, lines: Sequence[bytes], mark: str) -> str:
        """Upload the file; nothing is billed for it, and the provider deletes it after a month."""
        form = aiohttp.FormData()
        form.add_field("purpose", "batch")
        form.add_field(
            "file", b"\n".join(lines) + b"\n", filename=f"{mark}.jsonl", content_type="application/jsonl"
        )
        uploaded = await self.json("POST", "/files", data=form, timeout_s=SUBMIT_S)
        return str(uploaded["id"])

    async def submit(self, prepared: str, mark: str) -> str:
        """See `BatchTeacher`."""
        body = {
            "input_file_id": prepared,
            "endpoint": self.lines_of.url,
            "completion_window": "24h",
            "metadata": {MARK: mark},
        }
        return str((await self.json("POST", "/batches", json=body))["id"])

    async def find(self, mark: str, keys: set[str], since: float, known: set[str]) -> Search:
        """The batch whose metadata holds our mark."""
        async with aclosing(self.listed("after", since - 3600)) as rows:  # our clocks may differ
            async for row in rows:
                if (row.get("metadata") or {}).get(MARK) == mark:
                    return Search(remote=str(row["id"]))
        return Search()

    async def state(self, remote: str) -> BatchState:
        """See `BatchTeacher`."""
        return self.state_of(await self.json("GET", f"/batches/{remote}"))

    def state_of(self, row: Mapping[str, Any]) -> BatchState:
        """A batch object's state. One that has answers but not yet their file has not ended."""
        counts, status = row.get("request_counts") or {}, str(row.get("status"))
        done = counts.get("completed", 0) + counts.get("failed", 0)
        ended = status in self.ENDED and (not counts.get("completed") or self.has_results(row))
        errors = (row.get("errors") or {}).get("data") or []
        error = (errors[0].get("code") or "unknown") if errors else "unknown"
        return BatchState(
            status=status,
            done=done,
            total=counts.get("total", 0),
            ended=ended,
            error=error if status == "failed" else None,
        )

    def has_results(self, row: Mapping[str, Any]) -> bool:
        """True when a batch object says where its answers are."""
        return bool(row.get("output_file_id"))

    async def results(self, remote: str) -> AsyncGenerator[Result, None]:
        """Output file and error file of a batch: the latter holds failed, expired and cancelled requests."""
        row = await self.json("GET", f"/batches/{remote}")
        for name in ("output_file_id", "error_file_id"):
            if row.get(name):
                async with aclosing(self.lines(f"/files/{row[name]}/content")) as lines:
                    async for line in lines:
                        yield self.lines_of.result(line)


class OpenRouterBatches(OpenAiBatches):
    """OpenRouter's: requests inline, results inline, no metadata."""

    limits = Limits(
        requests=5_000,
        bytes=200_000_000,
        source="https://openrouter.ai/docs/guides/features/batch-api",
        checked="2026-11-22",
    )

    def line(self, key: str, request: Request) -> bytes:
        """See `BatchTeacher`."""
        return self.lines_of.inline(key, request)

    async def prepare(self, lines: Sequence[bytes], mark: str) -> str:
        """The body of the submission. Its order matters: endpoint and model before the requests."""
        head = json.dumps({"endpoint": self.lines_of.url, "model": self.teacher.wire_name})
        return head[:-1] + ', "requests": [' + b",".join(lines).decode() + "]}"

    async def submit(self, prepared: str, mark: str) -> str:
        """See `BatchTeacher`."""
        body, headers = prepared.encode(), {"Content-Type": "application/json"}
        row = await self.json("POST", "/batches", data=body, headers=headers, timeout_s=SUBMIT_S)
        return str(row["id"])

    async def find(self, mark: str, keys: set[str], since: float, known: set[str]) -> Search:
        """See `find_by_results`."""
        return await find_by_results(self, "after", keys, since, known)

    def has_results(self, row: Mapping[str, Any]) -> bool:
        """See `OpenAiBatches`; the list leaves results out, so this is asked of single batches."""
        return True

    async def results(self, remote: str) -> AsyncGenerator[Result, None]:
        """Results as they stand in the batch."""
        row = await self.json("GET", f"/batches/{remote}", timeout_s=SUBMIT_S)
        for line in row.get("results") or []:
            yield self.lines_of.result(line)


class OpenAiLines:
    """Requests and results in OpenAI's batch format, which vLLM reads and writes as well."""

    def __init__(self, teacher: TeacherId, settings: ModelAccess) -> None:
        self.teacher = teacher
        self.chat = settings.endpoint == "chat"
        self.url = "/v1/chat/completions" if self.chat else "/v1/completions"
        self.max_tokens = max_tokens_key(teacher.host)

    def line(self, key: str, request: Request) -> bytes:
        """A line of the input file; custom_id is the request's hash: 64 characters, the most allowed."""
        head = json.dumps({"custom_id": key, "method": "POST", "url": self.url})
        return head[:-1].encode() + b', "body": ' + self._body(key, request) + b"}"

    def inline(self, key: str, request: Request) -> bytes:
        """The same for a body that holds all requests."""
        return json.dumps({"custom_id": key})[:-1].encode() + b', "body": ' + self._body(key, request) + b"}"

    def result(self, row: Any) -> Result:
        """A line of the output or error file. What the provider could not run is not billed."""
        if not isinstance(row, dict):
            return "", wire.MALFORMED
        key, response, error = str(row.get("custom_id")), row.get("response"), row.get("error")
        if error or not isinstance(response, dict):
            return key, failure_of(error)
        status = response.get("status_code", 200)
        if not isinstance(status, int) or status < 200:
            return key, Failure(reason=f"batch_status_{status}"[:40], retryable=True, maybe_billed=True)
        if status != 200:
            return key, wire.http_failure(status, None, 0.0)
        # OpenRouter may give the body without the envelope.
        body = response.get("body", response)
        return key, wire.reply_of(body, chat=self.chat, latency_s=0.0)

    def _body(self, key: str, request: Request) -> bytes:
        return wire.payload(request, key, self.teacher.wire_name, chat=self.chat, max_tokens=self.max_tokens)


def failure_of(error: Any) -> Failure:
    """A request that the provider gave up: expired, cancelled or in error. None of them is billed."""
    code = error.get("code") if isinstance(error, dict) else None
    reason = str(code or "failed")[:40]
    return Failure(
        reason=reason if reason.startswith("batch_") else f"batch_{reason}",
        retryable=True,
        maybe_billed=False,
    )
