"""What the agent knew of a source after its last look: a small head, and a part for each table.

Parts, by their names:

    table:…  enumerations  sequences      structure, as `agents.structure.parts` writes it; they have a past
    retaken                               who had the baseline taken anew, and why
    passing:seen:schema.name              when the table was last looked into, at which row estimate
    secret:sketch:schema.name             what its columns held then: keyed hashes of values, sealed where possible
    secret:gone:schema.name               a table that went, as it last was, to compare with should the name come back
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from pydantic import TypeAdapter, ValidationError

from agents.structure.known import KnownTable, Sketched, Structure
from agents.structure.parts import TABLE, as_parts, from_parts
from memory.board.baselines import PASSING, SECRET
from memory.records import JSON

SHAPE: Final = 2
"""Version of the head's shape; a baseline of another one is not understood and taken anew."""

VIEWS: Final = 1
"""Grows when the lineage of views is told in another way."""

SEEN: Final = f"{PASSING}seen:"
SKETCH: Final = f"{SECRET}sketch:"
GONE: Final = f"{SECRET}gone:"
BESIDE: Final = ("enumerations", "sequences")
RETAKEN: Final = "retaken"
ADDITIONS: Final = ("schema.column_added", "schema.table_added")
"""Changes that are remembered so that their undoing is told as that; nobody waits for it."""


@dataclass(frozen=True, slots=True)
class OpenChange:
    """A reported change that is undone once things are as they were.

    That is so once `columns` (name, type) stand in `table` again, or for a change of something that is still there
    (`thing`) once it is `was` again. With neither, the table's mere presence is enough. What was added is a thing that
    was not there.
    """

    key: str
    kind: str
    table: str
    columns: tuple[tuple[str, str], ...] = ()
    column: str = ""
    thing: str = ""
    was: str = ""

    @property
    def is_addition(self) -> bool:
        """Did it add something, so that nobody waits to see it undone?"""
        return self.kind in ADDITIONS


@dataclass(frozen=True, slots=True)
class Head:
    """The head of the baseline of one source: all that a look needs at which nothing changed.

    Attributes:
        serial: grows with every look that reported something; part of the observations' keys.
        fingerprint: of the catalog last seen; empty where a judgement was put off.
        mark: the cheap fingerprint taken before that; empty where the source has none, or a judgement was put off.
        options: digest of the options that decide what is known.
        whole_at: when the catalog was last read; None where it is read at every look.
        due_at: when the next table is to be looked into; None for never.
        open: reported changes not undone so far, oldest first.
        gone: paths of the tables kept as they last were, oldest first.
        invisible: schemas that could not be seen.
        retaken: version of the wish to take the baseline anew that was last fulfilled, 0 for none.
        views: how the lineage of views was told last; another number than `VIEWS`, and it is told again.
    """

    serial: int = 0
    fingerprint: str = ""
    mark: str = ""
    options: str = ""
    whole_at: datetime | None = None
    due_at: datetime | None = None
    open: tuple[OpenChange, ...] = ()
    gone: tuple[str, ...] = ()
    invisible: tuple[str, ...] = ()
    retaken: int = 0
    views: int = 0
    shape: int = SHAPE


@dataclass(frozen=True, slots=True)
class Seen:
    """When a table was last looked into (None: never so far), and how many rows it had by the engine's estimate."""

    at: datetime | None = None
    estimate: int = -1
    possible: bool = True


_HEAD: Final = TypeAdapter(Head)
_SEEN: Final = TypeAdapter(Seen)
_SKETCH: Final = TypeAdapter(Sketched)


def parse(baseline: JSON) -> Head | None:
    """The head as it was written; None where there is none, or one of a shape no longer understood."""
    if not isinstance(baseline, dict) or baseline.get("shape") != SHAPE:
        return None
    try:
        return _HEAD.validate_python(baseline)
    except ValidationError:
        return None


def dump(head: Head) -> JSON:
    """The head as JSON."""
    return _HEAD.dump_python(head, mode="json")


def table_part(table: KnownTable) -> JSON:
    """A table's structure; what moves with every load is left out."""
    name = TABLE + table.path
    return as_parts(Structure({table.path: replace(table, rows=-1, sketched=None)}))[name]


def beside(structure: Structure) -> dict[str, JSON]:
    """The parts that belong to no table."""
    parts = as_parts(replace(structure, tables={}))
    return {name: parts[name] for name in BESIDE}


def sketch_part(sketched: Sketched) -> JSON:
    """What a table's columns held."""
    return _SKETCH.dump_python(sketched, mode="json", exclude_defaults=True)


def seen_part(seen: Seen) -> JSON:
    """When it was looked into."""
    return _SEEN.dump_python(seen, mode="json", exclude_defaults=True)


def gone_part(table: KnownTable) -> JSON:
    """A table that went, with what its columns held."""
    sketched = None if table.sketched is None else sketch_part(table.sketched)
    return {"table": table_part(table), "sketch": sketched}


def read_seen(parts: Mapping[str, JSON]) -> dict[str, Seen]:
    """Looks into tables, by path; one that cannot be read counts as none."""
    found = {}
    for name, part in parts.items():
        if name.startswith(SEEN):
            try:
                found[name.removeprefix(SEEN)] = _SEEN.validate_python(part)
            except ValidationError:
                found[name.removeprefix(SEEN)] = Seen()
    return found


def read_sketches(parts: Mapping[str, JSON]) -> dict[str, Sketched]:
    """What columns held, by their table's path; one that cannot be read counts as none."""
    found = {}
    for name, part in parts.items():
        if name.startswith(SKETCH) and (sketched := _sketched(part)) is not None:
            found[name.removeprefix(SKETCH)] = sketched
    return found


def read_gone(parts: Mapping[str, JSON]) -> dict[str, KnownTable]:
    """Tables that went, by path, as they last were."""
    found = {}
    for name, part in parts.items():
        path = name.removeprefix(GONE)
        if name.startswith(GONE):
            table = from_parts({TABLE + path: part["table"]}).tables[path]
            found[path] = replace(table, sketched=_sketched(part["sketch"]))
    return found


def _sketched(part: JSON) -> Sketched | None:
    try:
        return None if part is None else _SKETCH.validate_python(part)
    except ValidationError:
        return None
