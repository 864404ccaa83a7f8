"""The catalog of a PostgreSQL server in three queries, however many tables there are.

`pg_class.oid` and `pg_attribute.attnum` survive a rename, which makes renames exact; types come from format_type
under an empty search_path, so that the same type is always written alike.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import DictRow

from integrations.base import Catalog, Column, Table
from integrations.warehouses.postgres.options import PostgresOptions

_SCHEMAS = """
select n.oid::bigint as oid, n.nspname as name,
       pg_catalog.has_schema_privilege(n.oid, 'USAGE') as visible,
       pg_catalog.statement_timestamp() as now
  from pg_catalog.pg_namespace n
 where n.nspname !~ '^pg_' and n.nspname <> 'information_schema'
 order by n.nspname
"""

# Partitions are left out: their parent stands for them.
_RELATIONS = """
select c.oid::bigint as oid, n.nspname as schema, c.relname as name, c.relkind::text as kind,
       c.reltuples::bigint as rows, coalesce(d.description, '') as comment
  from pg_catalog.pg_class c
  join pg_catalog.pg_namespace n on n.oid = c.relnamespace
  left join pg_catalog.pg_description d
    on d.objoid = c.oid and d.classoid = 'pg_catalog.pg_class'::regclass and d.objsubid = 0
 where c.relnamespace = any(%s::oid[]) and c.relkind in ('r', 'p', 'v', 'm', 'f') and not c.relispartition
 order by n.nspname, c.relname
"""

# A default holds no column, so pg_get_expr needs no relation; given one it would lock it, and wait for whoever
# rebuilds that table. A generated column's expression does hold columns and is therefore not asked for.
_COLUMNS = """
select a.attrelid::bigint as relation, a.attname as name, a.attnum as attnum,
       pg_catalog.format_type(a.atttypid, a.atttypmod) as type, not a.attnotnull as nullable,
       case when a.attidentity <> '' then 'generated as identity'
            when a.attgenerated <> '' then 'generated always'
            else pg_catalog.pg_get_expr(e.adbin, 0) end as expression,
       coalesce(d.description, '') as comment
  from pg_catalog.pg_attribute a
  join pg_catalog.pg_class c on c.oid = a.attrelid
  left join pg_catalog.pg_attrdef e on e.adrelid = a.attrelid and e.adnum = a.attnum
  left join pg_catalog.pg_description d
    on d.objoid = a.attrelid and d.classoid = 'pg_catalog.pg_class'::regclass and d.objsubid = a.attnum
 where c.relnamespace = any(%s::oid[]) and c.relkind in ('r', 'p', 'v', 'm', 'f') and not c.relispartition
   and a.attnum > 0 and not a.attisdropped
 order by a.attrelid, a.attnum
"""

KINDS = {"r": "table", "p": "table", "v": "view", "m": "materialized view", "f": "foreign table"}


async def read_catalog(connection: AsyncConnection[DictRow], options: PostgresOptions) -> Catalog:
    """Everything in the schemas to look at, in one snapshot; `connection` is inside a transaction."""
    schemas = await (await connection.execute(_SCHEMAS)).fetchall()
    wanted = [s for s in schemas if options.looks_at(s["name"])]
    visible = [s["oid"] for s in wanted if s["visible"]]
    relations = await (await connection.execute(_RELATIONS, (visible,))).fetchall()
    columns = await (await connection.execute(_COLUMNS, (visible,))).fetchall()
    invisible = tuple(s["name"] for s in wanted if not s["visible"])
    return await asyncio.to_thread(_assemble, relations, columns, invisible, schemas[0]["now"])


def _assemble(
    relations: Sequence[dict[str, Any]],
    columns: Sequence[dict[str, Any]],
    invisible: tuple[str, ...],
    taken_at: datetime,
) -> Catalog:
    by_relation: dict[int, list[Column]] = defaultdict(list)
    for row in columns:
        siblings = by_relation[row["relation"]]
        siblings.append(
            Column(
                name=row["name"],
                position=len(siblings) + 1,
                type=row["type"],
                nullable=row["nullable"],
                default=row["expression"],
                identity=str(row["attnum"]),
                comment=row["comment"],
            )
        )
    tables = tuple(
        Table(
            schema=row["schema"],
            name=row["name"],
            columns=tuple(by_relation[row["oid"]]),
            kind=KINDS[row["kind"]],
            identity=str(row["oid"]),
            rows=row["rows"],
            comment=row["comment"],
        )
        for row in relations
    )
    return Catalog(tables, taken_at, fingerprint(tables, invisible), invisible)


def fingerprint(tables: Sequence[Table], invisible: Sequence[str]) -> str:
    """A hash of everything but the row estimates."""
    digest = hashlib.sha256()
    for t in tables:
        columns = [(c.name, c.type, c.nullable, c.default, c.identity, c.comment) for c in t.columns]
        digest.update(json.dumps([t.schema, t.name, t.kind, t.identity, t.comment, columns]).encode())
        digest.update(b"\n")
    digest.update(json.dumps(list(invisible)).encode())
    return digest.hexdigest()
