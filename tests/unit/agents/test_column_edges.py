"""Lineage of columns from a dbt manifest to the edges that memory keeps: what is certain, and what stays coarse."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from agents import column_edges
from agents.pipeline_health import PipelineHealth
from config.assets import Asset
from integrations.base import Project
from integrations.lineage import Schema, views
from integrations.orchestrators.dbt import DbtOptions, DbtOrchestrator
from memory.records import Edge
from tests.cases.reading import ContextAsData

RAW = Asset.parse("warehouse://dwh/raw.orders")
STG = Asset.parse("warehouse://dwh/analytics.stg")
MART = Asset.parse("warehouse://dwh/analytics.mart")


def node(name: str, code: str, *needs: str, kind: str = "model", **more: Any) -> dict[str, Any]:
    """A node of a manifest."""
    return {
        "unique_id": f"{kind}.shop.{name}",
        "resource_type": kind,
        "name": name,
        "alias": name,
        "schema": "analytics",
        "database": "db",
        "original_file_path": f"models/{name}.sql",
        "depends_on": {"nodes": list(needs)},
        "config": {"materialized": "table"},
        "compiled_code": code,
        "language": "sql",
        **more,
    }


STAGE = node(
    "stg",
    "with o as (select * from db.raw.orders) select id, cents / 100 as euros from o where state <> 'gone'",
    "source.shop.raw.orders",
)
SUM = node("mart", "select sum(euros) as total from db.analytics.stg", "model.shop.stg")
TEST = node(
    "unique_id",
    "select id from db.raw.orders group by id having count(*) > 1",
    "source.shop.raw.orders",
    kind="test",
    column_name="id",
    attached_node="source.shop.raw.orders",
    test_metadata={"name": "unique", "kwargs": {"column_name": "id"}},
)


def write(target: Path, *nodes: Mapping[str, Any]) -> None:
    """A manifest with one source, one exposure and these nodes; and the results of a run."""
    source = {
        "unique_id": "source.shop.raw.orders",
        "resource_type": "source",
        "source_name": "raw",
        "name": "orders",
        "schema": "raw",
        "identifier": "orders",
        "database": "db",
        "original_file_path": "models/sources.yml",
    }
    board = {
        "unique_id": "exposure.shop.board",
        "name": "board",
        "original_file_path": "models/exposures.yml",
        "depends_on": {"nodes": ["model.shop.mart"]},
        "owner": {"name": "finance"},
    }
    manifest = {
        "metadata": {
            "dbt_schema_version": "https://schemas.getdbt.com/dbt/manifest/v12.json",
            "adapter_type": "postgres",
            "project_name": "shop",
        },
        "nodes": {n["unique_id"]: n for n in nodes},
        "sources": {source["unique_id"]: source},
        "exposures": {board["unique_id"]: board},
    }
    results = {
        "metadata": {
            "dbt_schema_version": "https://schemas.getdbt.com/dbt/run-results/v6.json",
            "generated_at": "2026-11-20T10:00:00Z",
            "invocation_id": "i-1",
        },
        "args": {"which": "build"},
        "results": [{"unique_id": "model.shop.stg", "status": "success"}],
    }
    (target / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    (target / "run_results.json").write_text(json.dumps(results), encoding="utf-8")


def pipeline(target: Path) -> DbtOrchestrator:
    """The project as it is configured."""
    return DbtOrchestrator("shop", DbtOptions.model_validate({"warehouse": "dwh", "target": str(target)}))


def shown(edges: Sequence[Edge]) -> set[tuple[str, str, str]]:
    """Edges of columns in short."""
    return {
        (_short(e.upstream), _short(e.downstream), e.kind.removeprefix("column:"))
        for e in edges
        if e.kind.startswith("column:")
    }


def _short(asset: Asset) -> str:
    return asset.path + (f"#{asset.part}" if asset.part else "")


async def test_columns_are_told_beside_tables(tmp_path: Path) -> None:
    """A look at a pipeline tells how columns go on, which code names and makes them, and which decide rows."""
    write(tmp_path, STAGE, SUM, TEST)
    source, agent = pipeline(tmp_path), PipelineHealth()
    sensed = await agent.sense(source, None, ContextAsData())
    assert shown(sensed.edges or ()) == {
        ("raw.orders#id", "analytics.stg#id", "value"),
        ("raw.orders#cents", "analytics.stg#euros", "value"),
        ("raw.orders#state", "analytics.stg", "filter"),
        ("analytics.stg#euros", "analytics.mart#total", "value"),
        ("analytics.mart#total", "exposure.shop.board", "value"),
        ("raw.orders#id", "model.shop.stg", "use"),
        ("raw.orders#cents", "model.shop.stg", "use"),
        ("raw.orders#state", "model.shop.stg", "use"),
        ("analytics.stg#euros", "model.shop.mart", "use"),
        ("model.shop.stg", "analytics.stg#id", "made"),
        ("model.shop.stg", "analytics.stg#euros", "made"),
        ("model.shop.mart", "analytics.mart#total", "made"),
        ("raw.orders#id", "test.shop.unique_id", "use"),
    }
    facts = {(s, p): o for s, p, o in sensed.facts}
    told = facts[STG, column_edges.COLUMNS]
    assert (told["by"], told["columns"], told["in_doubt"]) == ("model.shop.stg", ["id", "euros"], 0)
    assert told["uses"] == ["raw.orders#cents", "raw.orders#id", "raw.orders#state"]
    again = await agent.sense(source, sensed.baseline, ContextAsData())
    assert (again.edges, list(again.facts)) == (None, []), "the manifest is as it was"


async def test_only_what_changed_is_read_again(tmp_path: Path) -> None:
    """A second reading of the same project parses nothing; another model's SQL is parsed alone."""
    write(tmp_path, STAGE, SUM)
    source = pipeline(tmp_path)
    await source.columns()
    memo = source._memo
    first = memo.misses
    await source.columns()
    assert memo.misses == first
    write(tmp_path, STAGE, {**SUM, "compiled_code": "select max(euros) as total from db.analytics.stg"})
    found = await source.columns()
    assert memo.misses == first + 1
    assert "model.shop.mart" in found.parts


async def test_what_is_in_doubt_stays_coarse(tmp_path: Path) -> None:
    """Of a model that cannot be read, or that hands a whole table on, nothing finer is told than of its tables."""
    star = node("stg", "select * from db.raw.orders", "source.shop.raw.orders")
    snake = node("mart", "def model(dbt, session): ...", "model.shop.stg", language="python")
    write(tmp_path, star, snake)
    sensed = await PipelineHealth().sense(pipeline(tmp_path), None, ContextAsData())
    assert shown(sensed.edges or ()) == set()
    assert {(_short(e.upstream), _short(e.downstream)) for e in sensed.edges or ()} >= {
        ("raw.orders", "model.shop.stg"),
        ("analytics.stg", "model.shop.mart"),
    }
    told = {subject: held for subject, predicate, held in sensed.facts if predicate == column_edges.COLUMNS}
    assert told[MART]["in_doubt"] == 1
    assert "python" in told[MART]["doubts"][0]


async def test_ephemeral_models_read_what_their_readers_name(tmp_path: Path) -> None:
    """A model that becomes part of others' SQL is reached by the columns that those name, not by all."""
    inner = node(
        "inner", "select id, cents from db.raw.orders", "source.shop.raw.orders", config={"materialized": "ephemeral"}
    )
    outer = node(
        "mart",
        "with __dbt__cte__inner as (select id, cents from db.raw.orders) select cents from __dbt__cte__inner",
        "model.shop.inner",
    )
    write(tmp_path, inner, outer)
    sensed = await PipelineHealth().sense(pipeline(tmp_path), None, ContextAsData())
    uses = {(up, down) for up, down, how in shown(sensed.edges or ()) if how == "use"}
    assert ("raw.orders#cents", "model.shop.inner") in uses
    assert ("raw.orders#note", "model.shop.inner") not in uses


async def test_a_manifest_without_lineage_is_no_trouble(tmp_path: Path) -> None:
    """Where columns cannot be read at all, the edges of tables are told as ever."""
    write(tmp_path, {**STAGE, "compiled_code": ""})
    sensed = await PipelineHealth().sense(pipeline(tmp_path), None, ContextAsData())
    assert shown(sensed.edges or ()) == set()
    assert sensed.edges


def test_views_are_code_and_relation_at_once() -> None:
    """A view's columns come from those of its table; one that only decides rows reaches the whole view."""
    schema = Schema({"raw.orders": ["id", "cents", "state"]}, dialect="postgres")
    found = views({"analytics.stg": "select id, cents from raw.orders where state = 'paid'"}, schema=schema)
    edges = column_edges.edges(found, Project("", "dwh", {}))
    assert shown(edges) == {
        ("raw.orders#id", "analytics.stg#id", "value"),
        ("raw.orders#cents", "analytics.stg#cents", "value"),
        ("raw.orders#state", "analytics.stg", "filter"),
        ("raw.orders#id", "analytics.stg", "use"),
        ("raw.orders#cents", "analytics.stg", "use"),
    }
    assert {e.upstream.whole for e in edges} == {RAW}
