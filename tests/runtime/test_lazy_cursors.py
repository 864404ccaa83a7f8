"""How far an agent has read is written with what it concludes; what does not concern it, seldom but not never."""

from __future__ import annotations

from typing import Any

import psycopg

from agents.base import Watch
from memory.board import ledger
from memory.connection.database import Database
from memory.members import presence
from memory.records import NewObservation
from tests.pace import until
from tests.runtime.test_loops import WELL
from tests.runtime.toys import Memo, Thinker, running

SLOW = {"runtime": {"poll_seconds": 600, "drain_seconds": 1, "agent_lease_seconds": 600}}


async def _record(db: Database, kind: str, count: int) -> None:
    async with db.transaction() as tx:
        seen = [NewObservation(kind, WELL, payload={"depth": depth}) for depth in range(count)]
        await ledger.record(tx, "test", seen)


def _cursor(owner_url: str) -> Any:
    with psycopg.connect(owner_url) as owner:
        row = owner.execute("SELECT cursor FROM dataswarm.agents WHERE agent = 'thinker'").fetchone()
    assert row is not None
    return row[0]


async def _lag(db: Database) -> int:
    async with db.transaction() as tx:
        return next(one.lag for one in await presence.all(tx) if one.agent == "thinker")


async def test_what_an_agent_does_not_hear_of_is_not_written(db: Database, owner_url: str) -> None:
    """It is read past in memory, is no lag, and is on record with what is concluded next."""
    memo = Memo()
    async with running(db, agents={"thinker": Thinker(memo)}, settings=SLOW) as swarm:
        loop = swarm.considerations["thinker"]
        await _record(db, "water.seen", 1)
        await until(lambda: _thought(memo, 1))
        await until(lambda: _is_idle(loop))
        before = _cursor(owner_url)
        await _record(db, "fire.seen", 5)
        await swarm.feed.look()
        assert _cursor(owner_url) == before
        assert await _lag(db) == 0
        await _record(db, "water.seen", 1)
        await until(lambda: _thought(memo, 2))
        await until(lambda: _moved(owner_url, before))
    assert memo.depths == [0, 0]


async def test_what_it_hears_of_and_is_not_its_concern_is_soon_no_lag(db: Database, owner_url: str) -> None:
    """Out of its scope, though of a topic it hears: written within a second or so, without any verdict."""

    class Elsewhere(Thinker):
        watches = (Watch(("observation.water.*",), pattern="warehouse://*"),)

    memo = Memo()
    async with running(db, agents={"thinker": Elsewhere(memo)}, settings=SLOW) as swarm:
        await until(lambda: _is_idle(swarm.considerations["thinker"]))
        before = _cursor(owner_url)
        await _record(db, "water.seen", 3)
        await until(lambda: _moved(owner_url, before))
        assert await _lag(db) == 0
    assert memo.depths == []


async def _thought(memo: Memo, count: int) -> bool:
    return len(memo.depths) >= count


async def _is_idle(loop: Any) -> bool:
    return loop.lease is not None and loop.lag == 0


async def _moved(owner_url: str, before: Any) -> bool:
    return bool(_cursor(owner_url) != before)
