"""Columns, which are most of a catalog: taken a relation at a time, so that little is done for each of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count, repeat
from sys import intern
from typing import Any

from integrations.base import Column
from integrations.warehouses.postgres.definitions import Place
from integrations.warehouses.postgres.hashing import write

Row = tuple[Any, ...]

_NUMBERINGS = {"a": "always", "d": "by default", "": ""}
_VANISHED = ("???", "???[]")
_LOW = (1 << 32) - 1
_SIGN = 1 << 31
_MOST = 1_600
_NUMBERS = tuple(intern(str(number)) for number in range(_MOST + 1))


@dataclass(slots=True)
class Columns:
    """What was read of the columns, and what was made of it.

    Attributes:
        of: the columns of each relation, once they are made; those of generated columns without their expression.
        written: the same as `hashing.py` writes it, by the relation's identity; without those with generated columns.
        generated: where the expressions of generated columns are found, by relation and identity.
        partly_granted: rights on single columns, by relation: the column's name, and what was granted, as JSON.
        kinds: every type with its modifier, in one number.
        has_vanished_types: was a type dropped while it was read?
    """

    of: dict[int, tuple[Column, ...]] = field(default_factory=dict)
    written: dict[str | None, str] = field(default_factory=dict)
    generated: dict[int, dict[str, Place]] = field(default_factory=dict)
    partly_granted: dict[int, list[tuple[str, str]]] = field(default_factory=dict)
    kinds: set[int] = field(default_factory=set)
    has_vanished_types: bool = False
    _listed: list[Row] = field(default_factory=list)
    _particulars: dict[int, list[Row]] = field(default_factory=dict)
    _types: dict[int, str] = field(default_factory=dict)

    def take(self, rows: Iterable[Row]) -> None:
        """Rows of COLUMNS."""
        for row in rows:
            self.kinds.update(row[3])
            self._listed.append(row)

    def take_particulars(self, rows: Iterable[Row]) -> None:
        """Rows of PARTICULARS."""
        for row in rows:
            self._particulars.setdefault(row[0], []).append(row)

    def asked_types(self) -> tuple[list[int], list[int], list[int]]:
        """The parameters of TYPES: each type in one number, its oid, and its modifier."""
        kinds = sorted(self.kinds)
        return kinds, [(kind >> 32) & _LOW for kind in kinds], [((kind & _LOW) ^ _SIGN) - _SIGN for kind in kinds]

    def take_types(self, rows: Iterable[Row]) -> None:
        """Rows of TYPES; all else must have been taken before."""
        self._types = {kind: intern(name) for kind, name in rows}
        self.has_vanished_types = any(name in _VANISHED for name in self._types.values())

    def make(self, at_once: int) -> bool:
        """Make the columns of so many relations, and let go of what they are made of; are there more?"""
        for row in self._listed[-at_once:]:
            relation = row[0]
            columns = self.of[relation] = self._made(row)
            if relation not in self.generated:
                self.written[str(relation)] = write(columns)
        del self._listed[-at_once:]
        return bool(self._listed)

    def names(self, relation: int, numbers: Iterable[str]) -> Iterator[str | None]:
        """Columns by their numbers, each by its name; None for what is no column."""
        columns = self.of.get(relation, ())
        for number in numbers:
            place = int(number)
            # Where nothing was dropped, number and position are the same.
            if 0 < place <= len(columns) and columns[place - 1].identity == number:
                yield columns[place - 1].name
            else:
                yield next((c.name for c in columns if c.identity == number), None)

    def _made(self, row: Row) -> tuple[Column, ...]:
        relation, numbers, names, kinds, nullables = row
        # Rows of the catalog stand in the order in which they were written last.
        if (in_order := sorted(numbers)) != numbers:
            _, names, kinds, nullables = zip(*sorted(zip(numbers, names, kinds, nullables, strict=True)), strict=True)
        identities = [_NUMBERS[number] for number in in_order]
        particulars = self._particulars.pop(relation, None)
        rest: tuple[Iterable[Any], ...] = (repeat(None), identities, repeat(""), repeat(""), repeat(""), repeat(""))
        if particulars is not None:
            rest = self._rest(particulars, identities, names)
        columns = zip(map(intern, names), count(1), map(self._types.__getitem__, kinds), nullables, *rest, strict=False)
        return tuple(map(Column._make, columns))

    def _rest(
        self, particulars: Sequence[Row], identities: Sequence[str], names: Sequence[str]
    ) -> tuple[Iterable[Any], ...]:
        """Defaults, identities, comments, generated expressions (not known yet), numberings and collations."""
        place = dict(zip(identities, range(len(identities)), strict=True))
        defaults: list[str | None] = [None] * len(identities)
        comments, numberings, collations = ([""] * len(identities) for _ in range(3))
        for relation, number, generated, default, numbering, comment, collation, rights in particulars:
            at = place[_NUMBERS[number]]
            defaults[at], comments[at] = default, comment
            numberings[at], collations[at] = _NUMBERINGS[numbering], collation
            if generated is not None:
                self.generated.setdefault(relation, {})[identities[at]] = ("generated", generated, number)
            if rights is not None:
                self.partly_granted.setdefault(relation, []).append((names[at], rights))
        return defaults, identities, comments, repeat(""), numberings, collations


def with_generated(
    columns: tuple[Column, ...], generated: Mapping[str, Place], texts: Mapping[Place, str]
) -> tuple[Column, ...]:
    """Columns with the expressions of those that are generated."""
    if not generated:
        return columns
    return tuple(
        c._replace(generated=texts[generated[c.identity]]) if c.identity and c.identity in generated else c
        for c in columns
    )
