"""Two sides compared: each change with its class, its rule and whom it reaches, table by table, the worst first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from agents.structure.changes import Change
from agents.structure.difference import difference
from agents.structure.impact import Impact, Uses, weigh
from agents.structure.meaning import Effect, Meaning, Override, meaning
from dataswarm.drifting.sides import Side, comparable

NEVER: Final = "never"
LEVELS: Final = ("breaking", "risky", "data_loss", NEVER)


@dataclass(frozen=True, slots=True)
class Weighed:
    """A change with what it means and whom it reaches (`impact` None: no lineage is known)."""

    change: Change
    meaning: Meaning
    impact: Impact | None
    severity: str
    importance: float

    @property
    def worst(self) -> Effect:
        """The graver class of readers and writers."""
        return self.meaning.worst


@dataclass(frozen=True, slots=True)
class TableChanges:
    """What changed in one table, worst first."""

    table: str
    changes: tuple[Weighed, ...]

    @property
    def worst(self) -> Effect:
        """The gravest of them."""
        return max((w.worst for w in self.changes), key=lambda e: e.rank)


@dataclass(frozen=True, slots=True)
class Comparison:
    """All of it. `source` is the name under which lineage and overrides know the relations.

    `has_lineage`: are pipelines known that read it, and not its own views alone?
    """

    before: Side
    after: Side
    source: str
    tables: tuple[TableChanges, ...]
    not_visible: tuple[str, ...] = ()
    has_lineage: bool = False

    @property
    def changes(self) -> tuple[Weighed, ...]:
        """Of all tables, in their order."""
        return tuple(w for table in self.tables for w in table.changes)

    @property
    def worst(self) -> Effect | None:
        """The gravest class of all, None where nothing changed."""
        return max((w.worst for w in self.changes), key=lambda e: e.rank, default=None)

    def fails(self, level: str) -> bool:
        """Is there a change of this class or a graver one?"""
        return level != NEVER and any(w.worst.rank >= Effect(level).rank for w in self.changes)


def compare(
    before: Side, after: Side, *, source: str = "", uses: Uses | None = None, overrides: Sequence[Override] = ()
) -> Comparison:
    """What it means to go from one side to the other."""
    was, now = comparable(before, after)
    grouped: dict[str, list[Weighed]] = {}
    for change in difference(was, now):
        found = meaning(change, overrides, source=source)
        impact = uses.impact(change, source) if uses is not None else None
        severity, importance = weigh(found, impact)
        grouped.setdefault(change.table, []).append(Weighed(change, found, impact, severity.value, importance))
    tables = [TableChanges(table, tuple(sorted(found, key=_order))) for table, found in grouped.items()]
    return Comparison(
        before=before,
        after=after,
        source=source,
        tables=tuple(sorted(tables, key=lambda t: (-t.worst.rank, -_reach(t.changes), t.table))),
        not_visible=now.invisible,
        has_lineage=uses is not None and uses.is_whole(source),
    )


def _order(weighed: Weighed) -> tuple[int, float, str]:
    return -weighed.worst.rank, -weighed.importance, weighed.change.name


def _reach(changes: Sequence[Weighed]) -> int:
    return max(
        (len(w.impact.models) + len(w.impact.views) + len(w.impact.exposures) for w in changes if w.impact), default=0
    )
