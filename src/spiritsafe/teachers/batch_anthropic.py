"""Anthropic's Message Batches (platform.claude.com/docs/en/build-with-claude/batch-processing)."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from datetime import datetime
from typing import Any

from spiritsafe.errors import UsageError
from spiritsafe.recipe import ModelAccess
from spiritsafe.records import Failure, Outcome, Reply, Request, TeacherId, Usage
from spiritsafe.teachers import wire
from spiritsafe.teachers.api import authorization
from spiritsafe.teachers.batch_search import find_by_results
from spiritsafe.teachers.batchapi import (
    SUBMIT_S,
    BatchState,
    HttpBatches,
    Limits,
    Result,
    Search,
)

VERSION = "2023-06-01"
STOP = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "refusal": "content_filter",
}
"""stop_reason in the words that the other servers use; select and evaluate read those."""
FINAL = ("invalid_request_error", "not_found_error", "permission_error", "request_too_large")


class AnthropicBatches(HttpBatches):
    """Claude by the batch."""

    limits = Limits(
        requests=100_000,
        bytes=256_000_000,
        source="https://platform.claude.com/docs/en/build-with-claude/batch-processing",
        checked="2026-11-22",
    )
    list_path = "/messages/batches"

    def authorize(self, settings: ModelAccess, host: str) -> dict[str, str]:
        """The key in Anthropic's own header."""
        key = authorization(settings, host).get("Authorization", "").removeprefix("Bearer ")
        return {"anthropic-version": VERSION} | ({"x-api-key": key} if key else {})

    def line(self, key: str, request: Request) -> bytes:
        """See `BatchTeacher`; custom_id is the request's hash, whose 64 characters are the most allowed."""
        sampling = request.sampling
        if sampling.top_logprobs:
            raise _refuse(self.teacher, "gives no log-probabilities", "set collect.top_logprobs: 0")
        if sampling.temperature > 1:
            raise _refuse(
                self.teacher,
                f"takes temperatures up to 1, got {sampling.temperature}",
                "set collect.temperature to 1 or less",
            )
        if sampling.top_p < 1 and sampling.temperature < 1:
            raise _refuse(
                self.teacher, "takes temperature or top_p, not both", "set one of them to 1 (collect)"
            )
        return json.dumps({"custom_id": key, "params": self._params(request)}).encode()

    def _params(self, request: Request) -> dict[str, Any]:
        sampling = request.sampling
        system = [m["content"] for m in request.messages if m["role"] in ("system", "developer")]
        params: dict[str, Any] = {
            "model": self.teacher.wire_name,
            "max_tokens": sampling.max_tokens,
            "messages": [m for m in request.messages if m["role"] not in ("system", "developer")],
        }
        # Newer models refuse the parameters themselves; 1 is the default of both.
        if sampling.temperature != 1:
            params["temperature"] = sampling.temperature
        if sampling.top_p != 1:
            params["top_p"] = sampling.top_p
        if system:
            params["system"] = "\n\n".join(system)
        if sampling.stop:
            params["stop_sequences"] = list(sampling.stop)
        return params

    async def prepare(self, lines: Sequence[bytes], mark: str) -> str:
        """The body of the submission: there is nothing to upload before."""
        return '{"requests": [' + b",".join(lines).decode() + "]}"

    async def submit(self, prepared: str, mark: str) -> str:
        """See `BatchTeacher`."""
        body, headers = prepared.encode(), {"Content-Type": "application/json"}
        row = await self.json("POST", self.list_path, data=body, headers=headers, timeout_s=SUBMIT_S)
        return str(row["id"])

    async def find(self, mark: str, keys: set[str], since: float, known: set[str]) -> Search:
        """See `find_by_results`: these batches carry no metadata."""
        return await find_by_results(self, "after_id", keys, since, known)

    async def state(self, remote: str) -> BatchState:
        """See `BatchTeacher`."""
        return self.state_of(await self.json("GET", f"{self.list_path}/{remote}"))

    def state_of(self, row: Mapping[str, Any]) -> BatchState:
        """A batch object's state."""
        counts = {name: int(count) for name, count in (row.get("request_counts") or {}).items()}
        total, status = sum(counts.values()), str(row.get("processing_status"))
        return BatchState(
            status=status, done=total - counts.get("processing", 0), total=total, ended=status == "ended"
        )

    def created(self, row: Mapping[str, Any]) -> float:
        """From RFC 3339."""
        return datetime.fromisoformat(str(row["created_at"])).timestamp()

    async def results(self, remote: str) -> AsyncGenerator[Result, None]:
        """See `BatchTeacher`."""
        async with aclosing(self.lines(f"{self.list_path}/{remote}/results")) as lines:
            async for line in lines:
                yield str(line.get("custom_id")), outcome_of(line.get("result") or {})


def outcome_of(result: Mapping[str, Any]) -> Outcome:
    """One result: succeeded, errored, canceled or expired; only the first is billed."""
    kind = result.get("type")
    if kind == "succeeded":
        return reply_of(result.get("message"))
    if kind != "errored":
        return Failure(reason=f"batch_{kind or 'missing'}", retryable=True, maybe_billed=False)
    error = result.get("error") or {}
    code = str((error.get("error") or error).get("type") or "errored")[:40]
    return Failure(reason=f"batch_{code}", retryable=code not in FINAL, maybe_billed=False)


def reply_of(message: Any) -> Outcome:
    """A Message as a Reply: thinking is reasoning, text blocks are joined."""
    try:
        blocks, usage = message["content"], message.get("usage") or {}
        thinking = "".join(b["thinking"] for b in blocks if b.get("type") == "thinking")
        cached = wire.count_of(usage.get("cache_read_input_tokens"))
        written = wire.count_of(usage.get("cache_creation_input_tokens"))
        return Reply(
            text=wire.text_of("".join(b["text"] for b in blocks if b.get("type") == "text")),
            reasoning=wire.text_of(thinking) if thinking else None,
            finish_reason=STOP.get(message.get("stop_reason"), str(message.get("stop_reason") or "stop")),
            usage=Usage(
                input_tokens=wire.count_of(usage.get("input_tokens")) + cached + written,
                output_tokens=wire.count_of(usage.get("output_tokens")),
                cached_tokens=cached,
            ),
            model=message.get("model"),
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return wire.MALFORMED


def _refuse(teacher: TeacherId, what: str, hint: str) -> UsageError:
    """The error for what a service cannot do."""
    return UsageError(f"{teacher.host} {what}", hint=hint)
