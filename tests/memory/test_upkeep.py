"""Keys, counters, partitions, and how the database's own errors come out."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import psycopg
import pytest

from config.assets import Asset
from config.errors import SetupError, TransientError, UsageError
from memory import bus, keys
from memory.connection.database import Database
from memory.measuring import counters
from memory.queue import tasks
from memory.records import NewTask, Reference, Sensitivity
from memory.server import partitions
from memory.server.embedded import EmbeddedServer
from tests.memory.conftest import Clock


async def test_a_key_is_taken_once(db: Database, clock: Clock) -> None:
    """One of many takers gets it; it is free again when given back or expired."""

    async def take() -> bool:
        async with db.transaction() as tx:
            return await keys.take(tx, "slot", "a", expires_seconds=60)

    assert sum(await asyncio.gather(*(take() for _ in range(8)))) == 1
    clock.forward(60)
    assert await take()
    async with db.transaction() as tx:
        assert await keys.free(tx, "slot", "a")
        assert await keys.take(tx, "slot", "a", holder="me")
        assert not await keys.free(tx, "slot", "a", holder="you")
        with pytest.raises(UsageError, match="key"):
            await keys.take(tx, "slot", "")


async def test_counters_add_up(db: Database) -> None:
    """Concurrent counting loses nothing; labels make series; what rolls back does not count."""

    async def once() -> None:
        async with db.transaction() as tx:
            await counters.count(tx, "made_total", {"kind": "x"})

    await asyncio.gather(*(once() for _ in range(30)))

    async def backwards() -> None:
        async with db.transaction() as tx:
            await counters.count(tx, "made_total", {"kind": "x"}, 5)
            await counters.count(tx, "made_total", {}, -1)

    with pytest.raises(UsageError):
        await backwards()
    async with db.transaction() as tx:
        await counters.count(tx, "made_total", {"kind": "y"}, 2.5)
        found = {(count.name, count.labels["kind"]): count.value for count in await counters.all(tx)}
    assert found == {("made_total", "x"): 30, ("made_total", "y"): 2.5}


async def test_partitions_are_made_ahead_and_dropped(db: Database, clock: Clock) -> None:
    """A week ahead exists; a month later what is past retention is gone, rows of the gap are kept in their day."""
    await partitions.maintain(db)
    async with db.transaction() as tx:
        assert set((await partitions.horizon(tx)).values()) == {partitions.AHEAD_DAYS}
        await bus.publish(tx, "observation.x", Asset("warehouse", "shop"), Reference("observation", 1))
    clock.forward(20 * 86400)  # nobody maintained meanwhile: the row goes to the default partition
    async with db.transaction() as tx:
        await bus.publish(tx, "observation.x", Asset("warehouse", "shop"), Reference("observation", 2))
    done = await partitions.maintain(db, {"events": 10})
    assert any(name.startswith("events_") for name in done.dropped)
    async with db.transaction() as tx:
        assert [event.reference.id for event in await bus.tail(tx)] == [2]
        assert set((await partitions.horizon(tx)).values()) == {partitions.AHEAD_DAYS}
    again = await partitions.maintain(db, {"events": 10})
    assert (again.made, again.dropped) == (0, ())


async def test_a_wrong_retention_is_refused(db: Database) -> None:
    """Unknown tables and nothing-kept are mistakes."""
    with pytest.raises(UsageError, match="nonsense"):
        await partitions.maintain(db, {"nonsense": 3})
    with pytest.raises(UsageError, match="one day"):
        await partitions.maintain(db, {"events": 0})


async def test_the_worker_cannot_touch_the_schema(db: Database, database_url: str) -> None:
    """Neither DDL nor deleting events; without a clearance role it reads nothing at all."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        for forbidden in (
            "SELECT FROM dataswarm.tasks",
            "SET ROLE dataswarm_confidential; DELETE FROM dataswarm.events",
            "SET ROLE dataswarm_confidential; DROP TABLE dataswarm.tasks",
            "SET ROLE dataswarm_confidential; SELECT dataswarm.drop_partitions('events', '2999-01-01')",
            "SET ROLE dataswarm_owner",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(forbidden.encode())
            connection.execute("RESET ROLE")


async def test_a_transaction_runs_under_its_clearance(db: Database) -> None:
    """The role is the clearance's, for this transaction alone."""
    for level in Sensitivity:
        async with db.transaction(clearance=level) as tx:
            row = await tx.one("looking_as")
        assert row is not None
        assert row["role"] == f"dataswarm_{level.name.lower()}"


async def test_errors_hide_values(db: Database) -> None:
    """A bad value does not come out in the message; the statement's name does."""
    async with db.transaction() as tx:
        with pytest.raises(Exception, match="take_key") as caught:
            await tx.run("take_key", scope="s", key="k", holder="", seconds="confidential")
        assert "confidential" not in str(caught.value)
        with pytest.raises(Exception, match="take_key"):
            await tx.run("take_key", scope="s", key="k", holder="", seconds=None)


async def test_a_failed_transaction_gives_its_connection_back(database_url: str) -> None:
    """With a pool of one, an error and a cancellation leave it usable."""
    db = await Database.open(database_url, application_name="dataswarm/test", pool_size=1)
    try:

        async def fail() -> None:
            async with db.transaction() as tx:
                await counters.count(tx, "x", {})
                raise ZeroDivisionError

        for _ in range(3):
            with pytest.raises(ZeroDivisionError):
                await fail()
        entered = asyncio.Event()

        async def hang() -> None:
            async with db.transaction():
                entered.set()
                await asyncio.Event().wait()

        task = asyncio.create_task(hang())
        await entered.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        async with db.transaction() as tx:
            assert await counters.all(tx) == []
    finally:
        await db.close()


async def test_cut_connections_are_replaced_before_anything_is_lost(
    db: Database, owner_url: str, server: EmbeddedServer
) -> None:
    """Idle connections that died are replaced silently; one that dies inside is a TransientError."""
    work = NewTask("health", "act", Asset("warehouse", "shop"))

    def cut() -> None:
        with psycopg.connect(owner_url, autocommit=True) as admin:
            admin.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
                " WHERE usename = 'dataswarm_worker' AND datname = current_database()"
            )

    async with db.transaction() as tx:
        await tasks.enqueue(tx, [work])
    cut()
    assert len(await tasks.claim(db, ["health"], limit=1, worker=uuid4(), lease_seconds=15)) == 1

    async def interrupted() -> None:
        async with db.transaction() as tx:
            await tasks.enqueue(tx, [work])
            cut()
            await tasks.enqueue(tx, [work])

    with pytest.raises(TransientError):
        await interrupted()
    assert await tasks.claim(db, ["health"], limit=1, worker=uuid4(), lease_seconds=15) == []


async def test_wrong_addresses_are_explained(server: EmbeddedServer, template: str) -> None:
    """No such database, no such user, nobody there, no address at all: a clear error, never a password."""
    for url in (
        server.url_for(database="nowhere", user="dataswarm_worker"),
        server.url_for(database=template, user="nobody"),
        "garbage hunter2",
    ):
        with pytest.raises(SetupError) as caught:
            await Database.open(url, application_name="dataswarm/test")
        assert caught.value.hint
        assert "hunter2" not in str(caught.value)
    with pytest.raises(TransientError, match="does not answer"):
        await Database.open("postgresql://x:hunter2@127.0.0.1:1/x", application_name="dataswarm/test")
