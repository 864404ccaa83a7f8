"""A process that works on tasks whose deed is a row outside, done by the rule of effects; made to misbehave.

`python -m tests.chaos.worker JSON`, with the fields of `Orders`. It says on its output when it begins: `working UUID`.
The outside is another database, in a table without any unique constraint: whatever is done twice, shows there.
"""

from __future__ import annotations

import asyncio
import json
import random
import signal
import sys
import time
from dataclasses import dataclass
from uuid import UUID, uuid4

HOUR = 3600.0
_monotonic, _time = time.monotonic, time.time


@dataclass(frozen=True)
class Orders:
    """How this worker is to run: where, under which lease, and how it misbehaves.

    Attributes:
        url, listen_url, outside_url: the database (cut at will), its NOTIFY (deaf at will), the outside.
        shift: hours by which its clocks are off; the wall clock also jumps to and fro by as much.
        block: the share of tasks that block the event loop, for one to four leases.
        careless: forgets the rule of effects (to see that the counts can fail).
    """

    url: str
    listen_url: str
    outside_url: str
    lease_seconds: float
    seed: int
    shift: float = 0.0
    block: float = 0.0
    careless: bool = False


def shift_clocks(hours: float) -> None:
    """Put this process's clocks off, before anything else looks at them; the wall clock jumps every other second."""
    time.monotonic = lambda: _monotonic() + hours * HOUR
    time.time = lambda: _time() + hours * HOUR * (1 if int(_monotonic()) % 2 else -1)


async def work(orders: Orders) -> None:
    """Until told to stop."""
    import psycopg  # noqa: PLC0415 - after the clocks are set
    from psycopg_pool import AsyncConnectionPool  # noqa: PLC0415

    from config.errors import TransientError  # noqa: PLC0415
    from memory.bus import Listener  # noqa: PLC0415
    from memory.connection.database import Database  # noqa: PLC0415
    from memory.queue.heartbeat import Heartbeat  # noqa: PLC0415
    from memory.queue.worker import Worker  # noqa: PLC0415
    from memory.records import Task  # noqa: PLC0415
    from tests.chaos.deed import Deed  # noqa: PLC0415

    chance = random.Random(orders.seed)
    worker_id: UUID = uuid4()
    db = await Database.open(orders.url, application_name="dataswarm/chaos", pool_size=6)
    outside: AsyncConnectionPool[psycopg.AsyncConnection[tuple[object, ...]]] = AsyncConnectionPool(
        orders.outside_url, min_size=1, max_size=4, open=False, kwargs={"autocommit": True}
    )
    await outside.open(wait=True)
    listener = Listener(orders.listen_url)
    hearing = asyncio.create_task(listener.start())  # it waits for its echo, and may be deaf
    heartbeat = Heartbeat(
        orders.url,
        worker_id,
        lease_seconds=orders.lease_seconds,
        on_lost=lambda task_id: worker.lose(task_id),  # noqa: PLW0108 - made below
    )

    async def perform(task: Task) -> dict[str, object]:
        deed = Deed(db, outside, task, careless=orders.careless, stumble=stumble)
        try:
            return await deed.do()
        except (psycopg.Error, OSError) as error:
            raise TransientError(f"the outside went away: {type(error).__name__}") from error

    async def stumble() -> None:
        """Between any two steps: a while of work, now and then the event loop blocked for longer than the lease."""
        if chance.random() < orders.block:
            time.sleep(orders.lease_seconds * chance.choice((1.2, 4.0)))  # noqa: ASYNC251 - that is the fault
        await asyncio.sleep(chance.random() * 0.02)

    worker = Worker(
        db,
        {"chaos": perform},
        worker=worker_id,
        wake=listener.subscribe("task"),
        heartbeat=heartbeat,
        concurrency=4,
        ahead=8,
        lease_seconds=orders.lease_seconds,
        poll_seconds=orders.lease_seconds / 4,
    )
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    sys.stdout.write(f"working {worker_id}\n")
    sys.stdout.flush()
    heartbeat.start(loop)
    try:
        await worker.run(stop, drain_seconds=orders.lease_seconds)
    finally:
        heartbeat.stop()
    hearing.cancel()
    await listener.close()
    await outside.close()
    await db.close()


if __name__ == "__main__":
    ordered = Orders(**json.loads(sys.argv[1]))
    if ordered.shift:
        shift_clocks(ordered.shift)
    asyncio.run(work(ordered))
