"""Which table became which: by path, by the engine's identity, and for the rest by what they hold."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from agents.structure.evidence import Verdict, judge
from agents.structure.known import KnownTable
from agents.structure.types import normal

_ENOUGH = 0.8
"""Share of the columns that tell anything which must agree."""


@dataclass(frozen=True, slots=True)
class TablePair:
    """A table before and after, and what says that it is the same one (`path`, `identity`, `content`)."""

    before: KnownTable
    after: KnownTable
    evidence: str = "path"
    confidence: float = 1.0


@dataclass(frozen=True, slots=True)
class Matched:
    """What became of the tables."""

    pairs: tuple[TablePair, ...]
    dropped: tuple[KnownTable, ...]
    added: tuple[KnownTable, ...]


def settle(before: Mapping[str, KnownTable], after: Mapping[str, KnownTable]) -> Matched:
    """Pairs that need no guessing. A path that goes on is the same table to whoever reads it, even made anew."""
    pairs = [TablePair(table, after[path]) for path, table in before.items() if path in after]
    gone = [t for path, t in before.items() if path not in after]
    come = {path: t for path, t in after.items() if path not in before}
    by_identity = {t.identity: t for t in come.values() if t.identity is not None}
    dropped = []
    for table in gone:
        now = None if table.identity is None else by_identity.pop(table.identity, None)
        if now is None:
            dropped.append(table)
        else:
            pairs.append(TablePair(table, now, "identity"))
            del come[now.path]
    return Matched(tuple(pairs), tuple(dropped), tuple(come.values()))


def candidates(dropped: Sequence[KnownTable], added: Sequence[KnownTable]) -> list[KnownTable]:
    """The new tables that look like one of the dropped ones, and whose content would tell."""
    shapes = {_shape(t) for t in dropped if t.content}
    return [t for t in added if _shape(t) in shapes]


def match(before: Mapping[str, KnownTable], after: Mapping[str, KnownTable]) -> Matched:
    """Pair the tables; content decides only where exactly one went and exactly one came that agree."""
    settled = settle(before, after)
    by_shape: dict[object, list[KnownTable]] = defaultdict(list)
    for table in settled.added:
        by_shape[_shape(table)].append(table)
    fits = {t.path: [a for a in by_shape[_shape(t)] if holds_the_same(t, a)] for t in settled.dropped}
    wanted: dict[str, int] = defaultdict(int)
    for found in fits.values():
        for table in found:
            wanted[table.path] += 1
    pairs, dropped, taken = list(settled.pairs), [], set()
    for table in settled.dropped:
        found = fits[table.path]
        if len(found) == 1 and wanted[found[0].path] == 1:
            pairs.append(TablePair(table, found[0], "content", 0.9))
            taken.add(found[0].path)
        else:
            dropped.append(table)
    return Matched(tuple(pairs), tuple(dropped), tuple(t for t in settled.added if t.path not in taken))


def holds_the_same(before: KnownTable, after: KnownTable) -> bool:
    """Do the columns that tell anything agree, four in five of them, and none of them less than one?"""
    verdicts = [judge(before.content.get(c.name), after.content.get(c.name), c.type) for c in before.columns]
    telling = [v for v in verdicts if v is not Verdict.SILENT]
    return bool(telling) and telling.count(Verdict.SAME) >= _ENOUGH * len(telling)


def _shape(table: KnownTable) -> frozenset[tuple[str, str]]:
    return frozenset((c.name, normal(c.type)) for c in table.columns)
