"""Readers of the bus in any interleaving of writers that are slow, abort, or write while another reads."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from config.assets import Asset
from memory import bus
from memory.bus import Cursor
from memory.bus.feed import Feed
from memory.connection.database import Database, Transaction
from memory.records import Event, Reference
from memory.server.embedded import EmbeddedServer
from tests.properties.ground import Ground, ground

ORDERS = Asset("warehouse", "shop", "raw.orders")
WRITERS = 4
WINDOWS = (2, 6, 100)  # so small that a step fills it and readers stand before it; and one that holds everything
MINUTE = timedelta(minutes=1)
KINDS = st.sampled_from(["a", "b", "ab"])
ADDRESSEES = st.sampled_from(["", "", "me", "other"])
PATTERNS = st.sampled_from([("*",), ("{}.a*",), ("{}.b", "{}.a"), ("{}.?b",), ("{}.nothing",)])
MATCHES: dict[str, set[str]] = {
    "*": {"a", "b", "ab"},
    "{}.a*": {"a", "ab"},
    "{}.b": {"b"},
    "{}.a": {"a"},
    "{}.?b": {"ab"},
}


@pytest.fixture(scope="module")
def under(server: EmbeddedServer, template: str) -> Iterator[Ground]:
    """The ground of this module."""
    with ground(server, template) as made:
        yield made


@dataclass
class Published:
    """An event as it was written."""

    number: int
    kind: str
    addressee: str


class Writer:
    """A transaction held open as long as the machine likes."""

    def __init__(self, db: Database) -> None:
        self._context = db.transaction()
        self._tx: Transaction | None = None
        self.written: list[Published] = []

    async def begun(self) -> Transaction:
        """Its transaction."""
        if self._tx is None:
            self._tx = await self._context.__aenter__()
        return self._tx

    async def end(self, *, commit: bool) -> None:
        """Commit or abort."""
        if commit:
            await self._context.__aexit__(None, None, None)
        else:
            assert not await self._context.__aexit__(ZeroDivisionError, ZeroDivisionError(), None)


@dataclass
class Reader:
    """A reader: what it watches, where its cursor stands, what it has seen and must see."""

    patterns: tuple[str, ...]
    cursor: dict[str, Any]
    seen: list[int] = field(default_factory=list)
    due: set[int] = field(default_factory=set)

    def watches(self, event: Published) -> bool:
        """Is it meant for this reader?"""
        kinds: set[str] = set().union(*(MATCHES.get(pattern, set()) for pattern in self.patterns))
        return event.kind in kinds and event.addressee in ("", "me")


class Cursors(RuleBasedStateMachine):
    """Every committed event exactly once to every reader, whatever the order of ids, commits and reads."""

    under: Ground

    def __init__(self) -> None:
        super().__init__()
        self.name = f"t{uuid4().hex}"
        self.began = datetime.now(UTC) - MINUTE
        self.writers: dict[int, Writer] = {}
        self.readers: list[Reader] = []
        self.committed: list[Published] = []
        self.number = 0

    @initialize(window=st.sampled_from(WINDOWS), compares=st.booleans())
    def open(self, window: int, *, compares: bool) -> None:
        """The feed of this example, looked with once; one that compares remembers no places of snapshots."""
        self.feed = Feed(self.under.db, window=window)
        self.compares = compares
        self.under.run(self.feed.look())

    def topics(self, reader: Reader) -> list[str]:
        """What it watches, in this example's own words."""
        return [f"{self.name}.*" if pattern == "*" else pattern.format(self.name) for pattern in reader.patterns]

    async def write(self, writer: Writer, kind: str, addressee: str) -> None:
        """Publish within a writer's transaction."""
        self.number += 1
        tx = await writer.begun()
        await bus.publish(tx, f"{self.name}.{kind}", ORDERS, Reference("thing", self.number), agent=addressee)
        writer.written.append(Published(self.number, kind, addressee))

    def count(self, writer: Writer) -> None:
        """It committed: everybody who watches must see it."""
        self.committed += writer.written
        for reader in self.readers:
            reader.due |= {event.number for event in writer.written if reader.watches(event)}

    @rule(which=st.integers(0, WRITERS - 1), kind=KINDS, addressee=ADDRESSEES)
    def publish(self, which: int, kind: str, addressee: str) -> None:
        """Some writer publishes; its transaction stays open."""
        writer = self.writers.setdefault(which, Writer(self.under.db))
        self.under.run(self.write(writer, kind, addressee))

    @precondition(lambda self: self.writers)
    @rule(which=st.integers(0, WRITERS - 1), commit=st.sampled_from([True, True, False]))
    def end(self, which: int, *, commit: bool) -> None:
        """Some writer ends."""
        writer = self.writers.pop(sorted(self.writers)[which % len(self.writers)])
        self.under.run(writer.end(commit=commit))
        if commit:
            self.count(writer)

    @rule(patterns=PATTERNS)
    def begin(self, patterns: tuple[str, ...]) -> None:
        """A reader comes: it sees what commits from now on."""

        async def now() -> Cursor:
            async with self.under.db.transaction() as tx:
                return await bus.now_cursor(tx)

        if len(self.readers) < 4:
            self.readers.append(Reader(patterns, self.under.run(now()).to_json()))

    async def page(self, tx: Transaction | None, reader: Reader, limit: int) -> int:
        """Read a page, through the feed where there is no transaction; the cursor goes through its stored form."""
        cursor, topics = Cursor.from_json(reader.cursor), self.topics(reader)
        if tx is None:
            if self.compares:
                self.feed._places.clear()
            events, cursor = await self.feed.read(cursor, topics=topics, agent="me", limit=limit)
        else:
            events, cursor = await bus.read(tx, cursor, topics=topics, agent="me", limit=limit)
        reader.cursor = cursor.to_json()
        assert len(events) <= limit
        reader.seen += [event.reference.id for event in events]
        assert len(reader.seen) == len(set(reader.seen)), "twice"
        assert set(reader.seen) <= reader.due, "not committed, or not for this reader"
        return len(events)

    @precondition(lambda self: self.readers)
    @rule(which=st.integers(0, 3), limit=st.integers(1, 4))
    def read(self, which: int, limit: int) -> None:
        """A page, while writers are in the middle of it."""

        async def read() -> None:
            async with self.under.db.transaction() as tx:
                await self.page(tx, self.readers[which % len(self.readers)], limit)

        self.under.run(read())

    @precondition(lambda self: self.readers)
    @rule(which=st.integers(0, 3), limit=st.integers(1, 4))
    def take(self, which: int, limit: int) -> None:
        """A page as of the last look, from whatever cursor: the database's own, or one of the feed's."""
        self.under.run(self.page(None, self.readers[which % len(self.readers)], limit))

    @rule()
    def look(self) -> None:
        """A hint came."""
        self.under.run(self.feed.look())

    @precondition(lambda self: self.readers)
    @rule(which=st.integers(0, 3), limit=st.integers(1, 4), kind=KINDS, commit=st.booleans())
    def answer(self, which: int, limit: int, kind: str, *, commit: bool) -> None:
        """A reader reads and publishes in one transaction, as agents do; where that aborts, its cursor stays."""
        reader = self.readers[which % len(self.readers)]
        before = (reader.cursor, list(reader.seen))
        writer = Writer(self.under.db)

        async def answer() -> None:
            tx = await writer.begun()
            await self.page(tx, reader, limit)
            await self.write(writer, kind, "")
            await self.write(writer, kind, "me")
            await writer.end(commit=commit)

        self.under.run(answer())
        if commit:
            self.count(writer)
        else:
            reader.cursor, reader.seen = before

    def teardown(self) -> None:
        """All readers read on to the end; the past can be replayed, the same in pages of any size."""
        self.under.run(self.finish())

    async def finish(self) -> None:
        """End every writer, read everything."""
        for which, writer in sorted(self.writers.items()):
            await writer.end(commit=which % 2 == 0)
            if which % 2 == 0:
                self.count(writer)
        await self.feed.look()
        for number, reader in enumerate(self.readers):
            async with self.under.db.transaction() as tx:
                while await self.page(tx if number % 2 else None, reader, 3) == 3:
                    pass
                assert await self.page(tx, reader, 3) == 0
            assert set(reader.seen) == reader.due, "lost"
        replays = [await self.replay(limit) for limit in (2, 5, 1000)]
        assert replays[0] == replays[1] == replays[2]
        assert sorted(replays[0]) == [event.number for event in self.all_for_me()]

    def all_for_me(self) -> list[Published]:
        """What a replay to `me` has to show."""
        mine = (event for event in self.committed if event.addressee in ("", "me"))
        return sorted(mine, key=lambda event: event.number)

    async def replay(self, limit: int) -> list[int]:
        """The past as it would have been given to `me`, page by page."""
        found: list[Event] = []
        async with self.under.db.transaction() as tx:
            while True:
                page = await bus.between(
                    tx,
                    self.began,
                    self.began + 10 * MINUTE,
                    topics=[f"{self.name}.*"],
                    agent="me",
                    limit=limit,
                    after=found[-1] if found else None,
                )
                found += page
                if len(page) < limit:
                    return [event.reference.id for event in found]


def test_every_committed_event_comes_exactly_once(under: Ground) -> None:
    """Slow writers, aborts, patterns, addresses, pages of any size, readers that write, come late, or use the feed."""
    Cursors.under = under
    under.check(Cursors, examples=80, steps=40)
