"""Tasks a line each, for people: found by state, agent, kind, subject and time; payloads stay where they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from config.assets import Asset
from memory import bus
from memory.connection.database import Transaction
from memory.records import TaskState


@dataclass(frozen=True, slots=True)
class TaskLine:
    """A task without its payload and result.

    Attributes:
        at: when it was claimed, is due, died or finished, by its state; None where it waits for no time.
        reason: why it waits: later, backoff, limit or subject.
    """

    id: int
    agent: str
    kind: str
    subject: Asset
    state: TaskState
    priority: int
    attempt: int
    max_attempts: int
    created_at: datetime
    at: datetime | None
    reason: str
    error: str
    incident_id: int | None
    worker: UUID | None
    lease_until: datetime | None


async def find(
    tx: Transaction,
    *,
    states: Sequence[TaskState],
    agent: str | None = None,
    kind: str | None = None,
    subject: str | None = None,
    since: datetime | None = None,
    limit: int = 50,
) -> list[TaskLine]:
    """Tasks, newest first.

    `subject` is an asset reference or a shell pattern over them; a whole asset covers its parts. `since`: finished or
    dead since then; for what is alive, asked for since then.
    """
    rows = await tx.all(
        "find_tasks",
        states=[str(state) for state in states],
        agent=agent,
        kind=kind,
        subject=bus.regex([subject]) if subject else None,
        since=since,
        limit=limit,
    )
    return [
        TaskLine(**{**row, "subject": Asset.parse(row["subject"]), "state": TaskState(row["state"])}) for row in rows
    ]


async def dead(
    tx: Transaction, *, agent: str | None = None, kind: str | None = None, after: int = 0, limit: int = 500
) -> list[int]:
    """Ids of dead letters, in order; `after` is the last one of the page before."""
    rows = await tx.all("dead_tasks", agent=agent, kind=kind, after=after, limit=limit)
    return [row["id"] for row in rows]


async def names(tx: Transaction) -> list[tuple[str, str]]:
    """The agents and kinds of all that waits, runs or died: what a filter may name."""
    return [(row["agent"], row["kind"]) for row in await tx.all("task_names")]
