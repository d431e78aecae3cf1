"""A teacher for tests: it answers exactly what the script says and remembers what it was asked."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence

from spiritsafe.records import Failure, Outcome, Reply, Request, TeacherId, Usage

Line = str | Reply | Failure
Script = Mapping[str, Line | Sequence[Line]] | Callable[[Request], Line]


class ScriptedSampler:
    """Answers by prompt id, or by a function of the request.

    A sequence is used up one line per attempt, its last line again and again: so a prompt can fail twice and
    then be answered. A prompt that is not in the mapping fails for good with the reason `not_scripted`.
    A string counts one token per word, of the messages and of the answer.
    """

    def __init__(
        self, replies: Script, *, batch_size: int = 1, max_concurrency: int = 8, delay_s: float = 0.0
    ) -> None:
        self.teacher = TeacherId(wire_name="script", host="local", channel="scripted")
        self.batch_size = batch_size
        self.max_concurrency = max_concurrency
        self.calls: list[list[Request]] = []
        """Every call of `sample`, in order."""
        self.opened = 0
        self.closed = 0
        self._replies = replies
        self._delay_s = delay_s
        self._attempts: dict[str, int] = {}

    @property
    def requests(self) -> list[Request]:
        """All requests ever asked, repeated attempts included."""
        return [request for call in self.calls for request in call]

    async def open(self) -> None:
        self.opened += 1

    async def sample(self, requests: Sequence[Request]) -> list[Outcome]:
        self.calls.append(list(requests))
        await asyncio.sleep(self._delay_s)
        return [self._outcome(request) for request in requests]

    async def close(self) -> None:
        self.closed += 1

    def _outcome(self, request: Request) -> Outcome:
        line = self._line(request)
        if not isinstance(line, str):
            return line
        asked = sum(len(message["content"].split()) for message in request.messages)
        return Reply(text=line, usage=Usage(input_tokens=asked, output_tokens=len(line.split())))

    def _line(self, request: Request) -> Line:
        if callable(self._replies):
            return self._replies(request)
        lines = self._replies.get(request.prompt_id)
        if lines is None:
            return Failure(reason="not_scripted", retryable=False, maybe_billed=False)
        if isinstance(lines, str | Reply | Failure):
            return lines
        attempt = self._attempts.get(request.request_hash, 0)
        self._attempts[request.request_hash] = attempt + 1
        return lines[min(attempt, len(lines) - 1)]
