"""The fingerprint of a catalog: what is in it, whatever order the server gave it in."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from operator import attrgetter
from types import MappingProxyType
from typing import Any, Final

from integrations.base import Column, Constraint, Enumeration, Index, NumberSequence, Table

_ENCODE = json.JSONEncoder(check_circular=False, separators=(",", ":")).encode
_ALWAYS = attrgetter("name", "type", "nullable", "identity", "default")
_NOTHING_ELSE = ("", "", "", "")
_NOTHING_WRITTEN: Final[Mapping[str | None, str]] = MappingProxyType({})


def fingerprint(
    tables: Iterable[Table],
    invisible: Iterable[str] = (),
    enumerations: Iterable[Enumeration] = (),
    sequences: Iterable[NumberSequence] = (),
    written: Mapping[str | None, str] = _NOTHING_WRITTEN,
) -> str:
    """A hash of everything but the row estimates; what is `written` of columns, by table's identity, is not done again.

    It rests on names, the engine's identities and the engine's own texts, so a new major version of the server, which
    may write an expression differently, may change it. A new version of this project does not: what is empty is left
    out, so that a property not known before changes nothing where there is none, and the form is plain JSON.
    """
    digest = hashlib.sha256()
    for group in (
        (_table(t, written.get(t.identity)) for t in sorted(tables, key=lambda t: (t.schema, t.name))),
        (_ENCODE(["enumeration", e.schema, e.name, e.identity, e.values]) for e in sorted(enumerations, key=_path)),
        (_ENCODE(["sequence", s.schema, s.name, s.identity, s.definition]) for s in sorted(sequences, key=_path)),
        (_ENCODE(["invisible", name]) for name in sorted(invisible)),
    ):
        for item in group:
            digest.update(item.encode())
            digest.update(b"\n")
    return digest.hexdigest()


def write(columns: Iterable[Column]) -> str:
    """What counts of columns in a fingerprint."""
    return _ENCODE([_column(c) for c in columns])


def _path(thing: Enumeration | NumberSequence) -> tuple[str, str]:
    return thing.schema, thing.name


def _table(table: Table, columns: str | None) -> str:
    named = _ENCODE([table.schema, table.name, table.kind, table.identity])
    rest = _filled(
        comment=table.comment,
        constraints=[_constraint(c) for c in sorted(table.constraints, key=_name)],
        indexes=[_index(i) for i in sorted(table.indexes, key=_name)],
        definition=table.definition,
        partitioning=table.partitioning,
        owner=table.owner,
        grants=[[g.role, g.privileges] for g in sorted(table.grants, key=lambda g: g.role)],
    )
    return f"{named[:-1]},{write(table.columns) if columns is None else columns},{_ENCODE(rest)}]"


def _column(column: Column) -> Sequence[Any]:
    if column[6:] == _NOTHING_ELSE:  # most of them: nothing is known but name, type, nullability, identity and default
        return _ALWAYS(column)
    return [
        *_ALWAYS(column),
        _filled(
            comment=column.comment,
            generated=column.generated,
            numbering=column.numbering,
            collation=column.collation,
        ),
    ]


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
