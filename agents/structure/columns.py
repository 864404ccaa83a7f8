"""Which column of a table became which: by the engine's identity, by name, and for the rest by what they hold."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from agents.structure import names
from agents.structure.evidence import Verdict, judge
from agents.structure.known import Content, KnownTable
from integrations.base import Column

MOST_PAIRS = 4_000
"""Above so many candidate pairs of one type nothing is assigned: they are all alike."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A column before and after, what says so, and how sure it is (0 to 1)."""

    before: Column
    after: Column
    evidence: str = "name"
    confidence: float = 1.0


@dataclass(frozen=True, slots=True)
class Unclear:
    """Columns of one type that went and came, of which nothing tells which is which."""

    dropped: tuple[Column, ...]
    added: tuple[Column, ...]
    type: str
    reason: str


@dataclass(frozen=True, slots=True)
class Assignment:
    """What became of a table's columns."""

    pairs: tuple[Pair, ...]
    dropped: tuple[Column, ...]
    added: tuple[Column, ...]
    unclear: tuple[Unclear, ...] = ()


def candidates(before: KnownTable, after: KnownTable) -> bool:
    """Would the content of the new columns help to tell which is which?"""
    _, dropped, added = settle(before, after)
    return bool({c.type for c in dropped} & {c.type for c in added})


def assign(before: KnownTable, after: KnownTable) -> Assignment:
    """Pair a table's columns; `after.content` is used where it is there."""
    pairs, dropped, added = settle(before, after)
    if not dropped or not added:
        return Assignment(tuple(pairs), tuple(dropped), tuple(added))
    table = _Surroundings.of(before, after, pairs)
    gone: list[Column] = []
    come: list[Column] = []
    unclear: list[Unclear] = []
    arrivals: dict[str, list[Column]] = defaultdict(list)
    for column in added:
        arrivals[column.type].append(column)
    departures: dict[str, list[Column]] = defaultdict(list)
    for column in dropped:
        departures[column.type].append(column)
    for type_ in dict.fromkeys([*departures, *arrivals]):
        group = _Group(type_, departures.get(type_, []), arrivals.get(type_, []))
        found = table.tell_apart(group)
        pairs.extend(found.pairs)
        gone.extend(found.dropped)
        come.extend(found.added)
        unclear.extend(found.unclear)
    return Assignment(tuple(pairs), tuple(gone), tuple(come), tuple(unclear))


def settle(before: KnownTable, after: KnownTable) -> tuple[list[Pair], list[Column], list[Column]]:
    """Pairs that need no guessing, and the columns that are left on both sides.

    A name that went on under a new identity beats the identity that moved to another name: whoever reads `x` reads
    the new `x`, and the old one beside it is an addition (add `x_new`, rename `x` to `x_old`, rename `x_new` to `x`).
    """
    pairs: list[Pair] = []
    left = {c.name: c for c in before.columns}
    right = {c.name: c for c in after.columns}
    if before.identity is not None and before.identity == after.identity:
        known = {c.identity for c in before.columns}
        by_identity = {c.identity: c for c in after.columns if c.identity is not None}
        for column in before.columns:
            now = None if column.identity is None else by_identity.get(column.identity)
            namesake = right.get(column.name)
            replaced = namesake is not None and namesake is not now and namesake.identity not in known
            if now is None or replaced or now.name not in right:
                continue
            evidence = "name" if now.name == column.name else "identity"
            pairs.append(Pair(column, now, evidence))
            del left[column.name], right[now.name]
    pairs.extend(Pair(left.pop(name), right.pop(name)) for name in list(left) if name in right)
    return pairs, list(left.values()), list(right.values())


@dataclass(frozen=True, slots=True)
class _Group:
    type: str
    dropped: Sequence[Column]
    added: Sequence[Column]

    @property
    def is_crowded(self) -> bool:
        """Did several go and several come?"""
        return len(self.dropped) > 1 and len(self.added) > 1


@dataclass(frozen=True, slots=True)
class _Surroundings:
    """What is needed to judge the columns of one table."""

    before: Mapping[str, Content]
    after: Mapping[str, Content]
    places_before: Mapping[str, int]
    places_after: Mapping[str, int]
    commonplace: frozenset[str]
    has_identities: bool
    verdicts: dict[tuple[str, str], Verdict] = field(default_factory=dict)

    @classmethod
    def of(cls, before: KnownTable, after: KnownTable, pairs: Sequence[Pair]) -> _Surroundings:
        everybody = [*(c.name for c in before.columns), *(c.name for c in after.columns)]
        return cls(
            before.content,
            after.content,
            _places(before.columns, {p.before.name for p in pairs}),
            _places(after.columns, {p.after.name for p in pairs}),
            names.common(set(everybody)),
            before.identity is not None and before.identity == after.identity,
        )

    def verdict(self, one: Column, other: Column) -> Verdict:
        key = (one.name, other.name)
        if key not in self.verdicts:
            self.verdicts[key] = judge(self.before.get(one.name), self.after.get(other.name), one.type)
        return self.verdicts[key]

    def affinity(self, one: Column, other: Column) -> float:
        return names.affinity(one.name, other.name, self.commonplace)

    def is_in_place(self, one: Column, other: Column) -> bool:
        """Does it stand after the same surviving column as before?"""
        return self.places_before[one.name] == self.places_after[other.name]

    def tell_apart(self, group: _Group) -> Assignment:
        dropped, added = tuple(group.dropped), tuple(group.added)
        if not dropped or not added:
            return Assignment((), dropped, added)
        if len(dropped) * len(added) > MOST_PAIRS:
            crowd = Unclear(dropped, added, group.type, "too many columns of one type changed at once")
            return Assignment((), (), (), (crowd,))
        possible = {
            d.name: [a for a in added if self.verdict(d, a) is not Verdict.DIFFERENT and self._is_likely(d, a)]
            for d in dropped
        }
        pairs: list[Pair] = []
        gone: list[Column] = []
        come: list[Column] = []
        doubted: list[tuple[list[Column], list[Column]]] = []
        for left, right in _components(dropped, added, possible):
            if not right:
                gone.extend(left)
            elif not left:
                come.extend(right)
            elif len(left) == len(right) == 1 and (pair := self._pair(left[0], right[0], group)):
                pairs.append(pair)
            elif self.has_identities:  # the engine says that they are others, and nothing gainsays it
                gone.extend(left)
                come.extend(right)
            else:
                doubted.append((left, right))
        if not doubted:
            return Assignment(tuple(pairs), tuple(gone), tuple(come))
        lost = tuple(d for left, _ in doubted for d in left)
        found = tuple(a for _, right in doubted for a in right)
        unclear = Unclear(lost, found, group.type, self._reason(lost, found))
        return Assignment(tuple(pairs), tuple(gone), tuple(come), (unclear,))

    def _is_likely(self, one: Column, other: Column) -> bool:
        """Is there anything but the type that speaks for the pair?"""
        if self.verdict(one, other) is Verdict.SAME:
            return True
        if self.has_identities:  # the engine says that they are not the same; only what they hold could object
            return False
        return self.is_in_place(one, other) or self.affinity(one, other) >= names.SUPPORT

    def _pair(self, one: Column, other: Column, group: _Group) -> Pair | None:
        """The rename, where content says so and place or names agree; among several, names must agree."""
        affinity = self.affinity(one, other)
        named = affinity >= names.SUPPORT
        if group.is_crowded:
            named = (
                named
                and all(self.affinity(one, a) < affinity for a in group.added if a is not other)
                and all(self.affinity(d, other) < affinity for d in group.dropped if d is not one)
            )
        placed = self.is_in_place(one, other) and not self.has_identities
        if self.verdict(one, other) is not Verdict.SAME or not (named or (placed and not group.is_crowded)):
            return None
        return Pair(one, other, "content", round(0.75 + 0.1 * placed + 0.1 * named, 2))

    def _reason(self, dropped: Sequence[Column], added: Sequence[Column]) -> str:
        verdicts = {self.verdict(d, a) for d in dropped for a in added}
        if verdicts == {Verdict.SILENT}:
            return "their contents could not be compared or say nothing"
        if len(dropped) > 1 or len(added) > 1:
            return "the contents or names of more than one column fit"
        return "the contents agree, but neither place nor name does"


def _places(columns: Sequence[Column], settled: set[str]) -> dict[str, int]:
    """How many settled columns stand before each column."""
    places, count = {}, 0
    for column in columns:
        places[column.name] = count
        count += column.name in settled
    return places


def _components(
    dropped: Sequence[Column], added: Sequence[Column], possible: Mapping[str, Iterable[Column]]
) -> Iterator[tuple[list[Column], list[Column]]]:
    """Columns that hang together through possible pairs, each with its likes."""
    group_of: dict[str, int] = {}
    members: dict[int, tuple[list[Column], list[Column]]] = {}
    arrivals: dict[str, int] = {}
    for number, column in enumerate(dropped):
        group_of[column.name] = number
        members[number] = ([column], [])
        for other in possible[column.name]:
            into = arrivals.get(other.name)
            mine = group_of[column.name]
            if into is None:
                arrivals[other.name] = mine
                members[mine][1].append(other)
            elif into != mine:
                for moved in members[mine][0]:
                    group_of[moved.name] = into
                for moved in members[mine][1]:
                    arrivals[moved.name] = into
                members[into][0].extend(members[mine][0])
                members[into][1].extend(members[mine][1])
                del members[mine]
    yield from members.values()
    yield from (([], [a]) for a in added if a.name not in arrivals)
