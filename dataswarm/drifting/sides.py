"""One side of a comparison: its structure, and what of it can be compared with what others tell."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TypeVar

from agents.structure.known import KnownTable, Structure
from integrations.base import Column

Named = TypeVar("Named")


class Aspect(StrEnum):
    """Something a side tells or does not; what one of two does not tell is no change."""

    IDENTITIES = "identities"  # the engine's own numbers of tables and columns
    CONTENTS = "contents"  # sketches of values, and rows
    ROLES = "roles"  # owners and grants
    DETAILS = "details"  # defaults, collations, generated columns, partitioning, sequences: in the engine's own text
    KEYS = "keys"  # constraints
    INDEXES = "indexes"
    DEFINITIONS = "definitions"  # the queries of views
    COMMENTS = "comments"
    NULLABILITY = "nullability"
    ENUMERATIONS = "enumerations"


ALL = frozenset(Aspect)
SCRATCH = ALL - {Aspect.IDENTITIES, Aspect.CONTENTS, Aspect.ROLES}
SAVED = ALL - {Aspect.CONTENTS}
MANIFEST = frozenset({Aspect.COMMENTS})
_IN_ENGINE_TEXT = frozenset({Aspect.DETAILS, Aspect.DEFINITIONS, Aspect.INDEXES})


@dataclass(frozen=True, slots=True)
class Side:
    """What one side is.

    Attributes:
        given: as it was typed.
        kind: source | snapshot | ddl | manifest.
        structure: what it holds.
        tells: what it says anything about.
        written_by: the engine (or reader) whose text it is; texts of two are not compared.
        source: the configured name behind it, empty where there is none.
        revision: of a snapshot.
        is_whole: False where other tables may well be there.
        notes: what a reader should know: how it was read, what was passed over.
    """

    given: str
    kind: str
    structure: Structure
    tells: frozenset[Aspect]
    written_by: str
    source: str = ""
    revision: int | None = None
    is_whole: bool = True
    notes: tuple[str, ...] = ()


def comparable(before: Side, after: Side) -> tuple[Structure, Structure]:
    """Both structures, reduced to what both tell of what both can see."""
    shared = before.tells & after.tells
    if before.written_by != after.written_by:
        shared -= _IN_ENGINE_TEXT
    if not before.source or before.source != after.source:
        shared -= {Aspect.IDENTITIES}  # the numbers of another server mean something else
    hidden = {*before.structure.invisible, *after.structure.invisible}
    was, now = _reduced(before.structure, shared, hidden), _reduced(after.structure, shared, hidden)
    if not after.is_whole and before.is_whole:
        was = replace(was, tables={p: t for p, t in was.tables.items() if p in now.tables})
    elif not before.is_whole and after.is_whole:
        now = replace(now, tables={p: t for p, t in now.tables.items() if p in was.tables})
    return _typed(was, now), _typed(now, was)


def _reduced(structure: Structure, shared: frozenset[Aspect], hidden: set[str]) -> Structure:
    return Structure(
        {p: _table(t, shared) for p, t in structure.tables.items() if t.schema not in hidden},
        _seen(structure.enumerations, hidden, is_told=Aspect.ENUMERATIONS in shared),
        _seen(structure.sequences, hidden, is_told=Aspect.DETAILS in shared),
        tuple(sorted(hidden)),
    )


def _seen(found: Mapping[str, Named], hidden: set[str], *, is_told: bool) -> dict[str, Named]:
    return {path: one for path, one in found.items() if path.split(".", 1)[0] not in hidden} if is_told else {}


def _table(table: KnownTable, shared: frozenset[Aspect]) -> KnownTable:
    has_roles, has_contents = Aspect.ROLES in shared, Aspect.CONTENTS in shared
    return replace(
        table,
        identity=table.identity if Aspect.IDENTITIES in shared else None,
        rows=table.rows if has_contents else -1,
        sketched=table.sketched if has_contents else None,
        postponed=0,
        owner=table.owner if has_roles else "",
        grants=table.grants if has_roles else (),
        columns=tuple(_column(c, shared) for c in table.columns),
        comment=table.comment if Aspect.COMMENTS in shared else "",
        constraints=table.constraints if Aspect.KEYS in shared else (),
        indexes=table.indexes if Aspect.INDEXES in shared else (),
        definition=table.definition if Aspect.DEFINITIONS in shared else "",
        partitioning=table.partitioning if Aspect.DETAILS in shared else "",
        kind=table.kind if Aspect.KEYS in shared else "table",
    )


def _column(column: Column, shared: frozenset[Aspect]) -> Column:
    has_details = Aspect.DETAILS in shared
    return column._replace(
        identity=column.identity if Aspect.IDENTITIES in shared else None,
        nullable=column.nullable if Aspect.NULLABILITY in shared else True,
        default=column.default if has_details else None,
        generated=column.generated if has_details else "",
        numbering=column.numbering if has_details else "",
        collation=column.collation if has_details else "",
        comment=column.comment if Aspect.COMMENTS in shared else "",
    )


def _typed(one: Structure, other: Structure) -> Structure:
    """With the other's type where a declaration names a column and says no type."""
    tables = {}
    for path, table in one.tables.items():
        known = {c.name: c.type for c in other.tables[path].columns} if path in other.tables else {}
        if any(not c.type for c in table.columns):
            columns = tuple(c._replace(type=c.type or known.get(c.name, "")) for c in table.columns)
            table = replace(table, columns=columns)  # noqa: PLW2901 - completed
        tables[path] = table
    return replace(one, tables=tables)
