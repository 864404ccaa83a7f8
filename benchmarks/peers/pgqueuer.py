"""pgqueuer 1.6 on asyncpg and uvloop (as its own command runs it): batches of 500 in and out."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from typing import Any

import asyncpg  # type: ignore[import-not-found,unused-ignore]
import uvloop  # type: ignore[import-not-found,unused-ignore]
from pgqueuer import PgQueuer  # type: ignore[import-not-found,unused-ignore]
from pgqueuer.db import AsyncpgPoolDriver  # type: ignore[import-not-found,unused-ignore]
from pgqueuer.queries import Queries  # type: ignore[import-not-found,unused-ignore]

from benchmarks.peers.actor import PAYLOAD, Contender, main

BATCH = 500


class Pgqueuer(Contender):
    """One manager; finished jobs go to its log table, as by default."""

    async def install(self) -> None:
        """The schema, by the library's own command; durable tables, as by default."""
        await self.open()
        await self.queries.install()

    async def open(self) -> None:
        """A pool: its listener keeps one connection of it."""
        self.pool: Any = await asyncpg.create_pool(self.url, min_size=2, max_size=8)
        self.driver: Any = AsyncpgPoolDriver(self.pool)
        self.queries: Any = Queries(self.driver)

    async def put(self, number: int) -> None:
        """`enqueue` of one."""
        await self.queries.enqueue("work", json.dumps({"number": number, "text": PAYLOAD}).encode())

    async def put_many(self, first: int, count: int) -> None:
        """`enqueue` of a list."""
        payloads = [json.dumps({"number": first + n, "text": PAYLOAD}).encode() for n in range(count)]
        await self.queries.enqueue(["work"] * count, payloads, [0] * count)

    async def remaining(self) -> int:
        """Rows in the queue; done ones leave it."""
        return int(await self.pool.fetchval("SELECT count(*) FROM pgqueuer"))

    async def start(self) -> None:
        """The manager, continuous, heartbeats and their time-out as by default."""
        self.queuer: Any = PgQueuer(self.driver)

        async def work(job: Any) -> None:
            self.tally.seen(json.loads(job.payload)["number"])
            await self.linger()

        self.queuer.entrypoint("work")(work)
        self.running = asyncio.create_task(
            self.queuer.run(batch_size=BATCH, dequeue_timeout=timedelta(seconds=30)),
        )
        await asyncio.sleep(0.5)  # verifying and listening; the library says nothing when it is done

    async def age(self, count: int) -> None:
        """Work them off for real, it is quick enough; then stop that worker."""
        for first in range(0, count, 10_000):
            await self.put_many(first, min(10_000, count - first))
        await self.drained(count)
        self.queuer.shutdown.set()
        await self.running
        self.driver = AsyncpgPoolDriver(self.pool)
        self.queries = Queries(self.driver)


if __name__ == "__main__":
    main(Pgqueuer, uvloop.run)
