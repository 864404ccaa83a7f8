"""The loop of one agent: hold its lease, read what happened since the cursor, ask the agent, write what it says.

Verdicts and cursor advance in one transaction fenced by the agent's lease, so a batch counts once, whoever dies. Where
nothing new concerns the agent there is no verdict to be fenced: how far it has read is then kept here, and written with
the next verdicts, with the next renewal or before the lease is given back. A crash in between costs reading again what
did not concern it, and nothing else.
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
from memory import bus, clock
from memory.board import ledger
from memory.bus import Cursor, ForeignCursorError, Wake
from memory.bus.feed import Feed
from memory.connection.database import Transaction
from memory.measuring import counters
from memory.members import presence
from memory.members.presence import AgentLease
from memory.records import Event, NewObservation, Severity

log = structlog.get_logger(__name__)
BATCH = 200
TARRY_SECONDS = 1.0  # what was heard and is no concern of the agent's shows as its lag for so long at most
PATIENCE = 3  # tries of one event before it is set aside


@dataclass(slots=True)
class Consideration:
    """One agent's loop in this process.

    Attributes:
        wake: set when there may be something new, as `Feed.subscribe` gives it.
        process: this process's identity, the would-be holder of the lease.
        feed: what the bus is read through; one for all agents of a process, its own where none is given.
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
    feed: Feed | None = None
    lag: int = 0
    leases_lost: int = 0
    lease: AgentLease | None = None
    _feed: Feed = field(init=False)
    _read: Cursor | None = None  # how far it has read, at or after the cursor of the lease
    _renew_at: float = 0.0  # by the loop's clock
    _stumbles: dict[int, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """A loop alone has a feed of its own."""
        self._feed = self.feed or Feed(self.around.database)

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
                await self._pause(stop, self._beat)
                return
            self._read = None
            self._renew_at = asyncio.get_running_loop().time() + self._beat
            await self._tell_skipped(self.lease)
        try:
            more = await self._batch()
        except ForeignCursorError:
            await self._rebase()
            return
        if more:
            await self._renew()
            return
        if not await self._pause(stop, self._patience()) and self._feed.due(self._beat) <= 0:
            await self._feed.look()
        await self._renew()

    @property
    def _beat(self) -> float:
        """Seconds between two renewals, and between two looks of its own."""
        return min(self.poll_seconds, self.lease_seconds / 3)

    def _patience(self) -> float:
        """How long to wait for news before something else is due."""
        renewal = self._renew_at - asyncio.get_running_loop().time()
        return max(min(self._beat, self._feed.due(self._beat), renewal), 0.0)

    async def _pause(self, stop: asyncio.Event, seconds: float) -> bool:
        """Wait for news or for the end; False: neither came."""
        stopping = asyncio.ensure_future(stop.wait())
        waking = asyncio.ensure_future(self.wake.wait(seconds))
        done, pending = await asyncio.wait({stopping, waking}, return_when=asyncio.FIRST_COMPLETED)
        for task in pending:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        return stopping in done or waking.result()

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
        self.lease = self._read = None

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
        """When it is time: renew the lease, and write how far was read."""
        now = asyncio.get_running_loop().time()
        if self.lease is None or now < self._renew_at:
            return
        async with self.around.database.transaction(clearance=self.around.clearance, durable=False) as tx:
            if self.agent.name not in await presence.renew(tx, [self.lease], self.lease_seconds):
                self._lose()
                return
            await self._settle(tx)
        self._settled()
        self._renew_at = now + self._beat

    async def _settle(self, tx: Transaction) -> None:
        """Write how far was read, where that is further than what is written."""
        if self.lease is not None and self._read is not None:
            await presence.advance(tx, self.lease, self._read)

    def _settled(self) -> None:
        """That transaction is through."""
        if self.lease is not None and self._read is not None:
            self.lease = replace(self.lease, cursor=self._read)
            self._read = None

    async def _release(self) -> None:
        if self.lease is None:
            return
        with contextlib.suppress(SwarmError):
            async with self.around.database.transaction(clearance=self.around.clearance) as tx:
                await self._settle(tx)
                await presence.release(tx, self.lease)
        self.lease = self._read = None

    async def _batch(self) -> bool:
        """Consider what is new; was there anything?"""
        if self.lease is None:
            return False
        name, topics = self.agent.name, heard(self.agent)
        events, after = await self._feed.read(self._read or self.lease.cursor, topics=topics, agent=name, limit=BATCH)
        happenings = await self._happenings(events) if events else []
        self.lag = len(events)
        if happenings:
            await self._consider(happenings, after)
        elif after != self.lease.cursor:
            self._read = after
            if events:
                self._renew_at = min(self._renew_at, asyncio.get_running_loop().time() + TARRY_SECONDS)
        return bool(events)

    async def _happenings(self, events: Sequence[Event]) -> Sequence[Happening]:
        """What concerns the agent, with the rows."""
        pipelines = self._pipelines()
        async with self.around.database.transaction(clearance=self.around.clearance) as tx:
            found = [
                Happening(event, await row_of(tx, event))
                for event in events
                if await concerns(tx, self.agent, event, pipelines)
            ]
        if (accesses := self.around.accesses) is not None:
            for happening in found:
                if happening.record is not None:
                    told = happening.event
                    accesses.read(self.agent.name, told.reference.noun, [told.reference.id], told.topic)
        return found

    def _pipelines(self) -> frozenset[str]:
        """The sources it looks after here; upstream scope means upstream of them."""
        found = self.around.sources().items()
        return frozenset(name for name, source in found if isinstance(source, tuple(self.agent.senses)))

    async def _consider(self, happenings: Sequence[Happening], after: Cursor) -> None:
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
        return self.around.window(await clock.now(self.around.database))

    async def _write(self, verdicts: Sequence[Verdict], after: Cursor, window: Window | None) -> None:
        if self.lease is None:
            raise LeaseLostError(f"{self.agent.name} no longer holds its lease")
        async with self.around.database.transaction(clearance=self.around.clearance) as tx:
            await presence.advance(tx, self.lease, after)
            if window is not None and verdicts:
                shared = self.around.settings().memory.shared_importance
                consulted = tuple(window.consulted)
                writing = Writing(tx, self.agent.name, self.outgoing, window.now, consulted, shared)
                await writing.write(verdicts)
        self.lease = replace(self.lease, cursor=after)
        self._read = None
