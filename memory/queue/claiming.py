"""Claiming: a fair share for each queue of each agent, and no cost that grows with what waits or was finished.

A queue is a kind of an agent. Queues that had little the last time come first and get an equal share; those with a
backlog share the rest. So a new task of a quiet queue waits for one claim, whatever the backlog of another is.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from secrets import token_hex
from uuid import UUID

from config.assets import Asset
from memory.connection.database import Database, Row
from memory.queue import kinds
from memory.records import Task, TaskState

MARK_SECONDS = 0.8  # a low-water mark may hide a healed or returned task for so long
_PLACE = "queues"
_LEASED = TaskState.LEASED  # looked up once: an enum's member costs more than the rest of a row
_LOST = "its worker vanished; attempt {0} of {0} was the last"
_decode = json.JSONDecoder().raw_decode  # neither jsonb nor our own encoder puts white space around it
_assets: dict[str, Asset] = {}


@dataclass(slots=True)
class _Queue:
    """What this process learned of one queue at its last claims.

    `mark`: below it nothing was left to claim. Where a reader pins old rows, dead ones pile up there.
    """

    agent: str
    kind: str
    has_backlog: bool = False
    mark: int = 0
    until: float = 0.0
    priority: int = 0


@dataclass(frozen=True, slots=True)
class Claimed:
    """What a claim brought: tasks to run, those tried too often, and how long each was ready, in server's seconds."""

    tasks: list[Task]
    exhausted: list[Task]
    waits: list[float]


async def claim(db: Database, agents: Sequence[str], *, limit: int, worker: UUID, lease_seconds: float) -> Claimed:
    """Lease up to `limit` ready tasks. A lease that expired is claimed like a new task.

    Args:
        db: the swarm's database.
        agents: whose tasks.
        limit: the most.
        worker: who asks.
        lease_seconds: how long they are ours without a renewal.
    """
    wanted = list(dict.fromkeys(agents))
    found = Claimed([], [], [])
    left = limit
    while wanted and left > 0:
        queues = _queues(db, wanted)
        rows = await _ask(db, wanted, queues, left, worker, lease_seconds)
        for row in rows:
            task = _task(row, worker)
            (found.tasks if task.attempt <= task.max_attempts else found.exhausted).append(task)
        found.waits.extend([row[15] for row in rows])
        left -= len(rows)
        if not _learn(db, queues, rows, left):
            break
    if any(task.priority for task in found.tasks):
        found.tasks.sort(key=lambda task: (-task.priority, task.id))
    return found


def _queues(db: Database, agents: Sequence[str]) -> list[_Queue]:
    """The queues of these agents, quiet ones first, those with a backlog each in its turn."""
    place: dict[tuple[str, str], _Queue] = db.remembered.setdefault(_PLACE, {})
    for agent, kind in kinds.remembered(db).kinds:
        if (agent, kind) not in place:
            place[agent, kind] = _Queue(agent, kind)
    mine = [queue for queue in place.values() if queue.agent in agents]
    quiet = [queue for queue in mine if not queue.has_backlog]
    busy = [queue for queue in mine if queue.has_backlog]
    if len(busy) > 1:  # whose turn it was goes to the end
        first = busy[0]
        del place[first.agent, first.kind]
        place[first.agent, first.kind] = first
    return [*quiet, *busy]


async def _ask(
    db: Database, agents: Sequence[str], queues: list[_Queue], limit: int, worker: UUID, lease_seconds: float
) -> list[Row]:
    now = asyncio.get_running_loop().time()
    busy = sum(queue.has_backlog for queue in queues)
    equal = -(-limit // max(1, len(queues)))
    for queue in queues:
        if queue.mark and now >= queue.until:
            queue.mark = 0
    return await db.once(
        "claim_tasks",
        {
            "agents": list(agents),
            "queue_agents": [queue.agent for queue in queues],
            "queue_kinds": [queue.kind for queue in queues],
            "marks": [queue.mark for queue in queues],
            "shares": [-(-limit // busy) if queue.has_backlog else equal for queue in queues],
            "share": equal,
            "limit": limit,
            "worker": worker,
            "lease_seconds": lease_seconds,
            "nonce": token_hex(16),
        },
        durable=False,
    )


def _learn(db: Database, queues: list[_Queue], rows: list[Row], left: int) -> bool:
    """Remember which queues had more than their share. True: it is worth asking again at once."""
    now = asyncio.get_running_loop().time()
    place: dict[tuple[str, str], _Queue] = db.remembered[_PLACE]
    got: dict[tuple[str, str], list[Row]] = {}
    last: list[Row] = []
    for row in rows:
        if not last or row[2] != last[0][2] or row[1] != last[0][1]:
            last = got.setdefault((row[1], row[2]), [])
        last.append(row)
    for agent, kind in got:
        if (agent, kind) not in place:  # somebody declared it since we looked
            place[agent, kind] = _Queue(agent, kind, has_backlog=True)
    again = False
    busy = sum(queue.has_backlog for queue in queues)
    asked = left + len(rows)
    for queue in queues:
        mine = got.get((queue.agent, queue.kind), [])
        share = -(-asked // busy) if queue.has_backlog else -(-asked // max(1, len(queues)))
        if len(mine) >= share:
            again = again or left > 0
            _raise_mark(queue, mine, now)
            queue.has_backlog = True
        elif left > 0:  # short, and not because the claim was full
            again = again or queue.mark > 0  # look below the mark before believing that nothing is left
            queue.mark = 0
            queue.has_backlog = False
    return again


def _raise_mark(queue: _Queue, rows: list[Row], now: float) -> None:
    priorities = {row[5] for row in rows}
    if len(priorities) > 1 or (queue.mark and queue.priority not in priorities):
        queue.mark = 0  # lower priorities may lie at lower ids
        return
    if not queue.mark:
        queue.until = now + MARK_SECONDS
    queue.mark = min(row[0] for row in rows)
    queue.priority = next(iter(priorities))


def asset_of(reference: str) -> Asset:
    """The asset of a stored reference, parsed once."""
    found = _assets.get(reference)
    if found is None:
        if len(_assets) >= 8192:  # noqa: PLR2004 - as many as `new_tasks` remembers
            _assets.clear()
        found = _assets[reference] = Asset.parse(reference)
    return found


def _task(row: Row, worker: UUID) -> Task:
    (
        id_, agent, kind, subject, payload, priority, attempt, max_attempts, deadline, created_at, key, token, until,
        incident_id, error, _,
    ) = row  # fmt: skip
    if attempt > max_attempts and not error:
        error = _LOST.format(max_attempts)
    return Task(
        id_,
        agent,
        kind,
        _assets.get(subject) or asset_of(subject),
        {} if payload == "{}" else _decode(payload)[0],
        priority,
        _LEASED,
        attempt,
        max_attempts,
        deadline,
        created_at,
        key,
        token,
        worker,
        until,
        incident_id,
        None,
        error,
    )
