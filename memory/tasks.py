"""Tasks: units of work, claimed under leases with a random token, finished once.

`dataswarm.tasks` holds what can run or is running; what cannot run now waits in `tasks_scheduled`, dead letters lie
in `tasks_dead`, finished ones in `tasks_history`. Completing is DELETE → INSERT, fenced by the token. Expired leases
heal inside the claim: no leader, no operator.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

from config.assets import Asset
from config.errors import ConflictError, LeaseLostError, UsageError
from memory import bus
from memory.database import Database, Transaction
from memory.heartbeat import Heartbeat
from memory.new_tasks import columns, encode
from memory.records import JSON, NewTask, Payload, Reference, Task, TaskState

__all__ = [
    "Heartbeat", "cancel", "claim", "depth", "enqueue", "fail", "fence", "get", "give_back", "hint_for", "list_",
    "promote", "redrive", "snooze", "succeed", "succeed_many",
]  # fmt: skip

MARK_SECONDS = 0.5  # a low-water mark may hide a healed or returned task for so long
PROMOTE_AT_ONCE = 500
PARKED_POLL_SECONDS = 1.0
_LONGEST_ERROR = 4000


def hint_for(agent: str) -> str:
    """The hint that says there is a task for an agent."""
    return f"task:{agent}"


async def enqueue(tx: Transaction, tasks: Sequence[NewTask]) -> list[int | None]:
    """Enqueue in this transaction, by one statement; the ids in order.

    None stands where a living (or outliving) task has the key.

    Raises:
        UsageError: a field that cannot be; nothing was written.
    """
    if not tasks:
        return []
    arrays = columns(tasks)
    plain = not any(task.key is not None or task.exclusive or task.delay_seconds > 0 for task in tasks)
    if plain:
        for name in ("keys", "outliving", "exclusive", "delays"):
            del arrays[name]
        rows = await tx.all("enqueue_plain", **arrays)
        _hint(tx, (task.agent for task in tasks))
        return [row["id"] for row in rows]
    ids: list[int | None] = [None] * len(tasks)
    for row in await tx.all("enqueue_keyed", **arrays):
        ids[row["position"] - 1] = row["id"]
        if row["is_ready"]:
            tx.hint(hint_for(tasks[row["position"] - 1].agent))
    return ids


def _hint(tx: Transaction, agents: Iterable[str]) -> None:
    for agent in dict.fromkeys(agents):
        tx.hint(hint_for(agent))


async def claim(db: Database, agents: Sequence[str], *, limit: int, worker: UUID, lease_seconds: float) -> list[Task]:
    """Lease up to `limit` ready tasks, each agent getting an equal share before any gets more.

    Heals: a task whose lease expired is claimed like a new one; one that lost its worker more often than it may
    be tried becomes a dead letter. The commit does not wait for the disk: a claim lost in a crash never happened.
    """
    claimed: list[Task] = []
    remaining = list(dict.fromkeys(agents))
    while remaining and len(claimed) < limit:
        wanted = limit - len(claimed)
        share = -(-wanted // len(remaining))
        marks = [_mark(db, agent) for agent in remaining]
        async with db.transaction(durable=False) as tx:
            rows = await tx.all(
                "claim_tasks",
                agents=remaining,
                marks=marks,
                share=share,
                limit=wanted,
                worker=worker,
                lease_seconds=lease_seconds,
            )
        found = [_task(row, state=TaskState.LEASED) for row in rows]
        claimed += await _without_exhausted(db, found)
        full = []
        for agent, mark in zip(remaining, marks, strict=True):
            mine = [task.id for task in found if task.agent == agent]
            if len(mine) >= share:
                _raise_mark(db, agent, min(mine))
                full.append(agent)
            elif mark:
                db.marks.pop(agent, None)  # short: look below the mark before believing that nothing is left
                full.append(agent)
        remaining = full
    claimed.sort(key=lambda task: (-task.priority, task.id))
    return claimed


def _mark(db: Database, agent: str) -> int:
    """Below it nothing was left at the last claim. A reader that pins old rows makes dead ones pile up there."""
    mark, until = db.marks.get(agent, (0, 0.0))
    if asyncio.get_running_loop().time() < until:
        return mark
    db.marks.pop(agent, None)
    return 0


def _raise_mark(db: Database, agent: str, mark: int) -> None:
    known = db.marks.get(agent)
    until = known[1] if known else asyncio.get_running_loop().time() + MARK_SECONDS
    db.marks[agent] = (mark, until)


async def _without_exhausted(db: Database, tasks: list[Task]) -> list[Task]:
    exhausted = [task for task in tasks if task.attempt > task.max_attempts]
    for task in exhausted:
        async with db.transaction() as tx:
            lost = f"its worker vanished; attempt {task.max_attempts} of {task.max_attempts} was the last"
            await fail(tx, task, task.error or lost, retry_in=None)
    return [task for task in tasks if task.attempt <= task.max_attempts]


async def fence(tx: Transaction, task: Task) -> None:
    """Make sure that this task is still leased under its token, and keep it so until the transaction ends.

    Raises:
        LeaseLostError: it is not; roll back.
    """
    if await tx.one("fence_task", id=task.id, token=task.token) is None:
        raise _lost(task)


def _lost(task: Task) -> LeaseLostError:
    return LeaseLostError(f"the lease of task {task.id} ({task.agent}, {task.kind}) is lost; nothing was written")


async def succeed(tx: Transaction, task: Task, result: JSON = None) -> None:
    """Finish a task in this transaction: history, key and subject freed, `task.succeeded` published.

    Raises:
        LeaseLostError: the lease expired or was taken over; roll back.
        UsageError: the result is not JSON.
    """
    if not await succeed_many(tx, [(task, result)]):
        raise _lost(task)


async def succeed_many(tx: Transaction, finished: Sequence[tuple[Task, JSON]]) -> set[int]:
    """Finish many tasks by one statement; the ids that were still leased. The others are lost, and untouched."""
    rows = await tx.all(
        "finish_tasks",
        ids=[task.id for task, _ in finished],
        tokens=[task.token for task, _ in finished],
        results=encode({task.id: result for task, result in finished if result is not None}, "result"),
    )
    if rows:
        tx.hint(bus.HINT)
    for row in rows:
        await _release(tx, row)
    return {row["id"] for row in rows}


async def _release(tx: Transaction, row: Payload) -> None:
    """Hand an exclusive subject to the next task parked on it, or free it."""
    if row["exclusive"]:
        promoted = await tx.all("release_subject", subject=row["subject"], holder=str(row["id"]))
        _hint(tx, (next_["agent"] for next_ in promoted))


async def fail(tx: Transaction, task: Task, error: str, *, retry_in: float | None) -> None:
    """An attempt failed: again in `retry_in` seconds while attempts are left, else a dead letter and `task.failed`.

    Args:
        tx: the transaction it is part of.
        task: as claimed.
        error: what happened, without values sampled from data; cut at 4,000 characters.
        retry_in: seconds of back-off; None: trying again is useless.

    Raises:
        LeaseLostError: the lease expired or was taken over; roll back.
        UsageError: a negative back-off.
    """
    error = error.replace("\0", "")[:_LONGEST_ERROR]
    if retry_in is not None and task.attempt < task.max_attempts:
        await _later(tx, task, retry_in, "backoff", error=error, uncounted=0)
        return
    row = await tx.one("bury_task", id=task.id, token=task.token, error=error)
    if row is None:
        raise _lost(task)
    await _release(tx, row)
    await bus.publish(tx, "task.failed", task.subject, Reference("task", task.id))


async def snooze(tx: Transaction, task: Task, seconds: float) -> None:
    """Put a task off; the attempt does not count.

    Raises:
        LeaseLostError: the lease expired or was taken over; roll back.
        UsageError: a negative time.
    """
    await _later(tx, task, seconds, "later", error=None, uncounted=1)


async def _later(
    tx: Transaction, task: Task, seconds: float, reason: str, *, error: str | None, uncounted: int
) -> None:
    if not 0 <= seconds < float("inf"):
        raise UsageError(f"a task cannot be put off by {seconds} seconds")
    row = await tx.one(
        "retry_task",
        id=task.id,
        token=task.token,
        seconds=float(seconds),
        reason=reason,
        error=error,
        uncounted=uncounted,
    )
    if row is None:
        raise _lost(task)
    await _release(tx, row)


async def give_back(tx: Transaction, tasks: Sequence[Task]) -> None:
    """Return claimed tasks that were not started; the attempt does not count. Lost ones are left alone."""
    if not tasks:
        return
    rows = await tx.all("give_back_tasks", ids=[task.id for task in tasks], tokens=[task.token for task in tasks])
    _hint(tx, (row["agent"] for row in rows))


async def cancel(tx: Transaction, task_id: int) -> bool:
    """Cancel a task that is not finished, publish `task.cancelled`. False: there is none.

    A running one loses its token at once: its worker learns so with the next heartbeat and can write nothing more.
    Its exclusive subject stays taken until the lease would have ended, for the worker may still be in the middle.
    """
    row = await tx.one("cancel_live", id=task_id)
    if row is None:
        row = await tx.one("cancel_scheduled", id=task_id)
        if row is None:
            return False
    elif row["leased_until"] is None:
        await _release(tx, row)
    elif row["exclusive"]:
        await tx.run("expire_subject", subject=row["subject"], holder=str(task_id), until=row["leased_until"])
    await bus.publish(tx, "task.cancelled", Asset.parse(row["subject"]), Reference("task", task_id))
    return True


async def redrive(tx: Transaction, task_id: int) -> bool:
    """Bring a dead letter back to life with all its attempts. False: there is no such dead letter.

    Raises:
        ConflictError: a living task has its key by now.
    """
    row = await tx.one("revive_task", id=task_id)
    if row is None:
        return False
    if not row["revived"]:
        raise ConflictError(f"a living task has the key of task {task_id}; it stays dead")
    await _promote(tx)
    return True


async def promote(db: Database) -> float | None:
    """Make ready what is due, and what waited for a subject that is free now.

    Returns:
        Seconds until something is due again (0 or less: call again), None where nothing waits.
    """
    async with db.transaction() as tx:
        return await _promote(tx)


async def _promote(tx: Transaction) -> float | None:
    agents = [row["agent"] for row in await tx.all("promote_due", limit=PROMOTE_AT_ONCE)]
    await tx.run("park_due", limit=PROMOTE_AT_ONCE)
    agents += [row["agent"] for row in await tx.all("promote_parked", limit=PROMOTE_AT_ONCE)]
    _hint(tx, agents)
    row = await tx.one("next_due")
    waits: list[float] = [] if row is None or row["seconds"] is None else [row["seconds"]]
    if row is not None and row["parked"]:
        waits.append(PARKED_POLL_SECONDS)
    return min(waits, default=None)


async def get(tx: Transaction, task_id: int) -> Task | None:
    """A task wherever it is; None where it never was, or its history was dropped. Without its token."""
    row = await tx.one("get_task", id=task_id)
    return _task(row) if row else None


async def list_(
    tx: Transaction,
    states: Sequence[TaskState] = tuple(TaskState),
    agent: str | None = None,
    kind: str | None = None,
    limit: int = 100,
) -> list[Task]:
    """Tasks in some states, newest first. Without their tokens."""
    rows = await tx.all("list_tasks", states=[str(state) for state in states], agent=agent, kind=kind, limit=limit)
    return [_task(row) for row in rows]


async def depth(tx: Transaction) -> list[dict[str, Any]]:
    """For metrics, one row per agent, kind and state of what is not finished: count, oldest_seconds."""
    return await tx.all("task_depth")


def _task(row: Payload, state: TaskState | None = None) -> Task:
    return Task(
        id=row["id"],
        agent=row["agent"],
        kind=row["kind"],
        subject=Asset.parse(row["subject"]),
        payload=row["payload"],
        priority=row["priority"],
        state=state or TaskState(row["state"]),
        attempt=row["attempt"],
        max_attempts=row["max_attempts"],
        deadline_seconds=row["deadline_seconds"],
        created_at=row["created_at"],
        key=row["key"],
        token=row.get("token"),
        worker=row["worker"],
        lease_until=row["lease_until"],
        incident_id=row["incident_id"],
        result=row.get("result"),
        error=row["error"],
    )
