"""From changes to observations: how grave, whether announced, whether they undo what was told before."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from agents.schema_drift.baseline import OpenChange
from agents.structure.changes import Change
from agents.structure.known import KnownTable
from config.assets import Asset
from memory.records import JSON, NewObservation, PlannedChange, Severity

MOST_OPEN: Final = 500
OWN_IMPORTANCE: Final = 0.1
"""Below what wakes anybody: recorded, not a finding."""

_WEIGHTS: Final[Mapping[str, tuple[Severity, float]]] = {
    "table_added": (Severity.INFO, 0.3),
    "table_dropped": (Severity.WARNING, 0.7),
    "table_renamed": (Severity.WARNING, 0.7),
    "column_added": (Severity.INFO, 0.3),
    "column_dropped": (Severity.WARNING, 0.7),
    "column_renamed": (Severity.WARNING, 0.7),
    "column_retyped": (Severity.WARNING, 0.7),
    "columns_ambiguous": (Severity.WARNING, 0.8),
    "column_altered": (Severity.INFO, 0.3),
    "restored": (Severity.INFO, 0.5),
}
KINDS: Final = tuple(f"schema.{kind}" for kind in _WEIGHTS)


@dataclass(frozen=True, slots=True)
class Told:
    """What a look says, and what stays open after it."""

    observations: tuple[NewObservation, ...]
    open: tuple[OpenChange, ...]


def tell(
    source: str,
    changes: Sequence[Change],
    *,
    serial: int,
    tables: Mapping[str, KnownTable],
    open_: Sequence[OpenChange],
    planned: Sequence[PlannedChange],
) -> Told:
    """Observations for the changes of one look.

    Args:
        source: the warehouse's configured name.
        changes: of this look.
        serial: the baseline's; makes the same change of another day another finding.
        tables: as they are now, to see what is undone.
        open_: reported changes not undone so far.
        planned: changes announced for now, by humans or by remedies.
    """
    back = [o for o in open_ if _holds(o, tables)]
    returned = {place for o in back for place in _places(o)}
    undoing = [c for c in changes if c.arrives in returned]
    observations = [
        _restored(source, o, [c for c in undoing if c.arrives in _places(o)], serial, planned) for o in back
    ]
    still_open = [o for o in open_ if o not in back]
    for change in changes:
        if change.arrives in returned:
            continue
        observations.append(_observation(source, change, serial, planned))
        if change.needs is not None:
            key = _key(change, serial)
            still_open.append(OpenChange(key, f"schema.{change.kind}", change.table, change.needs))
    return Told(tuple(observations), tuple(still_open[-MOST_OPEN:]))


def _holds(change: OpenChange, tables: Mapping[str, KnownTable]) -> bool:
    table = tables.get(change.table)
    if table is None:
        return False
    there = {(c.name, c.type) for c in table.columns}
    return all(column in there for column in change.columns)


def _places(change: OpenChange) -> list[tuple[str, str]]:
    return [(change.table, name) for name, _ in change.columns] or [(change.table, "")]


def _key(change: Change, serial: int) -> str:
    return f"{change.name}|v{serial}"


def _observation(source: str, change: Change, serial: int, planned: Sequence[PlannedChange]) -> NewObservation:
    kind = f"schema.{change.kind}"
    severity, importance = _WEIGHTS[change.kind]
    if change.kind == "column_added" and not change.payload["nullable"] and not change.payload["default"]:
        # Whoever writes without naming it fails now.
        severity, importance = Severity.WARNING, 0.5
    key = _key(change, serial)
    payload: dict[str, JSON] = {**change.payload, "change": key}
    subject = Asset("warehouse", source, change.table, change.column)
    subjects = [subject, *([Asset("warehouse", source, *change.arrives)] if change.arrives else [])]
    plan = _plan(subjects, [kind], planned)
    if plan is not None:
        payload["explained_by"] = _explained(plan)
        severity, importance = Severity.INFO, OWN_IMPORTANCE
    return NewObservation(kind, subject, severity, payload, importance, key=key)


def _restored(
    source: str,
    change: OpenChange,
    undoing: Sequence[Change],
    serial: int,
    planned: Sequence[PlannedChange],
) -> NewObservation:
    column = change.columns[0][0] if len(change.columns) == 1 else ""
    subject = Asset("warehouse", source, change.table, column)
    payload: dict[str, JSON] = {"table": change.table, "what": change.kind, "of": change.key}
    if change.columns:
        payload["columns"] = [name for name, _ in change.columns]
    severity, importance = _WEIGHTS["restored"]
    plan = _plan([subject], ["schema.restored", *(f"schema.{c.kind}" for c in undoing)], planned)
    if plan is not None:
        payload["explained_by"] = _explained(plan)
        importance = OWN_IMPORTANCE
    return NewObservation(
        "schema.restored", subject, severity, payload, importance, key=f"restored|{change.key}|v{serial}"
    )


def _plan(subjects: Iterable[Asset], kinds: Sequence[str], planned: Sequence[PlannedChange]) -> PlannedChange | None:
    """The announcement that covers one of the subjects and one of the kinds."""
    assets = list(subjects)
    for plan in planned:
        if any(fnmatch.fnmatchcase(kind, plan.kind) for kind in kinds) and any(a.matches(plan.pattern) for a in assets):
            return plan
    return None


def _explained(plan: PlannedChange) -> dict[str, JSON]:
    return {"planned": plan.id, "by": plan.by, "reason": plan.reason, "remediation_id": plan.remediation_id}
