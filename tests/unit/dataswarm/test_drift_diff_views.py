"""`dataswarm drift diff` and the warehouse's own views: named where they break, named apart where they go on."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import duckdb
import pytest

from tests.unit.dataswarm.drift_ground import DDL, files, run, shop, shop_url
from tests.unit.dataswarm.program import Program, program, write_config
from tests.unit.dataswarm.test_drift_diff import told

__all__ = ["files", "program", "shop", "shop_url"]
VIEWS = """
create view raw.booked as select id, baker_id as baker from raw.sales where note <> 'gone';
create view raw.busy as select baker, count(*) as n from raw.booked group by baker;
"""


def change_of(found: Any, column: str) -> Any:
    """The change of a column."""
    return next(c for t in found["tables"] for c in t["changes"] if c["column"] == column)


def write(place: Path, name: str, ddl: str) -> str:
    """A file of DDL."""
    (place / name).write_text(ddl, encoding="utf-8")
    return str(place / name)


def test_views_that_lose_a_column(program: Program, tmp_path: Path) -> None:
    """Both are named with the columns that are lost, in JSON, as a comment and on the terminal."""
    after = DDL.replace("baker_id bigint references raw.bakers (id), ", "")
    sides = (write(tmp_path, "before.sql", DDL + VIEWS), write(tmp_path, "after.sql", after))
    asked = ("drift", "diff", *sides, "--dialect", "postgres")
    found = told(program(*asked, "--json", config=False), status=1)
    change = change_of(found, "baker_id")
    assert change["impact"]["views"] == ["raw.booked", "raw.busy"]
    assert change["impact"]["columns"] == ["raw.booked#baker", "raw.busy#baker"]
    assert (change["severity"], found["lineage"]) == ("error", False)
    assert "views raw.booked, raw.busy" in program(*asked, config=False).output
    said = program(*asked, "--markdown", config=False).output
    assert "| 2 views |" in said
    assert "  - views: raw\\.booked, raw\\.busy" in said


def test_views_that_decide_by_a_column(program: Program, tmp_path: Path) -> None:
    """One that only filters by it fails as well, and with it all that reads the view."""
    before = write(tmp_path, "before.sql", DDL + VIEWS)
    after = write(tmp_path, "after.sql", DDL.replace(", note varchar(50)", ""))
    found = told(program("drift", "diff", before, after, "--dialect", "postgres", "--json", config=False), status=1)
    assert change_of(found, "note")["impact"]["views"] == ["raw.booked", "raw.busy"]


def test_views_that_follow_a_rename(program: Program, tmp_path: Path) -> None:
    """PostgreSQL rewrites them: they are named and not counted, and without a pipeline nobody is known to break."""
    rename = "alter table raw.sales rename baker_id to bak_id;"
    sides = (write(tmp_path, "a.sql", DDL + VIEWS), write(tmp_path, "b.sql", DDL + VIEWS + rename))
    asked = ("drift", "diff", *sides, "--dialect", "postgres")
    change = change_of(told(program(*asked, "--json", config=False), status=1), "baker_id")
    assert change["kind"] == "column_renamed"
    assert change["impact"]["views"] == []
    assert change["impact"]["following"] == ["raw.booked", "raw.busy"]
    assert change["severity"] == "warning", "who else reads it, nobody knows"
    assert "going on by the new name raw.booked, raw.busy" in program(*asked, config=False).output


def test_views_that_follow_beside_a_model_that_does_not(
    shop: Program, shop_url: str, tmp_path: Path, manifest: Path
) -> None:
    """A pipeline's code names the old name: that is an error, and the views are still told apart."""
    run(shop_url, *VIEWS.strip().split("\n"))
    rename = "alter table raw.sales rename baker_id to bak_id;"
    after = write(tmp_path, "after.sql", DDL + VIEWS + rename)
    found = told(shop("drift", "diff", "shop", after, "--manifest", str(manifest), "--json"), status=1)
    change = change_of(found, "baker_id")
    assert change["impact"]["following"] == ["raw.booked", "raw.busy"]
    assert "model.bakery.stg_sales" in change["impact"]["models"]
    assert change["severity"] == "error"


def test_a_view_that_a_pipeline_makes_is_its_model(
    shop: Program, shop_url: str, tmp_path: Path, manifest: Path
) -> None:
    """PostgreSQL would rewrite it, and the next run of the pipeline fails: it is told as the model, and as broken."""
    run(
        shop_url,
        "create schema marts",
        "create view marts.stg_sales as select id, baker_id, amount, sold_at from raw.sales",
    )
    rename = "alter table raw.sales rename baker_id to bak_id;"
    made = "create schema marts; create view marts.stg_sales as select id, baker_id, amount, sold_at from raw.sales;"
    after = write(tmp_path, "after.sql", DDL + made + rename)
    found = told(shop("drift", "diff", "shop", after, "--manifest", str(manifest), "--json"), status=1)
    impact = change_of(found, "baker_id")["impact"]
    assert "model.bakery.stg_sales" in impact["models"]
    assert (impact["views"], impact["following"]) == ([], [])


def _duckdb(file: Path, *statements: str) -> dict[str, Any]:
    with duckdb.connect(str(file)) as connection:
        for statement in statements:
            connection.execute(statement)
    return {"kind": "duckdb", "path": str(file)}


def _sqlite(file: Path, *statements: str) -> dict[str, Any]:
    connection = sqlite3.connect(file, isolation_level=None)
    for statement in statements:
        connection.execute(statement)
    connection.close()
    return {"kind": "sql", "url": f"sqlite:///{file}"}


@pytest.mark.parametrize(("make", "follows"), [(_duckdb, False), (_sqlite, True)], ids=["duckdb", "sqlite"])
def test_what_an_engine_does_decides(program: Program, tmp_path: Path, make: Any, *, follows: bool) -> None:
    """DuckDB keeps the text of a view, which fails then; SQLite rewrites it. Each is told as it is."""
    base = (
        "create table orders (order_id integer, customer_id integer, total integer)",
        "create view paid as select order_id, customer_id as buyer from orders",
        "create view counted as select buyer, count(*) as n from paid group by buyer",
    )
    rename = "alter table orders rename column customer_id to cust_id"
    sources = {"old": make(tmp_path / "old.db", *base), "new": make(tmp_path / "new.db", *base, rename)}
    write_config(program, sources=sources)
    change = change_of(told(program("drift", "diff", "old", "new", "--json"), status=1), "customer_id")
    assert change["kind"] == "column_renamed"
    named = ["main.counted", "main.paid"]
    assert change["impact"]["following"] == (named if follows else [])
    assert change["impact"]["views"] == ([] if follows else named)


def test_a_star_of_a_model_is_known_by_the_columns_beneath(shop: Program, tmp_path: Path, manifest: Path) -> None:
    """The side's own columns are handed to the reader of SQL: `select *` reads each, and makes each."""
    import json  # noqa: PLC0415 - one test's own

    found = json.loads(manifest.read_text())
    found["nodes"]["model.bakery.stg_sales"]["compiled_code"] = 'select * from "x"."raw"."sales"'
    starred = write(tmp_path, "manifest.json", json.dumps(found))
    after = write(tmp_path, "after.sql", DDL.replace(", note varchar(50)", ""))
    answer = told(shop("drift", "diff", "shop", after, "--manifest", starred, "--json"), status=1)
    impact = change_of(answer, "note")["impact"]
    assert impact["columns"] == ["marts.stg_sales#note"], "and not all that is made from the model"
    assert impact["models"] == ["model.bakery.stg_sales"]


def test_keys_that_go_with_a_table(program: Program, tmp_path: Path) -> None:
    """The drop of a table names the keys of other tables that pointed to it, and nothing else is told of them."""
    drop = "drop table raw.bakers cascade;"
    sides = (write(tmp_path, "a.sql", DDL), write(tmp_path, "b.sql", DDL + drop))
    asked = ("drift", "diff", *sides, "--dialect", "postgres")
    [table] = told(program(*asked, "--json", config=False), status=1)["tables"]
    [change] = table["changes"]
    assert change["details"]["with"] == [{"table": "raw.sales", "name": "sales_baker_id_fkey", "columns": ["baker_id"]}]
    assert change["summary"] == "table dropped, and with it sales_baker_id_fkey of raw.sales"
