"""The access log: batched, queryable, lossless across a database that is away for a while."""

from __future__ import annotations

import asyncio
import time

import pytest
from structlog.testing import capture_logs

from config.errors import TransientError
from memory import access
from memory.access import AccessLog, accesses
from memory.beliefs import knowledge
from memory.board import ledger
from memory.connection.database import Database
from memory.records import DecisionKind, NewDecision, NewObservation, Reference, Sensitivity
from tests.memory.conftest import Clock
from tests.memory.sealing import sealing
from tests.memory.stage import ORDERS
from tests.pace import PATIENCE, quick, until


async def test_accesses_are_written_in_batches_and_found(db: Database) -> None:
    """Nothing is written before the flush; then it is found by who, what and which."""
    log = AccessLog(db)
    log.note("pipeline-health", "read", "observation", 12)
    log.note("pipeline-health", "search", "memory", "orders\0 customer")
    log.note("ann", "read", "fact", "x" * 1000)
    async with db.transaction() as tx:
        assert await accesses(tx) == []
    assert await log.flush() == 3
    assert await log.flush() == 0
    async with db.transaction() as tx:
        assert [found.ref for found in await accesses(tx, who="pipeline-health")] == ["orders customer", "12"]
        (found,) = await accesses(tx, noun="observation", ref=12)
        assert (found.who, found.verb) == ("pipeline-health", "read")
        assert len((await accesses(tx, who="ann"))[0].ref) == 500
        assert len(await accesses(tx, limit=2)) == 2
        assert await accesses(tx, since=found.at.replace(year=found.at.year + 1)) == []


async def test_a_failed_flush_loses_nothing(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """What could not be written is written by the next flush, in order, with what came meanwhile."""
    log = AccessLog(db)
    log.note("a", "read", "fact", 1)

    async def away(*_: object) -> None:
        log.note("a", "read", "fact", 2)
        raise TransientError("the database is away")

    with monkeypatch.context() as broken:
        broken.setattr(access, "_write", away)
        with pytest.raises(TransientError):
            await log.flush()
    assert await log.flush() == 2
    async with db.transaction() as tx:
        assert [found.ref for found in await accesses(tx)] == ["2", "1"]


async def test_the_log_is_bounded(db: Database) -> None:
    """With the database away for long the oldest go first, and their number is known."""
    log = AccessLog(db)
    for number in range(access.MOST + 5):
        log.note("a", "read", "fact", number)
    assert log.lost == 5
    assert await log.flush() == access.MOST
    async with db.transaction() as tx:
        assert await accesses(tx, ref=4) == []
        assert len(await accesses(tx, ref=5)) == 1


async def test_the_same_read_is_noted_once_a_batch(db: Database) -> None:
    """Whoever looks at the same rows again before they are written adds nothing; for another question it does."""
    log = AccessLog(db)
    for _ in range(100):
        log.read("drift", "observation", [1, 2], "observations of schema.*")
    log.read("drift", "observation", [2], "observations of rows.*")
    assert await log.flush() == 3
    async with db.transaction() as tx:
        found = await accesses(tx, noun="observation", ref=2)
    assert {(one.who, one.verb, one.query) for one in found} == {
        ("drift", "read", "observations of schema.*"),
        ("drift", "read", "observations of rows.*"),
    }


async def test_a_search_says_which_question_led_where(db: Database) -> None:
    """Each item carries the question; one asked with the highest clearance leaves its length alone."""
    log = AccessLog(db)
    log.searched("ann", "who owns orders", [Reference("decision", 7)])
    log.searched("bob", "hunter2", [Reference("decision", 8)], clearance=Sensitivity.CONFIDENTIAL)
    await log.flush()
    async with db.transaction() as tx:
        (ann,) = await accesses(tx, noun="decision", ref=7)
        (bob,) = await accesses(tx, noun="decision", ref=8)
        asked = await accesses(tx, noun="memory")
    assert (ann.query, bob.query) == ("who owns orders", "a question of 7 characters")
    assert {one.ref for one in asked} == {"who owns orders", "a question of 7 characters"}


async def test_whoever_wrote_is_found_without_a_line(db: Database, clock: Clock) -> None:
    """Rows and versions say who wrote them; beside those who read, newest first, by item, by name and by time."""
    async with db.transaction() as tx:
        (seen,) = await ledger.record(tx, "drift", [NewObservation("schema.renamed", ORDERS)])
        await ledger.decide(tx, "health", NewDecision(DecisionKind.DIAGNOSIS, ORDERS, "renamed"))
    clock.forward(10)
    async with db.transaction() as tx:
        await knowledge.assert_fact(tx, "ann", ORDERS, "owner", "shop", expected=0)
        fact = await knowledge.assert_fact(tx, "bob", ORDERS, "owner", "data", expected=1)
    clock.forward(10)
    log = AccessLog(db)
    log.believed("health", [fact], "the owner")
    await log.flush()
    async with db.transaction() as tx:
        (written,) = await accesses(tx, noun="observation", ref=seen)
        by_name = await accesses(tx, noun="fact", ref=f"owner of {ORDERS}")
        everything = await accesses(tx)
        lately = await accesses(tx, since=clock.now)
        assert [one.verb for one in await accesses(tx, who="bob")] == ["write"]
        assert await accesses(tx, noun="fact", ref="owner of nothing at all") == []
        number = next(one.ref for one in by_name if one.verb == "write")
        assert await accesses(tx, noun="fact", ref=number) == by_name
    assert (written.who, written.verb) == ("drift", "write")
    assert (by_name[0].who, by_name[0].verb) == ("health", "read")
    assert {(one.who, one.verb) for one in by_name[1:]} == {("ann", "write"), ("bob", "write")}
    assert [one.noun for one in everything[:3]] == ["fact"] * 3
    assert {one.noun for one in everything[3:]} == {"decision", "observation"}
    assert [one.who for one in lately] == ["health"]


async def test_the_log_names_nothing_confidential(db: Database) -> None:
    """A confidential fact stands in it by a digest, and is found again by whoever knows its name or its number."""
    sealing(db)
    async with db.transaction(clearance=Sensitivity.CONFIDENTIAL) as tx:
        hidden = await knowledge.assert_fact(
            tx, "ann", ORDERS, "password.hunter2", 1, expected=0, sensitivity=Sensitivity.CONFIDENTIAL
        )
        log = AccessLog(db)
        log.believed("bob", [hidden])
        await log.flush()
        assert {one.who for one in await accesses(tx, noun="fact", ref=f"password.hunter2 of {ORDERS}")} == {
            "ann",
            "bob",
        }
    async with db.transaction() as tx:
        (seen,) = await accesses(tx)
    assert (seen.who, seen.verb) == ("bob", "read")
    assert "hunter2" not in str(seen)


async def test_it_is_written_in_the_background(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """At its times, at once where many have come together, at the end what is left; an outage is told once."""
    log = AccessLog(db, flush_seconds=0.01)
    log.start()
    log.note("a", "read", "fact", 1)
    await _written(db, 1)
    write, away = access._write, asyncio.Event()

    async def failing(*_: object) -> None:
        away.set()
        raise TransientError("the database is away")

    monkeypatch.setattr(access, "_write", failing)
    with capture_logs() as logs:
        for number in range(2, 4):
            away.clear()
            log.note("a", "read", "fact", number)
            await asyncio.wait_for(away.wait(), PATIENCE)
        monkeypatch.setattr(access, "_write", write)
        await _written(db, 3)
    assert [entry["event"] for entry in logs] == ["accesses.not_written"]
    await log.close()
    slow = AccessLog(db, flush_seconds=3600)
    slow.start()
    for number in range(access.MOST // 2 + 1):
        slow.note("b", "read", "fact", number)
    await _written(db, access.MOST // 2 + 4)
    slow.note("b", "read", "fact", "the last")
    await slow.close()
    await _written(db, access.MOST // 2 + 5)


async def _written(db: Database, number: int) -> None:
    """Wait until so many accesses are written."""

    async def are_written() -> bool:
        async with db.transaction() as tx:
            return len(await accesses(tx, limit=access.MOST)) == number

    await until(are_written)


def test_noting_costs_microseconds() -> None:
    """A thousand rows shown at once are noted in under 5 ms, which a read of them takes many times."""
    log = AccessLog(None)  # type: ignore[arg-type]  # it writes nothing here
    took = []
    for turn in range(9):
        started = time.perf_counter()
        log.read("drift", "observation", range(turn * 1000, (turn + 1) * 1000), "observations")
        took.append(time.perf_counter() - started)
    assert sorted(took)[4] < quick(0.005)
