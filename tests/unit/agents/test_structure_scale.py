"""Large structures: what comparing, writing down and asking for uses cost."""

from __future__ import annotations

import time
import tracemalloc
from dataclasses import replace

import pytest

from agents.structure.difference import difference
from agents.structure.known import KnownTable, Structure
from agents.structure.parts import as_parts, changed_parts, from_parts
from integrations.base import Column, Constraint, Index
from tests.pace import quick

TABLES, COLUMNS = 10_000, 20


def _table(number: int) -> KnownTable:
    columns = tuple(
        Column(f"column_{i}", i + 1, "character varying(40)" if i % 3 else "integer", True, None, str(i + 1))
        for i in range(COLUMNS)
    )
    name = f"table_{number}"
    return KnownTable(
        "raw",
        name,
        "table",
        str(number),
        100,
        columns,
        comment="a table",
        constraints=(Constraint(f"{name}_pkey", "primary_key", ("column_0",), "PRIMARY KEY (column_0)"),),
        indexes=(Index(f"by_{number}", ("column_1", "column_2"), False, "btree (column_1, column_2)"),),
    )


def _structure() -> Structure:
    return Structure({t.path: t for t in map(_table, range(TABLES))})


def _changed(before: Structure) -> Structure:
    """One table in a hundred with a column renamed, one retyped, one dropped and one added."""
    tables = dict(before.tables)
    for number in range(0, TABLES, 100):
        table = _table(number)
        columns = list(table.columns)
        columns[3] = columns[3]._replace(name="renamed")
        columns[4] = columns[4]._replace(type="text")
        columns[5] = Column("fresh", 6, "date", True, None, "99")
        tables[table.path] = replace(table, columns=tuple(columns))
    return replace(before, tables=tables)


@pytest.fixture(scope="module")
def before() -> Structure:
    """Ten thousand tables."""
    return _structure()


def test_ten_thousand_tables_compare_in_two_seconds(before: Structure) -> None:
    """Of 200,000 columns one in a hundred tables changed: each change is told, in seconds, without another copy."""
    after = _changed(_structure())
    tracemalloc.start()
    begun = time.process_time()
    changes = difference(before, after)
    spent = time.process_time() - begun
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(changes) == 4 * TABLES // 100
    assert spent < quick(2), "measured: 0.5 s"
    assert peak < 20e6


def test_many_tables_that_move_together_are_quick(before: Structure) -> None:
    """A schema gets another name: what each table may be called in a text is not put together for each anew."""
    tables = dict(list(before.tables.items())[:3_000])
    moved = {f"later.{table.name}": replace(table, schema="later") for table in tables.values()}
    begun = time.process_time()
    changes = difference(tables, moved)
    assert time.process_time() - begun < quick(4), "measured: 0.2 s"
    assert {(c.kind, c.payload["evidence"]) for c in changes} == {("table_renamed", "identity")}
    assert len(changes) == len(tables)


def test_parts_of_ten_thousand_tables(before: Structure) -> None:
    """Writing down and reading back are a matter of seconds, and only the changed tables are written again."""
    begun = time.process_time()
    parts = as_parts(before)
    written = time.process_time() - begun
    begun = time.process_time()
    assert from_parts(parts) == before
    read = time.process_time() - begun
    assert len(changed_parts(parts, as_parts(_changed(before)))) == TABLES // 100
    assert written < quick(5), "measured: 0.4 s"
    assert read < quick(5), "measured: 0.7 s"


def test_a_wide_table_made_anew() -> None:
    """Two thousand columns in reverse order, half of them renamed: seconds, not minutes."""
    columns = tuple(Column(f"c{i}", i + 1, "integer", True) for i in range(2000))
    before = KnownTable("raw", "wide", "table", None, 1, columns)
    turned = [c._replace(position=n, name=c.name if n % 2 else f"n{n}") for n, c in enumerate(reversed(columns), 1)]
    after = replace(before, columns=tuple(turned))
    begun = time.process_time()
    changes = difference({before.path: before}, {after.path: after})
    assert time.process_time() - begun < quick(10)
    assert {c.kind for c in changes} == {"columns_ambiguous", "column_altered"}
