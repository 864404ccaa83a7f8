"""A failed run as the observation tells it, and back."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from agents.pipeline_health.messages import Reading, read, redact
from config.assets import Asset
from integrations.base import NodeResult, Outcome, Project, Run
from memory.records import JSON, Payload


@dataclass(frozen=True, slots=True)
class FailedNode:
    """A node that failed by itself, and the source relations (`schema.table`) it is made from."""

    id: str
    kind: str
    outcome: str
    message: str
    test: str = ""
    column: str = ""
    relation: str = ""
    path: str = ""
    failures: int = 0
    upstream: tuple[str, ...] = ()

    @property
    def is_failed_test(self) -> bool:
        """Did a test find rows (and not stumble)?"""
        return self.kind == "test" and self.outcome == Outcome.FAIL.value

    @property
    def reading(self) -> Reading:
        """What its message says."""
        return read(self.message)


@dataclass(frozen=True, slots=True)
class Failure:
    """A failed run of a pipeline.

    Attributes:
        pipeline: the asset that stands for it.
        warehouse: configured name of the source its relations live in.
        run: the tool's invocation id; empty where there was no artefact.
        nodes: what failed, in the run's order.
        skipped: ids that were not tried because of it.
        observation: id of the observation that told it.
    """

    pipeline: Asset
    warehouse: str
    run: str
    nodes: tuple[FailedNode, ...]
    skipped: tuple[str, ...] = ()
    observation: int = 0

    @property
    def name(self) -> str:
        """The pipeline's configured name."""
        return self.pipeline.source

    def only(self, ids: Collection[str]) -> Failure:
        """The same, with some of its nodes alone."""
        return replace(self, nodes=tuple(n for n in self.nodes if n.id in ids))

    def asset(self, path: str, column: str = "") -> Asset:
        """A relation of its warehouse."""
        return Asset("warehouse", self.warehouse, path, column)

    def node_asset(self, node: str) -> Asset:
        """One of its nodes."""
        return Asset(self.pipeline.scheme, self.pipeline.source, node)

    def payload(self, nodes: Sequence[str], origin: str = "rules") -> dict[str, JSON]:
        """What every diagnosis carries."""
        return {
            "pipeline": self.name,
            "warehouse": self.warehouse,
            "run": self.run,
            "nodes": list(nodes),
            "skipped": list(self.skipped),
            "origin": origin,
        }


def tell(run: Run, project: Project, known: Collection[str] = ()) -> dict[str, JSON]:
    """The payload of `pipeline.failed`, without the nodes that are `known` to fail."""
    bad = [r for r in run.bad if r.node not in known]
    payload: dict[str, JSON] = {
        "run": run.id,
        "finished_at": run.finished_at.isoformat(),
        "command": run.command,
        "warehouse": project.warehouse,
        "nodes": [_node(r, project) for r in bad],
        "skipped": [r.node for r in run.results if r.outcome is Outcome.SKIPPED],
        "depends": {r.node: source_relations(project, r.node) for r in bad},
    }
    if known:
        payload["known"] = sorted(known)
    return payload


def _node(result: NodeResult, project: Project) -> dict[str, JSON]:
    node = project.nodes.get(result.node)
    return {
        "id": result.node,
        "kind": node.kind if node else result.node.partition(".")[0],
        "outcome": result.outcome.value,
        "message": redact(result.message),
        "test": node.test if node else "",
        "column": node.column if node else "",
        "relation": node.relation if node else "",
        "path": node.path if node else "",
        "failures": result.failures,
    }


def source_relations(project: Project, node: str) -> list[str]:
    """Relations of the sources and seeds a node is made from, nearest first; its own where it is one."""
    found = (project.nodes.get(n) for n in (node, *project.upstream(node)))
    return list(dict.fromkeys(n.relation for n in found if n and n.kind in ("source", "seed") and n.relation))


def parse(payload: Payload, pipeline: Asset, observation: int) -> Failure:
    """The failure an observation's payload tells of."""
    depends: Mapping[str, Any] = payload.get("depends") or {}
    nodes = tuple(
        FailedNode(
            id=str(n["id"]),
            kind=str(n.get("kind", "")),
            outcome=str(n.get("outcome", Outcome.ERROR.value)),
            message=str(n.get("message", "")),
            test=str(n.get("test", "")),
            column=str(n.get("column", "")),
            relation=str(n.get("relation", "")),
            path=str(n.get("path", "")),
            failures=int(n.get("failures", 0)),
            upstream=tuple(depends.get(n["id"], ())),
        )
        for n in payload.get("nodes", ())
    )
    return Failure(
        pipeline,
        str(payload.get("warehouse", "")),
        str(payload.get("run", "")),
        nodes,
        tuple(payload.get("skipped", ())),
        observation,
    )


def dump(failure: Failure) -> dict[str, JSON]:
    """The same payload again, for a task."""
    shown = ("id", "kind", "outcome", "message", "test", "column", "relation", "path", "failures")
    return {
        "warehouse": failure.warehouse,
        "run": failure.run,
        "nodes": [{name: getattr(n, name) for name in shown} for n in failure.nodes],
        "skipped": list(failure.skipped),
        "depends": {n.id: list(n.upstream) for n in failure.nodes},
    }
