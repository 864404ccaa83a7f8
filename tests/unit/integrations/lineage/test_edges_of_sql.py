"""What is hostile, huge or broken: it is reported, and nothing falls over."""

from __future__ import annotations

import string
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from config.errors import UsageError
from integrations.lineage import Schema, Source, Target, columns_of
from integrations.lineage.naming import join_path, split_path
from tests.unit.integrations.lineage.cases import cases


def test_an_unknown_dialect_names_the_nearest() -> None:
    """Your mistake, with what was probably meant."""
    with pytest.raises(UsageError) as caught:
        columns_of("select 1", dialect="snowflak")
    assert "snowflake" in str(caught.value)
    assert columns_of("select 1 as one", dialect="PostgreSQL").is_complete


def test_a_schema_of_another_dialect_is_refused() -> None:
    """Names would be folded wrongly."""
    with pytest.raises(UsageError, match="prepared for postgres"):
        columns_of("select 1", dialect="duckdb", schema=Schema({}, dialect="postgres"))


@pytest.mark.parametrize(
    ("sql", "statement", "line"),
    [
        ("select 1;\n\nselect from where (", 2, 3),
        ("select a from t where x = 'open", 1, 1),
        ("select {{ ref('x') }} from t", 1, 1),
    ],
)
def test_unreadable_sql_names_statement_and_line(sql: str, statement: int, line: int) -> None:
    """Where it is, and that it is a statement nobody could read; not the text itself."""
    doubts = columns_of(sql, dialect="postgres").unresolved
    assert [(u.statement, u.line, u.is_unread) for u in doubts] == [(statement, line, True)]
    assert "open" not in doubts[0].why.replace("an open quote", "")
    if "{{" in sql:
        assert "compiled code" in doubts[0].why


def test_a_thousand_parts() -> None:
    """Long unions and long conditions are no deep recursion."""
    sql = " union all ".join(f"select a{n % 7} as a from t" for n in range(800))
    found = columns_of(sql, dialect="postgres", schema={"t": [f"a{n}" for n in range(7)]})
    assert {e.source.column for e in found.edges if e.how == "value"} == {f"a{n}" for n in range(7)}
    where = " and ".join(f"a{n % 7} > {n}" for n in range(400))
    found = columns_of(f"select a0 from t where {where}", dialect="postgres", schema={"t": [f"a{n}" for n in range(7)]})
    assert len(found.edges) == 9


def test_nesting_beyond_reason_is_reported() -> None:
    """Not a crash."""
    sql = "select * from " + "(select * from " * 1500 + "t" + ") q" * 1500
    doubts = columns_of(sql, dialect="postgres").unresolved
    assert any(u.is_unread for u in doubts) or doubts


def test_a_wide_table() -> None:
    """Two thousand columns through a star."""
    names = [f"c{n}" for n in range(2000)]
    found = columns_of("with s as (select * from t) select * from s", dialect="snowflake", schema={"t": names})
    assert len(found.edges) == 2001
    assert found.statements[0].columns == tuple(names)


def test_empty_scripts() -> None:
    """Nothing in, nothing out."""
    for sql in ("", ";;", "-- only a comment", "  \n"):
        assert columns_of(sql, dialect="postgres").edges == frozenset()


NAMES = st.text(string.ascii_letters + " .\"'`;-é", min_size=1, max_size=8)


@given(st.lists(NAMES, min_size=1, max_size=3))
def test_paths_are_written_and_read(parts: list[str]) -> None:
    """Whatever is in a name."""
    assert split_path(join_path(parts)) == tuple(parts)


@given(NAMES, NAMES)
def test_any_name_survives(table: str, column: str) -> None:
    """A quoted name is found as the schema spells it, and handed on."""
    quoted = ['"' + n.replace('"', '""') + '"' for n in (table, column)]
    schema = {join_path([table]): [column]}
    found = columns_of(f"select {quoted[1]} from {quoted[0]}", dialect="postgres", schema=schema)
    assert not found.unresolved
    assert any(
        e.source == Source(join_path([table]), column) and e.target == Target("result", column) for e in found.edges
    )


CASES = [case for _, case in cases()]
CUT_OFF = {
    "sql": "merge into dst using src on dst.id = src.a when not matched then insert values;",
    "dialect": "snowflake",
    "schema": {"DST": ["ID", "N"], "SRC": ["A", "B"]},
}


@settings(max_examples=150, deadline=None)
@example(case=CUT_OFF, place=0, put="")
@given(
    case=st.sampled_from(CASES),
    place=st.integers(0, 400),
    put=st.sampled_from(["", ";", "(", ")", ",", "'", " from ", "*", "."]),
)
def test_a_broken_script_never_breaks_the_reader(case: dict[str, Any], place: int, put: str) -> None:
    """Cut a piece out of good SQL or put one in: there is an answer, and doubts name their place."""
    sql = case["sql"]
    at = place % len(sql)
    for broken in (sql[:at] + put + sql[at:], sql[:at] + put + sql[at + 3 :]):
        found = columns_of(broken, dialect=case.get("dialect", "duckdb"), schema=case.get("schema", {}))
        assert all(u.why and u.statement >= 1 for u in found.unresolved)
