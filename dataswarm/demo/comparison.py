"""A mart row by row: what it holds, and how that differs from what it should hold."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from typing import Any, Final, Self

from psycopg import Connection, sql

LOAD_TIME_COLUMNS: Final = ("_batch_id", "_loaded_at", "built_at")
"""Columns that say when a row was loaded or built: they differ between the twins and are not compared."""

# A repaired column may come back wider; the values decide.
_FAMILIES: Final = {"smallint": "number", "integer": "number", "bigint": "number", "numeric": "number"}


@dataclass(frozen=True, slots=True)
class MartComparison:
    """One mart against what it should be.

    Attributes:
        mart: its name in schema analytics.
        against: `twin` or `last_good`.
        rows: how many it has.
        expected_rows: how many it should have.
        missing: rows that should be there and are not, duplicates counted.
        unexpected: rows that are there and should not be, duplicates counted.
        columns_differ: columns that are absent, new, or of another kind.
    """

    mart: str
    against: str
    rows: int
    expected_rows: int
    missing: int
    unexpected: int
    columns_differ: tuple[str, ...]

    @property
    def is_equal(self) -> bool:
        """Whether every row and column is as it should be."""
        return not (self.missing or self.unexpected or self.columns_differ)


@dataclass(frozen=True, slots=True)
class Contents:
    """All rows of a mart in COPY's text form, columns by name, and the columns with their kinds."""

    columns: dict[str, str]
    body: str

    @classmethod
    def read(cls, connection: Connection[Any], mart: str) -> Self:
        """Read a mart whole, without its load-time columns; one that is not there has no columns and no rows."""
        found = connection.execute(
            "select attname, format_type(atttypid, atttypmod) from pg_attribute where attrelid = to_regclass(%s) "
            "and attnum > 0 and not attisdropped and attname <> all(%s) order by attname",
            (f"analytics.{mart}", list(LOAD_TIME_COLUMNS)),
        ).fetchall()
        columns = {str(name): _FAMILIES.get(str(kind), str(kind)) for name, kind in found}
        if not columns:
            return cls({}, "")
        chosen = sql.SQL(", ").join(map(sql.Identifier, columns))
        query = sql.SQL("copy (select {} from {}) to stdout").format(chosen, sql.Identifier("analytics", mart))
        with connection.cursor().copy(query) as copy:
            return cls(columns, b"".join(bytes(block) for block in copy).decode())

    def compare(self, expected: Contents, mart: str, against: str) -> MartComparison:
        """What differs from what is expected, as EXCEPT ALL both ways would tell."""
        # COPY writes a line break inside a value as \n, so a line is a row; splitlines() would split at more.
        rows, wanted = Counter(self.body.split("\n")[:-1]), Counter(expected.body.split("\n")[:-1])
        differing = {name for name, _ in self.columns.items() ^ expected.columns.items()}
        return MartComparison(
            mart=mart,
            against=against,
            rows=rows.total(),
            expected_rows=wanted.total(),
            missing=(wanted - rows).total(),
            unexpected=(rows - wanted).total(),
            columns_differ=tuple(sorted(differing)),
        )


class ExpectedMarts:
    """What marts should hold, kept in the twin's schema `grading` under a name (a day of the twin, `last_good`)."""

    def __init__(self, twin: Connection[Any]) -> None:
        self._twin = twin
        twin.execute(
            "create table if not exists grading.expected "
            "(state text, mart text, columns jsonb, body text, primary key (state, mart))"
        )

    def keep(self, state: str, mart: str, contents: Contents) -> None:
        """Keep a mart's contents under a name, in the place of what was kept before."""
        self._twin.execute(
            "insert into grading.expected values (%s, %s, %s, %s) on conflict (state, mart) "
            "do update set columns = excluded.columns, body = excluded.body",
            (state, mart, json.dumps(contents.columns), contents.body),
        )

    def of(self, state: str) -> dict[str, Contents]:
        """Everything kept under a name, by mart; empty if nothing is."""
        found = self._twin.execute(
            "select mart, columns, body from grading.expected where state = %s order by mart", (state,)
        ).fetchall()
        return {str(mart): Contents(dict(columns), str(body)) for mart, columns, body in found}
