"""One look at a pipeline: runs, first contact, artefacts that are missing, stale sources, lineage."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from agents.pipeline_health import PipelineHealth
from integrations.base import Node, Outcome, Staleness
from memory.records import JSON, Edge, NewObservation
from tests.cases.reading import NOW, ContextAsData
from tests.unit.agents.health_world import NODES, Line, bad, run


class Watcher:
    """Looks at a line again and again, remembering."""

    def __init__(self, line: Line) -> None:
        self.line = line
        self.agent = PipelineHealth()
        self.baseline: JSON = None
        self.edges: Any = None
        self.facts: Mapping[tuple[str, str], JSON] = {}

    async def look(self) -> list[NewObservation]:
        """What one look says."""
        sensed = await self.agent.sense(self.line, self.baseline, ContextAsData())
        self.baseline, self.edges = sensed.baseline, sensed.edges
        self.facts = {(str(subject), predicate): held for subject, predicate, held in sensed.facts}
        return list(sensed.observations)


def _edges(watcher: Watcher) -> list[Edge]:
    return list(watcher.edges or ())


@pytest.fixture
def watcher() -> Watcher:
    """A watcher of a line whose first run was clean."""
    return Watcher(Line(last=run(1)))


async def test_runs_are_told_once(watcher: Watcher) -> None:
    """Clean, failed, clean again: each run once."""
    (first,) = await watcher.look()
    assert (first.kind, first.key, first.payload["nodes"]) == ("pipeline.passed", "run:r1", 1)
    assert first.payload["started_at"] == "2026-03-02T12:00:30+00:00"
    assert await watcher.look() == []
    watcher.line.last = run(
        2, bad("model.stg_orders", 'column "x" does not exist'), bad("model.fct_orders", "", Outcome.SKIPPED)
    )
    (failed,) = await watcher.look()
    assert (failed.kind, failed.severity, str(failed.subject)) == ("pipeline.failed", "error", "dbt://team")
    assert failed.payload["nodes"][0] == {
        "id": "model.stg_orders",
        "kind": "model",
        "outcome": "error",
        "message": 'column "x" does not exist',
        "test": "",
        "column": "",
        "relation": "analytics.stg_orders",
        "path": "models/stg_orders.sql",
        "failures": 0,
    }
    assert failed.payload["skipped"] == ["model.fct_orders"]
    assert failed.payload["depends"] == {"model.stg_orders": ["raw.orders"]}
    assert failed.payload["warehouse"] == "shop"
    assert await watcher.look() == []
    watcher.line.last = run(3)
    assert [o.kind for o in await watcher.look()] == ["pipeline.passed"]


async def test_failures_at_first_contact_open_nothing_until_they_change() -> None:
    """They are listed as known; a run that fails alike says nothing, a new failure is told without the known one."""
    watcher = Watcher(Line(last=run(1, bad("model.stg_orders", "Got 3 results"))))
    assert [o.kind for o in await watcher.look()] == ["pipeline.known_failing"]
    watcher.line.last = run(2, bad("model.stg_orders", "Got 4 results"))
    assert await watcher.look() == []
    watcher.line.last = run(3, bad("model.stg_orders", "Got 5 results"), bad("model.fct_orders", "other"))
    (failed,) = await watcher.look()
    assert failed.kind == "pipeline.failed"
    assert [n["id"] for n in failed.payload["nodes"]] == ["model.fct_orders"]
    assert failed.payload["known"] == ["model.stg_orders"]
    watcher.line.last = run(4, bad("model.stg_orders", "something else"))
    (failed,) = await watcher.look()
    assert [n["id"] for n in failed.payload["nodes"]] == ["model.stg_orders"]


async def test_known_failures_survive_a_partial_run() -> None:
    """A run of other nodes says nothing about the known one; a clean run of it ends it."""
    watcher = Watcher(Line(last=run(1, bad("model.stg_orders", "broken"))))
    await watcher.look()
    watcher.line.last = run(2)
    assert [o.kind for o in await watcher.look()] == ["pipeline.passed"]
    watcher.line.last = run(3, bad("model.stg_orders", "broken"))
    assert await watcher.look() == []
    watcher.line.last = run(4, bad("model.stg_orders", "", Outcome.SUCCESS))
    await watcher.look()
    watcher.line.last = run(5, bad("model.stg_orders", "broken"))
    assert [o.kind for o in await watcher.look()] == ["pipeline.failed"]


@pytest.mark.parametrize("running", [[True], [False, True]])
async def test_nothing_is_read_while_a_run_is_in_flight(watcher: Watcher, running: list[bool]) -> None:
    """Neither when it was in flight before, nor when it began meanwhile: its artefacts are half of one run."""
    await watcher.look()
    before = watcher.baseline
    watcher.line.last = None
    watcher.line.running = list(running)
    assert await watcher.look() == []
    assert watcher.baseline == before


async def test_the_first_lineage_is_that_of_the_run_in_flight() -> None:
    """What it builds is known to be built while it is built; once lineage is known, the run is waited for."""
    watcher = Watcher(Line())
    watcher.line.running = [True]
    watcher.line.unreadable = True
    assert await watcher.look() == []
    assert not _edges(watcher), "half of a manifest is none, and no trouble"
    watcher.line.unreadable = False
    assert await watcher.look() == []
    assert [str(e.upstream) for e in _edges(watcher)] == ["warehouse://shop/raw.orders"]
    assert watcher.baseline is None, "it is still the first contact"
    watcher.line.last, watcher.line.running = run(1), [False]
    assert [o.kind for o in await watcher.look()] == ["pipeline.passed"]
    assert _edges(watcher)
    watcher.line.running = [True]
    await watcher.look()
    assert not _edges(watcher)


async def test_missing_artefact(watcher: Watcher) -> None:
    """A sign where there was one before, told once; a note at first contact."""
    await watcher.look()
    watcher.line.last = None
    (sign,) = await watcher.look()
    assert (sign.kind, sign.severity, sign.payload) == ("pipeline.no_artefact", "warning", {"last_run": "r1"})
    assert await watcher.look() == []
    watcher.line.last = run(2)
    assert [o.kind for o in await watcher.look()] == ["pipeline.passed"]
    fresh = Watcher(Line())
    (note,) = await fresh.look()
    assert (note.severity, note.payload) == ("info", {})
    assert await fresh.look() == []


async def test_the_first_run_that_fails_under_watch_is_a_failure() -> None:
    """First contact found no artefact; then a run failed. That is news, not history."""
    watcher = Watcher(Line())
    await watcher.look()
    watcher.line.last = run(1, bad("model.stg_orders", "broken"))
    assert [o.kind for o in await watcher.look()] == ["pipeline.failed"]


async def test_stale_sources(watcher: Watcher) -> None:
    """Once per load time and degree; a source that could not be read is not stale."""
    await watcher.look()
    old = NOW - timedelta(hours=40)
    watcher.line.stale = [
        Staleness("source.orders", Outcome.WARN, old, 144_000.0),
        Staleness("source.lost", Outcome.ERROR, None, 0.0),
    ]
    (stale,) = await watcher.look()
    assert (stale.kind, stale.severity, str(stale.subject)) == (
        "pipeline.stale",
        "warning",
        "warehouse://shop/raw.orders",
    )
    assert stale.payload == {"node": "source.orders", "relation": "raw.orders", "age_seconds": 144_000.0}
    assert await watcher.look() == []
    watcher.line.stale = [Staleness("source.orders", Outcome.ERROR, old, 300_000.0)]
    assert [o.severity for o in await watcher.look()] == ["error"]


async def test_lineage_is_read_when_the_project_changed(watcher: Watcher) -> None:
    """At first, and when a node changed; not at every look."""
    await watcher.look()
    assert [str(e.upstream) for e in watcher.edges] == ["warehouse://shop/raw.orders"]
    watcher.line.last = run(2)
    await watcher.look()
    assert watcher.edges is None
    watcher.line.nodes = (*NODES, Node("model.new", "model", "new", depends_on=("model.fct_orders",)))
    await watcher.look()
    assert watcher.line.edge_reads == 2
    assert [str(e.downstream) for e in _edges(watcher)] == ["dbt://team/model.stg_orders"]


async def test_owners_are_told_when_they_change(watcher: Watcher) -> None:
    """Of nodes and their relations, at first and when the project names somebody else, or nobody any more."""
    owned = [replace(n, owner="ingestion@x.example") if n.kind == "source" else n for n in NODES]
    board = Node("exposure.board", "exposure", "board", depends_on=("model.fct_orders",), owner="sales@x.example")
    watcher.line.nodes = (*owned, board)
    await watcher.look()
    assert watcher.facts == {
        ("dbt://team/source.orders", "owner"): "ingestion@x.example",
        ("warehouse://shop/raw.orders", "owner"): "ingestion@x.example",
        ("dbt://team/exposure.board", "owner"): "sales@x.example",
    }
    watcher.line.last = run(2)
    await watcher.look()
    assert watcher.facts == {}
    watcher.line.nodes = (*NODES, replace(board, owner="finance@x.example"))
    await watcher.look()
    assert watcher.facts == {
        ("dbt://team/source.orders", "owner"): "",
        ("warehouse://shop/raw.orders", "owner"): "",
        ("dbt://team/exposure.board", "owner"): "finance@x.example",
    }
    watcher.line.last = None
    await watcher.look()
    watcher.line.last = run(3)
    await watcher.look()
    assert watcher.facts == {}


async def test_values_in_messages_are_not_kept(watcher: Watcher) -> None:
    """What a database quotes from rows is left out of what is recorded."""
    await watcher.look()
    message = 'invalid input syntax for type integer: "Jane Doe"\nDETAIL: Key (email)=(jane@x.example) already exists.'
    watcher.line.last = run(2, bad("model.stg_orders", message))
    (failed,) = await watcher.look()
    told = failed.payload["nodes"][0]["message"]
    assert "Jane" not in told
    assert "jane" not in told
    assert "type integer" in told


async def test_a_node_that_is_no_longer_in_the_project(watcher: Watcher) -> None:
    """It is told with what is known of it."""
    await watcher.look()
    watcher.line.last = run(2, bad("model.removed", "broken"))
    (failed,) = await watcher.look()
    assert failed.payload["nodes"][0]["kind"] == "model"
    assert failed.payload["depends"] == {"model.removed": []}
