"""From changes to observations: how grave, whether announced, whether they undo what was told before."""

from __future__ import annotations

import fnmatch
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from agents.schema_drift.baseline import OpenChange
from agents.schema_drift.undoing import Turn, opened, stands, turn, undone
from agents.structure.changes import Change
from agents.structure.impact import Impact, weigh
from agents.structure.known import KnownTable
from agents.structure.meaning import Meaning
from agents.structure.rules import KINDS as CHANGES
from config.assets import Asset
from memory.records import JSON, NewObservation, PlannedChange, Severity

MOST_OPEN: Final = 500
MOST_ADDITIONS: Final = 200
"""Additions remembered so that their undoing is told as that."""
OWN_IMPORTANCE: Final = 0.1
"""Below what wakes anybody: recorded, not a finding."""

RESTORED: Final = "schema.restored"
STORM: Final = "schema.storm"
RETAKEN: Final = "schema.retaken"
KINDS: Final = (*(f"schema.{kind}" for kind in CHANGES), RESTORED, STORM, RETAKEN)
_RESTORED: Final = (Severity.INFO, 0.5)
_STORMY: Final = 0.8
_UNKNOWN: Final[Mapping[str, tuple[Severity, float]]] = {
    "columns.ambiguous": (Severity.WARNING, 0.8),  # which is which, somebody has to say
    "column.added_required": (Severity.WARNING, 0.5),  # whoever writes without naming it fails now
}
"""Where nothing is known of readers, these are graver than what readers feel."""
_DROPS: Final = ("table_dropped", "column_dropped")
_NAMED: Final = 20


@dataclass(frozen=True, slots=True)
class Weighed:
    """A change, what it means, and what it reaches (None: nothing is known of who reads the source)."""

    change: Change
    meaning: Meaning
    impact: Impact | None = None


@dataclass(frozen=True, slots=True)
class Told:
    """What a look says, and what stays open after it."""

    observations: tuple[NewObservation, ...]
    open: tuple[OpenChange, ...]

    @property
    def undone_tables(self) -> frozenset[str]:
        """Tables whose addition was undone: what bears such a name later is another table."""
        back = (o for o in self.observations if o.kind == RESTORED and o.payload["what"] == "schema.table_added")
        return frozenset(o.subject.path for o in back)


def tell(
    source: str,
    changes: Sequence[Weighed],
    *,
    serial: int,
    tables: Mapping[str, KnownTable],
    open_: Sequence[OpenChange],
    planned: Sequence[PlannedChange],
) -> Told:
    """Observations for the changes of one look.

    Args:
        source: the source's configured name.
        changes: of this look.
        serial: the baseline's; makes the same change of another day another finding.
        tables: as they are now, to see what is undone.
        open_: reported changes not undone so far.
        planned: changes announced for now, by humans or by remedies.
    """
    turns = {id(one): found for one in changes if (found := turn(one.change)) is not None}
    back = undone(open_, tables, list(turns.values()))
    returned = {place for o in back for place in _places(o)}
    dropped = {turns[id(one)].thing: one for one in changes if one.change.kind in _DROPS}
    felt = {thing for thing, one in dropped.items() if _is_felt(one)}
    additions = {o.thing: o.key for o in back if o.is_addition and o.thing in felt}
    turned = {o.thing for o in back if o.thing} - additions.keys()

    def undoes(one: Weighed) -> bool:
        found = turns.get(id(one))
        return one.change.arrives in returned or (found is not None and found.thing in turned)

    undoing = [one for one in changes if undoes(one)]
    observations = [
        _restored(source, o, [one.change for one in undoing if _is_of(one, o, turns)], serial, planned)
        for o in back
        if o.thing not in additions
    ]
    still_open = [o for o in open_ if o not in back]
    for one in changes:
        if undoes(one):
            continue
        found = turns.get(id(one))
        observations.append(
            _observation(source, one, serial, planned, undoes=additions.get(found.thing, "") if found else "")
        )
        if (waiting := opened(one.change, _key(one.change, serial))) is not None:
            still_open.append(waiting)
    return Told(tuple(observations), _remembered(still_open, tables))


def _is_felt(one: Weighed) -> bool:
    """Is it more than a note? Then it is told for itself, though it takes back what was added."""
    return weigh(one.meaning, one.impact)[0] is not Severity.INFO


def _remembered(open_: Sequence[OpenChange], tables: Mapping[str, KnownTable]) -> tuple[OpenChange, ...]:
    """The youngest of those waited for, and of additions that still stand; in their order."""
    waited = [o for o in open_ if not o.is_addition][-MOST_OPEN:]
    added = [o for o in open_ if o.is_addition and stands(o, tables)][-MOST_ADDITIONS:]
    kept = {id(o) for o in (*waited, *added)}
    return tuple(o for o in open_ if id(o) in kept)


def _is_of(one: Weighed, change: OpenChange, turns: Mapping[int, Turn]) -> bool:
    found = turns.get(id(one))
    return one.change.arrives in _places(change) or (found is not None and found.thing == change.thing)


def _places(change: OpenChange) -> list[tuple[str, str]]:
    if change.thing:
        return []
    return [(change.table, name) for name, _ in change.columns] or [(change.table, "")]


def _key(change: Change, serial: int) -> str:
    return f"{change.name}|v{serial}"


def _observation(
    source: str, one: Weighed, serial: int, planned: Sequence[PlannedChange], *, undoes: str = ""
) -> NewObservation:
    change, kind = one.change, f"schema.{one.change.kind}"
    severity, importance = weigh(one.meaning, one.impact)
    if one.impact is None or not (one.impact.is_whole or one.impact.is_used):
        severity, importance = _UNKNOWN.get(one.meaning.rule, (severity, importance))
    key = _key(change, serial)
    classed = {"readers": one.meaning.readers.value, "writers": one.meaning.writers.value, "rule": one.meaning.rule}
    payload: dict[str, JSON] = {**change.payload, "change": key, "class": classed, "impact": _reached(one.impact)}
    if undoes:
        payload["undoes"] = undoes
    subject = Asset("warehouse", source, change.table, change.column)
    subjects = [subject, *([Asset("warehouse", source, *change.arrives)] if change.arrives else [])]
    plan = _plan(subjects, [kind], planned)
    if plan is not None:
        payload["explained_by"] = _explained(plan)
        severity, importance = Severity.INFO, OWN_IMPORTANCE
    return NewObservation(kind, subject, severity, payload, importance, key=key)


def _reached(impact: Impact | None) -> JSON:
    """What a change reaches, by names; of many the first, with how many there are."""
    if impact is None:
        return None
    named = {
        name: {"count": len(found), "names": list(found[:_NAMED])}
        for name in ("models", "views", "columns", "exposures", "owners", "following")
        for found in (getattr(impact, name),)
    }
    last_used = None if impact.last_used is None else impact.last_used.isoformat()
    return {**named, "last_used": last_used, "whole": impact.is_whole}


def _restored(
    source: str,
    change: OpenChange,
    undoing: Sequence[Change],
    serial: int,
    planned: Sequence[PlannedChange],
) -> NewObservation:
    column = change.columns[0][0] if len(change.columns) == 1 else change.column
    subject = Asset("warehouse", source, change.table, column)
    payload: dict[str, JSON] = {"table": change.table, "what": change.kind, "of": change.key}
    if change.columns:
        payload["columns"] = [name for name, _ in change.columns]
    severity, importance = _RESTORED
    plan = _plan([subject], [RESTORED, *(f"schema.{c.kind}" for c in undoing)], planned)
    if plan is not None:
        payload["explained_by"] = _explained(plan)
        importance = OWN_IMPORTANCE
    return NewObservation(RESTORED, subject, severity, payload, importance, key=f"restored|{change.key}|v{serial}")


def _plan(subjects: Iterable[Asset], kinds: Sequence[str], planned: Sequence[PlannedChange]) -> PlannedChange | None:
    """The announcement that covers one of the subjects and one of the kinds."""
    assets = list(subjects)
    for plan in planned:
        if any(fnmatch.fnmatchcase(kind, plan.kind) for kind in kinds) and any(a.matches(plan.pattern) for a in assets):
            return plan
    return None


def _explained(plan: PlannedChange) -> dict[str, JSON]:
    return {"planned": plan.id, "by": plan.by, "reason": plan.reason, "remediation_id": plan.remediation_id}


# --- many at once --------------------------------------------------------------------------------------------------


def calmed(
    source: str, observations: Sequence[NewObservation], *, serial: int, most: int
) -> tuple[NewObservation, ...]:
    """The observations of a look; of a storm the worst as ever, the rest recorded in silence, and a summary of all.

    Whoever diagnoses a failure finds the worst; nobody is woken ten thousand times.
    """
    loud = [o for o in observations if "explained_by" not in o.payload]
    if len(loud) <= most:
        return tuple(observations)
    worst = {o.key for o in sorted(loud, key=lambda o: (-o.severity.rank, -o.importance))[:most]}
    key = f"storm|v{serial}"
    quiet = [
        o
        if o.key in worst or "explained_by" in o.payload
        else replace(o, importance=OWN_IMPORTANCE, payload={**o.payload, "storm": key})
        for o in observations
    ]
    tables = sorted({o.subject.path for o in loud})
    payload: dict[str, JSON] = {
        "changes": len(loud),
        "told": most,
        "kinds": dict(Counter(o.kind for o in loud).most_common()),
        "tables": {"count": len(tables), "names": tables[:_NAMED]},
        "change": key,
    }
    gravest = max((o.severity for o in loud), key=lambda severity: severity.rank)
    summary = NewObservation(STORM, Asset("warehouse", source), gravest, payload, _STORMY, key=key)
    return (summary, *quiet)
