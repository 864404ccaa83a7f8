"""Capabilities: what agents can be asked to do, browsed in the registry; asking for one is enqueueing a task.

The input of a capability is described either as a JSON schema of an object (`{"type": "object", "properties": …}`),
or in short as names with a type or a few words each (`{"remediation_id": "integer"}`): then all of them are needed.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from config.assets import Asset
from config.errors import ConflictError, UsageError
from memory import forms
from memory.connection.database import Transaction
from memory.queue import tasks
from memory.records import JSON, NewTask, Payload

_TYPES: Mapping[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "array": (list, tuple),
    "object": (Mapping,),
    "null": (type(None),),
}
_PRIORITY = 5  # before routine, after remedies


@dataclass(frozen=True, slots=True)
class Offer:
    """Something an agent can be asked to do.

    Attributes:
        name: of the capability, which is the kind of its tasks.
        input, output: as the agent described them.
        cost: how dear it is, in the agent's own class; empty where it does not say.
        autonomy: what it may do without a human; empty: as policy says.
        is_up: does a process hold the agent now? A task waits until one does.
    """

    agent: str
    name: str
    description: str
    input: Payload
    output: Payload
    cost: str
    autonomy: str
    is_up: bool


async def browse(tx: Transaction, *, agent: str | None = None, words: str = "") -> list[Offer]:
    """What can be asked for, by agent; with `words`, only where each of them is in name, agent or description."""
    wanted = words.lower().split()
    return [
        offer
        for row in await tx.all("capabilities", agent=agent)
        if row["enabled"]
        for said in row["capabilities"]
        for offer in [_offer(row, said)]
        if all(word in f"{offer.agent} {offer.name} {offer.description}".lower() for word in wanted)
    ]


def _offer(row: Payload, said: Payload) -> Offer:
    return Offer(
        agent=row["agent"],
        name=str(said.get("kind", "")),
        description=str(said.get("description", "")),
        input=said.get("input") or {},
        output=said.get("output") or {},
        cost=str(said.get("cost") or ""),
        autonomy=str(said.get("autonomy") or ""),
        is_up=bool(row["up"]),
    )


async def ask(
    tx: Transaction,
    agent: str,
    name: str,
    given: Payload,
    *,
    by: str,
    subject: Asset | None = None,
    key: str | None = None,
) -> int:
    """Ask an agent to do something: a task of that kind, its number. `by` is written into its payload as `asked_by`.

    - subject: what it is about; by default the agent itself.
    - key: with it, the same ask is made once while it is alive.

    Raises:
        UsageError: no such agent or capability (names the nearest), or an input that does not fit, each problem named.
        ConflictError: an ask with this key is alive.
    """
    rows = await tx.all("capabilities", agent=None)
    every = [_offer(row, said) for row in rows for said in row["capabilities"]]
    offers = {(offer.agent, offer.name): offer for offer in every}
    offer = offers.get((agent, name))
    if offer is None:
        raise _unknown(agent, name, [row["agent"] for row in rows], [kind for owner, kind in offers if owner == agent])
    if not next(row["enabled"] for row in rows if row["agent"] == agent):
        raise UsageError(
            f"the agent {agent} is switched off",
            hint="it was switched off for all replicas; let it be switched on again first",
        )
    forms.dumped(dict(given), "input")
    if problems := list(misfits(schema(offer.input), given)):
        raise UsageError(f"{name} of {agent} cannot take this: {'; '.join(problems)}")
    (number,) = await tasks.enqueue(
        tx,
        [
            NewTask(
                agent=agent,
                kind=name,
                subject=subject or Asset("agent", agent),
                payload={**given, "asked_by": by},
                priority=_PRIORITY,
                key=key,
            )
        ],
    )
    if number is None:
        raise ConflictError(f"{name} of {agent} has been asked for already, and is not done yet")
    return number


def _unknown(agent: str, name: str, agents: Sequence[str], names: Sequence[str]) -> UsageError:
    what, word, known = (
        (f"there is no agent {agent[:100]!r}", agent, agents)
        if agent not in agents
        else (f"{agent} cannot be asked for {name[:100]!r}", name, names)
    )
    meant = difflib.get_close_matches(word, known, n=1)
    listed = f"known: {', '.join(known)}" if known else "none are known: has the swarm run here?"
    return UsageError(what, hint=f"did you mean {meant[0]!r}?" if meant else listed)


def schema(described: Payload) -> Payload:
    """The JSON schema of an input, also where it is described in short."""
    if described.get("type") == "object" and isinstance(described.get("properties"), Mapping):
        return described
    fields = {name: {"type": word} if word in _TYPES else {} for name, word in described.items()}
    return {"type": "object", "properties": fields, "required": list(fields), "additionalProperties": False}


def misfits(wanted: Payload, value: JSON, where: str = "") -> Iterator[str]:
    """What does not fit a schema, each with its place and never with the value.

    Understands type, enum, properties, required, additionalProperties, items, minimum, maximum, minLength, maxLength;
    other words of a schema are the agent's to check.
    """
    named = where or "the input"
    types = wanted.get("type")
    listed = [types] if isinstance(types, str) else list(types or ())
    if listed and not any(_is(kind, value) for kind in listed):
        yield f"{named} is not of type {' or '.join(listed)}"
        return
    if "enum" in wanted and value not in wanted["enum"]:
        yield f"{named} is none of {', '.join(map(str, wanted['enum']))}"
    if isinstance(value, bool):
        return
    if isinstance(value, int | float):
        yield from _bounded(value, named, wanted.get("minimum"), wanted.get("maximum"), "")
    elif isinstance(value, str):
        yield from _bounded(len(value), named, wanted.get("minLength"), wanted.get("maxLength"), " characters")
    elif isinstance(value, Mapping):
        yield from _fields(wanted, value, where)
    elif isinstance(value, list | tuple) and isinstance(wanted.get("items"), Mapping):
        for place, item in enumerate(value):
            yield from misfits(wanted["items"], item, f"{where}[{place}]")


def _is(kind: str, value: JSON) -> bool:
    if isinstance(value, bool) and kind != "boolean":
        return False
    return isinstance(value, _TYPES.get(kind, (object,)))


def _bounded(value: float, named: str, least: Any, most: Any, unit: str) -> Iterator[str]:
    if least is not None and value < least:
        yield f"{named} must be at least {least}{unit}"
    if most is not None and value > most:
        yield f"{named} must be at most {most}{unit}"


def _fields(wanted: Payload, value: Payload, where: str) -> Iterator[str]:
    fields = wanted.get("properties") or {}
    dot = f"{where}." if where else ""
    for name in wanted.get("required") or ():
        if name not in value:
            yield f"{dot}{name} is missing"
    for name, inner in value.items():
        if name in fields:
            yield from misfits(fields[name], inner, f"{dot}{name}")
        elif wanted.get("additionalProperties") is False:
            meant = difflib.get_close_matches(str(name), list(fields), n=1)
            yield f"{dot}{str(name)[:60]} is unknown{f' (did you mean {meant[0]}?)' if meant else ''}"
