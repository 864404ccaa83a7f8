"""Lineage: replaced per source, walked both ways, also around cycles."""

from __future__ import annotations

from itertools import pairwise

from config.assets import Asset
from memory.board import lineage
from memory.connection.database import Database
from memory.records import Edge

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
