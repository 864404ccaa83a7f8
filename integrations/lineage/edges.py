"""What lineage is made of: edges from source columns to target columns, and what could not be resolved.

An edge says *changing this can change that*, and `how`:

    value   the source's value goes into the target's value: handed on, computed with, the condition of a CASE, the
            argument, partition or order of a window, the argument or filter of an aggregate
    filter  it decides which rows count: WHERE, HAVING, QUALIFY, a condition of a MERGE, the filter of a subquery
    join    it decides which rows meet: ON, USING, NATURAL, the array that is unnested
    group   it decides which rows are one: GROUP BY, DISTINCT, UNION, INTERSECT, EXCEPT
    order   it decides which rows are first, where only some are kept (LIMIT, DISTINCT ON)
    rows    the rows of a table are (among) the rows of the target, or are counted

The column `""` (`ROWS`) stands for the rows of a relation: whether a row is there, and how often. An edge to it may
move any column of the target; one that names a column moves that column alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NamedTuple

from config.errors import SourceError

How = Literal["value", "filter", "join", "group", "order", "rows"]
HOWS: Final[tuple[How, ...]] = ("value", "filter", "join", "group", "order", "rows")
ROWS: Final = ""


class Source(NamedTuple):
    """A column of a table (`schema.table` as it is known); column `""` are its rows."""

    table: str
    column: str


class Target(NamedTuple):
    """A column of the relation a statement makes or changes; column `""` are its rows."""

    relation: str
    column: str


class Edge(NamedTuple):
    """Changing `source` can change `target`; `how` as the module says."""

    source: Source
    target: Target
    how: How


@dataclass(frozen=True, slots=True)
class Unresolved:
    """A part whose lineage is not known: it is reported, never guessed.

    Attributes:
        statement: number within the script, from 1.
        line: in the script, from 1; 0 where it is not known.
        why: what is in doubt, with the names in question.
        is_unread: the whole statement could not be read.
    """

    statement: int
    line: int
    why: str
    is_unread: bool = False

    @property
    def where(self) -> str:
        """`statement 2, line 7`."""
        return f"statement {self.statement}" + (f", line {self.line}" if self.line else "")


@dataclass(frozen=True, slots=True)
class StatementLineage:
    """One statement, by itself: temporary objects stand as they are named.

    Attributes:
        number, line: where it stands in the script, from 1.
        kind: `select`, `create table`, `create view`, `insert`, `update`, `delete`, `merge`, … ; `other` moves no rows.
        relation: what it makes or changes; `result` for a bare query, empty where there is none.
        columns: of that relation, in order, as far as this statement says them.
        edges: as the module says.
        passes: tables all of whose (unknown) columns are handed on by a star.
        is_temporary: is the relation gone with the session?
        keys: sets of columns no two rows that the query gives agree in, as far as its form says so.
        uses: the columns of tables it names: without one of them it would not run, whether it moves anything or not.
    """

    number: int
    line: int
    kind: str
    relation: str = ""
    columns: tuple[str, ...] = ()
    edges: frozenset[Edge] = frozenset()
    unresolved: tuple[Unresolved, ...] = ()
    passes: tuple[str, ...] = ()
    is_temporary: bool = False
    keys: tuple[tuple[str, ...], ...] = ()
    uses: frozenset[Source] = frozenset()

    @property
    def reads(self) -> frozenset[str]:
        """The tables it reads: those that move something, and those it names."""
        return frozenset(e.source.table for e in self.edges) | {u.table for u in self.uses}


@dataclass(frozen=True, slots=True)
class Lineage:
    """All statements of a script, and the edges between what is there before and after it.

    Attributes:
        edges: temporary objects (and tables made and dropped again) are seen through; a table that stays is a step.
        unresolved: of all statements.
        statements: in order.
    """

    edges: frozenset[Edge] = frozenset()
    unresolved: tuple[Unresolved, ...] = ()
    statements: tuple[StatementLineage, ...] = field(default=(), repr=False)

    @property
    def is_complete(self) -> bool:
        """Was every part resolved?"""
        return not self.unresolved

    @property
    def uses(self) -> frozenset[Source]:
        """The columns of tables that are named (temporary ones too); column `""` is the table itself."""
        return frozenset().union(*(s.uses for s in self.statements))

    @property
    def reads(self) -> frozenset[str]:
        """The tables read that were there before."""
        made = {s.relation for s in self.statements if s.is_temporary}
        return frozenset(e.source.table for e in self.edges) | {u.table for u in self.uses if u.table not in made}

    @property
    def writes(self) -> frozenset[str]:
        """The relations made or changed that are still there afterwards."""
        return frozenset(e.target.relation for e in self.edges)

    def as_json(self) -> dict[str, Any]:
        """A form for files and programs; `from_json` reads it back. Sorted, so that equal lineage is equal text."""
        return {
            "edges": _edges_as_json(self.edges),
            "unresolved": [_unresolved_as_json(u) for u in self.unresolved],
            "statements": [
                {
                    "number": s.number,
                    "line": s.line,
                    "kind": s.kind,
                    "relation": s.relation,
                    "columns": list(s.columns),
                    "temporary": s.is_temporary,
                    "passes": list(s.passes),
                    "keys": [list(k) for k in s.keys],
                    "uses": sorted(list(u) for u in s.uses),
                    "edges": _edges_as_json(s.edges),
                    "unresolved": [_unresolved_as_json(u) for u in s.unresolved],
                }
                for s in self.statements
            ],
        }

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Lineage:
        """Read what `as_json` wrote; raises SourceError where it is something else."""
        try:
            statements = tuple(
                StatementLineage(
                    number=s["number"],
                    line=s["line"],
                    kind=s["kind"],
                    relation=s["relation"],
                    columns=tuple(s["columns"]),
                    edges=_edges_from_json(s["edges"]),
                    unresolved=tuple(_unresolved_from_json(u) for u in s["unresolved"]),
                    passes=tuple(s["passes"]),
                    is_temporary=s["temporary"],
                    keys=tuple(tuple(k) for k in s["keys"]),
                    uses=frozenset(Source(table, column) for table, column in s["uses"]),
                )
                for s in found["statements"]
            )
            unresolved = tuple(_unresolved_from_json(u) for u in found["unresolved"])
            return cls(_edges_from_json(found["edges"]), unresolved, statements)
        except (KeyError, TypeError, ValueError) as error:
            raise SourceError(f"this is not lineage as it is written here: {error!r}") from None


def _edges_as_json(edges: Iterable[Edge]) -> list[list[str]]:
    return sorted([e.source.table, e.source.column, e.target.relation, e.target.column, e.how] for e in edges)


def _edges_from_json(rows: Iterable[list[Any]]) -> frozenset[Edge]:
    return frozenset(Edge(Source(table, column), Target(to, into), how) for table, column, to, into, how in rows)


def _unresolved_as_json(one: Unresolved) -> dict[str, Any]:
    return {"statement": one.statement, "line": one.line, "why": one.why, "unread": one.is_unread}


def _unresolved_from_json(one: Mapping[str, Any]) -> Unresolved:
    return Unresolved(one["statement"], one["line"], one["why"], one["unread"])
