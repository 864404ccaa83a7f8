"""Agents' leases, timers and keys in any order of what replicas may do, with time passing in between."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from config.assets import Asset
from config.errors import LeaseLostError
from memory import bus, keys
from memory.bus import Cursor
from memory.members import presence
from memory.members.presence import AgentLease
from memory.queue import timers
from memory.records import Reference, Sensitivity
from memory.server.embedded import EmbeddedServer
from tests.memory.conftest import Clock
from tests.properties.ground import Ground, ground

ORDERS = Asset("warehouse", "shop", "raw.orders")
LEASE = 15.0
WAITS = st.sampled_from([1.0, 5.0, 15.0, 16.0])
REPLICAS = [UUID(int=n) for n in range(3)]


@pytest.fixture(scope="module")
def under(server: EmbeddedServer, template: str) -> Iterator[Ground]:
    """The ground of this module."""
    with ground(server, template) as made:
        yield made


class Timed(RuleBasedStateMachine):
    """A machine with a clock of its own."""

    under: Ground

    def __init__(self) -> None:
        super().__init__()
        self.name = f"agent-{uuid4().hex}"
        self.clock = Clock()
        self.under.db.clock = self.clock
        self.time = 0.0

    @rule(seconds=WAITS)
    def wait(self, seconds: float) -> None:
        """Time passes."""
        self.clock.forward(seconds)
        self.time += seconds

    def teardown(self) -> None:
        """Time is the server's again."""
        self.under.db.clock = lambda: None


class Leases(Timed):
    """One holder at most; only it moves the cursor, and whatever it wrote with a refused move is gone."""

    def __init__(self) -> None:
        super().__init__()
        self.held: list[tuple[AgentLease, float]] = []  # every lease ever given, with its end
        self.current: AgentLease | None = None
        self.enabled = True
        self.moves = 0
        self.stored = self.under.run(self.enlist())

    async def enlist(self) -> Cursor:
        """The agent enters the registry."""
        async with self.under.db.transaction() as tx:
            await presence.enlist(tx, self.name, [], Sensitivity.INTERNAL)
            cursor = await bus.now_cursor(tx)
            lease = await self.take(REPLICAS[0])
        assert lease is None  # not committed yet: nobody else sees it
        async with self.under.db.transaction() as tx:
            lease = await presence.hold(tx, self.name, holder=REPLICAS[0], host="h", process="p", seconds=LEASE)
            assert lease is not None
            await presence.advance(tx, lease, cursor)
            await presence.release(tx, lease)
        return cursor

    async def take(self, replica: UUID) -> AgentLease | None:
        """Try to hold it."""
        async with self.under.db.transaction() as tx:
            return await presence.hold(tx, self.name, holder=replica, host="h", process="p", seconds=LEASE)

    def is_valid(self, lease: AgentLease) -> bool:
        """May it still write?"""
        return self.current is lease and self.time < self.until(lease)

    def until(self, lease: AgentLease) -> float:
        """The end of a lease."""
        return next(until for known, until in self.held if known is lease)

    @rule(replica=st.sampled_from(REPLICAS))
    def hold(self, replica: UUID) -> None:
        """Given exactly where nobody else holds it."""
        free = self.current is None or not self.is_valid(self.current) or self.current.holder == replica
        lease = self.under.run(self.take(replica))
        assert (lease is not None) == (free and self.enabled)
        if lease is not None:
            assert lease.cursor == self.stored
            self.held.append((lease, self.time + LEASE))
            self.current = lease

    @precondition(lambda self: self.held)
    @rule(which=st.integers(0, 20), publishes=st.booleans())
    def advance(self, which: int, *, publishes: bool) -> None:
        """Cursor and conclusions together, or neither."""
        lease, _ = self.held[-1 - which % len(self.held)]
        valid = self.is_valid(lease)

        async def advance() -> Cursor:
            async with self.under.db.transaction() as tx:
                cursor = await bus.now_cursor(tx)
                if publishes:
                    await bus.publish(tx, "move.made", ORDERS, Reference("move", 1), agent=self.name)
                await presence.advance(tx, lease, cursor)
            return cursor

        try:
            self.stored = self.under.run(advance())
        except LeaseLostError:
            assert not valid
        else:
            assert valid
            self.moves += publishes

    @precondition(lambda self: self.held)
    @rule(which=st.integers(0, 20))
    def renew(self, which: int) -> None:
        """Prolonged exactly where it is still held and the agent is enabled."""
        lease, _ = self.held[-1 - which % len(self.held)]

        async def renew() -> list[str]:
            async with self.under.db.transaction() as tx:
                return await presence.renew(tx, [lease], LEASE)

        renewed = self.under.run(renew())
        assert bool(renewed) == (self.is_valid(lease) and self.enabled)
        if renewed:
            self.held = [(known, self.time + LEASE if known is lease else until) for known, until in self.held]

    @precondition(lambda self: self.held)
    @rule(which=st.integers(0, 20))
    def release(self, which: int) -> None:
        """Given back by its holder alone."""
        lease, _ = self.held[-1 - which % len(self.held)]

        async def release() -> None:
            async with self.under.db.transaction() as tx:
                await presence.release(tx, lease)

        self.under.run(release())
        if self.current is lease:
            self.current = None

    @rule(enabled=st.booleans())
    def enable(self, *, enabled: bool) -> None:
        """Switched off for all, or on again."""

        async def enable() -> None:
            async with self.under.db.transaction() as tx:
                await presence.enable(tx, self.name, enabled=enabled)

        self.under.run(enable())
        self.enabled = enabled

    def teardown(self) -> None:
        """What was written under a lease is there, and nothing else."""

        async def written() -> int:
            async with self.under.db.transaction() as tx:
                found = await bus.tail(tx, topics=["move.made"], limit=1000)
            return sum(event.agent == self.name for event in found)

        assert self.under.run(written()) == self.moves
        super().teardown()


class Timers(Timed):
    """Each timer that is due fires once, however many replicas look; one taken back or moved does not."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting: dict[str, tuple[int, float]] = {}  # key → id, due
        self.due: Counter[int] = Counter()
        self.cursor = self.under.run(self.now())

    async def now(self) -> Cursor:
        """From where this example's events are read."""
        async with self.under.db.transaction() as tx:
            return await bus.now_cursor(tx)

    @rule(key=st.sampled_from("abc"), seconds=st.sampled_from([0.0, 3.0, 10.0, 20.0]), commit=st.booleans())
    def set(self, key: str, seconds: float, *, commit: bool) -> None:
        """Set, or moved where one waits under this key."""

        async def set_() -> int | None:
            made = None
            with contextlib.suppress(ZeroDivisionError):
                async with self.under.db.transaction() as tx:
                    until = self.clock.now + timedelta(seconds=seconds)
                    id_ = await timers.set_(tx, self.name, key, until, {}, ORDERS)
                    made = id_ if commit else id_ // 0
            return made

        id_ = self.under.run(set_())
        if id_ is not None:
            assert id_ == self.waiting.get(key, (id_, 0))[0]
            self.waiting[key] = (id_, self.time + seconds)

    @rule(key=st.sampled_from("abc"))
    def cancel(self, key: str) -> None:
        """Taken back where it waits."""

        async def cancel() -> bool:
            async with self.under.db.transaction() as tx:
                return await timers.cancel(tx, self.name, key)

        assert self.under.run(cancel()) == (self.waiting.pop(key, None) is not None)

    @rule(replicas=st.integers(1, 3))
    def fire(self, replicas: int) -> None:
        """Several replicas at once."""

        async def fire() -> None:
            await asyncio.gather(*(timers.fire(self.under.db) for _ in range(replicas)))

        self.under.run(fire())
        for key, (id_, due) in list(self.waiting.items()):
            if due <= self.time:
                self.due[id_] += 1
                del self.waiting[key]

    def teardown(self) -> None:
        """As many events as timers that came due."""

        async def read() -> list[int]:
            found: list[int] = []
            async with self.under.db.transaction() as tx:
                while True:
                    events, self.cursor = await bus.read(
                        tx, self.cursor, topics=["timer.due"], agent=self.name, limit=50
                    )
                    found += [event.reference.id for event in events if event.agent == self.name]
                    if len(events) < 50:
                        return found

        assert Counter(self.under.run(read())) == self.due
        super().teardown()


class Keys(Timed):
    """A key has one taker until it is freed by its holder or expires."""

    def __init__(self) -> None:
        super().__init__()
        self.taken: dict[str, tuple[str, float]] = {}  # key → holder, expiry

    def holder(self, key: str) -> str | None:
        """Who has it now."""
        holder, until = self.taken.get(key, ("", 0.0))
        return holder if key in self.taken and self.time < until else None

    @rule(
        key=st.sampled_from("ab"),
        holder=st.sampled_from("xyz"),
        seconds=st.sampled_from([None, 5.0, 15.0]),
        commit=st.sampled_from([True, True, False]),
    )
    def take(self, key: str, holder: str, seconds: float | None, *, commit: bool) -> None:
        """Taken where nobody has it; not at all where the taker rolls back."""
        free = self.holder(key) is None

        async def take() -> bool:
            async with self.under.db.transaction() as tx:
                taken = await keys.take(tx, self.name, key, holder, seconds)
                assert taken == free
                if not commit:
                    raise ZeroDivisionError
            return taken

        try:
            taken = self.under.run(take())
        except ZeroDivisionError:
            return
        if taken:
            self.taken[key] = (holder, self.time + seconds if seconds is not None else float("inf"))

    @rule(key=st.sampled_from("ab"), holder=st.sampled_from("xyz"))
    def free(self, key: str, holder: str) -> None:
        """Given back by whoever has it; an expired one by whoever had it last."""

        async def free() -> bool:
            async with self.under.db.transaction() as tx:
                return await keys.free(tx, self.name, key, holder)

        has = key in self.taken and self.taken[key][0] == holder
        assert self.under.run(free()) == has
        if has:
            del self.taken[key]

    @rule()
    def forget(self) -> None:
        """Maintenance drops what expired, and nothing else."""

        async def forget() -> None:
            async with self.under.db.transaction() as tx:
                await keys.forget_expired(tx)

        self.under.run(forget())
        self.taken = {key: (holder, until) for key, (holder, until) in self.taken.items() if self.time < until}


def test_an_agent_has_one_holder_and_only_it_moves_the_cursor(under: Ground) -> None:
    """Holding, renewing, moving, giving back, switching off, waiting: by any replica with any lease it ever had."""
    Leases.under = under
    under.check(Leases, examples=20, steps=25)


def test_a_timer_fires_once(under: Ground) -> None:
    """Set, moved, taken back, fired by several at once."""
    Timers.under = under
    under.check(Timers, examples=15, steps=20)


def test_a_key_has_one_taker(under: Ground) -> None:
    """Taken, freed, expired, forgotten, rolled back."""
    Keys.under = under
    under.check(Keys, examples=15, steps=25)
