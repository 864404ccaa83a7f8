"""The cache of facts: fast, fresh within milliseconds, never staler than stated, never across clearances."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from config.errors import UsageError
from memory.beliefs import branches, knowledge
from memory.beliefs.cache import FactCache
from memory.bus.listener import Listener
from memory.connection.database import Database
from memory.records import Sensitivity
from tests.memory.sealing import sealing
from tests.memory.stage import ORDERS
from tests.pace import PATIENCE, quick


class Hands:
    """A monotonic clock that is moved by hand."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        """What the cache asks for."""
        return self.seconds


@pytest.fixture
async def listener(database_url: str) -> AsyncIterator[Listener]:
    """A listener that hears."""
    listener = Listener(database_url)
    await listener.start()
    yield listener
    await listener.close()


async def told(db: Database, value: Any, **more: Any) -> None:
    """The fact of these tests, in a transaction of its own."""
    async with db.transaction(clearance=Sensitivity.CONFIDENTIAL) as tx:
        await knowledge.assert_fact(tx, "a", ORDERS, "owner", value, **{"expected": None, **more})


async def held(cache: FactCache, **how: Any) -> Any:
    """Its object, out of the cache."""
    fact = await cache.fact(ORDERS, "owner", **how)
    return fact and fact.object


async def soon(holds: Callable[[], Awaitable[bool]], seconds: float = PATIENCE) -> float:
    """Wait until something holds; how long it took."""
    started = time.perf_counter()
    while not await holds():
        assert time.perf_counter() - started < seconds
        await asyncio.sleep(0)
    return time.perf_counter() - started


async def test_a_change_is_seen_within_milliseconds(db: Database, listener: Listener) -> None:
    """Also that a fact is there now where none was. The median of ten changes is under 50 ms, with the writes."""
    cache = FactCache(db, listener)
    cache.start()
    took = []
    for value in range(10):
        await held(cache)

        async def is_new(value: int = value) -> bool:
            return bool(await held(cache) == value)

        started = time.perf_counter()
        await told(db, value)
        await soon(is_new)
        took.append(time.perf_counter() - started)
    assert cache.hits > 0
    assert statistics.median(took) < quick(0.05)
    await cache.close()


async def test_a_lost_hint_makes_an_answer_no_older_than_stated(db: Database) -> None:
    """Without any hint the old answer is given until its time is up, counted from the question, and no longer."""
    clock = Hands()
    cache = FactCache(db, None, seconds=30, clock=clock)
    await told(db, "old")
    assert await held(cache) == "old"
    await told(db, "new")
    clock.seconds += 29.9
    assert await held(cache) == "old"
    clock.seconds += 0.1
    assert await held(cache) == "new"
    assert (cache.hits, cache.misses) == (1, 2)


async def test_hints_lost_on_a_line_that_stands_cost_no_more_than_stated(db: Database, listener: Listener) -> None:
    """The listener hears everything but this; the connection is whole, so nothing else would empty the cache."""
    clock = Hands()
    cache = FactCache(db, listener, seconds=30, clock=clock)
    cache.start()
    assert cache._wake is not None
    cache._wake.prefix = "no hint begins so"
    others = listener.subscribe("fact:")
    await told(db, "old")
    assert await held(cache) == "old"
    for value in ("newer", "new"):
        await told(db, value)
        assert await others.wait(10)  # it was sent, and came through
    clock.seconds += 29.9
    assert await held(cache) == "old"
    clock.seconds += 0.1
    assert await held(cache) == "new"
    await cache.close()


async def test_a_reconnect_empties_it(db: Database, listener: Listener) -> None:
    """What was notified while the connection was away is gone; everything is read anew."""
    cache = FactCache(db, listener)
    cache.start()
    await told(db, "old")
    await held(cache)
    before = cache.emptied
    listener._wake_all("")

    async def is_empty() -> bool:
        return cache.emptied > before

    await soon(is_empty)
    await cache.close()


async def test_what_is_on_its_way_during_a_change_is_not_kept(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """A read that began before a change, and ends after its hint, gives the old answer once and leaves nothing."""
    cache = FactCache(db)
    await told(db, "old")
    read = knowledge.fact

    async def slow(*given: Any, **how: Any) -> Any:
        found = await read(*given, **how)
        cache.clear()  # the hint comes before the answer is back
        return found

    monkeypatch.setattr(knowledge, "fact", slow)
    assert await held(cache) == "old"
    await told(db, "new")
    assert await held(cache) == "new"


async def test_never_across_clearances_or_branches(db: Database) -> None:
    """Each reader has an answer of its own; what is confidential is not kept in memory at all."""
    sealing(db)
    cache = FactCache(db)
    async with db.transaction() as tx:
        await branches.fork(tx, "fix", by="ann")
    await told(db, "secret", sensitivity=Sensitivity.CONFIDENTIAL)
    await told(db, "branch", branch="fix")
    levels = list(Sensitivity)
    for _ in range(2):
        for level in (*levels, *reversed(levels)):
            assert await held(cache, clearance=level) == ("secret" if level is Sensitivity.CONFIDENTIAL else None)
        assert await held(cache, branch="fix") == "branch"
        assert await held(cache, branch="fix", clearance=Sensitivity.PUBLIC) is None
    assert "secret" not in repr(cache._entries)


async def test_it_keeps_a_bounded_number(db: Database) -> None:
    """The ones read first go first; a cache of nothing is refused."""
    cache = FactCache(db, most=2)
    for column in ("a", "b", "c", "a"):
        await cache.fact(ORDERS.column(column), "owner")
    assert (len(cache._entries), cache.misses) == (2, 4)
    for wrong in ({"seconds": 0.0}, {"most": 0}):
        with pytest.raises(UsageError):
            FactCache(db, **wrong)


async def test_it_is_fifty_times_faster(db: Database) -> None:
    """A cached read against one from the database, medians in one run."""
    cache = FactCache(db)
    await told(db, {"team": "shop"})

    async def read() -> None:
        async with db.transaction(durable=False) as tx:
            await knowledge.fact(tx, ORDERS, "owner")

    async def cached() -> None:
        for _ in range(100):
            await cache.fact(ORDERS, "owner")

    async def timed(work: Callable[[], Awaitable[None]]) -> float:
        started = time.perf_counter()
        await work()
        return time.perf_counter() - started

    from_database = statistics.median([await timed(read) for _ in range(50)])
    from_cache = statistics.median([await timed(cached) for _ in range(50)]) / 100
    assert from_database / from_cache >= 50
