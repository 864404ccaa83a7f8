"""The views of a source from look to look: what is read again, what is in doubt; and when readers were last run."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from pydantic import SecretStr

from agents.column_edges import VIEW
from agents.schema_drift.reach import Reach
from agents.schema_drift.views import Views, dialect_of
from agents.structure.changes import Change
from agents.structure.known import KnownTable, Structure
from config.assets import Asset
from integrations.base import Column
from integrations.warehouses.duckdb import DuckdbOptions, DuckdbWarehouse
from integrations.warehouses.postgres import PostgresOptions, PostgresWarehouse
from integrations.warehouses.sql import SqlOptions, SqlWarehouse
from memory.records import Edge
from tests.cases.reading import ContextAsData, moment


def table(name: str, *columns: str, definition: str = "") -> KnownTable:
    """A table, or the view of that definition."""
    told = tuple(Column(column, place, "integer", True, None) for place, column in enumerate(columns, 1))
    return KnownTable("raw", name, "view" if definition else "table", None, -1, told, definition=definition)


def structure(*tables: KnownTable) -> Structure:
    """All of them."""
    return Structure({one.path: one for one in tables})


ORDERS = table("orders", "id", "customer_id")
PAID = table("paid", "id", definition="select id from raw.orders")
BUYERS = table("buyers", "customer_id", definition="select customer_id from raw.orders")
OVER = table("over", "id", definition="select id from raw.paid")


async def test_only_what_changed_is_read_again() -> None:
    """A table beside changes nothing; another text is read alone; another column of a table, whoever reads that."""
    views = Views("shop", "postgres")
    _, _, anew = await views.look({}, structure(ORDERS, PAID, BUYERS, OVER), is_told=False)
    assert (sorted(anew), views.memo.misses) == (["raw.buyers", "raw.over", "raw.paid"], 3)
    more = structure(ORDERS, PAID, BUYERS, OVER, table("beside", "a"))
    seen, edges, anew = await views.look({}, more, changed=["raw.beside"], is_told=True)
    assert (edges, anew, views.memo.misses, views.memo.hits) == (None, [], 3, 0), "not even asked"
    assert seen.after.keys() == {"raw.paid", "raw.buyers", "raw.over"}
    other = replace(BUYERS, definition="select customer_id, 1 as one from raw.orders")
    seen, _, anew = await views.look({BUYERS.path: BUYERS}, structure(ORDERS, PAID, other, OVER), is_told=True)
    assert (anew, views.memo.misses) == (["raw.buyers"], 4)
    assert seen.before.keys() == {"raw.buyers"}
    assert seen.texts == {"raw.buyers": (BUYERS.definition, other.definition)}
    grown = replace(ORDERS, columns=(*ORDERS.columns, Column("note", 3, "text", True, None)))
    _, _, anew = await views.look({ORDERS.path: ORDERS}, structure(grown, PAID, other, OVER), is_told=True)
    assert sorted(anew) == ["raw.buyers", "raw.paid"]


async def test_edges_are_told_once_there_are_views() -> None:
    """Nothing of a source that never had one; what it had is taken back once it has none."""
    views = Views("shop", "postgres")
    assert (await views.look({}, structure(ORDERS), is_told=True))[1] is None
    _, edges, _ = await views.look({}, structure(ORDERS, PAID), is_told=True)
    orders, paid = Asset.parse("warehouse://shop/raw.orders"), Asset.parse("warehouse://shop/raw.paid")
    assert set(edges or ()) == {
        Edge(orders, paid, "table"),
        Edge(orders.column("id"), paid.column("id"), "column:value"),
        Edge(orders.column("id"), paid, "column:use"),
    }
    assert (await views.look({PAID.path: PAID}, structure(ORDERS), is_told=True))[1] == []


async def test_what_is_in_doubt_is_a_fact() -> None:
    """A view that cannot be read says why; one that can says nothing, but where a doubt was told before."""
    odd = replace(PAID, definition="select nothing_like_it from raw.orders")
    views = Views("shop", "postgres")
    _, _, anew = await views.look({}, structure(ORDERS, odd, BUYERS), is_told=False)
    [(subject, predicate, held)] = await views.facts(anew, ContextAsData())
    assert (str(subject), predicate, held["in_doubt"]) == ("warehouse://shop/raw.paid", VIEW, 1)
    assert "nothing_like_it" in held["doubts"][0]
    context = ContextAsData({"facts": [{"subject": str(subject), "predicate": VIEW, "object": held}]})
    _, _, anew = await views.look({odd.path: odd}, structure(ORDERS, PAID, BUYERS), is_told=True)
    [(subject, _, held)] = await views.facts(anew, context)
    assert (subject.path, held["in_doubt"]) == ("raw.paid", 0)


async def test_views_of_a_source_that_nobody_can_read_are_no_ones() -> None:
    """A dialect that nothing is known of: no view reads anything, and nothing fails."""
    views = Views("shop", "")
    seen, edges, anew = await views.look({}, structure(ORDERS, PAID), is_told=True)
    assert (seen.after, edges, anew) == ({}, None, [])


@pytest.mark.parametrize(
    ("source", "dialect"),
    [
        (PostgresWarehouse("a", PostgresOptions(url=SecretStr("postgresql://x@/y"))), "postgres"),
        (DuckdbWarehouse("b", DuckdbOptions.model_validate({"path": "x.duckdb"})), "duckdb"),
        (SqlWarehouse("c", SqlOptions(url=SecretStr("mariadb+pymysql://x@h/y"))), "mysql"),
        (SqlWarehouse("d", SqlOptions(url=SecretStr("mssql+pyodbc://x@h/y"))), "tsql"),
        (SqlWarehouse("e", SqlOptions(url=SecretStr("nobody+knows://x@h/y"))), ""),
    ],
)
def test_the_dialect_of_a_source(source: Any, dialect: str) -> None:
    """By its kind, or by its URL."""
    assert dialect_of(source) == dialect


async def test_when_it_was_last_used() -> None:
    """The newest run that ran one of the readers counts; runs that do not say what they ran count for all."""
    reader, other = "dbt://bakery/model.a", "dbt://bakery/model.b"
    runs = [
        {"id": 1, "at": -50, "payload": {"ran": ["model.a"], "finished_at": moment(-55).isoformat()}},
        {"id": 2, "at": -10, "payload": {"ran": ["model.b"], "finished_at": moment(-15).isoformat()}},
    ]
    given = [{"kind": "pipeline.passed", "subject": "dbt://bakery", **run} for run in runs]
    column = "warehouse://shop/raw.orders#id"
    change = Change("column_dropped", "raw.orders", "id")
    context = ContextAsData({"lineage": [[column, reader], ["warehouse://shop/raw.x", other]], "observations": given})
    impact = await Reach("shop", context).of(change)
    assert impact is not None
    assert impact.last_used == moment(-55)
    failed = {"id": 3, "at": -5, "kind": "pipeline.failed", "subject": "dbt://bakery", "payload": {}}
    later = ContextAsData({**context.given, "observations": [*given, failed]})
    impact = await Reach("shop", later).of(change)
    assert impact is not None
    assert impact.last_used == moment(-5)
