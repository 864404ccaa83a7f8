"""Events come exactly once, whoever commits late; hints wake, and their loss costs a poll."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import Any, cast
from uuid import uuid4

import psycopg
import pytest

from config.assets import Asset
from config.errors import PermanentError, TransientError, UsageError
from memory import bus
from memory.bus import Cursor, Listener
from memory.connection.database import Database
from memory.members import presence
from memory.records import Event, Reference, Sensitivity
from tests.pace import PATIENCE

ORDERS = Asset("warehouse", "shop", "raw.orders")


async def _publish(db: Database, *ids: int, topic: str = "observation.schema", agent: str = "") -> None:
    async with db.transaction() as tx:
        for id_ in ids:
            await bus.publish(tx, topic, ORDERS, Reference("observation", id_), agent=agent)


async def _now(db: Database) -> Cursor:
    async with db.transaction() as tx:
        return await bus.now_cursor(tx)


async def _read(
    db: Database, cursor: Cursor, *topics: str, agent: str = "me", limit: int = 200
) -> tuple[list[Event], Cursor]:
    async with db.transaction() as tx:
        return await bus.read(tx, cursor, topics=topics or ("*",), agent=agent, limit=limit)


def _ids(events: list[Event]) -> list[int]:
    return [event.reference.id for event in events]


async def test_from_now_on(db: Database) -> None:
    """A new cursor skips what was committed, reads what comes after, and nothing twice."""
    await _publish(db, 1)
    cursor = await _now(db)
    assert (await _read(db, cursor))[0] == []
    await _publish(db, 2, 3)
    events, after = await _read(db, cursor)
    assert _ids(events) == [2, 3]
    assert events[0].subject == ORDERS
    assert (await _read(db, after))[0] == []


async def test_a_transaction_that_commits_late_is_not_lost(db: Database) -> None:
    """An id taken early and committed late still comes, after later ids were read."""
    cursor = await _now(db)
    async with db.transaction() as slow:
        await bus.publish(slow, "observation.schema", ORDERS, Reference("observation", 1))
        await _publish(db, 2)
        events, cursor = await _read(db, cursor)
        assert _ids(events) == [2]
        await _publish(db, 3)
    events, cursor = await _read(db, cursor)
    assert sorted(_ids(events)) == [1, 3]
    assert (await _read(db, cursor))[0] == []


async def test_a_reader_that_publishes_in_the_same_transaction(db: Database) -> None:
    """What a transaction publishes after having read comes with the next read, not never."""
    cursor = await _now(db)
    async with db.transaction() as tx:
        await bus.publish(tx, "observation.schema", ORDERS, Reference("observation", 1))
        await _publish(db, 2)
        events, cursor = await bus.read(tx, cursor, topics=["*"], agent="me")
        await bus.publish(tx, "observation.schema", ORDERS, Reference("observation", 3))
        assert _ids(events) == [2]
    events, cursor = await _read(db, cursor)
    assert _ids(events) == [1, 3]


async def test_rolled_back_events_never_come(db: Database) -> None:
    """An aborted publisher leaves nothing."""
    cursor = await _now(db)

    async def fail() -> None:
        async with db.transaction() as tx:
            await bus.publish(tx, "observation.schema", ORDERS, Reference("observation", 1))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    await _publish(db, 2)
    assert _ids((await _read(db, cursor))[0]) == [2]


async def test_pages_cover_everything_once(db: Database) -> None:
    """Pages are cut from one snapshot after another, in order; a short page means that nothing is left."""
    cursor = await _now(db)
    await _publish(db, *range(10))
    seen: list[int] = []
    for number in range(3):
        events, cursor = await _read(db, Cursor.from_json(cursor.to_json()), limit=4)
        assert len(events) == 4
        seen += _ids(events)
        await _publish(db, 100 + number)
    assert seen == [*range(10), 100, 101]
    events, cursor = await _read(db, cursor, limit=4)
    assert _ids(events) == [102]
    assert (await _read(db, cursor))[0] == []


async def test_topics_and_addresses(db: Database) -> None:
    """Patterns match whole topics; what is addressed to another agent is passed over, and the cursor moves on."""
    cursor = await _now(db)
    await _publish(db, 1, topic="observation.schema.column_renamed")
    await _publish(db, 2, topic="decision.diagnosis")
    await _publish(db, 3, topic="timer.due", agent="me")
    await _publish(db, 4, topic="timer.due", agent="other")
    assert _ids((await _read(db, cursor, "observation.*"))[0]) == [1]
    assert _ids((await _read(db, cursor, "observation.schema"))[0]) == []
    assert _ids((await _read(db, cursor, "decision.diagnosi?", "timer.due"))[0]) == [2, 3]
    events, after = await _read(db, cursor, "nothing.*")
    assert events == []
    assert _ids((await _read(db, after))[0]) == []


async def test_tail_and_between(db: Database) -> None:
    """Consoles see the newest; a past range is paged by time."""
    before = datetime.now(UTC) - timedelta(minutes=1)
    for id_ in range(5):
        await _publish(db, id_)
    async with db.transaction() as tx:
        assert _ids(await bus.tail(tx, limit=3)) == [2, 3, 4]
        until = datetime.now(UTC) + timedelta(minutes=1)
        first = await bus.between(tx, before, until, limit=2)
        rest = await bus.between(tx, before, until, after=first[-1])
        assert _ids(first + rest) == [0, 1, 2, 3, 4]
        assert _ids(await bus.tail(tx, since=until)) == []
        assert (await bus.oldest(tx)) == first[0].at
    await _publish(db, 7, topic="timer.due", agent="other")
    async with db.transaction() as tx:
        assert _ids(await bus.tail(tx, agent="me", limit=1)) == [4]
        assert _ids(await bus.tail(tx, agent="other", limit=1)) == [7]


async def test_a_cursor_of_another_cluster_is_refused(db: Database) -> None:
    """A cursor ahead of the server would read nothing for ever; it is refused with a hint."""
    with pytest.raises(PermanentError, match="another cluster"):
        await _read(db, Cursor("900000000:900000000:"))
    with pytest.raises(PermanentError, match="cannot be read"):
        Cursor.from_json({"base": "nonsense", "target": None, "xid": "0", "id": 0})


async def _elsewhere(owner_url: str, db: Database, agent: str, *, base: int, read: int, unread: int) -> None:
    """As after a restore: an agent's cursor and the rows come from a cluster that had counted further."""
    async with db.transaction() as tx:
        await presence.enlist(tx, agent, [], Sensitivity.INTERNAL)
    await _publish(db, *range(read), topic="observation.read")
    await _publish(db, *range(100, 100 + unread))
    await _publish(db, 900, topic="decision.unheard")
    with psycopg.connect(owner_url, autocommit=True) as owner:
        owner.execute("UPDATE dataswarm.events SET xid = %s WHERE topic = 'observation.read'", (str(base - 5),))
        owner.execute("UPDATE dataswarm.events SET xid = %s WHERE topic <> 'observation.read'", (str(base + 5),))
        cursor = Cursor(f"{base}:{base}:").to_json()
        owner.execute(
            "UPDATE dataswarm.agents SET cursor = %s, hears = '^observation\\.', beat_at = now() - interval '1 hour'"
            " WHERE agent = %s",
            (psycopg.types.json.Jsonb(cursor), agent),
        )
        owner.execute("UPDATE dataswarm.events SET at = now() - interval '2 hours'")


async def test_a_cursor_of_another_cluster_is_rebased(db: Database, owner_url: str) -> None:
    """What was unread is told once more to that agent alone, in order; what was read is not, nor ever again."""
    await _elsewhere(owner_url, db, "me", base=900_000_000, read=3, unread=4)
    new = await _now(db)
    await _publish(db, 500)  # by whoever came before the rebase
    async with db.transaction() as tx:
        assert await bus.rebase(tx) == {"me": 5}
        lease = await presence.hold(tx, "me", holder=uuid4(), host="h", process="p", seconds=15)
    assert lease is not None
    events, after = await _read(db, lease.cursor)
    assert [(e.reference.id, e.agent) for e in events] == [(n, "me") for n in (100, 101, 102, 103, 500)]
    assert (await _read(db, after))[0] == []
    assert _ids((await _read(db, new, agent="other"))[0]) == [500]
    async with db.transaction() as tx:
        assert await bus.rebase(tx) == {}
        rows = await (
            await tx._connection.execute("SELECT max(xid::text::bigint) AS top FROM dataswarm.events")
        ).fetchone()
        assert rows is not None
        assert rows["top"] < 900_000_000


async def test_two_replicas_rebase_once(db: Database, owner_url: str) -> None:
    """Both come up at once after the restore; one moves the cursors, the other finds nothing to do."""
    await _elsewhere(owner_url, db, "me", base=900_000_000, read=1, unread=1)

    async def rebase() -> dict[str, int]:
        async with db.transaction() as tx:
            return await bus.rebase(tx)

    assert sorted(map(len, await asyncio.gather(rebase(), rebase(), rebase()))) == [0, 0, 1]


async def test_a_malformed_topic_is_refused(db: Database) -> None:
    """A topic without a noun and a kind is a mistake of the caller."""
    with pytest.raises(UsageError, match="not a topic"):
        await _publish(db, 1, topic="schema")


async def test_a_hint_wakes_after_the_commit(db: Database, database_url: str) -> None:
    """A publisher's commit wakes the waiter of the other process well under a poll, and the row is there."""
    listener = Listener(database_url)
    await listener.start()
    try:
        assert listener.connected
        wake = listener.subscribe(bus.HINT)
        other = listener.subscribe("task:")
        cursor = await _now(db)
        for id_ in range(20):  # more than fits the first hint: the rest is coalesced
            await _publish(db, id_)
        seen: list[int] = []
        while len(seen) < 20:
            assert await wake.wait(5)
            events, cursor = await _read(db, cursor)
            seen += _ids(events)
        assert seen == list(range(20))
        assert not await other.wait(0.01)
    finally:
        await listener.close()


async def test_a_reconnect_wakes_everyone(database_url: str, owner_url: str) -> None:
    """A cut connection is noticed, counted, made anew, and every waiter looks for what it missed."""
    listener = Listener(database_url)
    await listener.start()
    try:
        wake = listener.subscribe()
        with psycopg.connect(owner_url, autocommit=True) as admin:
            admin.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'dataswarm/listener'"
                " AND datname = current_database()"
            )
        assert await wake.wait(10)
        assert (listener.gaps, listener.catch_ups) == (1, 1)
        assert listener.connected
    finally:
        await listener.close()


async def test_an_examination_hears_its_echo(database_url: str) -> None:
    """Straight to the server an echo comes back; where nobody answers, the error says so."""
    assert await Listener(database_url).comes_through()
    with pytest.raises(TransientError):
        await Listener("postgresql://x@127.0.0.1:1/x").comes_through()


async def test_silence_is_probed(database_url: str) -> None:
    """Without traffic the echo keeps proving that NOTIFY comes through."""
    listener = Listener(database_url, echo_seconds=0.05)
    await listener.start()
    try:
        await asyncio.to_thread(_wait_for_echoes, database_url)
        assert listener.connected
        assert listener.gaps == 0
    finally:
        await listener.close()


async def test_a_hint_that_comes_with_the_echo_is_heard(database_url: str) -> None:
    """What arrives in one piece with it is not left behind it."""
    listener = Listener(database_url)
    wake = listener.subscribe("event")

    class Chatty:
        """A session that says more than the echo in one transaction."""

        async def execute(self, statement: str, said: dict[str, Any]) -> None:
            assert "pg_notify" in statement
            await there.execute("SELECT pg_notify(%s, 'echo'), pg_notify('dataswarm', 'event')", [said["channel"]])

    async with await listener._connect() as here, await listener._connect() as there:
        await listener._subscribe(here)
        await listener._echo(here, cast("psycopg.AsyncConnection[object]", Chatty()))
        assert await wake.wait(0.01)


def _wait_for_echoes(url: str) -> None:
    """Until the listener's session has run the echo's statement since its LISTEN."""
    with psycopg.connect(url, autocommit=True) as connection:
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            row = connection.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'dataswarm/listener'"
                " AND datname = current_database() AND query_start > backend_start + interval '150 ms'"
            ).fetchone()
            if row == (1,):
                return
    raise AssertionError("no echo was sent")
