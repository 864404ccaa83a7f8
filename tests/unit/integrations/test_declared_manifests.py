"""What a dbt project declares, as a catalog, as a source, and as a project with its owners."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from config.errors import SourceError, UsageError
from integrations.base import Structured
from integrations.declared import DbtContracts, catalog_of_manifest, load_manifest, project_of_manifest
from integrations.registry import misfits

PROMISED: dict[str, Any] = {
    "unique_id": "model.shop.orders",
    "resource_type": "model",
    "name": "orders",
    "schema": "mart",
    "alias": "orders",
    "relation_name": '"db"."mart"."orders"',
    "description": "one row an order",
    "config": {"materialized": "table", "contract": {"enforced": True}, "meta": {"owner": "nina"}},
    "columns": {
        "id": {"name": "id", "data_type": "BIGINT", "constraints": [{"type": "primary_key", "name": "pk"}]},
        "note": {"name": "note", "data_type": "text", "description": "free words", "constraints": []},
        "paid": {"name": "paid", "data_type": "numeric(10,2)", "constraints": [{"type": "not_null"}]},
    },
    "constraints": [
        {"type": "unique", "columns": ["id", "note"]},
        {"type": "check", "columns": ["paid"], "expression": "paid > 0", "name": "positive"},
        {"type": "foreign_key", "columns": ["id"], "to": '"db"."raw"."orders"', "to_columns": ["id"]},
    ],
}
SOURCE: dict[str, Any] = {
    "unique_id": "source.shop.raw.orders",
    "resource_type": "source",
    "name": "orders",
    "schema": "raw",
    "identifier": "orders",
    "relation_name": '"db"."raw"."orders"',
    "config": {},
    "columns": {"id": {"name": "id", "data_type": "bigint"}},
}
MANIFEST: dict[str, Any] = {
    "metadata": {"adapter_type": "postgres", "generated_at": "2026-11-20T08:00:00Z", "project_name": "shop"},
    "nodes": {
        "model.shop.orders": PROMISED,
        "model.shop.draft": {
            **PROMISED,
            "unique_id": "model.shop.draft",
            "alias": "draft",
            "config": {"materialized": "view"},
            "constraints": [],
            "columns": {"ID": {"name": "ID"}},
            "depends_on": {"nodes": ["source.shop.raw.orders"]},
        },
        "model.shop.passing": {**PROMISED, "unique_id": "model.shop.passing", "config": {"materialized": "ephemeral"}},
        "test.shop.unique_id": {
            "unique_id": "test.shop.unique_id",
            "resource_type": "test",
            "name": "unique_id",
            "column_name": "id",
            "test_metadata": {"name": "unique"},
            "depends_on": {"nodes": ["model.shop.orders"]},
        },
    },
    "sources": {"source.shop.raw.orders": SOURCE},
    "exposures": {
        "exposure.shop.report": {
            "unique_id": "exposure.shop.report",
            "resource_type": "exposure",
            "name": "report",
            "owner": {"name": "", "email": "maria@shop.example"},
            "depends_on": {"nodes": ["model.shop.orders"]},
        }
    },
}
CATALOG = {
    "nodes": {
        "model.shop.draft": {
            "metadata": {"schema": "mart", "name": "draft"},
            "columns": {
                "extra": {"name": "extra", "index": 2, "type": "text"},
                "ID": {"name": "ID", "index": 1, "type": "integer"},
            },
        }
    },
    "sources": {},
}


def write(folder: Path, manifest: object = MANIFEST, catalog: object | None = None) -> Path:
    """A target directory."""
    (folder / "target").mkdir()
    (folder / "target" / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    if catalog is not None:
        (folder / "target" / "catalog.json").write_text(json.dumps(catalog), encoding="utf-8")
    return folder


def test_all_that_is_documented() -> None:
    """Relations with a written column, ephemeral ones apart; the time is the manifest's."""
    found = catalog_of_manifest(MANIFEST)
    assert [t.path for t in found.tables] == ["mart.draft", "mart.orders", "raw.orders"]
    assert found.taken_at == datetime(2026, 11, 20, 8, tzinfo=UTC)
    assert [(c.name, c.type) for c in found.tables[0].columns] == [("ID", "")]
    assert found.tables[0].kind == "view"


def test_a_contract_is_read_whole() -> None:
    """Types, what may be null, keys, checks, references and comments."""
    [table] = catalog_of_manifest(MANIFEST, contracts_only=True).tables
    assert [(c.name, c.type, c.nullable) for c in table.columns] == [
        ("id", "bigint", False),
        ("note", "text", True),
        ("paid", "numeric(10,2)", False),
    ]
    assert table.columns[1].comment == "free words"
    assert {(c.name, c.kind, c.definition) for c in table.constraints} == {
        ("pk", "primary_key", "PRIMARY KEY (id)"),
        ("", "unique", "UNIQUE (id, note)"),
        ("positive", "check", "CHECK (paid > 0)"),
        ("", "foreign_key", "FOREIGN KEY (id) REFERENCES raw.orders(id)"),
    }
    assert (table.comment, table.owner) == ("one row an order", "nina")


def test_the_catalog_beside_supplies_types() -> None:
    """And columns that nobody wrote down, in the warehouse's order."""
    draft = catalog_of_manifest(MANIFEST, CATALOG).tables[0]
    assert [(c.name, c.type) for c in draft.columns] == [("ID", "integer"), ("extra", "text")]


def test_who_builds_and_who_reads() -> None:
    """Nodes with their relations, owners, tests and what they stand on."""
    project = project_of_manifest(MANIFEST, warehouse="shop")
    assert project.warehouse == "shop"
    assert project.nodes["model.shop.orders"].relation == "mart.orders"
    assert project.nodes["model.shop.passing"].relation == ""
    assert project.nodes["exposure.shop.report"].owner == "maria@shop.example"
    assert (project.nodes["test.shop.unique_id"].test, project.nodes["test.shop.unique_id"].column) == ("unique", "id")
    assert project.downstream("source.shop.raw.orders") == ("model.shop.draft",)


@pytest.mark.parametrize("broken", [{"metadata": {}}, {**MANIFEST, "nodes": {"x": {"resource_type": "model"}}}])
def test_another_shape(broken: dict[str, Any]) -> None:
    """Said as a source's fault."""
    with pytest.raises(SourceError, match="not a dbt manifest"):
        catalog_of_manifest(broken)


def test_where_a_manifest_is(tmp_path: Path) -> None:
    """The file, the target folder or the project's; what is none is refused by name."""
    write(tmp_path, catalog=CATALOG)
    for place in (tmp_path, tmp_path / "target", tmp_path / "target" / "manifest.json"):
        manifest, beside = load_manifest(place)
        assert manifest == MANIFEST
        assert beside == CATALOG
    (tmp_path / "empty").mkdir()
    (tmp_path / "words.json").write_text("words")
    (tmp_path / "list.json").write_text("[]")
    for name, says in (
        ("empty", "no manifest.json"),
        ("words.json", "line 1: this is not JSON"),
        ("list.json", "not a dbt"),
        ("none.json", "cannot be read"),
    ):
        with pytest.raises(UsageError, match=says):
            load_manifest(tmp_path / name)


async def test_contracts_as_a_source(tmp_path: Path) -> None:
    """It fits the protocol, tells what is promised, follows the file, and says what is missing."""
    assert misfits(DbtContracts, "dbt-contracts") == []
    source = DbtContracts("promises", DbtContracts.Options(path=tmp_path))
    assert isinstance(source, Structured)
    await source.open()
    assert [f.ok for f in await source.examine()] == [False]
    with pytest.raises(SourceError, match=r"contracts promises: there is no manifest\.json"):
        await source.catalog()
    write(tmp_path)
    first = await source.catalog()
    assert [t.path for t in first.tables] == ["mart.orders"]
    assert [f.ok for f in await source.examine()] == [True]
    later = {**MANIFEST, "metadata": {**MANIFEST["metadata"], "generated_at": "2026-11-21T08:00:00Z"}}
    (tmp_path / "target" / "manifest.json").write_text(json.dumps(later))
    assert (await source.catalog()).fingerprint == first.fingerprint
    await source.close()


async def test_documented_columns_as_a_source(tmp_path: Path) -> None:
    """By option; without a contract the default finds nothing, and says what to write."""
    bare = {**MANIFEST, "nodes": {"model.shop.draft": MANIFEST["nodes"]["model.shop.draft"]}}
    write(tmp_path, bare)
    everything = DbtContracts("promises", DbtContracts.Options(path=tmp_path, columns="documented"))
    assert len((await everything.catalog()).tables) == 2
    [finding] = await DbtContracts("promises", DbtContracts.Options(path=tmp_path)).examine()
    assert not finding.ok
    assert "contract" in finding.hint


def test_options_are_strict() -> None:
    """A misspelt option is refused."""
    with pytest.raises(ValidationError):
        DbtContracts.Options(path=Path(), colums="documented")


def test_nothing_is_read_before_it_is_asked_for() -> None:
    """Making and opening the source touches nothing."""
    source = DbtContracts("promises", DbtContracts.Options(path=Path("/nowhere/at/all")))
    asyncio.run(source.open())
