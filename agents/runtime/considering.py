"""The loop of one agent: hold its lease, read what happened since the cursor, ask the agent, write what it says.

Verdicts and cursor advance in one transaction fenced by the agent's lease, so a batch counts once, whoever dies.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from uuid import UUID

import structlog

from agents.base import Agent
from agents.context import Happening
from agents.runtime.bench import Surroundings
from agents.runtime.concerning import concerns, heard
from agents.runtime.rows import row_of
from agents.runtime.window import Window
from agents.runtime.writing import Outgoing, Writing
from agents.verdicts import Verdict
from config.assets import Asset
from config.errors import ConflictError, LeaseLostError, SwarmError
from memory import bus, clock, counters, ledger, presence
from memory.bus import Cursor, ForeignCursorError, Wake
from memory.presence import AgentLease
from memory.records import NewObservation, Severity

log = structlog.get_logger(__name__)
BATCH = 200
PATIENCE = 3  # tries of one event before it is set aside


@dataclass(slots=True)
class Consideration:
    """One agent's loop in this process.

    Attributes:
        process: this process's identity, the would-be holder of the lease.
        lag: events seen but not yet considered at the last look.
        leases_lost: how often somebody else became this agent while it thought to be it.
    """

    agent: Agent
    around: Surroundings
    outgoing: Outgoing
    wake: Wake
    process: UUID
    host: str
    label: str
    lease_seconds: float
    poll_seconds: float
    lag: int = 0
    leases_lost: int = 0
    lease: AgentLease | None = None
    _stumbles: dict[int, int] = field(default_factory=dict)

    async def run(self, stop: asyncio.Event) -> None:
        """Until told to stop; the lease is given back then."""
        try:
            while not stop.is_set():
                try:
                    await self._turn(stop)
                except LeaseLostError:
                    log.info("agent.lease_lost", agent=self.agent.name)
                    self._lose()
                except SwarmError as error:
                    log.warning("agent.turn_failed", problem=error.message, agent=self.agent.name)
                    await self._pause(stop, min(self.poll_seconds, 1.0))
        finally:
            await asyncio.shield(self._release())

    async def _turn(self, stop: asyncio.Event) -> None:
        if self.lease is None:
            self.lease = await self._hold()
            if self.lease is None:  # somebody else is this agent now; look again within the lease
                await self._pause(stop, min(self.poll_seconds, self.lease_seconds / 3))
                return
            await self._tell_skipped(self.lease)
        try:
            more = await self._batch()
        except ForeignCursorError:
            await self._rebase()
            return
        if not more:
            await self._pause(stop, min(self.poll_seconds, self.lease_seconds / 3))
        elif self.lease is not None:
            await self._renew()

    async def _pause(self, stop: asyncio.Event, seconds: float) -> None:
        stopping = asyncio.ensure_future(stop.wait())
        waking = asyncio.ensure_future(self.wake.wait(seconds))
        _, pending = await asyncio.wait({stopping, waking}, return_when=asyncio.FIRST_COMPLETED)
        for task in pending:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        await self._renew()

    async def _hold(self) -> AgentLease | None:
        async with self.around.database.transaction(clearance=self.around.clearance) as tx:
            return await presence.hold(
                tx,
                self.agent.name,
                holder=self.process,
                host=self.host,
                process=self.label,
                seconds=self.lease_seconds,
                topics=heard(self.agent),
            )

    def _lose(self) -> None:
        self.leases_lost += 1
        self.lease = None

    async def _rebase(self) -> None:
        """The database was restored from another cluster under our feet: move the cursors, and take up the new one."""
        async with self.around.database.transaction() as tx:
            await bus.rebase(tx)
        self.lease = None

    async def _tell_skipped(self, lease: AgentLease) -> None:
        """Say what retention dropped before it was read; from here on the agent reads what is left."""
        skipped = lease.skipped
        if skipped is None:
            return
        name = self.agent.name
        since, until = skipped.since.isoformat(), skipped.until.isoformat()
        async with self.around.database.transaction(clearance=self.around.clearance) as tx:
            if not await presence.tell(tx, lease):
                return
            await counters.count(tx, "dataswarm_events_skipped_total", {"agent": name}, skipped.number)
            missed = NewObservation(
                kind="agent.skipped",
                subject=Asset("agent", name),
                severity=Severity.WARNING,
                payload={"events": skipped.number, "since": since, "until": until},
            )
            await ledger.record(tx, name, [missed])
        log.warning(
            "agent.skipped", agent=name, events=skipped.number, since=since, until=until, why="dropped by retention"
        )

    async def _renew(self) -> None:
        if self.lease is None:
            return
        async with self.around.database.transaction(clearance=self.around.clearance, durable=False) as tx:
            if self.agent.name not in await presence.renew(tx, [self.lease], self.lease_seconds):
                self._lose()

    async def _release(self) -> None:
        if self.lease is None:
            return
        with contextlib.suppress(SwarmError):
            async with self.around.database.transaction(clearance=self.around.clearance) as tx:
                await presence.release(tx, self.lease)
        self.lease = None

    async def _batch(self) -> bool:
        """Consider what is new; was there anything?"""
        if self.lease is None:
            return False
        before = self.lease.cursor
        pipelines = self._pipelines()
        async with self.around.database.transaction(clearance=self.around.clearance) as tx:
            events, after = await bus.read(tx, before, topics=heard(self.agent), agent=self.agent.name, limit=BATCH)
            happenings = [
                Happening(event, await row_of(tx, event))
                for event in events
                if await concerns(tx, self.agent, event, pipelines)
            ]
        self.lag = len(events)
        if after == before and not events:
            return False
        await self._consider(happenings, after)
        return bool(events)

    def _pipelines(self) -> frozenset[str]:
        """The sources it looks after here; upstream scope means upstream of them."""
        found = self.around.sources().items()
        return frozenset(name for name, source in found if isinstance(source, tuple(self.agent.senses)))

    async def _consider(self, happenings: Sequence[Happening], after: Cursor) -> None:
        if not happenings:
            await self._write([], after, None)
            return
        try:
            window = await self._window()
            verdicts = await self.agent.consider(happenings, window)
            await self._write(verdicts, after, window)
        except (LeaseLostError, ConflictError):
            raise
        except Exception as error:  # noqa: BLE001 - whatever an agent raises is set aside, visibly
            if len(happenings) > 1:
                await self._one_by_one(happenings, after)
            else:
                await self._stumble(happenings[0], after, error)

    async def _one_by_one(self, happenings: Sequence[Happening], after: Cursor) -> None:
        """Something in the batch trips the agent: find it, let the others through."""
        if self.lease is None:
            return
        for happening in happenings[:-1]:
            await self._consider([happening], self.lease.cursor)
        await self._consider([happenings[-1]], after)

    async def _stumble(self, happening: Happening, after: Cursor, error: Exception) -> None:
        """Try an event a few times, then set it aside, visibly."""
        count = self._stumbles[happening.event.id] = self._stumbles.get(happening.event.id, 0) + 1
        log.error("agent.stumbled", agent=self.agent.name, topic=happening.event.topic, exc_info=error)
        if count < PATIENCE:
            await asyncio.sleep(0.05 * 2**count)
            await self._consider([happening], after)
            return
        del self._stumbles[happening.event.id]
        async with self.around.database.transaction(clearance=self.around.clearance) as tx:
            await counters.count(tx, "dataswarm_events_set_aside_total", {"agent": self.agent.name})
            await ledger.record(
                tx,
                self.agent.name,
                [
                    NewObservation(
                        kind="agent.stumbled",
                        subject=happening.event.subject,
                        severity=Severity.ERROR,
                        payload={
                            "topic": happening.event.topic,
                            "reference": str(happening.event.reference),
                            "error": type(error).__name__,
                        },
                        key=f"stumbled|{happening.event.id}",
                    )
                ],
            )
        await self._write([], after, None)

    async def _window(self) -> Window:
        return Window(
            self.around.database,
            clearance=self.around.clearance,
            settings=self.around.settings,
            playbooks=self.around.playbooks,
            now=await clock.now(self.around.database),
        )

    async def _write(self, verdicts: Sequence[Verdict], after: Cursor, window: Window | None) -> None:
        if self.lease is None:
            raise LeaseLostError(f"{self.agent.name} no longer holds its lease")
        async with self.around.database.transaction(clearance=self.around.clearance) as tx:
            await presence.advance(tx, self.lease, after)
            if window is not None and verdicts:
                writing = Writing(tx, self.agent.name, self.outgoing, window.now, tuple(window.consulted))
                await writing.write(verdicts)
        self.lease = replace(self.lease, cursor=after)
