"""A comparison as JSON: a stable form with a version, described by a schema of its own."""

from __future__ import annotations

from typing import Any, Final

from agents.structure.impact import Impact
from agents.structure.meaning import Effect
from dataswarm.drifting.comparing import Comparison, Weighed
from dataswarm.drifting.describing import sentence
from dataswarm.drifting.sides import Side

VERSION: Final = 1
"""Grows when a key is taken away or means something else; new keys may come at any time."""

Json = dict[str, Any]


def as_data(found: Comparison, *, fail_on: str) -> Json:
    """The whole answer of `drift diff --json`."""
    worst = found.worst
    return {
        "version": VERSION,
        "before": _side(found.before),
        "after": _side(found.after),
        "source": found.source or None,
        "fail_on": fail_on,
        "failed": found.fails(fail_on),
        "worst": worst.value if worst else None,
        "counts": {effect.value: sum(w.worst is effect for w in found.changes) for effect in Effect},
        "lineage": found.has_lineage,
        "not_visible": list(found.not_visible),
        "tables": [
            {"table": table.table, "worst": table.worst.value, "changes": [_change(w) for w in table.changes]}
            for table in found.tables
        ],
    }


def _side(side: Side) -> Json:
    return {
        "given": side.given,
        "kind": side.kind,
        "tables": len(side.structure.tables),
        "revision": side.revision,
        "notes": list(side.notes),
    }


def _change(weighed: Weighed) -> Json:
    change, meant = weighed.change, weighed.meaning
    return {
        "kind": change.kind,
        "column": change.column or None,
        "summary": sentence(change.kind, change.column, change.payload),
        "readers": meant.readers.value,
        "writers": meant.writers.value,
        "worst": weighed.worst.value,
        "rule": meant.rule,
        "why": meant.why,
        "severity": weighed.severity,
        "importance": round(weighed.importance, 3),
        "impact": None if weighed.impact is None else _impact(weighed.impact),
        "details": dict(change.payload),
    }


def _impact(impact: Impact) -> Json:
    return {
        "models": list(impact.models),
        "views": list(impact.views),
        "columns": list(impact.columns),
        "exposures": list(impact.exposures),
        "tests": list(impact.tests),
        "owners": list(impact.owners),
        "following": list(impact.following),
        "last_used": impact.last_used.isoformat() if impact.last_used else None,
    }


_NAMES: Final[Json] = {"type": "array", "items": {"type": "string"}}
_EFFECT: Final[Json] = {"enum": [effect.value for effect in Effect]}
_MAYBE: Final[Json] = {"type": ["string", "null"]}


def _object(**properties: Json) -> Json:
    return {"type": "object", "properties": properties, "required": list(properties)}


_SIDE: Final[Json] = _object(
    given={"type": "string"},
    kind={"enum": ["source", "snapshot", "ddl", "manifest"]},
    tables={"type": "integer", "minimum": 0},
    revision={"type": ["integer", "null"]},
    notes=_NAMES,
)
_IMPACT: Final[Json] = _object(
    models=_NAMES,
    views=_NAMES,
    columns=_NAMES,
    exposures=_NAMES,
    tests=_NAMES,
    owners=_NAMES,
    following=_NAMES,
    last_used=_MAYBE,
)
_WITH: Final[Json] = {
    "type": "array",
    "items": {
        "anyOf": [{"type": "string"}, _object(table={"type": "string"}, name={"type": "string"}, columns=_NAMES)]
    },
}
"""What came or went with it: of a column, keys and indexes by name; of a table, the keys of others that point to it."""
_CHANGE: Final[Json] = _object(
    kind={"type": "string"},
    column=_MAYBE,
    summary={"type": "string"},
    readers=_EFFECT,
    writers=_EFFECT,
    worst=_EFFECT,
    rule={"type": "string"},
    why={"type": "string"},
    severity={"enum": ["info", "warning", "error", "critical"]},
    importance={"type": "number", "minimum": 0, "maximum": 1},
    impact={"anyOf": [{"type": "null"}, _IMPACT]},
    details={"type": "object", "properties": {"with": _WITH}},
)
SCHEMA: Final[Json] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "dataswarm drift diff, version 1",
    **_object(
        version={"const": VERSION},
        before=_SIDE,
        after=_SIDE,
        source=_MAYBE,
        fail_on={"enum": ["breaking", "risky", "data_loss", "never"]},
        failed={"type": "boolean"},
        worst={"anyOf": [{"type": "null"}, _EFFECT]},
        counts=_object(**{effect.value: {"type": "integer", "minimum": 0} for effect in Effect}),
        lineage={"type": "boolean"},
        not_visible=_NAMES,
        tables={
            "type": "array",
            "items": _object(table={"type": "string"}, worst=_EFFECT, changes={"type": "array", "items": _CHANGE}),
        },
    ),
}
"""The JSON schema of the answer."""
