"""Ticks: APScheduler only asks for a look; the slot makes any number of replicas ask once.

A slot is a whole number of intervals since the epoch by the server's clock, never since a process's start.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import structlog
from apscheduler.schedulers.asyncio import AsyncIOScheduler

from agents.base import Agent
from agents.runtime.sensing import asset_of
from config.errors import SwarmError
from config.settings import Settings
from integrations.base import Integration
from memory import clock, keys
from memory.connection.database import Database
from memory.queue import tasks
from memory.records import NewTask

log = structlog.get_logger(__name__)
KEPT_SLOTS = 20  # a slot's key is kept this many intervals: no replica's tick is that late


@dataclass(slots=True)
class Ticks:
    """The schedule of one process: a job for each agent and each source it looks at."""

    database: Database
    settings: Callable[[], Settings]
    scheduler: AsyncIOScheduler = field(default_factory=lambda: AsyncIOScheduler(timezone="UTC"))
    _asking: set[asyncio.Task[None]] = field(default_factory=set)

    def start(self) -> None:
        """Begin to tick; jobs come by `arrange`."""
        self.scheduler.start()

    async def stop(self) -> None:
        """No more ticks; those that are asking finish first."""
        if self.scheduler.running:
            self.scheduler.remove_all_jobs()
            while self._asking:
                await asyncio.wait(self._asking)
            self.scheduler.shutdown(wait=False)

    def arrange(self, agents: Mapping[str, Agent], sources: Mapping[str, Integration]) -> None:
        """Make the jobs match what is enabled now; unchanged ones go on undisturbed."""
        wanted: dict[str, tuple[Agent, Integration, float]] = {}
        for name, agent in agents.items():
            tuned = self.settings().agents.get(name)
            every = (tuned.every_seconds if tuned else None) or agent.every_seconds
            for source in sources.values():
                if agent.senses and isinstance(source, tuple(agent.senses)):
                    wanted[f"{name}|{source.name}|{every:g}"] = (agent, source, every)
        for job in self.scheduler.get_jobs():
            if job.id not in wanted:
                job.remove()
        for key, (agent, source, every) in wanted.items():
            if self.scheduler.get_job(key) is None:
                self.scheduler.add_job(
                    self.ask,
                    "interval",
                    seconds=every,
                    args=[agent.name, source, every],
                    id=key,
                    coalesce=True,
                    max_instances=1,
                    misfire_grace_time=max(1, int(every)),
                )
                self.scheduler.add_job(self.ask, args=[agent.name, source, every])  # and once right now

    async def ask(self, agent: str, source: Integration, every: float) -> None:
        """Enqueue a look for the slot of now, unless some replica has, or the last look still runs."""
        asking = asyncio.create_task(self._ask(agent, source, every))
        self._asking.add(asking)
        asking.add_done_callback(self._asking.discard)
        await asyncio.shield(asking)

    async def _ask(self, agent: str, source: Integration, every: float) -> None:
        try:
            now = await clock.now(self.database)
            slot = int(now.timestamp() // every)
            async with self.database.transaction() as tx:
                key = f"{agent}|{source.name}|{every:g}|{slot}"
                if not await keys.take(tx, "slot", key, expires_seconds=every * KEPT_SLOTS):
                    return
                task = NewTask(
                    agent=agent,
                    kind="sense",
                    subject=asset_of(source),
                    payload={"source": source.name, "slot": slot},
                    key=f"sense|{agent}|{source.name}",
                    max_attempts=1,
                    deadline_seconds=max(60.0, every * 2),
                )
                await tasks.enqueue(tx, [task])
        except SwarmError as error:
            log.warning("tick.missed", problem=error.message, agent=agent, source=source.name)
