"""Collect: put every request to the teacher until it is settled, or failed with a reason.

All requests are planned in the ledger first. Then workers, as many as the pacer allows, take one batch
each (a batch is one request for a server): reserve, commit, send, settle. What may be repeated waits its
turn again; nothing is lost when the process is stopped or killed at any moment.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from spiritsafe.collect.progress import Progress as Progress
from spiritsafe.collect.progress import Rate
from spiritsafe.costs.economics import Bound, request_bound
from spiritsafe.costs.prices import cost_usd, is_loopback
from spiritsafe.errors import BudgetReached, InputError, SpiritSafeError, TeacherError, UsageError
from spiritsafe.recipe import Budget, Price
from spiritsafe.records import Failure, Outcome, Reply, Request, TeacherId, Usage
from spiritsafe.store.ledger import Ledger, Totals
from spiritsafe.teachers.pace import Pacer
from spiritsafe.teachers.sampler import Sampler

TICK_S = 0.25
"""Seconds between calls of `progress`."""
HOPELESS = 20
"""So many requests turned down for good before the first answer: something is wrong with all of them."""
UNREACHABLE_S = 30.0
REFUSED = ("http_401", "http_403")
CANCELLED = Failure(reason="interrupted", retryable=True, maybe_billed=True)


async def collect(
    requests: Sequence[Request],
    sampler: Sampler,
    ledger: Ledger,
    *,
    purpose: str,
    price: Price | None,
    max_attempts: int,
    progress: Callable[[Progress], None] | None = None,
    section: str = "teacher",
) -> Totals:
    """Obtain an answer to every request and return the totals of `purpose`.

    Opens the sampler when there is anything to send; closing it is the caller's. Settled requests are not
    sent again; requests that failed earlier for a passing reason get `max_attempts` more. `section` is where
    in the recipe a hint sends the user.

    Raises InputError for no requests, UsageError when the price is unknown and no token budget is set,
    TeacherError when the server is gone, refuses, or bills above the bound, BudgetReached when the next
    request might not fit. In each case what was in flight is settled first, and the same call goes on later.
    """
    if not requests:
        raise InputError("there is nothing to collect: no prompts", hint="is the prompt file empty?")
    check_price(price, sampler.teacher, ledger.budget, section)
    hashes = ledger.plan(requests, purpose, channel=sampler.teacher.channel)
    waiting = ledger.todo(purpose)
    distinct = dict(zip(hashes, requests, strict=True))
    jobs = [Job(key, request) for key, request in distinct.items() if key in waiting]
    if jobs:
        await sampler.open()
        settled = _settled(ledger.totals(purpose))
        run = Collector(jobs, sampler, ledger, price, max_attempts, section)
        with run.reporting(progress, total=len(distinct), settled=settled):
            await run.run()
    return ledger.totals(purpose)


@dataclass(slots=True, eq=False)
class Job:
    """A request on its way."""

    key: str
    request: Request
    attempts: int = 0
    bound: Bound | None = None


class Collector:
    """One run over the jobs; the workers share this object and the event loop."""

    def __init__(
        self,
        jobs: Sequence[Job],
        sampler: Sampler,
        ledger: Ledger,
        price: Price | None,
        max_attempts: int,
        section: str,
    ) -> None:
        if sampler.batch_size > 1:  # equal lengths together waste least padding
            jobs = sorted(jobs, key=_length)
        self.queue = deque(jobs)
        self.later: list[tuple[float, int, Job]] = []  # heap of (due, tie breaker, job)
        self.sampler, self.ledger, self.price = sampler, ledger, price
        self.max_attempts, self.section = max_attempts, section
        self.pacer = Pacer(sampler.max_concurrency, clock=time.monotonic, seed=len(jobs))
        self.stop: SpiritSafeError | None = None
        self.workers = self.in_flight = self.settled = self.failed = self.hopeless = self.ties = 0

    async def run(self) -> None:
        """Work until nothing is left; raises what stopped it, after everything in flight has ended."""
        try:
            async with asyncio.TaskGroup() as group:
                self.group = group
                self._staff()
        except BaseException:
            with contextlib.suppress(SpiritSafeError):
                self.ledger.flush()
            raise
        if self.stop:
            with contextlib.suppress(SpiritSafeError):
                self.ledger.flush()
            raise self.stop
        self.ledger.flush()

    @contextlib.contextmanager
    def reporting(
        self, progress: Callable[[Progress], None] | None, *, total: int, settled: int
    ) -> Iterator[None]:
        """Call `progress` every TICK_S, and once at the end; `settled` were so before this run."""
        if progress is None:
            yield
            return
        rate = Rate(time.monotonic())
        failed = total - settled - len(self.queue)

        def report() -> None:
            progress(self._progress(rate, total, settled, failed))

        ticker = asyncio.create_task(_repeat(report))
        try:
            yield
        finally:
            ticker.cancel()
            report()

    def _progress(self, rate: Rate, total: int, settled: int, failed: int) -> Progress:
        ended = self.settled + self.failed
        per_second = rate.add(time.monotonic(), ended)
        left = total - settled - failed - ended
        tokens, usd = self.ledger.charged
        return Progress(
            done=settled + failed + ended,
            total=total,
            settled=settled + self.settled,
            failed=failed + self.failed,
            in_flight=self.in_flight,
            concurrency=self.pacer.limit * self.sampler.batch_size,
            rate=per_second,
            charged_tokens=tokens,
            charged_usd=usd,
            eta_s=left / per_second if per_second else None,
            paused_s=self.pacer.pause_s(),
        )

    def _staff(self) -> None:
        """As many workers as the pacer allows, while there is work for them."""
        wanted = min(self.pacer.limit, self.workers + -(-len(self.queue) // self.sampler.batch_size))
        while self.workers < wanted and not self.stop:
            self.workers += 1
            self.group.create_task(self._work())

    async def _work(self) -> None:
        try:
            while not self.stop and self.workers <= self.pacer.limit and (jobs := await self._next()):
                if not await self._attempt(jobs):
                    return
                self._staff()
        except SpiritSafeError as error:
            self.stop = self.stop or error
        finally:
            self.workers -= 1

    async def _next(self) -> list[Job]:
        """The next batch; waits while the server wants rest or all jobs wait for their turn."""
        while not self.stop:
            now = time.monotonic()
            pause = self.pacer.pause_s()
            while self.later and self.later[0][0] <= now:
                self.queue.appendleft(heapq.heappop(self.later)[2])
            if not self.queue and not self.later:
                return []
            if self.queue and not pause:
                return [self.queue.popleft() for _ in range(min(self.sampler.batch_size, len(self.queue)))]
            await asyncio.sleep(min(TICK_S, max(pause, 0.0 if self.queue else self.later[0][0] - now)))
        return []

    async def _attempt(self, jobs: list[Job]) -> bool:
        """Reserve, commit, send, settle; False when nothing fits into the budget now.

        Interrupted in between, the attempt is unknown.
        """
        sent = self._reserve(jobs)
        if not sent:
            return False
        self.in_flight += len(sent)
        try:
            await self.ledger.committed()
            sent_at = time.monotonic()
            outcomes = await self.sampler.sample([job.request for job in sent])
        except BaseException:
            self._abandon(sent)
            raise
        finally:
            self.in_flight -= len(sent)
        for job, outcome in zip(sent, outcomes, strict=True):
            self._end(job, outcome, sent_at)
        return True

    def _reserve(self, jobs: list[Job]) -> list[Job]:
        """Reserve for each job that the budget has room for; the others go back.

        Bounds are far above most bills, so what is in flight will leave room when it is settled: the budget
        is reached only when a request does not fit with nothing else in flight.
        """
        for position, job in enumerate(jobs):
            request = job.request
            job.bound = job.bound or request_bound(request.messages, request.sampling.max_tokens, self.price)
            try:
                self.ledger.reserve(job.key, job.bound)
            except BudgetReached as error:
                if not self.in_flight and not position:
                    self.stop = self.stop or error
                self.queue.extendleft(reversed(jobs[position:]))
                return jobs[:position]
            job.attempts += 1
        return jobs

    def _abandon(self, jobs: list[Job]) -> None:
        with contextlib.suppress(SpiritSafeError):  # in a broken ledger they stay in flight: the same
            for job in jobs:
                self.ledger.fail(job.key, CANCELLED, final=False)

    def _end(self, job: Job, outcome: Outcome, sent_at: float) -> None:
        if isinstance(outcome, Reply):
            self.settled += 1
            self.hopeless = 0
            self.pacer.succeeded()
            try:
                self.ledger.settle(job.key, outcome, self._cost(job, outcome.usage))
            except SpiritSafeError as error:
                self.stop = self.stop or error
        else:
            self._failed(job, outcome, sent_at)

    def _failed(self, job: Job, failure: Failure, sent_at: float) -> None:
        self.pacer.failed(failure, sent_at)
        job.attempts -= failure.reason == "connection"  # nothing was sent
        self.hopeless += not failure.retryable
        self._give_up(failure)
        final = failure.reason not in REFUSED and (not failure.retryable or job.attempts >= self.max_attempts)
        self.ledger.fail(job.key, failure, final=final)
        if final:
            self.failed += 1
        else:
            wait = max(self.pacer.backoff_s(job.attempts), failure.retry_after_s or 0.0)
            self.ties += 1
            heapq.heappush(self.later, (time.monotonic() + wait, self.ties, job))

    def _give_up(self, failure: Failure) -> None:
        """Stop where going on would only turn waiting requests into failed ones."""
        where = self.sampler.teacher.host
        if failure.reason in REFUSED:
            message, hint = f"{where} refuses the key: {failure.reason}", "check the key and run again"
        elif self.pacer.unreachable_s() > UNREACHABLE_S:
            message = f"{where} has not been reachable for {UNREACHABLE_S:.0f} s"
            hint = "start the server and run the same command again; everything settled is kept"
        elif self.hopeless >= HOPELESS and not self.settled:
            message = f"{where} turned down the first {self.hopeless} requests: {failure.reason}"
            limit = "collect.max_tokens" if self.section == "teacher" else f"{self.section}.max_tokens"
            hint = f"check {self.section}.model, {self.section}.endpoint and {limit}; see the server's log"
        else:
            return
        self.stop = self.stop or TeacherError(message, hint=hint)

    def _cost(self, job: Job, usage: Usage) -> float:
        """Dollars of a settled request; the bound where the server does not say what it counted."""
        assert job.bound is not None
        if not usage.input_tokens + usage.output_tokens:
            return job.bound.usd
        return cost_usd(self.price, usage) if self.price else 0.0


def check_price(price: Price | None, teacher: TeacherId, budget: Budget, section: str) -> None:
    """Refuse what no budget could hold: a remote model of unknown price without a token cap."""
    if price is not None or teacher.channel != "api" or is_loopback(teacher.host):
        return
    if budget.tokens is None or budget.usd is not None:
        raise UsageError(
            f"the price of {teacher.wire_name!r} at {teacher.host} is unknown",
            hint=f"set {section}.price, or budget.tokens instead of budget.usd",
        )


def _length(job: Job) -> int:
    return sum(len(message["content"]) for message in job.request.messages)


def _settled(totals: Totals) -> int:
    return totals.settled + totals.rejected


async def _repeat(report: Callable[[], None]) -> None:
    while True:
        await asyncio.sleep(TICK_S)
        report()
