"""What agents offer, asking them for it, and what came of it. JSON values."""

from __future__ import annotations

import asyncio
import json
import shlex
from collections.abc import Mapping
from time import monotonic
from typing import Any

from agents.base import LOOK
from config.assets import Asset
from config.draft import nearest
from config.errors import UsageError
from dataswarm import listings
from dataswarm.views import Json, plain
from memory import clock
from memory.connection.database import Database, Transaction
from memory.members import capabilities, presence
from memory.members.capabilities import Offer
from memory.queue import kinds, task_lines
from memory.queue.task_lines import TaskLine
from memory.records import JSON, Payload, TaskState

FIRST_LOOK_SECONDS, LONGEST_LOOK_SECONDS = 0.1, 1.0
DONE = (TaskState.SUCCEEDED, TaskState.FAILED, TaskState.CANCELLED)
LATELY = 5


async def offers(database: Database, *, agent: str | None = None, words: str = "") -> Json:
    """What can be asked for.

    Keys: capabilities, note (why there are none, else empty), switched_off (agents that offer nothing because somebody
    switched them off: agent, by, at, reason).
    """
    async with database.transaction(durable=False) as tx:
        found = await capabilities.browse(tx, agent=agent, words=words)
        note = "" if found else await _none(tx, agent, words)
        off = [one for one in await switched_off(tx) if agent in (None, one["agent"])]
    return {"capabilities": [plain(offer) for offer in found], "note": note, "switched_off": off}


async def switched_off(tx: Transaction) -> list[Json]:
    """The agents that are switched off for all replicas, with who did it, when and why."""
    names, last = await presence.switched_off(tx), await presence.last_switches(tx)
    return [
        {"agent": name, "by": said.by, "at": plain(said.at), "reason": said.reason}
        if (said := last.get(name)) is not None and not said.enabled
        else {"agent": name, "by": "", "at": None, "reason": ""}
        for name in sorted(names)
    ]


async def switch(database: Database, name: str, *, on: bool, reason: str, by: str) -> Json:
    """Switch an agent off or on for all replicas. Every process hears of it at once, and within seconds all the same.

    What it is doing at that moment is finished; nothing is begun, and what it is asked or told waits.

    Keys: agent, enabled, is_changed (False: it was so already), by, at, reason (of who switched it last).

    Raises:
        UsageError: no agent is called so, or no reason is given.
    """
    if not reason.strip():
        raise UsageError(f"say why {name} is switched {'on' if on else 'off'}", hint='add --reason "…": it is kept')
    async with database.transaction() as tx:
        done = await presence.enable(tx, name, enabled=on, by=by, reason=reason.strip())
        last = done or (await presence.last_switches(tx)).get(name)
    return {
        "agent": name,
        "enabled": on,
        "is_changed": done is not None,
        "by": last.by if last else "",
        "at": plain(last.at) if last else None,
        "reason": last.reason if last else "",
    }


async def _none(tx: Transaction, agent: str | None, words: str) -> str:
    known = {one.agent: one for one in await presence.all(tx)}
    if not known:
        return "no agent has run here yet; they publish what they can do when `dataswarm up` starts them"
    if agent is not None and agent not in known:
        meant = nearest(agent, tuple(known))
        return f"no agent is called {agent!r}; " + (
            f"did you mean {meant!r}?" if meant else f"known: {', '.join(known)}"
        )
    if agent is not None and not known[agent].enabled:
        return f"{agent} is switched off, so it offers nothing"
    of = agent or "no agent"
    if words:
        return f"{of} offers nothing with all of these words" if agent else "no agent offers that"
    return f"{agent} offers nothing to ask for" if agent else "no agent that is switched on offers anything"


async def agent(database: Database, name: str) -> Json:
    """One agent.

    Keys: agent, enabled, is_up, process (where it is, empty where nowhere), beat_at, lag, performs (kinds of tasks),
    capabilities (each with an `example` of asking for it), asked (the last tasks of those kinds), switches (who
    switched it off or on for all replicas, when and why, the last first).

    Raises:
        UsageError: no agent is called so.
    """
    async with database.transaction(durable=False) as tx:
        known = {one.agent: one for one in await presence.all(tx)}
        if name not in known:
            meant = nearest(name, tuple(known))
            some = f"known: {', '.join(known)}" if known else "none is known: has the swarm run here?"
            raise UsageError(f"there is no agent {name[:100]!r}", hint=f"did you mean {meant!r}?" if meant else some)
        found = await capabilities.browse(tx, agent=name)
        performs = [kind.kind for kind in await kinds.all(tx) if kind.agent == name]
        lines = [line for offer in found for line in await _asked(tx, name, offer.name)]
        switches = await presence.switches(tx, name, limit=LATELY)
    here, now = known[name], await clock.now(database)
    is_up = here.lease_until is not None and here.lease_until > now
    return {
        "agent": name,
        "enabled": here.enabled,
        "is_up": is_up,
        "process": f"process {here.process}" if is_up else "",
        "beat_at": plain(here.beat_at),
        "lag": here.lag,
        "performs": sorted(performs),
        "capabilities": [{**plain(offer), "example": example(offer)} for offer in found],
        "asked": [plain(line) for line in sorted(lines, key=lambda line: -line.id)[:LATELY]],
        "switches": [plain(one) for one in switches],
    }


async def _asked(tx: Transaction, name: str, kind: str) -> list[TaskLine]:
    """The last tasks of a kind; of looks, which come by themselves all the time, those that are about no source."""
    subject = str(Asset("agent", name)) if kind == LOOK.kind else None
    return await task_lines.find(tx, states=list(TaskState), agent=name, kind=kind, subject=subject, limit=LATELY)


def example(offer: Offer) -> str:
    """How to ask for it, with a word for each field that is needed."""
    shape = capabilities.schema(offer.input)
    fields = [f"{name}={_word(name, shape['properties'].get(name) or {})}" for name in shape.get("required") or ()]
    return " ".join(["dataswarm agents ask", offer.agent, offer.name, *map(shlex.quote, fields)])


def _word(name: str, field: Payload) -> str:
    if field.get("enum"):
        return str(field["enum"][0])
    of = field.get("type")
    kind = of if isinstance(of, str) else (of or ["string"])[0]
    return {"integer": "7", "number": "0.5", "boolean": "true", "array": "[]", "object": "{}"}.get(kind, name.upper())


async def ask(
    database: Database,
    name: str,
    what: str,
    given: Mapping[str, str],
    *,
    about: str | None = None,
    key: str | None = None,
    by: str,
) -> Json:
    """Ask an agent for something: a task. Keys: task (its number), is_up (is a process that agent now?).

    Args:
        database: the blackboard.
        name: of the agent.
        what: of its capability.
        given: its input as typed: JSON, else a text; where the capability wants a text it stays one.
        about: an asset reference; by default the agent itself.
        key: the same ask is made once while it is alive.
        by: who asks.

    Raises:
        UsageError: no such agent or capability, or an input that does not fit, each field named.
        ConflictError: an ask with this key is alive.
    """
    subject = Asset.parse(about) if about else None
    async with database.transaction() as tx:
        found = [offer for offer in await capabilities.browse(tx, agent=name) if offer.name == what]
        if not found and await _does_itself(tx, name, what):
            raise UsageError(
                f"{name} does {what[:100]} when it sees fit, not on request",
                hint="`dataswarm agents list` has what can be asked for",
            )
        shape = capabilities.schema(found[0].input) if found else {"properties": {}}
        wanted = {field: _value(text, shape["properties"].get(field) or {}) for field, text in given.items()}
        number = await capabilities.ask(tx, name, what, wanted, by=by, subject=subject, key=key)
    return {"task": number, "is_up": any(offer.is_up for offer in found)}


async def _does_itself(tx: Transaction, name: str, what: str) -> bool:
    """Is it something the agent, switched on, performs without offering it?"""
    performs = {(kind.agent, kind.kind) for kind in await kinds.all(tx)}
    return (name, what) in performs and any(one.agent == name and one.enabled for one in await presence.all(tx))


def _value(written: str, field: Payload) -> JSON:
    """What was typed, as JSON where it is; `run=007` stays a text where a text is wanted."""
    kinds_ = field.get("type")
    try:
        value: Any = json.loads(written)
    except ValueError:
        return written
    return written if kinds_ == "string" and not isinstance(value, str) else value


async def outcome(database: Database, task: int, patience: float) -> Json:
    """Wait until a task is done, at most so many seconds. Keys: state, is_done, result, error.

    Raises:
        UsageError: there is no such task.
        TransientError: the database is away.
    """
    pause, end = FIRST_LOOK_SECONDS, monotonic() + patience
    while True:
        found = await listings.task(database, task)
        if found is None:
            raise UsageError(f"there is no task {task}")
        is_done = found["state"] in DONE
        if is_done or monotonic() >= end:
            return {
                "state": found["state"],
                "is_done": is_done,
                "result": found["result"],
                "error": found["error"],
            }
        await asyncio.sleep(min(pause, max(0.0, end - monotonic())))
        pause = min(pause * 2, LONGEST_LOOK_SECONDS)
