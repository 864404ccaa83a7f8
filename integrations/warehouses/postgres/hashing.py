"""The fingerprint of a catalog: what is in it, whatever order the server gave it in."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from typing import Any

from integrations.base import Column, Constraint, Enumeration, Index, NumberSequence, Table


def fingerprint(
    tables: Iterable[Table],
    invisible: Iterable[str] = (),
    enumerations: Iterable[Enumeration] = (),
    sequences: Iterable[NumberSequence] = (),
) -> str:
    """A hash of everything but the row estimates.

    It rests on names, the engine's identities and the engine's own texts, so a new major version of the server, which
    may write an expression differently, may change it. A new version of this project does not: what is empty is left
    out, so that a property not known before changes nothing where there is none, and the form is plain JSON.
    """
    digest = hashlib.sha256()
    for group in (
        (_table(t) for t in sorted(tables, key=lambda t: (t.schema, t.name))),
        (["enumeration", e.schema, e.name, e.identity, e.values] for e in sorted(enumerations, key=_path)),
        (["sequence", s.schema, s.name, s.identity, s.definition] for s in sorted(sequences, key=_path)),
        (["invisible", name] for name in sorted(invisible)),
    ):
        for item in group:
            digest.update(_ENCODE(item).encode())
            digest.update(b"\n")
    return digest.hexdigest()


_ENCODE = json.JSONEncoder(check_circular=False, separators=(",", ":")).encode


def _path(thing: Enumeration | NumberSequence) -> tuple[str, str]:
    return thing.schema, thing.name


def _table(table: Table) -> Sequence[Any]:
    return [
        table.schema,
        table.name,
        table.kind,
        table.identity,
        [_column(c) for c in table.columns],
        _filled(
            comment=table.comment,
            constraints=[_constraint(c) for c in sorted(table.constraints, key=_name)],
            indexes=[_index(i) for i in sorted(table.indexes, key=_name)],
            definition=table.definition,
            partitioning=table.partitioning,
            owner=table.owner,
            grants=[[g.role, g.privileges] for g in sorted(table.grants, key=lambda g: g.role)],
        ),
    ]


def _column(column: Column) -> Sequence[Any]:
    facts: list[Any] = [column.name, column.type, column.nullable, column.identity, column.default]
    if column.comment or column.generated or column.numbering or column.collation:
        facts.append(
            _filled(
                comment=column.comment,
                generated=column.generated,
                numbering=column.numbering,
                collation=column.collation,
            )
        )
    return facts


def _constraint(constraint: Constraint) -> Sequence[Any]:
    return [
        constraint.name,
        constraint.kind,
        constraint.columns,
        constraint.definition,
        _filled(references=constraint.references, referenced=constraint.referenced),
    ]


def _index(index: Index) -> Sequence[Any]:
    return [index.name, index.columns, index.unique, index.definition]


def _name(thing: Constraint | Index) -> str:
    return thing.name


def _filled(**facts: object) -> dict[str, object]:
    return {name: value for name, value in facts.items() if value}
