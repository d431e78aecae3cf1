"""Rows of the ledger as records, and back."""

from __future__ import annotations

import functools
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from spiritsafe.records import Message, Origin, Record, Reply, Request, Sample, Sampling, Usage

PICO = 10**12
"""Picodollars per US dollar."""

SUMMED = (
    *("attempts", "unknown_attempts"),
    *("input_tokens", "output_tokens", "reasoning_tokens", "cached_tokens"),
    *("spent_tokens", "spent_pico", "bound_tokens", "bound_pico", "unknown_tokens", "unknown_pico"),
)
"""Columns that `totals` adds up, in the order of its argument."""

NO_USAGE = Usage()


@dataclass(frozen=True, kw_only=True, slots=True)
class Totals(Record):
    """State and money of a ledger, or of the requests of one purpose."""

    planned: int = 0
    in_flight: int = 0
    unknown: int = 0
    settled: int = 0
    failed: int = 0
    rejected: int = 0
    """Settled answers that selection turned down."""
    attempts: int = 0
    unknown_attempts: int = 0
    """Attempts that may have been billed without an answer (crash, timeout, damaged reply)."""
    usage: Usage = NO_USAGE
    """As the server reported it, settled answers only."""
    spent_tokens: int = 0
    spent_usd: float = 0.0
    reserved_tokens: int = 0
    reserved_usd: float = 0.0
    """Upper bounds of the attempts in flight."""
    unknown_tokens: int = 0
    unknown_usd: float = 0.0
    """Upper bounds of the unknown attempts: they stay charged."""
    reasons: dict[str, int] = field(default_factory=dict)
    """Failed requests by their last reason."""

    @property
    def charged_tokens(self) -> int:
        """What counts against the token budget."""
        return self.spent_tokens + self.reserved_tokens + self.unknown_tokens

    @property
    def charged_usd(self) -> float:
        """What counts against the money budget."""
        return self.spent_usd + self.reserved_usd + self.unknown_usd


def dump(value: object) -> str:
    """JSON as stored; NaN and infinity are errors."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def request_json(request: Request) -> str:
    """As Request.to_json, without its deep copies: this runs once per request."""
    return dump(
        {
            "prompt_id": request.prompt_id,
            "messages": request.messages,
            "teacher": request.teacher,
            "sampling": _sampling(request.sampling),
            "index": request.index,
        }
    )


@functools.lru_cache(maxsize=64)
def _sampling(sampling: Sampling) -> dict[str, Any]:
    return sampling.to_json()


def reply_json(reply: Reply) -> dict[str, Any]:
    """As Reply.to_json, without its deep copies: this runs once per answer."""
    usage, top = reply.usage, reply.top_logprobs
    return {
        "text": reply.text,
        "reasoning": reply.reasoning,
        "finish_reason": reply.finish_reason,
        "usage": {
            "input_tokens": usage.input_tokens,
            "output_tokens": usage.output_tokens,
            "reasoning_tokens": usage.reasoning_tokens,
            "cached_tokens": usage.cached_tokens,
        },
        "model": reply.model,
        "fingerprint": reply.fingerprint,
        "top_logprobs": None if top is None else {"tokens": top.tokens, "logprobs": top.logprobs},
        "latency_s": reply.latency_s,
    }


def sample(
    key: str,
    prompt_id: str,
    request_json: str,
    channel: str,
    reply_json: str,
    spent_pico: int,
    accepted: int | None,
    reject_reason: str | None,
    settled_at: float,
) -> Sample:
    """One row of the query `SAMPLES`."""
    request, reply = json.loads(request_json), json.loads(reply_json)
    messages: list[Message] = request["messages"]
    return Sample(
        request_hash=key,
        prompt_id=prompt_id,
        messages=tuple(messages),
        text=reply["text"],
        reasoning=reply["reasoning"],
        finish_reason=reply["finish_reason"],
        index=request["index"],
        usage=Usage.from_json(reply["usage"]),
        cost_usd=spent_pico / PICO,
        origin=Origin(
            teacher=request["teacher"],
            channel=channel,
            fingerprint=reply["fingerprint"],
            date=datetime.fromtimestamp(settled_at, UTC).date().isoformat(),
        ),
        accepted=None if accepted is None else bool(accepted),
        reject_reason=reject_reason,
    )


def totals(states: dict[str, int], sums: Sequence[int], reasons: dict[str, int]) -> Totals:
    """Totals from requests per state, sums of `SUMMED`, and failed requests per reason."""
    n = dict(zip(SUMMED, sums, strict=True))
    return Totals(
        **states,
        attempts=n["attempts"],
        unknown_attempts=n["unknown_attempts"],
        usage=Usage(**{name: n[name] for name in SUMMED[2:6]}),
        spent_tokens=n["spent_tokens"],
        spent_usd=n["spent_pico"] / PICO,
        reserved_tokens=n["bound_tokens"],
        reserved_usd=n["bound_pico"] / PICO,
        unknown_tokens=n["unknown_tokens"],
        unknown_usd=n["unknown_pico"] / PICO,
        reasons=reasons,
    )
