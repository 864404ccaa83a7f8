"""What agents see: beliefs from the process's cache, as fresh as stated, and never what another alone may read."""

from __future__ import annotations

import asyncio
import statistics
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from time import monotonic
from typing import Any

from agents.runtime.bench import Surroundings
from config.settings import Settings
from memory.beliefs import knowledge
from memory.beliefs.cache import FactCache
from memory.board import ledger
from memory.bus.listener import Listener
from memory.connection.database import Database
from memory.records import NewObservation, Sensitivity
from tests.memory.sealing import sealing
from tests.memory.stage import ORDERS
from tests.pace import PATIENCE, quick

WRITER = """
import asyncio, sys, time
from memory.beliefs import knowledge
from memory.connection.database import Database
from config.assets import Asset

async def main():
    db = await Database.open(sys.argv[1], application_name="dataswarm/other", pool_size=1)
    while line := await asyncio.to_thread(sys.stdin.readline):  # its loop goes on: a later hint is sent by it
        async with db.transaction() as tx:
            await knowledge.assert_fact(tx, "other", Asset.parse(sys.argv[2]), "owner", line.strip(), expected=None)
        print(time.monotonic(), flush=True)
    await db.close()

asyncio.run(main())
"""


@asynccontextmanager
async def another_process(db: Database) -> AsyncIterator[asyncio.subprocess.Process]:
    """A process that holds each line it is given to be the owner, and answers when that was committed."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", WRITER, db.url, str(ORDERS), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    try:
        yield process
    finally:
        assert process.stdin is not None
        process.stdin.close()
        await asyncio.wait_for(process.wait(), PATIENCE)


async def told(process: asyncio.subprocess.Process, value: str) -> float:
    """Have the other process hold something; when it was committed, by the clock both share."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(f"{value}\n".encode())
    await process.stdin.drain()
    return float(await asyncio.wait_for(process.stdout.readline(), PATIENCE))


def around(db: Database, facts: FactCache | None, clearance: Sensitivity = Sensitivity.INTERNAL) -> Surroundings:
    """What an agent of this process works in."""
    return Surroundings(db, dict, dict, Settings, clearance=clearance, facts=facts)


async def owner(within: Surroundings) -> Any:
    """Who is held to own the orders, as an agent asks."""
    fact = await within.window(datetime.now(UTC)).fact(ORDERS, "owner")
    return None if fact is None else fact.object


async def test_a_change_by_another_process_is_seen_within_milliseconds(db: Database) -> None:
    """NOTIFY empties the cache: the median of ten changes is seen within 50 ms of their commit; the rest are hits."""
    listener = Listener(db.listen_url)
    await listener.start()
    facts = FactCache(db, listener, seconds=3600)
    facts.start()
    here, took = around(db, facts), []
    async with another_process(db) as process:
        for number in range(10):
            await owner(here)
            committed = await told(process, f"team-{number}")
            while await owner(here) != f"team-{number}":
                assert monotonic() < committed + PATIENCE
                await asyncio.sleep(0)
            took.append(monotonic() - committed)
    assert statistics.median(took) < quick(0.05)
    assert facts.hits > 0
    await facts.close()
    await listener.close()


async def test_without_notify_it_is_seen_when_its_time_is_up(db: Database) -> None:
    """The old answer until the stated seconds are over, counted from the question; then the new one."""
    now = 0.0
    facts = FactCache(db, None, seconds=30, clock=lambda: now)
    here = around(db, facts)
    async with another_process(db) as process:
        await told(process, "old")
        assert await owner(here) == "old"
        await told(process, "new")
        now = 29.9
        assert await owner(here) == "old"
        now = 30.0
        assert await owner(here) == "new"
    assert (facts.hits, facts.misses) == (1, 2)


async def test_private_observations_stay_with_their_agent(db: Database) -> None:
    """From the configured importance on they are everybody's."""
    async with db.transaction() as tx:
        await ledger.record(tx, "a", [NewObservation("x.seen", ORDERS, importance=0.3)])

    async def seen(agent: str | None, shared: float) -> int:
        settings = Settings.model_validate({"memory": {"shared_importance": shared}})
        within = Surroundings(db, dict, dict, lambda: settings, agent=agent)
        return len(await within.window(datetime.now(UTC)).observations())

    assert [await seen(agent, 0.2) for agent in ("a", "b", None)] == [1, 1, 1]
    assert [await seen(agent, 0.4) for agent in ("a", "b", None)] == [1, 0, 1]


async def test_what_is_confidential_is_not_cached_and_clearances_are_apart(db: Database) -> None:
    """Who may read it asks the database each time; who may not is told of nothing, before and after."""
    sealing(db)
    async with db.transaction(clearance=Sensitivity.CONFIDENTIAL) as tx:
        await knowledge.assert_fact(tx, "a", ORDERS, "owner", "4711", expected=0, sensitivity=Sensitivity.CONFIDENTIAL)
    facts = FactCache(db)
    for level in (Sensitivity.CONFIDENTIAL, *Sensitivity, *Sensitivity):
        assert await owner(around(db, facts, level)) == ("4711" if level is Sensitivity.CONFIDENTIAL else None)
    assert (facts.hits, facts.misses) == (2, 2)
    assert "4711" not in repr(vars(facts))
    assert await owner(around(db, None)) is None
