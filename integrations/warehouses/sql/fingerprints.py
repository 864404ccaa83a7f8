"""One text for a whole catalog: another whenever anything in it but the row estimates is."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import astuple
from datetime import datetime
from typing import Any

from integrations.base import Catalog, Column, Enumeration, NumberSequence, Table


def assembled(
    tables: Iterable[Table],
    taken_at: datetime,
    *,
    invisible: Sequence[str] = (),
    enumerations: Iterable[Enumeration] = (),
    sequences: Iterable[NumberSequence] = (),
) -> Catalog:
    """A catalog in one order, whatever order the engine answered in, with its fingerprint."""
    in_order = tuple(sorted(tables, key=lambda t: (t.schema, t.name)))
    listed = tuple(sorted(enumerations, key=lambda e: (e.schema, e.name)))
    numbered = tuple(sorted(sequences, key=lambda s: (s.schema, s.name)))
    unseen = tuple(sorted(invisible))
    digest = hashlib.sha256()
    for part in _parts(in_order, listed, numbered, unseen):
        digest.update(json.dumps(part).encode())
        digest.update(b"\n")
    return Catalog(in_order, taken_at, digest.hexdigest(), unseen, listed, numbered)


def _parts(
    tables: Sequence[Table],
    enumerations: Sequence[Enumeration],
    sequences: Sequence[NumberSequence],
    invisible: Sequence[str],
) -> Iterator[list[Any]]:
    for t in tables:
        yield [
            *(t.schema, t.name, t.kind, t.identity, t.comment, t.definition, t.partitioning, t.owner),
            [_column(c) for c in t.columns],
            [astuple(c) for c in t.constraints],
            [astuple(i) for i in t.indexes],
            [astuple(g) for g in t.grants],
        ]
    yield [astuple(e) for e in enumerations]
    yield [astuple(s) for s in sequences]
    yield list(invisible)


def _column(c: Column) -> tuple[Any, ...]:
    """Written out, for there are many and `astuple` is slow."""
    return (
        *(c.name, c.position, c.type, c.nullable, c.default, c.identity),
        *(c.comment, c.generated, c.numbering, c.collation),
    )
