"""The access log: batched, queryable, lossless across a database that is away for a while."""

from __future__ import annotations

import pytest

from config.errors import TransientError
from memory import access
from memory.access import AccessLog, accesses
from memory.connection.database import Database


async def test_accesses_are_written_in_batches_and_found(db: Database) -> None:
    """Nothing is written before the flush; then it is found by who, what and which."""
    log = AccessLog(db)
    log.note("pipeline-health", "read", "observation", 12)
    log.note("pipeline-health", "search", "memory", "orders\0 customer")
    log.note("ann", "read", "fact", "x" * 1000)
    async with db.transaction() as tx:
        assert await accesses(tx) == []
    assert await log.flush() == 3
    assert await log.flush() == 0
    async with db.transaction() as tx:
        assert [found.ref for found in await accesses(tx, who="pipeline-health")] == ["orders customer", "12"]
        (found,) = await accesses(tx, noun="observation", ref=12)
        assert (found.who, found.verb) == ("pipeline-health", "read")
        assert len((await accesses(tx, who="ann"))[0].ref) == 500
        assert len(await accesses(tx, limit=2)) == 2
        assert await accesses(tx, since=found.at.replace(year=found.at.year + 1)) == []


async def test_a_failed_flush_loses_nothing(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """What could not be written is written by the next flush, in order, with what came meanwhile."""
    log = AccessLog(db)
    log.note("a", "read", "fact", 1)

    async def away(*_: object) -> None:
        log.note("a", "read", "fact", 2)
        raise TransientError("the database is away")

    with monkeypatch.context() as broken:
        broken.setattr(access, "_write", away)
        with pytest.raises(TransientError):
            await log.flush()
    assert await log.flush() == 2
    async with db.transaction() as tx:
        assert [found.ref for found in await accesses(tx)] == ["2", "1"]


async def test_the_log_is_bounded(db: Database) -> None:
    """With the database away for long the oldest go first, and their number is known."""
    log = AccessLog(db)
    for number in range(access.MOST + 5):
        log.note("a", "read", "fact", number)
    assert log.lost == 5
    assert await log.flush() == access.MOST
    async with db.transaction() as tx:
        assert await accesses(tx, ref=4) == []
        assert len(await accesses(tx, ref=5)) == 1
