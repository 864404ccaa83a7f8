"""procrastinate 3.10 on psycopg 3: concurrency 10, a pool that has room for it, batches by `batch_defer_async`."""

from __future__ import annotations

import asyncio
from typing import Any

from procrastinate import App, PsycopgConnector  # type: ignore[import-not-found,unused-ignore]

from benchmarks.peers.actor import PAYLOAD, Contender, main

CONCURRENCY = 10
REMAINING = "SELECT count(*) AS n FROM procrastinate_jobs WHERE status IN ('todo', 'doing')"
# One finished row is copied: what working off that many leaves behind, without the minutes it would take.
AGE = """
INSERT INTO procrastinate_jobs
    (queue_name, task_name, priority, lock, queueing_lock, args, status, scheduled_at, attempts)
SELECT queue_name, task_name, priority, lock, queueing_lock, args, status, scheduled_at, attempts
FROM (SELECT * FROM procrastinate_jobs WHERE status = 'succeeded' LIMIT 1) AS done, generate_series(1, %(count)s)
"""


class Procrastinate(Contender):
    """One worker of ten at once; finished jobs are kept, as by default."""

    async def install(self) -> None:
        """The schema, by the library's own command."""
        await self.open()
        await self.app.schema_manager.apply_schema_async()

    async def open(self) -> None:
        """A pool with a connection for each running job, the listener and the fetching."""
        pool = {"min_size": CONCURRENCY, "max_size": CONCURRENCY + 4}
        self.app: Any = App(connector=PsycopgConnector(conninfo=self.url, **pool))
        await self.app.open_async()

        async def work(number: int, text: str) -> None:  # noqa: ARG001 - a payload is carried, not read
            self.tally.seen(number)
            await self.linger()

        self.task: Any = self.app.task(name="work", queue="bench")(work)

    async def put(self, number: int) -> None:
        """`defer_async`."""
        await self.task.defer_async(number=number, text=PAYLOAD)

    async def put_many(self, first: int, count: int) -> None:
        """`batch_defer_async`."""
        await self.task.batch_defer_async(*({"number": first + n, "text": PAYLOAD} for n in range(count)))

    async def remaining(self) -> int:
        """Jobs to do and in doing."""
        rows = await self.app.connector.execute_query_one_async(REMAINING)
        return int(rows["n"])

    async def start(self) -> None:
        """The worker with LISTEN on."""
        self.worker = asyncio.create_task(
            self.app.run_worker_async(
                queues=["bench"], concurrency=CONCURRENCY, install_signal_handlers=False, listen_notify=True
            )
        )
        await asyncio.sleep(0.5)  # registering and listening; the library says nothing when it is done

    async def age(self, count: int) -> None:
        """Work one off, copy its row."""
        await self.put_many(0, 1)
        await self.drained(1)
        self.worker.cancel()
        await asyncio.gather(self.worker, return_exceptions=True)
        await self.app.connector.execute_query_async(AGE, count=count - 1)


if __name__ == "__main__":
    main(Procrastinate)
