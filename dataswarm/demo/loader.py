"""The producer's loader: appends daily batches to the raw tables under whatever names these have by now.

What the producer calls its tables and columns stands in schema `producer`, in the same database, so that a fault and
the loader's knowledge of it change in one transaction. The swarm's roles cannot read that schema.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, LiteralString

from psycopg import Connection, sql

from dataswarm.demo.raw_tables import LOAD_COLUMNS, TABLES, RawTable, Row
from dataswarm.demo.shop import Shop

_PRODUCER: Final[LiteralString] = """
create table producer.tables (table_key text primary key, current_name text not null, loaded_through integer);
create table producer.columns (
    table_key text not null references producer.tables,
    column_key text not null,
    current_name text,
    primary key (table_key, column_key)
);
"""


@dataclass(frozen=True, slots=True)
class Names:
    """What a raw table and its columns are called today; a dropped column has no entry."""

    table: str
    columns: dict[str, str]
    loaded_through: int

    @property
    def relation(self) -> sql.Identifier:
        """The table, quoted and qualified."""
        return sql.Identifier("raw", self.table)


def create_raw(connection: Connection[Any]) -> None:
    """Make the empty raw tables and the producer's notes. The connection is the loader's."""
    connection.execute(_PRODUCER)
    for table in TABLES.values():
        columns = [
            sql.SQL("{} {}").format(sql.Identifier(name), sql.SQL(kind))
            for name, kind in (*table.columns, (LOAD_COLUMNS[0], "text"), (LOAD_COLUMNS[1], "timestamptz"))
        ]
        connection.execute(
            sql.SQL("create table {} ({})").format(sql.Identifier("raw", table.name), sql.SQL(", ").join(columns))
        )
        connection.execute("insert into producer.tables values (%s, %s, -1)", (table.name, table.name))
        connection.cursor().executemany(
            "insert into producer.columns values (%s, %s, %s)",
            [(table.name, column, column) for column, _ in table.columns],
        )


def names_of(connection: Connection[Any], table: str) -> Names:
    """What the producer calls a table today.

    Args:
        connection: any role that may read `producer`.
        table: the table's first name.
    """
    row = connection.execute(
        "select current_name, loaded_through from producer.tables where table_key = %s", (table,)
    ).fetchone()
    if row is None:
        raise KeyError(table)
    columns = connection.execute(
        "select column_key, current_name from producer.columns where table_key = %s and current_name is not null",
        (table,),
    ).fetchall()
    return Names(row[0], dict(columns), row[1])


def loaded_through(connection: Connection[Any]) -> int:
    """The last day, counted from the shop's first, that every table has been loaded for; -1 for none."""
    row = connection.execute("select min(loaded_through) from producer.tables").fetchone()
    return -1 if row is None else int(row[0])


def load(
    connection: Connection[Any],
    shop: Shop,
    through: int,
    loaded_at: dict[int, datetime] | datetime,
    *,
    tables: tuple[str, ...] = tuple(TABLES),
) -> int:
    """Append every batch up to and including day `through` that a table does not have yet.

    Args:
        connection: the loader's, or one that may write what the loader may; the caller commits.
        shop: where the rows come from.
        through: the last day to load.
        loaded_at: the load time written into the rows; by day where history is loaded in one go.
        tables: the first names of the tables to load.

    Returns:
        How many rows were appended.
    """
    total = 0
    for table in tables:
        names = names_of(connection, table)
        rows: list[Row] = []
        for index in range(names.loaded_through + 1, through + 1):
            at = loaded_at[index] if isinstance(loaded_at, dict) else loaded_at
            rows.extend((*row, batch_id(shop, table, index), at) for row in shop.rows(table, index))
        append(connection, TABLES[table], names, rows)
        connection.execute(
            "update producer.tables set loaded_through = greatest(loaded_through, %s) where table_key = %s",
            (through, table),
        )
        total += len(rows)
    return total


def batch_id(shop: Shop, table: str, index: int) -> str:
    """The name of a table's batch of a day, as the loader writes it into `_batch_id`."""
    return f"{table}-{shop.day(index).isoformat()}"


def append(connection: Connection[Any], table: RawTable, names: Names, rows: list[Row]) -> None:
    """Copy rows (business columns in their first order, then the load-time columns) into the table of today."""
    wanted = [*(column for column, _ in table.columns), *LOAD_COLUMNS]
    kept = [place for place, column in enumerate(wanted) if column in LOAD_COLUMNS or column in names.columns]
    targets = [sql.Identifier(names.columns.get(wanted[place], wanted[place])) for place in kept]
    statement = sql.SQL("copy {} ({}) from stdin").format(names.relation, sql.SQL(", ").join(targets))
    with connection.cursor().copy(statement) as copy:
        for row in rows:
            copy.write_row([row[place] for place in kept])
