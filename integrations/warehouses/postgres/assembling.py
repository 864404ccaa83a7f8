"""From rows to a catalog. Pure, and large: it runs beside the event loop, a few thousand rows at a time."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from operator import attrgetter
from typing import TypeVar

from integrations.base import Catalog, Constraint, Enumeration, Grant, Index, NumberSequence, Table
from integrations.warehouses.postgres.columns import Columns, Row, with_generated
from integrations.warehouses.postgres.definitions import Place
from integrations.warehouses.postgres.hashing import fingerprint

KINDS = {"r": "table", "p": "table", "v": "view", "m": "materialized view", "f": "foreign table"}
_CONSTRAINTS = {"p": "primary_key", "u": "unique", "f": "foreign_key", "c": "check", "x": "exclusion"}
_PUBLIC = 0
_NAME = attrgetter("name")
_IDENTITY_AND_NAME = attrgetter("identity", "name")

_Named = TypeVar("_Named", Constraint, Index)

Right = tuple[int, str, str, bool]
"""The oid of a role, its name, a privilege, and whether the role may pass it on."""


@dataclass(slots=True)
class Rows:
    """Everything that was read, by the relation it belongs to."""

    taken_at: datetime
    invisible: tuple[str, ...]
    relations: dict[int, Row] = field(default_factory=dict)
    columns: Columns = field(default_factory=Columns)
    keys: dict[int, list[Constraint]] = field(default_factory=dict)
    checks: dict[int, list[Row]] = field(default_factory=dict)
    indexes: dict[int, list[Row]] = field(default_factory=dict)
    rights: dict[str, list[Right]] = field(default_factory=dict)
    enumerations: list[Row] = field(default_factory=list)
    sequences: list[Row] = field(default_factory=list)
    _constraints: list[Row] = field(default_factory=list)
    _shapes: dict[int, object] = field(default_factory=dict)

    def take_relations(self, rows: Iterable[Row]) -> None:
        """Rows of RELATIONS."""
        self.relations.update((row[0], row) for row in rows)

    def take_constraints(self, rows: Iterable[Row]) -> None:
        """Rows of CONSTRAINTS."""
        self._constraints.extend(rows)

    def make_keys(self, at_once: int) -> bool:
        """Make so many constraints, but those whose text is still to come; are there more? Columns must be made."""
        for row in self._constraints[-at_once:]:
            if row[5] is None:
                self.checks.setdefault(row[1], []).append(row)
            else:
                self.keys.setdefault(row[1], []).append(_constraint(row, self.columns, row[5]))
        del self._constraints[-at_once:]
        return bool(self._constraints)

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
            columns = self.columns.of.get(relation, ())
            self._shapes[relation] = hash((row[1], row[2], tuple(map(_IDENTITY_AND_NAME, columns))))
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
        fingerprint=fingerprint(tables, rows.invisible, enumerations, sequences, rows.columns.written),
        invisible=rows.invisible,
        enumerations=tuple(enumerations),
        sequences=tuple(sequences),
    )


def _table(row: Row, rows: Rows, texts: Mapping[Place, str]) -> Table:
    oid, schema, name, kind, estimate, owner, listed, comment = row
    checks = (_constraint(c, rows.columns, texts["constraint", c[0], 0]) for c in rows.checks.get(oid, ()))
    return Table(
        schema=schema,
        name=name,
        columns=with_generated(rows.columns.of.get(oid, ()), rows.columns.generated.get(oid, {}), texts),
        kind=KINDS[kind],
        identity=str(oid),
        rows=estimate,
        comment=comment,
        constraints=_sorted([*rows.keys.get(oid, ()), *checks]),
        indexes=_sorted([_index(i, rows.columns, texts) for i in rows.indexes.get(oid, ())]),
        definition=texts.get(("view", oid, 0), "").strip().removesuffix(";"),
        partitioning=texts.get(("partitioning", oid, 0), ""),
        owner=owner,
        grants=_grants(owner, rows.rights.get(listed, ()), rows.columns.partly_granted.get(oid, ())),
    )


def _sorted(things: list[_Named]) -> tuple[_Named, ...]:
    return tuple(sorted(things, key=_NAME) if len(things) > 1 else things)


def _constraint(row: Row, columns: Columns, definition: str) -> Constraint:
    _, relation, name, kind, key, _, schema, table, target, target_key, referenced = row
    if referenced is None:
        referenced = columns.names(target, (target_key or "").split())
    return Constraint(
        name=name,
        kind=_CONSTRAINTS[kind],
        # An exclusion may be on an expression, which is no column.
        columns=tuple(column for column in columns.names(relation, (key or "").split()) if column is not None),
        definition=definition,
        references=f"{schema}.{table}" if table else "",
        referenced=tuple(referenced),
    )


def _index(row: Row, columns: Columns, texts: Mapping[Place, str]) -> Index:
    oid, relation, name, unique, count, key = row
    return Index(
        name=name,
        columns=tuple(
            _bare(texts["expression", oid, place]) if column is None else column
            for place, column in enumerate(columns.names(relation, key.split()[:count]), start=1)
        ),
        unique=unique,
        definition=texts["index", oid, 0],
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
