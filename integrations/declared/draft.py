"""Tables as a script leaves them behind, changed statement by statement."""

from __future__ import annotations

import difflib
import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from integrations.base import Catalog, Column, Constraint, Enumeration, Index, NumberSequence, Table

Key = tuple[str, str]
NEVER = datetime(1970, 1, 1, tzinfo=UTC)
"""When a declaration was taken that does not say: it holds at no particular time."""


@dataclass(slots=True)
class DraftTable:
    """One table or view so far."""

    schema: str
    name: str
    columns: list[Column] = field(default_factory=list)
    kind: str = "table"
    comment: str = ""
    constraints: list[Constraint] = field(default_factory=list)
    indexes: list[Index] = field(default_factory=list)
    definition: str = ""
    partitioning: str = ""
    defaults: dict[str, str] = field(default_factory=dict)
    """Names of constraints that are defaults, and the columns they are of (T-SQL)."""

    def place(self, name: str) -> int | None:
        """Where a column stands; its name in another case only where no column is spelt so."""
        exact = next((i for i, c in enumerate(self.columns) if c.name == name), None)
        if exact is not None:
            return exact
        return next((i for i, c in enumerate(self.columns) if c.name.lower() == name.lower()), None)

    def change(self, column: str, /, **changes: Any) -> bool:
        """Alter a column; False where there is none of that name."""
        place = self.place(column)
        if place is None:
            return False
        self.columns[place] = self.columns[place]._replace(**changes)
        return True

    def rename_column(self, before: str, after: str) -> bool:
        """Rename a column, and in the keys and indexes that name it."""
        place = self.place(before)
        if place is None:
            return False
        spelt = self.columns[place].name
        self.change(spelt, name=after)

        def renamed(names: tuple[str, ...]) -> tuple[str, ...]:
            return tuple(after if n == spelt else n for n in names)

        self.constraints = [
            replace(c, columns=renamed(c.columns), definition=_spelt(c.definition, spelt, after))
            if spelt in c.columns
            else c
            for c in self.constraints
        ]
        self.indexes = [replace(i, columns=renamed(i.columns)) for i in self.indexes]
        return True

    def drop_column(self, name: str) -> bool:
        """Drop a column, and the keys and indexes over it."""
        place = self.place(name)
        if place is None:
            return False
        spelt = self.columns.pop(place).name
        self.constraints = [c for c in self.constraints if spelt not in c.columns]
        self.indexes = [i for i in self.indexes if spelt not in i.columns]
        return True

    def constrain(self, constraint: Constraint) -> None:
        """Add a key or check; a primary key's columns hold no nulls."""
        self.constraints.append(constraint)
        if constraint.kind == "primary_key":
            for name in constraint.columns:
                self.change(name, nullable=False)

    def undefault(self, constraint: str) -> bool:
        """Drop the default that is a constraint of that name; False where there is none."""
        column = self.defaults.pop(constraint.lower(), None)
        return column is not None and self.change(column, default=None)

    def freeze(self) -> Table:
        """The table as a catalog has it."""
        return Table(
            schema=self.schema,
            name=self.name,
            columns=tuple(c._replace(position=place) for place, c in enumerate(self.columns, 1)),
            kind=self.kind,
            comment=self.comment,
            constraints=tuple(sorted(self.constraints, key=lambda c: (c.name, c.kind, c.columns))),
            indexes=tuple(sorted(self.indexes, key=lambda i: i.name)),
            definition=self.definition,
            partitioning=self.partitioning,
        )


def _spelt(definition: str, before: str, after: str) -> str:
    """The text of a key or check with a column's new name; what it references keeps its own."""
    own, word, other = definition.partition(" REFERENCES ")
    return re.sub(rf"(?<![\w.]){re.escape(before)}(?!\w)", lambda _: after, own) + word + other


@dataclass(slots=True)
class Draft:
    """All of it. Keys are spellings folded as the dialect folds them, values keep how the names are shown."""

    tables: dict[Key, DraftTable] = field(default_factory=dict)
    enumerations: dict[Key, Enumeration] = field(default_factory=dict)
    sequences: dict[Key, NumberSequence] = field(default_factory=dict)

    def near(self, key: Key) -> str:
        """The path that was probably meant, empty where none is near."""
        paths = {f"{t.schema}.{t.name}": None for t in self.tables.values()}
        found = difflib.get_close_matches(f"{key[0]}.{key[1]}", list(paths), n=1, cutoff=0.7)
        return found[0] if found else ""

    def freeze(self, taken_at: datetime = NEVER) -> Catalog:
        """The catalog, in the order of names."""
        return catalog(
            (t.freeze() for t in self.tables.values()), self.enumerations.values(), self.sequences.values(), taken_at
        )


def catalog(
    tables: Iterable[Table],
    enumerations: Iterable[Enumeration] = (),
    sequences: Iterable[NumberSequence] = (),
    taken_at: datetime = NEVER,
) -> Catalog:
    """Whatever is declared as a catalog with its fingerprint."""
    ordered = tuple(sorted(tables, key=lambda t: (t.schema, t.name)))
    types = tuple(sorted(enumerations, key=lambda e: (e.schema, e.name)))
    counters = tuple(sorted(sequences, key=lambda s: (s.schema, s.name)))
    text = repr((ordered, types, counters))
    return Catalog(ordered, taken_at, hashlib.sha256(text.encode()).hexdigest(), enumerations=types, sequences=counters)


def counted(passed: Mapping[str, int]) -> str:
    """What was passed over, in words: `3 insert, 1 grant`."""
    return ", ".join(f"{number} {what}" for what, number in sorted(passed.items()))
