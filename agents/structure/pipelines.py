"""Pipelines and views by what they read and make, so that what a column reaches is found by walking, not searching."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from integrations.base import Node, Project
from integrations.lineage import ROWS, ColumnGraph, Edge, ProjectLineage, Source, Target

_ALL: Final = "*"
"""In place of a column: whatever reads every column of a table."""

Place = tuple[str, str]
"""A relation and a column of it, folded; the column empty for the whole."""

Told = tuple[ProjectLineage, Project, datetime | None]
"""A pipeline as last parsed, with the time of its newest run. Without nodes: the views of a warehouse."""


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
class Pipelines:
    """What reads and makes what, of all that is known of one warehouse: a model may read the view of somebody else.

    Attributes:
        edges: of folded names.
        uses: everything that reads something, by a name of its own.
        relations: name → the folded relation it makes.
        makers: the other way round.
        readers: place → names of what reads it, in the order in which it was read.
        columns: table → the columns of it that somebody names.
        moving: what hands a column on, or decides by it: (name, place).
        shown: place → how it is written.
    """

    edges: list[Edge] = field(default_factory=list)
    uses: dict[str, Use] = field(default_factory=dict)
    relations: dict[str, str] = field(default_factory=dict)
    makers: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    readers: dict[Place, dict[str, None]] = field(default_factory=lambda: defaultdict(dict))
    columns: dict[str, dict[str, None]] = field(default_factory=lambda: defaultdict(dict))
    moving: set[tuple[str, Place]] = field(default_factory=set)
    shown: dict[Place, str] = field(default_factory=dict)
    _graphs: dict[frozenset[str], ColumnGraph] = field(default_factory=dict)

    @classmethod
    def of(cls, told: Sequence[Told]) -> Pipelines:
        """From all that read one warehouse. A view that a pipeline makes is the pipeline's, and told as its model."""
        made = cls()
        for number, (lineage, project, last_run) in enumerate(told):
            if project.nodes:
                made._take(f"{number}/", lineage, project, last_run)
        for number, (lineage, project, last_run) in enumerate(told):
            if not project.nodes:
                own = {n: part for n, part in lineage.parts.items() if n.casefold() not in made.makers}
                made._take(f"{number}/", ProjectLineage(own), project, last_run)
        return made

    def _take(self, prefix: str, lineage: ProjectLineage, project: Project, last_run: datetime | None) -> None:
        for source, target, how in lineage.edges:
            at = place(*target)
            self.shown[at] = f"{target.relation}#{target.column}" if target.column else target.relation
            self.edges.append(Edge(Source(*place(*source)), Target(*at), how))
        for part, one in lineage.parts.items():
            name, node = prefix + part, project.nodes.get(part)
            self.uses[name] = Use(part, node.kind if node else "view", node.owner if node else "", last_run)
            self.relations[name] = (node.relation if node and node.relation else part).casefold()
            self.makers[self.relations[name]].append(name)
            self.moving.update((name, place(*edge.source)) for edge in one.edges)
            for table, column in {*one.uses, *(e.source for e in one.edges)}:
                self._reads(name, table, column)
            for table in {passed for statement in one.statements for passed in statement.passes}:
                self._reads(name, table, _ALL)
        for node in project.nodes.values():
            if node.kind in ("test", "exposure") and prefix + node.id not in self.uses:
                self._add(prefix + node.id, node, project.nodes, last_run)

    @property
    def views(self) -> frozenset[str]:
        """The folded relations that are views of the warehouse itself."""
        return frozenset(self.relations[name] for name, use in self.uses.items() if use.kind == "view")

    def _add(self, name: str, node: Node, nodes: Mapping[str, Node], last_run: datetime | None) -> None:
        """A test reads the column it is on; an exposure that lineage says nothing of reads whole tables."""
        self.uses[name] = Use(node.id, node.kind, node.owner, last_run)
        for relation in (nodes[n].relation for n in node.depends_on if n in nodes):
            if relation:
                self._reads(name, relation, node.column or (_ALL if node.kind == "exposure" else ROWS))

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

    def reached(self, places: Iterable[Place], around: Collection[str] = ()) -> tuple[dict[str, Use], set[str]]:
        """The readers of the places and whatever is made from them, by name; and the columns on the way, as shown.

        Relations (folded) that are walked `around` are not reached, nor what hangs on them alone.
        """
        graph = self._graph(frozenset(around))
        names: dict[str, None] = {}
        found: dict[Place, None] = {}
        for where in places:
            starts = [where]
            if where[1] == ROWS:
                starts += [(where[0], column) for column in self.columns.get(where[0], ())]
            for name in self.readers_of(where):
                if self.relations.get(name) in around:
                    continue
                names[name] = None
                if where[1] != ROWS and (name, where) not in self.moving and name in self.relations:
                    # Named and not handed on: without the column it fails, and with it all its rows.
                    starts.append((self.relations[name], ROWS))
            for start in starts:
                found.update(dict.fromkeys((t.relation, t.column) for t in graph.downstream(*start)))
        for relation in {relation for relation, _ in found}:
            names.update(dict.fromkeys(self.makers.get(relation, ())))
            readers = self.readers.get((relation, ROWS), ())
            names.update(dict.fromkeys(name for name in readers if self.uses[name].kind == "exposure"))
        columns = {self.shown[where] for where in found if where[1] != ROWS}
        return {name: self.uses[name] for name in names}, columns

    def _graph(self, around: frozenset[str]) -> ColumnGraph:
        if around not in self._graphs:
            self._graphs[around] = ColumnGraph(e for e in self.edges if e.target.relation not in around)
        return self._graphs[around]
