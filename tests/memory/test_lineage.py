"""Lineage: replaced per source, walked both ways, also around cycles."""

from __future__ import annotations

from itertools import pairwise
from time import perf_counter

from config.assets import Asset
from memory.board import lineage
from memory.connection.database import Database
from memory.records import Edge
from tests.pace import quick

RAW, STAGING, MART, OTHER = (
    Asset.parse(f"warehouse://shop/{name}") for name in ("raw.orders", "stg.orders", "mart.sales", "raw.web")
)


async def test_what_a_source_tells_is_replaced(db: Database) -> None:
    """New edges come, missing ones go, those of other sources stay; telling the same changes nothing."""
    async with db.transaction() as tx:
        assert await lineage.replace(tx, "dbt", [Edge(RAW, STAGING), Edge(STAGING, MART), Edge(RAW, STAGING)]) == 2
        assert await lineage.replace(tx, "dbt", [Edge(RAW, STAGING), Edge(STAGING, MART)]) == 0
        assert await lineage.replace(tx, "views", [Edge(OTHER, MART)]) == 1
        assert await lineage.upstream(tx, MART) == {STAGING, RAW, OTHER}
        assert await lineage.downstream(tx, RAW) == {STAGING, MART}
        assert await lineage.replace(tx, "dbt", [Edge(STAGING, MART)]) == 1
        assert await lineage.upstream(tx, MART) == {STAGING, OTHER}
        assert await lineage.replace(tx, "dbt", []) == 1
        assert await lineage.upstream(tx, MART) == {OTHER}


async def test_depth_and_cycles(db: Database) -> None:
    """A cycle ends; a depth is kept."""
    async with db.transaction() as tx:
        await lineage.replace(tx, "dbt", [Edge(RAW, STAGING), Edge(STAGING, MART), Edge(MART, RAW), Edge(RAW, RAW)])
        assert await lineage.downstream(tx, RAW) == {STAGING, MART}
        assert await lineage.downstream(tx, RAW, 1) == {STAGING}
        assert await lineage.upstream(tx, RAW, 1) == {MART}
        assert await lineage.downstream(tx, OTHER) == set()


async def test_columns_are_parts_of_their_tables(db: Database) -> None:
    """Where columns are known they are followed; where not, the table stands for them."""
    column, staged = RAW.column("customer_id"), STAGING.column("customer_id")
    async with db.transaction() as tx:
        await lineage.replace(tx, "dbt", [Edge(column, staged, "column"), Edge(STAGING, MART)])
        assert await lineage.downstream(tx, column) == {staged, STAGING, MART}
        assert await lineage.upstream(tx, staged) == {column, RAW}
        assert await lineage.downstream(tx, RAW) == set()


async def test_a_wide_project_is_walked(db: Database) -> None:
    """Two thousand edges in layers come back whole."""
    layers = [[Asset.parse(f"dbt://shop/l{layer}_{n}") for n in range(20)] for layer in range(6)]
    edges = [Edge(up, down) for above, below in pairwise(layers) for up in above for down in below]
    async with db.transaction() as tx:
        assert await lineage.replace(tx, "dbt", edges) == 2000
        assert len(await lineage.downstream(tx, layers[0][0])) == 100
        assert len(await lineage.upstream(tx, layers[5][0], 2)) == 40


# --- columns -------------------------------------------------------------------------------------------------------

CODE, TEST = Asset.parse("dbt://shop/model.stg_orders"), Asset.parse("dbt://shop/test.unique_order_id")
NEXT, SHOWN = Asset.parse("dbt://shop/model.sales"), Asset.parse("dbt://shop/exposure.board")
WHOLES = [
    Edge(RAW, CODE),
    Edge(CODE, STAGING),
    Edge(STAGING, NEXT),
    Edge(NEXT, MART),
    Edge(MART, SHOWN),
    Edge(RAW, TEST),
]
COLUMNS = [
    Edge(RAW.column("id"), STAGING.column("id"), "column:value"),
    Edge(RAW.column("cents"), STAGING.column("euros"), "column:value"),
    Edge(RAW.column("id"), CODE, lineage.USE),
    Edge(RAW.column("cents"), CODE, lineage.USE),
    Edge(RAW.column("state"), CODE, lineage.USE),
    Edge(RAW.column("state"), STAGING, "column:filter"),
    Edge(CODE, STAGING.column("id"), lineage.MADE),
    Edge(CODE, STAGING.column("euros"), lineage.MADE),
    Edge(RAW.column("id"), TEST, lineage.USE),
]


async def test_a_column_goes_its_own_way(db: Database) -> None:
    """Where edges of columns are known they alone are followed; where not, the table's stand for them.

    What nobody reads leads nowhere; what decides rows leads to everything made from the table.
    """
    async with db.transaction() as tx:
        await lineage.replace(tx, "dbt", [*WHOLES, *COLUMNS])
        beyond = {NEXT, MART, SHOWN}  # of the next model nothing finer is known
        assert await lineage.downstream(tx, RAW.column("cents")) == {CODE, STAGING, STAGING.column("euros"), *beyond}
        assert await lineage.downstream(tx, RAW.column("id")) == {CODE, TEST, STAGING, STAGING.column("id"), *beyond}
        assert await lineage.downstream(tx, RAW.column("state")) == {CODE, STAGING, *beyond}
        assert await lineage.downstream(tx, RAW.column("note")) == set()
        assert await lineage.upstream(tx, STAGING.column("euros")) == {CODE, RAW, RAW.column("cents")}
        finer = [
            Edge(STAGING.column("euros"), MART.column("sum"), "column:value"),
            Edge(STAGING.column("euros"), NEXT, lineage.USE),
            Edge(NEXT, MART.column("sum"), lineage.MADE),
        ]
        await lineage.replace(tx, "dbt", [*WHOLES, *COLUMNS, *finer])
        assert await lineage.downstream(tx, RAW.column("id")) == {CODE, TEST, STAGING, STAGING.column("id")}
        summed = {CODE, STAGING, STAGING.column("euros"), NEXT, MART, MART.column("sum"), SHOWN}
        assert await lineage.downstream(tx, RAW.column("cents")) == summed
        assert await lineage.upstream(tx, MART.column("sum")) == {
            NEXT,
            STAGING,
            STAGING.column("euros"),
            CODE,
            RAW,
            RAW.column("cents"),
        }


async def test_wholes_are_walked_as_before(db: Database) -> None:
    """Edges of columns change nothing for who asks of a table: pipelines are woken by what is upstream of them."""
    async with db.transaction() as tx:
        await lineage.replace(tx, "dbt", WHOLES)
        down, up = await lineage.downstream(tx, RAW), await lineage.upstream(tx, MART)
        await lineage.replace(tx, "dbt", [*WHOLES, *COLUMNS])
        assert await lineage.downstream(tx, RAW) == down == {CODE, STAGING, NEXT, MART, SHOWN, TEST}
        assert await lineage.upstream(tx, MART) == up == {NEXT, STAGING, CODE, RAW}


async def test_whether_anybody_reads_a_source(db: Database) -> None:
    """What a source tells of itself does not count, nor does one whose name begins alike."""
    shop = Asset.parse("warehouse://shop")
    async with db.transaction() as tx:
        await lineage.replace(tx, "shop", WHOLES)
        assert not await lineage.is_read(tx, shop)
        await lineage.replace(tx, "dbt", [Edge(Asset.parse("warehouse://shop_two/raw.orders"), CODE)])
        assert not await lineage.is_read(tx, shop)
        await lineage.replace(tx, "dbt", WHOLES)
        assert await lineage.is_read(tx, shop)


async def test_two_hundred_thousand_edges_told_again_cost_little(db: Database) -> None:
    """In another order, too: nothing is compared edge by edge; one that is another is found."""
    tables = [Asset.parse(f"warehouse://shop/raw.t{n}") for n in range(2_000)]
    edges = [
        Edge(table.column(f"c{n}"), table.column(f"d{n + k}"), "column:value")
        for table in tables
        for n in range(50)
        for k in range(2)
    ]
    begin = perf_counter()
    async with db.transaction() as tx:
        assert await lineage.replace(tx, "dbt", edges) == len(edges) == 200_000
    first = perf_counter() - begin
    begin = perf_counter()
    async with db.transaction() as tx:
        assert await lineage.replace(tx, "dbt", edges[::-1]) == 0
    again = perf_counter() - begin
    begin = perf_counter()
    async with db.transaction() as tx:
        assert await lineage.downstream(tx, tables[7].column("c7")) == {
            tables[7].column("d7"),
            tables[7].column("d8"),
        }
    walked = perf_counter() - begin
    async with db.transaction() as tx:
        assert await lineage.replace(tx, "dbt", [*edges[1:], Edge(RAW, MART)]) == 2
    assert again < max(quick(2.5), first / 2)  # where others want the cores, telling it first took longer as well
    assert walked < quick(0.1)
