"""Counting a table of any engine: rows, nulls, distinct values, and sketches of them.

Statements are built by SQLAlchemy's Core, which knows how each dialect bounds a result and quotes a name.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, TableClause, column, func, literal, select, table
from sqlalchemy.sql.elements import ColumnClause, quoted_name
from sqlalchemy.sql.selectable import FromClause

from config.errors import PermanentError
from integrations.base import ColumnProfile, Profile
from integrations.warehouses.sql.manners import Manner, Target
from integrations.warehouses.sql.texts import Hashes

_COUNTS_A_QUERY = 400
_BATCH = 2000


def read_profile(
    connection: Connection,
    manner: Manner,
    named: str,
    *,
    columns: Sequence[str] | None,
    sketch: int,
    key: str,
    limit_rows: int,
) -> Profile:
    """Count `schema.table`.

    A table of more than `limit_rows` rows (0: of any size is counted) is judged by as many of its rows as come first:
    `rows` is then the engine's estimate where it has one, nulls are scaled up, and there are no sketches. That is no
    random sample; `Profile.exact` tells.
    """
    target, wanted = _found(connection, manner, named, columns)
    relation = _relation(target)
    if limit_rows > 0:
        seen = limit_rows + 1 if target.rows > limit_rows else _rows_up_to(connection, relation, limit_rows + 1)
        if seen > limit_rows:
            return _sample(connection, relation, target, wanted, limit_rows)
    rows, nulls = _count(connection, relation, wanted)
    profiles = {}
    for name in wanted:
        one = ColumnProfile(nulls=nulls[name])
        if sketch > 0:
            counted = manner.sketch(connection, target, name, size=sketch, key=key)
            if counted is None:
                counted = _sketch(connection, relation, name, size=sketch, key=key)
            one = ColumnProfile(nulls[name], counted.distinct, counted.sketch)
        profiles[name] = one
    return Profile(rows, profiles)


def relation_of(schema: str, name: str) -> TableClause:
    """A table whose names are quoted whatever they look like."""
    return table(quoted_name(name, quote=True), schema=quoted_name(schema, quote=True))


def column_of(name: str) -> ColumnClause[Any]:
    """A column whose name is quoted whatever it looks like."""
    return column(quoted_name(name, quote=True))


def _relation(target: Target) -> TableClause:
    return table(
        quoted_name(target.name, quote=True),
        *(column_of(c) for c in target.columns),
        schema=quoted_name(target.schema, quote=True),
    )


def _found(
    connection: Connection, manner: Manner, named: str, columns: Sequence[str] | None
) -> tuple[Target, Sequence[str]]:
    # A schema or table may itself hold a dot: every way to split is tried.
    splits = [(named[:i], named[i + 1 :]) for i, character in enumerate(named) if character == "."]
    target = manner.find(connection, splits)
    if target is None:
        raise PermanentError(
            f"warehouse {manner.source}: there is no table {named!r}", hint="was it renamed or dropped?"
        )
    missing = [c for c in columns or () if c not in target.columns]
    if missing:
        raise PermanentError(
            f"warehouse {manner.source}: {named} has no column {', '.join(map(repr, missing))}",
            hint="was it renamed or dropped?",
        )
    return target, tuple(target.columns if columns is None else dict.fromkeys(columns))


def _rows_up_to(connection: Connection, relation: TableClause, most: int) -> int:
    first = select(literal(1).label("one")).select_from(relation).limit(most).subquery("first_rows")
    return int(connection.execute(select(func.count()).select_from(first)).scalar_one())


def _count(connection: Connection, relation: FromClause, names: Sequence[str]) -> tuple[int, dict[str, int]]:
    """Rows and nulls; in several queries where there are more columns than a result may have."""
    rows = 0
    nulls: dict[str, int] = {}
    for start in range(0, max(len(names), 1), _COUNTS_A_QUERY):
        batch = names[start : start + _COUNTS_A_QUERY]
        counts = [func.count(relation.c[n]).label(f"n{i}") for i, n in enumerate(batch)]
        row = connection.execute(select(func.count().label("rows_seen"), *counts).select_from(relation)).one()
        if start == 0:
            rows = int(row[0])
        # Outside one snapshot a later batch may see other rows: what it counts is of its own.
        nulls |= {n: int(row[0]) - int(filled) for n, filled in zip(batch, row[1:], strict=True)}
    return rows, {n: min(count, rows) for n, count in nulls.items()}


def _sample(
    connection: Connection, relation: TableClause, target: Target, names: Sequence[str], limit_rows: int
) -> Profile:
    estimate = target.rows
    if estimate <= limit_rows:
        estimate = int(connection.execute(select(func.count()).select_from(relation)).scalar_one())
    few = select(*(relation.c[n] for n in names)).limit(limit_rows).subquery("first_rows")
    rows, nulls = _count(connection, few, names)
    scale = estimate / rows if rows else 0.0
    return Profile(estimate, {n: ColumnProfile(nulls=round(c * scale)) for n, c in nulls.items()}, exact=False)


def _sketch(connection: Connection, relation: TableClause, name: str, *, size: int, key: str) -> ColumnProfile:
    """Every value is fetched, for what an engine calls distinct may be its collation's idea of it."""
    one = relation.c[name]
    hashes = Hashes(key)
    streaming = {"stream_results": True, "max_row_buffer": _BATCH}
    with connection.execute(select(one).where(one.is_not(None)), execution_options=streaming) as result:
        for batch in result.partitions(_BATCH):
            hashes.take(row[0] for row in batch)
    return ColumnProfile(0, hashes.distinct, hashes.smallest(size))
