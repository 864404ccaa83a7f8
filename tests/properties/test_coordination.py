"""Random interleavings over the real database: every event exactly once, never two leases, nothing lost."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from typing import Any, TypeVar
from uuid import uuid4

import psycopg
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from psycopg import sql

from config.assets import Asset
from config.errors import LeaseLostError
from memory import bus
from memory.bus import Cursor
from memory.connection.database import Database, Transaction
from memory.queue import kinds, tasks
from memory.queue.kinds import Kind
from memory.records import NewTask, Reference, Task, TaskState
from memory.server.embedded import EmbeddedServer
from tests.memory.conftest import Clock

T = TypeVar("T")
ORDERS = Asset("warehouse", "shop", "raw.orders")
LEASE = 15.0
PLACES = 1
EXAMPLES = settings(
    phases=[Phase.explicit, Phase.generate],
    max_examples=150,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)


class Loop:
    """One event loop and one database for all examples of a test: examples differ by agent and cursor alone."""

    def __init__(self, url: str) -> None:
        self._runner = asyncio.Runner()
        self.db = self.run(Database.open(url, application_name="dataswarm/test", pool_size=8))

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run to the end."""
        return self._runner.run(work)

    def close(self) -> None:
        """Close the database and the loop."""
        self.run(self.db.close())
        self._runner.close()


@pytest.fixture(scope="module")
def loop(server: EmbeddedServer, template: str) -> Iterator[Loop]:
    """A loop with a database of the module's own."""
    name = f"p_{uuid4().hex[:12]}"
    with psycopg.connect(server.url, autocommit=True) as admin:
        admin.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY FILE_COPY").format(
                sql.Identifier(name), sql.Identifier(template)
            )
        )
    loop = Loop(server.url_for(database=name, user="dataswarm_worker"))
    yield loop
    loop.close()


# Four writers; a reader may read at any point, in pages of any size.
WRITES = st.lists(
    st.tuples(st.sampled_from(["publish", "publish", "commit", "abort", "read"]), st.integers(0, 3)),
    max_size=40,
)


class Writer:
    """A transaction held open across steps, as a slow publisher would."""

    def __init__(self, db: Database) -> None:
        self._context = db.transaction()
        self.ids: list[int] = []
        self._tx: Transaction | None = None

    async def publish(self, id_: int) -> None:
        """Publish in this transaction."""
        if self._tx is None:
            self._tx = await self._context.__aenter__()
        await bus.publish(self._tx, "observation.x", ORDERS, Reference("observation", id_))
        self.ids.append(id_)

    async def end(self, *, commit: bool) -> list[int]:
        """End the transaction; the ids that count."""
        if self._tx is None:
            return []
        if commit:
            await self._context.__aexit__(None, None, None)
            return self.ids
        error = ZeroDivisionError()
        assert not await self._context.__aexit__(ZeroDivisionError, error, None)
        return []


@EXAMPLES
@given(steps=WRITES, page=st.integers(1, 5))
def test_a_cursor_reads_every_committed_event_exactly_once(loop: Loop, steps: list[tuple[str, int]], page: int) -> None:
    """Whatever the order of ids, commits, aborts and reads: all that committed, nothing else, nothing twice."""
    loop.run(_interleave(loop.db, steps, page))


async def _interleave(db: Database, steps: list[tuple[str, int]], page: int) -> None:
    async with db.transaction() as tx:
        cursor = await bus.now_cursor(tx)
    writers = [Writer(db) for _ in range(4)]
    committed: list[int] = []
    seen: list[int] = []
    for number, (step, which) in enumerate(steps):
        if step == "publish":
            await writers[which].publish(number)
        elif step == "read":
            cursor, got = await _read(db, cursor, page)
            seen += got
        else:
            committed += await writers[which].end(commit=step == "commit")
            writers[which] = Writer(db)
    for writer in writers:
        committed += await writer.end(commit=True)
    while True:
        cursor, got = await _read(db, cursor, page)
        seen += got
        if not got:
            break
    assert sorted(seen) == sorted(committed)


async def _read(db: Database, cursor: Cursor, page: int) -> tuple[Cursor, list[int]]:
    async with db.transaction() as tx:
        events, cursor = await bus.read(tx, cursor, topics=["*"], agent="me", limit=page)
    return Cursor.from_json(cursor.to_json()), [event.reference.id for event in events]


ACTIONS = st.lists(
    st.tuples(
        st.sampled_from(
            [
                *(
                    "enqueue",
                    "exclusive",
                    "limited",
                    "limited",
                    "both",
                    "later",
                    "claim",
                    "claim",
                    "claim",
                    "succeed",
                    "fail",
                ),
                *("bury", "snooze", "give_back", "cancel", "redrive", "wait"),
            ]
        ),
        st.integers(0, 5),
    ),
    min_size=10,
    max_size=40,
)


@settings(EXAMPLES, max_examples=60)
@given(actions=ACTIONS)
def test_no_task_is_leased_twice_lost_or_finished_by_a_stale_worker(loop: Loop, actions: list[tuple[str, int]]) -> None:
    """A model of the leases in Python agrees with the database after every action."""
    loop.run(Model(loop.db).check(actions))


class Model:
    """What should be: who holds which lease until when, and what is finished."""

    def __init__(self, db: Database) -> None:
        self.db = db
        self.agent = f"agent-{uuid4().hex}"
        self.subject = Asset("warehouse", "shop", self.agent)
        self.clock = Clock()
        self.held: list[tuple[Task, float]] = []  # every claim ever made, with the end of its lease
        self.current: dict[int, Task] = {}  # the latest claim of each task not given up
        self.everything: set[int] = set()
        self.over: set[int] = set()
        self.exclusive: set[int] = set()
        self.limited: set[int] = set()
        self.dead: set[int] = set()
        self.cancelled: dict[int, float] = {}  # cancelled while running: until when its worker may still be at it
        self.time = 0.0

    async def check(self, actions: list[tuple[str, int]]) -> None:
        """Run the actions and compare."""
        before, self.db.clock = self.db.clock, self.clock
        try:
            async with self.db.transaction() as tx:
                await kinds.declare(tx, [Kind(self.agent, "act"), Kind(self.agent, "few", max_running=PLACES)])
            for action, which in actions:
                await self.act(action, which)
                await self.look()
            await self.drain()
        finally:
            self.db.clock = before

    def is_valid(self, task: Task, until: float) -> bool:
        """May this claim still write?"""
        return self.current.get(task.id) is task and self.time < until

    async def act(self, action: str, which: int) -> None:
        """One action, on a claim chosen by `which`."""
        if action in ("enqueue", "exclusive", "limited", "both", "later"):
            await self.enqueue(action)
        elif action == "redrive":
            await self.redrive()
        elif action == "claim":
            await self.claim(which + 1)
        elif action == "wait":
            self.clock.forward(LEASE / 3)
            self.time += LEASE / 3
            await tasks.promote(self.db)
        elif self.held:
            await self.write(action, *self.held[which % len(self.held)])

    async def enqueue(self, how: str) -> None:
        """A task more."""
        kind = "few" if how in ("limited", "both") else "act"
        exclusive = how in ("exclusive", "both")
        delay = LEASE / 3 if how == "later" else 0.0
        new = NewTask(
            self.agent,
            kind,
            self.subject,
            exclusive=exclusive,
            max_attempts=1000,
            delay_seconds=delay,
            priority=int(delay > 0),
        )
        async with self.db.transaction() as tx:
            (id_,) = await tasks.enqueue(tx, [new])
        assert id_ is not None
        self.everything.add(id_)
        if exclusive:
            self.exclusive.add(id_)
        if kind == "few":
            self.limited.add(id_)

    async def redrive(self) -> None:
        """Bring a dead letter back."""
        if self.dead:
            id_ = min(self.dead)
            async with self.db.transaction() as tx:
                assert await tasks.redrive(tx, id_)
            self.dead.discard(id_)
            self.over.discard(id_)

    async def look(self) -> None:
        """Of a kind with a limit never more are admitted than it has places, whatever is being cancelled."""
        async with self.db.transaction() as tx:
            live = [TaskState.READY, TaskState.LEASED]
            admitted = await tasks.list_(tx, live, agent=self.agent, kind="few")
        lingering = [id_ for id_, until in self.cancelled.items() if id_ in self.limited and until > self.time]
        assert len(admitted) + len(lingering) <= PLACES

    async def claim(self, limit: int) -> None:
        """Claims never overlap, and one exclusive task at most runs on the subject."""
        for task in await tasks.claim(self.db, [self.agent], limit=limit, worker=uuid4(), lease_seconds=LEASE):
            assert task.id in self.everything - self.over
            for other, until in self.held:
                assert other.id != task.id or not self.is_valid(other, until)
            self.current[task.id] = task
            self.held.append((task, self.time + LEASE))
        running = {task.id for task, until in self.held if self.is_valid(task, until)}
        running |= {id_ for id_, until in self.cancelled.items() if until > self.time}
        assert len(running & self.exclusive) <= 1
        assert len(running & self.limited) <= PLACES

    async def write(self, action: str, task: Task, until: float) -> None:
        """A write counts exactly when the lease is valid."""
        valid = self.is_valid(task, until)
        try:
            async with self.db.transaction() as tx:
                if action == "succeed":
                    await tasks.succeed(tx, task)
                elif action in ("fail", "bury"):
                    await tasks.fail(tx, task, "x", retry_in=1 if action == "fail" else None)
                elif action == "snooze":
                    await tasks.snooze(tx, task, 1)
                elif action == "give_back":
                    await tasks.give_back(tx, [task])
                else:
                    await self.cancel(tx, task)
                    self.current.pop(task.id, None)
                    return
        except LeaseLostError:
            assert not valid
            return
        if action == "give_back":  # a lost one is left alone, silently
            if self.current.get(task.id) is task:
                self.current.pop(task.id)
            return
        assert valid
        self.current.pop(task.id)
        if action in ("succeed", "bury"):
            self.over.add(task.id)
        if action == "bury":
            self.dead.add(task.id)

    async def cancel(self, tx: Transaction, task: Task) -> None:
        """Whoever runs it may still be at it until the lease would have ended."""
        assert await tasks.cancel(tx, task.id) == (task.id not in self.over)
        running = self.current.get(task.id)
        ends = [end for held, end in self.held if held is running]
        if task.id not in self.over and ends and ends[0] > self.time:
            self.cancelled[task.id] = ends[0]
        self.over.add(task.id)

    async def drain(self) -> None:
        """In the end every task can be finished: nothing is lost or stuck."""
        for _ in range(len(self.everything) * 2 + 2):
            self.clock.forward(LEASE + 1)
            await tasks.promote(self.db)
            claimed = await tasks.claim(self.db, [self.agent], limit=100, worker=uuid4(), lease_seconds=LEASE)
            async with self.db.transaction() as tx:
                finished = await tasks.succeed_many(tx, [(task, None) for task in claimed])
            assert finished == {task.id for task in claimed}
            assert not finished & self.over
            self.over |= finished
        assert self.over == self.everything
        async with self.db.transaction() as tx:
            living = [TaskState.READY, TaskState.LEASED, TaskState.SCHEDULED, TaskState.PARKED]
            assert await tasks.list_(tx, living, agent=self.agent) == []
