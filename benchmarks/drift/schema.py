"""A warehouse of any size, and changes to it that are known beforehand."""

from __future__ import annotations

import random
from collections.abc import Iterator

import psycopg
from psycopg import sql

Planted = tuple[str, str, str]  # kind of change, table, column (by the old name)
COLUMNS = 20
AT_ONCE = 250  # tables in one transaction: each takes a lock
_TYPES = ("integer", "bigint", "text", "varchar(50)", "numeric(12, 2)", "timestamptz", "boolean", "date")
_CHANGED = 0.01
_CHANGES = (
    ("column_renamed", "c05", "ALTER TABLE {table} RENAME COLUMN c05 TO c05_new"),
    ("column_added", "extra", "ALTER TABLE {table} ADD COLUMN extra text"),
    ("column_dropped", "c06", "ALTER TABLE {table} DROP COLUMN c06"),
    ("column_retyped", "c07", "ALTER TABLE {table} ALTER COLUMN c07 TYPE varchar(77) USING left(c07::text, 77)"),
    ("column_altered", "c08", "ALTER TABLE {table} ALTER COLUMN c08 SET NOT NULL"),
    ("table_dropped", "", "DROP TABLE {table} CASCADE"),
    ("table_added", "", "CREATE TABLE {table}_more (id int)"),
    ("table_renamed", "", "ALTER TABLE {table} RENAME TO {table}_moved"),
)


def tables(count: int) -> Iterator[str]:
    """CREATE statements: a key, a reference to the table before, an index, a default, a comment."""
    for number in range(count):
        own = [f"c{place:02d} {_TYPES[(number + place) % len(_TYPES)]}" for place in range(2, COLUMNS - 1)]
        columns = ["id bigint PRIMARY KEY", "parent_id bigint", *own, "loaded_at timestamptz NOT NULL DEFAULT now()"]
        if number:
            columns[1] += f" REFERENCES {name(number - 1)}"
        yield f"CREATE TABLE {name(number)} ({', '.join(columns)})"
        yield f"CREATE INDEX ON {name(number)} (c02)"
        yield f"COMMENT ON TABLE {name(number)} IS 'table {number}'"


def name(number: int) -> str:
    """Of a table."""
    return f"t{number:05d}"


def build(url: str, count: int) -> None:
    """Make so many tables."""
    with psycopg.connect(url) as connection:
        for number, statement in enumerate(tables(count), start=1):
            connection.execute(sql.SQL(statement))
            if number % (AT_ONCE * 3) == 0:
                connection.commit()


def change(url: str, count: int, *, seed: int = 7) -> set[Planted]:
    """Change one table in a hundred (at least eight), every way in turn; what was done.

    A reference to a dropped table goes with it, and is no change of its own.
    """
    chosen = random.Random(seed).sample(range(0, count - 1, 2), max(8, int(count * _CHANGED)))  # no two are neighbours
    planted: set[Planted] = set()
    with psycopg.connect(url, autocommit=True) as connection:
        for turn, number in enumerate(chosen):
            statement, done = _one(turn, name(number))
            connection.execute(sql.SQL(statement))
            planted.add(done)
    return planted


def _one(turn: int, table: str) -> tuple[str, Planted]:
    kind, column, statement = _CHANGES[turn % len(_CHANGES)]
    named = f"{table}_more" if kind == "table_added" else table
    return statement.format(table=table), (kind, named, column)
