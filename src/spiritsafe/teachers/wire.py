"""The OpenAI-compatible wire: requests to bytes, answers to records. Pure functions, no network."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any

from spiritsafe.records import Failure, Message, Outcome, Reply, Request, TopK, Usage
from spiritsafe.thinking import split

TIMEOUT = Failure(reason="timeout", retryable=True, maybe_billed=True)
TRUNCATED = Failure(reason="truncated", retryable=True, maybe_billed=True)
MALFORMED = Failure(reason="malformed_json", retryable=True, maybe_billed=True)
EMPTY = Failure(reason="empty_choices", retryable=True, maybe_billed=True)
UNREACHABLE = Failure(reason="connection", retryable=True, maybe_billed=False)
"""No connection was made, so nothing was sent."""
DISCONNECTED = Failure(reason="disconnected", retryable=True, maybe_billed=True)
"""The connection broke after it was made: the server may have seen the request."""

RETRYABLE_4XX = {408, 409, 425, 429}
MAX_RETRY_AFTER_S = 3600.0


def payload(request: Request, key: str, model: str, *, chat: bool, max_tokens: str) -> bytes:
    """The body of one request. Everything that a server would otherwise choose itself is sent.

    `key` is the request's hash, from which its sampling seed comes.
    """
    sampling = request.sampling
    body: dict[str, Any] = {
        "model": model,
        max_tokens: sampling.max_tokens,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "seed": int(key[:8], 16) & 0x7FFFFFFF,  # as Request.seed, without hashing again
    }
    if chat:
        body["messages"] = request.messages
    else:
        body["prompt"] = plain_prompt(request.messages)
    if sampling.stop:
        body["stop"] = sampling.stop
    if sampling.top_logprobs:
        body |= _logprobs(sampling.top_logprobs, chat)
    return json.dumps(body).encode()


def _logprobs(top: int, chat: bool) -> dict[str, Any]:
    return {"logprobs": True, "top_logprobs": top} if chat else {"logprobs": top}


def plain_prompt(messages: Sequence[Message]) -> str:
    """What a base model is given to continue: the contents, with empty lines between them."""
    return "\n\n".join(message["content"] for message in messages)


def http_failure(status: int, retry_after: str | None, now: float) -> Failure:
    """A status other than 200. Errors are not billed; 4xx other than rate limits will not get better."""
    return Failure(
        reason=f"http_{status}",
        retryable=status >= 500 or status in RETRYABLE_4XX,
        maybe_billed=False,
        retry_after_s=_seconds(retry_after, now),
    )


def _seconds(retry_after: str | None, now: float) -> float | None:
    """Retry-After in seconds from now: a number, or an HTTP date; None when absent or not understood."""
    if not retry_after:
        return None
    try:
        seconds = float(retry_after)
    except ValueError:
        try:
            date = parsedate_to_datetime(retry_after)
        except ValueError:
            return None
        seconds = (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp() - now
    return min(max(seconds, 0.0), MAX_RETRY_AFTER_S) if math.isfinite(seconds) else None


def parse_reply(data: bytes, *, chat: bool, latency_s: float) -> Outcome:
    """The body of a 200 as a Reply; `malformed_json` or `empty_choices` where it is none."""
    try:
        return reply_of(_DECODER.decode(data.decode()), chat=chat, latency_s=latency_s)
    except (ValueError, RecursionError):
        return MALFORMED


def reply_of(value: Any, *, chat: bool, latency_s: float) -> Outcome:
    """The same of a body that is parsed already."""
    try:
        choices = value.get("choices")
        return _reply(value, choices[0], chat, latency_s) if choices else EMPTY
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError):
        return MALFORMED


def _reply(value: Mapping[str, Any], choice: Mapping[str, Any], chat: bool, latency_s: float) -> Reply:
    message = choice["message"] if chat else choice
    text = text_of(message.get("content") if chat else message.get("text"))
    reasoning = message.get("reasoning_content") or message.get("reasoning")
    # Servers without a reasoning parser leave the trace within the answer.
    inline, answer = (text_of(reasoning), text) if reasoning else split(text)
    return Reply(
        text=answer,
        reasoning=inline,
        finish_reason=_name(choice.get("finish_reason")) or "stop",
        usage=_usage(value.get("usage") or {}),
        model=_name(value.get("model")),
        fingerprint=_name(value.get("system_fingerprint")),
        top_logprobs=_top(choice.get("logprobs"), chat),
        latency_s=latency_s,
    )


def text_of(value: object) -> str:
    """Content as text: null is empty, parts are joined, half surrogate pairs (JSON allows them) replaced."""
    if isinstance(value, list):
        value = "".join(part.get("text") or "" for part in value)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise ValueError("content is not text")
    if not value.isascii():
        value = value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return value


def _name(value: object) -> str | None:
    return text_of(value) if isinstance(value, str) else None


def _usage(value: Mapping[str, Any]) -> Usage:
    prompt = value.get("prompt_tokens_details") or {}
    completion = value.get("completion_tokens_details") or {}
    cached = prompt.get("cached_tokens")
    read = count_of(value.get("prompt_tokens"))
    return Usage(
        input_tokens=read,
        # Some servers count reasoning in the total alone.
        output_tokens=max(
            count_of(value.get("completion_tokens")), count_of(value.get("total_tokens")) - read
        ),
        reasoning_tokens=count_of(completion.get("reasoning_tokens")),
        # DeepSeek names it otherwise.
        cached_tokens=count_of(value.get("prompt_cache_hit_tokens") if cached is None else cached),
    )


def count_of(value: object) -> int:
    """A token count; none is 0. Raises ValueError for what is not a count."""
    if value is None:
        return 0
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value < 2**53:
        raise ValueError("a token count is a number of at least 0")
    return int(value)


def _top(value: Mapping[str, Any] | None, chat: bool) -> TopK | None:
    """Chat: content[t].top_logprobs = [{token, logprob}]; completions: top_logprobs[t] = {token: logprob}."""
    rows = (value or {}).get("content" if chat else "top_logprobs")
    if not rows:
        return None
    if chat:
        pairs = [[(top["token"], top["logprob"]) for top in row.get("top_logprobs") or ()] for row in rows]
    else:
        pairs = [list((row or {}).items()) for row in rows]
    ordered = [sorted(row, key=lambda pair: -pair[1]) for row in pairs]
    return TopK(
        tokens=tuple(tuple(text_of(token) for token, _ in row) for row in ordered),
        logprobs=tuple(tuple(float(logprob) for _, logprob in row) for row in ordered),
    )


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


_DECODER = json.JSONDecoder(parse_constant=_no_constant)
