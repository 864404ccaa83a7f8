"""Which change takes which earlier one back: reported once, remembered, and closed when undone."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from agents.schema_drift.baseline import ADDITIONS, OpenChange
from agents.structure.changes import Change
from agents.structure.known import KnownTable
from memory.records import JSON

_NONE: Final = ""
_THERE: Final = "there"
_STANDING: Final = ("table", "column")
_APPEARING: Final = ("constraint", "index", "enumeration", "sequence")


@dataclass(frozen=True, slots=True)
class Turn:
    """A change of something that is there under the same name: what it was and is. Of what came or went, one is empty.

    `opens`: does anybody wait to see it undone?
    """

    thing: str
    was: str
    now: str
    opens: bool = True


def turn(change: Change) -> Turn | None:
    """The turn a change is; None for tables and columns that got other names and types."""
    payload = change.payload
    noun, _, verb = change.kind.partition("_")
    if change.kind == "grants_altered":
        thing = _text("grants", change.table, payload["role"])
        return Turn(thing, _text(payload["lost"], payload["gained"]), _text(payload["gained"], payload["lost"]))
    if noun in _STANDING and verb in ("added", "dropped"):  # who waits for a dropped one is remembered otherwise
        thing = _text(noun, *(change.arrives or (change.table, change.column)), "itself")
        return Turn(thing, _NONE, _THERE) if verb == "added" else Turn(thing, _THERE, _NONE, opens=False)
    if change.kind == "enumeration_altered" and payload["what"] == "values":
        was, now = _values(payload, came="removed", went="added"), _values(payload, came="added", went="removed")
        return Turn(_text("values", change.table), was, now)
    if verb == "altered":
        thing = _text(noun, change.table, change.column, payload["what"], *_named(payload))
        return Turn(thing, _text(payload["before"]), _text(payload["after"]))
    if noun in _APPEARING and verb in ("added", "dropped"):
        thing = _text(noun, change.table, *(payload.get(key) for key in ("constraint", "columns", "unique")))
        said = _text(*(payload.get(key) for key in ("definition", "references", "referenced", "values")))
        return Turn(thing, _NONE, said, opens=False) if verb == "added" else Turn(thing, said, _NONE)
    return None


def stands(change: OpenChange, tables: Mapping[str, KnownTable]) -> bool:
    """Is what a change added still there, by its name? What is not there cannot be taken away again."""
    table = tables.get(change.table)
    return table is not None and (not change.column or table.column(change.column) is not None)


def _named(payload: Mapping[str, JSON]) -> list[JSON]:
    """Which constraint or index; its name changes when that is what changed."""
    return [] if payload["what"] == "name" or "name" not in payload else [payload["name"]]


def _values(payload: Mapping[str, JSON], *, came: str, went: str) -> str:
    """Values that came and went, in a form that reads the same from the other side."""
    turned = [[b, a] if came == "added" else [a, b] for b, a in payload.get("renamed") or ()]
    return _text(payload.get(came) or [], payload.get(went) or [], turned)


def _text(*parts: JSON) -> str:
    return json.dumps(parts, sort_keys=True, default=list)


def undone(open_: Sequence[OpenChange], tables: Mapping[str, KnownTable], turns: Sequence[Turn]) -> list[OpenChange]:
    """The open changes that are undone: what they need stands there again, or a turn took them back.

    A turn back to what something was before the oldest change of it takes all that came after back with it.
    """
    back: list[OpenChange] = []
    to = {(t.thing, t.now) for t in turns}
    returned: set[str] = set()
    for change in open_:
        if change.thing:
            if change.thing in returned or (change.thing, change.was) in to:
                returned.add(change.thing)
                back.append(change)
        elif _holds(change, tables):
            back.append(change)
    return back


def _holds(change: OpenChange, tables: Mapping[str, KnownTable]) -> bool:
    table = tables.get(change.table)
    if table is None:
        return False
    there = {(c.name, c.type) for c in table.columns}
    return all(column in there for column in change.columns)


def opened(change: Change, key: str) -> OpenChange | None:
    """What is remembered of a change until it is undone; None where nobody waits for that."""
    kind = f"schema.{change.kind}"
    if change.needs is not None:
        return OpenChange(key, kind, change.table, change.needs)
    turned = turn(change)
    if turned is None or not turned.opens:
        return None
    table = change.arrives[0] if kind in ADDITIONS and change.arrives else change.table
    return OpenChange(key, kind, table, (), change.column, turned.thing, turned.was)
