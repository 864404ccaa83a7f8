"""One look at a pipeline: has it run since, how did it end, is what it reads fresh."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Final

import structlog
from pydantic import TypeAdapter, ValidationError

from agents import column_edges
from agents.context import Context
from agents.pipeline_health import owning
from agents.pipeline_health.failure import tell
from agents.verdicts import Sensed
from config.assets import Asset
from config.errors import SwarmError
from integrations.base import LineageSource, Node, Orchestrator, Outcome, Project, Run, Staleness
from memory.records import JSON, Edge, NewObservation, Severity

KINDS: Final = (
    "pipeline.failed",
    "pipeline.passed",
    "pipeline.stale",
    "pipeline.no_artefact",
    "pipeline.known_failing",
)
SHAPE: Final = 1
log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Seen:
    """The baseline of one pipeline.

    Attributes:
        run: id of the last run seen; empty for none.
        has_artefact: was there one at the last look?
        known: nodes that failed at first contact and still do, with a digest of how.
        manifest: digest of the project whose lineage was told last.
        stale: load time of a source by node, as last reported stale.
        owners: who owns a node, by its id, as last told; a node without is left out.
    """

    run: str = ""
    has_artefact: bool = False
    known: Mapping[str, str] = field(default_factory=dict)
    manifest: str = ""
    stale: Mapping[str, str] = field(default_factory=dict)
    owners: Mapping[str, str] = field(default_factory=dict)
    shape: int = SHAPE


_ADAPTER = TypeAdapter(Seen)


async def look(source: Orchestrator, baseline: JSON, context: Context) -> Sensed:
    """Look once. Nothing is told while the team's run is in flight: its artefacts are half of one run.

    Only where nothing is known of what is made from what, the plan of that very run is better: else the relations it
    makes would look to everybody like tables that come and go.
    """
    if await source.is_running():
        earlier = _parse(baseline)
        is_told = earlier is not None and bool(earlier.manifest)
        return Sensed(baseline=baseline, edges=None if is_told else await _planned(source))
    run = await source.last_run()
    staleness = await source.staleness()
    project = await source.project() if run is not None else None
    if await source.is_running():  # it began meanwhile, and may have cleared away what was read
        return Sensed(baseline=baseline)
    pipeline = Asset(source.kind, source.name)
    before = _parse(baseline)
    if run is None or project is None:
        return _without_artefact(pipeline, before)
    observations, known = _run_told(pipeline, run, project, before)
    stale, reported = _stale_told(staleness, project, before.stale if before else {})
    tables = await context.columns(project.warehouse, column_edges.read_only(project))
    digest = _digest(project, tables)
    owners = owning.owners(project)
    facts = [*owning.tell(source, project, owners, before.owners if before else {})]
    edges = None
    if isinstance(source, LineageSource) and (before is None or before.manifest != digest):
        edges = [_edge(e.upstream, e.downstream) for e in await source.edges()]
        if isinstance(source, column_edges.ColumnLineage):
            finer, told = await _finer(source, project, tables)
            edges += finer
            facts += told
    seen = Seen(run.id, True, known, digest, reported, owners)
    return Sensed([*observations, *stale], _ADAPTER.dump_python(seen, mode="json"), edges, facts)


async def _finer(
    source: Orchestrator, project: Project, tables: Mapping[str, Sequence[str]]
) -> tuple[Sequence[Edge], Sequence[tuple[Asset, str, JSON]]]:
    """Lineage of columns, where the pipeline's SQL can be read; else that of its tables has to do."""
    assert isinstance(source, column_edges.ColumnLineage)  # noqa: S101 - the caller looks first
    try:
        lineage = await source.columns(tables)
    except SwarmError as error:
        log.warning("lineage.columns_unknown", source=source.name, problem=error.message)
        return (), ()
    edges = await asyncio.to_thread(column_edges.edges, lineage, project, source.kind, source.name)
    return edges, column_edges.facts(lineage, project)


async def _planned(source: Orchestrator) -> list[Edge] | None:
    """Lineage as the run in flight has planned it; None where it has not got as far as that."""
    if not isinstance(source, LineageSource):
        return None
    try:
        return [_edge(e.upstream, e.downstream) for e in await source.edges()]
    except SwarmError:  # not written yet, or half: the look after the run says so if it stays like that
        return None


def _parse(baseline: JSON) -> Seen | None:
    if not isinstance(baseline, dict) or baseline.get("shape") != SHAPE:
        return None
    try:
        return _ADAPTER.validate_python(baseline)
    except ValidationError:
        return None


def _edge(upstream: Asset, downstream: Asset) -> Edge:
    return Edge(upstream, downstream, "column" if upstream.part and downstream.part else "table")


def _without_artefact(pipeline: Asset, before: Seen | None) -> Sensed:
    """No artefact: at first contact a note; where there was one, a sign (no parse, warehouse down, locked role)."""
    seen = before or Seen()
    is_first = before is None
    if not is_first and not seen.has_artefact:
        return Sensed(baseline=_ADAPTER.dump_python(seen, mode="json"))
    observation = NewObservation(
        "pipeline.no_artefact",
        pipeline,
        Severity.INFO if is_first else Severity.WARNING,
        {} if is_first else {"last_run": seen.run},
        0.3 if is_first else 0.7,
        key=f"no_artefact|{seen.run}",
    )
    after = replace(seen, has_artefact=False)
    return Sensed([observation], _ADAPTER.dump_python(after, mode="json"))


def _run_told(
    pipeline: Asset, run: Run, project: Project, before: Seen | None
) -> tuple[list[NewObservation], Mapping[str, str]]:
    """What to say of the last run, and which nodes are known to fail from now on."""
    if before is not None and run.id == before.run:
        return [], before.known
    key = f"run:{run.id}"
    ran = {r.node for r in run.results}
    elsewhere = {n: d for n, d in before.known.items() if n not in ran} if before else {}
    if run.is_clean:
        return [NewObservation("pipeline.passed", pipeline, Severity.INFO, _passed(run), key=key)], elsewhere
    how = {r.node: _how(r.outcome, r.message) for r in run.bad}
    if before is None:  # failures of old open nothing until they change
        payload = tell(run, project)
        return [NewObservation("pipeline.known_failing", pipeline, Severity.WARNING, payload, 0.4, key=key)], how
    known = {node: digest for node, digest in before.known.items() if how.get(node) == digest}
    if len(known) == len(how):
        return [], known | elsewhere
    payload = tell(run, project, known)
    return [NewObservation("pipeline.failed", pipeline, Severity.ERROR, payload, 0.9, key=key)], known | elsewhere


def _passed(run: Run) -> dict[str, JSON]:
    return {
        "ran": [r.node for r in run.results],
        "run": run.id,
        "finished_at": run.finished_at.isoformat(),
        "started_at": (run.finished_at - timedelta(seconds=run.seconds)).isoformat(),
        "command": run.command,
        "nodes": len(run.results),
    }


def _how(outcome: Outcome, message: str) -> str:
    """How a node failed, without the figures that change from run to run."""
    return hashlib.sha256(f"{outcome.value}|{re.sub(r'[0-9]+', '0', message)}".encode()).hexdigest()[:16]


def _stale_told(
    staleness: Sequence[Staleness], project: Project, before: Mapping[str, str]
) -> tuple[list[NewObservation], Mapping[str, str]]:
    """Sources that are stale, each once per load; what could not be read is not stale but broken."""
    told: list[NewObservation] = []
    reported: dict[str, str] = {}
    for found in staleness:
        node = project.nodes.get(found.node)
        if found.outcome in (Outcome.SUCCESS, Outcome.SKIPPED) or found.max_loaded_at is None or node is None:
            continue
        loaded = f"{found.outcome.value}|{found.max_loaded_at.isoformat()}"
        reported[found.node] = loaded
        if before.get(found.node) == loaded:
            continue
        severity = Severity.WARNING if found.outcome is Outcome.WARN else Severity.ERROR
        subject = Asset("warehouse", project.warehouse, node.relation)
        payload = {"node": node.id, "relation": node.relation, "age_seconds": found.age_seconds}
        told.append(NewObservation("pipeline.stale", subject, severity, payload, 0.6, key=f"stale|{node.id}|{loaded}"))
    return told, reported


def _digest(project: Project, tables: Mapping[str, Sequence[str]]) -> str:
    """What lineage depends on: the project, and the columns of what it reads and does not make."""
    digest = hashlib.sha256(repr(sorted((path, list(columns)) for path, columns in tables.items())).encode())
    for name in sorted(project.nodes):
        digest.update(repr(_shape(project.nodes[name])).encode())
    return digest.hexdigest()


def _shape(node: Node) -> tuple[object, ...]:
    return node.id, node.kind, node.relation, node.depends_on, node.compiled_code
