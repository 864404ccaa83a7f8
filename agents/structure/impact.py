"""Who feels a change: what reads the column, everything made from it, whose that is, and how grave that makes it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from agents.structure.changes import Change
from agents.structure.meaning import Meaning
from agents.structure.pipelines import Pipelines, Place, Told, Use, place
from agents.structure.rules import Effect
from integrations.lineage import ROWS
from memory.records import Severity

__all__ = ["Impact", "Use", "Uses", "weigh"]

_MODELS: Final = ("model", "snapshot", "seed")
Following = Callable[[Change], frozenset[str]]
"""Which views go on when a change renames what they read, by their paths."""


@dataclass(frozen=True, slots=True)
class Impact:
    """What a change reaches, each sorted and named once.

    Attributes:
        models: models, snapshots and seeds, directly or through others.
        columns: columns made from it, `schema.table#column`.
        exposures: exposures that show what is made from it.
        owners: of all of these.
        last_used: the newest run of a pipeline among them, None where unknown.
        tests: tests that read the column or table itself.
        views: views of the warehouse that no pipeline makes, directly or through others.
        following: views that read what was renamed and go on, for they read it by its new name now; and what is
            reached through them alone. It is named and not counted as reached.
        is_whole: is all known that reads the source? Without, only the warehouse's own views are.
    """

    models: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    exposures: tuple[str, ...] = ()
    owners: tuple[str, ...] = ()
    last_used: datetime | None = None
    tests: tuple[str, ...] = ()
    views: tuple[str, ...] = ()
    following: tuple[str, ...] = ()
    is_whole: bool = True

    @property
    def is_used(self) -> bool:
        """Does anything read it that feels the change?"""
        return bool(self.models or self.columns or self.exposures or self.tests or self.views)


class Uses:
    """What pipelines and views read of warehouses; built once a look, asked for each change."""

    def __init__(self, told: Mapping[str, Sequence[Told]], following: Following | None = None) -> None:
        self._pipelines = {source: Pipelines.of(projects) for source, projects in told.items()}
        self._whole = {source for source, projects in told.items() if any(p.nodes for _, p, _ in projects)}
        self._following = following

    @classmethod
    def of(cls, projects: Sequence[Told], following: Following | None = None) -> Uses:
        """From pipelines as last parsed, each with the time of its newest run.

        The views of a warehouse go in as a project without nodes: each part of the lineage is a view then.
        """
        found: dict[str, list[Told]] = defaultdict(list)
        for lineage, project, last_run in projects:
            found[project.warehouse].append((lineage, project, last_run))
        return cls(found, following)

    def is_whole(self, source: str) -> bool:
        """Is any pipeline known that reads the source, and not only its own views?"""
        return source in self._whole

    def readers(self, source: str, table: str, column: str = ROWS) -> tuple[Use, ...]:
        """What reads the column (or the table) itself."""
        found = self._pipelines.get(source)
        return () if found is None else tuple(found.uses[name] for name in found.readers_of(place(table, column)))

    def impact(self, change: Change, source: str) -> Impact | None:
        """What a change reaches; None where nothing is known of who reads this source.

        Where its own views alone are known, and none of them reads it, nothing is known either.
        """
        pipelines = self._pipelines.get(source)
        if pipelines is None:
            return None
        places = list(_touched(change))
        going_on = self._following(change) if self._following is not None else frozenset()
        around = frozenset(path.casefold() for path in going_on) & pipelines.views
        uses, columns = pipelines.reached(places, around)
        following: set[str] = set()
        if around:
            everything, _ = pipelines.reached(places)
            following = {u.node for name, u in everything.items() if name not in uses}
        is_whole = source in self._whole
        if not is_whole and not uses and not following:
            return None
        runs = [u.last_run for u in uses.values() if u.last_run is not None]
        return Impact(
            _named(uses, *_MODELS),
            tuple(sorted(columns)),
            _named(uses, "exposure"),
            tuple(sorted({u.owner for u in uses.values() if u.owner})),
            max(runs, default=None),
            _named(uses, "test"),
            _named(uses, "view"),
            tuple(sorted(following)),
            is_whole,
        )


def _touched(change: Change) -> Iterator[Place]:
    """The columns a change is about; for a change of the whole table, the table."""
    payload = change.payload
    if change.column:
        yield place(change.table, change.column)
    elif change.kind.startswith(("enumeration", "sequence")):
        yield from (place(used["table"], used["column"]) for used in payload.get("used_by", ()))
    elif change.kind == "columns_ambiguous":
        yield from (place(change.table, name) for name in payload["dropped"])
    elif change.kind.startswith("constraint") and payload.get("columns"):
        yield from (place(change.table, name) for name in payload["columns"])
    else:
        yield place(change.table, ROWS)


def _named(uses: Mapping[str, Use], *kinds: str) -> tuple[str, ...]:
    return tuple(sorted({u.node for u in uses.values() if u.kind in kinds}))


_Weights = Mapping[Effect, tuple[Severity, float]]
_NOTE: Final = (Severity.INFO, 0.3)
_USED: Final[_Weights] = {
    Effect.COMPATIBLE: _NOTE,
    Effect.RISKY: (Severity.WARNING, 0.6),
    Effect.BREAKING: (Severity.ERROR, 0.8),
    Effect.DATA_LOSS: (Severity.ERROR, 0.8),
}
_UNKNOWN: Final[_Weights] = {
    Effect.COMPATIBLE: _NOTE,
    Effect.RISKY: _NOTE,
    Effect.BREAKING: (Severity.WARNING, 0.7),
    Effect.DATA_LOSS: (Severity.WARNING, 0.7),
}


def weigh(meaning: Meaning, impact: Impact | None) -> tuple[Severity, float]:
    """How grave a change is, and how important; never critical by itself.

    What nobody reads is a note, whatever its class. Lineage knows who reads, not who writes: that writers fail counts
    as a risk for those who read, who will wait for rows. Without any lineage (None, or that of views alone, none of
    which feels it) the readers' class alone decides.
    """
    if impact is None or not (impact.is_used or impact.is_whole):
        return _UNKNOWN[meaning.readers]
    if not impact.is_used:
        return _NOTE
    writers = Effect.RISKY if meaning.writers.rank > Effect.RISKY.rank else meaning.writers
    return _USED[max(meaning.readers, writers, key=lambda effect: effect.rank)]
