"""What a poll costs does not depend on how much was ever published, finished or waits."""

from __future__ import annotations

import json
from typing import Any
from uuid import uuid4

import psycopg

from memory import bus, statements, tasks
from memory.database import Database

EVENTS = """
    INSERT INTO dataswarm.events (topic, subject, noun, reference_id)
    SELECT 'task.succeeded', 'warehouse://shop', 'task', n FROM generate_series(1, 2000) AS n
"""
TASKS = """
    INSERT INTO dataswarm.tasks (id, agent, kind, subject, payload, priority, attempt, max_attempts, deadline_seconds,
                                 created_at, ready_at, key_outlives, exclusive, error)
    SELECT nextval('dataswarm.task_ids'), 'health', 'act', 'warehouse://shop', '{}', 0, 0, 5, 900, now(), now(),
           false, false, '' FROM generate_series(1, 40000)
"""


def _buffers(url: str, name: str, **parameters: Any) -> int:
    """The blocks a statement reads, as the worker in its role."""
    with psycopg.connect(url) as connection:
        connection.execute("SET ROLE dataswarm_internal")
        query = f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {statements.all()[name]}"
        connection.execute(query.encode(), {"now": None, **parameters})  # the catalogue's own blocks come first
        connection.rollback()
        connection.execute("SET ROLE dataswarm_internal")
        row = connection.execute(query.encode(), {"now": None, **parameters}).fetchone()
        assert row is not None
        connection.rollback()
        plan = row[0] if isinstance(row[0], list) else json.loads(row[0])
        return int(plan[0]["Plan"]["Shared Hit Blocks"] + plan[0]["Plan"]["Shared Read Blocks"])


async def test_reading_the_bus_at_its_end_is_cheap(db: Database, database_url: str, owner_url: str) -> None:
    """Past 100,000 events a poll that finds nothing reads a few blocks."""
    with psycopg.connect(owner_url, autocommit=True) as owner:
        for _ in range(50):
            owner.execute(EVENTS)
        owner.execute("VACUUM ANALYZE dataswarm.events")
    async with db.transaction() as tx:
        cursor = await bus.now_cursor(tx)
    xmax, open_ = bus._parts(cursor.base)
    read = _buffers(
        database_url,
        "read_events",
        target=None,
        open=open_,
        beyond_xid=str(xmax),
        beyond_id=-1,
        after_xid="0",
        after_id=0,
        patterns=["^observation.*$"],
        agent="health",
        limit=200,
    )
    assert read < 30


async def test_claiming_from_a_backlog_is_cheap(db: Database, database_url: str, owner_url: str) -> None:
    """A claim of ten reads what ten rows need, whatever the backlog; the updates stay HOT."""
    with psycopg.connect(owner_url, autocommit=True) as owner:
        owner.execute(TASKS)
        owner.execute("VACUUM ANALYZE dataswarm.tasks")
    read = _buffers(
        database_url,
        "claim_tasks",
        agents=["health"],
        marks=[0],
        share=10,
        limit=10,
        worker=uuid4(),
        lease_seconds=15,
    )
    assert read < 150
    worker = uuid4()
    claimed = await tasks.claim(db, ["health"], limit=2000, worker=worker, lease_seconds=15)
    async with db.transaction() as tx:
        await tx.all(
            "renew_tasks",
            ids=[task.id for task in claimed],
            tokens=[task.token for task in claimed],
            lease_seconds=15,
        )
    await db.close()  # a session reports what it did when it ends
    with psycopg.connect(owner_url, autocommit=True) as owner:
        row = owner.execute(
            "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = 'tasks'"
        ).fetchone()
    assert row is not None
    assert row[0] >= 4000
    assert row[1] >= 0.9 * row[0]
