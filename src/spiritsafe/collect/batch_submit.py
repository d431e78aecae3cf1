"""Submitting a batch, and never twice: the intent is written down before, the id right after."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections import deque

from spiritsafe.collect import batch_wait
from spiritsafe.collect.batch_settle import Settler
from spiritsafe.collect.batch_wait import Say, patiently
from spiritsafe.costs.economics import request_bound
from spiritsafe.errors import BudgetReached, TeacherError
from spiritsafe.records import Failure, Request
from spiritsafe.store.batches import Batch
from spiritsafe.teachers.batchapi import SUBMIT_S, Unanswered

LOST = 3
"""So many submissions in a row that never arrived: something is wrong between here and there."""
NOT_ACCEPTED = Failure(reason="batch_not_accepted", retryable=True, maybe_billed=False)


class Submitter:
    """Cuts waiting requests into batches and submits them."""

    def __init__(self, settler: Settler, purpose: str, say: Say) -> None:
        self.api, self.ledger, self.price = settler.api, settler.ledger, settler.price
        self.settler, self.purpose, self.say = settler, purpose, say
        self.lost = 0

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
            prepared = await patiently(lambda: self.api.prepare(lines, mark))
        except TeacherError:
            self._release(number, NOT_ACCEPTED, "not prepared")
            raise
        batch = self.ledger.batches.submitting(number, len(lines))
        try:
            remote = await self.api.submit(prepared, mark)
        except Unanswered as error:
            self.say.note(f"{error.message}: looking whether the batch was accepted")
            await self.identify(batch)
        except TeacherError:
            self._release(number, NOT_ACCEPTED, "refused")
            raise
        else:
            self.lost = 0
            self.ledger.batches.submitted(number, remote)
            self.say.note(f"batch {remote}: {len(lines):,} requests submitted")

    async def identify(self, batch: Batch) -> None:
        """Find a submission whose answer was lost, or make sure that it never arrived."""
        keys = set(self.ledger.batches.requests(batch.id))
        started = time.monotonic()
        while True:
            found = await patiently(
                lambda: self.api.find(batch.mark, keys, batch.began_at, self.ledger.batches.remotes())
            )
            if found.remote:
                self.ledger.batches.submitted(batch.id, found.remote)
                self.say.note(f"batch {found.remote} had been accepted")
                return
            looked = time.monotonic() - started
            # Whoever submitted has been dead for longer than a submission can take: nothing is on its way.
            settled = time.time() - batch.began_at > SUBMIT_S + batch_wait.GRACE_S
            if found.certain or (not found.undecided and (looked > batch_wait.GRACE_S or settled)):
                self._never_arrived(batch)
                return
            self.say.progress(
                *batch_wait.done(self.ledger, self.purpose),
                f"looking for a batch that may have been accepted, {looked:.0f} s",
            )
            await asyncio.sleep(batch_wait.POLL_S)

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
