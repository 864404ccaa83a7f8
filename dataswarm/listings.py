"""What is read beside the incidents: tasks, events, planned changes, what memory holds. JSON values, as in `views`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from config.assets import Asset
from config.draft import nearest
from dataswarm.views import MOST, Json, plain
from memory import bus
from memory.beliefs import knowledge
from memory.board import controls, ledger
from memory.connection.database import Database
from memory.finding import recall
from memory.members import presence
from memory.queue import effects, task_lines, tasks
from memory.records import Event, Task, TaskState


async def planned_changes(database: Database) -> list[Json]:
    """Changes announced for now."""
    async with database.transaction(durable=False) as tx:
        return [plain(change) for change in await controls.planned(tx)]


async def kill_switch(database: Database) -> Json:
    """`kill_switch`: why nothing may be written outside, None while it is off."""
    async with database.transaction(durable=False) as tx:
        return {"kill_switch": await controls.kill_switch(tx)}


async def task_list(
    database: Database,
    *,
    states: Sequence[TaskState],
    agent: str | None = None,
    kind: str | None = None,
    subject: str | None = None,
    since: datetime | None = None,
    limit: int,
) -> list[Json]:
    """Tasks in some states, newest first, without payloads."""
    async with database.transaction(durable=False) as tx:
        found = await task_lines.find(
            tx, states=states, agent=agent, kind=kind, subject=subject, since=since, limit=limit
        )
        return [plain(line) for line in found]


async def nothing_found(database: Database, agent: str | None, kind: str | None) -> str:
    """What to say where a filter found no task: the name that was probably meant, or what there is."""
    async with database.transaction(durable=False) as tx:
        known = await task_lines.names(tx)
        agents = {a.agent for a in await presence.all(tx)} | {name for name, _ in known}
    if agent is not None and agent not in agents:
        meant = nearest(agent, tuple(agents))
        return f"no agent here is called {agent!r}" + (f"; did you mean {meant!r}?" if meant else "")
    kinds = sorted({name for _, name in known})
    if kind is not None and kind not in kinds:
        return f"none of the kind {kind!r}; waiting, running or dead are {', '.join(kinds)}" if kinds else ""
    return ""


async def task(database: Database, id: int) -> Json | None:  # noqa: A002 - the column's name
    """A task wherever it is, with its effects; None where it never was, or its history was dropped."""
    async with database.transaction(durable=False) as tx:
        found = await tasks.get(tx, id)
        if found is None:
            return None
        return {**_task(found), "effects": [plain(effect) for effect in await effects.of_task(tx, id)]}


def _task(found: Task) -> Json:
    shown: Json = plain(found)
    del shown["token"]  # whoever has it could write in the worker's name
    return shown


async def events(
    database: Database,
    *,
    topics: Sequence[str],
    agent: str | None = None,
    since: datetime | None = None,
    limit: int,
) -> list[Json]:
    """The newest events, oldest of them first; with `agent`, only what may reach that agent."""
    async with database.transaction(durable=False) as tx:
        return [event(e) for e in await bus.tail(tx, topics=topics, agent=agent, since=since, limit=limit)]


def event(event: Event) -> Json:
    """An event, a pointer to its row."""
    return {
        "id": event.id,
        "at": event.at.isoformat(),
        "topic": event.topic,
        "subject": str(event.subject),
        "reference": str(event.reference),
        "agent": event.agent,
    }


async def search(
    database: Database, query: str, *, nouns: Sequence[str] | None, subject: str | None, limit: int
) -> Json:
    """What memory holds that fits a question: `found`, best first."""
    async with database.transaction(durable=False) as tx:
        found = await recall.recall(tx, query, nouns=nouns, subject=subject, limit=limit)
        return {"query": query, "found": [plain(item) for item in found]}


async def fact(database: Database, subject: Asset, predicate: str) -> Json | None:
    """What is held to be true now, with its history; None where nothing is."""
    async with database.transaction(durable=False) as tx:
        held = await knowledge.fact(tx, subject, predicate)
        if held is None:
            return None
        return {**plain(held), "history": [plain(f) for f in await knowledge.history(tx, subject, predicate)]}


async def predicates(database: Database, subject: Asset) -> list[str]:
    """What is held about an asset and its parts: `predicate of subject`."""
    async with database.transaction(durable=False) as tx:
        return [f"{f.predicate} of {f.subject}" for f in await knowledge.facts(tx, subject=subject, limit=MOST)]


async def learnings(
    database: Database, *, playbook: str | None, cause: str | None, signal: str | None, limit: int
) -> list[Json]:
    """What worked and what failed, newest first."""
    async with database.transaction(durable=False) as tx:
        found = await knowledge.learnings(tx, playbook=playbook, cause=cause, signal=signal, limit=limit)
        return [plain(learning) for learning in found]


async def latest_observations(database: Database, limit: int) -> list[int]:
    """Ids of the newest observations."""
    async with database.transaction(durable=False) as tx:
        return [seen.id for seen in await ledger.observations(tx, limit=limit)]
