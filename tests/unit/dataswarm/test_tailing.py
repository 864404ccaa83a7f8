"""Following the bus from a terminal: live by hints, complete without them, nothing twice over a gap."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator

import psycopg
import pytest

from config.assets import Asset
from config.errors import TransientError
from dataswarm import tailing
from dataswarm.tailing import Followed, begin, follow
from memory import bus
from memory.bus import Cursor
from memory.bus.listener import Listener
from memory.connection.database import Database
from memory.records import Reference
from tests.pace import PATIENCE
from tests.unit.dataswarm.program import Program, program

__all__ = ["program"]
ORDERS = Asset("warehouse", "shop", "raw.orders")


async def _publish(db: Database, *ids: int, topic: str = "observation.x", agent: str = "") -> None:
    async with db.transaction() as tx:
        for number in ids:
            await bus.publish(tx, topic, ORDERS, Reference("observation", number), agent=agent)


async def _next(following: AsyncIterator[Followed], count: int) -> list[int]:
    found: list[int] = []
    async with asyncio.timeout(PATIENCE):
        async for followed in following:
            found += [event.reference.id for event in followed.events]
            if len(found) >= count:
                return found
    return found


async def test_hints_wake_it(db: Database, database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With polls a minute apart, what is published comes at once; what is addressed to somebody is shown too."""
    monkeypatch.setattr(tailing, "POLL_SECONDS", 60.0)
    listener = Listener(database_url)
    await listener.start()
    await _publish(db, 1)
    first, cursor = await begin(db, topics=["*"], limit=10)
    assert [event.reference.id for event in first] == [1]
    following = follow(db, listener, cursor, topics=["*"])
    try:
        for number in (2, 3):
            waiting = asyncio.create_task(_next(following, 1))
            await asyncio.sleep(0)
            await _publish(db, number, agent="somebody")
            assert await waiting == [number]
    finally:
        await following.aclose()  # type: ignore[attr-defined]
        await listener.close()
    assert listener._wakes == []


async def test_without_notify_it_polls(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """A listener nothing reaches: everything comes all the same, narrowed by topic."""
    monkeypatch.setattr(tailing, "BLIND_POLL_SECONDS", 0.02)
    _, cursor = await begin(db, topics=["*"], limit=0)
    following = follow(db, Listener("postgresql://nowhere"), cursor, topics=["observation.*"])
    waiting = asyncio.create_task(_next(following, 2))
    await _publish(db, 1)
    await _publish(db, 2, topic="decision.x")
    await _publish(db, 3)
    assert await waiting == [1, 3]


async def test_an_outage_is_told_once_and_caught_up_on(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cursor stands still while the database is away; then all that was published comes, once."""
    monkeypatch.setattr(tailing, "BLIND_POLL_SECONDS", 0.01)
    _, cursor = await begin(db, topics=["*"], limit=0)
    real, failures = bus.read, 3

    async def flaky(*args: object, **more: object) -> object:
        nonlocal failures
        if failures:
            failures -= 1
            raise TransientError("away")
        return await real(*args, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(bus, "read", flaky)
    await _publish(db, 1, 2)
    following = follow(db, Listener("postgresql://nowhere"), cursor, topics=["*"])
    async with asyncio.timeout(PATIENCE):
        assert await anext(following) == Followed(problem="away")
        assert [event.reference.id for event in (await anext(following)).events] == [1, 2]


async def test_a_restored_database_is_followed_from_now(db: Database) -> None:
    """A cursor of another cluster is said and given up."""
    following = follow(db, Listener("postgresql://nowhere"), Cursor("900000000:900000000:"), topics=["*"])
    async with asyncio.timeout(PATIENCE):
        assert "restored" in (await anext(following)).problem
        waiting = asyncio.create_task(_next(following, 1))
        await asyncio.sleep(0)
        await _publish(db, 7)
        assert await waiting == [7]


def test_the_command_follows(program: Program) -> None:
    """One JSON object a line, as it happens, until it is ended."""
    command = [
        sys.executable,
        "-m",
        "dataswarm",
        "events",
        "tail",
        "--follow",
        "--json",
        "--config",
        str(program.config),
    ]
    program.seed(lambda db: _publish(db, 1))
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            assert json.loads(process.stdout.readline())["reference"] == "observation:1"
            program.seed(lambda db: _publish(db, 2))
            line = json.loads(process.stdout.readline())
            assert (line["reference"], line["source"]) == ("observation:2", "live")
            _cut(program)
            program.seed(lambda db: _publish(db, 3))
            assert json.loads(process.stdout.readline())["reference"] == "observation:3"
        finally:
            process.terminate()


def _cut(program: Program) -> None:
    """End the program's sessions, the listener's too."""
    owner = json.loads(program.config.read_text(encoding="utf-8"))["database"]["migrate_url"]
    with psycopg.connect(owner, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE usename = 'dataswarm_worker' AND datname = current_database()"
        )
