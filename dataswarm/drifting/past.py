"""What was told of a source, and what became of it: open, undone, accepted, explained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from config.assets import Asset
from config.draft import nearest
from config.errors import UsageError
from dataswarm.drifting.describing import sentence
from dataswarm.drifting.resolving import WATCHER, head_of, no_baseline
from memory.beliefs import knowledge
from memory.board import baselines, ledger
from memory.board.baselines import Revision
from memory.connection.database import Transaction
from memory.records import JSON, Observation

ACCEPTED: Final = "drift.accepted"
"""Predicate on the asset a change is about: a list of the keys that observations hold as `change`."""

MOST: Final = 2_000
RESTORED: Final = "schema.restored"
RETAKEN: Final = "schema.retaken"
ADDITIONS: Final = ("schema.column_added", "schema.table_added")


@dataclass(frozen=True, slots=True)
class Told:
    """A change that was told. `state` is open, undone, accepted, retaken or told (nobody waits to see it undone)."""

    id: int
    at: datetime
    key: str
    kind: str
    subject: Asset
    severity: str
    summary: str
    state: str
    effects: Mapping[str, JSON]
    impact: Mapping[str, JSON]
    explained_by: Mapping[str, JSON]


async def revisions(tx: Transaction, source: str, *, limit: int = 20) -> list[Revision]:
    """The revisions of a source's baseline that are kept, newest first; none before the first look."""
    return await baselines.revisions(tx, WATCHER, source, limit)


async def told(tx: Transaction, source: str, *, since: datetime | None = None) -> list[Told]:
    """The changes told of a source, newest first, each with what became of it."""
    seen = await _observations(tx, source, since)
    open_ = await open_keys(tx, source)
    became = dict.fromkeys(open_, "open")
    became |= {str(key): "retaken" for o in seen if o.kind == RETAKEN for key in o.payload.get("closed") or ()}
    became |= {str(o.payload.get("of")): "undone" for o in seen if o.kind == RESTORED}
    became |= {str(o.payload["undoes"]): "undone" for o in seen if o.payload.get("undoes")}
    became |= dict.fromkeys(await accepted_keys(tx, source), "accepted")
    return [
        _told(one, became.get(str(one.payload.get("change") or ""), "told"))
        for one in seen
        if one.kind != RESTORED and one.payload.get("change")
    ]


def _told(one: Observation, state: str) -> Told:
    payload = one.payload
    kind = one.kind.removeprefix("schema.")
    return Told(
        id=one.id,
        at=one.at,
        key=str(payload["change"]),
        kind=kind,
        subject=one.subject,
        severity=one.severity.value,
        summary=sentence(kind, one.subject.part, payload),
        state=state,
        effects=_mapping(payload.get("class")),
        impact=_mapping(payload.get("impact")),
        explained_by=_mapping(payload.get("explained_by")),
    )


def _mapping(value: Any) -> Mapping[str, JSON]:
    return value if isinstance(value, Mapping) else {}


async def _observations(tx: Transaction, source: str, since: datetime | None) -> list[Observation]:
    found = await ledger.observations(tx, kinds=("schema.*",), since=since, limit=MOST)
    return [one for one in found if one.subject.scheme == "warehouse" and one.subject.source == source]


async def open_keys(tx: Transaction, source: str) -> list[str]:
    """The changes that wait to be undone, as the baseline has them; oldest first. What was added waits for nobody."""
    listed = head_of(await baselines.get(tx, WATCHER, source)).get("open") or ()
    open_ = [one for one in listed if isinstance(one, Mapping) and "key" in one]
    return [str(one["key"]) for one in open_ if one.get("kind") not in ADDITIONS]


async def accepted_keys(tx: Transaction, source: str) -> list[str]:
    """The changes that a human said stay."""
    facts = await knowledge.facts(tx, subject=f"warehouse://{source}/*", predicate=ACCEPTED, limit=MOST)
    return [str(key) for fact in facts for key in _changes(fact.object)]


def _changes(value: JSON) -> Sequence[JSON]:
    return [value] if isinstance(value, str) else value if isinstance(value, list) else ()


async def accept(
    tx: Transaction, source: str, wanted: Sequence[str], *, everything: bool, reason: str, by: str
) -> list[Told]:
    """Somebody says that changes stay: each is written down on the asset it is about, and is open no longer.

    - wanted: numbers of observations, or their keys.
    - everything: all that is open.

    Raises:
        UsageError: no baseline yet, no reason, nothing named, or a change that is not open; nothing is written then.
    """
    if not reason.strip():
        raise UsageError("say why it stays", hint='add --reason "…": it is kept with the asset')
    if bool(wanted) == everything:
        raise UsageError("name the changes that stay, or --all", hint=f"`dataswarm drift history {source}` lists them")
    if await baselines.get(tx, WATCHER, source) is None:
        raise no_baseline(source)
    known = await told(tx, source)
    waiting = {one.key: one for one in known if one.state == "open"}
    chosen = list(waiting.values()) if everything else [_meant(one, known, source) for one in wanted]
    for one in chosen:
        held = await knowledge.fact(tx, one.subject, ACCEPTED)
        keys = [*(_changes(held.object) if held else ()), one.key]
        await knowledge.assert_fact(
            tx,
            by,
            one.subject,
            ACCEPTED,
            list(dict.fromkeys(str(key) for key in keys)),
            expected=held.version if held else None,
            source="said by hand",
            reason=reason,
        )
    return chosen


def _meant(wanted: str, known: Sequence[Told], source: str) -> Told:
    found = next((one for one in known if wanted in (str(one.id), one.key)), None)
    waiting = [one for one in known if one.state == "open"]
    if found is None:
        near = nearest(wanted, [one.key for one in waiting]) if not wanted.isdigit() else ""
        listed = ", ".join(str(one.id) for one in waiting[:10])
        some = f"open are {listed}" if listed else "nothing is open"
        raise UsageError(
            f"no change {wanted[:80]!r} was told of {source}", hint=f"did you mean {near!r}?" if near else some
        )
    if found.state != "open":
        raise UsageError(f"change {found.id} of {source} is {found.state}, not open")
    return found
