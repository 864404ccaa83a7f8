"""DDL of many dialects as teams write it: each statement is read as what it does, or refused with its place."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from config.errors import UsageError
from integrations.base import Column, Table
from integrations.declared import Declared, read_scripts

_HERE = Path(__file__).parent
SAID: dict[str, list[dict[str, Any]]] = yaml.safe_load((_HERE / "ddl_by_dialect.yaml").read_text(encoding="utf-8"))


def _told(declared: Declared) -> Iterator[str]:
    """All that a script declares, a line a table."""
    for table in declared.catalog.tables:
        yield _table(table)
    for one in declared.catalog.sequences:
        yield f"sequence {one.schema}.{one.name}: {one.definition}"
    if declared.passed_over:
        yield "passed over: " + ", ".join(declared.passed_over)


def _table(table: Table) -> str:
    kind = "" if table.kind == "table" else f"{table.kind} "
    parts = [f"{kind}{table.path}({', '.join(map(_column, table.columns))})"]
    parts += [f"{c.name or '-'}: {c.definition}" for c in table.constraints]
    parts += [f"index {i.name}({', '.join(i.columns)}){' unique' if i.unique else ''}" for i in table.indexes]
    parts += [f"split {table.partitioning}"] if table.partitioning else []
    parts += [f"comment {table.comment}"] if table.comment else []
    return "; ".join(parts)


def _column(column: Column) -> str:
    said = f"{column.name} {column.type}{'' if column.nullable else ' not null'}"
    said += "" if column.default is None else f" default {column.default}"
    for word, value in (
        ("generated", column.generated),
        ("numbered", column.numbering),
        ("collate", column.collation),
        ("comment", column.comment),
    ):
        said += f" {word} {value}" if value else ""
    return said


@pytest.mark.parametrize(
    ("dialect", "case"), [(d, case) for d, cases in SAID.items() for case in cases], ids=lambda value: str(value)[:60]
)
def test_statement(dialect: str, case: dict[str, Any]) -> None:
    """A statement changes the structure as it does in its engine; one that is not read says which and where."""
    if "unread" in case:
        with pytest.raises(UsageError) as refused:
            read_scripts({"": case["ddl"]}, dialect)
        assert refused.value.message == case["unread"]
    else:
        assert list(_told(read_scripts({"": case["ddl"]}, dialect))) == case["tells"]


def test_there_are_statements_of_every_dialect() -> None:
    """The dialects that are listed as untested against live servers are all among them, with more than a few."""
    listed = {"oracle", "redshift", "tsql", "snowflake", "bigquery", "databricks", "mysql", "clickhouse", "trino"}
    assert set(SAID) >= listed
    assert sum(map(len, SAID.values())) > 150
    assert all("unread" not in case or "line" in case["unread"] for cases in SAID.values() for case in cases)
