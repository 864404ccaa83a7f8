"""The product, asked the same questions as its peers: through the doors everybody else uses, nothing switched off.

Everything of `memory` that the benchmark touches is named in this one file.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any
from uuid import uuid4

from benchmarks.coordination.speaking import Speak, Speaker
from benchmarks.peers.actor import PAYLOAD, main, now_ns
from config.assets import Asset
from memory import bus
from memory.bus import Listener, Wake
from memory.bus.feed import Feed
from memory.connection.database import Database
from memory.queue import kinds, tasks
from memory.queue.heartbeat import Heartbeat
from memory.queue.intake import Intake
from memory.queue.kinds import Kind
from memory.queue.worker import Worker
from memory.records import NewTask, Reference, Task
from memory.server import migrate, partitions

AGENT = "bench"
# Peers publish no event for a finished task, so the plain kind does not either; there is a row for one that does.
KINDS = (
    Kind(AGENT, "work", announces=False),
    Kind(AGENT, "announced"),
    Kind(AGENT, "marked", max_running=1000, announces=False),
)
SUBJECTS = 1000
LEASE_SECONDS, POLL_SECONDS = 15.0, 2.0
POOL = 6
BUS_PAGE = 500
ASSET = Asset.parse("warehouse://bench/raw.orders")
TOPIC = "observation.bench"


def task(number: int) -> NewTask:
    """A plain task."""
    return NewTask(AGENT, "work", ASSET, {"number": number, "text": PAYLOAD})


def announced(number: int) -> NewTask:
    """A task whose end is published."""
    return NewTask(AGENT, "announced", ASSET, {"number": number, "text": PAYLOAD})


def marked(number: int) -> NewTask:
    """A task with everything on: a key, an exclusive subject, a kind with a limit."""
    subject = Asset.parse(f"warehouse://bench/raw.table_{number % SUBJECTS}")
    return NewTask(AGENT, "marked", subject, {"number": number, "text": PAYLOAD}, key=f"bench:{number}", exclusive=True)


class Ours(Speaker):
    """dataswarm: heartbeat, listener, retries and history as in a real process."""

    async def install(self) -> None:
        """Migrations, partitions, and the kinds its agent takes."""
        await migrate.apply(self.url)
        db = await Database.open(self.url.replace("//postgres@", "//dataswarm_worker@"), application_name="bench")
        await partitions.maintain(db)
        async with db.transaction() as tx:
            await kinds.declare(tx, KINDS)
        await db.close()

    async def open(self) -> None:
        """A pool of the usual size, and the door for single tasks and events."""
        self.db = await Database.open(self.url, application_name="dataswarm/bench", pool_size=POOL)
        self.intake = Intake(self.db)

    async def put(self, number: int) -> None:
        """One, durable when it returns."""
        await self.intake.put(task(number))

    async def put_many(self, first: int, count: int) -> None:
        """One statement."""
        await self._enqueue(task, first, count)

    async def _enqueue(self, make: Callable[[int], NewTask], first: int, count: int) -> None:
        async with self.db.transaction() as tx:
            await tasks.enqueue(tx, [make(first + n) for n in range(count)])

    async def remaining(self) -> int:
        """Everything that is alive."""
        async with self.db.transaction() as tx:
            return sum(row["count"] for row in await tasks.depth(tx))

    async def start(self) -> None:
        """A worker as the swarm's processes have it."""
        self.listener = Listener(self.db.listen_url)
        await self.listener.start()
        who = uuid4()
        self.heartbeat = Heartbeat(self.url, who, lease_seconds=LEASE_SECONDS, on_lost=self._lose)
        self.heartbeat.start(asyncio.get_running_loop())
        self.worker = Worker(
            self.db,
            {AGENT: self._perform},
            worker=who,
            wake=self.listener.subscribe("task"),
            heartbeat=self.heartbeat,
            lease_seconds=LEASE_SECONDS,
            poll_seconds=POLL_SECONDS,
        )
        self.stop = asyncio.Event()
        self.working = asyncio.create_task(self.worker.run(self.stop))

    def _lose(self, task_id: int) -> None:
        self.worker.lose(task_id)

    async def _perform(self, taken: Task) -> None:
        self.tally.seen(taken.payload["number"])
        if self.holding:
            await self.linger()

    async def age(self, count: int) -> None:
        """Work them off for real, it is quick enough; then stop that worker."""
        for first in range(0, count, 10_000):
            await self.put_many(first, min(10_000, count - first))
        await self.drained(count)
        self.stop.set()
        await self.working
        await asyncio.to_thread(self.heartbeat.stop)
        await self.listener.close()

    async def more(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Filling with other kinds, and the questions about the bus."""
        make = {"marked": marked, "announced": announced}.get(asked["do"])
        if make is None:
            return await super().more(asked)
        for first in range(0, asked["count"], asked["size"]):
            await self._enqueue(make, first, min(asked["size"], asked["count"] - first))
        return {}

    async def speakers(self, writers: int, way: str) -> Sequence[Speak]:
        """Through the intake; or `apart`: each event in a transaction of its own, on a connection of its own."""
        if way == "apart":
            self.db = await Database.open(self.url, application_name="dataswarm/bench", pool_size=writers)
            return [self._publish_apart] * writers
        await self.open()
        return [self._publish_one] * writers

    async def _publish_one(self, number: int) -> None:
        await self.intake.publish(TOPIC, ASSET, Reference("observation", number))

    async def _publish_apart(self, number: int) -> None:
        async with self.db.transaction() as tx:
            await bus.publish(tx, TOPIC, ASSET, Reference("observation", number))

    async def attend(self, agents: int, *, reads: bool) -> None:
        """One LISTEN for all of them, and one feed; each reads by a cursor of its own."""
        await self.open()
        self.listener = Listener(self.db.listen_url)
        await self.listener.start()
        if not reads:
            waking = [self._wake(self.listener.subscribe(bus.HINT)) for _ in range(agents)]
            self.readers = [asyncio.create_task(one) for one in waking]
            return
        async with self.db.transaction() as tx:
            cursor = await bus.now_cursor(tx)
        feed = Feed(self.db)
        self.listener.call(bus.HINT, feed.hint)
        self.readers = [asyncio.create_task(self._read(feed, cursor, heard)) for heard in self.hearing[:agents]]

    async def _wake(self, wake: Wake) -> None:
        while True:
            await wake.wait(POLL_SECONDS)

    async def _read(self, feed: Feed, cursor: bus.Cursor, heard: dict[int, int]) -> None:
        ear = feed.subscribe([TOPIC], AGENT)
        while True:
            events, cursor = await feed.read(cursor, topics=[TOPIC], agent=AGENT, limit=BUS_PAGE)
            at = now_ns()
            for event in events:
                heard.setdefault(event.reference.id, at)
            if len(events) < BUS_PAGE and not await ear.wait(POLL_SECONDS):
                await feed.look()


if __name__ == "__main__":
    main(Ours)
