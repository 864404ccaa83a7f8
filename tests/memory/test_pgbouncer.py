"""Behind a real pgbouncer in transaction mode: everything works but LISTEN, and nothing stays in a session."""

from __future__ import annotations

import asyncio
import logging
import os
import pwd
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest

from config.assets import Asset
from memory import bus, keys
from memory.bus import Listener
from memory.connection.database import Database
from memory.members import presence
from memory.queue import effects, kinds, tasks
from memory.queue.heartbeat import Heartbeat
from memory.queue.intake import Intake
from memory.queue.journal import Journal
from memory.queue.kinds import Kind
from memory.queue.worker import Worker
from memory.records import EffectClass, NewTask, Reference, Sensitivity, Task, TaskState
from memory.server.embedded import EmbeddedServer
from tests.pace import until
from tests.places import fresh_place

PGBOUNCER = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin:/usr/local/sbin")
pytestmark = pytest.mark.skipif(PGBOUNCER is None, reason="pgbouncer is not installed (apt-get install pgbouncer)")
ORDERS = Asset("warehouse", "shop", "raw.orders")
SESSION = """
SELECT current_user = session_user, current_setting('statement_timeout'), current_setting('synchronous_commit'),
       (SELECT count(*) FROM pg_prepared_statements), (SELECT count(*) FROM pg_listening_channels())
"""
CLEAN = (True, "0", "on", 0, 0)


@pytest.fixture(params=["reset", "leaky"])
def pooled_url(request: pytest.FixtureRequest, server: EmbeddedServer, database_name: str) -> Iterator[str]:
    """The worker's address through a pooler with two sessions for all.

    `reset`: each transaction finds an empty session, so that whoever builds on the last one fails. `leaky`: sessions
    go from hand to hand as they are, so that what is left in one shows.
    """
    assert PGBOUNCER is not None
    directory = fresh_place("dsb")
    directory.chmod(0o755)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (directory / "users").write_text('"dataswarm_worker" ""\n', encoding="utf-8")
    (directory / "pgbouncer.ini").write_text(
        f"""
[databases]
* = host={server.socket_directory} port=5432
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = trust
auth_file = {directory / "users"}
pool_mode = transaction
default_pool_size = 2
max_client_conn = 100
server_reset_query = DISCARD ALL
server_reset_query_always = {int(request.param == "reset")}
""",
        encoding="utf-8",
    )
    # It refuses to run as root; the server's socket lies in a directory that only the server's user can enter.
    owner = pwd.getpwuid(server.socket_directory.stat().st_uid).pw_name
    command = [PGBOUNCER, *(["-u", owner] if os.geteuid() == 0 else []), str(directory / "pgbouncer.ini")]
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(command, stderr=log, stdout=log)
    url = f"postgresql://dataswarm_worker@127.0.0.1:{port}/{database_name}"
    try:
        _wait_until_up(url, process, directory / "log")
        yield url
    finally:
        process.terminate()
        process.wait(10)
        shutil.rmtree(directory, ignore_errors=True)


def _wait_until_up(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(200):
        assert process.poll() is None, log.read_text(encoding="utf-8")
        try:
            psycopg.connect(url, connect_timeout=2).close()
        except psycopg.OperationalError:
            continue
        return
    raise AssertionError(log.read_text(encoding="utf-8"))


@pytest.fixture
async def pooled(pooled_url: str, database_url: str, owner_url: str) -> AsyncIterator[Database]:
    """The database through the pooler, LISTEN around it; no session may keep anything when the test is over."""
    database = await Database.open(
        pooled_url, application_name="dataswarm/test", pool_size=6, listen_url=database_url, prepare=False
    )
    async with database.transaction() as tx:
        await kinds.declare(tx, [Kind("health", "act"), Kind("health", "limited", max_running=2)])
    yield database
    await database.close()
    with psycopg.connect(pooled_url, autocommit=True, prepare_threshold=None) as session:
        for _ in range(4):
            assert session.execute(SESSION).fetchone() == CLEAN
    with psycopg.connect(owner_url) as admin:
        assert admin.execute("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'").fetchone() == (0,)


async def test_tasks_through_their_life(pooled: Database) -> None:
    """Enqueued plainly, with key, limit and subject, and by a group; performed, renewed, failed, put off, finished."""
    performed: list[int] = []

    async def perform(task: Task) -> dict[str, int]:
        performed.append(task.id)
        await asyncio.sleep(0)
        return {"attempt": task.attempt}

    intake = Intake(pooled)
    ids = await asyncio.gather(*(intake.put(NewTask("health", "act", ORDERS, {"n": n})) for n in range(20)))
    async with pooled.transaction() as tx:
        ids += await tasks.enqueue(tx, [NewTask("health", "act", ORDERS, {"big": "x" * 20_000}, key="once")])
        assert await tasks.enqueue(tx, [NewTask("health", "act", ORDERS, key="once")]) == [None]
        ids += await tasks.enqueue(tx, [NewTask("health", "limited", ORDERS, exclusive=True) for _ in range(5)])
    (failing,) = await tasks.claim(pooled, ["health"], limit=1, worker=uuid4(), lease_seconds=15)
    async with pooled.transaction() as tx:
        await tasks.fail(tx, failing, "for once", retry_in=0.01)
    listener = Listener(pooled.listen_url)
    await listener.start()
    heartbeat = Heartbeat(pooled.url, uuid4(), lease_seconds=0.3, on_lost=lambda _: None)
    heartbeat.start(asyncio.get_running_loop())
    worker = Worker(
        pooled, {"health": perform}, worker=uuid4(), wake=listener.subscribe("task"), heartbeat=heartbeat,
        lease_seconds=0.9, poll_seconds=0.1,
    )  # fmt: skip
    stop = asyncio.Event()
    working = asyncio.create_task(worker.run(stop))
    await until(lambda: len(performed) >= len(ids) and heartbeat.beats >= 1)
    stop.set()
    await working
    heartbeat.stop()
    await listener.close()
    assert sorted(performed) == sorted(filter(None, ids))
    async with pooled.transaction() as tx:
        assert len(await tasks.list_(tx, [TaskState.SUCCEEDED])) == len(ids)
        retried = await tasks.get(tx, failing.id)
    assert retried is not None
    assert (retried.state, retried.result) == (TaskState.SUCCEEDED, {"attempt": 2})


async def test_bus_leases_journal_effects_and_keys(pooled: Database) -> None:
    """The rest of coordination, several at once on two sessions."""

    async def one(name: str) -> None:
        async with pooled.transaction() as tx:
            await presence.enlist(tx, name, [], Sensitivity.INTERNAL)
        async with pooled.transaction() as tx:
            lease = await presence.hold(tx, name, holder=uuid4(), host="h", process="p", seconds=15)
            assert lease is not None
            assert await keys.take(tx, "slot", name)
        async with pooled.transaction(durable=False) as tx:
            await bus.publish(tx, "thing.made", ORDERS, Reference("thing", 1), agent=name)
        async with pooled.transaction(clearance=Sensitivity.CONFIDENTIAL) as tx:
            events, cursor = await bus.read(tx, lease.cursor, topics=["thing.*"], agent=name)
            assert [event.agent for event in events] == [name]
            await presence.advance(tx, lease, cursor)

    await asyncio.gather(*(one(f"agent-{n}") for n in range(8)))
    async with pooled.transaction() as tx:
        await tasks.enqueue(tx, [NewTask("health", "act", ORDERS)])
    (task,) = await tasks.claim(pooled, ["health"], limit=1, worker=uuid4(), lease_seconds=15)

    async def produce() -> int:
        return 7

    assert await Journal(pooled, task).step("count", produce, int) == 7
    async with pooled.transaction() as tx:
        effect = await effects.intend(
            tx, task, step="a", target=ORDERS, intent={}, inverse={}, effect_class=EffectClass.IDEMPOTENT
        )
        await effects.settle(tx, task, effect.id, "done", {"rows": 1})
        await tasks.succeed(tx, task)


async def test_each_transaction_has_the_role_of_its_clearance(pooled: Database, pooled_url: str) -> None:
    """SET LOCAL: the next user of the session has none of it, not even after an error or a cancellation."""
    for clearance in Sensitivity:
        async with pooled.transaction(clearance=clearance) as tx:
            await tx.one("bus_snapshot")
            cursor = await tx._connection.execute("SELECT current_user::text AS role")
            assert await cursor.fetchone() == {"role": f"dataswarm_{clearance.name.lower()}"}

    async def fail() -> None:
        async with pooled.transaction(durable=False) as tx:
            await tx.one("bus_snapshot")
            raise ZeroDivisionError

    async def hang() -> None:
        async with asyncio.timeout(0.05), pooled.transaction() as tx:
            await tx.one("bus_snapshot")
            await tx._connection.execute("SELECT pg_sleep(10)")

    with pytest.raises(ZeroDivisionError):
        await fail()
    with pytest.raises(TimeoutError):
        await hang()
    with psycopg.connect(pooled_url, autocommit=True, prepare_threshold=None) as session:
        for _ in range(4):
            assert session.execute(SESSION).fetchone() == CLEAN


async def test_listening_through_the_pooler_is_said(
    pooled_url: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """NOTIFY does not come through a transaction pooler: one plain message that names the setting."""
    monkeypatch.setattr("memory.bus.listener.ECHO_WAIT_SECONDS", 0.2)
    listener = Listener(pooled_url)
    starting = asyncio.create_task(listener.start())
    with caplog.at_level(logging.WARNING):
        await until(lambda: "listen_url" in caplog.text)
    assert not listener.connected
    starting.cancel()
    await listener.close()
