"""The runtime over a real database: looks, batches, tasks, and what goes wrong in between."""

from __future__ import annotations

import asyncio
from time import monotonic

from agents.runtime.sensing import RECOVERED, UNREACHABLE
from config.assets import Asset
from memory.board import ledger
from memory.connection.database import Database
from memory.members import presence
from memory.records import NewObservation, Observation
from tests.pace import PATIENCE, quick, until
from tests.runtime.toys import Looker, Memo, Thinker, Well, running

WELL = Asset("well", "well")


async def observed(db: Database, kind: str) -> list[Observation]:
    """All observations of a kind, newest first."""
    async with db.transaction() as tx:
        return list(await ledger.observations(tx, kinds=[kind], subjects=None, since=None))


async def test_a_look_becomes_an_observation_a_thought_and_a_deed(db: Database) -> None:
    """Sense, consider and act meet on the blackboard alone, in order and once each."""
    memo = Memo()
    async with running(db, agents={"looker": Looker(), "thinker": Thinker(memo)}, sources={"well": Well()}):
        await until(lambda: observed(db, "bucket.filled"))
        await until(lambda: _at_least(memo, 3))
    assert memo.depths == list(range(1, len(memo.depths) + 1))
    seen = [o.payload["depth"] for o in await observed(db, "water.seen")]
    assert sorted(seen) == list(range(1, len(seen) + 1))


async def _at_least(memo: Memo, count: int) -> bool:
    return len(memo.depths) >= count


async def test_an_observation_reaches_the_next_agent_without_the_poll(db: Database) -> None:
    """With the idle poll ten minutes away, NOTIFY wakes the next agent in under 250 ms, the median of five."""
    memo = Memo()
    async with running(db, agents={"thinker": Thinker(memo)}) as swarm:
        await until(lambda: _holds(swarm.considerations["thinker"].lease))
        took = []
        for depth in range(1, 6):
            memo.arrived.clear()
            async with db.transaction() as tx:
                await ledger.record(tx, "test", [NewObservation("water.seen", WELL, payload={"depth": depth})])
            start = monotonic()
            await asyncio.wait_for(memo.arrived.wait(), PATIENCE)
            took.append(monotonic() - start)
    assert sorted(took)[len(took) // 2] < quick(0.25)


async def _holds(lease: object) -> bool:
    return lease is not None


async def test_an_event_that_trips_its_agent_is_set_aside_and_the_others_go_on(db: Database) -> None:
    """One poisonous event costs itself alone, and is put on record."""
    memo = Memo(trip_over=2)
    async with running(db, agents={"thinker": Thinker(memo)}):
        async with db.transaction() as tx:
            batch = [NewObservation("water.seen", WELL, payload={"depth": depth}) for depth in (1, 2, 3)]
            await ledger.record(tx, "test", batch)
        await until(lambda: _at_least(memo, 2))
        [stumble] = await until(lambda: observed(db, "agent.stumbled"))
    assert sorted(set(memo.depths)) == [1, 3]
    assert stumble.payload["error"] == "ValueError"


async def test_a_source_that_fails_is_reported_once_and_again_when_it_is_back(db: Database) -> None:
    """What was known stays known; nothing is reported dropped."""
    well = Well(is_dry=True)
    async with running(db, agents={"looker": Looker()}, sources={"well": well}):
        await until(lambda: _looked(well, 3))
        assert len(await observed(db, UNREACHABLE)) == 1
        well.is_dry = False
        await until(lambda: observed(db, RECOVERED))
    assert len(await observed(db, UNREACHABLE)) == 1


async def _looked(well: Well, times: int) -> bool:
    return well.looks >= times


async def test_a_disabled_agent_frees_its_lease_and_the_others_go_on(db: Database) -> None:
    """Taking an agent out of the configuration ends its loop at once."""
    memo = Memo()
    looker, thinker = Looker(), Thinker(memo)
    async with running(db, agents={"looker": looker, "thinker": thinker}, sources={"well": Well()}) as swarm:
        await until(lambda: _at_least(memo, 1))
        await swarm.reconfigure(
            swarm.settings,
            agents={"looker": looker},
            playbooks={},
            sources=swarm.sources,
            channels={},
            reasoner=None,
        )
        async with db.transaction() as tx:
            holders = {p.agent: p.holder for p in await presence.all(tx)}
        assert holders["thinker"] is None
        assert holders["looker"] is not None
        count = len(await observed(db, "water.seen"))
        await until(lambda: _more(db, count))


async def _more(db: Database, count: int) -> bool:
    return len(await observed(db, "water.seen")) > count
