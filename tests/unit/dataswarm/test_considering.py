"""An agent's loop when its cursor points to what is no longer there: it says so, and goes on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from agents.base import Agent, Watch
from agents.context import Context, Happening
from agents.runtime import considering
from agents.runtime.bench import Surroundings
from agents.runtime.considering import Consideration
from agents.runtime.writing import Outgoing
from agents.verdicts import Verdict
from config.assets import Asset
from config.settings import Settings
from memory import bus
from memory.board import ledger
from memory.bus import Cursor, Wake
from memory.connection.database import Database
from memory.measuring import counters
from memory.members import presence
from memory.records import NewObservation, Reference, Sensitivity
from memory.server import partitions
from tests.memory.conftest import Clock
from tests.pace import PATIENCE

ORDERS = Asset("warehouse", "shop", "raw.orders")


class Ear(Agent):
    """Remembers what it was told."""

    name = "ear"
    watches = (Watch(("observation.sound",)),)

    def __init__(self) -> None:
        super().__init__()
        self.heard: asyncio.Queue[int] = asyncio.Queue()

    async def consider(self, happenings: Sequence[Happening], context: Context) -> Sequence[Verdict]:
        """Nothing to say."""
        del context
        for happening in happenings:
            self.heard.put_nowait(happening.event.reference.id)
        return ()


@asynccontextmanager
async def listening(db: Database, ear: Ear) -> AsyncIterator[Consideration]:
    """Its loop at work."""
    around = Surroundings(db, dict, dict, Settings)
    loop = Consideration(ear, around, Outgoing(), Wake(""), uuid4(), "h", "h:1", lease_seconds=60, poll_seconds=0.02)
    stop = asyncio.Event()
    job = asyncio.create_task(loop.run(stop))
    try:
        yield loop
    finally:
        stop.set()
        await asyncio.wait_for(job, PATIENCE)


async def _enlist(db: Database) -> None:
    async with db.transaction() as tx:
        await presence.enlist(tx, "ear", [], Sensitivity.INTERNAL)


async def _sound(db: Database) -> int:
    async with db.transaction() as tx:
        [number] = await ledger.record(tx, "mouth", [NewObservation("sound", ORDERS)])
    assert number is not None
    return number


def _as_owner(url: str, statement: str, *values: Any) -> None:
    """In a thread of its own: it may have to wait for the very loop that is under test."""
    with psycopg.connect(url, autocommit=True) as owner:
        owner.execute(statement.encode(), values)


async def test_what_retention_took_is_said_once(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """An observation, a counter and a line of the log name how much; then it goes on with the oldest that is kept."""
    told: list[str] = []
    monkeypatch.setattr(considering.log, "warning", lambda event, **_: told.append(event))
    clock = db.clock = Clock()
    await partitions.maintain(db)
    await _enlist(db)
    for _ in range(3):
        await _sound(db)
    clock.forward(20 * 86400)
    await partitions.maintain(db)
    kept = await _sound(db)
    for _ in range(2):
        ear = Ear()
        async with listening(db, ear):
            if kept:
                assert await asyncio.wait_for(ear.heard.get(), PATIENCE) == kept
            kept = 0
    async with db.transaction() as tx:
        [said] = await ledger.observations(tx, kinds=["agent.skipped"], subjects=None, since=None)
        counted = {c.labels["agent"]: c.value for c in await counters.all(tx) if "skipped" in c.name}
    assert (said.agent, said.subject, said.payload["events"]) == ("ear", Asset("agent", "ear"), 3)
    assert counted == {"ear": 3}
    assert told == ["agent.skipped"]


async def test_a_cursor_of_another_cluster_does_not_stop_it(db: Database, owner_url: str) -> None:
    """The database is restored under its feet: it takes up a rebased cursor and hears what comes."""
    await _enlist(db)
    ear = Ear()
    async with listening(db, ear):
        first = await _sound(db)
        assert await asyncio.wait_for(ear.heard.get(), PATIENCE) == first
        ahead = psycopg.types.json.Jsonb(Cursor("900000000:900000000:").to_json())
        await asyncio.to_thread(
            _as_owner,
            owner_url,
            "UPDATE dataswarm.agents SET cursor = %s, token = NULL, holder = NULL, beat_at = now() - interval '1 hour'",
            ahead,
        )
        second = await _sound(db)
        heard = await asyncio.wait_for(ear.heard.get(), PATIENCE)
        while heard != second:
            heard = await asyncio.wait_for(ear.heard.get(), PATIENCE)


async def test_a_lost_lease_is_counted(db: Database, owner_url: str) -> None:
    """Somebody else became this agent; it notices, counts it, and takes the lease up again when it can."""
    await _enlist(db)
    ear = Ear()
    async with listening(db, ear) as loop:
        await _sound(db)
        await asyncio.wait_for(ear.heard.get(), PATIENCE)
        await asyncio.to_thread(_as_owner, owner_url, "UPDATE dataswarm.agents SET token = gen_random_uuid()")
        await _sound(db)
        await asyncio.wait_for(ear.heard.get(), PATIENCE)
    assert loop.leases_lost == 1


async def test_a_timer_of_its_own_reaches_it_whatever_it_watches(db: Database) -> None:
    """Addressed to it, it needs no watch; addressed to another it does not come."""
    await _enlist(db)
    ear = Ear()
    async with listening(db, ear):
        async with db.transaction() as tx:
            await bus.publish(tx, "timer.due", ORDERS, Reference("timer", 5), agent="other")
            await bus.publish(tx, "timer.due", ORDERS, Reference("timer", 6), agent="ear")
        assert await asyncio.wait_for(ear.heard.get(), PATIENCE) == 6
