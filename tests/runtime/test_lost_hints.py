"""NOTIFY is only a hint: cut off or swallowed, nothing is lost and the poll finds it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from time import monotonic

import pytest

from agents.runtime.swarm import Swarm
from config.assets import Asset
from memory.board import ledger
from memory.connection.database import Database
from memory.records import NewObservation
from tests.pace import quick, until
from tests.places import fresh_place
from tests.runtime.proxy import Proxy, proxied
from tests.runtime.toys import Memo, Thinker, running

WELL = Asset("well", "well")
POLL = 1.0


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory short enough for a socket."""
    made = fresh_place("dsp")
    yield made
    shutil.rmtree(made, ignore_errors=True)


async def record(db: Database, depth: int) -> None:
    """Something for the thinker to think about."""
    async with db.transaction() as tx:
        await ledger.record(tx, "test", [NewObservation("water.seen", WELL, payload={"depth": depth})])


async def thought(memo: Memo, count: int) -> bool:
    """Have so many been considered?"""
    return len(memo.depths) >= count


async def mended(proxy: Proxy, before: int, swarm: Swarm) -> bool:
    """Has the listener connected anew?"""
    return proxy.connections > before and swarm.listener.connected


async def test_swallowed_hints_cost_a_poll_and_lose_nothing(db: Database, place: Path) -> None:
    """The listener's line goes deaf without breaking: each observation is still found within the poll."""
    memo = Memo()
    async with proxied(db.listen_url, place) as (proxy, through):
        db.listen_url = through
        settings = {"runtime": {"poll_seconds": POLL, "drain_seconds": 1}}
        async with running(db, agents={"thinker": Thinker(memo)}, settings=settings):
            await record(db, 1)
            await until(lambda: thought(memo, 1))
            proxy.is_deaf = True
            for depth in range(2, 6):
                start = monotonic()
                await record(db, depth)
                await until(partial(thought, memo, depth))
                assert monotonic() - start < POLL + quick(1)
    assert memo.depths == [1, 2, 3, 4, 5]


async def test_a_cut_line_is_mended_and_what_came_meanwhile_is_found(db: Database, place: Path) -> None:
    """The listener reconnects by itself, and catches up first."""
    memo = Memo()
    async with proxied(db.listen_url, place) as (proxy, through):
        db.listen_url = through
        settings = {"runtime": {"poll_seconds": 600, "drain_seconds": 1}}
        async with running(db, agents={"thinker": Thinker(memo)}, settings=settings) as swarm:
            await record(db, 1)
            await until(lambda: thought(memo, 1))
            before = proxy.connections
            proxy.cut()
            await record(db, 2)
            await until(lambda: thought(memo, 2))
            await until(lambda: mended(proxy, before, swarm))
    assert memo.depths == [1, 2]
