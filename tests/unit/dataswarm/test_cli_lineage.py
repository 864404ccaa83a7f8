"""`dataswarm lineage`: what it answers about files, and how it refuses. No database, no configuration."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

from dataswarm import cli
from dataswarm.commands import lineaging

runner = CliRunner()


def run(*arguments: str, given: str = "") -> Result:
    """Run the command alone."""
    app = typer.Typer(cls=cli.Polite)
    app.callback()(lambda: None)
    lineaging.add(app)
    return runner.invoke(app, ["lineage", *arguments], input=given)


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A schema and two scripts that build on one another."""
    (tmp_path / "tables.yaml").write_text("raw.orders: [id, status, total]\n", encoding="utf-8")
    (tmp_path / "a.sql").write_text("create view mart.m as select * from stage.s;\n", encoding="utf-8")
    stage = "create table stage.s as\nselect id, total / 100 as euros from raw.orders where status = 'paid';\n"
    (tmp_path / "b.sql").write_text(stage, encoding="utf-8")
    return tmp_path


def test_as_text(files: Path) -> None:
    """Relation by relation: columns with what they come from, then what decides the rows."""
    result = run(str(files), "--dialect", "postgres", "--schema", str(files / "tables.yaml"))
    assert result.exit_code == 0, result.output
    lines = [" ".join(line.split()) for line in result.output.splitlines()]
    assert "stage.s" in lines
    assert "euros raw.orders.total value" in lines
    assert "(rows) raw.orders.status filter" in lines
    assert "euros stage.s.euros value" in lines
    assert lines.index("(rows) raw.orders.status filter") > lines.index("euros raw.orders.total value")


def test_as_json(files: Path) -> None:
    """The stable form: edges, doubts with their place, the order of reading."""
    result = run(str(files), "--dialect", "postgres", "--schema", str(files / "tables.yaml"), "--json")
    found: dict[str, Any] = json.loads(result.output)
    assert set(found) == {"edges", "unresolved", "read", "circular"}
    assert {
        "source": {"table": "raw.orders", "column": "status"},
        "target": {"relation": "stage.s", "column": None},
        "how": "filter",
    } in found["edges"]
    assert [Path(name).name for name in found["read"]] == ["b.sql", "a.sql"]
    assert found["unresolved"] == []


def test_from_standard_input() -> None:
    """`-` reads it; what is not known is said, and is no failure."""
    result = run("-", "--dialect", "snowflake", given="select * from t;\nselect a from t")
    assert result.exit_code == 0, result.output
    assert "standard input, statement 1, line 1: the columns of T are not known" in result.output


def test_an_unreadable_statement(tmp_path: Path) -> None:
    """Named with file, statement and line; the others are read; exit status 1."""
    (tmp_path / "x.sql").write_text("select a from t;\n\nselect from (;\n", encoding="utf-8")
    result = run(str(tmp_path / "x.sql"), "--dialect", "postgres")
    assert result.exit_code == 1
    assert "x.sql, statement 2, line 3: it cannot be read" in result.output
    assert "t.a" in result.output


def test_a_manifest(tmp_path: Path) -> None:
    """A dbt manifest brings its own dialect."""
    node = {
        "unique_id": "model.shop.m",
        "resource_type": "model",
        "schema": "mart",
        "alias": "m",
        "compiled_code": "select total from raw.orders",
        "config": {"materialized": "view"},
    }
    manifest = {"metadata": {"adapter_type": "postgres"}, "nodes": {"model.shop.m": node}, "sources": {}}
    (tmp_path / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    result = run(str(tmp_path / "manifest.json"))
    assert result.exit_code == 0, result.output
    assert "raw.orders.total" in result.output


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("nowhere.sql", "--dialect", "postgres"), "nowhere.sql cannot be read"),
        (("-", "--dialect", "postgress"), "did you mean postgres"),
        (("-",), "which SQL is it?"),
        (("-", "--dialect", "postgres", "--schema", "{here}/wrong.yaml"), "holds no columns"),
        (("{here}/empty", "--dialect", "postgres"), "no .sql file"),
        (("{here}/wrong.json", "--dialect", "postgres"), "not a dbt manifest"),
        (("{here}/wrong.json", "-", "--dialect", "postgres"), "by itself"),
    ],
)
def test_refusals(tmp_path: Path, arguments: tuple[str, ...], says: str) -> None:
    """Your mistake, in a sentence with a hint, and exit status 2."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "wrong.yaml").write_text("orders: 5\n", encoding="utf-8")
    (tmp_path / "wrong.json").write_text("[1]", encoding="utf-8")
    result = run(*(a.format(here=tmp_path) for a in arguments), given="select 1")
    assert result.exit_code == 2, result.output
    assert says in result.stderr
    assert "Traceback" not in result.output
