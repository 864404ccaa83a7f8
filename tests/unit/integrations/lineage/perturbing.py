"""Lineage judged by execution: change one column of one table, run the query, see which columns of the answer move."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import duckdb

from integrations.lineage import ROWS, Lineage, Source

# By a type's family: what a column may be changed to. `{c}` is the column, `{t}` its table, `{k}` its type.
ROTATED = "coalesce(lead({c}) over (order by rowid), (select {c} from origin.{t} order by rowid limit 1))"
ALWAYS = (
    ROTATED,
    "case when rowid % 2 = 0 then null else {c} end",
    "(select {c} from origin.{t} order by rowid limit 1 offset 2)",
)
CHANGES = {
    "number": (
        "{c} + 1",
        "{c} * 3 - 7",
        "-{c}",
        "case when rowid = 1 then {c} + 400 else {c} end",
        "case when rowid % 3 = 0 then {c} + 2 else {c} end",
    ),
    "text": ("{c} || 'x'", "reverse({c}) || rowid", "case when rowid = 1 then 'zz' else {c} end"),
    "date": (
        "({c} + interval 1 day)::{k}",
        "({c} + interval 200 day)::{k}",
        "({c} - interval (37 * (rowid % 9)) day)::{k}",
        "case when rowid = 1 then ({c} - interval 500 day)::{k} else {c} end",
    ),
    "bool": ("not {c}",),
}


def family(kind: str) -> str:
    """Which changes a type takes."""
    kind = kind.upper()
    if kind == "BOOLEAN":
        return "bool"
    if kind.startswith(("DATE", "TIME")):
        return "date"
    return "text" if kind.startswith(("VARCHAR", "JSON")) else "number"


@dataclass
class Answer:
    """What a query gave: names in order, and each column's values as a multiset."""

    names: list[str]
    columns: list[Counter[str]]

    def moved(self, other: Answer) -> set[str]:
        """The columns whose values differ."""
        return {n.lower() for n, a, b in zip(self.names, self.columns, other.columns, strict=True) if a != b}


@dataclass
class Seen:
    """For each source column: all output columns that ever moved, and the moves one by one."""

    moves: dict[Source, list[set[str]]] = field(default_factory=lambda: defaultdict(list))
    names: list[str] = field(default_factory=list)


class Stage:
    """Tables in DuckDB that can be changed one column at a time."""

    def __init__(self, tables: str) -> None:
        self.connection = duckdb.connect(config={"threads": 1})  # small tables: more would only wait for one another
        self.connection.execute("create schema origin; use origin;" + tables)
        rows = self.connection.execute(
            "select table_name, column_name, data_type from information_schema.columns"
            " where table_schema = 'origin' order by table_name, ordinal_position"
        ).fetchall()
        self.tables: dict[str, dict[str, str]] = defaultdict(dict)
        for table, column, kind in rows:
            self.tables[table][column] = kind
        self.connection.execute("create schema stage; use stage;")
        for table in self.tables:
            self._restore(table)

    def _restore(self, table: str) -> None:
        self.connection.execute(f"create or replace table stage.{table} as from origin.{table}")

    def changes(self, tables: set[str]) -> Iterator[tuple[Source, str]]:
        """Each column of the tables with each way to change it, one after the other; at its end a table is restored."""
        for table in sorted(tables):
            for column, kind in self.tables[table].items():
                for change in (*CHANGES[family(kind)], *ALWAYS):
                    yield Source(table, column), change.format(c=column, t=table, k=kind)
            self._restore(table)

    def change(self, changed: Source, new: str) -> None:
        """Fill a table with its rows anew, one column changed."""
        self.connection.execute(
            f"create or replace table stage.{changed.table} as"
            f" select * replace (({new}) as {changed.column}) from origin.{changed.table} order by rowid"
        )

    def answer(self, sql: str) -> Answer:
        """Run a script in a transaction that is rolled back; the answer of its last statement."""
        self.connection.execute("begin")
        try:
            cursor = self.connection.execute(sql)
            names = [d[0] for d in cursor.description or ()]
            rows = cursor.fetchall()
        finally:
            self.connection.execute("rollback")
        return Answer(names, [Counter(_plain(r[i]) for r in rows) for i in range(len(names))])


def _plain(value: object) -> str:
    return f"{value:.9g}" if isinstance(value, float) else repr(value)


def observe(
    stage: Stage, scripts: Mapping[str, str], lineages: Mapping[str, Lineage], *, is_thorough: bool = False
) -> dict[str, Seen]:
    """Run every script under changes of the tables it reads; columns that move by themselves are left out.

    Unless thorough, a script is not run under more changes of a column than two once all has moved that should.
    """
    tables = {name: {t for t in lineages[name].reads if t in stage.tables} for name in scripts}
    wanted = {name: named(lineages[name]) for name in scripts}
    before = {name: stage.answer(sql) for name, sql in scripts.items()}
    restless = {name: before[name].moved(stage.answer(sql)) for name, sql in scripts.items()}
    seen = {name: Seen(names=before[name].names) for name in scripts}
    for changed, new in stage.changes(set().union(*tables.values())):
        asked = [
            name
            for name in scripts
            if changed.table in tables[name]
            and (is_thorough or not suffices(seen[name].moves[changed], wanted[name][changed]))
        ]
        if asked:
            stage.change(changed, new)
        for name in asked:
            seen[name].moves[changed].append(stage.answer(scripts[name]).moved(before[name]) - restless[name])
    return seen


def suffices(moves: Sequence[set[str]], wanted: set[str]) -> bool:
    """Has a column been changed often enough: twice, and all has moved that should?"""
    enough = len(moves) >= 2 and wanted - {ROWS} <= set().union(*moves)
    return enough and (ROWS not in wanted or any(moves))


def named(lineage: Lineage, relation: str = "result") -> dict[Source, set[str]]:
    """What lineage says each column moves; `ROWS` among it: it decides rows, and so may move anything."""
    found: dict[Source, set[str]] = defaultdict(set)
    for edge in lineage.edges:
        if edge.target.relation == relation and edge.source.column != ROWS:
            found[edge.source].add(edge.target.column)
    return found


def disagreements(lineage: Lineage, seen: Seen, relation: str = "result") -> list[str]:
    """Where lineage and what was seen differ: moves it does not name, names that never move.

    A source with an edge to the rows may move any column, and must move some; any other moves exactly those it names.
    """
    said = named(lineage, relation)
    found = []
    for source in sorted(set(seen.moves) | set(said)):
        ever: set[str] = set().union(*seen.moves.get(source, ()))
        columns = said[source] - {ROWS}
        if missing := columns - ever:
            found.append(f"{source} is said to move {sorted(missing)}, and never did")
        if ROWS in said[source]:
            if not ever:
                found.append(f"{source} is said to decide rows, and nothing ever moved")
        elif extra := ever - columns:
            found.append(f"{source} moved {sorted(extra)}, which lineage does not name")
    return found


def shapes(stage: Stage) -> dict[str, Sequence[str]]:
    """The tables as a schema for lineage."""
    return {table: list(columns) for table, columns in stage.tables.items()}
