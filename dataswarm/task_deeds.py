"""What humans do to tasks: try dead letters again, cancel what is not finished. Each task in its own transaction."""

from __future__ import annotations

from collections.abc import Sequence

from config.errors import ConflictError, SwarmError, UsageError
from dataswarm.operations import unknown_task
from dataswarm.views import Json, plain
from memory.connection.database import Database
from memory.queue import task_lines, tasks
from memory.records import Task, TaskState

ALIVE = (TaskState.READY, TaskState.LEASED, TaskState.SCHEDULED, TaskState.PARKED)


async def retry(database: Database, ids: Sequence[int], *, by: str) -> Json:
    """Bring tasks that failed for good back to life, with all their attempts.

    Keys: retried (ids), left (`task_id` with `why`), by.

    Raises:
        UsageError: there is but one, and it is not there or has not failed for good.
        ConflictError: there is but one, and a living task has its key by now.
    """
    wanted = list(dict.fromkeys(ids))
    retried: list[int] = []
    left: list[Json] = []
    for task_id in wanted:
        try:
            await _retry(database, task_id)
        except (UsageError, ConflictError) as error:
            left.append(_left(task_id, error, alone=len(wanted) == 1))
        else:
            retried.append(task_id)
    return {"retried": retried, "left": left, "by": by}


async def retry_all(database: Database, *, agent: str | None, kind: str | None, by: str) -> Json:
    """Bring every dead letter (of an agent, of a kind) back to life; one that dies again meanwhile is left dead.

    Keys as of `retry`; left are those whose key a living task has by now.
    """
    retried: list[int] = []
    left: list[Json] = []
    after = 0
    while True:
        async with database.transaction(durable=False) as tx:
            page = await task_lines.dead(tx, agent=agent, kind=kind, after=after)
        if not page:
            return {"retried": retried, "left": left, "by": by}
        for task_id in page:
            try:
                async with database.transaction() as tx:
                    if await tasks.redrive(tx, task_id):
                        retried.append(task_id)
            except ConflictError as error:
                left.append(_left(task_id, error, alone=False))
        after = page[-1]


async def cancel(database: Database, ids: Sequence[int], *, by: str) -> Json:
    """Cancel tasks that are not finished; a worker in the middle of one can write nothing more.

    Keys: cancelled (each with `task_id`, `was`, and of one that was running `worker` and `lease_until`, until when
    its exclusive subject stays taken), left (`task_id` with `why`), by.

    Raises:
        UsageError: there is but one, and it is not there or finished.
    """
    wanted = list(dict.fromkeys(ids))
    cancelled: list[Json] = []
    left: list[Json] = []
    for task_id in wanted:
        try:
            cancelled.append(await _cancel(database, task_id))
        except UsageError as error:
            left.append(_left(task_id, error, alone=len(wanted) == 1))
    return {"cancelled": cancelled, "left": left, "by": by}


def _left(task_id: int, error: SwarmError, *, alone: bool) -> Json:
    """One that was left as it is, among others; alone it is the caller's mistake."""
    if alone:
        raise error
    return {"task_id": task_id, "why": error.message}


async def _retry(database: Database, task_id: int) -> None:
    async with database.transaction() as tx:
        if await tasks.redrive(tx, task_id):
            return
        found = await tasks.get(tx, task_id)
    if found is None:
        raise await unknown_task(database, task_id, (TaskState.FAILED,))
    raise UsageError(
        f"task {task_id} is {found.state.value}; only one that failed for good is tried again",
        hint="`dataswarm tasks list --state failed` shows them",
    )


async def _cancel(database: Database, task_id: int) -> Json:
    async with database.transaction() as tx:
        before = await tasks.get(tx, task_id)
        if not await tasks.cancel(tx, task_id):
            before = await tasks.get(tx, task_id)
            is_cancelled = False
        else:
            is_cancelled = True
    if before is None:
        raise await unknown_task(database, task_id, ALIVE)
    if not is_cancelled:
        raise UsageError(f"task {task_id} is {before.state.value} already")
    return {"task_id": task_id, "was": before.state.value, **_running(before)}


def _running(before: Task) -> Json:
    is_running = before.state is TaskState.LEASED
    return {
        "worker": plain(before.worker) if is_running else None,
        "lease_until": plain(before.lease_until) if is_running else None,
    }
