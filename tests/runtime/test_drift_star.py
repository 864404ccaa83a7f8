"""A model that selects a star: which columns it reads is known once the warehouse's own columns are."""

from __future__ import annotations

from pathlib import Path

from agents.pipeline_health import PipelineHealth
from agents.schema_drift import SchemaDriftOptions
from config.assets import Asset
from integrations.orchestrators.dbt import DbtOptions, DbtOrchestrator
from memory.board import lineage
from memory.connection.database import Database
from tests.pace import until
from tests.runtime.test_drift import Quick, head, shop, warehouse
from tests.runtime.toys import running
from tests.unit.agents.test_column_edges import node, write

__all__ = ["shop"]


class Watchful(PipelineHealth):
    """Looks often."""

    every_seconds = 0.2


async def test_a_star_reads_the_columns_that_the_warehouse_has(db: Database, shop: str, tmp_path: Path) -> None:
    """The column behind `select *` is told downstream of the warehouse's; a model that names another is not."""
    write(
        tmp_path,
        node("stg", "select * from db.raw.orders", "source.shop.raw.orders"),
        node("mart", "select customer_id from db.analytics.stg", "model.shop.stg"),
    )
    options = {"warehouse": "shop", "target": str(tmp_path), "work_dir": str(tmp_path / "work")}
    pipeline, source = DbtOrchestrator("shop_dbt", DbtOptions.model_validate(options)), warehouse(shop)
    await source.open()
    await pipeline.open()
    agents = {"schema-drift": Quick(SchemaDriftOptions()), "pipeline-health": Watchful()}

    async def below() -> list[Asset]:
        async with db.transaction() as tx:
            found = await lineage.downstream(tx, Asset.parse("warehouse://shop/raw.orders#legacy"))
        return list(found) if any(asset.part == "legacy" for asset in found) else []

    async with running(db, agents=agents, sources={"shop": source, "shop_dbt": pipeline}):
        await until(lambda: head(db))
        found = await until(below)
    assert not any("mart" in str(asset) for asset in found)
    await source.close()
    await pipeline.close()
