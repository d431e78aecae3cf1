"""What every teacher can do: the two protocols behind which servers and local models look alike.

`Sampler` draws answers; `Scorer` gives log-probabilities of a given text. A sampler makes one attempt
per call and reports failures as values: retrying, pacing and paying belong to `collect`, so that the
ledger sees every attempt.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from spiritsafe.records import Message, Outcome, Request, TeacherId, TopK


@runtime_checkable
class Sampler(Protocol):
    """Draws answers from one teacher."""

    teacher: TeacherId
    batch_size: int
    """Requests that `sample` takes at once: 1 for servers, more for a local model."""
    max_concurrency: int
    """Calls of `sample` that may run at the same time: 1 for a local model."""

    async def open(self) -> None:
        """Connect and check that the model is served; raises TeacherError with the cure."""

    async def sample(self, requests: Sequence[Request]) -> list[Outcome]:
        """One attempt for each request, outcomes in the same order. Does not raise for a failed attempt."""

    async def close(self) -> None:
        """Release connections or memory. Safe to call twice."""


@runtime_checkable
class Scorer(Protocol):
    """Scores text that is already there."""

    teacher: TeacherId

    async def score(self, messages: Sequence[Message], completion: str, top: int) -> TopK:
        """Top-`top` log-probabilities (nats) at each token of `completion` after `messages`."""
