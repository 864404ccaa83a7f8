"""Limits of the configuration hold, and change with it while the swarm runs."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from agents.playbook import Bench
from agents.verdicts import Verdict
from memory.board import ledger
from memory.connection.database import Database
from memory.queue import kinds, tasks
from memory.records import NewObservation, Task, TaskState
from tests.pace import until
from tests.runtime.test_loops import WELL
from tests.runtime.toys import Memo, Thinker, running


class Slow(Thinker):
    """A thinker whose deeds last until they are let go."""

    def __init__(self, memo: Memo) -> None:
        super().__init__(memo)
        self.go_on = asyncio.Event()
        self.now = 0
        self.most = 0

    async def act(self, task: Task, bench: Bench) -> Sequence[Verdict]:
        """Wait."""
        self.now += 1
        self.most = max(self.most, self.now)
        await self.go_on.wait()
        self.now -= 1
        return []


async def test_a_limit_of_the_configuration_bounds_a_kind(db: Database) -> None:
    """Of six fetches at most two run at once, with four hands free; lifted, the rest follow."""
    agent = Slow(Memo())
    settings = {"agents": {"thinker": {"limits": {"fetch": 2, "nonsense": 1}}}}
    async with running(db, agents={"thinker": agent}, settings=settings) as swarm:
        async with db.transaction() as tx:
            [few] = [kind for kind in await kinds.all(tx) if kind.agent == "thinker"]
            batch = [NewObservation("water.seen", WELL, payload={"depth": depth}) for depth in range(6)]
            await ledger.record(tx, "test", batch)
        assert (few.kind, few.max_running) == ("fetch", 2)

        async def parked() -> bool:
            async with db.transaction() as tx:
                return len(await tasks.list_(tx, [TaskState.PARKED], kind="fetch")) == 4 and agent.now == 2

        async def done() -> bool:
            async with db.transaction() as tx:
                return len(await tasks.list_(tx, [TaskState.SUCCEEDED], kind="fetch")) == 6

        await until(parked)
        assert swarm.workshop is not None
        assert len(swarm.workshop.running) == 2
        agent.go_on.set()
        await until(done)
    assert agent.most == 2
