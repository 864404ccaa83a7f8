"""Facts by key out of this process's memory.

A hint that a fact has another version empties the cache within milliseconds. A hint may be lost; then an entry lives
until its time is up: **no answer is older than `seconds`**, by this process's monotonic clock. Entries are kept apart
by clearance and branch, so nobody is given what another may read; nothing confidential is kept at all.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass

from config.assets import Asset
from config.errors import UsageError
from memory.beliefs import knowledge
from memory.bus.listener import Listener, Wake
from memory.connection.database import Database
from memory.records import Fact, Sensitivity

HINT = "fact:"
_Key = tuple[Sensitivity, str, Asset, str]


@dataclass(frozen=True, slots=True)
class _Entry:
    fact: Fact | None
    until: float


class FactCache:
    """The facts one process has read lately.

    Args:
        db: where they stand.
        listener: the process's own; None: no hints, entries live until their time is up.
        seconds: the longest an answer may be out of date.
        most: entries kept; the ones read first go first.
        clock: seconds that never go back; tests set it.

    Attributes:
        hits, misses, emptied: for metrics. A miss costs one transaction.
    """

    def __init__(
        self,
        db: Database,
        listener: Listener | None = None,
        *,
        seconds: float = 30.0,
        most: int = 10_000,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if seconds <= 0 or most < 1:
            raise UsageError("a cache keeps at least one fact for more than 0 seconds")
        self._db = db
        self._listener = listener
        self._seconds = seconds
        self._most = most
        self._clock = clock
        self._entries: dict[_Key, _Entry] = {}
        self._generation = 0
        self._wake: Wake | None = None
        self._task: asyncio.Task[None] | None = None
        self.hits = 0
        self.misses = 0
        self.emptied = 0

    def start(self) -> None:
        """Begin to listen; needs a running event loop."""
        if self._listener is not None and self._task is None:
            self._wake = self._listener.subscribe(HINT)
            self._task = asyncio.get_running_loop().create_task(self._follow(self._wake), name="fact-cache")

    async def close(self) -> None:
        """Stop listening, and forget everything."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None
        if self._listener is not None and self._wake is not None:
            self._listener.unsubscribe(self._wake)
            self._wake = None
        self.clear()

    async def _follow(self, wake: Wake) -> None:
        while True:
            # The wait's end is no reason to do anything: what was not hinted at expires by itself.
            if await wake.wait(3600):
                self.clear()

    def clear(self) -> None:
        """Forget everything; what is being read at this moment is not remembered either."""
        self._generation += 1
        self._entries.clear()
        self.emptied += 1

    async def fact(
        self,
        subject: Asset,
        predicate: str,
        *,
        clearance: Sensitivity = Sensitivity.INTERNAL,
        branch: str = knowledge.MAIN,
    ) -> Fact | None:
        """What is held to be true, at most `seconds` ago; None where nothing was, or nothing the reader may see.

        Raises:
            SwarmError: as `knowledge.fact`, where it has to be read.
        """
        key = (clearance, branch, subject, predicate)
        entry = self._entries.get(key)
        if entry is not None and self._clock() < entry.until:
            self.hits += 1
            return entry.fact
        return await self._read(key)

    async def _read(self, key: _Key) -> Fact | None:
        self.misses += 1
        clearance, branch, subject, predicate = key
        # Both are taken before the read: an answer is as old as its question, and a hint that comes while it is on
        # its way makes it one to give but not to keep.
        until, generation = self._clock() + self._seconds, self._generation
        async with self._db.transaction(clearance=clearance, durable=False) as tx:
            fact = await knowledge.fact(tx, subject, predicate, branch=branch)
        is_open = fact is None or fact.sensitivity < Sensitivity.CONFIDENTIAL
        if generation == self._generation and is_open:
            self._entries.pop(key, None)
            if len(self._entries) >= self._most:
                del self._entries[next(iter(self._entries))]
            self._entries[key] = _Entry(fact, until)
        return fact
