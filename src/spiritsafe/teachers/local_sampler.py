"""A local model as a teacher: in this process, or, where it is small, in one process per core.

The processes decode batches of their own side by side. Which of them gets a batch does not matter: a text
depends on its request alone.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spiritsafe.recipe import ModelAccess, Teacher
from spiritsafe.records import Failure, Message, Outcome, Reply, Request, TeacherId, TopK
from spiritsafe.teachers.folders import resolve_model
from spiritsafe.teachers.worker import Worker
from spiritsafe.workers import workers_for

if TYPE_CHECKING:
    from spiritsafe.teachers.local import LocalModel

MOST_WORKERS = 16
"""Each holds its own copy of the libraries, about 300 MB."""


class LocalSampler:
    """A local model as a teacher: `Sampler` and `Scorer`. Loaded by `open`.

    With `workers` > 1 and no loaded model, that many processes are started, and as many calls of `sample`
    may run at the same time.
    """

    def __init__(
        self,
        local: LocalModel | None,
        teacher: TeacherId,
        *,
        model: str = "",
        batch_size: int = 256,
        workers: int = 1,
    ) -> None:
        self.local = local
        self.teacher = teacher
        self.batch_size = batch_size
        self.max_concurrency = workers if local is None else 1
        self._model = model
        self._crew: Crew | None = None
        self._fingerprint: str | None = None

    @classmethod
    def from_ref(cls, ref: str, settings: ModelAccess | None = None) -> LocalSampler:
        """The sampler of `bundled:NAME`, `hf:REPO` or a folder; weights are read by `open`."""
        settings = settings or Teacher(model=ref)
        name = TeacherId(wire_name=ref, is_model=settings.is_model)
        model = resolve_model(ref)
        workers = min(_workers(model), settings.max_concurrency, MOST_WORKERS)
        return cls(None, name, model=model, batch_size=settings.batch_size, workers=workers)

    async def open(self) -> None:
        """Load the model once; raises TeacherError when it cannot be loaded or has no chat template."""
        if self._crew is None and self.local is None:
            if self.max_concurrency > 1:
                self._crew = Crew(self._model, self.max_concurrency)
            else:
                self.local = await asyncio.to_thread(_load, self._model)
        await self._ask("check")
        self._fingerprint = await self._ask("fingerprint")

    async def sample(self, requests: Sequence[Request]) -> list[Outcome]:
        """Decode the requests together, in a thread so that the caller can go on writing and showing.

        Cancelled, it stops at once; workers are killed, and `open` starts new ones.
        """
        try:
            replies = await self._ask("generate", list(requests), batch_size=self.batch_size)
        except asyncio.CancelledError:
            if self.local is not None:
                self.local.cancel()
            self._disband()
            raise
        return [self._outcome(reply) for reply in replies]

    def _outcome(self, reply: Reply) -> Outcome:
        if reply.finish_reason == "length" and reply.usage.output_tokens == 0:
            return Failure(reason="context_length", retryable=False, maybe_billed=False)
        return Reply(
            text=reply.text,
            finish_reason=reply.finish_reason,
            usage=reply.usage,
            model=self.teacher.wire_name,
            fingerprint=self._fingerprint,
            top_logprobs=reply.top_logprobs,
            latency_s=reply.latency_s,
        )

    async def score(self, messages: Sequence[Message], completion: str, top: int) -> TopK:
        """Top-`top` log-probabilities (nats) at each token of `completion` after `messages`."""
        top_k: TopK = await self._ask("score", messages, completion, top)
        return top_k

    async def close(self) -> None:
        """End the workers or drop the model; its memory is released when nobody else holds it."""
        self.local = None
        self._disband()

    def _disband(self) -> None:
        if self._crew is not None:
            self._crew.disband()
        self._crew = None

    async def _ask(self, method: str, *arguments: Any, **options: Any) -> Any:
        if self._crew is not None:
            return await self._crew.ask(method, *arguments, **options)
        assert self.local is not None, "open() comes before sample() and score()"
        return await asyncio.to_thread(getattr(self.local, method), *arguments, **options)


class Crew:
    """Workers with the same model. Made inside the event loop that asks them."""

    def __init__(self, model: str, size: int) -> None:
        self.workers = [Worker(model) for _ in range(size)]
        self._threads = ThreadPoolExecutor(size)
        self._idle: asyncio.Queue[Worker] = asyncio.Queue()
        for worker in self.workers:
            # The first answer takes seconds, for libraries are imported: all begin with it now.
            first = asyncio.get_running_loop().run_in_executor(self._threads, worker.ask, "check")
            first.add_done_callback(functools.partial(self._ready, worker))

    def _ready(self, worker: Worker, first: asyncio.Future[Any]) -> None:
        if not first.cancelled():
            first.exception()  # seen: who asks next gets the same again
        self._idle.put_nowait(worker)

    async def ask(self, method: str, *arguments: Any, **options: Any) -> Any:
        """The answer of whichever worker is idle first; raises what `Worker.ask` raises."""
        worker = await self._idle.get()
        call = functools.partial(worker.ask, method, *arguments, **options)
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, call)
        finally:
            self._idle.put_nowait(worker)

    def disband(self) -> None:
        """Kill the processes; whoever waits for an answer gets a TeacherError."""
        for worker in self.workers:
            worker.kill()
        self._threads.shutdown(wait=True, cancel_futures=True)
        for worker in self.workers:
            worker.release()


def _workers(model: str) -> int:
    """One per core for a small model in a folder; a repository's size is not known before it is there."""
    files = list(Path(model).glob("*.safetensors"))
    return workers_for(sum(path.stat().st_size for path in files)) if files else 1


def _load(model: str) -> LocalModel:
    # Here, for torch takes seconds to import and where workers decode nobody needs it.
    from spiritsafe.teachers.local import LocalModel

    return LocalModel.load(model)
