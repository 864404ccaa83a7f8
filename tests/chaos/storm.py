"""A storm over the queue: real workers in processes of their own, a server with fsync on, and everything that breaks.

One worker is left alone, so that there is always somebody who could take over; one has its clock an hour off. The
others are killed, put to sleep, block their event loop; lines are cut, NOTIFY is swallowed, PostgreSQL is restarted.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from uuid import UUID

import psutil
import psycopg

from config.assets import Asset
from config.errors import SwarmError
from memory.connection.database import Database
from memory.queue import kinds, tasks
from memory.queue.kinds import Kind
from memory.records import NewTask
from memory.server import migrate
from memory.server.embedded import EmbeddedServer
from tests.chaos.lines import Lines, lines
from tests.chaos.tally import Kill, Tally
from tests.chaos.worker import Orders
from tests.pace import PATIENCE

SUBJECT = Asset("warehouse", "outside", "public.ledger")
WORKERS = 4
BATCH = 10
# Every claim is noted by the server, by its own clock, together with whether the lease before it was still running.
NOTE = """
CREATE TABLE public.claims (task_id bigint, at timestamptz, stolen boolean);
CREATE FUNCTION public.note_claim() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    INSERT INTO public.claims VALUES (
        NEW.id, clock_timestamp(), OLD.token IS NOT NULL AND OLD.lease_until > clock_timestamp());
    RETURN NULL;
END $$;
CREATE TRIGGER noted AFTER UPDATE ON dataswarm.tasks FOR EACH ROW
WHEN (NEW.token IS NOT NULL AND NEW.token IS DISTINCT FROM OLD.token) EXECUTE FUNCTION public.note_claim();
"""


@dataclass
class Storm:
    """A storm and what it has to go on.

    Args:
        server: of its own, for it is restarted.
        wires, ears: the proxies before it, for work and for NOTIFY.
        count, kills: how many tasks, and how many kills.
        lease_seconds: of the tasks.
        seed: of the faults.
        careless: workers leave out the rule of effects (to see that the counts can fail).
    """

    server: EmbeddedServer
    directory: Path
    wires: Lines
    ears: Lines
    count: int
    kills: int
    lease_seconds: float = 2.0
    seed: int = 1
    careless: bool = False
    workers: list[tuple[asyncio.subprocess.Process, UUID]] = field(default_factory=list)
    killed: list[Kill] = field(default_factory=list)
    outages: list[tuple[float, float]] = field(default_factory=list)
    faults: Counter[str] = field(default_factory=Counter)
    started: int = 0

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)
        self.log = self.directory.parent / "workers.log"

    async def run(self) -> Tally:
        """Prepare, enqueue and break things at once, wait until all is done, and count."""
        self._prepare()
        self.workers = list(await asyncio.gather(*(self._start(place) for place in range(WORKERS))))
        try:
            enqueueing = asyncio.create_task(self._enqueue())
            await self._break()
            await enqueueing
            await self._settle()
        finally:
            await self._end()
        return self._tally()

    def _prepare(self) -> None:
        self.server.create_database("outside")
        with psycopg.connect(self.server.url_for(database="outside"), autocommit=True) as outside:
            outside.execute("CREATE TABLE public.ledger (number bigint, task_id bigint, attempt int)")
        with self._admin() as admin:
            admin.execute(NOTE)
            # After a crash PostgreSQL syncs every file it has, one by one: thousands. One call does it as well.
            admin.execute("ALTER SYSTEM SET recovery_init_sync_method = syncfs")
            admin.execute("SELECT pg_reload_conf()")

    def _admin(self) -> psycopg.Connection[tuple[object, ...]]:
        return psycopg.connect(self.server.url_for(), autocommit=True)

    async def _start(self, place: int) -> tuple[asyncio.subprocess.Process, UUID]:
        """A worker; the first is well-behaved, the second has its clock off."""
        self.started += 1
        orders = Orders(
            url=self.wires.url("dataswarm", "dataswarm_worker"),
            listen_url=self.ears.url("dataswarm", "dataswarm_worker"),
            outside_url=self.server.url_for(database="outside"),
            lease_seconds=self.lease_seconds,
            seed=self.seed * 1000 + self.started,
            shift=1.0 if place == 1 else 0.0,
            block=0.0 if place == 0 else 0.002,
            careless=self.careless,
        )
        with self.log.open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "tests.chaos.worker",
                json.dumps(asdict(orders)),
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
            )
        assert process.stdout is not None
        async with asyncio.timeout(PATIENCE):
            said = (await process.stdout.readline()).split()
        if not said:  # it began while the server was away
            await process.wait()
            return await self._start(place)
        return process, UUID(said[1].decode())

    async def _enqueue(self) -> None:
        """All numbers, in batches spread over the storm; what may or may not have been committed is sent again."""
        apart = 1.1 * self.kills * BATCH / self.count
        db = await Database.open(
            self.wires.url("dataswarm", "dataswarm_worker"), application_name="dataswarm/chaos", pool_size=1
        )
        async with db.transaction() as tx:
            await kinds.declare(tx, [Kind("chaos", "write", max_attempts=1000, longest_backoff_seconds=1.0)])
        for first in range(0, self.count, BATCH):
            batch = [
                NewTask(
                    "chaos", "write", SUBJECT, {"number": n}, key=f"number-{n}", key_outlives=True, max_attempts=1000
                )
                for n in range(first, min(first + BATCH, self.count))
            ]
            while True:
                try:
                    async with db.transaction() as tx:
                        await tasks.enqueue(tx, batch)
                    break
                except SwarmError:
                    await asyncio.sleep(0.05)
            await asyncio.sleep(apart)
        await db.close()

    async def _break(self) -> None:
        """Kill again and again, with something else in between."""
        others = [self._cut, self._deafen, self._sleep, self._restart]
        turn = 0
        while self.faults["kills"] < self.kills:
            await self._kill(self.chance.randrange(1, WORKERS))
            await asyncio.sleep(self.chance.random() * 0.2)
            await others[turn % len(others)]()
            turn += 1

    async def _kill(self, place: int) -> None:
        process, worker = self.workers[place]
        await self._busy(worker)
        process.kill()
        await process.wait()
        self.faults["kills"] += 1
        with self._admin() as admin:
            rows = admin.execute(
                "SELECT id, extract(epoch FROM clock_timestamp())::float8 FROM dataswarm.tasks WHERE worker = %s",
                (worker,),
            ).fetchall()
        if rows:
            self.killed.append(Kill(float(str(rows[0][1])), frozenset(int(str(row[0])) for row in rows)))
        self.workers[place] = await self._start(place)

    async def _busy(self, worker: UUID) -> None:
        """Until it has something to lose, for a second at most."""
        with self._admin() as admin:
            for _ in range(100):
                if admin.execute("SELECT 1 FROM dataswarm.tasks WHERE worker = %s", (worker,)).fetchone():
                    return
                await asyncio.sleep(0.01)

    async def _cut(self) -> None:
        self.faults["cuts"] += 1
        self.wires.cut()
        self.ears.cut()

    async def _deafen(self) -> None:
        self.faults["NOTIFY swallowed"] += 1
        self.ears.deaf = not self.ears.deaf

    async def _sleep(self) -> None:
        """A whole process sleeps through its lease and wakes with its hands full."""
        self.faults["processes put to sleep"] += 1
        process, _ = self.workers[self.chance.randrange(1, WORKERS)]
        process.send_signal(signal.SIGSTOP)
        asyncio.get_running_loop().call_later(1.5 * self.lease_seconds, self._wake, process)

    @staticmethod
    def _wake(process: asyncio.subprocess.Process) -> None:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGCONT)

    async def _restart(self) -> None:
        """PostgreSQL as after a power cut: no checkpoint, recovery at the start."""
        self.faults["restarts"] += 1
        with self._admin() as admin:
            since = admin.execute("SELECT extract(epoch FROM clock_timestamp())::float8").fetchone()
        os.kill(self.server.pid, signal.SIGQUIT)
        with contextlib.suppress(psutil.NoSuchProcess):
            await asyncio.to_thread(psutil.Process(self.server.pid).wait, PATIENCE)
        self.server = await asyncio.to_thread(EmbeddedServer.start, self.directory)
        with self._admin() as admin:
            to = admin.execute("SELECT extract(epoch FROM clock_timestamp())::float8").fetchone()
        assert since is not None
        assert to is not None
        self.outages.append((float(str(since[0])), float(str(to[0]))))

    async def _settle(self) -> None:
        """Until nothing is left to do; what is left when nothing has moved for long is lost."""
        patience = max(PATIENCE, 10 * self.lease_seconds)
        now = asyncio.get_running_loop().time
        left, moved = self.count + 1, now()
        with self._admin() as admin:
            while left and now() < moved + patience:
                row = admin.execute(
                    "SELECT (SELECT count(*) FROM dataswarm.tasks) + (SELECT count(*) FROM dataswarm.tasks_scheduled)"
                ).fetchone()
                assert row is not None
                if int(str(row[0])) < left:
                    left, moved = int(str(row[0])), now()
                await asyncio.sleep(0.05)

    async def _end(self) -> None:
        for process, _ in self.workers:
            if process.returncode is None:
                self._wake(process)
                process.terminate()
        for process, _ in self.workers:
            try:
                async with asyncio.timeout(10 * self.lease_seconds):
                    await process.wait()
            except TimeoutError:
                process.kill()
                await process.wait()

    def _tally(self) -> Tally:
        tally = Tally(self.count, self.faults)
        with self._admin() as admin:
            history = admin.execute(
                "SELECT id, (payload ->> 'number')::bigint, extract(epoch FROM finished_at)::float8"
                " FROM dataswarm.tasks_history WHERE state = 'succeeded'"
            ).fetchall()
            claims = admin.execute(
                "SELECT task_id, extract(epoch FROM at)::float8, stolen FROM public.claims"
            ).fetchall()
        with psycopg.connect(self.server.url_for(database="outside")) as outside:
            done = [int(row[0]) for row in outside.execute("SELECT number FROM public.ledger").fetchall()]
        tally.count(range(self.count), [int(str(row[1])) for row in history], done)
        tally.stolen = sum(bool(row[2]) for row in claims)
        tally.measure(
            self.killed,
            [(int(str(row[0])), float(str(row[1]))) for row in claims],
            {int(str(row[0])): float(str(row[2])) for row in history},
            self.outages,
            self.lease_seconds,
        )
        return tally


@asynccontextmanager
async def brewing(
    directory: Path, *, count: int, kills: int, lease_seconds: float = 2.0, careless: bool = False
) -> AsyncIterator[Storm]:
    """A storm with a migrated server of its own on disk, and the proxies before it."""
    server = await asyncio.to_thread(EmbeddedServer.start, directory)
    try:
        await migrate.apply(server.url_for())
        async with lines(server.socket_directory) as wires, lines(server.socket_directory) as ears:
            yield Storm(
                server,
                directory,
                wires,
                ears,
                count=count,
                kills=kills,
                lease_seconds=lease_seconds,
                careless=careless,
            )
    finally:
        server = await asyncio.to_thread(EmbeddedServer.start, directory)
        await asyncio.to_thread(server.stop)
