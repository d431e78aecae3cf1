"""Collect by the batch: reserve, submit, wait for hours, settle; a kill at any moment loses and pays nothing.

One round: as many requests as the budget holds are reserved and submitted, in batches as large as the
provider takes; when all of them have ended and are settled, what is left makes the next round. Before the
call that may bill, the intent is in the ledger. A restarted process polls the batches whose id it knows, and
looks an intent without id up in the provider's list before anything is submitted anew.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol, TypeVar

from spiritsafe.collect.batch_settle import Settler
from spiritsafe.collect.generate import check_price
from spiritsafe.costs.economics import request_bound
from spiritsafe.errors import BudgetReached, InputError, SpiritSafeError, TeacherError
from spiritsafe.recipe import Price
from spiritsafe.records import Failure, Request
from spiritsafe.store.batches import Batch
from spiritsafe.store.ledger import Ledger, Totals
from spiritsafe.teachers.batchapi import SUBMIT_S, BatchTeacher, Unanswered

POLL_S = 5.0
MAX_POLL_S = 60.0
GRACE_S = 300.0
"""How long a submission whose answer was lost is looked for: it may still be on its way into the list."""
PATIENCE_S = 1800.0
"""How long a provider may be gone while a batch runs there."""
LOST = 3
"""So many submissions in a row that never arrived: something is wrong between here and there."""
NOT_ACCEPTED = Failure(reason="batch_not_accepted", retryable=True, maybe_billed=False)
T = TypeVar("T")


class Say(Protocol):
    """What is told while it works."""

    def progress(self, done: int, total: int, detail: str) -> None:
        """How far the collection is, with the state of one batch."""

    def note(self, text: str) -> None:
        """One line that stays."""


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
        self.api, self.ledger, self.purpose, self.price = api, ledger, purpose, price
        self.max_attempts, self.say = max_attempts, say
        self.settler = Settler(api, ledger, price, max_attempts)
        self.lost = 0

    async def run(self, requests: dict[str, Request], submit: bool) -> None:
        """Rounds until nothing is left to ask."""
        try:
            while True:
                await self.follow()
                waiting = self.ledger.todo(self.purpose) if submit else set()
                left = {key: requests[key] for key in requests if key in waiting and self._may_try(key)}
                if not left:
                    self.say.progress(*self._done(), "no batch is running")
                    return
                if self.settler.queue_full:
                    self.say.note(f"the queue is full: at most {self.settler.most:,} requests per batch now")
                    self.settler.queue_full = False
                    await asyncio.sleep(MAX_POLL_S)
                await self.submit(left)
        except (asyncio.CancelledError, KeyboardInterrupt):
            for batch in self.ledger.batches.living(self.api.service):
                self.say.note(f"batch {batch.remote or batch.mark} goes on at {self.api.teacher.host}")
            raise

    def _may_try(self, key: str) -> bool:
        return self.settler.attempts[key] < self.max_attempts

    # Submitting

    async def submit(self, waiting: dict[str, Request]) -> None:
        """Submit as much as fits. Raises BudgetReached when nothing does and no batch lives."""
        queue = deque(waiting.items())
        self.api.line(*queue[0])  # what the service cannot do is refused before anything is reserved
        while queue:
            mark = uuid.uuid4().hex
            number = self.ledger.batches.begin(self.api.service, mark, self.purpose)
            try:
                lines = self._reserve(number, queue)
            except BudgetReached:
                self.ledger.batches.ended(number, "dropped")
                if not self.ledger.batches.living(self.api.service):
                    raise
                return
            await self._send(number, mark, lines)

    def _reserve(self, number: int, queue: deque[tuple[str, Request]]) -> list[bytes]:
        """Reserve from the queue what one batch may hold; its lines. Raises BudgetReached for nothing."""
        lines: list[bytes] = []
        size = 0
        while queue and len(lines) < self.settler.most:
            key, request = queue[0]
            line = self.api.line(key, request)
            size += len(line) + 2
            if size > self.api.limits.bytes and lines:
                break
            bound = request_bound(request.messages, request.sampling.max_tokens, self.price)
            try:
                self.ledger.reserve(key, bound, batch=number)
            except BudgetReached:
                if lines:
                    break
                raise
            self.settler.attempts[key] += 1
            lines.append(line)
            queue.popleft()
        return lines

    async def _send(self, number: int, mark: str, lines: list[bytes]) -> None:
        await self.ledger.committed()
        try:
            prepared = await self._patiently(lambda: self.api.prepare(lines, mark))
        except TeacherError:
            self._release(number, NOT_ACCEPTED, "not prepared")
            raise
        batch = self.ledger.batches.submitting(number, len(lines))
        try:
            remote = await self.api.submit(prepared, mark)
        except Unanswered as error:
            self.say.note(f"{error.message}: looking whether the batch was accepted")
            await self._identify(batch)
        except TeacherError:
            self._release(number, NOT_ACCEPTED, "refused")
            raise
        else:
            self.lost = 0
            self.ledger.batches.submitted(number, remote)
            self.say.note(f"batch {remote}: {len(lines):,} requests submitted")

    async def _identify(self, batch: Batch) -> None:
        """Find a submission whose answer was lost, or make sure that it never arrived."""
        keys = set(self.ledger.batches.requests(batch.id))
        started = time.monotonic()
        while True:
            found = await self._patiently(
                lambda: self.api.find(batch.mark, keys, batch.began_at, self.ledger.batches.remotes())
            )
            if found.remote:
                self.ledger.batches.submitted(batch.id, found.remote)
                self.say.note(f"batch {found.remote} had been accepted")
                return
            looked = time.monotonic() - started
            # Whoever submitted has been dead for longer than a submission can take: nothing is on its way.
            settled = time.time() - batch.began_at > SUBMIT_S + GRACE_S
            if found.certain or (not found.undecided and (looked > GRACE_S or settled)):
                self._never_arrived(batch)
                return
            self.say.progress(
                *self._done(), f"looking for a batch that may have been accepted, {looked:.0f} s"
            )
            await asyncio.sleep(POLL_S)

    def _never_arrived(self, batch: Batch) -> None:
        """Plan the requests again. Raises TeacherError when that happens too often."""
        self._release(batch.id, NOT_ACCEPTED, "not accepted")
        self.lost += 1
        if self.lost >= LOST:
            raise TeacherError(
                f"{self.api.teacher.host} answered none of {self.lost} submissions, and none was accepted",
                hint="does a proxy cut large uploads off? nothing was billed, and everything is planned",
            )

    def _release(self, number: int, failure: Failure, status: str) -> None:
        """Give back the reservations of a batch of which nothing was billed."""
        for key in self.ledger.batches.requests(number):
            self.ledger.fail(key, failure, final=False)
            self.settler.attempts[key] -= 1
        self.ledger.batches.ended(number, status)

    # Waiting and settling

    async def follow(self) -> None:
        """Poll the service's batches until all have ended; settle each as it ends."""
        for batch in self.ledger.batches.living(self.api.service):
            if batch.remote is None:
                await self._identify(batch)
        order = {batch.id: n for n, batch in enumerate(self.ledger.batches.living(self.api.service), 1)}
        pause = POLL_S
        while living := self.ledger.batches.living(self.api.service):
            ended = [await self._poll(batch, order[batch.id], len(order)) for batch in living]
            if self.settler.error:
                raise self.settler.error
            if all(ended):
                return
            self._ask_user()
            pause = POLL_S if any(ended) else min(pause * 1.5, MAX_POLL_S)
            await asyncio.sleep(pause)

    async def _poll(self, batch: Batch, number: int, count: int) -> bool:
        """True when a batch has ended and is settled."""
        remote = batch.remote
        assert remote is not None, "identified before"
        state = await self._patiently(lambda: self.api.state(remote))
        detail = (
            f"batch {number} of {count}: {state.status}, {state.done:,}/{state.total or batch.requests:,}"
        )
        self.say.progress(*self._done(), detail)
        if state.ended:
            await self._patiently(lambda: self.settler.take_in(batch, state))
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

    # Talking

    def _done(self) -> tuple[int, int]:
        totals = self.ledger.totals(self.purpose)
        done = totals.settled + totals.rejected + totals.failed
        return done, done + totals.planned + totals.in_flight + totals.unknown

    async def _patiently(self, call: Callable[[], Awaitable[T]]) -> T:
        """Repeat a call that had no answer. Raises TeacherError when the provider stays away."""
        started, pause = time.monotonic(), POLL_S
        while True:
            try:
                return await call()
            except Unanswered as error:
                if time.monotonic() - started > PATIENCE_S:
                    raise TeacherError(
                        f"{error.message}, for {PATIENCE_S / 60:.0f} minutes",
                        hint="batches go on at the provider: run the same command later",
                    ) from None
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, MAX_POLL_S)


def _elsewhere(ledger: Ledger, count: int, service: str) -> SpiritSafeError:
    names = sorted({batch.service for batch in ledger.batches.living() if batch.service != service})
    return SpiritSafeError(
        f"{count:,} of these requests are in a batch at {', '.join(names)}",
        hint="run with the teacher.model and collect.mode that submitted it, to fetch the answers",
    )
