"""What speaks for a column being another one: content, name, place and keys, each in thousandths."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from agents.structure import names
from agents.structure.evidence import Verdict, judge
from agents.structure.known import Content, KnownTable
from integrations.base import Column

CONTENT: Final = 500
NAME: Final = 300
PLACE: Final = 80
KEY: Final = 150
_LEAST: Final = 1
_CLEAR_NAME: Final = 0.8
"""From this affinity on, a name in the same place is a rename even where nothing is known of the content."""
_UNSEEN: Final = 0.6

Paired = Sequence[tuple[Column, Column]]


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What is needed to judge the columns of one table."""

    before: Mapping[str, Content]
    after: Mapping[str, Content]
    places_before: Mapping[str, int]
    places_after: Mapping[str, int]
    keys_before: Mapping[str, frozenset[tuple[str, int]]]
    keys_after: Mapping[str, frozenset[tuple[str, int]]]
    commonplace: frozenset[str]
    has_identities: bool
    verdicts: dict[tuple[str, str], Verdict] = field(default_factory=dict)

    @classmethod
    def of(cls, before: KnownTable, after: KnownTable, pairs: Paired, *, has_identities: bool) -> Surroundings:
        """Of one table before and after, of which some columns are settled."""
        everybody = {*(c.name for c in before.columns), *(c.name for c in after.columns)}
        return cls(
            before.content,
            after.content,
            _places(before.columns, {b.name for b, _ in pairs}),
            _places(after.columns, {a.name for _, a in pairs}),
            _keys(before),
            _keys(after),
            names.common(everybody),
            has_identities,
        )

    def verdict(self, one: Column, other: Column) -> Verdict:
        """What the contents say."""
        key = (one.name, other.name)
        if key not in self.verdicts:
            self.verdicts[key] = judge(self.before.get(one.name), self.after.get(other.name), one.type)
        return self.verdicts[key]

    def affinity(self, one: Column, other: Column) -> float:
        """What the names say, 0 to 1."""
        return names.affinity(one.name, other.name, self.commonplace)

    def is_named(self, one: Column, other: Column) -> bool:
        """Do the names speak for the pair?"""
        return self.affinity(one, other) >= names.SUPPORT

    def is_in_place(self, one: Column, other: Column) -> bool:
        """Does it stand after the same surviving column as before? With identities a new column is always the last."""
        return not self.has_identities and self.places_before[one.name] == self.places_after[other.name]

    def is_keyed(self, one: Column, other: Column) -> bool:
        """Is it part of the same keys, the same way?"""
        mine = self.keys_before.get(one.name)
        return bool(mine) and mine == self.keys_after.get(other.name)

    def score(self, one: Column, other: Column) -> int | None:
        """All of it together; None where the pair is impossible or nothing but the type speaks for it."""
        verdict = self.verdict(one, other)
        if verdict is Verdict.DIFFERENT:
            return None
        same, affinity = verdict is Verdict.SAME, self.affinity(one, other)
        # The engine says that they are not the same; only what they hold could object.
        if not same and (self.has_identities or not (self.is_in_place(one, other) or affinity >= names.SUPPORT)):
            return None
        return (
            _LEAST
            + CONTENT * same
            + int(NAME * affinity)
            + PLACE * self.is_in_place(one, other)
            + KEY * self.is_keyed(one, other)
        )

    def certain(self, one: Column, other: Column) -> int | None:
        """The score where name and content both speak for the pair."""
        is_certain = self.verdict(one, other) is Verdict.SAME and self.is_named(one, other)
        return self.score(one, other) if is_certain else None

    def confidence(self, one: Column, other: Column, *, is_crowded: bool) -> float | None:
        """How sure the pair is by itself, 0 to 1; None where that is not enough to call it a rename.

        Among several columns that went and came, names must agree: a sketch alone moves no money from one to another.
        """
        named, placed = self.is_named(one, other), self.is_in_place(one, other)
        keyed = self.is_keyed(one, other)
        if self.verdict(one, other) is not Verdict.SAME:
            is_unseen = not (_is_seen(self.before.get(one.name)) and _is_seen(self.after.get(other.name)))
            clear = self.affinity(one, other) >= _CLEAR_NAME and (placed or keyed)
            return _UNSEEN + 0.1 * keyed if is_unseen and clear else None
        if not named and (is_crowded or not (placed or keyed)):
            return None
        return round(min(0.99, 0.75 + 0.1 * placed + 0.1 * named + 0.05 * keyed), 2)

    def evidence(self, one: Column, other: Column) -> str:
        """What decided."""
        return "content" if self.verdict(one, other) is Verdict.SAME else "names"

    def reason(self, dropped: Sequence[Column], added: Sequence[Column]) -> str:
        """Why it cannot be told."""
        verdicts = {self.verdict(d, a) for d in dropped for a in added}
        if verdicts == {Verdict.SILENT}:
            return "their contents could not be compared or say nothing"
        if len(dropped) > 1 or len(added) > 1:
            return "the contents or names of more than one column fit"
        return "the contents agree, but neither place nor name does"


def _is_seen(content: Content | None) -> bool:
    return content is not None and bool(content.sketch)


def _places(columns: Sequence[Column], settled: set[str]) -> dict[str, int]:
    """How many settled columns stand before each column."""
    places, count = {}, 0
    for column in columns:
        places[column.name] = count
        count += column.name in settled
    return places


def _keys(table: KnownTable) -> dict[str, frozenset[tuple[str, int]]]:
    """In which keys each column stands, and where in them."""
    found: dict[str, set[tuple[str, int]]] = {}
    for constraint in table.constraints:
        if constraint.kind in ("primary_key", "unique", "foreign_key"):
            for place, column in enumerate(constraint.columns):
                found.setdefault(column, set()).add((f"{constraint.kind} {constraint.references}", place))
    return {column: frozenset(keys) for column, keys in found.items()}
