"""The records that travel between rooms: frozen, typed, JSON in and out.

prompts -> requests -> replies -> samples. A record is plain data; nothing here opens a file,
reads a clock or imports torch.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, Self, TypedDict


class Message(TypedDict):
    """One chat turn."""

    role: str
    content: str


def canonical_json(value: object) -> str:
    """JSON with sorted keys and no spaces: equal values give equal bytes. NaN is an error."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def content_hash(tag: str, value: object) -> str:
    """SHA-256 over a tag and canonical JSON; the tag names the format, so that a change of format shows."""
    return hashlib.sha256(f"{tag}\n{canonical_json(value)}".encode()).hexdigest()


@dataclass(frozen=True, kw_only=True, slots=True)
class Record:
    """Base of all records: to and from plain JSON values."""

    def to_json(self) -> dict[str, Any]:
        """The record as JSON values, nested records as objects."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """The record from `to_json`'s value; unknown keys are an error."""
        return cls(**value)


@dataclass(frozen=True, kw_only=True, slots=True)
class Prompt(Record):
    """One problem to pose, with what is known about its answer."""

    prompt_id: str
    """Stable within a task; two prompts of one task never share it."""
    messages: tuple[Message, ...]
    """What the model is asked, system message included."""
    answer: str | None = None
    """The reference the verifier compares with; None where there is no ground truth."""
    solution: str | None = None
    """A worked ground-truth answer (*gold*), where the task has one."""
    rejected: str | None = None
    """An answer that people found worse than `answer`: a label that a judge is measured with."""
    tags: Mapping[str, str] = field(default_factory=dict)
    """Slices to report apart, such as level or theme."""

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        return cls(**{**value, "messages": tuple(value["messages"])})


@dataclass(frozen=True, kw_only=True, slots=True)
class Sampling(Record):
    """How one answer is drawn. Part of a request's identity."""

    temperature: float = 0.0
    """0 is greedy."""
    top_p: float = 1.0
    max_tokens: int = 512
    """Upper bound on generated tokens, reasoning included; always sent."""
    stop: tuple[str, ...] = ()
    top_logprobs: int = 0
    """Alternatives per generated token to ask for; 0 asks for none."""

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        return cls(**{**value, "stop": tuple(value["stop"])})


@functools.lru_cache(maxsize=64)
def _plain(sampling: Sampling) -> dict[str, Any]:
    """`Sampling.to_json`, kept: thousands of requests share one, and each needs its hash."""
    return sampling.to_json()


@dataclass(frozen=True, kw_only=True, slots=True)
class TeacherId(Record):
    """Who answers. `wire_name` goes over the wire; `is_model` is what the model is."""

    wire_name: str
    """The name the server knows, or the folder of a local model."""
    is_model: str | None = None
    """Identity such as Qwen/Qwen3-32B, declared by the user or hinted by the server."""
    host: str = "local"
    """host:port of the server, 'local' for a model in this process."""
    channel: Literal["api", "local", "scripted", "import", "batch"] = "local"


@dataclass(frozen=True, kw_only=True, slots=True)
class Request(Record):
    """One answer to obtain: content-addressed by teacher, messages, sampling and index."""

    prompt_id: str
    messages: tuple[Message, ...]
    teacher: str
    """Key of the teacher: `teacher_key(TeacherId)`."""
    sampling: Sampling
    index: int = 0
    """Which of n samples of the same prompt."""

    @property
    def request_hash(self) -> str:
        """Identity of the request; the prompt's id is not part of it, its text is."""
        return content_hash(
            "spiritsafe-request-1",
            {
                "teacher": self.teacher,
                "messages": list(self.messages),
                "sampling": _plain(self.sampling),
                "index": self.index,
            },
        )

    @property
    def seed(self) -> int:
        """Sampling seed in [0, 2**31), derived from the identity so that a resumed run draws the same."""
        return int(self.request_hash[:8], 16) & 0x7FFFFFFF

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        return cls(
            **{
                **value,
                "messages": tuple(value["messages"]),
                "sampling": Sampling.from_json(value["sampling"]),
            }
        )


def teacher_key(teacher: TeacherId) -> str:
    """The part of a teacher's identity that makes its answers its own: model and host."""
    return f"{teacher.is_model or teacher.wire_name}@{teacher.host}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Usage(Record):
    """Tokens as the server billed them."""

    input_tokens: int = 0
    output_tokens: int = 0
    """Everything generated, reasoning included."""
    reasoning_tokens: int = 0
    cached_tokens: int = 0
    """Input tokens read from the provider's cache."""

    def __add__(self, other: Usage) -> Usage:
        return Usage(**{f.name: getattr(self, f.name) + getattr(other, f.name) for f in fields(Usage)})


@dataclass(frozen=True, kw_only=True, slots=True)
class TopK(Record):
    """Alternatives at each generated position: tokens[t][k], logprobs[t][k] in nats, best first."""

    tokens: tuple[tuple[str, ...], ...]
    logprobs: tuple[tuple[float, ...], ...]

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        return cls(tokens=tuple(map(tuple, value["tokens"])), logprobs=tuple(map(tuple, value["logprobs"])))


@dataclass(frozen=True, kw_only=True, slots=True)
class Reply(Record):
    """What a teacher answered to one request."""

    text: str
    reasoning: str | None = None
    """The server's reasoning_content, kept apart from the answer."""
    finish_reason: str = "stop"
    """stop, length, content_filter, ... as the server says it."""
    usage: Usage = Usage()
    model: str | None = None
    """The model name in the response."""
    fingerprint: str | None = None
    """system_fingerprint or revision, where given."""
    top_logprobs: TopK | None = None
    latency_s: float = 0.0

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        top = value.get("top_logprobs")
        return cls(
            **{
                **value,
                "usage": Usage.from_json(value["usage"]),
                "top_logprobs": TopK.from_json(top) if top else None,
            }
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Failure(Record):
    """One attempt that brought no answer."""

    reason: str
    """Short and stable, such as http_429, timeout, malformed_json: it is counted and shown."""
    retryable: bool
    maybe_billed: bool
    """True when the server may have done the work: the reservation then stays charged."""
    retry_after_s: float | None = None


Outcome = Reply | Failure


@dataclass(frozen=True, kw_only=True, slots=True)
class Origin(Record):
    """Where a sample comes from; travels with it through select, train and export."""

    teacher: str
    """`teacher_key` of who answered."""
    channel: str
    fingerprint: str | None
    date: str
    """ISO date (UTC) of the answer."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample(Record):
    """A settled answer, as shards hold it."""

    request_hash: str
    prompt_id: str
    messages: tuple[Message, ...]
    text: str
    reasoning: str | None
    finish_reason: str
    index: int
    usage: Usage
    cost_usd: float
    origin: Origin
    accepted: bool | None = None
    """None before selection."""
    reject_reason: str | None = None

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        return cls(
            **{
                **value,
                "messages": tuple(value["messages"]),
                "usage": Usage.from_json(value["usage"]),
                "origin": Origin.from_json(value["origin"]),
            }
        )
