"""Tasks: units of work, claimed under leases with a random token, finished once.

`dataswarm.tasks` holds what can run or is running; what cannot run now waits in `tasks_scheduled` (`waiting.py`), dead
letters lie in `tasks_dead`, finished ones in `tasks_history`. Completing is DELETE → INSERT, fenced by the token.
Expired leases heal inside the claim: no leader, no operator.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from config.assets import Asset
from config.errors import ConflictError, LeaseLostError, TransientError, UsageError
from memory import bus
from memory.connection.database import Database, Numbers, Row, Tokens, Transaction
from memory.queue import claiming, kinds
from memory.queue.checks import LONGEST_SECONDS
from memory.queue.heartbeat import Heartbeat
from memory.queue.kinds import Known
from memory.queue.new_tasks import LARGEST, Batch, encode
from memory.queue.waiting import AT_ONCE, LATER, PARKED_POLL_SECONDS, admit, hint_for, promote, promote_in, tell
from memory.records import JSON, NewTask, Payload, Reference, Task, TaskState

__all__ = [
    "AT_ONCE", "PARKED_POLL_SECONDS", "Heartbeat", "cancel", "claim", "depth", "enqueue", "fail", "fence",
    "forget_blobs", "get", "give_back", "hint_for", "list_", "promote", "redrive", "snooze", "succeed", "succeed_many",
]  # fmt: skip

_LONGEST_ERROR = 4000
_TRIES = 3


async def enqueue(tx: Transaction, tasks: Sequence[NewTask]) -> list[int | None]:
    """Enqueue in this transaction, by one statement; the ids in order.

    None stands where a living (or outliving) task has the key.

    Raises:
        UsageError: a field that cannot be, or a kind that nobody declared; nothing was written.
    """
    if not tasks:
        return []
    known = await kinds.known(tx)
    for _ in range(_TRIES):
        batch = await checked(tx, tasks, known)
        known = kinds.remembered(tx.database)
        rows = await tx.rows(statement_of(batch), **batch.columns(known))
        if rows:
            found = settled(batch, rows)
            tx.hints += found.hints
            if found.is_waiting:
                tx.after(admit)
            return found.ids
        known = await kinds.look(tx)  # somebody declared kinds since we read them
    raise TransientError("the kinds of tasks are being changed right now")


async def checked(tx: Transaction, tasks: Sequence[NewTask], known: Known) -> Batch:
    """The tasks, every field checked; kinds are read again before one is called unknown."""
    if any((task.agent, task.kind) not in known.kinds for task in tasks):
        known = await kinds.look(tx)
    return Batch(tasks, known)


def statement_of(batch: Batch) -> str:
    """The statement that enqueues this batch; it gives no row where the kinds have changed meanwhile."""
    return "enqueue_plain" if batch.is_plain else "enqueue_keyed"


class Settled:
    """What became of a batch: the ids in order, whom to tell, and is something waiting for a place?"""

    def __init__(self, ids: list[int | None], hints: list[str], *, is_waiting: bool) -> None:
        self.ids = ids
        self.hints = hints
        self.is_waiting = is_waiting


def settled(batch: Batch, rows: Sequence[Row]) -> Settled:
    """Read the rows of `statement_of`."""
    if batch.is_plain:
        agents = dict.fromkeys(task.agent for task in batch.tasks)
        return Settled([row[0] for row in rows], [hint_for(agent) for agent in agents], is_waiting=False)
    hints: dict[str, None] = {}
    reasons = set()
    for task, (_, id_, reason) in zip(batch.tasks, rows, strict=True):
        if id_ is not None:
            hints[LATER if reason else hint_for(task.agent)] = None
            reasons.add(reason)
    return Settled([row[1] for row in rows], list(hints), is_waiting="limit" in reasons)


async def claim(db: Database, agents: Sequence[str], *, limit: int, worker: UUID, lease_seconds: float) -> list[Task]:
    """Lease up to `limit` ready tasks, each queue (a kind of an agent) getting an equal share before any gets more.

    Heals: a task whose lease expired is claimed like a new one; one that lost its worker more often than it may
    be tried becomes a dead letter. The commit does not wait for the disk: a claim lost in a crash never happened.
    """
    found = await claiming.claim(db, agents, limit=limit, worker=worker, lease_seconds=lease_seconds)
    await bury(db, found.exhausted)
    return found.tasks


async def bury(db: Database, exhausted: Sequence[Task]) -> None:
    """Make dead letters of tasks that lost their workers too often."""
    for task in exhausted:
        async with db.transaction() as tx:
            await fail(tx, task, task.error, retry_in=None)


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
    """Finish a task in this transaction: history, key and subject freed; `task.succeeded` if its kind announces.

    Raises:
        LeaseLostError: the lease expired or was taken over; roll back.
        UsageError: the result is not JSON, or larger than 16 MiB.
    """
    if not await succeed_many(tx, [(task, result)]):
        raise _lost(task)


async def succeed_many(tx: Transaction, finished: Sequence[tuple[Task, JSON]]) -> set[int]:
    """Finish many tasks by one statement; the ids that were still leased. The others are lost, and untouched."""
    texts = [(task, None if result is None else encode(result, "result", LARGEST)) for task, result in finished]
    return await succeed_encoded(tx, texts)


async def succeed_encoded(tx: Transaction, finished: Sequence[tuple[Task, str | None]]) -> set[int]:
    """The same for results that are JSON text already."""
    if not finished:
        return set()
    ((ids, announced, told, waits),) = await tx.rows("finish_tasks", **finishing(finished))
    if announced:
        tx.hint(bus.HINT)
    tell(tx, told or ())
    if waits:
        tx.after(admit)
    _free_places(tx, {(task.agent, task.kind) for task, _ in finished})
    return set(ids or ())


def finishing(finished: Sequence[tuple[Task, str | None]]) -> dict[str, Any]:
    """The parameters of `finish_tasks`."""
    pairs = [f'"{task.id}":{text}' for task, text in finished if text is not None]
    return {
        "ids": Numbers([task.id for task, _ in finished]),
        "tokens": Tokens([task.token for task, _ in finished]),
        "results": "{" + ",".join(pairs) + "}" if pairs else None,
    }


def _free_places(tx: Transaction, queues: set[tuple[str, str]]) -> None:
    if any(kinds.may_be_limited(tx.database, agent, kind) for agent, kind in queues):
        tx.after(admit)


async def _release(tx: Transaction, subjects: dict[str, int]) -> None:
    """Hand exclusive subjects to the next tasks parked on them, or free them."""
    if not subjects:
        return
    holders = [str(id_) for id_ in subjects.values()]
    rows = await tx.rows("release_subjects", subjects=list(subjects), holders=holders)
    tell(tx, [agent for agent, is_limited in rows if not is_limited])
    if any(is_limited for _, is_limited in rows):
        tx.after(admit)


async def _left(tx: Transaction, row: Payload) -> None:
    """A task left the claim's table: what it took is free."""
    await _release(tx, {row["subject"]: row["id"]} if row["exclusive"] else {})
    _free_places(tx, {(row["agent"], row["kind"])})


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
    await _left(tx, row)
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
    if not 0 <= seconds <= LONGEST_SECONDS:
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
    await _left(tx, row)
    tx.hint(LATER)


async def give_back(tx: Transaction, tasks: Sequence[Task]) -> None:
    """Return claimed tasks that were not started; the attempt does not count. Lost ones are left alone."""
    if not tasks:
        return
    rows = await tx.all("give_back_tasks", ids=Numbers(t.id for t in tasks), tokens=Tokens(t.token for t in tasks))
    tell(tx, (row["agent"] for row in rows))


async def cancel(tx: Transaction, task_id: int) -> bool:
    """Cancel a task that is not finished, publish `task.cancelled`. False: there is none.

    A running one loses its token at once: its worker learns so with the next heartbeat and can write nothing more.
    Its exclusive subject and its place stay taken until the lease would have ended, for the worker may still be in
    the middle.
    """
    row = await tx.one("cancel_live", id=task_id)
    if row is None:
        row = await tx.one("cancel_scheduled", id=task_id)
        if row is None:
            return False
        await _left(tx, row)
    elif row["leased_until"] is None:
        await _left(tx, row)
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
    await promote_in(tx)
    return True


async def forget_blobs(tx: Transaction, days: int) -> int:
    """Delete large payloads older than so many days that no task has any more; how many."""
    return await tx.run("forget_blobs", days=days)


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


def _task(row: Payload) -> Task:
    return Task(
        id=row["id"],
        agent=row["agent"],
        kind=row["kind"],
        subject=Asset.parse(row["subject"]),
        payload=json.loads(row["payload"]) if row["payload"] is not None else {},
        priority=row["priority"],
        state=TaskState(row["state"]),
        attempt=row["attempt"],
        max_attempts=row["max_attempts"],
        deadline_seconds=row["deadline_seconds"],
        created_at=row["created_at"],
        key=row["key"],
        worker=row["worker"],
        lease_until=row["lease_until"],
        incident_id=row["incident_id"],
        result=row["result"],
        error=row["error"],
    )
