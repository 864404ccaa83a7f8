"""From rows to a catalog. Pure, and large: it runs beside the event loop, a few thousand rows at a time."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from sys import intern
from typing import Any, TypeVar

from integrations.base import Catalog, Column, Constraint, Enumeration, Grant, Index, NumberSequence, Table
from integrations.warehouses.postgres.definitions import Place
from integrations.warehouses.postgres.hashing import fingerprint

KINDS = {"r": "table", "p": "table", "v": "view", "m": "materialized view", "f": "foreign table"}
_CONSTRAINTS = {"p": "primary_key", "u": "unique", "f": "foreign_key", "c": "check", "x": "exclusion"}
_NUMBERINGS = {"a": "always", "d": "by default", "": ""}
_PUBLIC = 0
_VANISHED = ("???", "???[]")

_Named = TypeVar("_Named", Constraint, Index)

Row = tuple[Any, ...]
Right = tuple[int, str, str, bool]
"""The oid of a role, its name, a privilege, and whether the role may pass it on."""


@dataclass(slots=True)
class Rows:
    """Everything that was read, by the relation it belongs to.

    Columns are most of a catalog, so each is made when its row comes and no row is kept.
    """

    taken_at: datetime
    invisible: tuple[str, ...]
    has_vanished_types: bool = False
    relations: dict[int, Row] = field(default_factory=dict)
    columns: dict[int, list[Column]] = field(default_factory=dict)
    generated: dict[int, dict[str, Place]] = field(default_factory=dict)
    partly_granted: dict[int, list[tuple[str, str]]] = field(default_factory=dict)
    constraints: dict[int, list[Row]] = field(default_factory=dict)
    indexes: dict[int, list[Row]] = field(default_factory=dict)
    rights: dict[str, list[Right]] = field(default_factory=dict)
    enumerations: list[Row] = field(default_factory=list)
    sequences: list[Row] = field(default_factory=list)
    _shapes: dict[int, object] = field(default_factory=dict)

    def take_relations(self, rows: Iterable[Row]) -> None:
        """Rows of RELATIONS."""
        self.relations.update((row[0], row) for row in rows)

    def take_columns(self, rows: Iterable[Row]) -> None:
        """Rows of COLUMNS."""
        for oid, attnum, name, type_, nullable, generated, default, numbering, comment, collation, rights in rows:
            identity = intern(str(attnum))
            siblings = self.columns.setdefault(oid, [])
            siblings.append(
                Column(
                    intern(name),
                    len(siblings) + 1,
                    intern(type_),
                    nullable,
                    default,
                    identity,
                    comment or "",
                    "",
                    _NUMBERINGS[numbering],
                    collation or "",
                )
            )
            if generated is not None:
                self.generated.setdefault(oid, {})[identity] = ("generated", generated, attnum)
            if rights is not None:
                self.partly_granted.setdefault(oid, []).append((name, rights))
            if type_ in _VANISHED:
                self.has_vanished_types = True

    def take_constraints(self, rows: Iterable[Row]) -> None:
        """Rows of CONSTRAINTS."""
        for row in rows:
            self.constraints.setdefault(row[1], []).append(row)

    def take_indexes(self, rows: Iterable[Row]) -> None:
        """Rows of INDEXES."""
        for row in rows:
            self.indexes.setdefault(row[1], []).append(row)

    def take_rights(self, rows: Iterable[Row]) -> None:
        """Rows of RIGHTS."""
        for listed, *right in rows:
            self.rights.setdefault(listed, []).append(tuple(right))

    def path(self, relation: int) -> str:
        """How to call a relation."""
        row = self.relations.get(relation)
        return f"{row[1]}.{row[2]}" if row else "a relation"

    def shape(self, relation: int) -> object:
        """Every name in a relation, its own included."""
        if relation not in self._shapes:
            row = self.relations[relation]
            names = frozenset((c.identity, c.name) for c in self.columns.get(relation, ()))
            self._shapes[relation] = hash((row[1], row[2], names))
        return self._shapes[relation]


def assemble(rows: Rows, texts: Mapping[Place, str]) -> Catalog:
    """The catalog; `texts` are those of `definitions.py`."""
    tables = [_table(row, rows, texts) for row in rows.relations.values()]
    tables.sort(key=lambda t: (t.schema, t.name))
    enumerations = sorted(
        (Enumeration(schema, name, tuple(values), str(oid)) for oid, schema, name, values in rows.enumerations),
        key=lambda e: (e.schema, e.name),
    )
    sequences = sorted((_sequence(row) for row in rows.sequences), key=lambda s: (s.schema, s.name))
    return Catalog(
        tables=tuple(tables),
        taken_at=rows.taken_at,
        fingerprint=fingerprint(tables, rows.invisible, enumerations, sequences),
        invisible=rows.invisible,
        enumerations=tuple(enumerations),
        sequences=tuple(sequences),
    )


def _table(row: Row, rows: Rows, texts: Mapping[Place, str]) -> Table:
    oid, schema, name, kind, estimate, owner, listed, comment = row
    columns = _columns(rows.columns.get(oid, []), rows.generated.get(oid, {}), texts)
    names = {c.identity: c.name for c in columns}
    return Table(
        schema=schema,
        name=name,
        columns=columns,
        kind=KINDS[kind],
        identity=str(oid),
        rows=estimate,
        comment=comment,
        constraints=_sorted(_constraint(c, names, texts) for c in rows.constraints.get(oid, ())),
        indexes=_sorted(_index(i, names, texts) for i in rows.indexes.get(oid, ())),
        definition=texts.get(("view", oid, 0), "").strip().removesuffix(";"),
        partitioning=texts.get(("partitioning", oid, 0), ""),
        owner=owner,
        grants=_grants(owner, rows.rights.get(listed, ()), rows.partly_granted.get(oid, ())),
    )


def _sorted(things: Iterable[_Named]) -> tuple[_Named, ...]:
    return tuple(sorted(things, key=lambda thing: thing.name))


def _columns(
    columns: Sequence[Column], generated: Mapping[str, Place], texts: Mapping[Place, str]
) -> tuple[Column, ...]:
    """In their order: of small catalogs they come so, unless one was altered since the table was made."""
    numbers = [int(c.identity or 0) for c in columns]
    if numbers != sorted(numbers):
        in_order = [columns[place] for _, place in sorted(zip(numbers, range(len(numbers)), strict=True))]
        columns = [Column(c[0], place, *c[2:]) for place, c in enumerate(in_order, start=1)]
    if generated:
        columns = [
            c._replace(generated=texts[generated[c.identity]]) if c.identity and c.identity in generated else c
            for c in columns
        ]
    return tuple(columns)


def _constraint(row: Row, names: Mapping[str | None, str], texts: Mapping[Place, str]) -> Constraint:
    oid, _, name, kind, key, definition, schema, table, referenced = row
    return Constraint(
        name=name,
        kind=_CONSTRAINTS[kind],
        # An exclusion may be on an expression, which is no column.
        columns=tuple(names[n] for n in (key or "").split() if n in names),
        definition=texts[("constraint", oid, 0)] if definition is None else definition,
        references=f"{schema}.{table}" if table else "",
        referenced=tuple(referenced or ()),
    )


def _index(row: Row, names: Mapping[str | None, str], texts: Mapping[Place, str]) -> Index:
    oid, _, name, unique, count, key = row
    keys = key.split()[:count]
    return Index(
        name=name,
        columns=tuple(
            names[n] if n != "0" else _bare(texts[("expression", oid, place)]) for place, n in enumerate(keys, start=1)
        ),
        unique=unique,
        definition=texts[("index", oid, 0)],
    )


def _bare(expression: str) -> str:
    """Without the pair of brackets the server puts around whatever is no call of a function."""
    return expression[1:-1] if expression.startswith("(") and expression.endswith(")") else expression


def _grants(owner: str, rights: Iterable[Right], partly_granted: Iterable[tuple[str, str]]) -> tuple[Grant, ...]:
    """What others than the owner may do; a right on some columns reads `SELECT (id, name)`."""
    may: dict[str, set[str]] = defaultdict(set)
    for role, name, privilege, passes_on in rights:
        may[_called(role, name)].add(_privilege(privilege, passes_on))
    partly: dict[tuple[str, str, bool], list[str]] = defaultdict(list)
    for column, listed in partly_granted:
        for role, name, privilege, passes_on in json.loads(listed):
            partly[_called(role, name), privilege, passes_on].append(column)
    for (grantee, privilege, passes_on), granted in partly.items():
        may[grantee].add(_privilege(f"{privilege} ({', '.join(sorted(granted))})", passes_on))
    may.pop(owner, None)
    return tuple(Grant(grantee, tuple(sorted(privileges))) for grantee, privileges in sorted(may.items()))


def _called(role: int, name: str) -> str:
    return name if role != _PUBLIC else "public"


def _privilege(privilege: str, passes_on: bool) -> str:
    return f"{privilege} with grant option" if passes_on else privilege


def _sequence(row: Row) -> NumberSequence:
    oid, schema, name, type_, start, step, least, most, cycles = row
    definition = f"{type_} start {start} increment {step} minvalue {least} maxvalue {most}"
    return NumberSequence(schema, name, definition + (" cycle" if cycles else " no cycle"), str(oid))
