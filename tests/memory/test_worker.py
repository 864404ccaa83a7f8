"""A worker: quick, fair, and losing nothing whatever becomes of its handlers or of itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from time import monotonic
from typing import Any
from uuid import uuid4

import pytest

from config.assets import Asset
from config.errors import PermanentError, TransientError
from memory.bus import Wake
from memory.bus.listener import Listener
from memory.connection.database import Database
from memory.queue import kinds, tasks
from memory.queue.heartbeat import EXIT_HUNG, Heartbeat
from memory.queue.kinds import Kind
from memory.queue.worker import FINISHED, Failed, Perform, Worker
from memory.records import NewTask, Task, TaskState
from tests.pace import PATIENCE, quick, until

ORDERS = Asset("warehouse", "shop", "raw.orders")
WORK = NewTask("health", "act", ORDERS)


async def enqueue(db: Database, *new: NewTask) -> list[int]:
    """In a transaction of its own."""
    async with db.transaction() as tx:
        return [id_ for id_ in await tasks.enqueue(tx, new) if id_ is not None]


async def get(db: Database, id_: int) -> Task:
    """A task wherever it is."""
    async with db.transaction() as tx:
        found = await tasks.get(tx, id_)
    assert found is not None
    return found


@asynccontextmanager
async def working(
    db: Database, perform: Perform, *, beating: bool = True, drain: float = 5.0, **more: Any
) -> AsyncIterator[Worker]:
    """A worker of the agent `health` with a listener and a heartbeat; drained at the end."""
    listener = Listener(db.listen_url)
    await listener.start()
    me = uuid4()
    lease = more.setdefault("lease_seconds", 15.0)
    heartbeat = Heartbeat(db.url, me, lease_seconds=lease, on_lost=lambda id_: worker.lose(id_))  # noqa: PLW0108
    heartbeat.start(asyncio.get_running_loop())
    worker = Worker(
        db,
        {"health": perform},
        worker=me,
        wake=listener.subscribe("task"),
        heartbeat=heartbeat if beating else None,
        **more,
    )
    stop = asyncio.Event()
    job = asyncio.create_task(worker.run(stop, drain))
    try:
        yield worker
    finally:
        stop.set()
        await job
        await asyncio.to_thread(heartbeat.stop)
        await listener.close()


async def test_all_is_done_once_and_results_are_kept(db: Database) -> None:
    """A thousand tasks, plain handlers and waiting ones mixed: each once, its result in the history."""
    seen: list[int] = []

    async def perform(task: Task) -> Any:
        if task.payload["n"] % 7 == 0:
            await asyncio.sleep(0)
        seen.append(task.id)
        return {"twice": task.payload["n"] * 2}

    async with working(db, perform) as worker:
        ids = await enqueue(db, *[NewTask("health", "act", ORDERS, {"n": n}) for n in range(1000)])
        await until(lambda: worker.finished == 1000)
    assert sorted(seen) == ids
    assert (await get(db, ids[21])).result == {"twice": 42}
    assert (worker.started, worker.finished, worker.lost, worker.retried) == (1000, 1000, 0, 0)
    assert worker.claim_seconds.number > 0
    assert worker.pickup_seconds.number == 1000


async def test_a_hint_is_enough(db: Database) -> None:
    """With the poll far away a task is begun within a quarter of a second, a delayed one when it is due."""
    begun: asyncio.Queue[float] = asyncio.Queue()

    async def perform(task: Task) -> None:
        begun.put_nowait(monotonic())

    async with working(db, perform, poll_seconds=600):
        for delay in (0.0, 0.0, 0.3):
            start = monotonic()
            await enqueue(db, NewTask("health", "act", ORDERS, delay_seconds=delay))
            took = await asyncio.wait_for(begun.get(), PATIENCE) - start
            assert delay <= took < delay + quick(0.4)


async def test_failures_back_off_by_kind_and_die(db: Database) -> None:
    """What may pass is tried as often as its kind says; what cannot is buried at once; both keep what happened."""
    async with db.transaction() as tx:
        await kinds.declare(tx, [Kind("health", "act", max_attempts=3, backoff_seconds=0.01)])

    async def perform(task: Task) -> None:
        if task.payload.get("hopeless"):
            raise PermanentError("no use")
        if task.payload.get("bug"):
            raise ZeroDivisionError("secret of a row")
        raise TransientError("not now")

    async with working(db, perform) as worker:
        ids = await enqueue(db, WORK, *[NewTask("health", "act", ORDERS, {word: True}) for word in ("hopeless", "bug")])
        await until(lambda: worker.buried == 3)
    transient, hopeless, bug = [await get(db, id_) for id_ in ids]
    assert {task.state for task in (transient, hopeless, bug)} == {TaskState.FAILED}
    assert (transient.attempt, hopeless.attempt, bug.attempt) == (3, 1, 3)
    assert "not now" in transient.error
    assert "ZeroDivisionError" in bug.error
    assert "secret" not in bug.error
    assert worker.retried == 4


async def test_the_callback_hears_first_and_may_end_it_itself(db: Database) -> None:
    """One that returns FINISHED wrote the ending; else the worker does."""
    heard: list[str] = []

    async def perform(task: Task) -> None:
        raise PermanentError("no use")

    def told(*, itself: bool) -> Failed:
        async def failed(task: Task, error: Exception) -> Any:
            heard.append(str(error))
            if not itself:
                return None
            async with db.transaction() as tx:
                await tasks.fail(tx, task, "my words", retry_in=None)
            return FINISHED

        return failed

    for itself, words in ((True, "my words"), (False, "no use")):
        async with working(db, perform, failed=told(itself=itself)) as worker:
            (id_,) = await enqueue(db, WORK)
            await until(partial(_is_through, worker))
        assert words in (await get(db, id_)).error
    assert len(heard) == 2


def _is_through(worker: Worker) -> bool:
    return worker.started == 1 and not worker.running


async def test_one_that_ended_its_task_itself(db: Database) -> None:
    """FINISHED: its own transaction finished it, and the worker only counts."""

    async def perform(task: Task) -> Any:
        async with db.transaction() as tx:
            await tasks.succeed(tx, task, {"mine": True})
        return FINISHED

    async with working(db, perform) as worker:
        (id_,) = await enqueue(db, WORK)
        await until(lambda: worker.finished == 1)
    assert (await get(db, id_)).result == {"mine": True}


async def test_a_result_that_cannot_be_kept_fails_its_task_alone(db: Database) -> None:
    """Not JSON: a dead letter that names the field; the others are finished."""

    async def perform(task: Task) -> Any:
        return object() if task.payload else None

    async with working(db, perform) as worker:
        ids = await enqueue(db, WORK, NewTask("health", "act", ORDERS, {"bad": 1}), WORK)
        await until(lambda: worker.finished == 2 and worker.buried == 1)
    assert "result" in (await get(db, ids[1])).error


async def test_a_deadline_ends_an_attempt(db: Database) -> None:
    """The handler is cancelled, the attempt counts, and the same runner goes on."""
    cancelled = asyncio.Event()

    async def perform(task: Task) -> None:
        if task.deadline_seconds < 1:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                cancelled.set()
                raise

    async with working(db, perform, concurrency=1) as worker:
        (slow,) = await enqueue(db, NewTask("health", "act", ORDERS, deadline_seconds=0.1, max_attempts=1))
        await asyncio.wait_for(cancelled.wait(), PATIENCE)
        await enqueue(db, WORK)
        await until(lambda: worker.finished == 1 and worker.buried == 1)
    assert "deadline" in (await get(db, slow)).error


async def test_a_lost_task_is_stopped_and_writes_nothing(db: Database) -> None:
    """Cancelled from outside while it runs: its handler is stopped at the next beat, the runner goes on."""
    begun, stopped = asyncio.Event(), asyncio.Event()

    async def perform(task: Task) -> None:
        if task.payload:
            begun.set()
            try:
                await asyncio.Event().wait()
            finally:
                stopped.set()

    async with working(db, perform, concurrency=1, lease_seconds=1.5) as worker:
        (id_,) = await enqueue(db, NewTask("health", "act", ORDERS, {"long": True}))
        await begun.wait()
        async with db.transaction() as tx:
            assert await tasks.cancel(tx, id_)
        await asyncio.wait_for(stopped.wait(), PATIENCE)
        await enqueue(db, WORK)
        await until(lambda: worker.finished == 1)
    assert worker.lost == 1
    assert (await get(db, id_)).state is TaskState.CANCELLED


async def test_stopping_gives_back_what_was_not_begun_and_what_does_not_end(db: Database) -> None:
    """Others have it at once, its attempt uncounted; what ends in time is finished."""
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def perform(task: Task) -> None:
        begun.set()
        if task.payload:
            await asyncio.Event().wait()
        await go_on.wait()

    async with working(db, perform, concurrency=2, drain=0.5) as worker:
        ids = await enqueue(db, WORK, NewTask("health", "act", ORDERS, {"stuck": True}), *[WORK] * 5)
        await until(lambda: len(worker.running) == 2)
        go_on.set()
        await until(lambda: worker.finished == 6)
        more = await enqueue(db, *[NewTask("health", "act", ORDERS, {"stuck": True})] * 3)
        await until(lambda: len(worker.running) == 2)
    again = await tasks.claim(db, ["health"], limit=10, worker=uuid4(), lease_seconds=15)
    assert sorted(task.id for task in again) == [ids[1], *more]
    assert {task.attempt for task in again} == {1}


async def test_slow_handlers_do_not_hoard(db: Database) -> None:
    """Claimed ahead or not, what is not begun within a second is there for somebody with free hands."""
    go_on = asyncio.Event()

    async def slow(task: Task) -> None:
        if task.payload:
            await go_on.wait()

    async with working(db, slow, concurrency=2, ahead=100) as busy:
        await enqueue(db, *[WORK] * 500)  # quick ones first: it learns to claim far ahead
        await until(lambda: busy.finished == 500)
        await enqueue(db, *[NewTask("health", "act", ORDERS, {"slow": True})] * 60)
        await until(lambda: len(busy.running) == 2)
        taken: set[int] = set()

        async def took_the_others() -> bool:
            found = await tasks.claim(db, ["health"], limit=100, worker=uuid4(), lease_seconds=600)
            taken.update(task.id for task in found)
            return len(taken) >= 58

        await until(took_the_others)
        assert len(taken) == 58
        go_on.set()


async def test_leases_of_a_dead_worker_are_taken_over_without_a_hint(db: Database) -> None:
    """An idle worker looks for expired leases by itself, long before its poll."""
    (id_,) = await enqueue(db, WORK)
    assert await tasks.claim(db, ["health"], limit=1, worker=uuid4(), lease_seconds=0.5)
    start = monotonic()

    async def perform(task: Task) -> None:
        assert task.attempt == 2

    async with working(db, perform, poll_seconds=600) as worker:
        await until(lambda: worker.finished == 1)
        assert monotonic() - start < 0.5 + quick(1.0)
    assert (await get(db, id_)).state is TaskState.SUCCEEDED


async def test_two_workers_share_a_backlog_and_do_each_task_once(db: Database) -> None:
    """Both get some, none runs twice, places and subjects hold under both."""
    async with db.transaction() as tx:
        await kinds.declare(tx, [Kind("health", "sense", max_running=3)])
    done: list[int] = []
    now: dict[str, int] = {"sense": 0, "subject": 0}
    most = {"sense": 0, "subject": 0}

    async def perform(task: Task) -> None:
        what = "sense" if task.kind == "sense" else "subject" if task.payload else ""
        if what:
            now[what] += 1
            most[what] = max(most[what], now[what])
            await asyncio.sleep(0.001)
            now[what] -= 1
        done.append(task.id)

    new = [WORK] * 300 + [NewTask("health", "sense", ORDERS)] * 40
    new += [NewTask("health", "act", ORDERS, {"alone": 1}, exclusive=True)] * 15
    async with working(db, perform, poll_seconds=0.2) as one, working(db, perform, poll_seconds=0.2) as two:
        ids = await enqueue(db, *new)
        await until(lambda: one.finished + two.finished == len(ids))
    assert sorted(done) == ids
    assert most == {"sense": 3, "subject": 1}


async def test_without_a_heartbeat_a_worker_still_finishes(db: Database) -> None:
    """Handlers within the lease need none."""

    async def perform(task: Task) -> None:
        await asyncio.sleep(0)

    async with working(db, perform, beating=False) as worker:
        await enqueue(db, *[WORK] * 50)
        await until(lambda: worker.finished == 50)


async def test_a_bug_in_the_worker_comes_out(db: Database) -> None:
    """What is neither a task's nor the database's fault ends the run, with what ran handed back."""

    def broken() -> Any:
        raise ZeroDivisionError

    worker = Worker(db, broken, worker=uuid4(), wake=Wake("task"))
    with pytest.raises(ZeroDivisionError):
        await asyncio.wait_for(worker.run(asyncio.Event(), 1), PATIENCE)


async def test_a_hung_process_is_told_to_end_once(db: Database, database_url: str) -> None:
    """When the loop has not ticked for the grace, leases are given up; a beat later the process has itself ended.

    Not at once: a process that was only stopped and goes on finds the same silence.
    """
    await enqueue(db, WORK)
    (task,) = await tasks.claim(db, ["health"], limit=1, worker=uuid4(), lease_seconds=15)
    time = 0.0
    ended: list[int] = []
    heartbeat = Heartbeat(
        database_url,
        uuid4(),
        lease_seconds=15,
        loop_grace_seconds=20,
        on_lost=lambda _: None,
        on_hung=lambda: ended.append(EXIT_HUNG),
        clock=lambda: time,
    )
    heartbeat.watch(task)
    for time in (10.0, 20.1, 25.0, 30.0):
        await asyncio.to_thread(heartbeat.beat)
        assert len(ended) == (time > 21)
    heartbeat.stop()
