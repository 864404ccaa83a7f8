"""Tasks: nothing lost, nothing done twice, nothing written without the lease."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from config.assets import Asset
from config.errors import ConflictError, LeaseLostError, UsageError
from memory import bus
from memory.bus import Cursor
from memory.connection.database import Database, Transaction
from memory.queue import tasks
from memory.queue.new_tasks import LARGEST
from memory.queue.tasks import Heartbeat
from memory.records import NewTask, Task, TaskState
from memory.server import partitions
from tests.memory.conftest import Clock
from tests.pace import PATIENCE

ORDERS = Asset("warehouse", "shop", "raw.orders")
NO_EVENT = {"topics": "", "subjects": "", "nouns": "", "agents": ""}
WORK = NewTask("health", "act", ORDERS)
LEASE = 15.0


async def _enqueue(db: Database, *new: NewTask) -> list[int | None]:
    async with db.transaction() as tx:
        return await tasks.enqueue(tx, new)


async def _claim(db: Database, limit: int = 10, agents: tuple[str, ...] = ("health",)) -> list[Task]:
    return await tasks.claim(db, agents, limit=limit, worker=uuid4(), lease_seconds=LEASE)


async def _succeed(db: Database, task: Task, result: Any = None) -> None:
    async with db.transaction() as tx:
        await tasks.succeed(tx, task, result)


async def _get(db: Database, id_: int | None) -> Task:
    assert id_ is not None
    async with db.transaction() as tx:
        task = await tasks.get(tx, id_)
    assert task is not None
    return task


async def _topics(db: Database, cursor: Cursor) -> list[str]:
    async with db.transaction() as tx:
        events, _ = await bus.read(tx, cursor, topics=["task.*"], agent="")
    return [event.topic for event in events]


async def test_the_life_of_a_task(db: Database) -> None:
    """Enqueued, claimed once, finished with its result kept and its event published."""
    async with db.transaction() as tx:
        cursor = await bus.now_cursor(tx)
    (id_,) = await _enqueue(db, replace(WORK, payload={"table": "raw.orders", "rows": [1, 2.5, None]}))
    (task,) = await _claim(db)
    assert (task.id, task.state, task.attempt, task.subject) == (id_, TaskState.LEASED, 1, ORDERS)
    assert task.payload == {"table": "raw.orders", "rows": [1, 2.5, None]}
    assert await _claim(db) == []
    await _succeed(db, task, {"ok": True})
    done = await _get(db, id_)
    assert (done.state, done.result) == (TaskState.SUCCEEDED, {"ok": True})
    assert await _topics(db, cursor) == ["task.succeeded"]
    with pytest.raises(LeaseLostError):
        await _succeed(db, task)


async def test_priority_then_age(db: Database) -> None:
    """Higher priority first, then the older."""
    ids = await _enqueue(db, WORK, replace(WORK, priority=5), WORK, replace(WORK, priority=5))
    assert [task.id for task in await _claim(db)] == [ids[1], ids[3], ids[0], ids[2]]


async def test_agents_share_a_claim(db: Database) -> None:
    """A backlog of one agent does not starve another; what one leaves the other gets."""
    await _enqueue(db, *[WORK] * 20, *[replace(WORK, agent="drift")] * 2)
    claimed = await _claim(db, 10, ("health", "drift"))
    assert len(claimed) == 10
    assert sum(task.agent == "drift" for task in claimed) == 2


async def test_a_key_lives_as_long_as_its_task(db: Database) -> None:
    """One living task per key, also within a batch; free again when finished, unless it outlives."""
    keyed, slot = replace(WORK, key="a"), replace(WORK, key="slot", key_outlives=True)
    ids = await _enqueue(db, keyed, keyed, slot, WORK)
    assert [id_ is None for id_ in ids] == [False, True, False, False]
    assert await _enqueue(db, keyed, slot) == [None, None]
    for task in await _claim(db):
        await _succeed(db, task)
    ids = await _enqueue(db, keyed, slot)
    assert ids[0] is not None
    assert ids[1] is None


async def test_an_expired_lease_heals_and_fences(db: Database, clock: Clock) -> None:
    """After the lease ends anybody may claim; who had it before can write nothing, not even before that."""
    await _enqueue(db, WORK)
    (first,) = await _claim(db)
    clock.forward(LEASE - 1)
    assert await _claim(db) == []
    clock.forward(1)
    with pytest.raises(LeaseLostError):
        await _succeed(db, first)
    (second,) = await _claim(db)
    assert (second.id, second.attempt) == (first.id, 2)
    attempts: list[Callable[[Transaction], Awaitable[None]]] = [
        lambda tx: tasks.succeed(tx, first),
        lambda tx: tasks.fail(tx, first, "x", retry_in=1),
        lambda tx: tasks.fail(tx, first, "x", retry_in=None),
        lambda tx: tasks.snooze(tx, first, 1),
        lambda tx: tasks.fence(tx, first),
    ]
    for attempt in attempts:
        with pytest.raises(LeaseLostError):
            async with db.transaction() as tx:
                await attempt(tx)
    await _succeed(db, second)


async def test_a_task_that_kills_its_workers_dies(db: Database, clock: Clock) -> None:
    """Leases that expire count as attempts; the last one makes a dead letter."""
    (id_,) = await _enqueue(db, replace(WORK, max_attempts=2))
    for _ in range(2):
        assert len(await _claim(db)) == 1
        clock.forward(LEASE + 1)
    assert await _claim(db) == []
    dead = await _get(db, id_)
    assert dead.state is TaskState.FAILED
    assert "vanished" in dead.error


async def test_back_off_then_dead_then_redriven(db: Database, clock: Clock) -> None:
    """A failure waits outside the claim's table, dies with the last attempt, and can be brought back."""
    (id_,) = await _enqueue(db, replace(WORK, max_attempts=2, key="k"))
    async with db.transaction() as tx:
        cursor = await bus.now_cursor(tx)
    for _ in range(2):
        (task,) = await _claim(db)
        async with db.transaction() as tx:
            await tasks.fail(tx, task, "no luck", retry_in=30)
        assert await _claim(db) == []
        wait = await tasks.promote(db)
        clock.forward(wait or 0)
        await tasks.promote(db)
    assert await _topics(db, cursor) == ["task.failed"]
    assert (await _get(db, id_)).error == "no luck"
    async with db.transaction() as tx:
        assert await tasks.redrive(tx, id_ or 0)
        assert not await tasks.redrive(tx, id_ or 0)
    (again,) = await _claim(db)
    assert (again.id, again.attempt) == (id_, 1)
    assert await _enqueue(db, replace(WORK, key="k")) == [None]


async def test_redrive_yields_to_a_living_namesake(db: Database) -> None:
    """A dead letter whose key was taken meanwhile stays dead."""
    await _enqueue(db, replace(WORK, key="k"))
    (task,) = await _claim(db)
    async with db.transaction() as tx:
        await tasks.fail(tx, task, "useless", retry_in=None)
    await _enqueue(db, replace(WORK, key="k"))
    with pytest.raises(ConflictError):
        async with db.transaction() as tx:
            await tasks.redrive(tx, task.id)
    assert (await _get(db, task.id)).state is TaskState.FAILED


async def test_later_and_snooze(db: Database, clock: Clock) -> None:
    """A delayed task is not in the claim's table; promote says when to come back; a snooze costs no attempt."""
    (id_,) = await _enqueue(db, replace(WORK, delay_seconds=60))
    assert await _claim(db) == []
    assert (await _get(db, id_)).state is TaskState.SCHEDULED
    assert await tasks.promote(db) == pytest.approx(60)
    clock.forward(60)
    assert await tasks.promote(db) is None
    (task,) = await _claim(db)
    async with db.transaction() as tx:
        await tasks.snooze(tx, task, 10)
    clock.forward(10)
    await tasks.promote(db)
    assert [task.attempt for task in await _claim(db)] == [1]


async def test_an_exclusive_subject_is_worked_on_by_one(db: Database) -> None:
    """The second waits parked, and is promoted when the first ends, whichever way."""
    first, second, third = await _enqueue(db, *[replace(WORK, exclusive=True)] * 3)
    (task,) = await _claim(db)
    assert task.id == first
    assert (await _get(db, second)).state is TaskState.PARKED
    await _succeed(db, task)
    (task,) = await _claim(db)
    assert task.id == second
    async with db.transaction() as tx:
        await tasks.fail(tx, task, "x", retry_in=None)
    assert [task.id for task in await _claim(db)] == [third]


async def test_a_cancelled_running_task_keeps_its_subject_until_its_lease_ends(db: Database, clock: Clock) -> None:
    """Its worker may still be in the middle of something; nobody else starts on the asset meanwhile."""
    first, second = await _enqueue(db, *[replace(WORK, exclusive=True, key="k")], replace(WORK, exclusive=True))
    (task,) = await _claim(db)
    async with db.transaction() as tx:
        assert await tasks.cancel(tx, task.id)
        assert not await tasks.cancel(tx, task.id)
    assert (await _get(db, first)).state is TaskState.CANCELLED
    with pytest.raises(LeaseLostError):
        await _succeed(db, task)
    assert await tasks.promote(db) == pytest.approx(tasks.PARKED_POLL_SECONDS)
    assert await _claim(db) == []
    clock.forward(LEASE)
    await tasks.promote(db)
    assert [task.id for task in await _claim(db)] == [second]


async def test_cancel_what_waits(db: Database) -> None:
    """Ready, scheduled and parked tasks can be cancelled; their keys are free then."""
    new = [replace(WORK, key="a"), replace(WORK, key="b", delay_seconds=60)]
    new += [replace(WORK, exclusive=True), replace(WORK, key="c", exclusive=True)]
    ids = await _enqueue(db, *new)
    for id_ in ids:
        async with db.transaction() as tx:
            assert await tasks.cancel(tx, id_ or 0)
    assert await _claim(db) == []
    assert None not in await _enqueue(db, *new)


async def test_give_back(db: Database) -> None:
    """What was claimed ahead and not started is there for others at once, the attempt uncounted."""
    await _enqueue(db, *[WORK] * 3)
    claimed = await _claim(db)
    async with db.transaction() as tx:
        await tasks.give_back(tx, claimed)
    assert [(task.id, task.attempt) for task in await _claim(db)] == [(task.id, 1) for task in claimed]


async def test_batches_and_the_low_water_mark(db: Database) -> None:
    """Claiming in small batches until nothing is left sees every task once, also one below the mark."""
    ids = await _enqueue(db, *[WORK] * 50)
    seen: list[int] = []
    while batch := await _claim(db, 7):
        seen += [task.id for task in batch]
        async with db.transaction() as tx:
            if len(seen) == 21:
                await tasks.give_back(tx, batch[:1])
                seen.remove(batch[0].id)
                batch = batch[1:]
            assert len(await tasks.succeed_many(tx, [(task, None) for task in batch])) == len(batch)
    assert sorted(seen) == ids


async def test_rivals_never_share_a_task(db: Database) -> None:
    """Eight claimers at once get disjoint tasks and all of them."""
    ids = await _enqueue(db, *[WORK] * 100)
    batches = await asyncio.gather(*(_claim(db, 20) for _ in range(8)))
    claimed = [task.id for batch in batches for task in batch]
    claimed += [task.id for task in await _claim(db, 100)]
    assert sorted(claimed) == ids


async def test_list_and_depth(db: Database) -> None:
    """What is where, and how old."""
    await _enqueue(db, WORK, WORK, replace(WORK, delay_seconds=60, kind="sense"), replace(WORK, agent="drift"))
    await _claim(db, 1)
    async with db.transaction() as tx:
        states = {(row["agent"], row["kind"], row["state"]): row["count"] for row in await tasks.depth(tx)}
        assert states == {
            ("drift", "act", "ready"): 1,
            ("health", "act", "leased"): 1,
            ("health", "act", "ready"): 1,
            ("health", "sense", "scheduled"): 1,
        }
        assert len(await tasks.list_(tx)) == 4
        assert [task.kind for task in await tasks.list_(tx, [TaskState.SCHEDULED])] == ["sense"]
        assert len(await tasks.list_(tx, agent="health", kind="act")) == 2


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"agent": ""}, "agent"),
        ({"kind": "a\nb"}, "kind"),
        ({"kind": "nonsense"}, "kind"),
        ({"subject": "raw.orders"}, "subject"),
        ({"payload": {"at": object()}}, "payload"),
        ({"payload": {"x": math.nan}}, "payload"),
        ({"payload": {"x": "a\0b"}}, "payload"),
        ({"key": "k" * 801}, "key"),
        ({"key_outlives": True}, "key_outlives"),
        ({"delay_seconds": -1}, "delay_seconds"),
        ({"delay_seconds": math.inf}, "delay_seconds"),
        ({"max_attempts": 0}, "max_attempts"),
        ({"deadline_seconds": 0}, "deadline_seconds"),
        ({"priority": 2**40}, "priority"),
    ],
)
async def test_bad_input_is_refused_before_anything_is_written(db: Database, wrong: dict[str, Any], field: str) -> None:
    """The message names the field and the position; the good tasks of the batch are not written either."""
    with pytest.raises(UsageError, match=f"task 1: {field}"):
        await _enqueue(db, WORK, replace(WORK, **wrong))
    assert await _claim(db) == []


async def test_large_payloads_and_results(db: Database, clock: Clock, owner_url: str) -> None:
    """Five megabytes come back whole from wherever the task is; the live row stays narrow, and retention takes all."""
    large = {"text": "å" * 2_500_000}
    (id_, small) = await _enqueue(db, replace(WORK, payload=large, key="k"), replace(WORK, payload={"n": 1}))
    with psycopg.connect(owner_url, autocommit=True) as owner:
        (widest,) = owner.execute("SELECT max(pg_column_size(t)) FROM dataswarm.tasks t").fetchone() or (0,)
    assert widest < 400
    first, second = await _claim(db)
    assert (first.payload, second.payload) == (large, {"n": 1})
    async with db.transaction() as tx:
        await tasks.fail(tx, first, "x", retry_in=None)
    assert (await _get(db, id_)).payload == large
    async with db.transaction() as tx:
        assert await tasks.redrive(tx, id_ or 0)
    (again,) = await _claim(db)
    assert again.payload == large
    async with db.transaction() as tx:
        assert await tasks.succeed_many(tx, [(again, large), (second, None)]) == {id_, small}
    done = await _get(db, id_)
    assert (done.payload, done.result) == (large, large)
    clock.forward(31 * 86400)
    async with db.transaction() as tx:
        assert await tasks.forget_blobs(tx, 30) == 0
    await partitions.maintain(db, {"tasks_history": 30})
    async with db.transaction() as tx:
        assert await tasks.forget_blobs(tx, 30) == 1
        assert await tasks.get(tx, id_ or 0) is None


async def test_a_claim_that_is_too_large_is_refused(db: Database) -> None:
    """Over the limit of payload or result the message says so, and nothing is written."""
    with pytest.raises(UsageError, match=r"payload has \d+ bytes"):
        await _enqueue(db, replace(WORK, payload={"text": "x" * LARGEST}))
    await _enqueue(db, WORK)
    (task,) = await _claim(db)
    with pytest.raises(UsageError, match=r"result has \d+ bytes"):
        await _succeed(db, task, "x" * LARGEST)
    assert (await _get(db, task.id)).state is TaskState.LEASED


async def test_a_backslash_is_no_nul(db: Database) -> None:
    """Text that reads like an escaped NUL is kept as it is."""
    await _enqueue(db, replace(WORK, payload={"x": "\\u0000"}))
    (task,) = await _claim(db)
    assert task.payload == {"x": "\\u0000"}


class _Lost:
    """Collects what the heartbeat reports."""

    def __init__(self) -> None:
        self.ids: asyncio.Queue[int] = asyncio.Queue()

    def __call__(self, id_: int) -> None:
        self.ids.put_nowait(id_)


async def test_the_heartbeat_keeps_a_lease_past_its_length(db: Database, database_url: str) -> None:
    """While it beats nobody takes the task; a blocked loop within the grace does not matter."""
    await _enqueue(db, WORK)
    lost = _Lost()
    (task,) = await tasks.claim(db, ["health"], limit=1, worker=uuid4(), lease_seconds=0.6)
    heartbeat = Heartbeat(database_url, uuid4(), lease_seconds=0.6, on_lost=lost)
    heartbeat.start(asyncio.get_running_loop())
    try:
        heartbeat.watch(task)
        while heartbeat.beats < 5:
            assert await _claim(db) == []
            await asyncio.sleep(0)
        await _succeed(db, task)
        heartbeat.forget(task.id)
        assert lost.ids.empty()
    finally:
        await asyncio.to_thread(heartbeat.stop)


async def test_the_heartbeat_reports_what_was_cancelled(db: Database, database_url: str) -> None:
    """A cancelled task is reported lost with the next beat; others go on."""
    await _enqueue(db, WORK, WORK)
    lost = _Lost()
    first, second = await _claim(db)
    heartbeat = Heartbeat(database_url, uuid4(), lease_seconds=1.5, on_lost=lost)
    heartbeat.start(asyncio.get_running_loop())
    try:
        heartbeat.watch(first)
        heartbeat.watch(second)
        async with db.transaction() as tx:
            await tasks.cancel(tx, first.id)
        assert await asyncio.wait_for(lost.ids.get(), PATIENCE) == first.id
        assert heartbeat.lost == 1
        assert (await _get(db, second.id)).state is TaskState.LEASED
    finally:
        await asyncio.to_thread(heartbeat.stop)


async def test_a_row_locked_by_its_own_transaction_is_not_lost(db: Database, database_url: str) -> None:
    """A long transaction that fences one task neither loses it nor holds up the renewal of the others."""
    await _enqueue(db, WORK, WORK)
    lost = _Lost()
    first, second = await _claim(db)
    heartbeat = Heartbeat(database_url, uuid4(), lease_seconds=LEASE, on_lost=lost)
    heartbeat.watch(first)
    heartbeat.watch(second)
    async with db.transaction() as tx:
        await tasks.fence(tx, first)
        await asyncio.to_thread(heartbeat.beat)
    assert (heartbeat.beats, heartbeat.lost) == (1, 0)
    before = second.lease_until
    after = (await _get(db, second.id)).lease_until
    assert before is not None
    assert after is not None
    assert after > before
    heartbeat.stop()


async def test_a_hung_loop_and_a_deadline_give_leases_up(db: Database, database_url: str) -> None:
    """No renewal when the loop has not ticked for the grace, nor past a task's deadline."""
    await _enqueue(db, WORK, replace(WORK, deadline_seconds=5))
    time = 0.0
    lost = _Lost()
    heartbeat = Heartbeat(
        database_url, uuid4(), lease_seconds=LEASE, loop_grace_seconds=20, on_lost=lost, clock=lambda: time
    )
    heartbeat._loop = asyncio.get_running_loop()
    slow, short = await _claim(db)
    heartbeat.watch(slow)
    heartbeat.watch(short)
    time = 6.0
    await asyncio.to_thread(heartbeat.beat)
    assert await asyncio.wait_for(lost.ids.get(), PATIENCE) == short.id
    renewed = (await _get(db, slow.id)).lease_until
    time = 6.0 + 20.1
    await asyncio.to_thread(heartbeat.beat)
    assert (await _get(db, slow.id)).lease_until == renewed
    assert await asyncio.wait_for(lost.ids.get(), PATIENCE) == slow.id
    heartbeat.stop()


async def test_without_prepared_statements(database_url: str) -> None:
    """Behind an older pgbouncer nothing is prepared and nothing stays in the session; a task's life is the same."""
    db = await Database.open(database_url, application_name="dataswarm/test", prepare=False, pool_size=1)
    try:
        for _ in range(4):
            await _enqueue(db, WORK, replace(WORK, exclusive=True, key="k"))
            claimed = await _claim(db)
            async with db.transaction() as tx:
                assert len(await tasks.succeed_many(tx, [(task, {"n": 1}) for task in claimed])) == 2
        connection = await db._borrowed()
        cursor = await connection.execute(
            "SELECT (SELECT count(*) FROM pg_prepared_statements) AS prepared, current_user AS who,"
            " current_setting('statement_timeout') AS limit, current_setting('synchronous_commit') AS sync"
        )
        assert await cursor.fetchone() == {"prepared": 0, "who": "dataswarm_worker", "limit": "0", "sync": "on"}
        await db._return(connection)
    finally:
        await db.close()


async def test_a_single_statement_that_fails_leaves_nothing(db: Database) -> None:
    """Its transaction ends with it, whether it was told of or not, and the connection is good for the next."""
    for hints in ((), ("task:health",)):
        with pytest.raises(Exception, match="publish_events"):
            await db.once("publish_events", {**NO_EVENT, "reference_ids": "x"}, hints=hints)
    assert await _claim(db) == []
    assert await _enqueue(db, WORK) != [None]
