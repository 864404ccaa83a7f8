"""What a clean run made, counted: what later repairs are measured against."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import structlog

from agents.pipeline_health.options import PipelineHealthOptions
from agents.pipeline_health.sources import pipeline_of, warehouse_of
from agents.playbook import Bench
from agents.verdicts import Assert, Verdict
from config.assets import Asset
from config.errors import SwarmError
from integrations.base import Orchestrator, Warehouse
from memory.records import Task

log = structlog.get_logger(__name__)
PREDICATE = "profile.good"
_KEPT = ("table", "incremental")


async def profile(task: Task, bench: Bench, options: PipelineHealthOptions) -> Sequence[Verdict]:
    """Count every mart of the run; nothing is asserted once a newer run has begun to change them."""
    run = str(task.payload["run"])
    orchestrator = pipeline_of(bench, str(task.payload["pipeline"]))
    if not await _is_current(orchestrator, run):
        return ()
    project = await orchestrator.project()
    warehouse = warehouse_of(bench, project.warehouse)
    relations = sorted({n.relation for n in project.nodes.values() if n.kind == "model" and n.materialized in _KEPT})
    facts: list[Verdict] = []
    for relation in [r for r in relations if r][: options.profiles]:
        try:
            counts = await bench.step(f"profile:{relation}", lambda r=relation: _count(warehouse, r), dict[str, Any])  # type: ignore[misc]
        except SwarmError as error:
            if error.retryable:
                raise
            # A mart that cannot be read has no profile; the others keep theirs.
            log.warning("profile.left_out", relation=relation, problem=error.message)
            continue
        facts.append(Assert(Asset("warehouse", warehouse.name, relation), PREDICATE, {**counts, "run": run}))
    return facts if await _is_current(orchestrator, run) else ()


async def _is_current(orchestrator: Orchestrator, run: str) -> bool:
    if await orchestrator.is_running():
        return False
    last = await orchestrator.last_run()
    return last is not None and last.id == run


async def _count(warehouse: Warehouse, relation: str) -> dict[str, Any]:
    found = await warehouse.profile(relation)
    columns = {name: {"nulls": c.nulls, "distinct": c.distinct} for name, c in found.columns.items()}
    return {"rows": found.rows, "exact": found.exact, "columns": columns}
