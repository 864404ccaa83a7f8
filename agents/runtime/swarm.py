"""The swarm of one process: its loops, started together, reshaped while running, stopped within a deadline."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Mapping
from contextlib import suppress
from uuid import UUID, uuid4

import structlog

from agents.base import Agent
from agents.playbook import Playbook, Reasoner
from agents.runtime.bench import Surroundings
from agents.runtime.concerning import heard
from agents.runtime.considering import Consideration
from agents.runtime.performing import NOTIFY, Workshop, kinds_of
from agents.runtime.ticking import Ticks
from agents.runtime.upkeep import Upkeep
from agents.runtime.writing import Outgoing
from config.errors import PermanentError, SwarmError, TransientError
from config.settings import Settings
from integrations.base import Channel, Integration, Message
from memory.access import AccessLog
from memory.beliefs.cache import FactCache
from memory.bus import HINT, Listener
from memory.bus.feed import Feed
from memory.connection.database import Database
from memory.measuring import figures
from memory.measuring.figures import Figures
from memory.members import presence
from memory.queue import kinds
from memory.queue.heartbeat import Heartbeat
from memory.records import Sensitivity, Task

log = structlog.get_logger(__name__)
SWITCH_SECONDS = 2.0  # how late a process is that heard of no switch
CLEARANCES = {
    "public": Sensitivity.PUBLIC,
    "internal": Sensitivity.INTERNAL,
    "confidential": Sensitivity.CONFIDENTIAL,
}


class Swarm:
    """All that runs in one process. Several processes share the work through leases in memory alone.

    Args:
        agents, playbooks: what is enabled here, made and ready.
        sources, channels: open integrations by configured name.
        version: of the project, as `status` shows it.
        on_hung: what the heartbeat does when the event loop hangs and leases are given up; a service that is started
            anew when it ends passes `memory.queue.heartbeat.end_process`.
    """

    def __init__(
        self,
        *,
        database: Database,
        settings: Settings,
        agents: Mapping[str, Agent],
        playbooks: Mapping[str, Playbook],
        sources: Mapping[str, Integration],
        channels: Mapping[str, Channel],
        reasoner: Reasoner | None = None,
        version: str = "",
        on_hung: Callable[[], None] | None = None,
    ) -> None:
        self.database = database
        self.settings = settings
        self.agents = dict(agents)
        self.playbooks = dict(playbooks)
        self.sources = dict(sources)
        self.channels = dict(channels)
        self.reasoner = reasoner
        self.version = version
        self.on_hung = on_hung
        self.process: UUID = uuid4()
        self.host = socket.gethostname()
        self.label = f"{self.host}:{os.getpid()}"
        self.listener = Listener(database.listen_url)
        self.feed = Feed(database)
        self.facts = FactCache(database, self.listener, seconds=settings.memory.cache_seconds)
        self.accesses = AccessLog(database)
        self.switched_off: frozenset[str] = frozenset()
        self.ticks = Ticks(database, lambda: self.settings)
        self.considerations: dict[str, Consideration] = {}
        self.heartbeat: Heartbeat | None = None
        self.workshop: Workshop | None = None
        self._loops: dict[str, tuple[asyncio.Task[None], asyncio.Event]] = {}
        self._started = asyncio.Event()
        self._shaping = asyncio.Lock()

    @property
    def working(self) -> dict[str, Agent]:
        """The agents enabled here that nobody switched off for all replicas."""
        return {name: agent for name, agent in self.agents.items() if name not in self.switched_off}

    def around(self, agent: str) -> Surroundings:
        """What tasks and batches of one agent work in."""
        tuned = self.settings.agents.get(agent)
        return Surroundings(
            database=self.database,
            sources=lambda: self.sources,
            playbooks=lambda: self.playbooks,
            settings=lambda: self.settings,
            reasoner=self.reasoner,
            clearance=CLEARANCES[tuned.clearance] if tuned else Sensitivity.INTERNAL,
            facts=self.facts,
            agent=agent,
            accesses=self.accesses,
        )

    def outgoing(self) -> Outgoing:
        """Which channels hear of what."""
        topics = ("escalation", "approval", "resolved")
        heard = {t: [n for n in self.channels if t in self.settings.channels[n].on] for t in topics}
        return Outgoing(heard, self.settings.policy.approval_minutes * 60)

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop` is set; then drain: finish or hand back what is leased, give up the agents' leases."""
        runtime = self.settings.runtime
        self.listener.call(HINT, self.feed.hint)
        await self.listener.start()
        self.facts.start()
        self.accesses.start()
        heartbeat = self.heartbeat = Heartbeat(
            self.database.listen_url,
            self.process,
            lease_seconds=runtime.lease_seconds,
            on_lost=self._lose,
            on_hung=self.on_hung,
        )
        heartbeat.start(asyncio.get_running_loop())
        self.workshop = Workshop(
            agents=lambda: self.agents,
            working=lambda: self.working,
            around=self.around,
            outgoing=self.outgoing,
            deliver=self.deliver,
            wake=self.listener.subscribe("task"),
            worker_id=self.process,
            heartbeat=heartbeat,
            workers=runtime.workers,
            lease_seconds=runtime.lease_seconds,
            poll_seconds=runtime.poll_seconds,
        )
        await self._beat()
        self.ticks.start()
        await self._look_at_switches()
        await self._reshape()
        upkeep = Upkeep(self.database, lambda: self.settings, beat=self._beat)
        keeping = asyncio.create_task(upkeep.run(stop), name="upkeep")
        switching = asyncio.create_task(self._follow_switches(), name="switches")
        log.info("swarm.up", agents=sorted(self.agents), sources=sorted(self.sources))
        self._started.set()
        try:
            await self.workshop.run(stop, runtime.drain_seconds)
        finally:
            await self.ticks.stop()
            switching.cancel()
            await asyncio.gather(switching, return_exceptions=True)
            for _, told in self._loops.values():
                told.set()
            loops = [loop for loop, _ in self._loops.values()]
            keeping.cancel()
            await asyncio.gather(*loops, keeping, return_exceptions=True)
            await self.feed.close()
            await self.facts.close()
            await self.accesses.close()
            await asyncio.to_thread(heartbeat.stop)
            with suppress(SwarmError):
                async with self.database.transaction() as tx:
                    await presence.leave(tx, self.process)
            await self.listener.close()
            log.info("swarm.down")

    def figures(self) -> Figures:
        """What this process has counted of its coordination since it started."""
        lost = sum(consideration.leases_lost for consideration in self.considerations.values())
        return figures.of(self.listener, self.heartbeat, self.workshop, lost)

    async def started(self) -> None:
        """Wait until every loop runs."""
        await self._started.wait()

    async def reconfigure(
        self,
        settings: Settings,
        *,
        agents: Mapping[str, Agent],
        playbooks: Mapping[str, Playbook],
        sources: Mapping[str, Integration],
        channels: Mapping[str, Channel],
        reasoner: Reasoner | None,
    ) -> None:
        """Take on a changed configuration: loops of disabled agents end and free their leases, the others go on."""
        self.settings = settings
        self.agents = dict(agents)
        self.playbooks = dict(playbooks)
        self.sources = dict(sources)
        self.channels = dict(channels)
        self.reasoner = reasoner
        await self._reshape()
        await self._beat()

    async def deliver(self, task: Task) -> None:
        """Hand a message to its channel. TransientError where trying again is of use."""
        name = str(task.payload["channel"])
        channel = self.channels.get(name)
        if channel is None:
            log.warning("channel.gone", channel=name)
            return
        demo = self.settings.runtime.demo
        message = Message(
            topic=str(task.payload["topic"]),
            title=("[DEMO] " if demo else "") + str(task.payload["title"]),
            body=str(task.payload["body"]),
            incident_id=task.incident_id,
            demo=demo,
        )
        delivery = await channel.send(message)
        if not delivery.ok:
            raise _undelivered(name, delivery.error, retry=delivery.retry)

    def _lose(self, task_id: int) -> None:
        if self.workshop is not None:
            self.workshop.lose(task_id)

    async def _declare(self) -> None:
        """Say what can be asked of whom, with the limits of the configuration; the same again writes nothing."""
        wanted = [NOTIFY]
        for agent in self.agents.values():
            wanted += kinds_of(agent, self.settings.agent(agent.name).limits)
        async with self.database.transaction() as tx:
            await kinds.declare(tx, wanted)

    async def _follow_switches(self) -> None:
        """Take up what was switched for all replicas: at once by its hint, within seconds should that be lost."""
        wake = self.listener.subscribe(presence.HINT)
        try:
            while True:
                await wake.wait(min(SWITCH_SECONDS, self.settings.runtime.poll_seconds))
                try:
                    if await self._look_at_switches():
                        await self._reshape()
                except SwarmError as error:
                    log.warning("switches.not_read", problem=error.message)
        finally:
            self.listener.unsubscribe(wake)

    async def _look_at_switches(self) -> bool:
        """Read who is switched off; is that otherwise than before?"""
        async with self.database.transaction(durable=False) as tx:
            found = await presence.switched_off(tx)
        before, self.switched_off = self.switched_off, found
        return before != found

    async def _reshape(self) -> None:
        async with self._shaping:  # a changed file and a switch may come at one time
            await self._shape()

    async def _shape(self) -> None:
        await self._declare()
        working = self.working
        for name in [n for n in self._loops if self.considerations[n].agent is not working.get(n)]:
            loop, told = self._loops.pop(name)
            told.set()
            await loop
            self.feed.unsubscribe(self.considerations.pop(name).wake)
            log.info("agent.off", agent=name)
        for name, agent in working.items():
            if name not in self._loops:
                await self._enlist(name, agent)
        self.ticks.arrange(working, self.sources)
        for consideration in self.considerations.values():
            consideration.outgoing = self.outgoing()

    async def _enlist(self, name: str, agent: Agent) -> None:
        around = self.around(name)
        async with self.database.transaction() as tx:
            await presence.enlist(tx, name, agent.offers(), around.clearance)
        runtime = self.settings.runtime
        consideration = Consideration(
            agent=agent,
            around=around,
            outgoing=self.outgoing(),
            wake=self.feed.subscribe(heard(agent), name),
            process=self.process,
            host=self.host,
            label=self.label,
            lease_seconds=runtime.agent_lease_seconds,
            poll_seconds=runtime.poll_seconds,
            feed=self.feed,
        )
        told = asyncio.Event()
        self.considerations[name] = consideration
        self._loops[name] = (asyncio.create_task(consideration.run(told), name=f"agent-{name}"), told)

    async def _beat(self) -> None:
        async with self.database.transaction() as tx:
            await presence.beat(
                tx,
                self.process,
                self.host,
                os.getpid(),
                self.version,
                self.settings.fingerprint,
                sorted(self.agents),
                self.figures().to_json(),
            )


def _undelivered(channel: str, error: str, *, retry: bool) -> SwarmError:

    kind = TransientError if retry else PermanentError
    return kind(f"channel {channel} did not take the message: {error}")
