"""The ledger: every request, its state and its money, in one SQLite file.

    planned -> in_flight -> settled -> rejected        (rejected: by `judge`; the answer is kept)
        ^         |
        |         +-------> unknown   may have been billed: its reservation stays charged; sent again
        +---------+                   certainly not billed (429, 5xx, refused): reservation released
                  +-------> failed    out of attempts, or not worth repeating

What is in flight in a batch stays so when the process ends: its batch lives on (see batches.py).

`reserve` before sending charges an upper bound, `settle` afterwards replaces it by what was billed. The
budget covers spent + in flight + unknown over the whole file. Inside an event loop operations are
committed in groups: send only after `await committed()`. Server errors (HTTP 5xx) count as not billed,
as the large providers have it. Money is held in whole picodollars, so that sums are exact.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from spiritsafe.costs.economics import Bound
from spiritsafe.errors import BudgetReached, SpiritSafeError, TeacherError
from spiritsafe.recipe import Budget
from spiritsafe.records import Failure, Reply, Request, Sample, TopK
from spiritsafe.store import rows
from spiritsafe.store.batches import Batches
from spiritsafe.store.database import Database
from spiritsafe.store.rows import PICO
from spiritsafe.store.rows import Totals as Totals
from spiritsafe.store.schema import MIGRATIONS, TABLES, VERSION

RESERVE = """UPDATE requests SET state = 'in_flight', attempts = attempts + 1, bound_tokens = ?,
    bound_pico = ?, sent_at = ?, batch = ?
    WHERE request_hash = ? AND state IN ('planned', 'unknown', 'failed')"""
SETTLE = """UPDATE requests SET state = 'settled', bound_tokens = 0, bound_pico = 0, input_tokens = ?,
    output_tokens = ?, reasoning_tokens = ?, cached_tokens = ?, spent_tokens = ?, spent_pico = ?,
    reply = ?, settled_at = ? WHERE request_hash = ?"""
FAIL = """UPDATE requests SET state = ?, bound_tokens = 0, bound_pico = 0, reason = ?, retryable = ?,
    unknown_attempts = unknown_attempts + ?, unknown_tokens = unknown_tokens + ?,
    unknown_pico = unknown_pico + ?, settled_at = ?, batch = NULL WHERE request_hash = ?"""
INTERRUPTED = """UPDATE requests SET state = 'unknown', reason = 'interrupted', retryable = 1,
    unknown_attempts = unknown_attempts + 1, unknown_tokens = unknown_tokens + bound_tokens,
    unknown_pico = unknown_pico + bound_pico, bound_tokens = 0, bound_pico = 0
    WHERE state = 'in_flight' AND batch IS NULL"""
STANDING = "SELECT request_hash, bound_tokens, bound_pico FROM requests WHERE state = 'in_flight'"
CHARGED = """SELECT COALESCE(SUM(spent_tokens + unknown_tokens + bound_tokens), 0),
    COALESCE(SUM(spent_pico + unknown_pico + bound_pico), 0) FROM requests"""
PLAN = "INSERT OR IGNORE INTO requests (request_hash, request, channel, planned_at) VALUES (?, ?, ?, ?)"
TODO = """SELECT request_hash FROM purposes JOIN requests USING (request_hash) WHERE purpose = ?
    AND (state IN ('planned', 'unknown') OR (state = 'failed' AND retryable))"""
SAMPLES = """SELECT request_hash, prompt_id, request,
    CASE WHEN batch IS NULL THEN channel ELSE 'batch' END, reply, spent_pico, accepted, reject_reason,
    settled_at FROM purposes JOIN requests USING (request_hash)
    WHERE purpose = ? AND state IN ('settled', 'rejected') ORDER BY request_hash, prompt_id"""
REPLIES = """SELECT DISTINCT request_hash, reply FROM purposes JOIN requests USING (request_hash)
    WHERE purpose = ? AND state IN ('settled', 'rejected')"""
OF_PURPOSE = "request_hash IN (SELECT request_hash FROM purposes WHERE purpose = ?)"


class Ledger:
    """One ledger file, opened by one process at a time.

    Raises SpiritSafeError when another process has it open or the disk is full, CorruptData when the file
    is damaged or of another version. Attempts that were in flight when the last process ended become
    `unknown`: they may have been answered and billed, so they stay charged and are sent again. Those in a
    batch stay in flight, and those of a batch that was never submitted are planned again.
    """

    def __init__(self, path: str | Path, budget: Budget | None = None) -> None:
        self.path = Path(path)
        self.budget = budget or Budget()
        self._standing: dict[str, tuple[int, int]] = {}  # reservations in flight: tokens, picodollars
        self._db = Database(self.path, TABLES, VERSION, MIGRATIONS)
        try:
            self.batches = Batches(self._db)
            self._db.run(INTERRUPTED)
            for key, tokens, pico in self._db.run(STANDING):
                self._standing[key] = (tokens, pico)
            self._tokens, self._pico = self._db.run(CHARGED).fetchone()
        except BaseException:
            self._db.close()
            raise

    # Planning and reading

    def plan(self, requests: Sequence[Request], purpose: str, channel: str = "api") -> list[str]:
        """Enter requests under a purpose and return their hashes, in order.

        `purpose` then means exactly these requests: what an earlier plan of the same purpose asked for
        besides stays in the ledger, paid, but is no longer part of it.
        """
        hashes = [request.request_hash for request in requests]
        pairs, now = list(zip(hashes, requests, strict=True)), time.time()
        with self._db.whole():
            self._db.run("DELETE FROM purposes WHERE purpose = ?", (purpose,))
            self._db.run_many(
                PLAN,
                ((key, rows.request_json(request), channel, now) for key, request in pairs),
            )
            self._db.run_many(
                "INSERT OR IGNORE INTO purposes VALUES (?, ?, ?)",
                ((purpose, key, request.prompt_id) for key, request in pairs),
            )
        return hashes

    def todo(self, purpose: str) -> set[str]:
        """Hashes to send: planned, unknown, and failed for a reason that another run may not meet."""
        return {row[0] for row in self._db.run(TODO, (purpose,))}

    def samples(self, purpose: str) -> Iterator[Sample]:
        """Settled answers of a purpose, rejected ones included, sorted by request hash and prompt id."""
        for row in self._db.run(SAMPLES, (purpose,)):
            yield rows.sample(*row)

    def totals(self, purpose: str | None = None) -> Totals:
        """Counts and money of one purpose, or of the whole ledger: the latter is what the budget covers."""
        which, values = ("1", ()) if purpose is None else (OF_PURPOSE, (purpose,))
        sums = ", ".join(f"COALESCE(SUM({name}), 0)" for name in rows.SUMMED)
        states = self._db.run(f"SELECT state, COUNT(*) FROM requests WHERE {which} GROUP BY state", values)
        reasons = self._db.run(
            f"SELECT reason, COUNT(*) FROM requests WHERE state = 'failed' AND {which} GROUP BY 1",
            values,
        )
        money = self._db.run(f"SELECT {sums} FROM requests WHERE {which}", values)
        return rows.totals(dict(states), money.fetchone(), dict(reasons))

    def failed_attempts(self) -> dict[str, int]:
        """All failed attempts ever, counted by reason; most of them were repeated with success."""
        return dict(self._db.run("SELECT reason, attempts FROM failures ORDER BY reason"))

    def latencies(self, purpose: str) -> dict[str, float]:
        """Seconds that each settled answer of a purpose took, by request hash."""
        return {row[0]: float(json.loads(row[1])["latency_s"]) for row in self._db.run(REPLIES, (purpose,))}

    def top_logprobs(self, purpose: str) -> dict[str, TopK]:
        """Alternatives to the tokens of each settled answer of a purpose, where the server sent them."""
        found = ((key, json.loads(reply)["top_logprobs"]) for key, reply in self._db.run(REPLIES, (purpose,)))
        return {key: TopK.from_json(value) for key, value in found if value}

    def verify(self) -> list[str]:
        """Problems of the file, one line each: damage that SQLite sees, requests without their hash."""
        found = [f"{self.path}: {row[0]}" for row in self._db.run("PRAGMA integrity_check") if row[0] != "ok"]
        for key, text in self._db.run("SELECT request_hash, request FROM requests"):
            if not _is_hash_of(key, text):
                found.append(f"{self.path}: request {key[:12]} was edited")
        return found

    @property
    def charged(self) -> tuple[int, float]:
        """Tokens and dollars that count against the budget now, without reading the file."""
        return self._tokens, self._pico / PICO

    # One attempt: reserve, then settle or fail

    def reserve(self, request_hash: str, bound: Bound, batch: int | None = None) -> None:
        """Charge the upper bound of one attempt, in a batch or alone; send only after `await committed()`.

        Raises BudgetReached, with nothing changed, when the bound does not fit into the budget, and
        SpiritSafeError when the request is settled or in flight already.
        """
        if request_hash in self._standing:
            raise SpiritSafeError(f"request {request_hash[:12]} is in flight already")
        pico = math.ceil(bound.usd * PICO)
        self._check_room(bound.tokens, pico)
        values = (bound.tokens, pico, time.time(), batch, request_hash)
        self._db.write(RESERVE, values, missing=f"request {request_hash[:12]} is not waiting to be sent")
        self._standing[request_hash] = (bound.tokens, pico)
        self._charge(bound.tokens, pico)
        self._db.done()

    def settle(self, request_hash: str, reply: Reply, cost_usd: float) -> None:
        """Keep the answer and replace the reservation by what was billed.

        A reply without usage counts as many tokens as were reserved. Raises TeacherError, after keeping
        the answer, when more was billed than the bound allowed and it matters (money, or a token budget).
        """
        answer = rows.dump(rows.reply_json(reply))
        reserved_tokens, reserved_pico = self._take(request_hash)
        usage, pico = reply.usage, round(cost_usd * PICO)
        tokens = usage.input_tokens + usage.output_tokens or reserved_tokens
        billed = (usage.input_tokens, usage.output_tokens, usage.reasoning_tokens, usage.cached_tokens)
        self._db.write(SETTLE, (*billed, tokens, pico, answer, time.time(), request_hash))
        self._charge(tokens - reserved_tokens, pico - reserved_pico)
        self._db.done()
        if pico > reserved_pico or (tokens > reserved_tokens and self.budget.tokens is not None):
            raise _above_bound(request_hash, tokens, reserved_tokens, pico, reserved_pico)

    def fail(self, request_hash: str, failure: Failure, *, final: bool) -> None:
        """End an attempt without an answer; `final` settles the request as failed for this reason."""
        tokens, pico = self._take(request_hash)
        billed = failure.maybe_billed
        state = "failed" if final else "unknown" if billed else "planned"
        charged = (billed, billed * tokens, billed * pico)
        ended = time.time() if final else None
        self._db.write(FAIL, (state, failure.reason, failure.retryable, *charged, ended, request_hash))
        self._db.write(
            "INSERT INTO failures VALUES (?, 1) ON CONFLICT (reason) DO UPDATE SET attempts = attempts + 1",
            (failure.reason,),
        )
        if not billed:
            self._charge(-tokens, -pico)
        self._db.done()

    def judge(self, verdicts: Iterable[tuple[str, bool, str | None]]) -> None:
        """Record (request hash, accepted, reason of rejection) for settled answers; may be repeated."""
        with self._db.whole():
            self._db.run_many(
                "UPDATE requests SET accepted = ?, reject_reason = ?, state = ? "
                "WHERE request_hash = ? AND state IN ('settled', 'rejected')",
                (
                    (ok, None if ok else why, "settled" if ok else "rejected", key)
                    for key, ok, why in verdicts
                ),
            )

    # Commits

    async def committed(self) -> None:
        """Return when every operation so far is on disk; raises what kept it from getting there."""
        await self._db.committed()

    def flush(self) -> None:
        """Commit now."""
        self._db.flush()

    def close(self) -> None:
        """Commit and release the file; attempts still in flight become unknown at the next opening."""
        self._db.close()

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _take(self, request_hash: str) -> tuple[int, int]:
        """End a reservation: exactly once, whatever happened to the attempt."""
        if request_hash not in self._standing:
            raise SpiritSafeError(f"request {request_hash[:12]} has no reservation: it is not in flight")
        return self._standing.pop(request_hash)

    def _charge(self, tokens: int, pico: int) -> None:
        self._tokens += tokens
        self._pico += pico

    def _check_room(self, tokens: int, pico: int) -> None:
        usd, most = self.budget.usd, self.budget.tokens
        hint = "raise budget.{} and run the same command again; what is settled is not paid twice"
        if usd is not None and self._pico + pico > int(usd * PICO):
            state = f"{self._pico / PICO:.6g} of {usd:.6g} USD are charged"
            message = f"budget reached: {state}, the next request may cost {pico / PICO:.6g}"
            raise BudgetReached(message, hint=hint.format("usd"))
        if most is not None and self._tokens + tokens > most:
            state = f"{self._tokens} of {most} tokens are charged"
            message = f"budget reached: {state}, the next request may take {tokens}"
            raise BudgetReached(message, hint=hint.format("tokens"))


def _is_hash_of(key: str, text: str) -> bool:
    try:
        return Request.from_json(json.loads(text)).request_hash == key
    except (ValueError, KeyError, TypeError):
        return False


def _above_bound(key: str, tokens: int, most_tokens: int, pico: int, most_pico: int) -> TeacherError:
    return TeacherError(
        f"billed above the bound: request {key[:12]} took {tokens} tokens and {pico / PICO:.6g} USD, "
        f"at most {most_tokens} and {most_pico / PICO:.6g} were possible",
        hint="the server ignores max_tokens or its price differs; the answer is kept, sending stops",
    )
