"""The live tail: what is published on the bus, as server-sent events. Pointers only, never the rows they name."""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from config.errors import PermanentError, TransientError, UsageError
from memory import bus
from memory.bus import Cursor, ForeignCursorError
from memory.bus.listener import Listener, Wake
from memory.connection import reading
from memory.connection.database import Database
from memory.records import Event

PAGE = 200
POLL_SECONDS = 5.0
BLIND_POLL_SECONDS = 1.0  # where no notification can wake us
MOST_STREAMS = 50
NOBODY = ""  # reads what is addressed to everyone


@dataclass(frozen=True, slots=True)
class Followed:
    """What following brought: events, or what is in the way (said once)."""

    events: tuple[Event, ...] = ()
    problem: str = ""


async def begin(
    database: Database,
    *,
    topics: Sequence[str],
    agent: str | None = None,
    since: datetime | None = None,
    limit: int,
) -> tuple[list[Event], Cursor]:
    """The newest events and the cursor right behind them, out of one snapshot: nothing is missed, nothing comes twice.

    Raises:
        TransientError: the database is away.
    """
    async with reading.still(database) as tx:
        cursor = await bus.now_cursor(tx)
        found = await bus.tail(tx, topics=topics, agent=agent, since=since, limit=limit) if limit else []
        return found, cursor


async def follow(
    database: Database, listener: Listener, cursor: Cursor, *, topics: Sequence[str], agent: str | None = None
) -> AsyncIterator[Followed]:
    """What is published after a cursor, for ever; a gap is caught up on, for the cursor stands still meanwhile.

    Hints of the listener wake it; where none come through, it looks every second.
    """
    wake = listener.subscribe(bus.HINT)
    is_away = False
    try:
        while True:
            events: list[Event] = []
            try:
                async with database.transaction(durable=False) as tx:
                    events, cursor = await bus.read(tx, cursor, topics=topics, agent=agent, limit=PAGE)
                is_away = False
            except TransientError as error:
                if not is_away:
                    yield Followed(problem=error.message)
                is_away = True
            except ForeignCursorError:
                _, cursor = await begin(database, topics=topics, limit=0)
                yield Followed(problem="the database was restored from another cluster: it goes on from now")
                continue
            if events:
                yield Followed(tuple(events))
            if len(events) < PAGE:
                await wake.wait(POLL_SECONDS if listener.connected else BLIND_POLL_SECONDS)
    finally:
        listener.unsubscribe(wake)


class Tail:
    """All streams of a process.

    Args:
        database: where the events are.
        listener: wakes the streams; None is a process without a swarm, which looks by itself.
        stopping: ends them all.
    """

    def __init__(
        self, database: Database, listener: Callable[[], Listener | None], stopping: asyncio.Event, source: str
    ) -> None:
        self._database = database
        self._listener = listener
        self._stopping = stopping
        self._source = source
        self._streams = 0

    async def begin(self, last_seen: str, newest: int) -> tuple[list[Event], Cursor]:
        """Where a stream starts: after what its reader saw last, else with the newest few.

        Raises:
            TransientError: too many streams, or the database is away.
            UsageError: `last_seen` is none of our ids.
        """
        if self._streams >= MOST_STREAMS:
            raise TransientError(f"{MOST_STREAMS} streams are open already", hint="close a console, or try again")
        if last_seen:
            return [], _cursor(last_seen)
        return await begin(self._database, topics=("*",), limit=newest)

    async def stream(self, first: list[Event], cursor: Cursor) -> AsyncIterator[bytes]:
        """The stream; ends when the process stops. An id is a cursor: a reader that comes back misses nothing."""
        listener = self._listener()
        wake = listener.subscribe(bus.HINT) if listener is not None else None
        self._streams += 1
        try:
            yield b"retry: 2000\n\n"
            yield self._page(first, cursor)
            while not self._stopping.is_set():
                events: list[Event] = []
                try:
                    events, cursor = await self._next(cursor)
                except TransientError as error:
                    yield _frame({"error": error.code, "message": error.message}, event="problem")
                    await self._pause(None, BLIND_POLL_SECONDS)
                    continue
                except PermanentError as error:
                    yield _frame({"error": error.code, "message": error.message}, event="problem")
                    return
                yield self._page(events, cursor) if events else b": nothing new\n\n"
                if len(events) < PAGE:
                    is_heard = listener is not None and listener.connected
                    await self._pause(wake, POLL_SECONDS if is_heard else BLIND_POLL_SECONDS)
        finally:
            self._streams -= 1
            if listener is not None and wake is not None:
                listener.unsubscribe(wake)

    async def _next(self, cursor: Cursor) -> tuple[list[Event], Cursor]:
        async with self._database.transaction(durable=False) as tx:
            return await bus.read(tx, cursor, topics=("*",), agent=NOBODY, limit=PAGE)

    async def _pause(self, wake: Wake | None, seconds: float) -> None:
        """Until there is a hint, the process stops, or it is time to look."""
        waits: list[asyncio.Future[bool]] = [asyncio.ensure_future(_told(self._stopping))]
        if wake is not None:
            waits.append(asyncio.ensure_future(wake.wait(seconds)))
        try:
            await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
                with suppress(asyncio.CancelledError):
                    await wait

    def _page(self, events: list[Event], cursor: Cursor) -> bytes:
        """Events of one read; the last carries the id, for only after it is the cursor true."""
        frames = [
            _frame(self._shown(event), id=_id(cursor) if event is events[-1] else "", event="published")
            for event in events
        ]
        return b"".join(frames)

    def _shown(self, event: Event) -> dict[str, Any]:
        return {
            "source": self._source,
            "id": event.id,
            "at": event.at.isoformat(),
            "topic": event.topic,
            "subject": str(event.subject),
            "reference": {"noun": event.reference.noun, "id": event.reference.id},
        }


async def _told(stopping: asyncio.Event) -> bool:
    await stopping.wait()
    return True


def _frame(shown: dict[str, Any], *, event: str, id: str = "") -> bytes:  # noqa: A002 - the field's name
    head = f"id: {id}\n" if id else ""
    return f"{head}event: {event}\ndata: {json.dumps(shown)}\n\n".encode()


def _id(cursor: Cursor) -> str:
    return base64.urlsafe_b64encode(json.dumps(cursor.to_json()).encode()).decode()


def _cursor(last_seen: str) -> Cursor:
    try:
        return Cursor.from_json(json.loads(base64.urlsafe_b64decode(last_seen)))
    except (binascii.Error, ValueError, PermanentError, TypeError):
        raise UsageError("Last-Event-ID is none of ours", hint="leave it out to begin with what comes now") from None
