"""Finding a lost submission at a provider whose batches carry no metadata."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import aclosing
from typing import Any, Protocol

from spiritsafe.teachers.batchapi import BatchState, Search


class Listing(Protocol):
    """What `find_by_results` needs of a provider."""

    def listed(self, cursor: str, since: float) -> Any:
        """Batch objects, newest first."""

    def created(self, row: Mapping[str, Any]) -> float:
        """Seconds since the epoch."""

    def state_of(self, row: Mapping[str, Any]) -> BatchState:
        """State of a batch object."""

    def results(self, remote: str) -> Any:
        """Its results."""


async def find_by_results(api: Listing, cursor: str, keys: set[str], since: float, known: set[str]) -> Search:
    """A submission at a provider without metadata: the batch of as many requests whose results are ours.

    Results are there only when a batch has ended; until then one of as many requests leaves it undecided.
    """
    undecided = False
    async with aclosing(api.listed(cursor, since - 3600)) as rows:
        async for row in rows:
            state = api.state_of(row)
            # A batch that is still being validated may not be counted yet.
            if row["id"] in known or state.total not in (len(keys), 0) or api.created(row) < since - 3600:
                continue
            if not state.ended:
                undecided = True
                continue
            async with aclosing(api.results(row["id"])) as results:
                async for key, _ in results:
                    if key in keys:
                        return Search(remote=str(row["id"]))
                    break
    return Search(undecided=undecided)
