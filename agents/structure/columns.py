"""Which column of a table became which: by the engine's identity, by name, and for the rest by all that speaks for it.

What is left over is assigned as a whole, type by type: the best assignment (`assignment`) over content, names, place
and keys, of which only those pairs count that have enough going for them and clearly beat every other way. The rest
of what could belong together is unclear, and is told so: never guessed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from agents.structure.assignment import best
from agents.structure.known import KnownTable
from agents.structure.surroundings import Surroundings
from agents.structure.swaps import unswapped
from agents.structure.types import is_akin, normal
from integrations.base import Column

MOST_PAIRS = 4_000
"""Above so many candidate pairs of one type nothing is assigned: they are all alike."""
MARGIN = 100
"""By so many thousandths a pair must beat every other way: more than a place, less than a key or half a name."""

SWAPPED = 0.85


@dataclass(frozen=True, slots=True)
class Pair:
    """A column before and after, what says so, and how sure it is (0 to 1).

    `is_swapped`: both names were there before, and exchanged what they stand for.
    """

    before: Column
    after: Column
    evidence: str = "name"
    confidence: float = 1.0
    is_swapped: bool = False


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
    return any(is_akin(d.type, a.type) for d in dropped for a in added[:MOST_PAIRS])


def assign(before: KnownTable, after: KnownTable) -> Assignment:
    """Pair a table's columns; `after.content` is used where it is there."""
    pairs, dropped, added = settle(before, after)
    if before.content and after.content and not has_identities(before, after):
        crossed = unswapped([(p.before, p.after) for p in pairs], before.content, after.content)
        pairs = [
            Pair(p.before, crossed[p.before.name], "content", SWAPPED, is_swapped=True)
            if p.before.name in crossed
            else p
            for p in pairs
        ]
    if not dropped or not added:
        return Assignment(tuple(pairs), tuple(dropped), tuple(added))
    around = Surroundings.of(
        before, after, [(p.before, p.after) for p in pairs], has_identities=has_identities(before, after)
    )
    gone: list[Column] = []
    come: list[Column] = []
    unclear: list[Unclear] = []
    arrivals, departures = _by_type(added), _by_type(dropped)
    for type_ in dict.fromkeys([*departures, *arrivals]):
        found = _tell_apart(around, _Group(type_, departures.get(type_, []), arrivals.get(type_, [])))
        pairs.extend(found.pairs)
        gone.extend(found.dropped)
        come.extend(found.added)
        unclear.extend(found.unclear)
    retyped = _retyped(around, gone, come)
    pairs.extend(retyped)
    taken = {id(c) for p in retyped for c in (p.before, p.after)}
    return Assignment(
        tuple(pairs),
        tuple(c for c in gone if id(c) not in taken),
        tuple(c for c in come if id(c) not in taken),
        tuple(unclear),
    )


def has_identities(before: KnownTable, after: KnownTable) -> bool:
    """Is it the same table, of an engine that knows its columns by more than their names?"""
    same = before.identity is not None and before.identity == after.identity
    return same and any(c.identity is not None for c in before.columns)


def settle(before: KnownTable, after: KnownTable) -> tuple[list[Pair], list[Column], list[Column]]:
    """Pairs that need no guessing, and the columns that are left on both sides.

    A name that went on under a new identity beats the identity that moved to another name: whoever reads `x` reads
    the new `x`, and the old one beside it is an addition (add `x_new`, rename `x` to `x_old`, rename `x_new` to `x`).
    """
    pairs: list[Pair] = []
    left = {c.name: c for c in before.columns}
    right = {c.name: c for c in after.columns}
    if has_identities(before, after):
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


def _by_type(columns: Iterable[Column]) -> dict[str, list[Column]]:
    found: dict[str, list[Column]] = defaultdict(list)
    for column in columns:
        found[normal(column.type)].append(column)
    return found


@dataclass(frozen=True, slots=True)
class _Group:
    type: str
    dropped: Sequence[Column]
    added: Sequence[Column]

    @property
    def is_crowded(self) -> bool:
        """Did several go and several come?"""
        return len(self.dropped) > 1 and len(self.added) > 1


def _tell_apart(around: Surroundings, group: _Group) -> Assignment:
    dropped, added = tuple(group.dropped), tuple(group.added)
    if not dropped or not added:
        return Assignment((), dropped, added)
    if len(dropped) * len(added) > MOST_PAIRS:
        crowd = Unclear(dropped, added, group.type, "too many columns of one type changed at once")
        return Assignment((), (), (), (crowd,))
    scores = {
        (i, j): score
        for i, d in enumerate(dropped)
        for j, a in enumerate(added)
        if (score := around.score(d, a)) is not None
    }
    pairs: list[Pair] = []
    left, right = dict(enumerate(dropped)), dict(enumerate(added))
    for chosen in best(len(dropped), len(added), scores):
        one, other = dropped[chosen.row], added[chosen.column]
        sure = around.confidence(one, other, is_crowded=group.is_crowded)
        if sure is not None and chosen.margin >= MARGIN:
            pairs.append(Pair(one, other, around.evidence(one, other), sure))
            del left[chosen.row], right[chosen.column]
    open_ = [(i, j) for i, j in scores if i in left and j in right]
    if around.has_identities:  # the engine says that they are others, and nothing gainsays it
        open_ = []
    lost = tuple(column for i, column in left.items() if any(i == row for row, _ in open_))
    found = tuple(column for j, column in right.items() if any(j == place for _, place in open_))
    gone = tuple(column for column in left.values() if column not in lost)
    come = tuple(column for column in right.values() if column not in found)
    unclear = (Unclear(lost, found, group.type, around.reason(lost, found)),) if open_ else ()
    return Assignment(tuple(pairs), gone, come, unclear)


def _retyped(around: Surroundings, gone: Sequence[Column], come: Sequence[Column]) -> list[Pair]:
    """Renamed and retyped at once: only where name and content both say so."""
    if len(gone) * len(come) > MOST_PAIRS:
        return []
    scores = {
        (i, j): score
        for i, d in enumerate(gone)
        for j, a in enumerate(come)
        if normal(d.type) != normal(a.type) and is_akin(d.type, a.type) and (score := around.certain(d, a)) is not None
    }
    return [
        Pair(gone[c.row], come[c.column], "content", 0.8)
        for c in best(len(gone), len(come), scores)
        if c.margin >= MARGIN
    ]
