"""Looking at a source: what was seen and the new baseline are written together, or not at all."""

from __future__ import annotations

from collections.abc import Mapping

import structlog

from agents.base import Agent
from agents.runtime.bench import Surroundings
from agents.runtime.window import Window
from config.assets import Asset
from config.errors import ConflictError, PermanentError, SwarmError
from integrations.base import Integration, Orchestrator, Structured
from memory.beliefs import knowledge
from memory.board import baselines, ledger, lineage
from memory.connection.database import Transaction
from memory.queue import tasks
from memory.records import NewObservation, Severity, Task

log = structlog.get_logger(__name__)
UNREACHABLE = "source.unreachable"
RECOVERED = "source.recovered"


def asset_of(source: Integration) -> Asset:
    """The asset that stands for a source as a whole."""
    if isinstance(source, Orchestrator):
        return Asset(source.kind, source.name)
    if isinstance(source, Structured):  # whatever has tables is named like a warehouse
        return Asset("warehouse", source.name)
    return Asset(source.kind, source.name)


async def sense(agent: Agent, task: Task, around: Surroundings, window: Window) -> None:
    """Perform one `sense` task. A source that fails is reported once, and again when it is back.

    Raises:
        LeaseLostError: somebody else has the task now; nothing was written.
        ConflictError: another look replaced the baseline first; nothing was written.
    """
    name = str(task.payload["source"])
    source = around.sources().get(name)
    if source is None:  # switched off since; the next tick will not ask for it
        async with around.database.transaction(clearance=around.clearance) as tx:
            await tasks.succeed(tx, task, {"skipped": f"{name} is not open here"})
        return
    if not isinstance(source, tuple(agent.senses)):  # somebody asked for it
        raise PermanentError(f"{agent.name} does not look at {name}: it is no source of its kind")
    async with around.database.transaction(clearance=around.clearance) as tx:
        baseline = await baselines.get(tx, agent.name, name)
    known: Mapping[str, object] = baseline.value if baseline else {}
    version = baseline.version if baseline else 0
    window.sensing = name
    try:
        sensed = await agent.sense(source, known.get("value"), window)
    except ConflictError:
        raise
    except SwarmError as error:
        await _unreachable(agent, task, source, around, dict(known), version, error)
        return
    observations = list(sensed.observations)
    if known.get("unreachable"):
        observations.append(NewObservation(RECOVERED, asset_of(source), payload={"source": name}))
    async with around.database.transaction(clearance=around.clearance) as tx:
        await tasks.succeed(tx, task, {"observations": len(observations)})
        shared = around.settings().memory.shared_importance
        await ledger.record(tx, agent.name, observations, threshold=shared)
        if sensed.edges is not None:
            await lineage.replace(tx, name, sensed.edges)
        for subject, predicate, obj in sensed.facts:
            await knowledge.assert_fact(tx, agent.name, subject, predicate, obj, expected=None)
        is_new = baseline is None or known.get("unreachable") or sensed.baseline != known.get("value")
        if is_new or sensed.parts:
            head = {"value": sensed.baseline}
            await baselines.swap(tx, agent.name, name, head, version, sensed.parts, note=sensed.note)


async def _unreachable(
    agent: Agent,
    task: Task,
    source: Integration,
    around: Surroundings,
    known: dict[str, object],
    version: int,
    error: SwarmError,
) -> None:
    """Say so once; what was known stays known, so that nothing looks dropped."""
    log.warning("source.unreachable", problem=error.message, agent=agent.name, source=source.name)
    async with around.database.transaction(clearance=around.clearance) as tx:
        await tasks.succeed(tx, task, {"unreachable": error.code})
        if known.get("unreachable"):
            return
        await _report(tx, agent, source, error)
        await baselines.swap(tx, agent.name, source.name, {**known, "unreachable": True}, version)


async def _report(tx: Transaction, agent: Agent, source: Integration, error: SwarmError) -> None:
    await ledger.record(
        tx,
        agent.name,
        [
            NewObservation(
                kind=UNREACHABLE,
                subject=asset_of(source),
                severity=Severity.WARNING,
                payload={
                    "source": source.name,
                    "error": error.code,
                    "message": error.message,
                    "hint": error.hint,
                },
            )
        ],
    )
