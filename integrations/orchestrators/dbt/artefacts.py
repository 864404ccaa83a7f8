"""dbt's artefacts in the outside's common words: project, run, staleness, lineage."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from config.assets import Asset
from config.errors import SourceError
from integrations.base import LineageEdge, Node, NodeResult, Outcome, Project, Run, Staleness

_OUTCOMES = {
    "success": Outcome.SUCCESS,
    "pass": Outcome.SUCCESS,
    "no-op": Outcome.SUCCESS,
    "reused": Outcome.SUCCESS,
    "warn": Outcome.WARN,
    "fail": Outcome.FAIL,
    "error": Outcome.ERROR,
    "runtime error": Outcome.ERROR,
    "partial success": Outcome.ERROR,
    "skipped": Outcome.SKIPPED,
}
_WITH_RELATION = ("model", "seed", "snapshot")
_LONGEST_MESSAGE = 4000


def node_asset(source: str, node: str) -> Asset:
    """The asset of a node of the dbt project configured as `source`, by the node's unique id."""
    return Asset("dbt", source, node)


def relation_asset(warehouse: str, relation: str) -> Asset:
    """The asset of `schema.table` in the warehouse configured as `warehouse`."""
    return Asset("warehouse", warehouse, relation)


def to_project(manifest: Mapping[str, Any], warehouse: str) -> Project:
    """The nodes that are enabled: models, tests, seeds, snapshots, sources, exposures."""
    nodes: dict[str, Node] = {}
    for raw in _values(manifest, "nodes", "unit_tests"):
        node = _node(raw)
        if node is not None:
            nodes[node.id] = node
    for raw in _values(manifest, "sources"):
        nodes[raw["unique_id"]] = _source(raw)
    for raw in _values(manifest, "exposures"):
        nodes[raw["unique_id"]] = _exposure(raw)
    return Project(manifest["metadata"].get("project_name") or "", warehouse, nodes)


def _values(manifest: Mapping[str, Any], *sections: str) -> Iterator[dict[str, Any]]:
    for section in sections:
        yield from manifest.get(section, {}).values()


def _node(raw: Mapping[str, Any]) -> Node | None:
    kind = raw["resource_type"]
    if kind not in (*_WITH_RELATION, "test", "unit_test"):
        return None  # analyses and operations are not part of a run
    config = raw.get("config") or {}
    meta = _meta(raw)
    is_test = kind in ("test", "unit_test")
    materialized = "" if is_test else str(config.get("materialized") or "")
    has_relation = kind in _WITH_RELATION and materialized != "ephemeral"
    return Node(
        id=raw["unique_id"],
        kind="test" if is_test else kind,
        name=raw["name"],
        relation=f"{raw['schema']}.{raw['alias']}" if has_relation else "",
        path=raw["original_file_path"],
        depends_on=_depends_on(raw),
        test=_test_name(raw) if is_test else "",
        column=_column(raw) if is_test else "",
        materialized=materialized,
        unique_key=_joined(config.get("unique_key")),
        owner=_owner(raw, meta),
        raw_code=raw.get("raw_code") or "",
        compiled_code=raw.get("compiled_code") or "",
        meta=meta,
    )


def _source(raw: Mapping[str, Any]) -> Node:
    meta = (raw.get("source_meta") or {}) | _meta(raw)
    return Node(
        id=raw["unique_id"],
        kind="source",
        name=f"{raw['source_name']}.{raw['name']}",
        relation=f"{raw['schema']}.{raw['identifier']}",
        path=raw["original_file_path"],
        owner=_owner(raw, meta),
        meta=meta,
    )


def _exposure(raw: Mapping[str, Any]) -> Node:
    meta = _meta(raw)
    return Node(
        id=raw["unique_id"],
        kind="exposure",
        name=raw["name"],
        path=raw["original_file_path"],
        depends_on=_depends_on(raw),
        owner=_owner(raw, meta),
        meta=meta,
    )


def _depends_on(raw: Mapping[str, Any]) -> tuple[str, ...]:
    """What a node reads; for a generic test the node it is written on comes first."""
    depends = [d for d in (raw.get("depends_on") or {}).get("nodes") or () if not d.startswith("macro.")]
    attached = raw.get("attached_node")
    if attached in depends:
        depends.remove(attached)
        depends.insert(0, attached)
    return tuple(depends)


def _meta(raw: Mapping[str, Any]) -> dict[str, Any]:
    return (raw.get("meta") or {}) | ((raw.get("config") or {}).get("meta") or {})


def _owner(raw: Mapping[str, Any], meta: Mapping[str, Any]) -> str:
    owner = meta.get("owner") or raw.get("owner") or ""
    if isinstance(owner, dict):
        owner = owner.get("email") or owner.get("name") or ""
    return _joined(owner)


def _test_name(raw: Mapping[str, Any]) -> str:
    return str((raw.get("test_metadata") or {}).get("name") or raw["name"])


def _column(raw: Mapping[str, Any]) -> str:
    arguments = (raw.get("test_metadata") or {}).get("kwargs") or {}
    return str(raw.get("column_name") or arguments.get("column_name") or "")


def _joined(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value))
    return "" if value is None else str(value)


NEVER_RUN = ("exposure.", "metric.", "semantic_model.", "saved_query.", "group.")


def to_run(results: Mapping[str, Any], source: str) -> Run:
    """One invocation."""
    metadata = results["metadata"]
    return Run(
        id=metadata["invocation_id"],
        command=str((results.get("args") or {}).get("which") or ""),
        finished_at=_time(metadata["generated_at"]),
        results=tuple(
            NodeResult(
                node=raw["unique_id"],
                outcome=_outcome(raw["status"], source),
                message=(raw.get("message") or "")[:_LONGEST_MESSAGE],
                failures=int(raw.get("failures") or 0),
                seconds=float(raw.get("execution_time") or 0.0),
            )
            for raw in results["results"]
            # Named by dbt, never executed: an exposure is skipped for ever and says nothing about a build.
            if not str(raw["unique_id"]).startswith(NEVER_RUN)
        ),
        seconds=float(results.get("elapsed_time") or 0.0),
    )


def to_staleness(results: Mapping[str, Any], source: str) -> tuple[Staleness, ...]:
    """What `dbt source freshness` measured; age 0 and no time where it could not."""
    return tuple(
        Staleness(
            node=raw["unique_id"],
            outcome=_outcome(raw["status"], source),
            max_loaded_at=_time(raw["max_loaded_at"]) if raw.get("max_loaded_at") else None,
            age_seconds=float(raw.get("max_loaded_at_time_ago_in_s") or 0.0),
        )
        for raw in results["results"]
    )


def _outcome(status: str, source: str) -> Outcome:
    try:
        return _OUTCOMES[status]
    except KeyError:
        raise SourceError(
            f"dbt {source}: a node ended with status {status!r}, which is not known here",
            hint="update dataswarm, or build with dbt 1.8 to 1.11",
        ) from None


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)


def to_edges(project: Project, source: str) -> tuple[LineageEdge, ...]:
    """Who is made from whom: a relation feeds the nodes that read it, a model feeds its relation."""
    edges: dict[LineageEdge, None] = {}
    for node in project.nodes.values():
        own = node_asset(source, node.id)
        if node.relation:
            relation = relation_asset(project.warehouse, node.relation)
            # A source only reads its relation; everything else makes it.
            pair = (relation, own) if node.kind == "source" else (own, relation)
            edges[LineageEdge(*pair)] = None
        for dependency in node.depends_on:
            upstream = project.nodes.get(dependency)
            if upstream is None:
                continue  # disabled, or of a kind without data (a semantic model)
            read = (
                relation_asset(project.warehouse, upstream.relation)
                if upstream.relation
                else node_asset(source, upstream.id)
            )
            edges[LineageEdge(read, own)] = None
    return tuple(edges)
