"""Many readers, one read: what the feed hands out is what the bus would have given each of them."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import psycopg
import pytest

from config.assets import Asset
from config.errors import TransientError
from memory import bus
from memory.bus import Cursor, ForeignCursorError, Listener, Snapshot
from memory.bus.feed import Feed
from memory.connection.database import Database
from memory.records import Event, Reference

ORDERS = Asset("warehouse", "shop", "raw.orders")
TOPIC = "observation.schema"


async def _publish(db: Database, *ids: int, topic: str = TOPIC, agent: str = "") -> None:
    async with db.transaction() as tx:
        for id_ in ids:
            await bus.publish(tx, topic, ORDERS, Reference("observation", id_), agent=agent)


async def _now(db: Database) -> Cursor:
    async with db.transaction() as tx:
        return await bus.now_cursor(tx)


async def _read(
    feed: Feed, cursor: Cursor, *topics: str, agent: str = "me", limit: int = 200
) -> tuple[list[int], Cursor]:
    events, after = await feed.read(cursor, topics=topics or ("*",), agent=agent, limit=limit)
    return [event.reference.id for event in events], after


async def _begun(db: Database, **options: int) -> tuple[Feed, Cursor]:
    """A feed whose window has begun, and a cursor within it."""
    feed = Feed(db, **options)
    await feed.look()
    cursor = await _now(db)
    await feed.look()
    return feed, cursor


def test_snapshots_are_compared_by_what_had_ended() -> None:
    """The later of two moments covers the earlier one, not the other way round, and knows what had ended in it."""
    early, late = Snapshot.parse("10:20:10,15"), Snapshot.parse("15:25:15,22")
    assert late.covers(early)
    assert not early.covers(late)
    assert not Snapshot.parse("12:25:12,15").covers(early)
    assert [xid for xid in range(8, 28) if late.shows(xid)] == [*range(8, 15), *range(16, 22), 23, 24]
    with pytest.raises(ValueError, match="pg_snapshot"):
        Snapshot.parse("10:20")


async def test_many_readers_cost_one_read(db: Database) -> None:
    """Fifteen readers with patterns and names of their own are served from one look."""
    feed, cursor = await _begun(db)
    await _publish(db, 1)
    await _publish(db, 2, topic="decision.diagnosis")
    await _publish(db, 3, topic="timer.due", agent="me")
    await _publish(db, 4, topic="timer.due", agent="other")
    await feed.look()
    looks = feed.looks
    for _ in range(15):
        assert (await _read(feed, cursor))[0] == [1, 2, 3]
        assert (await _read(feed, cursor, "observation.*"))[0] == [1]
        assert (await _read(feed, cursor, "decision.diagnosi?", "timer.due", agent="other"))[0] == [2, 4]
    found, after = await _read(feed, cursor, "nothing.*")
    assert found == []
    assert (await _read(feed, after))[0] == []
    assert (feed.looks, feed.fallbacks) == (looks, 0)


async def test_it_agrees_with_the_bus_page_by_page(db: Database) -> None:
    """From any cursor, in the middle of pages too, both give the same events and cursors to go on with."""
    feed, cursor = await _begun(db)
    cursors = [cursor]
    slow = db.transaction()
    late = await slow.__aenter__()
    await bus.publish(late, TOPIC, ORDERS, Reference("observation", 99))
    for first in range(0, 12, 3):
        await _publish(db, *range(first, first + 3))
        async with db.transaction() as tx:
            _, paging = await bus.read(tx, cursors[-1], topics=["*"], agent="me", limit=2)
        await _publish(db, 50 + first)  # so that the page's snapshot is none of the feed's
        cursors += [paging, await _now(db)]
        await feed.look()
    await slow.__aexit__(None, None, None)
    await feed.look()
    for begin in cursors:
        mine, theirs = begin, begin
        seen: list[Event] = []
        while True:
            page, mine = await feed.read(mine, topics=["*"], agent="me", limit=5)
            async with db.transaction() as tx:
                expected, theirs = await bus.read(tx, theirs, topics=["*"], agent="me", limit=5)
            assert page == expected
            seen += page
            if len(page) < 5:
                break
        assert 99 in [event.reference.id for event in seen]
        assert len(seen) == len(set(seen))
    assert feed.fallbacks == 0


async def test_who_stands_before_the_window_is_read_for(db: Database) -> None:
    """A cursor older than what is kept is served by the database, and by the feed from then on."""
    old = await _now(db)
    await _publish(db, 1)
    feed, _ = await _begun(db, window=3)
    await _publish(db, 2)
    found, cursor = await _read(feed, old)
    assert (found, feed.fallbacks) == ([1, 2], 1)
    await _publish(db, 3)
    await feed.look()
    assert (await _read(feed, cursor))[0] == [3]
    await _publish(db, 4, 5)
    await feed.look()  # the window is full: the step with 3 is dropped
    assert (await _read(feed, cursor))[0] == [3, 4, 5]
    _, newest = await _read(feed, cursor)
    await _publish(db, *range(6, 16))  # more at once than a window holds: it begins anew
    await feed.look()
    assert (await _read(feed, newest, limit=20))[0] == list(range(6, 16))
    assert feed.fallbacks == 4


async def test_who_stands_past_the_window_costs_a_look(db: Database) -> None:
    """A cursor that another process or the database moved on: the window moves too, and nothing comes twice."""
    feed, _ = await _begun(db)
    await _publish(db, 1)
    cursor = await _now(db)
    looks = feed.looks
    assert (await _read(feed, cursor))[0] == []
    await _publish(db, 2)
    await feed.look()
    assert (await _read(feed, cursor))[0] == [2]
    assert (feed.looks, feed.fallbacks) == (looks + 2, 0)


async def test_hints_that_come_meanwhile_share_the_next_look(db: Database) -> None:
    """However many hints and readers ask during a look, one more look answers them all."""
    feed, _ = await _begun(db)
    looks = feed.looks
    first = asyncio.create_task(feed.look())
    await asyncio.sleep(0)  # the first one's turn, and the next turn it is that of the look itself
    await asyncio.sleep(0)
    assert feed.looks == looks + 1
    for _ in range(20):
        feed.hint()
    await asyncio.gather(first, *(feed.look() for _ in range(20)))
    assert feed.looks == looks + 2
    await feed.close()
    feed.hint()
    assert feed.looks == looks + 2


async def test_only_those_concerned_wake(db: Database, database_url: str) -> None:
    """A publisher's commit wakes, through the listener, whoever hears the topic; the row is there, the others sleep."""
    listener, feed = Listener(database_url), Feed(db)
    listener.call(bus.HINT, feed.hint)
    await listener.start()
    try:
        cursor = await _now(db)
        await feed.look()
        ears = [feed.subscribe(topics, "me") for topics in (["observation.*"], ["decision.*"])]
        gone = feed.subscribe(["observation.*"], "me")
        feed.unsubscribe(gone)
        await _publish(db, 1)
        assert await ears[0].wait(5)
        assert (await _read(feed, cursor))[0] == [1]
        assert not await ears[1].wait(0.01)
        assert not await gone.wait(0.01)
    finally:
        await listener.close()
        await feed.close()


async def test_a_failed_look_is_the_readers_to_know(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a look that failed nobody is told that there is nothing new: who reads looks again, and hears of it."""
    feed, cursor = await _begun(db)
    await _publish(db, 1)
    real = bus.since

    async def fail(*_: object, **__: object) -> object:
        raise TransientError("away")

    monkeypatch.setattr(bus, "since", fail)
    with pytest.raises(TransientError):
        await feed.look()
    assert feed.due(60) <= 0
    with pytest.raises(TransientError):
        await _read(feed, cursor)
    monkeypatch.setattr(bus, "since", real)
    assert (await _read(feed, cursor))[0] == [1]
    assert 0 < feed.due(60) <= 60


async def test_another_cluster_under_its_feet(db: Database) -> None:
    """A window that lies ahead of the server begins anew; a reader's cursor that does is refused."""
    feed, cursor = await _begun(db)
    ahead = "900000000:900000000:"
    feed._begin(Snapshot.parse(ahead))
    await feed.look()
    with pytest.raises(ForeignCursorError):
        await _read(feed, replace(cursor, base=ahead))
    await _publish(db, 1)
    await feed.look()
    assert (await _read(feed, cursor))[0] == [1]


async def test_a_cut_connection_costs_a_look(db: Database, owner_url: str) -> None:
    """The server throws everybody out; the next look finds what was published meanwhile."""
    feed, cursor = await _begun(db)
    with psycopg.connect(owner_url, autocommit=True) as admin:
        admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    await _publish(db, 1)
    await feed.look()
    assert (await _read(feed, cursor))[0] == [1]
