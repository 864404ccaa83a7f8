"""One pipeline by what it reads and makes, so that what a column reaches is found by walking, not by searching."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from integrations.base import Node, Project
from integrations.lineage import ROWS, ColumnGraph, Edge, ProjectLineage, Source, Target

_ALL: Final = "*"
"""In place of a column: whatever reads every column of a table."""

Place = tuple[str, str]
"""A relation and a column of it, folded; the column empty for the whole."""


@dataclass(frozen=True, slots=True)
class Use:
    """Something that reads a column or a table.

    Attributes:
        node: its id in the pipeline; for a view of the warehouse its path.
        kind: model, snapshot, exposure, test or view.
        owner: whose it is, empty where unknown.
        last_run: when the pipeline it belongs to ran last, None where unknown.
    """

    node: str
    kind: str
    owner: str = ""
    last_run: datetime | None = None


def place(table: str, column: str) -> Place:
    """A column's place. Folded: a reader too many is a smaller mistake than one that is missed."""
    return table.casefold(), column.casefold()


@dataclass(slots=True)
class Pipeline:
    """What reads and makes what.

    Attributes:
        graph: of folded names.
        uses: everything that reads something, by its id.
        relations: id → the folded relation it makes.
        makers: the other way round.
        readers: place → ids of what reads it, in the order in which it was read.
        columns: table → the columns of it that somebody names.
        moving: what hands a column on, or decides by it: (id, place).
        shown: place → how it is written.
    """

    graph: ColumnGraph
    uses: dict[str, Use] = field(default_factory=dict)
    relations: dict[str, str] = field(default_factory=dict)
    makers: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    readers: dict[Place, dict[str, None]] = field(default_factory=lambda: defaultdict(dict))
    columns: dict[str, dict[str, None]] = field(default_factory=lambda: defaultdict(dict))
    moving: set[tuple[str, Place]] = field(default_factory=set)
    shown: dict[Place, str] = field(default_factory=dict)

    @classmethod
    def of(cls, lineage: ProjectLineage, project: Project, last_run: datetime | None) -> Pipeline:
        """From a pipeline as last parsed. A part that is no node of the project is a view."""
        shown: dict[Place, str] = {}
        edges = []
        for source, target, how in lineage.edges:
            at = place(*target)
            shown[at] = f"{target.relation}#{target.column}" if target.column else target.relation
            edges.append(Edge(Source(*place(*source)), Target(*at), how))
        made = cls(ColumnGraph(edges), shown=shown)
        for name, part in lineage.parts.items():
            node = project.nodes.get(name)
            made.uses[name] = Use(name, node.kind if node else "view", node.owner if node else "", last_run)
            made.relations[name] = (node.relation if node and node.relation else name).casefold()
            made.makers[made.relations[name]].append(name)
            made.moving.update((name, place(*edge.source)) for edge in part.edges)
            for table, column in {*part.uses, *(e.source for e in part.edges)}:
                made._reads(name, table, column)
            for table in {passed for statement in part.statements for passed in statement.passes}:
                made._reads(name, table, _ALL)
        for node in project.nodes.values():
            if node.kind in ("test", "exposure") and node.id not in made.uses:
                made._add(node, project.nodes, last_run)
        return made

    def _add(self, node: Node, nodes: Mapping[str, Node], last_run: datetime | None) -> None:
        """A test reads the column it is on; an exposure that lineage says nothing of reads whole tables."""
        self.uses[node.id] = Use(node.id, node.kind, node.owner, last_run)
        for relation in (nodes[n].relation for n in node.depends_on if n in nodes):
            if relation:
                self._reads(node.id, relation, node.column or (_ALL if node.kind == "exposure" else ROWS))

    def _reads(self, name: str, table: str, column: str) -> None:
        where = place(table, column)
        self.readers[where][name] = None
        self.readers[where[0], ROWS][name] = None
        if column not in (ROWS, _ALL):
            self.columns[where[0]][where[1]] = None

    def readers_of(self, where: Place) -> Iterable[str]:
        """What names a column or takes all columns; what reads a table in any way."""
        by_star = self.readers.get((where[0], _ALL), {}) if where[1] else {}
        return {**self.readers.get(where, {}), **by_star}

    def reached(self, places: Iterable[Place]) -> tuple[dict[str, Use], set[str]]:
        """The readers of the places and whatever is made from them, by id; and the columns on the way, as shown."""
        names: dict[str, None] = {}
        found: dict[Place, None] = {}
        for where in places:
            starts = [where]
            if where[1] == ROWS:
                starts += [(where[0], column) for column in self.columns.get(where[0], ())]
            for name in self.readers_of(where):
                names[name] = None
                if where[1] != ROWS and (name, where) not in self.moving and name in self.relations:
                    # Named and not handed on: without the column it fails, and with it all its rows.
                    starts.append((self.relations[name], ROWS))
            for start in starts:
                found.update(dict.fromkeys((t.relation, t.column) for t in self.graph.downstream(*start)))
        for relation in {relation for relation, _ in found}:
            names.update(dict.fromkeys(self.makers.get(relation, ())))
            readers = self.readers.get((relation, ROWS), ())
            names.update(dict.fromkeys(name for name in readers if self.uses[name].kind == "exposure"))
        columns = {self.shown[where] for where in found if where[1] != ROWS}
        return {name: self.uses[name] for name in names}, columns
