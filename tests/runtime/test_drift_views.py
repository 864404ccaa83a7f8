"""The warehouse's own views in what a change reaches, through the runtime, over a real PostgreSQL."""

from __future__ import annotations

from typing import Any

from config.assets import Asset
from memory.beliefs import knowledge
from memory.board import lineage
from memory.connection.database import Database
from memory.records import Edge, Observation, Severity
from tests.pace import until
from tests.runtime.test_drift import head, run, shop, told, warehouse, watching
from tests.runtime.test_loops import observed

__all__ = ["shop"]
ORDERS = Asset.parse("warehouse://shop/raw.orders")
PAID = Asset.parse("warehouse://shop/raw.paid")
MODEL = Asset.parse("dbt://shop_dbt/model.shop.buyers")
MADE = Asset.parse("warehouse://shop/mart.buyers")
BOARD = Asset.parse("dbt://shop_dbt/exposure.shop.board")
_VIEWS = """
    create view raw.paid as select id, customer_id as buyer from raw.orders where note = 'paid';
    create view raw.counted as select buyer, count(*) as n from raw.paid group by buyer;
"""


async def a_model(db: Database, reads: Asset, column: str, *more: Asset) -> None:
    """A model of a pipeline that reads a column (and others), what it makes, and an exposure that shows it."""
    read = [reads.column(column), *more]
    wholes = [Edge(one.whole, MODEL) for one in read] + [Edge(MODEL, MADE), Edge(MADE, BOARD)]
    columns = [Edge(one, MODEL, lineage.USE) for one in read]
    columns += [Edge(one, MADE.column("buyer"), "column:value") for one in read]
    columns += [Edge(MADE.column("buyer"), BOARD, "column:value")]
    uses: Any = {"by": MODEL.path, "uses": [f"{one.path}#{one.part}" for one in read], "in_doubt": 0}
    uses |= {"columns": ["buyer"], "reads": sorted({one.path for one in read})}
    async with db.transaction() as tx:
        await lineage.replace(tx, "shop_dbt", wholes + columns)
        await knowledge.assert_fact(tx, "pipeline-health", MADE, "lineage.columns", uses, expected=None)
        await knowledge.assert_fact(tx, "pipeline-health", BOARD, "owner", "finance", expected=None)


def reached(observation: Observation) -> dict[str, Any]:
    """The names in an impact; empty ones left out."""
    impact = observation.payload["impact"]
    return {word: said["names"] for word, said in impact.items() if isinstance(said, dict) and said["names"]}


async def test_a_dropped_column_reaches_views_and_what_reads_them(db: Database, shop: str) -> None:
    """The views that read it, one through the other, their columns, and the model and exposure above them: an error."""
    run(shop, _VIEWS)
    await a_model(db, PAID, "buyer")
    async with watching(db, {"shop": warehouse(shop)}):
        await until(lambda: head(db))
        run(shop, "alter table raw.orders drop customer_id cascade")
        [dropped] = await until(lambda: told(db, "schema.column_dropped", 1))
    assert reached(dropped) == {
        "models": ["model.shop.buyers"],
        "views": ["raw.counted", "raw.paid"],
        "columns": ["mart.buyers#buyer", "raw.counted#buyer", "raw.paid#buyer"],
        "exposures": ["exposure.shop.board"],
        "owners": ["finance"],
    }
    assert dropped.severity is Severity.ERROR


async def test_a_rename_that_views_follow_breaks_nobody(db: Database, shop: str) -> None:
    """PostgreSQL rewrites the view: it, the view above it and the model above that are named, and it is a note."""
    run(shop, _VIEWS)
    await a_model(db, PAID, "buyer")
    async with watching(db, {"shop": warehouse(shop)}):
        await until(lambda: head(db))
        run(shop, "alter table raw.orders rename customer_id to cust")
        [renamed] = await until(lambda: told(db, "schema.column_renamed", 1))
        assert not await observed(db, "schema.table_altered"), "the views say what they said"
    following = ["exposure.shop.board", "model.shop.buyers", "raw.counted", "raw.paid"]
    assert reached(renamed) == {"following": following}
    assert renamed.severity is Severity.INFO


async def test_who_reads_past_the_view_is_not_spared(db: Database, shop: str) -> None:
    """A model that names the old column beside the view fails, and with it what shows it; the views go on."""
    run(shop, _VIEWS)
    await a_model(db, PAID, "buyer", ORDERS.column("customer_id"))
    async with watching(db, {"shop": warehouse(shop)}):
        await until(lambda: head(db))
        run(shop, "alter table raw.orders rename customer_id to cust")
        [renamed] = await until(lambda: told(db, "schema.column_renamed", 1))
    assert reached(renamed) == {
        "models": ["model.shop.buyers"],
        "columns": ["mart.buyers#buyer"],
        "exposures": ["exposure.shop.board"],
        "owners": ["finance"],
        "following": ["raw.counted", "raw.paid"],
    }
    assert renamed.severity is Severity.ERROR


async def test_views_alone_say_who_reads(db: Database, shop: str) -> None:
    """Without any pipeline, a view that goes is named; where none feels it, it weighs as if nothing were known."""
    run(shop, _VIEWS)
    async with watching(db, {"shop": warehouse(shop)}):
        await until(lambda: head(db))
        run(shop, "alter table raw.orders rename customer_id to cust")
        [renamed] = await until(lambda: told(db, "schema.column_renamed", 1))
        run(shop, "alter table raw.orders drop legacy")
        [unread] = await until(lambda: told(db, "schema.column_dropped", 1))
        run(shop, "alter table raw.orders drop cust cascade")
        [dropped, _] = await until(lambda: told(db, "schema.column_dropped", 2))
    assert reached(renamed) == {"following": ["raw.counted", "raw.paid"]}
    assert renamed.severity is Severity.WARNING, "somebody else may read it"
    assert unread.payload["impact"] is None
    assert reached(dropped)["views"] == ["raw.counted", "raw.paid"]
    assert dropped.severity is Severity.ERROR


async def test_a_view_over_what_a_pipeline_builds_is_no_ones_build(db: Database, shop: str) -> None:
    """A hand-made view over a model is told when it changes; the model's own view is not, its runs tell of that."""
    run(shop, "create schema mart; create view raw.stage as select id, note from raw.orders")
    run(shop, "create view raw.hand as select id, note from raw.stage")
    stage = Asset.parse("warehouse://shop/raw.stage")
    async with db.transaction() as tx:
        await lineage.replace(tx, "shop_dbt", [Edge(ORDERS, MODEL), Edge(MODEL, stage)])
    async with watching(db, {"shop": warehouse(shop)}):
        await until(lambda: head(db))
        run(
            shop,
            "begin; drop view raw.hand, raw.stage; create view raw.stage as select id from raw.orders;"
            "create view raw.hand as select id from raw.stage; alter table raw.orders drop legacy; commit",
        )
        await until(lambda: told(db, "schema.column_dropped", 2))
    subjects = {str(o.subject) for o in await observed(db, "schema.*")}
    assert subjects == {
        "warehouse://shop/raw.orders#legacy",
        "warehouse://shop/raw.hand",
        "warehouse://shop/raw.hand#note",
    }


async def test_lineage_of_views_can_be_asked_for(db: Database, shop: str) -> None:
    """Up and down, by columns; a view that goes is gone from it; what cannot be read is said as a fact."""
    run(shop, _VIEWS)
    async with watching(db, {"shop": warehouse(shop)}):
        await until(lambda: head(db))
        async with db.transaction() as tx:
            below = await lineage.downstream(tx, ORDERS.column("customer_id"))
            above = await lineage.upstream(tx, Asset.parse("warehouse://shop/raw.counted#buyer"))
        assert {str(a).removeprefix("warehouse://shop/") for a in below} == {
            "raw.paid", "raw.paid#buyer", "raw.counted", "raw.counted#buyer",
        }  # fmt: skip
        assert ORDERS.column("customer_id") in above
        run(shop, "drop view raw.counted")
        await until(lambda: told(db, "schema.table_dropped", 1))
        async with db.transaction() as tx:
            assert Asset.parse("warehouse://shop/raw.counted") not in await lineage.downstream(tx, ORDERS)
