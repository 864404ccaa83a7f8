"""Many scripts that build on one another: views, folders, dbt; what is read again when something changes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from config.errors import SourceError, UsageError
from integrations.lineage import (
    Edge,
    How,
    Lineage,
    Memo,
    Schema,
    Source,
    Target,
    columns_of,
    folder,
    manifest,
    scripts,
    views,
)
from integrations.lineage.loading import load_tables


def value(source: str, target: str) -> Edge:
    """An edge from `table.column` to `relation.column`."""
    table, _, column = source.rpartition(".")
    relation, _, name = target.rpartition(".")
    return Edge(Source(table, column), Target(relation, name), "value")


VIEWS = {
    "mart.top": "select twice from mart.middle where id > 3",
    "mart.middle": "create view mart.middle as select id, total * 2 as twice from raw.orders",
}


def test_views_in_any_order() -> None:
    """What a view is built on is read before it, and its star is known afterwards."""
    schema = Schema({"raw.orders": ["id", "total"]}, dialect="postgres")
    found = views({**VIEWS, "mart.all": "select * from mart.top"}, schema=schema)
    assert list(found.parts) == ["mart.middle", "mart.top", "mart.all"]
    assert value("mart.top.twice", "mart.all.twice") in found.edges
    assert not found.unresolved
    values: tuple[How, ...] = ("value",)
    down = found.graph.downstream("raw.orders", "total", hows=values)
    assert down == (Target("mart.middle", "twice"), Target("mart.top", "twice"), Target("mart.all", "twice"))
    assert Target("mart.top", "") in found.graph.downstream("raw.orders", "id")
    assert Source("raw.orders", "total") in found.graph.upstream("mart.all", "twice")


def test_views_in_a_circle() -> None:
    """They are read with what is known, and named."""
    schema = Schema({}, dialect="postgres")
    found = views({"a": "select x from b", "b": "select x from a"}, schema=schema)
    assert set(found.circular) == {"a", "b"}


def test_only_what_changed_is_read_again() -> None:
    """Nothing changed: nothing is parsed. A column more in one table: what reads it, and what is built on that."""
    memo = Memo()
    tables = {"raw.orders": ["id", "total"], "raw.other": ["x"]}
    texts = {**VIEWS, "mart.star": "select * from raw.other", "mart.far": "select x from mart.star"}
    first = views(texts, schema=Schema(tables, dialect="postgres"), memo=memo)
    assert (memo.hits, memo.misses) == (0, 4)
    assert views(texts, schema=Schema(tables, dialect="postgres"), memo=memo).edges == first.edges
    assert (memo.hits, memo.misses) == (4, 4)
    views(texts, schema=Schema({**tables, "raw.unrelated": ["y"]}, dialect="postgres"), memo=memo)
    assert (memo.hits, memo.misses) == (8, 4)
    grown = views(texts, schema=Schema({**tables, "raw.other": ["x", "y"]}, dialect="postgres"), memo=memo)
    assert (memo.hits, memo.misses) == (10, 6)
    assert value("raw.other.y", "mart.star.y") in grown.edges
    views({**texts, "mart.far": "select x as z from mart.star"}, schema=Schema(tables, dialect="postgres"), memo=memo)
    assert memo.misses == 8  # the star as it was before, and the text that is new


def test_a_memo_forgets_the_oldest() -> None:
    """It holds so many and no more."""
    memo, schema = Memo(size=2), Schema({}, dialect="duckdb")
    for number in (1, 2, 3, 1):
        memo.columns_of(f"select a{number} from t", schema=schema)
    assert (memo.hits, memo.misses) == (0, 4)


def test_a_folder(tmp_path: Path) -> None:
    """Files that fill tables, ordered by who reads what; a later file knows what an earlier one created."""
    (tmp_path / "deep").mkdir()
    (tmp_path / "a_mart.sql").write_text("insert into mart.m select * from stage.s;", encoding="utf-8")
    (tmp_path / "b_mart.sql").write_text("create table mart.m (k int, n int);", encoding="utf-8")
    (tmp_path / "deep" / "z.sql").write_text(
        "create table stage.s as select id, total from raw.orders", encoding="utf-8"
    )
    schema = Schema({"raw.orders": ["id", "total"]}, dialect="postgres")
    found = folder(tmp_path, schema=schema)
    assert list(found.parts) == ["b_mart.sql", "deep/z.sql", "a_mart.sql"]
    assert value("stage.s.total", "mart.m.n") in found.edges
    with pytest.raises(UsageError, match="no folder"):
        folder(tmp_path / "nowhere", schema=schema)


def node(name: str, code: str, *needs: str, kind: str = "model", **more: Any) -> dict[str, Any]:
    """A node of a manifest."""
    return {
        "unique_id": f"{kind}.shop.{name}",
        "resource_type": kind,
        "schema": "analytics",
        "alias": name,
        "database": "db",
        "compiled_code": code,
        "depends_on": {"nodes": list(needs)},
        "config": {"materialized": "view"},
        "language": "sql",
        **more,
    }


def dbt(*nodes: dict[str, Any]) -> dict[str, Any]:
    """A manifest with one source and one exposure."""
    source = {
        "unique_id": "source.shop.raw.orders",
        "resource_type": "source",
        "schema": "raw",
        "identifier": "orders",
        "database": "db",
    }
    board = {"unique_id": "exposure.shop.board", "depends_on": {"nodes": ["model.shop.mart"]}}
    return {
        "metadata": {"adapter_type": "postgres"},
        "nodes": {n["unique_id"]: n for n in nodes},
        "sources": {source["unique_id"]: source},
        "exposures": {board["unique_id"]: board},
    }


STAGE = node(
    "stg", 'with o as (select * from "db"."raw"."orders") select id, total, at from o', "source.shop.raw.orders"
)


def test_a_dbt_project() -> None:
    """Compiled models through sources and snapshots to an exposure; no table needs to be known for it."""
    mart = node("mart", 'select * from "db"."analytics"."snap" where total > 0', "snapshot.shop.snap")
    config = {"unique_key": "id", "updated_at": "at", "strategy": "timestamp"}
    snap = node("snap", 'select * from "db"."analytics"."stg"', "model.shop.stg", kind="snapshot", config=config)
    found = manifest(dbt(mart, snap, STAGE))
    assert not found.unresolved
    assert value("raw.orders.total", "analytics.stg.total") in found.edges
    assert value("analytics.stg.at", "analytics.snap.dbt_valid_from") in found.edges
    assert value("analytics.snap.dbt_valid_from", "analytics.mart.dbt_valid_from") in found.edges
    assert Target("exposure.shop.board", "") in found.graph.downstream("raw.orders", "id")
    assert "raw.orders" in found.parts["model.shop.stg"].reads


def test_a_dbt_project_that_is_not_compiled() -> None:
    """Each model that cannot be read says why; the others are read."""
    bare = node("mart", "", "model.shop.stg")
    snake = node("snake", "def model(dbt, session): ...", language="python")
    found = manifest(dbt(STAGE, bare, snake))
    said = {name: doubt.why for name, doubt in found.unresolved}
    assert "dbt compile" in said["model.shop.mart"]
    assert "python" in said["model.shop.snake"]
    assert value("raw.orders.total", "analytics.stg.total") in found.edges
    with pytest.raises(SourceError, match="not a dbt manifest"):
        manifest({"nodes": []})


def test_lineage_survives_being_written() -> None:
    """As JSON and back it is the same; something else is refused."""
    sql = "create temp table t as select a, b from u; select a, max(c) from t where b > 1 group by a"
    lineage = columns_of(sql, dialect="postgres")
    assert lineage.unresolved
    assert Lineage.from_json(json.loads(json.dumps(lineage.as_json()))) == lineage
    with pytest.raises(SourceError, match="not lineage"):
        Lineage.from_json({"edges": []})


def test_what_is_named_is_used() -> None:
    """A column that moves nothing is used all the same: without it the query would not run."""
    sql = "select a.id from a left join (select id, max(v) as v from b group by id) q on q.id = a.id order by a.at"
    found = columns_of(sql, dialect="postgres", schema={"a": ["id", "at"], "b": ["id", "v"]})
    assert {s.table for s, _, _ in found.edges} == {"a"}
    assert found.uses == {Source("a", ""), Source("a", "id"), Source("a", "at"), Source("b", ""), Source("b", "id")} | {
        Source("b", "v")
    }
    assert found.reads == {"a", "b"}


def test_primary_keys_make_left_joins_exact() -> None:
    """Joined by its key, a table decides no rows."""
    sql = "select o.id, c.name from o left join c on c.id = o.cid"
    tables = {"o": ["id", "cid"], "c": ["id", "name"]}
    without = columns_of(sql, dialect="postgres", schema=tables)
    keyed = columns_of(sql, dialect="postgres", schema=Schema(tables, dialect="postgres", keys={"c": [["id"]]}))
    assert any(e.target.column == "" and e.source == Source("c", "id") for e in without.edges)
    assert {e.target.column for e in keyed.edges if e.source == Source("c", "id")} == {"name"}


CATALOG = {
    "metadata": {},
    "sources": {},
    "nodes": {
        "x": {
            "metadata": {"schema": "raw", "name": "orders"},
            "columns": {
                "total": {"name": "total", "type": "int", "index": 2},
                "id": {"name": "id", "type": "int", "index": 1},
            },
        }
    },
}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("flat.yaml", "raw.orders: [id, total]\n"),
        ("typed.yaml", "raw.orders: {id: int, total: numeric}\n"),
        ("nested.yaml", "raw: {orders: {id: int, total: numeric}}\n"),
        ("named.json", '{"raw.orders": [{"name": "id"}, {"name": "total", "type": "int"}]}'),
        ("ddl.sql", "create table raw.orders (id int primary key, total numeric(10, 2));"),
        (
            "catalog.json",
            json.dumps(CATALOG),
        ),
    ],
)
def test_schema_files(tmp_path: Path, name: str, text: str) -> None:
    """Each form says the same."""
    (tmp_path / name).write_text(text, encoding="utf-8")
    found = load_tables(tmp_path / name, dialect="postgres")
    assert {table: list(columns) for table, columns in found.items()} == {"raw.orders": ["id", "total"]}


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("a.yaml", "raw: [id\n", "line"),
        ("b.yaml", "- id\n", "holds a list"),
        ("c.yaml", "raw.orders: 5\n", "raw.orders holds no columns"),
        ("d.sql", "select 1;\ncreate table (;", "statement 2, line 2"),
        ("e.sql", "select 1", "creates no table"),
        ("f.json", '{"metadata": {}, "nodes": {"x": {}}, "sources": {}}', "not a dbt catalog"),
    ],
)
def test_schema_files_of_a_wrong_form(tmp_path: Path, name: str, text: str, says: str) -> None:
    """Refused with the place, and with what would be right."""
    (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match=says) as caught:
        load_tables(tmp_path / name, dialect="postgres")
    assert caught.value.hint


def test_a_schema_file_that_is_not_there(tmp_path: Path) -> None:
    """Named, without a traceback."""
    with pytest.raises(UsageError, match="cannot be read"):
        load_tables(tmp_path / "none.yaml", dialect="postgres")


def test_scripts_know_what_others_changed() -> None:
    """A table made in one script and filled in another keeps its columns, and no key."""
    texts = {
        "fill": "insert into m select id, v from s",
        "make": "create table m as select id, max(v) v from s group by id",
    }
    found = scripts(texts, schema=Schema({"s": ["id", "v"]}, dialect="duckdb"))
    assert value("s.v", "m.v") in found.parts["fill"].edges | found.parts["make"].edges
