"""The bus read once for all agents of a process: what is new is fetched by one statement and handed out from memory.

The feed keeps a window of the bus: every event that is visible in its newest snapshot and was not in its oldest. A
cursor between the two says by itself which of them are new to it, so fifteen agents cost one round trip, not fifteen.
A cursor from before the window (a start, a long sleep, a flood) is read from the database, and stands within the
window from then on. The feed has no cursor of its own to lose: whoever reads keeps theirs.
"""

from __future__ import annotations

import asyncio
import re
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain, islice

from memory import bus
from memory.bus import Cursor, Snapshot
from memory.bus.listener import Wake
from memory.connection.database import Database
from memory.records import Event, Sensitivity

WINDOW = 5000  # events kept: pointers without content, some three megabytes
PLACES = 1000  # snapshots remembered by their place in the window; others are compared event by event
TOPICS = 4096  # answers remembered by each interest
# Events hold no content and no clearance; what they point to is read by each agent under its own.
CLEARANCE = Sensitivity.PUBLIC


class Interest:
    """What a reader hears: topics by shell patterns, and whatever is addressed to it or to nobody."""

    def __init__(self, topics: Sequence[str], agent: str | None) -> None:
        self._addressees = None if agent is None else ("", agent)
        pattern = bus.regex(topics)
        self._pattern = None if pattern is None else re.compile(pattern, re.DOTALL)
        self._known: dict[str, bool] = {}

    def covers(self, event: Event) -> bool:
        """Is the event for this reader?"""
        if self._addressees is not None and event.agent not in self._addressees:
            return False
        if self._pattern is None:
            return True
        known = self._known.get(event.topic)
        if known is None:
            if len(self._known) >= TOPICS:
                self._known.clear()
            known = self._known[event.topic] = self._pattern.search(event.topic) is not None
        return known


@lru_cache(maxsize=1024)
def _interest(topics: tuple[str, ...], agent: str | None) -> Interest:
    return Interest(topics, agent)


class Ear(Wake):
    """A waiter on the feed; wakes for events of its interest, and when nobody knows what is new."""

    def __init__(self, interest: Interest) -> None:
        super().__init__(bus.HINT)
        self.interest = interest


@dataclass(frozen=True, slots=True)
class _Step:
    """What became visible between the snapshot before and `snapshot`, by (xid, id)."""

    snapshot: Snapshot
    events: tuple[Event, ...]


class Feed:
    """What all readers of one process read the bus through.

    Args:
        database: the swarm's.
        window: the most events kept; a reader further back is read for from the database.

    Attributes:
        looks: how often the database was asked for what is new, in vain or not.
        fallbacks: how often a reader stood before the window and was read for from the database.
    """

    def __init__(self, database: Database, *, window: int = WINDOW) -> None:
        self._db = database
        self._window = window
        self._ears: list[Ear] = []
        self._oldest: Snapshot | None = None
        self._newest: Snapshot | None = None
        self._steps: deque[_Step] = deque()
        self._first = 0  # the number of the step in front
        self._kept = 0  # events in all steps
        self._places: dict[str, int] = {}  # snapshot → the number of the step that follows it
        self._asked: asyncio.Future[None] | None = None
        self._flight: asyncio.Task[None] | None = None
        self._is_behind = True  # nothing was read yet, or the last time failed
        self._is_closed = False
        self._looked_at = 0.0  # by the loop's clock
        self.looks = 0
        self.fallbacks = 0

    def subscribe(self, topics: Sequence[str], agent: str | None) -> Ear:
        """A waiter that wakes when there is something new for this reader."""
        ear = Ear(_interest(tuple(topics), agent))
        self._ears.append(ear)
        return ear

    def unsubscribe(self, ear: Wake) -> None:
        """Take a waiter out; one that is none of its own is let be."""
        self._ears = [one for one in self._ears if one is not ear]

    def hint(self) -> None:
        """Somebody published: look soon. Hints that come while a look is under way share the next one."""
        if not self._is_closed:
            self._ask()

    async def look(self) -> None:
        """Read what is new; returns when a read that began after this call is done.

        Raises:
            TransientError: the database does not answer; the next look tries again.
        """
        await asyncio.shield(self._ask())

    def due(self, seconds: float) -> float:
        """Seconds until the last look is so old, zero or less where it is; for the idle poll, shared by all readers."""
        return 0.0 if self._is_behind else self._looked_at + seconds - asyncio.get_running_loop().time()

    async def read(
        self, cursor: Cursor, *, topics: Sequence[str], agent: str | None, limit: int = 200
    ) -> tuple[list[Event], Cursor]:
        """The next events after a cursor, and the cursor after them: `bus.read` as of the last look.

        Each committed event comes exactly once along a chain of cursors, whichever of the two read them. A page
        shorter than `limit` means that nothing is left for now. From memory where it can be; then nothing is awaited.

        Raises:
            ForeignCursorError: the cursor comes from another cluster.
            TransientError: the database does not answer.
        """
        needed = _needed(cursor)
        if self._is_behind or not self._reaches(needed):
            await self.look()
        if not self._reaches(needed) or self._oldest is None or not needed[0].covers(self._oldest):
            self.fallbacks += 1
            async with self._db.transaction(clearance=CLEARANCE, durable=False) as tx:
                return await bus.read(tx, cursor, topics=topics, agent=agent, limit=limit)
        interest = _interest(tuple(topics), agent)
        events: list[Event] = []
        while True:
            page, after = self._page(cursor, interest, limit - len(events))
            events += page
            if after.target is not None or cursor.target is None:
                return events, after
            cursor = after

    async def close(self) -> None:
        """Wait for the look under way; hints are no longer followed."""
        self._is_closed = True
        if self._flight is not None:
            await asyncio.wait([self._flight])

    def _reaches(self, needed: Iterable[Snapshot]) -> bool:
        newest = self._newest
        return newest is not None and all(newest.covers(snapshot) for snapshot in needed)

    def _page(self, cursor: Cursor, interest: Interest, limit: int) -> tuple[list[Event], Cursor]:
        """One page out of one snapshot, as `bus.read` cuts it."""
        assert self._newest is not None  # noqa: S101 - `read` has looked
        target = self._newest if cursor.target is None else Snapshot.parse(cursor.target)
        new = (event for event in self._between(Snapshot.parse(cursor.base), target) if interest.covers(event))
        if cursor.target is not None:
            after = (cursor.after_xid, cursor.after_id)
            new = (event for event in new if (event.xid, event.id) > after)
        page = list(islice(new, limit))
        if len(page) < limit:
            return page, Cursor(target.text)
        return page, Cursor(cursor.base, target.text, page[-1].xid, page[-1].id)

    def _between(self, base: Snapshot, target: Snapshot) -> Sequence[Event]:
        """What is visible in the target and was not in the base, both within the window; by (xid, id)."""
        first, last = self._places.get(base.text), self._places.get(target.text)
        if first is not None and last is not None:
            steps = [step.events for step in islice(self._steps, first - self._first, last - self._first)]
            if len(steps) <= 1:
                return steps[0] if steps else ()
            found = list(chain.from_iterable(steps))
        else:
            everything = chain.from_iterable(step.events for step in self._steps)
            found = [event for event in everything if not base.shows(event.xid) and target.shows(event.xid)]
        found.sort(key=lambda event: (event.xid, event.id))
        return found

    def _ask(self) -> asyncio.Future[None]:
        """The next look, taken off at once where none is under way."""
        loop = asyncio.get_running_loop()
        if self._asked is None:
            self._asked = loop.create_future()
            if self._flight is None or self._flight.done():
                self._flight = loop.create_task(self._fly(), name="dataswarm-feed")
        return self._asked

    async def _fly(self) -> None:
        while (asked := self._asked) is not None:
            self._asked = None
            self._looked_at = asyncio.get_running_loop().time()
            self.looks += 1
            try:
                new = await self._fetch()
            except Exception as error:  # noqa: BLE001 - it belongs to those who wait; the next to read tries again
                self._is_behind = True
                asked.set_exception(error)
                asked.exception()  # a hint has nobody who waits
            except BaseException:
                asked.cancel()
                raise
            else:
                self._is_behind = False
                self._wake(new)
                asked.set_result(None)

    async def _fetch(self) -> Sequence[Event] | None:
        """Move the window on; what is new in it. None: it began anew, and nobody knows who missed what."""
        before = self._newest
        if before is None:
            self._begin(await bus.snapshot(self._db, clearance=CLEARANCE))
            return None
        target, events = await bus.since(self._db, before, limit=self._window, clearance=CLEARANCE)
        if len(events) >= self._window or not target.covers(before):  # a flood; or a server of another cluster
            self._begin(target)
            return None
        if events:
            self._steps.append(_Step(target, tuple(events)))
            self._kept += len(events)
        self._newest = target
        self._remember(target)
        while self._kept > self._window:
            dropped = self._steps.popleft()
            self._first += 1
            self._kept -= len(dropped.events)
            self._oldest = dropped.snapshot
        return events

    def _begin(self, snapshot: Snapshot) -> None:
        """An empty window from here on."""
        self._first += len(self._steps)
        self._steps.clear()
        self._kept = 0
        self._oldest = self._newest = snapshot
        self._places.clear()
        self._remember(snapshot)

    def _remember(self, snapshot: Snapshot) -> None:
        self._places[snapshot.text] = self._first + len(self._steps)
        while len(self._places) > PLACES or self._places[next(iter(self._places))] < self._first:
            del self._places[next(iter(self._places))]

    def _wake(self, new: Sequence[Event] | None) -> None:
        for ear in self._ears:
            if new is None or any(ear.interest.covers(event) for event in new):
                ear.set()


def _needed(cursor: Cursor) -> tuple[Snapshot, ...]:
    """The snapshots a cursor speaks of, its base first."""
    base = Snapshot.parse(cursor.base)
    return (base,) if cursor.target is None else (base, Snapshot.parse(cursor.target))
