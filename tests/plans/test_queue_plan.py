"""What the queue costs does not depend on how much waits, is parked, or was ever finished.

By default with 100,000 rows; `DATASWARM_PLAN_ROWS=1000000` is the long form.
"""

from __future__ import annotations

import os
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import psycopg

from config.assets import Asset
from memory.connection.database import Database
from memory.queue import kinds, tasks
from memory.queue.kinds import Kind
from memory.records import NewTask
from tests.plans.test_bus_plan import buffers

ROWS = int(os.environ.get("DATASWARM_PLAN_ROWS", "100000"))
ORDERS = Asset("warehouse", "shop", "raw.orders")
COLUMNS = """id, agent, kind, subject, payload, priority, attempt, max_attempts, deadline_seconds, created_at,
    key_outlives, exclusive, announces, error"""
VALUES = "nextval('dataswarm.task_ids'), 'health', 'act', 'warehouse://shop', '{}', 0, 0, 5, 900, now(), false"


def _fill(owner_url: str, *statements: str) -> None:
    with psycopg.connect(owner_url, autocommit=True) as owner:
        for statement in statements:
            owner.execute(statement.encode())
        owner.execute("VACUUM ANALYZE dataswarm.tasks, dataswarm.tasks_scheduled, dataswarm.tasks_history")


def _live(rows: int) -> str:
    return f"""INSERT INTO dataswarm.tasks ({COLUMNS}, ready_at)
               SELECT {VALUES}, false, false, '', now() FROM generate_series(1, {rows})"""


def _waiting(rows: int, reason: str, *, exclusive: bool, due: str = "NULL") -> str:
    return f"""INSERT INTO dataswarm.tasks_scheduled ({COLUMNS}, reason, due_at)
               SELECT {VALUES.replace("'warehouse://shop'", "'warehouse://shop/' || n")}, {exclusive}, false, '',
                      '{reason}', {due} FROM generate_series(1, {rows}) AS n"""


FINISHED = f"""
    INSERT INTO dataswarm.tasks_history (id, agent, kind, subject, payload, priority, attempt, max_attempts,
        deadline_seconds, created_at, error, state, finished_at)
    SELECT nextval('dataswarm.task_ids'), 'health', 'act', 'warehouse://shop', '{{}}', 0, 1, 5, 900, now(), '',
           'succeeded', now() FROM generate_series(1, {ROWS})
"""


def _claiming(agents: list[str], kinds_: list[str], marks: list[int]) -> dict[str, Any]:
    return {
        "agents": list(set(agents)),
        "queue_agents": agents,
        "queue_kinds": kinds_,
        "marks": marks,
        "shares": [10] * len(agents),
        "share": 10,
        "limit": 10,
        "worker": uuid4(),
        "lease_seconds": 15,
        "nonce": "0" * 32,
    }


async def test_a_backlog_after_an_empty_table_was_vacuumed(database_url: str, owner_url: str) -> None:
    """The server believes the table empty: claiming and finishing still find their few rows by the primary key."""
    with psycopg.connect(owner_url, autocommit=True) as owner:
        owner.execute(_live(ROWS).encode())
        owner.execute("DELETE FROM dataswarm.tasks")
        owner.execute("VACUUM dataswarm.tasks")
        owner.execute(_live(ROWS).encode())
        (least,) = owner.execute("SELECT min(id) FROM dataswarm.tasks").fetchone() or (0,)
    assert buffers(database_url, "claim_tasks", **_claiming(["health"], ["act"], [0])) < 150
    ids = list(range(least, least + 10))
    assert buffers(database_url, "finish_tasks", ids=ids, tokens=[uuid4()] * 10, results=None) < 150


async def test_claiming_from_a_backlog_is_cheap(db: Database, database_url: str, owner_url: str) -> None:
    """A claim of ten reads what ten rows need, whatever the backlog; the updates stay HOT."""
    _fill(owner_url, _live(ROWS), FINISHED)
    claiming = _claiming(["health", "health"], ["sense", "act"], [0, 0])
    assert buffers(database_url, "claim_tasks", **claiming) < 150
    worker = uuid4()
    claimed = await tasks.claim(db, ["health"], limit=2000, worker=worker, lease_seconds=15)
    async with db.transaction() as tx:
        await tx.all(
            "renew_tasks",
            ids=[task.id for task in claimed],
            tokens=[task.token for task in claimed],
            lease_seconds=15,
        )
    finishing = {"ids": [task.id for task in claimed[:10]], "tokens": [task.token for task in claimed[:10]]}
    assert buffers(database_url, "finish_tasks", results=None, **finishing) < 250
    await db.close()  # a session reports what it did when it ends
    with psycopg.connect(owner_url, autocommit=True) as owner:
        row = owner.execute(
            "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = 'tasks'"
        ).fetchone()
    assert row is not None
    assert row[0] >= 4000
    assert row[1] >= 0.9 * row[0]


async def test_a_mark_passes_over_what_a_reader_pins(db: Database, database_url: str, owner_url: str) -> None:
    """Dead rows that cannot be removed lie before the live ones: with the mark a claim does not visit them."""
    _fill(owner_url, _live(ROWS // 5))
    with psycopg.connect(owner_url) as reader:
        reader.execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM dataswarm.tasks")
        with psycopg.connect(owner_url, autocommit=True) as owner:
            owner.execute("DELETE FROM dataswarm.tasks")
            owner.execute(_live(100).encode())
            (mark,) = owner.execute("SELECT min(id) FROM dataswarm.tasks").fetchone() or (0,)
        without = buffers(database_url, "claim_tasks", **_claiming(["health"], ["act"], [0]))
        with_mark = buffers(database_url, "claim_tasks", **_claiming(["health"], ["act"], [mark]))
    assert with_mark * 5 < without


async def test_promoting_from_many_that_wait_is_cheap(db: Database, database_url: str, owner_url: str) -> None:
    """One task due among many later ones, and many parked: a poll reads a few blocks."""
    _fill(
        owner_url,
        _waiting(ROWS, "later", exclusive=False, due="now() + n * interval '1 minute'"),
        _waiting(1, "later", exclusive=False, due="now() - interval '1 minute'"),
    )
    for name in ("next_due", "settle_due", "promote_due"):
        parameters = {} if name == "next_due" else {"limit": 500}
        assert buffers(database_url, name, **parameters) < 100, name


async def test_admitting_from_many_parked_is_cheap(db: Database, database_url: str, owner_url: str) -> None:
    """A place that is free is filled from a long row of parked tasks at the price of one."""
    _fill(owner_url, _waiting(ROWS, "limit", exclusive=False))
    async with db.transaction() as tx:
        await kinds.declare(tx, [Kind("health", "act", max_running=10)])
    assert buffers(database_url, "lock_limited") < 60
    locked = database_url + "&options=" + quote("-cdataswarm.limited=" + '[["health","act",10]]')
    assert buffers(locked, "admit_limited", limit=500) < 400


async def test_handing_over_a_subject_is_cheap(db: Database, database_url: str, owner_url: str) -> None:
    """Among many subjects and many parked tasks the next of one subject is found by the index."""
    _fill(owner_url, _waiting(ROWS, "subject", exclusive=True))
    async with db.transaction() as tx:
        (id_,) = await tasks.enqueue(tx, [NewTask("health", "act", ORDERS, exclusive=True)])
    releasing = {"subjects": [str(ORDERS)], "holders": [str(id_)]}
    assert buffers(database_url, "release_subjects", **releasing) < 100
    assert buffers(database_url, "parked_subjects", after="", limit=50) < 400
    assert buffers(database_url, "promote_parked", subjects=["warehouse://shop/7"]) < 100
