"""What agents are shown is written down: who, what, when, and what they asked for; and what that costs a read."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

from agents.runtime.bench import Surroundings
from config.settings import Settings
from memory.access import AccessLog, accesses
from memory.beliefs import knowledge
from memory.board import ledger
from memory.connection.database import Database
from memory.members import presence
from memory.records import NewObservation
from tests.memory.stage import ORDERS, opened
from tests.pace import until
from tests.runtime.test_loops import WELL
from tests.runtime.toys import Memo, Thinker, running


def around(db: Database, log: AccessLog | None) -> Surroundings:
    """What an agent of this process works in."""
    return Surroundings(db, dict, dict, Settings, agent="drift", accesses=log)


async def test_what_a_window_shows_is_written_down(db: Database) -> None:
    """Each noun, with what was asked for; a window of nobody, and one without a log, note nothing."""
    async with db.transaction() as tx:
        (seen,) = await ledger.record(tx, "a", [NewObservation("schema.renamed", ORDERS)])
        incident = await opened(tx)
        await knowledge.assert_fact(tx, "a", ORDERS, "owner", "shop", expected=0)
    log = AccessLog(db)
    for within in (around(db, log), around(db, None), Surroundings(db, dict, dict, Settings, accesses=log)):
        window = within.window(datetime.now(UTC))
        await window.observations(kinds=["schema.*"], subjects=[ORDERS])
        await window.open_incidents()
        await window.incident(incident.id)
        await window.decisions(kind="diagnosis")
        await window.remediations(incident.id)
        await window.escalations(incident.id)
        await window.fact(ORDERS, "owner")
        await window.fact(ORDERS, "nothing")
    await log.flush()
    async with db.transaction() as tx:
        found = {(one.noun, one.ref, one.query) for one in await accesses(tx, who="drift")}
    assert found == {
        ("observation", str(seen), f"observations schema.* about {ORDERS}"),
        ("incident", str(incident.id), "open incidents"),
        ("incident", str(incident.id), ""),
        ("fact", f"owner of {ORDERS}", ""),
    }


async def test_what_an_agent_is_told_is_written_down(db: Database) -> None:
    """A runtime writes it in the background, and what is left when it stops."""
    memo = Memo()
    async with running(db, agents={"thinker": Thinker(memo)}):
        async with db.transaction() as tx:
            await ledger.record(tx, "test", [NewObservation("water.seen", WELL, payload={"depth": 1})])
        await until(lambda: _told(memo))
    async with db.transaction() as tx:
        (read,) = [one for one in await accesses(tx, who="thinker", noun="observation") if one.verb == "read"]
        assert await presence.all(tx)
    assert read.query == "observation.water.seen"


async def _told(memo: Memo) -> bool:
    return 1 in memo.depths


async def test_noting_costs_little_of_a_read(db: Database) -> None:
    """The quickest read of 500 rows with the log takes hardly longer than without; that of a single fact neither."""
    async with db.transaction() as tx:
        await ledger.record(tx, "a", [NewObservation(f"s.k{n}", ORDERS) for n in range(500)])
        await knowledge.assert_fact(tx, "a", ORDERS, "owner", "shop", expected=0)
    log = AccessLog(db)
    took: dict[tuple[str, bool], list[float]] = {}
    for _ in range(60):
        for noting in (False, True):
            window = around(db, log if noting else None).window(datetime.now(UTC))
            for what, read in (("rows", window.observations), ("fact", lambda w=window: w.fact(ORDERS, "owner"))):
                started = time.perf_counter()
                await read()
                took.setdefault((what, noting), []).append(time.perf_counter() - started)
    least: dict[Any, float] = {key: min(times) for key, times in took.items()}  # others at work only add to it
    assert least["rows", True] < least["rows", False] * 1.2 + 0.0005
    assert least["fact", True] < least["fact", False] * 1.2 + 0.0005
    started = time.perf_counter()
    number = await log.flush()
    assert number == 501
