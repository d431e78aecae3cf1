"""The ledger's SQLite file as a file: its lock, its version, and its errors in words."""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Mapping
from pathlib import Path

from spiritsafe.errors import CorruptData, SpiritSafeError


def lock(path: Path) -> int:
    """An advisory lock that the kernel drops when the process ends, however it ends.

    It is on a file beside: closing a second handle of the database itself would drop SQLite's own locks.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise SpiritSafeError(f"cannot open the ledger {path}: {error.strerror}") from None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise SpiritSafeError(
            f"the ledger is in use: {path}", hint="wait for the other run or stop it"
        ) from None
    return handle


def connect(path: Path, tables: str, version: int, migrations: Mapping[int, str]) -> sqlite3.Connection:
    """Open the file; a new one gets its tables, an older one the statements that make it one of `version`.

    Raises CorruptData when it is damaged or of another version, SpiritSafeError when it cannot be opened.
    """
    try:
        db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    except sqlite3.Error as error:
        raise explain(path, error) from None
    try:
        _prepare(db, path, tables, version, migrations)
    except sqlite3.Error as error:
        db.close()
        raise explain(path, error) from None
    except BaseException:
        db.close()
        raise
    return db


def _prepare(
    db: sqlite3.Connection, path: Path, tables: str, version: int, migrations: Mapping[int, str]
) -> None:
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")
    (found,) = db.execute("PRAGMA user_version").fetchone()
    if found == 0 and db.execute("SELECT COUNT(*) FROM sqlite_master").fetchone() == (0,):
        db.executescript(f"BEGIN IMMEDIATE; {tables} PRAGMA user_version = {version}; COMMIT;")
        found = version
    while found != version and found in migrations:
        found += 1
        db.executescript(f"BEGIN IMMEDIATE; {migrations[found - 1]} PRAGMA user_version = {found}; COMMIT;")
    if found != version:
        raise CorruptData(
            f"not a ledger of version {version}: {path} says version {found}",
            hint="open it with the release that wrote it, or name another file",
        )
    if db.execute("PRAGMA quick_check(1)").fetchone() != ("ok",):
        raise _corrupt(path)


def explain(path: Path, error: sqlite3.Error) -> SpiritSafeError:
    """What an error of SQLite means for whoever runs this."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return _corrupt(path)
    if code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
        hint = "free some space and run the same command again; everything settled is kept"
        return SpiritSafeError(f"cannot write the ledger {path}: {error}", hint=hint)
    return SpiritSafeError(f"cannot use the ledger {path}: {error}")


def _corrupt(path: Path) -> CorruptData:
    return CorruptData(
        f"damaged ledger: {path}",
        hint=f"keep a copy, rescue what can be read (sqlite3 {path} .recover | sqlite3 rescued.sqlite), "
        "or move it away and collect again",
    )
