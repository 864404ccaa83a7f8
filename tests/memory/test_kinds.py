"""Kinds: declared before they are asked for, bounded over all replicas, fair to one another."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest

from config.assets import Asset
from config.errors import UsageError
from memory.connection.database import Database
from memory.queue import kinds, tasks
from memory.queue.kinds import Kind
from memory.records import NewTask, Task, TaskState
from tests.memory.conftest import Clock
from tests.pace import PATIENCE

ORDERS = Asset("warehouse", "shop", "raw.orders")
OTHER = Asset("warehouse", "shop", "raw.items")
FEW = Kind("health", "few", max_running=3)
LEASE = 15.0


@pytest.fixture
async def limited(db: Database) -> Database:
    """The database with a kind of three places."""
    async with db.transaction() as tx:
        await kinds.declare(tx, [FEW])
    return db


async def enqueue(db: Database, *new: NewTask) -> list[int | None]:
    """In a transaction of its own."""
    async with db.transaction() as tx:
        return await tasks.enqueue(tx, new)


async def claim(db: Database, limit: int = 100, *agents: str) -> list[Task]:
    """As some worker."""
    return await tasks.claim(db, agents or ("health",), limit=limit, worker=uuid4(), lease_seconds=LEASE)


async def states(db: Database, kind: str) -> Counter[TaskState]:
    """How many tasks of a kind are where."""
    async with db.transaction() as tx:
        return Counter(task.state for task in await tasks.list_(tx, kind=kind, limit=1000))


def few(number: int, subject: Asset = ORDERS, **more: Any) -> list[NewTask]:
    """Tasks of the limited kind."""
    return [NewTask("health", "few", subject, **more)] * number


async def test_declaring_again_changes_nothing_or_what_is_said(db: Database) -> None:
    """The same twice is no write; another limit replaces the old one; the last of a batch counts."""
    async with db.transaction() as tx:
        assert await kinds.declare(tx, [FEW, replace(FEW, max_running=9), FEW])
        assert not await kinds.declare(tx, [FEW])
        assert await kinds.declare(tx, [replace(FEW, max_attempts=2)])
        [found] = [kind for kind in await kinds.all(tx) if kind.kind == "few"]
        assert (found.max_running, found.max_attempts) == (3, 2)


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"agent": ""}, "agent"),
        ({"kind": "a\nb"}, "kind"),
        ({"max_running": 0}, "max_running"),
        ({"max_attempts": 0}, "max_attempts"),
        ({"backoff_seconds": -1.0}, "backoff_seconds"),
        ({"longest_backoff_seconds": float("nan")}, "longest_backoff_seconds"),
    ],
)
async def test_a_kind_that_cannot_be_is_refused(db: Database, wrong: dict[str, Any], field: str) -> None:
    """The message names the field, and nothing is written."""
    async with db.transaction() as tx:
        before = await kinds.all(tx)
        with pytest.raises(UsageError, match=field):
            await kinds.declare(tx, [FEW, replace(FEW, **wrong)])
        assert await kinds.all(tx) == before


async def test_an_unknown_kind_is_refused_with_the_nearest_name(db: Database) -> None:
    """Nothing of its batch is written; an unknown agent says so too."""
    for wrong, near in ((NewTask("health", "atc", ORDERS), "'act'"), (NewTask("heatlh", "act", ORDERS), "'health'")):
        with pytest.raises(UsageError, match="task 1: kind") as caught:
            await enqueue(db, NewTask("health", "act", ORDERS), wrong)
        assert near in caught.value.hint
    assert await claim(db) == []


async def test_what_another_process_declares_counts_at_once(db: Database, database_url: str) -> None:
    """A process that remembers the kinds finds out by itself: a new one is known, a new limit holds."""
    await enqueue(db, NewTask("health", "act", ORDERS))
    other = await Database.open(database_url, application_name="dataswarm/other", pool_size=1)
    try:
        async with other.transaction() as tx:
            await kinds.declare(tx, [FEW, Kind("health", "act", max_running=1)])
    finally:
        await other.close()
    await enqueue(db, *few(4), NewTask("health", "act", ORDERS))
    assert await states(db, "few") == {TaskState.READY: 3, TaskState.PARKED: 1}
    assert await states(db, "act") == {TaskState.READY: 1, TaskState.PARKED: 1}


async def test_a_kind_has_so_many_places_and_no_more(limited: Database) -> None:
    """What exceeds them is parked, and admitted as others end, by priority: whichever way they end."""
    ids = await enqueue(limited, *few(6), *few(1, priority=9))
    assert await states(limited, "few") == {TaskState.READY: 3, TaskState.PARKED: 4}
    first = await claim(limited)
    assert [task.id for task in first] == [ids[6], ids[0], ids[1]]
    async with limited.transaction() as tx:
        await tasks.succeed(tx, first[0])
    async with limited.transaction() as tx:
        await tasks.fail(tx, first[1], "x", retry_in=1000)
    async with limited.transaction() as tx:
        await tasks.fail(tx, first[2], "x", retry_in=None)
    second = await claim(limited)
    assert [task.id for task in second] == ids[2:5]
    async with limited.transaction() as tx:
        await tasks.snooze(tx, second[0], 1000)
    assert [task.id for task in await claim(limited)] == ids[5:6]


async def test_what_comes_due_waits_for_a_place_too(limited: Database, clock: Clock) -> None:
    """Later, backed off and redriven tasks are admitted like new ones."""
    await enqueue(limited, *few(5, delay_seconds=10))
    clock.forward(10)
    await tasks.promote(limited)
    assert await states(limited, "few") == {TaskState.READY: 3, TaskState.PARKED: 2}
    for _ in range(3):
        for task in await claim(limited):
            async with limited.transaction() as tx:
                await tasks.fail(tx, task, "x", retry_in=1)
        clock.forward(1)
        await tasks.promote(limited)
        assert (await states(limited, "few"))[TaskState.READY] == 3


async def test_an_expired_lease_keeps_its_place(limited: Database, clock: Clock) -> None:
    """The task of a dead worker is claimed again in the same place: never four at once."""
    ids = await enqueue(limited, *few(5))
    assert [task.id for task in await claim(limited)] == ids[:3]
    clock.forward(LEASE)
    await tasks.promote(limited)
    assert [task.id for task in await claim(limited)] == ids[:3]


async def test_a_cancelled_running_task_keeps_its_place_until_its_lease_ends(limited: Database, clock: Clock) -> None:
    """Its worker may be in the middle; a ready or parked one frees its place at once."""
    ids = await enqueue(limited, *few(6))
    running = (await claim(limited, 1))[0]
    for id_ in (running.id, ids[5]):
        async with limited.transaction() as tx:
            assert await tasks.cancel(tx, id_ or 0)
    assert (await states(limited, "few"))[TaskState.READY] == 2
    async with limited.transaction() as tx:
        assert await tasks.cancel(tx, ids[1] or 0)
    assert (await states(limited, "few"))[TaskState.READY] == 2
    clock.forward(LEASE)
    await tasks.promote(limited)
    assert await states(limited, "few") == {TaskState.READY: 3, TaskState.CANCELLED: 3}


async def test_subject_and_place_together(limited: Database) -> None:
    """A task that needs both takes the subject first; two on one subject never take two places."""
    other = ORDERS.column("id")
    ids = await enqueue(limited, *few(3, exclusive=True), *[replace(few(1)[0], subject=other, exclusive=True)] * 2)
    assert [task.id for task in await claim(limited)] == [ids[0], ids[3]]
    await enqueue(limited, *few(1), *few(1))
    running = await claim(limited)
    assert len(running) == 1
    async with limited.transaction() as tx:
        await tasks.give_back(tx, running)
    assert await states(limited, "few") == {TaskState.READY: 1, TaskState.LEASED: 2, TaskState.PARKED: 4}


async def test_a_place_goes_with_the_subject_to_the_next_of_its_kind(limited: Database) -> None:
    """Who was parked on the subject is ready in the same transaction, and still no more are there than places."""
    await enqueue(limited, *few(4, exclusive=True), *few(2, subject=OTHER))
    assert await states(limited, "few") == {TaskState.READY: 3, TaskState.PARKED: 3}
    exclusive = [task for task in await claim(limited) if task.subject == ORDERS]
    assert len(exclusive) == 1
    async with limited.transaction() as tx:
        await tasks.succeed(tx, exclusive[0])
        ready = await tasks.list_(tx, [TaskState.READY], kind="few")
        assert [task.subject for task in ready] == [ORDERS]
    found = await states(limited, "few")
    assert (found[TaskState.LEASED], found[TaskState.READY], found[TaskState.PARKED]) == (2, 1, 2)


async def test_a_place_is_not_handed_on_past_those_who_wait_for_one(limited: Database) -> None:
    """Others of the kind wait for a place already: the next on the subject takes its turn among them."""
    first = await enqueue(limited, *few(1, exclusive=True), *few(2, subject=OTHER))
    waiting = await enqueue(limited, *few(1, subject=OTHER, priority=5), *few(1, exclusive=True))
    held = next(task for task in await claim(limited) if task.id == first[0])
    async with limited.transaction() as tx:
        await tasks.succeed(tx, held)
    assert [task.id for task in await claim(limited)] == [waiting[0]]


async def test_a_limit_that_is_lowered_is_reached_by_and_by(limited: Database) -> None:
    """Places above it are not handed on with the subject."""
    subjects = [Asset("warehouse", "shop", f"raw.t{n}") for n in range(3)]
    for _ in range(3):
        await enqueue(limited, *(few(1, exclusive=True, subject=subject)[0] for subject in subjects))
    running = await claim(limited)
    assert len(running) == 3
    async with limited.transaction() as tx:
        await kinds.declare(tx, [replace(FEW, max_running=1)])
    for task in running:
        async with limited.transaction() as tx:
            await tasks.succeed(tx, task)
    assert len(await claim(limited)) == 1


async def test_rivals_never_admit_too_many(limited: Database, database_url: str) -> None:
    """Several enqueue, finish and promote at once, over two pools: never more than three, and all is done."""
    other = await Database.open(database_url, application_name="dataswarm/other", pool_size=6)
    done: set[int] = set()
    most = 0

    async def enqueue_some(db: Database) -> None:
        for _ in range(6):
            await enqueue(db, *few(3))

    async def work(db: Database) -> None:
        nonlocal most
        while len(done) < 36:
            mine = await claim(db, 2)
            async with db.transaction() as tx:
                living = await tasks.list_(tx, [TaskState.READY, TaskState.LEASED], kind="few")
            most = max(most, len(living))
            async with db.transaction() as tx:
                done.update(await tasks.succeed_many(tx, [(task, None) for task in mine]))
            await tasks.promote(db)

    try:
        dbs = (limited, other)
        await asyncio.wait_for(
            asyncio.gather(*(enqueue_some(db) for db in dbs), *(work(dbs[n % 2]) for n in range(4))), PATIENCE
        )
    finally:
        await other.close()
    assert most == 3


async def test_a_limit_that_is_lifted_lets_all_go(limited: Database) -> None:
    """Without a limit what is parked is admitted by the next promotion."""
    await enqueue(limited, *few(9))
    async with limited.transaction() as tx:
        await kinds.declare(tx, [replace(FEW, max_running=None)])
    await tasks.promote(limited)
    assert len(await claim(limited)) == 9


async def test_a_backlog_of_one_kind_does_not_delay_another(db: Database) -> None:
    """With thousands of one kind waiting, three of another come with the next claim, and priority holds within each."""
    backlog = [NewTask("health", "act", ORDERS)] * 3000
    await enqueue(db, *backlog)
    for _ in range(3):
        assert len(await claim(db, 50)) == 50
    quiet = await enqueue(db, *[NewTask("health", "sense", ORDERS, priority=n) for n in range(3)])
    claimed = await claim(db, 50)
    assert [task.id for task in claimed if task.kind == "sense"] == quiet[::-1]
    assert len(claimed) == 50


async def test_kinds_with_backlogs_share_evenly(db: Database) -> None:
    """Two backlogs and a quiet queue: equal shares, and nothing is left for want of asking."""
    new = [NewTask("health", kind, ORDERS) for kind in ("act", "sense") for _ in range(300)]
    await enqueue(db, *new, NewTask("drift", "act", ORDERS))
    count: Counter[tuple[str, str]] = Counter()
    for _ in range(4):
        for task in await claim(db, 60, "health", "drift"):
            count[task.agent, task.kind] += 1
    assert count["drift", "act"] == 1
    assert sum(count.values()) == 240
    assert abs(count["health", "act"] - count["health", "sense"]) <= 30


def test_back_off_doubles_up_to_its_longest() -> None:
    """With jitter above half, whatever the attempt."""
    kind = Kind("a", "b", backoff_seconds=2, longest_backoff_seconds=60)
    for attempt, most in ((1, 2), (2, 4), (5, 32), (6, 60), (10_000, 60)):
        assert most / 2 <= kind.wait(attempt) <= most
