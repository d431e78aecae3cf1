"""How long is waited for a provider of batches, and what is told meanwhile."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

from spiritsafe.errors import TeacherError
from spiritsafe.store.ledger import Ledger
from spiritsafe.teachers.batchapi import Unanswered

POLL_S = 5.0
MAX_POLL_S = 60.0
GRACE_S = 300.0
"""How long a submission whose answer was lost is looked for: it may still be on its way into the list."""
PATIENCE_S = 1800.0
"""How long a provider may be gone while a batch runs there."""

T = TypeVar("T")


class Say(Protocol):
    """What is told while it works."""

    def progress(self, done: int, total: int, detail: str) -> None:
        """How far the collection is, with the state of one batch."""

    def note(self, text: str) -> None:
        """One line that stays."""


def done(ledger: Ledger, purpose: str) -> tuple[int, int]:
    """Requests of a purpose that are settled or failed, and all of them."""
    totals = ledger.totals(purpose)
    ended = totals.settled + totals.rejected + totals.failed
    return ended, ended + totals.planned + totals.in_flight + totals.unknown


async def patiently(call: Callable[[], Awaitable[T]]) -> T:
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
