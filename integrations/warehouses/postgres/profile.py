"""Counting a table: rows, nulls, distinct values, and sketches that compare two columns without their values.

Rows and nulls of all columns are counted by one query. A sketch is the `k` smallest md5(key || value) of a column's
distinct values: two columns that hold the same values have the same sketch, whatever they are called and typed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from psycopg import AsyncConnection, sql
from psycopg.rows import DictRow

from config.errors import PermanentError
from integrations.base import ColumnProfile, Profile

_SKETCHES_A_QUERY = 50
_SAMPLED_KINDS = ("r", "m", "p")

# The planner's own estimate, as it makes it: the density of the last ANALYZE times the pages there are now.
_TARGET = """
select c.oid::bigint as oid, n.nspname as schema, c.relname as name, c.relkind::text as kind,
       (select coalesce(sum(
                 case when l.reltuples >= 0 and l.relpages > 0
                      then l.reltuples / l.relpages * (pg_catalog.pg_relation_size(l.oid) / 8192.0)
                      else pg_catalog.pg_relation_size(l.oid) / 100.0 end), 0)::bigint
          from pg_catalog.pg_class l
         where l.relkind in ('r', 'm')
           and (l.oid = c.oid
                or c.relkind = 'p' and l.oid in (select p.relid from pg_catalog.pg_partition_tree(c.oid) p))
       ) as estimate,
       array(select a.attname::text from pg_catalog.pg_attribute a
              where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped order by a.attnum) as columns
  from unnest(%s::text[], %s::text[]) as wanted(schema, name)
  join pg_catalog.pg_namespace n on n.nspname = wanted.schema
  join pg_catalog.pg_class c on c.relnamespace = n.oid and c.relname = wanted.name
 where c.relkind in ('r', 'p', 'v', 'm', 'f')
 limit 1
"""


@dataclass(frozen=True, slots=True)
class _Target:
    relation: sql.Identifier
    columns: tuple[str, ...]
    estimate: int
    is_large: bool


async def read_profile(
    connection: AsyncConnection[DictRow],
    table: str,
    *,
    source: str,
    columns: Sequence[str] | None,
    sketch: int,
    key: str,
    limit_rows: int,
) -> Profile:
    """Count `schema.table`; `connection` is inside a transaction with pinned settings.

    A table of more than `limit_rows` rows is sampled: `rows` is then the planner's estimate, nulls are scaled up, and
    there are no sketches, for those of two samples say nothing about each other. `Profile.exact` tells.
    """
    target = await _find(connection, table, source, columns, limit_rows)
    if target.is_large:
        return await _sample(connection, target, limit_rows)
    rows, filled = await _count(connection, target, sql.SQL(""))
    sketches: dict[str, tuple[int, tuple[str, ...]]] = {}
    if sketch > 0:
        for start in range(0, len(target.columns), _SKETCHES_A_QUERY):
            batch = target.columns[start : start + _SKETCHES_A_QUERY]
            sketches |= await _sketch(connection, target.relation, batch, sketch, key)
    profiles = {}
    for name, count in zip(target.columns, filled, strict=True):
        distinct, hashes = sketches.get(name, (None, ()))
        profiles[name] = ColumnProfile(nulls=rows - count, distinct=distinct, sketch=hashes)
    return Profile(rows, profiles)


async def _find(
    connection: AsyncConnection[DictRow],
    table: str,
    source: str,
    columns: Sequence[str] | None,
    limit_rows: int,
) -> _Target:
    # A schema or table may itself hold a dot: every way to split is tried in one query.
    dots = [i for i, character in enumerate(table) if character == "."]
    splits = [table[:i] for i in dots], [table[i + 1 :] for i in dots]
    row = await (await connection.execute(_TARGET, splits)).fetchone()
    if row is None:
        raise PermanentError(f"warehouse {source}: there is no table {table!r}", hint="was it renamed or dropped?")
    present: list[str] = row["columns"]
    missing = [c for c in columns or () if c not in present]
    if missing:
        raise PermanentError(
            f"warehouse {source}: {table} has no column {', '.join(map(repr, missing))}",
            hint="was it renamed or dropped?",
        )
    wanted = tuple(present if columns is None else dict.fromkeys(columns))
    is_large = row["kind"] in _SAMPLED_KINDS and row["estimate"] > limit_rows > 0
    return _Target(sql.Identifier(row["schema"], row["name"]), wanted, row["estimate"], is_large)


async def _count(connection: AsyncConnection[DictRow], target: _Target, sampling: sql.SQL) -> tuple[int, list[int]]:
    # One array, not one output column each: a result may have fewer columns than a table.
    counts = sql.SQL(", ").join(sql.SQL("count({})").format(sql.Identifier(c)) for c in target.columns)
    query = sql.SQL("select count(*) as rows, array[{}]::bigint[] as filled from {}{}").format(
        counts, target.relation, sampling
    )
    row: dict[str, Any] | None = await (await connection.execute(query)).fetchone()
    assert row is not None  # noqa: S101 - an aggregate without GROUP BY has exactly one row
    return row["rows"], row["filled"]


async def _sample(connection: AsyncConnection[DictRow], target: _Target, limit_rows: int) -> Profile:
    percent = 100.0 * limit_rows / target.estimate
    sampling = sql.SQL(f" tablesample system ({percent:.6f}) repeatable (1)")
    rows, filled = await _count(connection, target, sampling)
    scale = target.estimate / rows if rows else 0.0
    nulls = {c: round((rows - n) * scale) for c, n in zip(target.columns, filled, strict=True)}
    return Profile(target.estimate, {c: ColumnProfile(nulls=n) for c, n in nulls.items()}, exact=False)


async def _sketch(
    connection: AsyncConnection[DictRow],
    relation: sql.Identifier,
    columns: Sequence[str],
    size: int,
    key: str,
) -> dict[str, tuple[int, tuple[str, ...]]]:
    one = sql.SQL(
        "(with d as materialized (select distinct {column}::text as v from {relation} where {column} is not null)"
        " select {place}::int as place, (select count(*) from d) as uniques,"
        ' array(select h from (select md5(%(key)s::text || v) collate "C" as h from d) s'
        " order by h limit %(size)s) as sketch)"
    )
    text = sql.SQL(" union all ").join(
        one.format(column=_doubled(sql.Identifier(c)), relation=_doubled(relation), place=sql.Literal(i))
        for i, c in enumerate(columns)
    )
    cursor = await connection.execute(text, {"key": key, "size": size})
    return {columns[r["place"]]: (r["uniques"], tuple(r["sketch"])) async for r in cursor}


def _doubled(name: sql.Identifier) -> sql.SQL:
    """An identifier as it must stand in a statement with parameters: a percent sign doubled."""
    return sql.SQL(name.as_string(None).replace("%", "%%"))
