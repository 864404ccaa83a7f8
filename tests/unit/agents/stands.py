"""Stand-ins for the outside: a pipeline made of lists, whose builds end as told."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from pydantic import BaseModel

from agents.playbook import NoOptions
from config.errors import SwarmError
from integrations.base import Finding, Node, NodeResult, Outcome, Project, Run, Staleness
from tests.unit.agents.blackboard import START

SOURCE = "source.shop.shop.orders"
STAGING = "model.shop.stg_orders"
MART = "model.shop.fct_orders"
OTHER = "model.shop.fct_customers"
UNIQUE = "test.shop.unique_stg_orders_order_id"
SOURCES_YAML = """\
version: 2
sources:
  - name: shop
    schema: raw
    tables:
      - name: orders  # daily
      - name: customers
"""
STAGING_SQL = "select\n    order_id,\n    customer_id, -- who\n    amount\nfrom {{ source('shop', 'orders') }}\n"


def nodes(**changed: Node) -> dict[str, Node]:
    """A small project: a source, its staging view with a test, a mart above it, and a mart apart."""
    listed = [
        Node(SOURCE, "source", "orders", "raw.orders", "models/sources.yml"),
        Node(STAGING, "model", "stg_orders", "analytics.stg_orders", "models/stg_orders.sql", (SOURCE,)),
        Node(UNIQUE, "test", "unique", depends_on=(STAGING,), test="unique", column="order_id"),
        Node(MART, "model", "fct_orders", "analytics.fct_orders", "models/fct_orders.sql", (STAGING,)),
        Node(OTHER, "model", "fct_customers", "analytics.fct_customers", "models/fct_customers.sql"),
        Node("exposure.shop.board", "exposure", "board", depends_on=(MART,)),
    ]
    return {n.id: n for n in listed} | {n.id: n for n in changed.values()}


@dataclass
class Pipeline:
    """An orchestrator.

    `outcomes` says how nodes end, `in_scratch` how in scratch builds, `first` how in the first builds, one by one;
    `does` is called at each build, so that something can happen meanwhile.
    """

    project_nodes: dict[str, Node] = field(default_factory=nodes)
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    in_scratch: dict[str, Outcome] = field(default_factory=dict)
    first: list[dict[str, Outcome]] = field(default_factory=list)
    last: Run | None = None
    does: Callable[[Path | None, bool], object] | None = None
    raises: list[SwarmError] = field(default_factory=list)
    builds: list[tuple[tuple[str, ...], Path | None, bool]] = field(default_factory=list)
    kind: ClassVar[str] = "lists"
    Options: ClassVar[type[BaseModel]] = NoOptions
    name: str = "shop"

    async def open(self) -> None:
        """Nothing to open."""

    async def close(self) -> None:
        """Nothing to close."""

    async def examine(self) -> Sequence[Finding]:
        """Always well."""
        return ()

    async def project(self) -> Project:
        """As given."""
        return Project("shop", "wh", self.project_nodes)

    async def last_run(self) -> Run | None:
        """As given."""
        return self.last

    async def staleness(self) -> Sequence[Staleness]:
        """Never stale."""
        return ()

    async def is_running(self) -> bool:
        """Never."""
        return False

    async def build(
        self, select: Sequence[str], *, directory: Path | None = None, scratch: bool = False, label: str = ""
    ) -> Run:
        """Everything selected ends as told, or well."""
        self.builds.append((tuple(select), directory, scratch))
        if self.raises:
            raise self.raises.pop(0)
        told = self.first.pop(0) if self.first else self.in_scratch if scratch else self.outcomes
        if self.does is not None:
            self.does(directory, scratch)
        results = tuple(
            NodeResult(n, told.get(n, Outcome.SUCCESS), "a value: 42") for n in {**dict.fromkeys(select), **told}
        )
        return Run(f"own-{len(self.builds)}", "build", START, results)
