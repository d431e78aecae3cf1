"""Collect by the batch: reserve, submit, wait for hours, settle; a kill at any moment loses and pays nothing.

One round: as many requests as the budget holds are reserved and submitted, in batches as large as the
provider takes; when all of them have ended and are settled, what is left makes the next round. Before the
call that may bill, the intent is in the ledger. A restarted process polls the batches whose id it knows, and
looks an intent without id up in the provider's list before anything is submitted anew.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from spiritsafe.collect import batch_wait
from spiritsafe.collect.batch_settle import Settler
from spiritsafe.collect.batch_submit import Submitter
from spiritsafe.collect.batch_wait import Say
from spiritsafe.collect.generate import check_price
from spiritsafe.errors import InputError, SpiritSafeError
from spiritsafe.recipe import Price
from spiritsafe.records import Request
from spiritsafe.store.batches import Batch
from spiritsafe.store.ledger import Ledger, Totals
from spiritsafe.teachers.batchapi import BatchTeacher


async def collect_batches(
    requests: Sequence[Request],
    api: BatchTeacher,
    ledger: Ledger,
    *,
    purpose: str,
    price: Price | None,
    max_attempts: int,
    say: Say,
    submit: bool = True,
) -> Totals:
    """Obtain an answer to every request by the batch; the totals of `purpose`.

    `price` is the batch price. Without `submit` only batches that live are awaited, so that a live collection
    can go on. Raises as `collect` does, and SpiritSafeError when the user has to run something first.
    """
    if not requests:
        raise InputError("there is nothing to collect: no prompts", hint="is the prompt file empty?")
    check_price(price, api.teacher, ledger.budget, "teacher")
    hashes = ledger.plan(requests, purpose, channel=api.teacher.channel)
    distinct = dict(zip(hashes, requests, strict=True))
    if ledger.batches.in_flight(purpose) or (submit and ledger.todo(purpose)):
        await api.open()
        run = BatchRun(api, ledger, purpose, price, max_attempts, say)
        await run.run(distinct, submit)
    if elsewhere := ledger.batches.in_flight(purpose):
        raise _elsewhere(ledger, elsewhere, api.service)
    return ledger.totals(purpose)


class BatchRun:
    """One collection by the batch."""

    def __init__(
        self,
        api: BatchTeacher,
        ledger: Ledger,
        purpose: str,
        price: Price | None,
        max_attempts: int,
        say: Say,
    ) -> None:
        self.api, self.ledger, self.purpose = api, ledger, purpose
        self.max_attempts, self.say = max_attempts, say
        self.settler = Settler(api, ledger, price, max_attempts)
        self.submitter = Submitter(self.settler, purpose, say)

    async def run(self, requests: dict[str, Request], submit: bool) -> None:
        """Rounds until nothing is left to ask."""
        try:
            while True:
                await self.follow()
                waiting = self.ledger.todo(self.purpose) if submit else set()
                left = {key: requests[key] for key in requests if key in waiting and self._may_try(key)}
                if not left:
                    self.say.progress(*batch_wait.done(self.ledger, self.purpose), "no batch is running")
                    return
                if self.settler.queue_full:
                    self.say.note(f"the queue is full: at most {self.settler.most:,} requests per batch now")
                    self.settler.queue_full = False
                    await asyncio.sleep(batch_wait.MAX_POLL_S)
                await self.submitter.submit(left)
        except (asyncio.CancelledError, KeyboardInterrupt):
            for batch in self.ledger.batches.living(self.api.service):
                self.say.note(f"batch {batch.remote or batch.mark} goes on at {self.api.teacher.host}")
            raise

    def _may_try(self, key: str) -> bool:
        return self.settler.attempts[key] < self.max_attempts

    async def follow(self) -> None:
        """Poll the service's batches until all have ended; settle each as it ends."""
        for batch in self.ledger.batches.living(self.api.service):
            if batch.remote is None:
                await self.submitter.identify(batch)
        order = {batch.id: n for n, batch in enumerate(self.ledger.batches.living(self.api.service), 1)}
        pause = batch_wait.POLL_S
        while living := self.ledger.batches.living(self.api.service):
            ended = [await self._poll(batch, order[batch.id], len(order)) for batch in living]
            if self.settler.error:
                raise self.settler.error
            if all(ended):
                return
            self._ask_user()
            pause = batch_wait.POLL_S if any(ended) else min(pause * 1.5, batch_wait.MAX_POLL_S)
            await asyncio.sleep(pause)

    async def _poll(self, batch: Batch, number: int, count: int) -> bool:
        """True when a batch has ended and is settled."""
        remote = batch.remote
        assert remote is not None, "identified before"
        state = await batch_wait.patiently(lambda: self.api.state(remote))
        detail = (
            f"batch {number} of {count}: {state.status}, {state.done:,}/{state.total or batch.requests:,}"
        )
        self.say.progress(*batch_wait.done(self.ledger, self.purpose), detail)
        if state.ended:
            await batch_wait.patiently(lambda: self.settler.take_in(batch, state))
        return state.ended

    def _ask_user(self) -> None:
        """Stop where only the user can go on. Raises SpiritSafeError with the command."""
        living = self.ledger.batches.living(self.api.service)
        todo = [command for b in living if b.remote and (command := self.api.todo(b.remote))]
        if todo:
            waiting = sum(len(self.ledger.batches.requests(batch.id)) for batch in living)
            raise SpiritSafeError(
                f"{waiting:,} requests wait for their answers in {self.api.service.partition(':')[2]}",
                hint="run the following, then the same command again\n" + "\n".join(todo),
            )


def _elsewhere(ledger: Ledger, count: int, service: str) -> SpiritSafeError:
    names = sorted({batch.service for batch in ledger.batches.living() if batch.service != service})
    return SpiritSafeError(
        f"{count:,} of these requests are in a batch at {', '.join(names)}",
        hint="run with the teacher.model and collect.mode that submitted it, to fetch the answers",
    )
