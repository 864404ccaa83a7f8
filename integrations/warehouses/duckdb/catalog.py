"""The catalog of a DuckDB file in nine queries and one snapshot, however many tables there are.

DuckDB gives every object another number at each opening, so nothing here has an identity that survives a rename;
what a column holds tells a rename instead.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from integrations.base import Catalog, Column, Constraint, Enumeration, Index, NumberSequence, Table
from integrations.duck import Session, fingerprint, normalised
from integrations.warehouses.duckdb.options import DuckdbOptions

Row = dict[str, Any]

_HERE: Final = "database_name = current_database()"
_NOW: Final = "select epoch_us(now()) as now"
_TABLES: Final = f"""
select schema_name as schema, table_name as name, 'table' as kind, estimated_size as rows,
       coalesce(comment, '') as comment, '' as sql
  from duckdb_tables() where {_HERE} and not internal and not temporary
union all by name
select schema_name as schema, view_name as name, 'view' as kind, -1 as rows, coalesce(comment, '') as comment, sql
  from duckdb_views() where {_HERE} and not internal and not temporary
 order by 1, 2
"""
_COLUMNS: Final = f"""
select schema_name as schema, table_name as name, column_name as column, data_type as type, is_nullable as nullable,
       case when not is_generated then column_default end as "default", coalesce(comment, '') as comment,
       case when is_generated then generation_expression end as generated
  from duckdb_columns() where {_HERE} and not internal
 order by schema_name, table_name, column_index
"""
_CONSTRAINTS: Final = f"""
select schema_name as schema, table_name as name, constraint_name as constraint, constraint_type as kind,
       constraint_column_names as columns, constraint_text as definition, referenced_table as target,
       referenced_column_names as referenced
  from duckdb_constraints() where {_HERE} and constraint_type <> 'NOT NULL'
 order by schema_name, table_name, constraint_name
"""
_INDEXES: Final = f"""
select schema_name as schema, table_name as name, index_name as index, expressions::varchar[] as columns,
       is_unique as "unique", sql
  from duckdb_indexes() where {_HERE}
 order by schema_name, table_name, index_name
"""
_ENUMERATIONS: Final = f"""
select schema_name as schema, type_name as name, labels
  from duckdb_types() where {_HERE} and not internal and logical_type = 'ENUM'
 order by 1, 2
"""
# The file keeps the next value as the sequence's start, so the start is left out with the last value.
_SEQUENCES: Final = f"""
select schema_name as schema, sequence_name as name, increment_by as step, min_value as low, max_value as high, cycle
  from duckdb_sequences() where {_HERE} and not temporary
 order by 1, 2
"""
# Whatever stands in a catalog, as one hash a schema.
_HASHES: Final = f"""
with parts as (
select schema_name as schema, ['table', table_name, sql, coalesce(comment, '')]::varchar as part
  from duckdb_tables() where {_HERE} and not internal and not temporary
union all select schema_name, ['view', view_name, sql, coalesce(comment, '')]::varchar
  from duckdb_views() where {_HERE} and not internal and not temporary
union all select schema_name, ['column', table_name, column_index::varchar, column_name, data_type,
                               is_nullable::varchar, coalesce(column_default, ''), coalesce(comment, '')]::varchar
  from duckdb_columns() where {_HERE} and not internal
union all select schema_name, ['index', table_name, index_name, sql]::varchar
  from duckdb_indexes() where {_HERE}
union all select schema_name, ['type', type_name, labels::varchar]::varchar
  from duckdb_types() where {_HERE} and not internal and logical_type = 'ENUM'
union all select schema_name, ['sequence', sequence_name, increment_by::varchar, min_value::varchar,
                               max_value::varchar, cycle::varchar]::varchar
  from duckdb_sequences() where {_HERE} and not temporary)
select schema, md5(string_agg(part, chr(10) order by part)) as hash from parts group by schema order by schema
"""
_KINDS: Final = {"PRIMARY KEY": "primary_key", "UNIQUE": "unique", "FOREIGN KEY": "foreign_key", "CHECK": "check"}
_NAME: Final = r"(?:\"(?:[^\"]|\"\")*\"|[^\s.\"(]+)"
_QUOTED: Final = re.compile(r'"((?:[^"]|"")*)"')
_VIEW: Final = re.compile(
    rf"\s*create\s+(?:\w+\s+)*?view\s+{_NAME}(?:\.{_NAME})*\s*(?:\((?:\"(?:[^\"]|\"\")*\"|[^)\"])*\)\s*)?as\s+",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class _Parts:
    """What belongs to tables, by schema and name."""

    columns: dict[tuple[str, str], list[Row]]
    constraints: dict[tuple[str, str], list[Row]]
    indexes: dict[tuple[str, str], list[Row]]


def read_catalog(session: Session, options: DuckdbOptions) -> Catalog:
    """Everything in the schemas to look at."""
    session.run("begin transaction")
    now = session.rows(_NOW)[0]["now"]
    relations = [r for r in session.rows(_TABLES) if options.looks_at(r["schema"])]
    parts = _Parts(*(_grouped(session.rows(query)) for query in (_COLUMNS, _CONSTRAINTS, _INDEXES)))
    enumerations = tuple(
        Enumeration(r["schema"], r["name"], tuple(r["labels"]))
        for r in session.rows(_ENUMERATIONS)
        if options.looks_at(r["schema"])
    )
    sequences = tuple(
        NumberSequence(r["schema"], r["name"], _sequence(r))
        for r in session.rows(_SEQUENCES)
        if options.looks_at(r["schema"])
    )
    session.run("rollback")
    tables = tuple(_table(r, parts) for r in relations)
    taken_at = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=now)
    return Catalog(
        tables,
        taken_at,
        fingerprint(tables, enumerations, sequences),
        enumerations=enumerations,
        sequences=sequences,
    )


def read_fingerprint(session: Session, options: DuckdbOptions) -> str:
    """A hash of what a catalog would hold, made where the data is."""
    found = session.rows(_HASHES)
    return " ".join(f"{r['hash']}" for r in found if options.looks_at(r["schema"])) or "empty"


def _grouped(rows: Iterable[Row]) -> dict[tuple[str, str], list[Row]]:
    found: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in rows:
        found[row["schema"], row["name"]].append(row)
    return found


def _table(row: Row, parts: _Parts) -> Table:
    key = row["schema"], row["name"]
    return Table(
        schema=row["schema"],
        name=row["name"],
        columns=tuple(
            Column(
                name=c["column"],
                position=place,
                type=normalised(c["type"]),
                nullable=c["nullable"],
                default=c["default"],
                comment=c["comment"],
                generated=c["generated"] or "",
            )
            for place, c in enumerate(parts.columns[key], start=1)
        ),
        kind=row["kind"],
        rows=row["rows"],
        comment=row["comment"],
        constraints=tuple(_constraint(c) for c in parts.constraints[key]),
        indexes=tuple(
            Index(i["index"], tuple(map(_bare, i["columns"])), unique=i["unique"], definition=i["sql"].rstrip(";"))
            for i in parts.indexes[key]
        ),
        definition=_query(row["sql"]),
    )


def _constraint(row: Row) -> Constraint:
    return Constraint(
        name=row["constraint"] or "",
        kind=_KINDS.get(row["kind"], row["kind"].lower()),
        columns=tuple(row["columns"]),
        definition=row["definition"],
        # DuckDB has no foreign key across schemas.
        references=f"{row['schema']}.{row['target']}" if row["target"] else "",
        referenced=tuple(row["referenced"] or ()),
    )


def _query(sql: str) -> str:
    """The query of a view, out of the statement that makes it."""
    found = _VIEW.match(sql)
    return (sql[found.end() :] if found else sql).rstrip().rstrip(";")


def _bare(expression: str) -> str:
    """A column's name without quotes; an expression as it is."""
    found = _QUOTED.fullmatch(expression)
    return found[1].replace('""', '"') if found else expression


def _sequence(row: Row) -> str:
    cycle = "cycle" if row["cycle"] else "no cycle"
    return f"bigint increment {row['step']} minvalue {row['low']} maxvalue {row['high']} {cycle}"
