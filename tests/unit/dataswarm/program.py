"""The program as its users meet it: run in-process over a real database of the test's own."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest
from typer.testing import Result

from config.assets import Asset
from dataswarm import cli
from memory.board import approvals, escalations, incidents, ledger, remediations
from memory.connection.database import Database
from memory.queue import kinds
from memory.records import (
    DecisionKind,
    IncidentState,
    NewDecision,
    NewObservation,
    Reference,
    RemediationState,
    Severity,
)
from tests.memory.stage import ORDERS, STARTED
from tests.unit.dataswarm.runner import Runner

T = TypeVar("T")
COLUMN = ORDERS.column("customer_id")
PIPELINE = Asset("dbt", "shop_dbt")


@dataclass
class Program:
    """`dataswarm` with a configuration of its own; `seed` puts rows on its blackboard."""

    config: Path
    url: str

    def __call__(self, *arguments: str, config: bool = True, keys: str | None = None) -> Result:
        """Run a command; `keys` is what is typed."""
        cli._assemble()
        more = ["--config", str(self.config)] if config else []
        return Runner().invoke(cli.app, [*arguments, *more], input=keys, prog_name="dataswarm")

    def json(self, *arguments: str, config: bool = True) -> Any:
        """Run a command with `--json`; its answer. Fails the test where it fails."""
        result = self(*arguments, "--json", config=config)
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    def seed(self, work: Callable[[Database], Awaitable[T]]) -> T:
        """Do something to the database as the worker."""

        async def job() -> T:
            database = await Database.open(self.url, application_name="dataswarm/test", pool_size=2)
            try:
                return await work(database)
            finally:
                await database.close()

        return asyncio.run(job())


@pytest.fixture
def program(tmp_path: Path, database_url: str, owner_url: str) -> Program:
    """The program over a migrated database, with a configuration that names it."""
    file = tmp_path / "dataswarm.yaml"
    file.write_text(
        json.dumps({"database": {"url": database_url, "migrate_url": owner_url, "directory": str(tmp_path / "home")}}),
        encoding="utf-8",
    )
    return Program(file, database_url)


def write_config(program: Program, **sections: Any) -> None:
    """Add sections to the program's configuration."""
    data = json.loads(program.config.read_text(encoding="utf-8"))
    program.config.write_text(json.dumps({**data, **sections}), encoding="utf-8")


async def declare(database: Database, *names: str) -> None:
    """Declare kinds of tasks, `agent/kind` each, as enlisting an agent does."""
    async with database.transaction() as tx:
        await kinds.declare(tx, [kinds.Kind(agent, kind) for agent, kind in (name.split("/") for name in names)])


@dataclass(frozen=True)
class Told:
    """Ids of a little story."""

    observation: int
    diagnosis: int
    incident: int
    remediation: int


async def an_incident(
    database: Database, *, cause: str = "column_renamed", fingerprint: str = "shop_dbt|orders"
) -> Told:
    """A column was renamed, a build failed, an incident is open with a proposed remedy."""
    async with database.transaction() as tx:
        seen = NewObservation(
            "schema.column_renamed",
            COLUMN,
            Severity.WARNING,
            {"table": "raw.orders", "before": "customer_id", "after": "client_id"},
            importance=0.8,
        )
        [observation] = await ledger.record(tx, "schema-drift", [seen])
        assert observation is not None
        diagnosis = await ledger.decide(
            tx,
            "pipeline-health",
            NewDecision(
                DecisionKind.DIAGNOSIS,
                COLUMN,
                "the failed nodes name customer_id, which is client_id now",
                cause=cause,
                confidence=0.95,
                payload={
                    "pipeline": "shop_dbt",
                    "warehouse": "shop",
                    "fingerprint": fingerprint,
                    "table": "raw.orders",
                    "before": "customer_id",
                    "after": "client_id",
                    "nodes": ["model.shop.stg_orders"],
                },
                evidence=(Reference("observation", observation),),
            ),
        )
        assert diagnosis is not None
        opened, _ = await incidents.open_or_join(
            tx,
            fingerprint=fingerprint,
            title="customer_id was renamed to client_id in raw.orders",
            kind=cause,
            severity=Severity.ERROR,
            subject=COLUMN,
            owner="team-shop",
            started_at=STARTED,
            by="incident-response",
            reason="a node failed",
            members=(Reference("decision", diagnosis), Reference("observation", observation)),
            details={"pipeline": "shop_dbt", "diagnosis_id": diagnosis},
        )
        remedy = await remediations.propose(
            tx,
            incident_id=opened.id,
            decision_id=diagnosis,
            playbook="patch-model",
            subject=COLUMN,
            plan={
                "diagnosis_id": diagnosis,
                "summary": "Patch stg_orders.",
                "preview": "-  customer_id\n+  client_id",
                "undo_hint": "git revert it",
            },
        )
    return Told(observation, diagnosis, opened.id, remedy.id)


async def asking(database: Database) -> Told:
    """The same, waiting for a human's answer."""
    told = await an_incident(database)
    async with database.transaction() as tx:
        remedy = await remediations.get(tx, told.remediation)
        assert remedy is not None
        await approvals.ask(tx, remedy, "May stg_orders be patched?\nIt is autonomy propose.", 3600)
        await incidents.move(
            tx,
            told.incident,
            before=IncidentState.OPEN,
            after=IncidentState.AWAITING_APPROVAL,
            by="incident-response",
            reason="asked",
        )
    return told


async def handed_over(database: Database) -> Told:
    """The same, escalated."""
    told = await an_incident(database)
    async with database.transaction() as tx:
        await incidents.move(
            tx,
            told.incident,
            before=IncidentState.OPEN,
            after=IncidentState.ESCALATED,
            by="incident-response",
            reason="no_playbook: none",
        )
        packet = {"questions": ["Does it come back?"], "commands": ["dataswarm show 1"]}
        await escalations.escalate(tx, told.incident, "no_playbook: none", packet)
    return told


async def remedied(database: Database) -> Told:
    """The same, the remedy applied and verified."""
    told = await an_incident(database)
    await declare(database, "incident-response/undo")
    await advance(database, told.remediation, (RemediationState.APPROVED, RemediationState.APPLIED))
    await advance(database, told.remediation, (RemediationState.VERIFIED,))
    return told


async def advance(database: Database, remediation_id: int, states: Sequence[RemediationState]) -> None:
    """Take a remediation through states."""
    async with database.transaction() as tx:
        for state in states:
            now = await remediations.get(tx, remediation_id)
            assert now is not None
            await remediations.move(tx, remediation_id, before=[now.state], after=state)
