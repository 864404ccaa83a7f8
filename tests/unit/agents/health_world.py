"""A pipeline and a workbench with nothing behind them, for the tests of pipeline-health."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from pydantic import BaseModel, TypeAdapter

from agents.playbook import NoOptions, Playbook, Proposal
from config.assets import Asset
from config.errors import PermanentError, SourceError
from integrations.base import (
    Finding,
    Integration,
    LineageEdge,
    Node,
    NodeResult,
    Outcome,
    Project,
    Run,
    Staleness,
)
from memory.records import Payload, Task, TaskState
from tests.cases.reading import NOW, ContextAsData

T = TypeVar("T")

SOURCE = Node("source.orders", "source", "raw.orders", relation="raw.orders", path="sources.yml")
STAGING = Node(
    "model.stg_orders",
    "model",
    "stg_orders",
    relation="analytics.stg_orders",
    path="models/stg_orders.sql",
    depends_on=("source.orders",),
    materialized="view",
    raw_code="select order_id, customer_id from {{ source('shop', 'orders') }}",
    compiled_code='select order_id, customer_id as customer from "shop"."raw"."orders"',
)
MART = Node(
    "model.fct_orders",
    "model",
    "fct_orders",
    relation="analytics.fct_orders",
    path="models/fct_orders.sql",
    depends_on=("model.stg_orders",),
    materialized="table",
    compiled_code='with o as (select * from "shop"."analytics"."stg_orders") select o.order_id, o.customer from o',
)


def test_node(name: str, test: str, column: str, on: str) -> Node:
    """A generic test on a column of a node."""
    return Node(f"test.{name}", "test", name, depends_on=(on,), test=test, column=column)


test_node.__test__ = False  # type: ignore[attr-defined]

NODES = (
    SOURCE,
    STAGING,
    MART,
    test_node("unique_order", "unique", "order_id", "model.stg_orders"),
    test_node("unique_fct", "unique", "order_id", "model.fct_orders"),
    test_node("customer_there", "not_null", "customer", "model.fct_orders"),
    test_node("order_there", "not_null", "order_id", "model.stg_orders"),
    test_node("related", "relationships", "customer", "model.stg_orders"),
)


def run(number: int, *results: NodeResult) -> Run:
    """A run; without results a clean one of the mart."""
    ended = results or (NodeResult("model.fct_orders", Outcome.SUCCESS),)
    return Run(f"r{number}", "build", datetime(2026, 3, 2, 12, number, tzinfo=UTC), ended, 30.0)


def bad(node: str, message: str, outcome: Outcome = Outcome.ERROR, failures: int = 0) -> NodeResult:
    """A node that failed."""
    return NodeResult(node, outcome, message, failures)


@dataclass
class Line:
    """A pipeline whose state is set by hand. `running` is asked in turn, the last answer stays."""

    name: str = "team"
    last: Run | None = None
    nodes: Sequence[Node] = NODES
    stale: Sequence[Staleness] = ()
    running: list[bool] = field(default_factory=lambda: [False])
    edge_reads: int = 0
    unreadable: bool = False
    kind: ClassVar[str] = "dbt"
    Options: ClassVar[type[BaseModel]] = NoOptions

    async def open(self) -> None:
        """Nothing to open."""

    async def close(self) -> None:
        """Nothing to close."""

    async def examine(self) -> Sequence[Finding]:
        """Always well."""
        return ()

    async def project(self) -> Project:
        """Over the nodes."""
        return Project("shop", "shop", {n.id: n for n in self.nodes})

    async def last_run(self) -> Run | None:
        """As set."""
        return self.last

    async def staleness(self) -> Sequence[Staleness]:
        """As set."""
        return self.stale

    async def is_running(self) -> bool:
        """As set."""
        return self.running.pop(0) if len(self.running) > 1 else self.running[0]

    async def build(
        self, select: Sequence[str], *, directory: Path | None = None, scratch: bool = False, label: str = ""
    ) -> Run:
        """Pipeline-health builds nothing."""
        raise AssertionError("pipeline-health builds nothing")

    async def edges(self) -> Sequence[LineageEdge]:
        """One, and a count of how often it was asked."""
        self.edge_reads += 1
        if self.unreadable:
            raise SourceError("half a manifest")
        return [LineageEdge(Asset("warehouse", "shop", "raw.orders"), Asset("dbt", self.name, "model.stg_orders"))]


@dataclass
class Adviser:
    """A reasoner that answers from a script and remembers what it was shown."""

    answers: list[Proposal | None]
    shown: list[Payload] = field(default_factory=list)
    offered: list[Mapping[str, str]] = field(default_factory=list)

    async def propose(self, question: str, evidence: Payload, causes: Mapping[str, str]) -> Proposal | None:
        """The next answer."""
        self.shown.append(evidence)
        self.offered.append(causes)
        return self.answers.pop(0)


@dataclass
class Workbench:
    """A bench with a journal in a dict; whatever would change the outside is refused."""

    task: Task
    sources: Mapping[str, Any]
    reasoner: Adviser | None = None
    context: ContextAsData = field(default_factory=ContextAsData)
    journal: dict[str, Any] = field(default_factory=dict)

    async def step(self, name: str, produce: Callable[[], Awaitable[T]], shape: type[T]) -> T:
        """Remembered as JSON, as the real one does."""
        adapter: TypeAdapter[T] = TypeAdapter(shape)
        if name not in self.journal:
            self.journal[name] = adapter.dump_python(await produce(), mode="json", warnings="error")
        return adapter.validate_python(self.journal[name])

    def playbook(self, name: str) -> Playbook | None:
        """None here."""
        return None

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"pipeline-health has no business with bench.{name}")


def task(kind: str, payload: Mapping[str, Any], *, attempt: int = 1) -> Task:
    """A claimed task of pipeline-health."""
    subject = Asset("dbt", "team")
    return Task(7, "pipeline-health", kind, subject, payload, 0, TaskState.LEASED, attempt, 5, 900.0, NOW)


def sources(line: Line, warehouse: Integration) -> Mapping[str, Any]:
    """Both by their names."""
    return {"team": line, "shop": warehouse}


def gone(message: str = "gone") -> PermanentError:
    """What a source says when something is not there."""
    return PermanentError(message)
