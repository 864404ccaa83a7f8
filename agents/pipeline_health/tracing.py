"""Where a model's column comes from: the source table and column it hands on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlglot import exp
from sqlglot.errors import SqlglotError
from sqlglot.lineage import lineage

from integrations.base import Node, Project, Table

_LONGEST = 20


@dataclass(frozen=True, slots=True)
class Origin:
    """A source column: its relation `schema.table`, its name, and whether SQL said so (else the same name did)."""

    relation: str
    column: str
    is_proven: bool


def trace(project: Project, node: str, column: str, tables: Mapping[str, Table], dialect: str) -> Origin | None:
    """Follow a column upstream through the compiled code of the models.

    Args:
        project: the pipeline.
        node: the model (or source) the column belongs to.
        column: its name.
        tables: the warehouse's tables by path, to expand stars and to prove that a column is there.
        dialect: the warehouse's SQL.

    Returns None where it comes from several columns, from none, or cannot be followed.
    """
    by_relation = {n.relation: n for n in project.nodes.values() if n.relation}
    current, name, is_proven = project.nodes.get(node), column, True
    for _ in range(_LONGEST):
        if current is None:
            return None
        if current.kind in ("source", "seed"):
            there = tables.get(current.relation)
            found = next((c.name for c in there.columns if c.name.lower() == name.lower()), None) if there else None
            return Origin(current.relation, found, is_proven) if found else None
        step = _through(current, name, tables, dialect)
        if step is None:
            return _by_name(project, current, name, tables)
        relation, name = step
        current = by_relation.get(relation)
    return None


def _through(node: Node, column: str, tables: Mapping[str, Table], dialect: str) -> tuple[str, str] | None:
    """The one relation and column that a column of a model is made from."""
    if not node.compiled_code:
        return None
    schema: dict[str, dict[str, dict[str, str]]] = {}
    for table in tables.values():
        if table.name in node.compiled_code:  # only what the statement can mean: a warehouse may hold thousands
            schema.setdefault(table.schema, {})[table.name] = {c.name: "text" for c in table.columns}
    try:
        root = lineage(column, node.compiled_code, schema, dialect=dialect)
        leaves = {
            (f"{leaf.expression.db}.{leaf.expression.name}", leaf.name.rpartition(".")[2].strip('"'))
            for leaf in root.walk()
            if isinstance(leaf.expression, exp.Table)
        }
    except (SqlglotError, ValueError, RecursionError):
        return None
    return leaves.pop() if len(leaves) == 1 else None


def _by_name(project: Project, node: Node, column: str, tables: Mapping[str, Table]) -> Origin | None:
    """The one source upstream that has a column of that name."""
    found = [
        (upstream.relation, c.name)
        for name in project.upstream(node.id)
        if (upstream := project.nodes.get(name)) is not None and upstream.kind in ("source", "seed")
        for c in (tables[upstream.relation].columns if upstream.relation in tables else ())
        if c.name.lower() == column.lower()
    ]
    return Origin(*found[0], is_proven=False) if len(found) == 1 else None
