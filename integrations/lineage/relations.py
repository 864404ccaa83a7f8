"""Relations while a query is read: columns with what they come from, and how names in a scope find them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from integrations.lineage.edges import ROWS, How
from integrations.lineage.naming import Key, Path


class Ref(NamedTuple):
    """Something a column, or the rows of a relation, come from. The source is flat here: this is the inner loop."""

    table: str
    column: str
    how: How


Refs = frozenset[Ref]
NOTHING: Refs = frozenset()


def through(refs: Iterable[Ref], how: How) -> set[Ref]:
    """What refs become where their value is used so: as a value they stay what they are, rows stay rows."""
    if how == "value":
        return set(refs)
    return {r if r.how == "rows" else Ref(r.table, r.column, how) for r in refs}


class Column(NamedTuple):
    """A column of a relation: key, name as shown, what it comes from."""

    key: Key
    name: str
    refs: Refs


class Open(NamedTuple):
    """A table whose columns are not known, handed on whole; `line` is where it is read."""

    table: str
    line: int


class Relation:
    """Columns in order, what decides the rows, and what is not known of it.

    Attributes:
        columns: by name; a name may stand twice.
        rows: what decides which rows there are, the tables read among them.
        opens: tables all of whose unknown columns are handed on.
        spread: any column not named comes from these (the fields of what was unnested); None: there are no others.
        is_broken: columns are missing for a reason that was already reported.
        unique: sets of columns (keys) no two rows agree in.
    """

    __slots__ = ("_index", "columns", "is_broken", "opens", "rows", "spread", "unique")

    def __init__(
        self,
        columns: Iterable[Column] = (),
        rows: Refs = NOTHING,
        *,
        opens: tuple[Open, ...] = (),
        spread: Refs | None = None,
        is_broken: bool = False,
        unique: frozenset[frozenset[Key]] = frozenset(),
    ) -> None:
        self.columns = tuple(columns)
        self.unique = unique
        self.rows = rows
        self.opens = opens
        self.spread = spread
        self.is_broken = is_broken
        self._index: dict[Key, Column] | None = None

    @property
    def index(self) -> dict[Key, Column]:
        """The columns by key; of a name that stands twice the first."""
        if self._index is None:
            self._index = {}
            for column in self.columns:
                self._index.setdefault(column.key, column)
        return self._index

    @property
    def is_closed(self) -> bool:
        """Are all columns known?"""
        return not (self.opens or self.is_broken or self.spread is not None)

    def supposed(self, key: Key) -> Column | None:
        """A column it must have if somebody has it; None where that leads nowhere."""
        if self.spread is not None:
            return Column(key, key, self.spread)
        if len(self.opens) == 1 and not self.is_broken:
            return Column(key, key, frozenset({Ref(self.opens[0].table, key, "value")}))
        return None

    def everything(self) -> Iterator[Ref]:
        """What all columns come from."""
        for column in self.columns:
            yield from column.refs
        if self.spread:
            yield from self.spread

    def renamed(self, names: Iterable[tuple[Key, str]]) -> Relation:
        """With the first columns called otherwise."""
        given = list(names)
        columns = [Column(*name, column.refs) for name, column in zip(given, self.columns, strict=False)]
        columns += self.columns[len(given) :]
        called = {old.key: new.key for old, new in zip(self.columns, columns, strict=True)}
        unique = frozenset(frozenset(called[k] for k in keys) for keys in self.unique if keys <= called.keys())
        return self._but(columns, self.rows, unique)

    def also(self, refs: Iterable[Ref]) -> Relation:
        """With more that decides its rows."""
        return self._but(self.columns, self.rows | set(refs), self.unique)

    def alone(self, refs: Iterable[Ref]) -> Relation:
        """As the side of a join that decides no rows: what would have decided them moves its own columns."""
        more = self.rows | set(refs)
        columns = (Column(c.key, c.name, c.refs | more) for c in self.columns)
        return self._but(columns, NOTHING, self.unique)

    def _but(self, columns: Iterable[Column], rows: Refs, unique: frozenset[frozenset[Key]]) -> Relation:
        return Relation(columns, rows, opens=self.opens, spread=self.spread, is_broken=self.is_broken, unique=unique)


def of_table(
    table: str, columns: Iterable[tuple[Key, str]], unique: frozenset[frozenset[Key]] = frozenset()
) -> Relation:
    """A table whose columns are known."""
    made = (Column(key, name, frozenset({Ref(table, name, "value")})) for key, name in columns)
    return Relation(made, frozenset({Ref(table, ROWS, "rows")}), unique=unique)


def unknown_table(table: str, line: int) -> Relation:
    """A table whose columns are not known."""
    return Relation((), frozenset({Ref(table, ROWS, "rows")}), opens=(Open(table, line),))


class Use(NamedTuple):
    """A relation in FROM: the key it is called by, the path it was written with, the table it is (if it is one)."""

    alias: Key
    parts: Path
    relation: Relation
    table: str = ""


class Scope:
    """The names a query may use: relations in FROM, common table expressions, and those of the query around it."""

    __slots__ = ("aliases", "ctes", "layout", "merged", "outer", "uses", "windows")

    def __init__(self, outer: Scope | None = None, ctes: dict[Key, Relation] | None = None) -> None:
        self.outer = outer
        self.ctes: dict[Key, Relation] = ctes if ctes is not None else (outer.ctes if outer is not None else {})
        self.uses: list[Use] = []
        self.merged: dict[Key, Column] = {}  # by USING and NATURAL
        self.layout: list[Column | Open] = []  # what a bare star stands for
        self.aliases: dict[Key, Column] = {}  # of the select list, as far as it was read
        self.windows: dict[Key, Refs] = {}

    def beside(self) -> Scope:
        """For a query in FROM, which sees what is around this one but not its neighbours."""
        return Scope(self.outer, self.ctes)

    def add(self, use: Use, *, is_hidden: bool = False) -> None:
        """Put a relation into FROM; a hidden one (semi join) is no part of a star."""
        self.uses.append(use)
        if not is_hidden:
            self.layout += [*use.relation.columns, *use.relation.opens]

    def called(self, key: Key) -> list[Use]:
        """The relations called so, here."""
        return [u for u in self.uses if u.alias == key]

    def having(self, key: Key) -> list[tuple[Use, Column]]:
        """The relations here that are known to have such a column."""
        return [(u, found) for u in self.uses if (found := u.relation.index.get(key)) is not None]

    @property
    def undecided(self) -> list[Use]:
        """The relations here that may have columns nobody knows of."""
        return [u for u in self.uses if not u.relation.is_closed]

    def rows(self) -> set[Ref]:
        """What decides the rows of the relations here."""
        return set().union(*(u.relation.rows for u in self.uses))

    def counted(self) -> set[Ref]:
        """The rows of the tables here."""
        return {r for r in self.rows() if r.how == "rows"}
