"""Two rival diagnoses stand side by side and block acting."""

from __future__ import annotations

from typing import Any

from agents.incident_response import IncidentResponse
from agents.playbooks.rerun_failed import RerunFailed
from config.assets import Asset
from memory.board import escalations, incidents, ledger, remediations
from memory.connection.database import Database, Transaction
from memory.records import DecisionKind, IncidentState, NewDecision
from tests.pace import until
from tests.runtime.toys import running

TABLE = Asset("warehouse", "w", "raw.t")


async def diagnose(tx: Transaction, agent: str, cause: str) -> int:
    """A diagnosis of the same failing node, as an agent would have it written."""
    payload: dict[str, Any] = {
        "fingerprint": "p|raw.t",
        "title": f"{cause} of raw.t",
        "severity": "error",
        "pipeline": "p",
        "warehouse": "w",
        "run": "r1",
        "nodes": ["model.p.m"],
        "skipped": [],
        "origin": "rules",
    }
    decision = NewDecision(DecisionKind.DIAGNOSIS, TABLE, "because", cause=cause, confidence=0.9, payload=payload)
    made = await ledger.decide(tx, agent, decision)
    assert made is not None
    return made


async def test_rivals_stand_side_by_side_and_nothing_is_tried(db: Database) -> None:
    """Both diagnoses stay, no remedy is chosen, and a human is told that they are rivals."""
    async with running(
        db, agents={"incident-response": IncidentResponse()}, playbooks={"rerun-failed": RerunFailed()}
    ) as swarm:
        await until(lambda: _held(swarm.considerations["incident-response"].lease))
        async with db.transaction() as tx:  # together: the first alone would be acted upon
            ours = await diagnose(tx, "pipeline-health", "transient")
            rival = await diagnose(tx, "somebody-else", "column_dropped")

        async def escalated() -> bool:
            async with db.transaction() as tx:
                found = await incidents.list_(tx, open_only=True)
                return bool(found) and found[0].state is IncidentState.ESCALATED

        await until(escalated)
        async with db.transaction() as tx:
            [incident] = await incidents.list_(tx, open_only=True)
            [escalation] = await escalations.escalations(tx, incident.id)
            assert "rival" in escalation.reason
            live = {d.id for d in await ledger.decisions(tx, kind="diagnosis")}
            assert {ours, rival} <= live
            assert await remediations.of_incident(tx, incident.id) == []


async def _held(lease: object) -> bool:
    return lease is not None
