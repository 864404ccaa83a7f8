"""A timer fires once, as an event for its agent."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta

import pytest

from config.assets import Asset
from config.errors import UsageError
from memory import bus
from memory.connection.database import Database
from memory.queue import timers
from tests.memory.conftest import Clock

ORDERS = Asset("warehouse", "shop", "raw.orders")


async def test_a_timer_fires_once_over_all_replicas(db: Database, clock: Clock) -> None:
    """Due timers become events addressed to their agent; concurrent replicas publish each once."""
    async with db.transaction() as tx:
        cursor = await bus.now_cursor(tx)
        ids = [
            await timers.set_(tx, "health", f"t{n}", clock.now + timedelta(seconds=60), {"n": n}, ORDERS)
            for n in range(20)
        ]
        await timers.set_(tx, "health", "later", clock.now + timedelta(seconds=90), {}, ORDERS)
        assert await timers.next_due(tx) == pytest.approx(60)
    assert await timers.fire(db) == 0
    clock.forward(60)
    assert sum(await asyncio.gather(*(timers.fire(db) for _ in range(4)))) == 20
    async with db.transaction() as tx:
        events, _ = await bus.read(tx, cursor, topics=["timer.due"], agent="health")
        others, _ = await bus.read(tx, cursor, topics=["timer.due"], agent="drift")
        assert sorted(event.reference.id for event in events) == ids
        assert others == []
        timer = await timers.get(tx, ids[3])
        assert timer is not None
        assert (timer.payload, timer.subject, timer.fired_at) == ({"n": 3}, ORDERS, clock.now)


async def test_setting_again_moves_it(db: Database, clock: Clock) -> None:
    """One waiting timer per agent and key; a fired one does not stand in the way."""
    async with db.transaction() as tx:
        first = await timers.set_(tx, "health", "soak", clock.now + timedelta(seconds=10), {}, ORDERS)
        moved = await timers.set_(tx, "health", "soak", clock.now + timedelta(seconds=20), {"x": 1}, ORDERS)
        assert first == moved
    clock.forward(10)
    assert await timers.fire(db) == 0
    clock.forward(10)
    assert await timers.fire(db) == 1
    async with db.transaction() as tx:
        assert await timers.set_(tx, "health", "soak", clock.now, {}, ORDERS) != first
        assert await timers.cancel(tx, "health", "soak")
        assert not await timers.cancel(tx, "health", "soak")
        assert await timers.next_due(tx) is None
    assert await timers.fire(db) == 0


async def test_bad_input(db: Database, clock: Clock) -> None:
    """A time without a zone, a key too long, a payload that is not JSON."""
    async with db.transaction() as tx:
        with pytest.raises(UsageError, match="time zone"):
            await timers.set_(tx, "health", "k", datetime(2026, 1, 1), {}, ORDERS)  # noqa: DTZ001 - the point
        with pytest.raises(UsageError, match="timer key"):
            await timers.set_(tx, "health", "k" * 401, clock.now, {}, ORDERS)
        with pytest.raises(UsageError, match="payload"):
            await timers.set_(tx, "health", "k", clock.now, {"x": object()}, ORDERS)
