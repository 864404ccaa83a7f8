"""DBOS Transact 3.4: a queue that is polled every 0.02 s for latency, every 0.1 s for throughput."""

from __future__ import annotations

import asyncio
import sys
import threading
from typing import Any

import sqlalchemy as sa  # type: ignore[import-not-found,unused-ignore]
from dbos import DBOS, DBOSClient  # type: ignore[import-not-found,unused-ignore]

from benchmarks.peers.actor import PAYLOAD, Contender, main

AT_ONCE = 16
POLL_FOR_LATENCY, POLL_FOR_THROUGHPUT = 0.02, 0.1
REMAINING = "SELECT count(*) FROM dbos.workflow_status WHERE status IN ('PENDING', 'ENQUEUED', 'DELAYED')"


class Dbos(Contender):
    """Workflows on a queue. There is no call for many at once, so batches are one transaction of many enqueues."""

    async def install(self) -> None:
        """Launching makes the schema."""
        await asyncio.to_thread(self._launch, POLL_FOR_THROUGHPUT)

    async def open(self) -> None:
        """The client, which is how another process enqueues."""
        url = self.url.replace("postgresql://", "postgresql+psycopg://", 1)
        self.client: Any = await asyncio.to_thread(
            lambda: DBOSClient(system_database_url=url, application_name="bench")
        )
        self.engine: Any = sa.create_engine(url)
        self.options = {"queue_name": "bench", "workflow_name": "work"}

    def _launch(self, poll: float) -> None:
        url = self.url.replace("postgresql://", "postgresql+psycopg://", 1)
        DBOS(
            config={
                "name": "bench",
                "system_database_url": url,
                "application_version": "1",
                "log_level": "ERROR",
                "sys_db_pool_size": 20,
                "max_executor_threads": 64,
            }
        )
        tally, holding = self.tally, self.holding

        @DBOS.workflow(name="work")  # type: ignore[untyped-decorator,unused-ignore]
        def work(number: int, text: str) -> None:  # noqa: ARG001 - a payload is carried, not read
            tally.seen(number)
            if holding:
                threading.Event().wait()

        DBOS.launch()
        DBOS.register_queue("bench", polling_interval_sec=poll)

    async def put(self, number: int) -> None:
        """`enqueue` by the client, from its own thread's point of view synchronous."""
        self.client.enqueue(self.options, number, PAYLOAD)

    async def put_many(self, first: int, count: int) -> None:
        """Many enqueues in one transaction of ours: one wait for the disk."""
        with self.engine.begin() as connection:
            for number in range(first, first + count):
                self.client.enqueue_in_transaction(connection, self.options, number, PAYLOAD)

    async def remaining(self) -> int:
        """Workflows that are not at their end."""
        with self.engine.connect() as connection:
            return int(connection.execute(sa.text(REMAINING)).scalar_one())

    async def start(self) -> None:
        """Launched with the quick poll."""
        await asyncio.to_thread(self._launch, POLL_FOR_LATENCY)
        await asyncio.sleep(0.5)

    async def start_draining(self) -> None:
        """Launched with the slower poll, which costs less and takes more at a time."""
        await asyncio.to_thread(self._launch, POLL_FOR_THROUGHPUT)


if __name__ == "__main__":
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    main(Dbos)
