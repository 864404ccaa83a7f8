"""Reads one statement: resolves its tables, collects its edges and its doubts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from sqlglot import exp

from integrations.lineage import changes, queries
from integrations.lineage.edges import ROWS, Edge, Source, StatementLineage, Target, Unresolved
from integrations.lineage.effects import Effect
from integrations.lineage.lookup import LATERAL_ALIASES, Finder
from integrations.lineage.naming import Path
from integrations.lineage.relations import Ref, Relation, Scope, of_table, unknown_table
from integrations.lineage.schema import Doubt, Known
from integrations.lineage.session import Session
from integrations.lineage.tables import Tables

RESULT: Final = "result"


class Reader:
    """One statement while it is read.

    Args:
        session: the tables there are now.
        number, line: where the statement stands in its script.
        result: what a bare query's target is called.
    """

    def __init__(self, session: Session, *, number: int, line: int, result: str = RESULT) -> None:
        self.session = session
        self.naming = session.schema.naming
        self.number = number
        self.start = line
        self.result = result
        self.finder = Finder(self)
        self.tables = Tables(self)
        self.has_lateral_aliases = self.naming.name in LATERAL_ALIASES
        self.uses: set[Source] = set()
        self._edges: set[Edge] = set()
        self._doubts: dict[Unresolved, None] = {}

    def read(self, node: exp.Expr) -> tuple[StatementLineage, Effect]:
        """The statement's lineage and its effect; it changes the session as the statement would."""
        effect = changes.read_statement(self, node)
        lineage = StatementLineage(
            number=self.number,
            line=self.start,
            kind=effect.kind,
            relation=effect.relation,
            columns=effect.columns,
            edges=frozenset(self._edges),
            unresolved=tuple(self._doubts),
            passes=effect.passes,
            is_temporary=effect.is_temporary,
            keys=effect.keys,
            uses=frozenset(self.uses),
        )
        return lineage, effect

    def query(self, node: exp.Expr, outer: Scope | None) -> Relation:
        """The relation a query makes."""
        return queries.read_query(self, node, outer)

    def change(self, node: exp.Expr, outer: Scope) -> Relation:
        """Read a statement that changes a table inside another; the relation is what it returns."""
        return changes.read_change(self, node, outer).returned

    def table(self, node: exp.Table, parts: Path) -> tuple[Relation, str]:
        """A table that is read: its relation and how it is called."""
        found = self.session.find(parts)
        if isinstance(found, Doubt):
            self.doubt(node, f"{'.'.join(parts)} may be {' or '.join(found.candidates)}")
            return Relation(is_broken=True), ""
        path = found.path if found is not None else self.session.schema.shown(parts)
        if found is None or found.columns is None:
            return unknown_table(path, self.line(node)), path
        return found.relation or self._prepared(found), path

    def _prepared(self, known: Known) -> Relation:
        """Made once for a schema, however many statements read the table."""
        columns = known.columns or {}
        names = {**columns, **{lenient: columns[key] for lenient, key in known.lenient.items()}}
        relation = of_table(known.path, ((key, names[key]) for key in columns), known.unique)
        relation.index.update({key: relation.index[exact] for key, exact in known.lenient.items()})
        known.relation = relation
        return relation

    def put(self, relation: str, column: str, refs: Iterable[Ref]) -> None:
        """Edges from refs to a column of a relation; column `""` are its rows."""
        target = Target(relation, column)
        self._edges.update(Edge(Source(r.table, r.column), target, r.how) for r in refs)

    def put_rows(self, relation: str, refs: Iterable[Ref]) -> None:
        """Edges from refs to the rows of a relation."""
        self.put(relation, ROWS, refs)

    def line(self, node: exp.Expr) -> int:
        """Where a part stands in the script; the statement's own line where the parser does not say."""
        for part in node.find_all(exp.Identifier, exp.Star, exp.Func):
            line = part.meta.get("line")
            if isinstance(line, int):
                return line
        return self.start

    def doubt(self, node: exp.Expr, why: str) -> None:
        """Something is not known; said once."""
        self._doubts.setdefault(Unresolved(self.number, self.line(node), why))

    def report_opens(self, relation: Relation) -> None:
        """Columns would be needed that are not known."""
        for table in relation.opens:
            why = f"the columns of {table.table} are not known: * is not expanded"
            self._doubts.setdefault(Unresolved(self.number, table.line, why))
