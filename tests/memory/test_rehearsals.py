"""Rehearsals: kept apart from what was really concluded, and compared with it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from config.errors import PolicyError, UsageError
from memory.beliefs import branches, rehearsals
from memory.beliefs.rehearsals import Rehearsal, Rehearsed
from memory.board import ledger
from memory.connection.database import Database, Transaction
from memory.records import DecisionKind, NewDecision, Sensitivity
from tests.memory.stage import ORDERS

SINCE = datetime.now(UTC) - timedelta(hours=1)
UNTIL = SINCE + timedelta(hours=2)
RENAMED = Rehearsed("diagnose", ORDERS, "column_renamed", {"confidence": 0.9}, event_id=4)
DROPPED = Rehearsed("diagnose", ORDERS, "column_dropped")
QUIET = Rehearsed("note", ORDERS.column("x"), body={"n": 1})


async def rehearsed(tx: Transaction, branch: str, *verdicts: Rehearsed, agent: str = "health") -> Rehearsal:
    """A rehearsal of the hour."""
    return await rehearsals.record(tx, branch, agent, verdicts, since=SINCE, until=UNTIL, by="ann")


async def test_they_come_back_in_order(db: Database) -> None:
    """All fields survive; listed newest first, by branch and agent; an empty one is one too."""
    async with db.transaction() as tx:
        await branches.fork(tx, "fix", by="ann")
        first = await rehearsed(tx, "fix", QUIET, RENAMED, QUIET)
        second = await rehearsed(tx, "main")
        assert await rehearsals.verdicts(tx, first.id) == [QUIET, RENAMED, QUIET]
        assert await rehearsals.verdicts(tx, second.id) == []
        assert await rehearsals.list_(tx) == [second, first]
        assert await rehearsals.list_(tx, branch="fix", agent="health") == [first]
        assert await rehearsals.list_(tx, agent="other") == []


async def test_two_are_compared_by_what_they_say(db: Database) -> None:
    """What both say, as often as they do; what only one says; a different confidence is no other conclusion."""
    async with db.transaction() as tx:
        await branches.fork(tx, "fix", by="ann")
        here = await rehearsed(tx, "fix", RENAMED, QUIET, QUIET)
        there = await rehearsed(tx, "main", DROPPED, QUIET)
        found = await rehearsals.compare(tx, here.id, there.id)
        assert found.both == (("note", QUIET.subject, ""),)
        assert found.only_here == (("diagnose", ORDERS, "column_renamed"), ("note", QUIET.subject, ""))
        assert found.only_there == (("diagnose", ORDERS, "column_dropped"),)
        assert not found.is_same
        assert (await rehearsals.compare(tx, here.id, here.id)).is_same
        other = await rehearsed(tx, "fix", agent="drift")
        with pytest.raises(UsageError, match="different agents"):
            await rehearsals.compare(tx, here.id, other.id)
        with pytest.raises(UsageError, match="no rehearsal"):
            await rehearsals.compare(tx, 10**9)


async def test_one_is_compared_with_what_was_decided(db: Database) -> None:
    """Decisions of that agent in that range, by the words of verdicts; what leaves no decision is left out."""
    async with db.transaction() as tx:
        await branches.fork(tx, "fix", by="ann")
        for agent, cause in (("health", "column_dropped"), ("drift", "column_renamed")):
            await ledger.decide(tx, agent, NewDecision(DecisionKind.DIAGNOSIS, ORDERS, "why", cause=cause))
        await ledger.decide(tx, "health", NewDecision(DecisionKind.REMEDY, ORDERS, "why", cause="x"))
        here = await rehearsed(tx, "fix", RENAMED, QUIET, Rehearsed("act", ORDERS))
        found = await rehearsals.compare(tx, here.id)
        assert found.both == (("act", ORDERS, ""),)
        assert found.only_here == (("diagnose", ORDERS, "column_renamed"),)
        assert found.only_there == (("diagnose", ORDERS, "column_dropped"),)


async def test_they_touch_nothing_else(db: Database, owner_url: str) -> None:
    """No decision, incident, task, event or key comes of one."""
    tables = ("decisions", "incidents", "tasks", "tasks_scheduled", "events", "keys", "timers", "observations")
    async with db.transaction() as tx:
        await rehearsed(tx, "main", RENAMED, DROPPED)
    with psycopg.connect(owner_url) as connection:
        for table in tables:
            assert connection.execute(f"SELECT count(*) FROM dataswarm.{table}").fetchone() == (0,), table


async def test_what_is_no_rehearsal(db: Database) -> None:
    """An unknown branch, a range that is none, confidential evidence, what cannot be stored; nothing is written."""
    async with db.transaction() as tx:
        with pytest.raises(UsageError, match="no branch"):
            await rehearsed(tx, "nowhere", RENAMED)
        with pytest.raises(UsageError, match="after it begins"):
            await rehearsals.record(tx, "main", "a", [], since=UNTIL, until=SINCE, by="ann")
        with pytest.raises(PolicyError, match="confidential"):
            await rehearsed(tx, "main", Rehearsed("act", ORDERS, sensitivity=Sensitivity.CONFIDENTIAL))
        assert await rehearsals.list_(tx) == []
    with pytest.raises(UsageError, match="body"):
        async with db.transaction() as tx:
            await rehearsed(tx, "main", Rehearsed("act", ORDERS, body={"x": "a\0b"}))
    async with db.transaction() as tx:
        assert await rehearsals.list_(tx) == []
