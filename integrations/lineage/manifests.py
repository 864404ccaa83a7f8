"""Lineage of a dbt project from its manifest: compiled models, snapshots, sources, seeds, exposures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from config.errors import SourceError
from integrations.lineage.edges import ROWS, Edge, Lineage, Source, StatementLineage, Target, Unresolved
from integrations.lineage.memo import Memo
from integrations.lineage.projects import ProjectLineage, in_order
from integrations.lineage.schema import Schema, Tables

_READ: Final = ("model", "snapshot")
_HOLDING: Final = ("model", "snapshot", "seed", "source")


@dataclass(frozen=True, slots=True)
class _Node:
    id: str
    kind: str
    relation: str
    code: str
    needs: tuple[str, ...]
    language: str
    config: Mapping[str, Any]


def manifest(
    found: Mapping[str, Any], *, tables: Tables | None = None, dialect: str = "", memo: Memo | None = None
) -> ProjectLineage:
    """Column lineage of everything in a dbt manifest.

    Args:
        found: the manifest, version 10 or later, of a project that was compiled.
        tables: columns of sources, seeds and whatever else the warehouse knows, by `schema.table`; what a model's SQL
            says of its columns goes before what is given here.
        dialect: of the SQL; left out: the manifest's adapter.
        memo: with it, only what changed is parsed again.

    Parts are named by dbt's unique ids; relations are `schema.table`, with the database before it only where it is not
    that of most nodes. The target of an exposure is the rows of its unique id. A model that was not compiled is
    reported.

    Raises SourceError where it is no manifest, UsageError for an unknown dialect.
    """
    try:
        catalog = _catalog(found)
        nodes = {n.id: n for n in _nodes(found, catalog)}
        spoken = dialect or str(found["metadata"].get("adapter_type") or "")
        exposures = list(found.get("exposures", {}).values())
    except (KeyError, TypeError, AttributeError) as error:
        raise SourceError(
            f"this is not a dbt manifest: {error!r}", hint="give target/manifest.json as `dbt compile` writes it"
        ) from None
    known = Schema(dict(tables or {}), dialect=spoken, catalog=catalog)
    memory = memo or Memo()
    order, circular = in_order({n.id: n.needs for n in nodes.values()})
    parts: dict[str, Lineage] = {}
    for name in order:
        node = nodes[name]
        if node.kind not in _READ or not node.relation:
            continue
        lineage = _read(node, known, memory)
        parts[name] = lineage
        last = lineage.statements[-1] if lineage.statements else None
        if last is not None and last.columns and not last.passes and last.relation == node.relation:
            is_whole = node.kind == "model" and node.config.get("materialized") in ("view", "table")
            known.add(node.relation, last.columns, last.keys if is_whole else ())
    for exposure in exposures:
        parts[exposure["unique_id"]] = _exposure(exposure, nodes, known)
    return ProjectLineage(parts, circular)


def _catalog(found: Mapping[str, Any]) -> str:
    """The database of most nodes."""
    used = Counter(
        str(raw["database"])
        for raw in (*found["nodes"].values(), *found.get("sources", {}).values())
        if raw.get("resource_type") in _HOLDING and raw.get("database")
    )
    return used.most_common(1)[0][0] if used else ""


def _nodes(found: Mapping[str, Any], catalog: str) -> Iterator[_Node]:
    for raw in (*found["nodes"].values(), *found.get("sources", {}).values()):
        kind = raw["resource_type"]
        if kind not in _HOLDING:
            continue
        config = raw.get("config") or {}
        name = raw["identifier"] if kind == "source" else raw["alias"]
        path = f"{raw['schema']}.{name}"
        database = raw.get("database")
        if database and database != catalog:
            path = f"{database}.{path}"
        yield _Node(
            id=raw["unique_id"],
            kind=kind,
            relation="" if config.get("materialized") == "ephemeral" else path,
            code=raw.get("compiled_code") or "",
            needs=tuple((raw.get("depends_on") or {}).get("nodes") or ()),
            language=raw.get("language") or "sql",
            config=config,
        )


def _read(node: _Node, known: Schema, memo: Memo) -> Lineage:
    if node.language != "sql":
        return _unread(f"it is written in {node.language}")
    if not node.code:
        return _unread("it was not compiled: run `dbt compile`")
    lineage = memo.columns_of(node.code, schema=known, relation=node.relation)
    return _snapshot(node, lineage) if node.kind == "snapshot" else lineage


def _unread(why: str) -> Lineage:
    doubt = Unresolved(1, 0, why, is_unread=True)
    return Lineage(unresolved=(doubt,), statements=(StatementLineage(1, 0, "unreadable", unresolved=(doubt,)),))


def _snapshot(node: _Node, lineage: Lineage) -> Lineage:
    """The columns dbt adds to a snapshot, from the key and the time (or the columns compared) it is configured with."""
    if not lineage.statements:
        return lineage
    last = lineage.statements[-1]
    of: dict[str, set[Source]] = {}
    for edge in last.edges:
        if edge.how == "value":
            of.setdefault(edge.target.column.lower(), set()).add(edge.source)
    keys = _names(node.config.get("unique_key"))
    times = _names(node.config.get("updated_at"))
    checked = _names(node.config.get("check_cols"))
    if checked == ["all"]:
        checked = [c.lower() for c in last.columns]
    since = times or checked
    made = {
        "dbt_scd_id": [*keys, *times],
        "dbt_updated_at": since,
        "dbt_valid_from": since,
        "dbt_valid_to": [*keys, *since],
    }
    names = node.config.get("snapshot_meta_column_names") or {}
    added = frozenset(
        Edge(source, Target(node.relation, names.get(column) or column), "value")
        for column, sources in made.items()
        for name in sources
        for source in of.get(name, ())
    )
    columns = (*last.columns, *(names.get(c) or c for c in made))
    grown = replace(last, edges=last.edges | added, columns=columns)
    return replace(lineage, edges=lineage.edges | added, statements=(*lineage.statements[:-1], grown))


def _names(given: Any) -> list[str]:
    if given is None:
        return []
    return [str(g).lower() for g in (given if isinstance(given, list) else [given])]


def _exposure(raw: Mapping[str, Any], nodes: Mapping[str, _Node], known: Schema) -> Lineage:
    """An exposure reads whole relations: which columns it shows, dbt does not say, so each may change it."""
    needs = (raw.get("depends_on") or {}).get("nodes") or ()
    target = Target(raw["unique_id"], ROWS)
    edges: set[Edge] = set()
    for relation in (nodes[n].relation for n in needs if n in nodes):
        if relation:
            edges.add(Edge(Source(relation, ROWS), target, "rows"))
            edges.update(Edge(Source(relation, column), target, "value") for column in known.columns(relation))
    statement = StatementLineage(1, 0, "exposure", relation=raw["unique_id"], edges=frozenset(edges))
    return Lineage(frozenset(edges), statements=(statement,))
