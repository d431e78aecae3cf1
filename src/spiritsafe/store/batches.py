"""The ledger's batches: what was handed to a provider as a whole, so that a killed process finds it again.

    prepared     its requests are being reserved and uploaded; nothing can be billed. Dropped at reopening
    submitting   written before the call that may bill; without an id it must be looked up at the provider
    submitted    the provider's id is known: it is polled until it ends
    ended        every one of its requests is settled, failed or planned again

While a batch lives (submitting, submitted) its requests stay in flight and their reservations charged.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import Any

from spiritsafe.records import Record, Request
from spiritsafe.store.database import Database

DROP = """UPDATE requests SET state = 'planned', attempts = attempts - 1, bound_tokens = 0, bound_pico = 0,
    batch = NULL
    WHERE state = 'in_flight' AND batch IN (SELECT id FROM batches WHERE state = 'prepared')"""
CLOSE = """UPDATE batches SET state = 'ended', status = 'closed' WHERE state <> 'ended'
    AND NOT EXISTS (SELECT 1 FROM requests WHERE batch = batches.id AND state = 'in_flight')"""
LIVING = """SELECT id, mark, service, state, remote, requests, began_at, purpose FROM batches
    WHERE state IN ('submitting', 'submitted') ORDER BY id"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Batch(Record):
    """A batch that lives."""

    id: int
    mark: str
    """Random name by which the provider's list shows it, where it has metadata."""
    service: str
    """Who runs it."""
    state: str
    remote: str | None
    """The provider's id; None while it is not known whether it was accepted."""
    requests: int
    began_at: float
    """Seconds since the epoch at which it came into this state."""
    purpose: str


class Batches:
    """The batches of one ledger. Every change is on disk when the call returns."""

    def __init__(self, db: Database) -> None:
        self._db = db
        db.run(DROP)
        db.run(CLOSE)  # the dropped ones, and one whose last request was settled just before a kill

    def begin(self, service: str, mark: str, purpose: str) -> int:
        """A new batch, not yet submitted; the number under which its requests are reserved."""
        sql = "INSERT INTO batches (service, mark, state, began_at, purpose) VALUES (?, ?, 'prepared', ?, ?)"
        cursor = self._db.run(sql, (service, mark, time.time(), purpose))
        self._db.flush()
        assert cursor.lastrowid is not None
        return cursor.lastrowid

    def submitting(self, batch: int, requests: int) -> Batch:
        """Write down the intent: the next call may bill. Returns the batch as it now lives."""
        self._change(batch, state="submitting", requests=requests)
        return next(living for living in self.living() if living.id == batch)

    def submitted(self, batch: int, remote: str) -> None:
        """The provider has it under this id."""
        self._change(batch, state="submitted", remote=remote)

    def ended(self, batch: int, status: str) -> None:
        """None of its requests is in flight any more."""
        self._change(batch, state="ended", status=status)

    def living(self, service: str | None = None) -> list[Batch]:
        """Batches that may still bring answers, oldest first; of one service, or all."""
        names = [name.strip() for name in LIVING.removeprefix("SELECT").split("FROM")[0].split(",")]
        found = [Batch(**dict(zip(names, row, strict=True))) for row in self._db.run(LIVING)]
        return [batch for batch in found if service in (None, batch.service)]

    def remotes(self) -> set[str]:
        """The provider's ids of all batches ever."""
        return {row[0] for row in self._db.run("SELECT remote FROM batches WHERE remote IS NOT NULL")}

    def requests(self, batch: int) -> dict[str, Request]:
        """Requests of a batch that are still in flight, by hash."""
        sql = "SELECT request_hash, request FROM requests WHERE batch = ? AND state = 'in_flight'"
        return {key: Request.from_json(json.loads(text)) for key, text in self._db.run(sql, (batch,))}

    def in_flight(self, purpose: str) -> int:
        """Requests of a purpose that are in a living batch."""
        sql = """SELECT COUNT(DISTINCT request_hash) FROM purposes JOIN requests USING (request_hash)
            WHERE purpose = ? AND state = 'in_flight' AND batch IS NOT NULL"""
        return int(self._db.run(sql, (purpose,)).fetchone()[0])

    def _change(self, batch: int, **values: Any) -> None:
        names = ", ".join(f"{name} = ?" for name in (*values, "began_at"))
        self._db.run(f"UPDATE batches SET {names} WHERE id = ?", (*values.values(), time.time(), batch))
        self._db.flush()
