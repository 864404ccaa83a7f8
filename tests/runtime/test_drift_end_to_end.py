"""From a real dbt project over a real database to whom a change breaks, told by the agents and by the program."""

from __future__ import annotations

import asyncio
import json
import sys
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
from pydantic import SecretStr

from agents.pipeline_health import PipelineHealth
from agents.schema_drift import SchemaDriftOptions
from config.assets import Asset
from dataswarm.drifting import telling
from integrations.orchestrators.dbt import DbtOptions, DbtOrchestrator
from integrations.warehouses.postgres import PostgresOptions, PostgresWarehouse
from memory.board import lineage
from memory.connection.database import Database
from memory.records import Severity
from tests.pace import until
from tests.runtime.test_drift import Quick, head, run, told
from tests.runtime.toys import running
from tests.unit.dataswarm.drift_ground import shop_url

__all__ = ["shop_url"]
AMOUNT = ("raw.sales", "amount")
VIEW = "create view raw.receipts as select id, amount as paid from raw.sales"
REACHED = {
    "models": ["model.bakery.promised", "model.bakery.sales_by_baker", "model.bakery.stg_sales"],
    "views": ["raw.receipts"],
    "columns": [
        "marts.promised#amount",
        "marts.sales_by_baker#amount",
        "marts.stg_sales#amount",
        "raw.receipts#paid",
    ],
    "exposures": ["exposure.bakery.bread_report"],
    "owners": ["accounts@bakery.example", "baker@bakery.example", "bakers@bakery.example"],
}


class Watchful(PipelineHealth):
    """Looks often."""

    every_seconds = 0.2


@pytest.fixture
def shop(shop_url: str) -> str:
    """The shop with a view of its own over what the pipeline reads."""
    run(shop_url, VIEW)
    return shop_url


@pytest.fixture
def configured(tmp_path: Path, database_url: str, owner_url: str, shop: str) -> Path:
    """The program's configuration: the service's memory, and the shop."""
    place = {"url": database_url, "migrate_url": owner_url, "directory": str(tmp_path / "home")}
    file = tmp_path / "dataswarm.yaml"
    file.write_text(json.dumps({"database": place, "sources": {"shop": {"kind": "postgres", "url": shop}}}))
    return file


async def answered(config: Path, *words: str) -> tuple[int, Any]:
    """What the program itself answers in JSON, as a process of its own."""
    command = [sys.executable, "-m", "dataswarm", "drift", *words, "--json", "--config", str(config)]
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    output, trouble = await process.communicate()
    assert output, trouble.decode()
    return process.returncode or 0, json.loads(output)


async def test_from_a_manifest_to_whom_it_breaks(db: Database, shop: str, manifest: Path, configured: Path) -> None:
    """A column goes: finding and comparison name models, view, columns, exposure and owners; put back, it is closed."""
    warehouse = PostgresWarehouse("shop", PostgresOptions(url=SecretStr(shop), schemas=("raw",)))
    options = {"warehouse": "shop", "target": str(manifest.parent), "work_dir": str(configured.parent / "work")}
    pipeline = DbtOrchestrator("bakery", DbtOptions.model_validate(options))
    agents = {"schema-drift": Quick(SchemaDriftOptions()), "pipeline-health": Watchful()}
    async with AsyncExitStack() as open_:
        for source in (warehouse, pipeline):
            await source.open()
            open_.push_async_callback(source.close)
        await open_.enter_async_context(running(db, agents=agents, sources={"shop": warehouse, "bakery": pipeline}))
        await until(lambda: head(db))
        await until(lambda: is_read(db))
        run(shop, "alter table raw.sales drop column amount cascade")
        [dropped] = await until(lambda: told(db, "schema.column_dropped", 1))
        status, compared = await answered(configured, "diff", str(manifest), "shop")
        _, past = await answered(configured, "history", "shop")
        run(shop, "alter table raw.sales add amount numeric(10, 2) not null default 0")
        run(shop, VIEW)
        back = await until(lambda: told(db, "schema.restored", 2))
        _, later = await answered(configured, "history", "shop")
    assert dropped.subject == Asset.parse("warehouse://shop/raw.sales#amount")
    assert {word: dropped.payload["impact"][word]["names"] for word in REACHED} == REACHED
    assert (dropped.severity, dropped.importance) == (Severity.ERROR, 0.8)
    assert dropped.payload["class"] == {"readers": "data_loss", "writers": "breaking", "rule": "column.dropped"}
    jsonschema.validate(compared, telling.SCHEMA)
    [change] = [c for t in compared["tables"] for c in t["changes"] if (t["table"], c["column"]) == AMOUNT]
    assert (change["kind"], change["severity"], status) == ("column_dropped", "error", 1)
    # A manifest tells nothing of views that no model makes.
    declared = {word: names for word, names in REACHED.items() if word != "owners"}
    declared |= {"views": [], "columns": [name for name in REACHED["columns"] if name.startswith("marts.")]}
    assert {word: change["impact"][word] for word in declared} == declared
    assert {"accounts@bakery.example", "bakers@bakery.example"} < set(change["impact"]["owners"])
    assert {str(o.payload["of"]) for o in back} >= {dropped.payload["change"]}
    assert states(past)["column_dropped"] == "open"
    assert states(later)["column_dropped"] == "undone"


def states(history: Any) -> dict[str, str]:
    """What became of the changes told, by their kinds."""
    return {change["kind"]: change["state"] for change in history["sources"][0]["changes"]}


async def is_read(db: Database) -> bool:
    """Has the pipeline told what it reads?"""
    async with db.transaction() as tx:
        return await lineage.is_read(tx, Asset("warehouse", "shop"))
