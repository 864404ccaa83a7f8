"""An agent that is switched off for all replicas: nobody is it within seconds, and it goes on where it was."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from time import monotonic

import pytest

from agents.runtime.swarm import Swarm
from dataswarm import asks
from memory.board import ledger
from memory.connection.database import Database
from memory.members import presence
from memory.records import NewObservation
from tests.pace import quick, until
from tests.runtime.test_loops import WELL, observed
from tests.runtime.toys import Looker, Memo, Thinker, Well, running


class Canary(Thinker):
    """Another one that watches the same, and is left alone."""

    name = "canary"


@asynccontextmanager
async def replicas(url: str, memo: Memo, canary: Memo, *, deaf: bool = False) -> AsyncIterator[Sequence[Swarm]]:
    """Two runtimes with the same agents over one memory; the idle poll is a minute. `deaf`: no hint reaches them."""
    async with AsyncExitStack() as stack:
        swarms = []
        for number in range(2):
            database = await Database.open(url, application_name=f"dataswarm/{number}")
            stack.push_async_callback(database.close)
            agents = {"looker": Looker(), "thinker": Thinker(memo), "canary": Canary(canary)}
            swarm = await stack.enter_async_context(running(database, agents=agents, sources={"well": Well()}))
            if deaf:
                for wake in swarm.listener._wakes:
                    wake.prefix = "no hint begins so"
            swarms.append(swarm)
        yield swarms


async def holders(db: Database) -> set[str]:
    """The agents that somebody is."""
    async with db.transaction() as tx:
        return {one.agent for one in await presence.all(tx) if one.holder is not None}


async def told(db: Database, depth: int) -> None:
    """Something the thinker watches."""
    async with db.transaction() as tx:
        await ledger.record(tx, "test", [NewObservation("water.seen", WELL, payload={"depth": depth})])


@pytest.mark.parametrize("deaf", [False, True])
async def test_it_is_off_on_every_replica_within_seconds(db: Database, database_url: str, *, deaf: bool) -> None:
    """It thinks, looks and acts no more, on neither; the others go on; switched on, it hears what it missed, once."""
    memo, canary = Memo(), Memo()
    async with replicas(database_url, memo, canary, deaf=deaf) as swarms:
        await until(lambda: _is(holders(db), {"canary", "looker", "thinker"}))
        await until(lambda: observed(db, "bucket.filled"))
        begun = monotonic()
        for name in ("looker", "thinker"):
            await asks.switch(db, name, on=False, reason="a migration", by="ann")

        async def is_off() -> bool:
            jobs = [job for swarm in swarms for job in swarm.ticks.scheduler.get_jobs()]
            minds = {name for swarm in swarms for name in swarm.considerations}
            return not jobs and minds == await holders(db) == {"canary"}

        await until(is_off)
        took = monotonic() - begun
        assert took < quick(5 if deaf else 1)
        known, seen = list(memo.depths), len(await observed(db, "water.seen"))
        await told(db, 4711)
        with pytest.raises(Exception, match="switched off"):
            await asks.ask(db, "thinker", "fetch", {}, by="ann")
        await until(lambda: _has(canary, 4711))
        assert (memo.depths, len(await observed(db, "water.seen"))) == (known, seen + 1)
        await asks.switch(db, "thinker", on=True, reason="it is through", by="ann")
        await until(lambda: _has(memo, 4711))
        assert await holders(db) == {"canary", "thinker"}
    assert memo.depths.count(4711) == 1
    async with db.transaction() as tx:
        said = [(one.enabled, one.by, one.reason) for one in await presence.switches(tx, "thinker")]
    assert said == [(True, "ann", "it is through"), (False, "ann", "a migration")]


async def _is(finding: Awaitable[set[str]], wanted: set[str]) -> bool:
    return await finding == wanted


async def _has(memo: Memo, depth: int) -> bool:
    return depth in memo.depths


async def test_it_stays_off_across_a_restart(db: Database, database_url: str) -> None:
    """A row holds it, not a process: who starts afterwards does not begin with it."""
    memo, canary = Memo(), Memo()
    async with running(db, agents={"thinker": Thinker(memo)}):
        await until(lambda: _is(holders(db), {"thinker"}))
    await asks.switch(db, "thinker", on=False, reason="a migration", by="ann")
    async with replicas(database_url, memo, canary) as swarms:
        assert [set(swarm.considerations) for swarm in swarms] == [{"canary", "looker"}] * 2
        await told(db, 4712)
        await until(lambda: _has(canary, 4712))
    assert 4712 not in memo.depths
