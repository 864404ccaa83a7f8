"""Connections of a process are bounded: its pool, one for LISTEN, one for the heartbeat."""

from __future__ import annotations

import asyncio

import psycopg

from memory.board import ledger
from memory.connection.database import Database
from memory.records import NewObservation
from tests.pace import until
from tests.runtime.test_loops import WELL
from tests.runtime.toys import Memo, Thinker, Well, running

POOL = 6


async def test_fifteen_agents_stay_within_the_pool_and_two(database_url: str, owner_url: str) -> None:
    """Fifteen agents considering and acting at once never hold more than the pool plus two."""
    database = await Database.open(database_url, application_name="dataswarm/bounded", pool_size=POOL)
    memos = [Memo() for _ in range(15)]
    most = 0
    watching = asyncio.Event()

    async def watch() -> None:
        nonlocal most
        async with await psycopg.AsyncConnection.connect(owner_url, autocommit=True) as connection:
            while not watching.is_set():
                found = await connection.execute(
                    "SELECT count(*) FROM pg_stat_activity "
                    "WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )
                row = await found.fetchone()
                most = max(most, row[0] if row else 0)
                await asyncio.sleep(0.005)

    agents = {}
    for number, memo in enumerate(memos):
        agent = Thinker(memo)
        agent.name = f"thinker-{number}"  # type: ignore[misc]
        agents[agent.name] = agent
    watcher = asyncio.create_task(watch())
    async with running(database, agents=agents, sources={"well": Well()}):
        async with database.transaction() as tx:
            batch = [NewObservation("water.seen", WELL, payload={"depth": depth}) for depth in range(10)]
            await ledger.record(tx, "test", batch)
        await until(lambda: _all(memos, 10))
    watching.set()
    await watcher
    await database.close()
    assert 0 < most <= POOL + 2


async def _all(memos: list[Memo], count: int) -> bool:
    return all(len(memo.depths) >= count for memo in memos)
