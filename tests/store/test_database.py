"""Group commits: what `committed` promises, and what happens to writes while a commit is under way."""

import asyncio
import sqlite3
import threading

import pytest

from spiritsafe.errors import SpiritSafeError
from spiritsafe.store.database import Database

TABLES = "CREATE TABLE numbers (n INTEGER PRIMARY KEY, seen INTEGER NOT NULL DEFAULT 0);"
PUT, SEE = "INSERT INTO numbers (n) VALUES (?)", "UPDATE numbers SET seen = 1 WHERE n = ?"


@pytest.fixture
def database(tmp_path):
    database = Database(tmp_path / "db.sqlite", TABLES, 1)
    yield database
    database.close()


def on_disk(database):
    with sqlite3.connect(f"file:{database.path}?mode=ro", uri=True) as other:
        return [row[0] for row in other.execute("SELECT n FROM numbers ORDER BY n")]


async def commit_under_way(database, n=1):
    """Write n and begin the commit, which goes on until the returned gate is set."""
    gate = threading.Event()
    database._thread.submit(gate.wait)
    database.write(PUT, (n,))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    return gate


def test_without_a_loop_an_operation_is_on_disk_when_it_is_done(database):
    database.write(PUT, (1,))
    assert on_disk(database) == []
    database.done()
    assert on_disk(database) == [1]


def test_committed_means_on_disk_also_for_what_came_during_a_commit(database):
    async def writer(n):
        database.write(PUT, (n,))
        await database.committed()
        assert n in on_disk(database)
        await asyncio.sleep(n % 3 / 1000)
        database.write(PUT, (n + 100,))
        await database.committed()
        assert n + 100 in on_disk(database)

    async def all_of_them():
        await asyncio.gather(*map(writer, range(50)))

    asyncio.run(all_of_them())
    assert on_disk(database) == [*range(50), *range(100, 150)]


def test_a_write_during_a_commit_waits_for_the_next_one(database):
    async def work():
        gate = await commit_under_way(database)
        assert database._commit is not None
        database.write(PUT, (2,))
        assert database._queue == [(PUT, (2,), None)]
        gate.set()
        await database.committed()

    asyncio.run(work())
    assert on_disk(database) == [1, 2]


def test_reading_sees_what_waits(database):
    async def work():
        gate = await commit_under_way(database)
        database.write(PUT, (2,))
        gate.set()
        return database.run("SELECT COUNT(*) FROM numbers").fetchone()

    assert asyncio.run(work()) == (2,)


def test_a_write_that_finds_no_row_is_told_now_or_to_who_waits(database):
    with pytest.raises(SpiritSafeError, match="no such number"):
        database.write(SEE, (7,), missing="no such number")

    async def work():
        gate = await commit_under_way(database)
        database.write(SEE, (8,), missing="no such number")
        gate.set()
        with pytest.raises(SpiritSafeError, match="no such number"):
            await database.committed()

    asyncio.run(work())
    with pytest.raises(SpiritSafeError, match="no such number"):
        database.check_usable()


def test_what_was_right_is_kept_when_something_written_during_a_commit_was_wrong(database):
    async def work():
        gate = await commit_under_way(database)
        database.write(PUT, (2,))
        database.write(SEE, (8,), missing="no such number")
        database.write(PUT, (3,))
        gate.set()
        with pytest.raises(SpiritSafeError, match="no such number"):
            await database.committed()

    asyncio.run(work())
    assert on_disk(database) == [1, 2, 3]


def test_a_loop_that_ended_in_the_middle_of_a_commit_leaves_nothing_behind(database):
    async def leave(n):
        gate = await commit_under_way(database, n)
        database.write(PUT, (n + 10,))
        gate.set()

    async def wait():
        database.write(PUT, (3,))
        await asyncio.wait_for(database.committed(), timeout=5)

    asyncio.run(leave(1))
    asyncio.run(wait())
    assert on_disk(database) == [1, 3, 11]
    asyncio.run(leave(2))
    database.write(PUT, (4,))
    database.done()
    assert on_disk(database) == [1, 2, 3, 4, 11, 12]


def test_closing_tells_an_error_that_nobody_has_met(tmp_path):
    database = Database(tmp_path / "db.sqlite", TABLES, 1)

    async def work():
        gate = await commit_under_way(database)
        database.write(SEE, (8,), missing="no such number")
        gate.set()
        while database._commit is not None:
            await asyncio.sleep(0.001)

    asyncio.run(work())
    with pytest.raises(SpiritSafeError, match="no such number"):
        database.close()
    database.close()
