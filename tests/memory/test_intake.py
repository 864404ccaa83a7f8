"""Single durable writes share commits: nothing waits for a timer, nobody pays for another's mistake."""

from __future__ import annotations

import asyncio
import math
from dataclasses import replace
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from config.assets import Asset
from config.errors import UsageError
from memory import bus
from memory.connection.database import Database
from memory.queue import kinds, tasks
from memory.queue.intake import Intake
from memory.queue.kinds import Kind
from memory.records import NewTask, Reference

ORDERS = Asset("warehouse", "shop", "raw.orders")
WORK = NewTask("health", "act", ORDERS)


async def claimed(db: Database) -> list[int]:
    """The ids of all that is ready."""
    found = await tasks.claim(db, ["health"], limit=1000, worker=uuid4(), lease_seconds=15)
    return sorted(task.id for task in found)


async def test_many_at_once_share_commits_and_each_gets_its_id(db: Database, owner_url: str) -> None:
    """Two hundred puts at once take a handful of transactions, and are all there when they return."""

    def commits() -> int:
        with psycopg.connect(owner_url, autocommit=True) as connection:
            row = connection.execute(
                "SELECT count(DISTINCT xmin::text) FROM dataswarm.tasks WHERE kind = 'act'"
            ).fetchone()
            assert row is not None
            return int(row[0])

    intake = Intake(db)
    ids = await asyncio.gather(*(intake.put(replace(WORK, payload={"n": n})) for n in range(200)))
    assert 1 <= commits() <= 5
    assert await claimed(db) == sorted(id_ for id_ in ids if id_ is not None)
    assert len(set(ids)) == 200


async def test_keys_hold_within_and_between_flights(db: Database) -> None:
    """Of ten at once with one key one is written; the others learn that there is one."""
    intake = Intake(db)
    ids = await asyncio.gather(*(intake.put(replace(WORK, key="k")) for _ in range(10)))
    assert sum(id_ is not None for id_ in ids) == 1
    assert await intake.put(replace(WORK, key="k")) is None
    assert len(await claimed(db)) == 1


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"kind": "nonsense"}, "kind"),
        ({"subject": "raw.orders"}, "subject"),
        ({"payload": {"x": math.inf}}, "payload"),
        ({"key": "k" * 801}, "key"),
        ({"delay_seconds": -1}, "delay_seconds"),
    ],
)
async def test_an_invalid_one_fails_alone(db: Database, wrong: dict[str, Any], field: str) -> None:
    """Those that came with it are written."""
    intake = Intake(db)
    puts = [intake.put(WORK), intake.put(replace(WORK, **wrong)), intake.put(WORK)]
    first, bad, last = await asyncio.gather(*puts, return_exceptions=True)
    assert isinstance(bad, UsageError)
    assert bad.message.startswith(field)
    assert await claimed(db) == sorted([first, last])  # type: ignore[type-var]


async def test_one_that_only_the_database_refuses_fails_alone(db: Database) -> None:
    """Where the statement as a whole fails, each is tried by itself."""
    intake = Intake(db)
    bad = replace(WORK, incident_id=2**70)
    first, refused, last = await asyncio.gather(
        intake.put(WORK), intake.put(bad), intake.put(WORK), return_exceptions=True
    )
    assert isinstance(refused, Exception)
    assert await claimed(db) == sorted([first, last])  # type: ignore[type-var]


async def test_a_cancelled_waiter_harms_nobody(db: Database) -> None:
    """Cancelled before or during the flight: the others are written, and the intake goes on."""
    intake = Intake(db)
    puts = [asyncio.create_task(intake.put(WORK)) for _ in range(20)]
    await asyncio.sleep(0)
    puts[3].cancel()
    while intake._tasks._waiting:  # noqa: ASYNC110 - looks inside, where nothing is signalled
        await asyncio.sleep(0)
    puts[4].cancel()
    results = await asyncio.gather(*puts, return_exceptions=True)
    kept = [id_ for id_ in results if isinstance(id_, int)]
    assert len(kept) == 18
    assert set(kept) <= set(await claimed(db))
    assert await intake.put(WORK) is not None
    await intake.close()


async def test_kinds_declared_meanwhile_are_heeded(db: Database, database_url: str) -> None:
    """A limit that another process set a moment ago holds for what is put now."""
    intake = Intake(db)
    await intake.put(WORK)
    other = await Database.open(database_url, application_name="dataswarm/other", pool_size=1)
    async with other.transaction() as tx:
        await kinds.declare(tx, [Kind("health", "act", max_running=2)])
    await other.close()
    await asyncio.gather(*(intake.put(WORK) for _ in range(5)))
    assert len(await claimed(db)) == 2


async def test_published_events_are_durable_and_read_once(db: Database) -> None:
    """Fifty at once come to a cursor once each; a wrong topic fails alone."""
    async with db.transaction() as tx:
        cursor = await bus.now_cursor(tx)
    intake = Intake(db)
    for_me = intake.publish("timer.due", ORDERS, Reference("timer", 7), agent="me")
    wrong = intake.publish("Nonsense", ORDERS, Reference("x", 1))
    many = [intake.publish("observation.x", ORDERS, Reference("observation", n)) for n in range(50)]
    _, refused, *ids = await asyncio.gather(for_me, wrong, *many, return_exceptions=True)
    assert isinstance(refused, UsageError)
    assert len(set(ids)) == 50
    async with db.transaction() as tx:
        events, _ = await bus.read(tx, cursor, topics=["*"], agent="you", limit=1000)
    assert sorted(event.reference.id for event in events) == list(range(50))
