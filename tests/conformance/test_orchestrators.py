"""Orchestrators and sources of lineage against the conformance suite."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from integrations.conformance import LineageConformance, OrchestratorConformance
from integrations.orchestrators.dbt import DbtOptions, DbtOrchestrator


@pytest.fixture
async def orchestrator(bakery: Any, project: Any) -> AsyncIterator[DbtOrchestrator]:
    """A real dbt project, built by real dbt."""
    options = DbtOptions(
        warehouse="bakery",
        project_dir=project.directory,
        dbt_target="production",
        scratch_target="scratch",
        env=bakery.environment,
        work_dir=project.work,
        wait_seconds=5,
        running_marker=project.directory / "running.pid",
    )
    orchestrator = DbtOrchestrator("bakery", options)
    await orchestrator.open()
    yield orchestrator
    await orchestrator.close()


class TestDbt(OrchestratorConformance):
    """dbt with PostgreSQL."""

    @pytest.fixture
    def buildable(self) -> str:
        """A view with tests, a table and an exposure below it."""
        return "model.bakery.stg_sales"

    @pytest.fixture
    def footprint(self, project: Any) -> Callable[[], object]:
        """Every file of the team's checkout."""

        def measure() -> object:
            files = sorted(p for p in project.directory.rglob("*") if p.is_file())
            return [(str(p), hashlib.sha256(p.read_bytes()).hexdigest()) for p in files]

        return measure


class TestDbtLineage(LineageConformance):
    """What dbt knows of who is made from whom."""

    @pytest.fixture
    def lineage(self, orchestrator: DbtOrchestrator) -> DbtOrchestrator:
        """The same project."""
        return orchestrator
