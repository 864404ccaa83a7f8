"""dbt's artefacts as they come in life: absent, half-written, of another version, in many places."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import fsspec  # type: ignore[import-untyped]
import pytest

from config.assets import Asset
from config.errors import PermanentError, SetupError, SourceError, SwarmError, TransientError, UsageError
from integrations.base import Outcome
from integrations.orchestrators.dbt import DbtOptions, DbtOrchestrator, node_asset, relation_asset
from integrations.orchestrators.dbt.artefacts import to_edges, to_project
from integrations.orchestrators.dbt.invocation import failure, trimmed
from integrations.orchestrators.dbt.presence import answers, marked
from integrations.orchestrators.dbt.selection import selectors

MODEL = {
    "unique_id": "model.shop.stg_orders",
    "resource_type": "model",
    "name": "stg_orders",
    "alias": "stg_orders",
    "schema": "analytics",
    "fqn": ["shop", "staging", "stg_orders"],
    "original_file_path": "models/staging/stg_orders.sql",
    "depends_on": {"nodes": ["source.shop.raw.orders"], "macros": []},
    "config": {"materialized": "incremental", "unique_key": ["id", "day"], "meta": {"owner": "a@b.c"}},
    "raw_code": "select 1",
}
EPHEMERAL = MODEL | {
    "unique_id": "model.shop.inner",
    "name": "inner",
    "fqn": ["shop", "inner"],
    "depends_on": {"nodes": ["model.shop.stg_orders"]},
    "config": {"materialized": "ephemeral"},
}
TEST = {
    "unique_id": "test.shop.relationships_inner.0123",
    "resource_type": "test",
    "name": "relationships_inner",
    "alias": "relationships_inner",
    "schema": "audit",
    "fqn": ["shop", "staging", "relationships_inner"],
    "original_file_path": "models/staging/models.yml",
    "depends_on": {"nodes": ["model.shop.stg_orders", "model.shop.inner"]},
    "attached_node": "model.shop.inner",
    "column_name": "order_id",
    "test_metadata": {"name": "relationships", "kwargs": {"column_name": "order_id"}},
    "config": {},
}
MANIFEST: dict[str, Any] = {
    "metadata": {
        "dbt_schema_version": "https://schemas.getdbt.com/dbt/manifest/v12.json",
        "project_name": "shop",
    },
    "nodes": {n["unique_id"]: n for n in (MODEL, EPHEMERAL, TEST)},
    "sources": {
        "source.shop.raw.orders": {
            "unique_id": "source.shop.raw.orders",
            "source_name": "raw",
            "name": "orders",
            "schema": "raw",
            "identifier": "ORDERS_V2",
            "original_file_path": "models/sources.yml",
            "source_meta": {"owner": "loaders"},
        }
    },
    "exposures": {
        "exposure.shop.board": {
            "unique_id": "exposure.shop.board",
            "name": "board",
            "original_file_path": "models/exposures.yml",
            "depends_on": {"nodes": ["model.shop.stg_orders"]},
            "owner": {"email": "boss@shop"},
        }
    },
}
RESULTS: dict[str, Any] = {
    "metadata": {
        "dbt_schema_version": "https://schemas.getdbt.com/dbt/run-results/v6.json",
        "generated_at": "2026-11-20T10:00:00.5Z",
        "invocation_id": "i-1",
    },
    "args": {"which": "build"},
    "elapsed_time": 2.5,
    "results": [
        {"unique_id": "model.shop.stg_orders", "status": "error", "message": "no column", "execution_time": 0.5},
        {"unique_id": "test.shop.relationships_inner.0123", "status": "fail", "failures": 3, "message": None},
        {"unique_id": "model.shop.inner", "status": "skipped", "message": None},
    ],
}


def orchestrator(target: object, **options: object) -> DbtOrchestrator:
    """An orchestrator that only reads."""
    return DbtOrchestrator("shop", DbtOptions.model_validate({"warehouse": "dwh", "target": str(target)} | options))


def write(directory: Path, **artefacts: object) -> Path:
    """Write artefacts into a directory."""
    for name, content in artefacts.items():
        text = content if isinstance(content, str) else json.dumps(content)
        (directory / f"{name}.json").write_text(text)
    return directory


async def test_no_artefact_at_all(tmp_path: Path) -> None:
    """No run is None, no freshness is empty, no manifest is a SourceError that says what to do."""
    reading = orchestrator(tmp_path / "target")
    assert await reading.last_run() is None
    assert await reading.staleness() == ()
    with pytest.raises(SourceError, match="dbt parse") as caught:
        await reading.project()
    assert "manifest.json" in caught.value.message
    assert [f.ok for f in await reading.examine()][:2] == [False, False]


async def test_a_run_with_everything_in_it(tmp_path: Path) -> None:
    """Outcomes, messages, counts and times come through; what failed by itself is told from what was skipped."""
    run = await orchestrator(write(tmp_path, run_results=RESULTS)).last_run()
    assert run is not None
    assert (run.id, run.command, run.seconds) == ("i-1", "build", 2.5)
    assert [r.outcome for r in run.results] == [Outcome.ERROR, Outcome.FAIL, Outcome.SKIPPED]
    assert (run.results[0].message, run.results[1].failures, run.is_clean) == ("no column", 3, False)
    assert len(run.bad) == 2


@pytest.mark.parametrize("version", ["v11", "v13", ""])
async def test_another_version(tmp_path: Path, version: str) -> None:
    """A manifest of another version is a SourceError naming what was found and what is supported."""
    schema = f"https://schemas.getdbt.com/dbt/manifest/{version}.json" if version else ""
    other = MANIFEST | {"metadata": {"dbt_schema_version": schema}}
    with pytest.raises(SourceError, match="supported is v12") as caught:
        await orchestrator(write(tmp_path, manifest=other)).project()
    assert (version or "no version at all") in caught.value.message
    assert "dbt 1.8" in caught.value.hint


async def test_half_written_for_good(tmp_path: Path) -> None:
    """An artefact that stays half-written is a TransientError: it is read anew at the next look."""
    write(tmp_path, manifest=json.dumps(MANIFEST)[:-30], run_results=RESULTS)
    reading = orchestrator(tmp_path)
    with pytest.raises(TransientError, match="half-written"):
        await reading.project()
    assert await reading.last_run() is not None


async def test_half_written_for_a_moment(tmp_path: Path) -> None:
    """One that is finished while it is read again is taken."""
    write(tmp_path, manifest="")
    reading = orchestrator(tmp_path)
    looking = asyncio.create_task(reading.project())
    asyncio.get_running_loop().call_later(0.1, lambda: write(tmp_path, manifest=MANIFEST))
    assert (await looking).name == "shop"


async def test_a_broken_shape(tmp_path: Path) -> None:
    """The right version with a field missing is a SourceError, not a KeyError."""
    broken = MANIFEST | {"nodes": {"model.shop.x": {"resource_type": "model"}}}
    results = RESULTS | {"results": [{"unique_id": "x", "status": "exploded"}]}
    reading = orchestrator(write(tmp_path, manifest=broken, run_results=results))
    with pytest.raises(SourceError, match="unique_id"):
        await reading.project()
    with pytest.raises(SourceError, match="exploded"):
        await reading.last_run()


async def test_a_new_artefact_is_seen(tmp_path: Path) -> None:
    """What was parsed is kept only as long as the file says the same."""
    reading = orchestrator(write(tmp_path, manifest=MANIFEST))
    assert len((await reading.project()).nodes) == 5
    write(tmp_path, manifest=MANIFEST | {"exposures": {}})
    assert len((await reading.project()).nodes) == 4


async def test_from_an_object_store() -> None:
    """Any fsspec URL will do; one without a driver says what to install."""
    with fsspec.open("memory://bucket/target/manifest.json", "w") as file:
        json.dump(MANIFEST, file)
    reading = orchestrator("memory://bucket/target/")
    assert (await reading.project()).warehouse == "dwh"
    assert await reading.last_run() is None
    with pytest.raises(SetupError, match="install"):
        await orchestrator("nosuchstore://bucket").project()


def test_nodes_as_they_are_written() -> None:
    """Relations, paths, owners, tests and keys of every kind of node."""
    nodes = to_project(MANIFEST, "dwh").nodes
    model, source = nodes["model.shop.stg_orders"], nodes["source.shop.raw.orders"]
    assert (model.relation, model.unique_key, model.owner) == ("analytics.stg_orders", "id, day", "a@b.c")
    assert (source.relation, source.path, source.owner) == ("raw.ORDERS_V2", "models/sources.yml", "loaders")
    test = nodes["test.shop.relationships_inner.0123"]
    assert (test.kind, test.test, test.column, test.relation) == ("test", "relationships", "order_id", "")
    assert test.depends_on[0] == "model.shop.inner"
    assert nodes["model.shop.inner"].relation == ""
    assert nodes["exposure.shop.board"].owner == "boss@shop"


def test_lineage_goes_through_relations() -> None:
    """Source relation → model → its relation → what reads it; an ephemeral model is read as a node."""
    project = to_project(MANIFEST, "dwh")
    edges = {(str(e.upstream), str(e.downstream)) for e in to_edges(project, "shop")}
    raw, made = str(relation_asset("dwh", "raw.ORDERS_V2")), str(relation_asset("dwh", "analytics.stg_orders"))
    model, inner = (str(node_asset("shop", f"model.shop.{n}")) for n in ("stg_orders", "inner"))
    test = str(Asset("dbt", "shop", "test.shop.relationships_inner.0123"))
    assert edges == {
        (raw, str(node_asset("shop", "source.shop.raw.orders"))),
        (raw, model),
        (model, made),
        (made, inner),
        (made, test),
        (inner, test),
        (made, str(node_asset("shop", "exposure.shop.board"))),
    }


def test_ids_become_selectors() -> None:
    """Each id selects itself alone, by its fully qualified name; what is not there or not built is refused."""
    assert selectors(["model.shop.stg_orders+"], MANIFEST) == ["fqn:shop.staging.stg_orders+"]
    assert selectors(["source.shop.raw.orders+"], MANIFEST) == ["source:shop.raw.orders+"]
    assert selectors(["test.shop.relationships_inner.0123"], MANIFEST) == ["fqn:shop.staging.relationships_inner"]
    assert selectors(["model.shop.new"], MANIFEST) == ["fqn:new"]
    with pytest.raises(UsageError, match=r"model\.shop\.stg_orders"):
        selectors(["model.shop.stg_order"], MANIFEST, is_complete=True)
    for bad in ("stg_orders", "model.shop.a b", "--full-refresh", "exposure.shop.board", "model.shop.*"):
        with pytest.raises(UsageError):
            selectors([bad], MANIFEST)


@pytest.mark.parametrize(
    ("output", "error"),
    [
        ('connection to server at "h" failed: Connection refused', TransientError),
        ('FATAL: password authentication failed for user "x"', SetupError),
        ("Compilation Error\n  Model 'x' depends on a node named 'y' which was not found", SourceError),
        ("Runtime Error\n  Could not find profile named 'shop'", SourceError),
        ("The selection criterion 'x' does not match any enabled nodes", PermanentError),
        ("Segmentation fault", PermanentError),
    ],
)
def test_what_dbt_says_is_understood(output: str, error: type[SwarmError]) -> None:
    """A dbt that left no results is judged by its words; its own message is passed on, trimmed."""
    judged = failure(2, f"10:11:12  Running with dbt=1.11\n10:11:13  {output}", "shop", secrets=[])
    assert type(judged) is error
    assert output.splitlines()[-1].strip() in judged.message


def test_messages_are_trimmed_and_hold_no_secret() -> None:
    """Times, colours and what stands before the first error go; a configured secret is starred; length is bounded."""
    said = trimmed(
        "\x1b[0m10:11:12  Found 3 models\n10:11:13  Encountered an error: hunter2\n" + "x" * 9000, ["hunter2"]
    )
    assert said.startswith("Encountered an error: ***")
    assert len(said) < 2000


def test_the_team_is_seen_running(tmp_path: Path) -> None:
    """A marker counts while its process lives, or when nobody can tell; a zombie or a dead id does not count."""
    marker = tmp_path / "running.pid"
    assert not marked(marker)
    marker.write_text(f"{os.getpid()}\n")
    assert marked(marker)
    ended = subprocess.Popen([sys.executable, "-c", ""])
    os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)
    marker.write_text(str(ended.pid))
    assert not marked(marker)
    ended.wait()
    assert not marked(marker)
    marker.write_text("")
    assert marked(marker)


async def test_a_command_may_know_what_runs() -> None:
    """0 means running, 1 means not; anything else is an error that says so."""
    assert await answers("true", "shop")
    assert not await answers("false", "shop")
    with pytest.raises(TransientError, match="ended with 7"):
        await answers(f"{sys.executable} -c 'raise SystemExit(7)'", "shop")
    with pytest.raises(SetupError):
        await answers("no-such-command-anywhere", "shop")
