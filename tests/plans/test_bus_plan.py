"""What a poll of the bus costs does not depend on how much was ever published."""

from __future__ import annotations

import json
from typing import Any

import psycopg

from memory import bus
from memory.bus import events
from memory.connection import statements
from memory.connection.database import Database
from tests.pace import quick

EVENTS = """
    INSERT INTO dataswarm.events (topic, subject, noun, reference_id)
    SELECT 'task.succeeded', 'warehouse://shop', 'task', n FROM generate_series(1, 2000) AS n
"""


def buffers(url: str, name: str, **parameters: Any) -> int:
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
    xmax, open_ = events._parts(cursor.base)
    read = buffers(
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
    assert read < quick(30)
