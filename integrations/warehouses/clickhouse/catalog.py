"""The catalog of a ClickHouse server in five queries, however many tables there are.

A table's uuid survives a rename. What sorts and splits a table stands in its partitioning and is no constraint:
ClickHouse's primary key is an index of the sorting, and keeps nothing unique.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import Any, Final

from sqlglot import exp, parse_one
from sqlglot.errors import SqlglotError

from config.errors import SetupError
from integrations.base import Catalog, Column, Constraint, Grant, Index, Table
from integrations.warehouses.clickhouse.options import ClickhouseOptions
from integrations.warehouses.clickhouse.transport import Conversation
from integrations.warehouses.clickhouse.types import normalised
from integrations.warehouses.clickhouse.words import literal

Row = dict[str, Any]

_DATABASES: Final = "select name, now64(6, 'UTC') as now from system.databases order by name"
# An alias goes before a column of the same name in ClickHouse, so none is named like one.
# The inner table of a materialized view is left out: the view stands for it.
_RELATIONS: Final = "database in {databases} and is_temporary = 0 and not startsWith(name, '.inner')"
_TABLES: Final = f"""
select database as schema, name as relation, toString(uuid) as identity, engine, comment, as_select as definition,
       total_rows as rows, partition_key, sorting_key, primary_key, sampling_key,
       if(position(create_table_query, 'CONSTRAINT ') > 0, create_table_query, '') as statement
  from system.tables where {_RELATIONS} order by database, name
"""
_COLUMNS: Final = """
select database as schema, table as relation, name as column, type, default_kind as kind,
       default_expression as expression, comment
  from system.columns where database in {databases} and not startsWith(table, '.inner')
 order by database, table, position
"""
_INDEXES: Final = """
select database as schema, table as relation, name as index, type_full as type, expr as expression, granularity
  from system.data_skipping_indices where database in {databases} and not startsWith(table, '.inner')
 order by database, table, name
"""
_GRANTS: Final = """
select ifNull(user_name, role_name) as role, database as schema, table as relation, toString(access_type) as privilege
  from system.grants where column is null and is_partial_revoke = 0 and database in {databases} and table is not null
 order by 1, 2, 3, 4
"""
# What makes a table is one text, its columns, comments and keys included; rows, parts and mutations are not in it.
_HASHES: Final = f"""
select database as schema,
       lower(hex(MD5(toString(arraySort(
         groupArray((name, toString(uuid), engine, create_table_query, comment))))))) as hash
  from system.tables where {_RELATIONS} group by database order by database
"""
_NO_IDENTITY: Final = "00000000-0000-0000-0000-000000000000"
_KINDS: Final = {
    "View": "view",
    "LiveView": "view",
    "WindowView": "view",
    "MaterializedView": "materialized view",
}
_LOCAL: Final = frozenset(
    (
        "Memory",
        "Log",
        "TinyLog",
        "StripeLog",
        "Set",
        "Join",
        "Buffer",
        "Distributed",
        "Merge",
        "EmbeddedRocksDB",
        "Null",
    )
)


async def read_catalog(talk: Conversation, options: ClickhouseOptions) -> Catalog:
    """Everything in the databases to look at. ClickHouse has no snapshot over several statements."""
    databases = (await talk.rows(_DATABASES)).rows
    wanted = [r["name"] for r in databases if options.looks_at(r["name"])]
    relations = await _asked(talk, _TABLES, wanted)
    columns = _grouped(await _asked(talk, _COLUMNS, wanted))
    indexes = _grouped(await _asked(talk, _INDEXES, wanted))
    grants = _grouped(await _granted(talk, wanted))
    tables = tuple(_table(row, columns, indexes, grants) for row in relations)
    return Catalog(tables, databases[0]["now"], _fingerprint(tables))


async def read_fingerprint(talk: Conversation, options: ClickhouseOptions) -> str:
    """A hash of what makes the tables, made where they are."""
    databases = (await talk.rows(_DATABASES)).rows
    wanted = [r["name"] for r in databases if options.looks_at(r["name"])]
    found = [(r["schema"], r["hash"]) for r in await _asked(talk, _HASHES, wanted)]
    grants = [tuple(r.values()) for r in await _granted(talk, wanted)]
    return sha256(repr((found, grants)).encode()).hexdigest()


async def _asked(talk: Conversation, query: str, databases: Sequence[str]) -> Sequence[Row]:
    if not databases:
        return []
    return (await talk.rows(query.replace("{databases}", f"({', '.join(map(literal, databases))})"))).rows


async def _granted(talk: Conversation, databases: Sequence[str]) -> Sequence[Row]:
    """Grants on whole tables, for a user that may see them; asked last, for nothing is asked after an error."""
    try:
        return await _asked(talk, _GRANTS, databases)
    except SetupError:
        return []


def _grouped(rows: Iterable[Row]) -> dict[tuple[str, str], list[Row]]:
    found: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in rows:
        found[row["schema"], row["relation"]].append(row)
    return found


def _table(
    row: Row,
    columns: dict[tuple[str, str], list[Row]],
    indexes: dict[tuple[str, str], list[Row]],
    grants: dict[tuple[str, str], list[Row]],
) -> Table:
    key = row["schema"], row["relation"]
    engine = row["engine"]
    is_kept = engine.endswith("MergeTree") or engine in _LOCAL
    return Table(
        schema=row["schema"],
        name=row["relation"],
        columns=tuple(_column(c, place) for place, c in enumerate(columns[key], start=1)),
        kind=_KINDS.get(engine) or ("table" if is_kept else "foreign table"),
        identity=None if row["identity"] == _NO_IDENTITY else row["identity"],
        rows=-1 if row["rows"] is None else row["rows"],
        comment=row["comment"],
        constraints=_constraints(row["statement"]),
        indexes=tuple(
            Index(i["index"], (i["expression"],), definition=f"{i['type']} granularity {i['granularity']}")
            for i in indexes[key]
        ),
        definition=row["definition"],
        partitioning="" if engine in _KINDS else _partitioning(row),
        grants=_grants(grants[key]),
    )


def _column(row: Row, place: int) -> Column:
    kind, nullable = normalised(row["type"])
    how, expression = row["kind"], row["expression"]
    return Column(
        name=row["column"],
        position=place,
        type=kind,
        nullable=nullable,
        default=expression if how == "DEFAULT" else f"ephemeral {expression}" if how == "EPHEMERAL" else None,
        comment=row["comment"],
        generated=f"{how.lower()} {expression}" if how in ("MATERIALIZED", "ALIAS") else "",
    )


def _partitioning(row: Row) -> str:
    parts = [f"engine {row['engine']}"]
    for words, key in (
        ("partition by", "partition_key"),
        ("order by", "sorting_key"),
        ("primary key", "primary_key"),
        ("sample by", "sampling_key"),
    ):
        if row[key] and not (key == "primary_key" and row[key] == row["sorting_key"]):
            parts.append(f"{words} {row[key]}")
    return ", ".join(parts)


def _constraints(statement: str) -> tuple[Constraint, ...]:
    """CHECK and ASSUME, which only the statement that makes a table tells; none where it cannot be read."""
    if not statement:
        return ()
    try:
        made = parse_one(statement, read="clickhouse")
    except SqlglotError:
        return ()
    found = [(c.name, " ".join(e.sql("clickhouse") for e in c.expressions)) for c in made.find_all(exp.Constraint)]
    return tuple(Constraint(name, "check", definition=text) for name, text in sorted(found))


def _grants(rows: Sequence[Row]) -> tuple[Grant, ...]:
    by_role: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        by_role[row["role"]].add(row["privilege"])
    return tuple(Grant(role, tuple(sorted(by_role[role]))) for role in sorted(by_role))


def _fingerprint(tables: Sequence[Table]) -> str:
    digest = sha256()
    for t in tables:
        digest.update(repr((t.path, t.columns, t.kind, t.identity, t.comment, t.constraints, t.indexes)).encode())
        digest.update(repr((t.definition, t.partitioning, t.grants)).encode())
    return digest.hexdigest()
