"""What an ended batch brought, into the ledger: answers settled, the rest planned again or failed."""

from __future__ import annotations

from collections import Counter
from contextlib import aclosing

from spiritsafe.collect.generate import HOPELESS
from spiritsafe.costs.economics import request_bound
from spiritsafe.costs.prices import cost_usd
from spiritsafe.errors import SpiritSafeError, TeacherError
from spiritsafe.recipe import Price
from spiritsafe.records import Failure, Reply, Request, Usage
from spiritsafe.store.batches import Batch
from spiritsafe.store.ledger import Ledger
from spiritsafe.teachers.batchapi import BatchState, BatchTeacher

QUEUE_FULL = ("token_limit_exceeded", "batch_limit_exceeded", "rate_limit_exceeded")
"""Whole batches turned down because too much of ours waits there already."""


class Settler:
    """Settles the batches of one collection and counts their attempts."""

    def __init__(self, api: BatchTeacher, ledger: Ledger, price: Price | None, max_attempts: int) -> None:
        self.api, self.ledger, self.price, self.max_attempts = api, ledger, price, max_attempts
        self.attempts: Counter[str] = Counter()
        """Of this run, by request; those that say nothing about the request are not counted."""
        self.most = api.limits.requests
        """Requests per batch; halved when the provider's queue is full."""
        self.queue_full = False
        """A batch of the last round was turned down because too many wait there."""
        self.error: SpiritSafeError | None = None
        """Why the collection has to stop once everything at hand is settled."""

    async def take_in(self, batch: Batch, state: BatchState) -> None:
        """Settle what an ended batch brought. May be repeated after it broke off: nothing settles twice.

        Raises Unanswered when the download breaks off.
        """
        assert batch.remote is not None, "only a known batch can end"
        waiting = self.ledger.batches.requests(batch.id)
        failures: dict[str, Failure] = {}
        settled = batch.requests - len(waiting)
        async with aclosing(self.api.results(batch.remote)) as results:
            async for key, outcome in results:
                if key not in waiting:  # settled before a kill, or not ours
                    continue
                if isinstance(outcome, Reply):
                    self._settle(key, waiting.pop(key), outcome)
                    settled += 1
                else:
                    failures[key] = outcome
        for key in waiting:
            failures.setdefault(key, _without_result(state))
        self._fail(batch, state, failures, anything=settled > 0)
        await self.ledger.committed()
        self.ledger.batches.ended(batch.id, state.status)

    def _settle(self, key: str, request: Request, reply: Reply) -> None:
        try:
            self.ledger.settle(key, reply, self._cost(request, reply.usage))
        except TeacherError as error:  # billed above the bound; the answer is kept, and so are the others
            self.error = self.error or error

    def _cost(self, request: Request, usage: Usage) -> float:
        """Dollars at the batch price; the bound where the provider does not say what it counted."""
        if not usage.input_tokens + usage.output_tokens:
            return request_bound(request.messages, request.sampling.max_tokens, self.price).usd
        return cost_usd(self.price, usage) if self.price else 0.0

    def _fail(self, batch: Batch, state: BatchState, failures: dict[str, Failure], *, anything: bool) -> None:
        """End the attempts without an answer by the rules of live ones.

        A batch turned down as a whole says nothing about its requests: they are planned again.
        """
        retryable = any(failure.retryable for failure in failures.values())
        hopeless = not anything and not retryable and len(failures) >= HOPELESS
        if state.error in QUEUE_FULL:
            self._make_smaller(batch)
        elif state.error:
            self._stop(
                f"turned down the batch {batch.remote}: {state.error}", "see the provider's page of it"
            )
        elif hopeless:
            why = Counter(failure.reason for failure in failures.values()).most_common(1)[0][0]
            self._stop(
                f"turned down all {len(failures):,} requests of a batch: {why}",
                "check teacher.model, teacher.endpoint and collect.max_tokens",
            )
        as_a_whole = hopeless or state.error is not None
        for key, failure in failures.items():
            last = not failure.retryable or self.attempts[key] >= self.max_attempts
            self.ledger.fail(key, failure, final=last and not as_a_whole)
            self.attempts[key] -= as_a_whole

    def _make_smaller(self, batch: Batch) -> None:
        if batch.requests == 1:
            self._stop(
                "has no room for a single request in its batch queue",
                "wait for your other batches there, then run the same command again",
            )
        self.queue_full = True
        self.most = max(1, min(self.most, batch.requests // 2))

    def _stop(self, what: str, hint: str) -> None:
        self.error = self.error or TeacherError(f"{self.api.teacher.host} {what}", hint=hint)


def _without_result(state: BatchState) -> Failure:
    """A request of which an ended batch says nothing: billed perhaps, if the batch calls itself completed."""
    return Failure(
        reason=f"batch_{state.error or state.status}"[:46],
        retryable=True,
        maybe_billed=state.status in ("completed", "ended", "answered"),
    )
