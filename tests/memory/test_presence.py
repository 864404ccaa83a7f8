"""One holder per agent, whose cursor advances only under its lease."""

from __future__ import annotations

import asyncio
from uuid import UUID, uuid4

import pytest

from config.assets import Asset
from config.errors import LeaseLostError, UsageError
from memory import bus
from memory.connection.database import Database
from memory.members import presence
from memory.members.presence import AgentLease, Skipped
from memory.records import Reference, Sensitivity
from memory.server import partitions
from tests.memory.conftest import Clock


async def _enlist(db: Database, *agents: str) -> None:
    async with db.transaction() as tx:
        for agent in agents:
            await presence.enlist(tx, agent, [{"kind": "sense"}], Sensitivity.INTERNAL)


async def _hold(db: Database, agent: str, holder: UUID | None = None) -> AgentLease | None:
    async with db.transaction() as tx:
        return await presence.hold(tx, agent, holder=holder or uuid4(), host="here", process="1", seconds=15)


async def _publish(db: Database) -> None:
    async with db.transaction() as tx:
        await bus.publish(tx, "observation.x", Asset("warehouse", "shop"), Reference("observation", 1))


async def test_one_holder_among_rivals(db: Database) -> None:
    """Ten replicas grab at once; one has it."""
    await _enlist(db, "health")
    leases = await asyncio.gather(*(_hold(db, "health") for _ in range(10)))
    assert sum(lease is not None for lease in leases) == 1


async def test_takeover_continues_at_the_cursor(db: Database, clock: Clock) -> None:
    """The heir reads what the dead holder had not concluded; the dead one can write nothing when it wakes."""
    await _enlist(db, "health")
    await _publish(db)
    first = await _hold(db, "health")
    assert first is not None
    async with db.transaction() as tx:
        events, cursor = await bus.read(tx, first.cursor, topics=["*"], agent="health")
    clock.forward(15)
    second = await _hold(db, "health")
    assert second is not None
    stale = first

    async def conclude() -> None:
        async with db.transaction() as tx:
            await bus.publish(tx, "decision.x", Asset("warehouse", "shop"), Reference("decision", 1))
            await presence.advance(tx, stale, cursor)

    with pytest.raises(LeaseLostError):
        await conclude()
    async with db.transaction() as tx:
        again, cursor = await bus.read(tx, second.cursor, topics=["*"], agent="health")
        assert again == events
        assert len(again) == 1
        await presence.advance(tx, second, cursor)
    async with db.transaction() as tx:
        assert await presence.renew(tx, [first], 15) == []
        await presence.release(tx, first)
        assert await presence.renew(tx, [second], 15) == ["health"]


async def test_release_and_renew(db: Database, clock: Clock) -> None:
    """A renewed lease lasts; an expired one is not revived; a released one is free at once."""
    await _enlist(db, "a", "b")
    a, b = await _hold(db, "a"), await _hold(db, "b")
    assert a is not None
    assert b is not None
    clock.forward(14)
    async with db.transaction() as tx:
        assert await presence.renew(tx, [b, a], 15) == ["a", "b"]
        await presence.release(tx, a)
    assert await _hold(db, "a") is not None
    clock.forward(15)
    async with db.transaction() as tx:
        assert await presence.renew(tx, [b], 15) == []


async def test_the_same_holder_gets_a_new_token(db: Database) -> None:
    """A restarted loop of the same replica fences its former self."""
    await _enlist(db, "a")
    holder = uuid4()
    first, second = await _hold(db, "a", holder), await _hold(db, "a", holder)
    assert first is not None
    assert second is not None
    async with db.transaction() as tx:
        assert await presence.renew(tx, [first], 15) == []
        assert await presence.renew(tx, [second], 15) == ["a"]


async def test_a_disabled_agent_is_let_go(db: Database) -> None:
    """It cannot be held, and its holder loses it at the next renewal; enlisting again keeps the cursor."""
    await _enlist(db, "a")
    lease = await _hold(db, "a")
    assert lease is not None
    async with db.transaction() as tx:
        await presence.enable(tx, "a", enabled=False)
        assert await presence.renew(tx, [lease], 15) == []
        await presence.release(tx, lease)
    assert await _hold(db, "a") is None
    await _publish(db)
    await _enlist(db, "a")
    async with db.transaction() as tx:
        await presence.enable(tx, "a", enabled=True)
    again = await _hold(db, "a")
    assert again is not None
    assert again.cursor == lease.cursor
    async with db.transaction() as tx:
        (shown,) = await presence.all(tx)
    assert (shown.agent, shown.lag, shown.enabled, shown.host) == ("a", 1, True, "here")
    assert shown.capabilities == [{"kind": "sense"}]


async def test_lag_counts_what_an_agent_hears(db: Database) -> None:
    """Topics it does not watch and what is addressed to others are no lag; before it was ever held, all is."""
    await _enlist(db, "a")
    await _publish(db)
    async with db.transaction() as tx:
        await bus.publish(tx, "decision.x", Asset("warehouse", "shop"), Reference("decision", 1))
        await bus.publish(tx, "timer.due", Asset("warehouse", "shop"), Reference("timer", 1), agent="b")

    async def lag() -> int:
        async with db.transaction() as tx:
            return next(shown.lag for shown in await presence.all(tx))

    assert await lag() == 2
    async with db.transaction() as tx:
        await presence.hold(
            tx, "a", holder=uuid4(), host="h", process="p", seconds=15, topics=["decision.*", "timer.due"]
        )
    assert await lag() == 1
    async with db.transaction() as tx:
        await presence.hold(tx, "a", holder=uuid4(), host="h", process="p", seconds=15)
    assert await lag() == 1


async def test_an_agent_learns_what_retention_took(db: Database, clock: Clock) -> None:
    """Events dropped unread are counted for whoever would have heard them, until it has said so; the rest is read."""
    await partitions.maintain(db)
    await _enlist(db, "late", "deaf", "current")
    leases = {}
    for agent, topics in (("late", ["observation.*"]), ("deaf", ["nothing.*"]), ("current", ["*"])):
        async with db.transaction() as tx:
            leases[agent] = await presence.hold(
                tx, agent, holder=uuid4(), host="h", process="p", seconds=15, topics=topics
            )
    for _ in range(3):
        await _publish(db)
    current = leases["current"]
    assert current is not None
    async with db.transaction() as tx:
        _, cursor = await bus.read(tx, current.cursor, topics=["*"], agent="current")
        await presence.advance(tx, current, cursor)
    first = clock.now
    clock.forward(20 * 86400)
    await partitions.maintain(db)
    await _publish(db)
    clock.forward(86400)
    told = {}
    for agent in leases:
        told[agent] = await _hold(db, agent)
    late, deaf, up_to_date = told["late"], told["deaf"], told["current"]
    assert late is not None
    assert late.skipped == Skipped(3, first, first)
    assert deaf is not None
    assert deaf.skipped is None
    assert up_to_date is not None
    assert up_to_date.skipped is None
    async with db.transaction() as tx:
        events, _ = await bus.read(tx, late.cursor, topics=["observation.*"], agent="late")
        assert len(events) == 1
        assert await presence.tell(tx, late)
        assert not await presence.tell(tx, late)
    clock.forward(15)
    again = await _hold(db, "late")
    assert again is not None
    assert again.skipped is None


async def test_what_falls_into_the_default_partition_is_told_too(db: Database, clock: Clock) -> None:
    """Nobody made partitions for long: what lay in the default one and goes is counted as well."""
    await _enlist(db, "late")
    clock.forward(60 * 86400)
    await _publish(db)
    clock.forward(60 * 86400)
    await partitions.maintain(db)
    lease = await _hold(db, "late")
    assert lease is not None
    assert lease.skipped is not None
    assert lease.skipped.number == 1


async def test_processes_beat(db: Database, clock: Clock) -> None:
    """Replicas show which configuration they run, and how long they have been silent."""
    one, two = uuid4(), uuid4()
    async with db.transaction() as tx:
        await presence.beat(tx, one, "here", 1, "0.1", "abc", ["health"])
        await presence.beat(tx, two, "there", 2, "0.1", "abc", [])
    clock.forward(10)
    async with db.transaction() as tx:
        await presence.beat(tx, one, "here", 1, "0.1", "def", ["health", "drift"], {"gaps": 3})
        shown = {process.process_id: process for process in await presence.processes(tx)}
    assert (shown[one].config_fingerprint, shown[one].agents) == ("def", ("health", "drift"))
    assert (shown[one].figures, shown[two].figures) == ({"gaps": 3}, {})
    assert (shown[one].silent_seconds, shown[two].silent_seconds) == (0, 10)
    async with db.transaction() as tx:
        await presence.leave(tx, two)
        assert len(await presence.processes(tx)) == 1


async def test_a_nameless_agent_is_refused(db: Database) -> None:
    """The registry needs a name."""
    with pytest.raises(UsageError, match="name"):
        await _enlist(db, "")
