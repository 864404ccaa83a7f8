"""Counting a table: rows, nulls, distinct values, and sketches that compare two columns without their values.

A sketch is built as every warehouse here builds it: the `k` smallest md5(key || value as text) of a column's distinct
values.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from config.errors import PermanentError
from integrations.base import ColumnProfile, Profile
from integrations.warehouses.clickhouse.transport import Conversation
from integrations.warehouses.clickhouse.words import literal, quoted, splits

_LARGEST_SKETCH: Final = 100_000
# An alias goes before a column of the same name in ClickHouse, so none is named like one.
_FIND: Final = """
select database as schema, name as relation, total_rows as estimate
  from system.tables where (database, name) in {names} order by length(database) limit 1
"""
_COLUMNS: Final = """
select name, type from system.columns
 where (database, table) in {names} and default_kind <> 'EPHEMERAL' order by position
"""
_UNWRITABLE: Final = "AggregateFunction"


@dataclass(frozen=True, slots=True)
class _Target:
    relation: str
    types: dict[str, str]
    estimate: int
    is_large: bool


async def read_profile(
    talk: Conversation,
    table: str,
    *,
    source: str,
    columns: Sequence[str] | None,
    sketch: int,
    key: str,
    limit_rows: int,
) -> Profile:
    """Count `database.table`.

    One of more than `limit_rows` rows is sampled: nulls are scaled up from that many rows, as they come, and there are
    no sketches. Aggregation states have no text and are not sketched.
    """
    target = await _find(talk, table, source, limit_rows)
    missing = [c for c in columns or () if c not in target.types]
    if missing:
        raise PermanentError(
            f"warehouse {source}: {table} has no column {', '.join(map(repr, missing))}",
            hint="was it renamed or dropped?",
        )
    wanted = list(target.types if columns is None else dict.fromkeys(columns))
    if target.is_large:
        names = ", ".join(map(quoted, wanted)) or "1"
        seen, filled = await _count(talk, f"(select {names} from {target.relation} limit {limit_rows})", wanted)
        scale = target.estimate / seen if seen else 0.0
        nulls = {c: round((seen - n) * scale) for c, n in zip(wanted, filled, strict=True)}
        return Profile(target.estimate, {c: ColumnProfile(nulls=n) for c, n in nulls.items()}, exact=False)
    rows, filled = await _count(talk, target.relation, wanted)
    profiles = {}
    for name, count in zip(wanted, filled, strict=True):
        distinct: int | None = None
        hashes: tuple[str, ...] = ()
        if sketch > 0 and not target.types[name].startswith(_UNWRITABLE):
            distinct, hashes = await _sketch(talk, target.relation, name, sketch, key)
        profiles[name] = ColumnProfile(nulls=rows - count, distinct=distinct, sketch=hashes)
    return Profile(rows, profiles)


async def _find(talk: Conversation, table: str, source: str, limit_rows: int) -> _Target:
    names = ", ".join(f"({literal(schema)}, {literal(name)})" for schema, name in splits(table))
    found = (await talk.rows(_FIND.replace("{names}", f"({names})"))).rows if names else []
    if not found:
        raise PermanentError(f"warehouse {source}: there is no table {table!r}", hint="was it renamed or dropped?")
    row = found[0]
    one = f"(({literal(row['schema'])}, {literal(row['relation'])}))"
    columns = (await talk.rows(_COLUMNS.replace("{names}", one))).rows
    estimate = row["estimate"] or 0
    return _Target(
        quoted(row["schema"], row["relation"]),
        {c["name"]: c["type"] for c in columns},
        estimate,
        estimate > limit_rows > 0,
    )


async def _count(talk: Conversation, relation: str, columns: Sequence[str]) -> tuple[int, list[int]]:
    counts = ", ".join(f"count({quoted(c)})" for c in columns)
    row = (await talk.rows(f"select count() as n, [{counts}] as filled from {relation}")).rows[0]
    return row["n"], row["filled"]


async def _sketch(talk: Conversation, relation: str, column: str, size: int, key: str) -> tuple[int, tuple[str, ...]]:
    name = quoted(column)
    hashes = f"groupArraySorted({min(size, _LARGEST_SKETCH)})(lower(hex(MD5(concat({literal(key)}, v)))))"
    values = f"select distinct toString({name}) as v from {relation} where {name} is not null"
    query = f"select count() as n, {hashes} as hashes from ({values})"
    row = (await talk.rows(query)).rows[0]
    return row["n"], tuple(row["hashes"])
