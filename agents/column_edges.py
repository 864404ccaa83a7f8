"""Lineage of columns as the blackboard keeps it: edges between columns, and the doubts there are.

What is not certain is left out on purpose. Memory takes the edge of the whole table where none of columns is known
between two, so that a reader in doubt counts as reading all of it, and none is missed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol, TypeAlias, runtime_checkable

from agents.structure.parts import TABLE, from_parts
from config.assets import Asset
from integrations.base import Node, Project
from integrations.lineage import ROWS, Lineage, ProjectLineage, Source, Target
from memory.board.lineage import MADE, USE
from memory.records import JSON, Edge

COLUMNS: Final = "lineage.columns"
"""The fact, about a relation, of what is known of its columns' lineage."""
VIEW: Final = "lineage.view"
"""The same about a view of the warehouse; told by another than who tells of pipelines, which may make it."""
WATCHER: Final = "schema-drift"
"""The agent whose baselines hold the structure of sources, as parts."""
_MOST: Final = 50
_Pair: TypeAlias = tuple[Asset, Asset]


@runtime_checkable
class ColumnLineage(Protocol):
    """A pipeline that knows which columns are made from which."""

    async def columns(self, tables: Mapping[str, Sequence[str]] | None = None) -> ProjectLineage:
        """As of now; parts are named by the ids of its nodes.

        - tables: columns of what it reads and does not make, by path: with them a star is read for what it stands for.
        """


def read_only(project: Project) -> list[str]:
    """The relations a pipeline reads and does not make by SQL: their columns it can learn from the warehouse alone."""
    return sorted({n.relation for n in project.nodes.values() if n.kind in ("source", "seed") and n.relation})


def parts_of(tables: Iterable[str]) -> list[str]:
    """The names of the parts that hold these tables."""
    return [TABLE + path for path in sorted(tables)]


def columns_in(parts: Mapping[str, JSON]) -> dict[str, list[str]]:
    """Columns by table, of parts of a structure as it is kept (`agents.structure.parts`)."""
    return {path: [c.name for c in table.columns] for path, table in from_parts(parts).tables.items()}


def edges(lineage: ProjectLineage, project: Project, kind: str = "", name: str = "") -> list[Edge]:
    """Edges of columns, each pair once: between relations, and from and to the code that reads and makes them.

    - kind, name: of the pipeline the nodes belong to; without, the parts are views, which are code and relation.
    """
    told = _Told(project.warehouse)
    for part, one in lineage.parts.items():
        if one.unresolved:
            continue
        is_node = part in project.nodes
        told.add(one, Asset(kind, name, part) if is_node else Asset("warehouse", project.warehouse, part))
    for node in project.nodes.values():
        for column in (*_tested(node, project), *_inlined(node, project, lineage)):
            told.code[column, Asset(kind, name, node.id)] = USE
    return list(told)


def of_views(lineage: ProjectLineage, project: Project, relations: Collection[str]) -> list[Edge]:
    """Edges of the views of a warehouse: of wholes between what is among `relations`, and of columns beside them."""
    wholes = [
        Edge(Asset("warehouse", project.warehouse, read), Asset("warehouse", project.warehouse, view), "table")
        for view, part in lineage.parts.items()
        for read in sorted(part.reads)
        if read in relations and read != view
    ]
    return [*wholes, *edges(lineage, project)]


@dataclass(slots=True)
class _Told:
    """The edges so far: how columns move others, and which code names or makes them."""

    warehouse: str
    hows: dict[_Pair, set[str]] = field(default_factory=lambda: defaultdict(set))
    code: dict[_Pair, str] = field(default_factory=dict)

    def __iter__(self) -> Iterator[Edge]:
        yield from (Edge(up, down, how) for (up, down), how in self.code.items() if (up, down) not in self.hows)
        yield from (Edge(up, down, f"column:{'+'.join(sorted(hows))}") for (up, down), hows in self.hows.items())

    def add(self, part: Lineage, code: Asset) -> None:
        """One part. Of tables that it hands on with a star nothing is said: all their columns are read."""
        handed_on = {table for statement in part.statements for table in statement.passes}
        targets = {target: self._made(target, code) for target in {edge.target for edge in part.edges}}
        wholes = {down.whole for down in targets.values()}
        moving: set[Source] = set()
        for source, target, how in part.edges:
            up, down = self._asset(*source), targets[target]
            if source.column == ROWS or source.table in handed_on or up.whole in wholes:
                continue  # the last: an incremental model reads itself
            moving.add(source)
            self.hows[up, down].add(how)
            self.code[up, code] = USE
        for used in part.uses:
            up = self._asset(*used)
            if used.column == ROWS or used.table in handed_on or up.whole in wholes:
                continue
            self.code[up, code] = USE
            if used not in moving:  # it moves nothing, but without it nothing is made
                for whole in wholes:
                    if whole.scheme == "warehouse":
                        self.hows[up, whole].add("rows")
        if not handed_on:
            self.code.update(((code, down), MADE) for down in targets.values() if down.part and down.whole != code)

    def _asset(self, path: str, column: str) -> Asset:
        return Asset("warehouse", self.warehouse, path, column)

    def _made(self, target: Target, code: Asset) -> Asset:
        """What an edge leads to; an exposure makes nothing but itself."""
        return code.column(target.column) if target.relation == code.path else self._asset(*target)


def _tested(node: Node, project: Project) -> Iterator[Asset]:
    """The column a test is written on."""
    if node.kind != "test" or not node.column or not node.depends_on:
        return
    tested = project.nodes.get(node.depends_on[0])
    if tested is not None and tested.relation:
        yield Asset("warehouse", project.warehouse, tested.relation, node.column)


def _inlined(node: Node, project: Project, lineage: ProjectLineage) -> Iterator[Asset]:
    """What an ephemeral model reads, as far as those tell whose SQL it became a part of; nothing where one does not."""
    if node.kind != "model" or node.relation:
        return
    below = [project.nodes[name] for name in project.downstream(node.id)]
    parts = [lineage.parts.get(n.id) for n in below if n.kind in ("model", "snapshot") and n.relation]
    read = {project.nodes[name].relation for name in project.upstream(node.id) if name in project.nodes}
    for part in parts:
        if part is None or part.unresolved or any(statement.passes for statement in part.statements):
            return
    for part in parts:
        if part is not None:
            named = (used for used in part.uses if used.column != ROWS and used.table in read)
            yield from (Asset("warehouse", project.warehouse, *used) for used in named)


def facts(lineage: ProjectLineage, project: Project) -> list[tuple[Asset, str, JSON]]:
    """For each relation that a part makes: its columns, those it is made from, and what is in doubt."""
    told: list[tuple[Asset, str, JSON]] = []
    predicate = COLUMNS if project.nodes else VIEW
    for part, one in lineage.parts.items():
        node = project.nodes.get(part)
        relation = node.relation if node is not None else part
        if relation:
            told.append((Asset("warehouse", project.warehouse, relation), predicate, _told(part, one)))
    return told


def _told(part: str, lineage: Lineage) -> JSON:
    columns = lineage.statements[-1].columns if lineage.statements else ()
    named = {*lineage.uses, *(edge.source for edge in lineage.edges)}
    uses = sorted(f"{used.table}#{used.column}" for used in named if used.column != ROWS)
    return {
        "by": part,
        "columns": list(columns),
        "uses": uses,
        "reads": sorted(lineage.reads),
        "doubts": [f"{doubt.where}: {doubt.why}" for doubt in lineage.unresolved[:_MOST]],
        "in_doubt": len(lineage.unresolved),
    }
