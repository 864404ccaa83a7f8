"""The open sources a task needs, or a clear word on what is missing."""

from __future__ import annotations

from agents.playbook import Bench
from config.errors import SetupError
from integrations.base import Orchestrator, Warehouse


def pipeline_of(bench: Bench, name: str) -> Orchestrator:
    """The orchestrator of that name. SetupError where it is not open here."""
    source = bench.sources.get(name)
    if not isinstance(source, Orchestrator):
        raise SetupError(f"there is no pipeline source {name!r} open here", hint="enable it under `sources`")
    return source


def warehouse_of(bench: Bench, name: str) -> Warehouse:
    """The warehouse of that name. SetupError where it is not open here."""
    source = bench.sources.get(name)
    if not isinstance(source, Warehouse):
        raise SetupError(
            f"there is no warehouse source {name!r} open here",
            hint="enable it under `sources`, and name it as the pipeline's `warehouse`",
        )
    return source
