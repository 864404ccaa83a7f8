"""The smallest agents and sources that make the runtime do everything it does; the database beside them is real."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar

from pydantic import BaseModel

from agents.base import Agent, Capability, Watch
from agents.context import Context, Happening
from agents.playbook import Bench, NoOptions, Playbook
from agents.runtime.swarm import Swarm
from agents.verdicts import Begin, Record, Sensed, Verdict
from config.assets import Asset
from config.errors import TransientError
from config.settings import Settings
from integrations.base import Finding, Integration
from memory.connection.database import Database
from memory.records import JSON, NewObservation, NewTask, Task


@dataclass
class Well:
    """A source that counts how often it was looked into, and fails when told to."""

    name: str = "well"
    looks: int = 0
    is_dry: bool = False
    kind: ClassVar[str] = "well"
    Options: ClassVar[type[BaseModel]] = NoOptions

    async def open(self) -> None:
        """Nothing to open."""

    async def close(self) -> None:
        """Nothing to close."""

    async def examine(self) -> Sequence[Finding]:
        """Always well."""
        return [Finding(True, "a well")]


class Looker(Agent):
    """Sees something new at each look."""

    name = "looker"
    senses = (Well,)
    every_seconds = 0.2
    publishes = ("water.seen",)

    async def sense(self, source: Integration, baseline: JSON, context: Context) -> Sensed:
        """Count up from the baseline."""
        assert isinstance(source, Well)
        source.looks += 1
        if source.is_dry:
            raise TransientError("the well is dry")
        depth = int(baseline or 0) + 1
        seen = NewObservation("water.seen", Asset("well", source.name), payload={"depth": depth}, key=f"depth|{depth}")
        return Sensed([seen], depth)


@dataclass
class Memo:
    """What a toy agent was told and did."""

    depths: list[int] = field(default_factory=list)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    acted: asyncio.Event = field(default_factory=asyncio.Event)
    trip_over: int = -1


class Thinker(Agent):
    """Answers each depth with a task, and performs it."""

    name = "thinker"
    watches = (Watch(("observation.water.*",)),)
    acts = (Capability("fetch", "fetch a bucket"),)

    def __init__(self, memo: Memo) -> None:
        super().__init__()
        self.memo = memo

    async def consider(self, happenings: Sequence[Happening], context: Context) -> Sequence[Verdict]:
        """Remember the depth, ask for a bucket."""
        verdicts: list[Verdict] = []
        for happening in happenings:
            depth = int(happening.record.payload["depth"])
            if depth == self.memo.trip_over:
                raise ValueError("tripped")
            self.memo.depths.append(depth)
            self.memo.arrived.set()
            subject = happening.record.subject
            verdicts.append(Begin(NewTask(self.name, "fetch", subject, {"depth": depth}, key=f"fetch|{depth}")))
        return verdicts

    async def act(self, task: Task, bench: Bench) -> Sequence[Verdict]:
        """Fetch a bucket, in one journaled step."""

        async def produce() -> int:
            return int(task.payload["depth"]) * 10

        litres = await bench.step("fill", produce, int)
        self.memo.acted.set()
        return [Record(NewObservation("bucket.filled", task.subject, payload={"litres": litres}))]


@asynccontextmanager
async def running(
    database: Database,
    *,
    agents: Mapping[str, Agent],
    sources: Mapping[str, Any] | None = None,
    playbooks: Mapping[str, Playbook] | None = None,
    settings: Mapping[str, Any] | None = None,
) -> AsyncIterator[Swarm]:
    """A swarm at work; stopped and drained at the end."""
    tuned = {"runtime": {"poll_seconds": 600, "drain_seconds": 2}, **(settings or {})}
    swarm = Swarm(
        database=database,
        settings=Settings.model_validate(tuned),
        agents=agents,
        playbooks=playbooks or {},
        sources=sources or {},
        channels={},
    )
    stop = asyncio.Event()
    job = asyncio.create_task(swarm.run(stop))
    started = asyncio.create_task(swarm.started())
    await asyncio.wait({job, started}, return_when=asyncio.FIRST_COMPLETED)
    if job.done():
        started.cancel()
        await job
    try:
        yield swarm
    finally:
        stop.set()
        await job
