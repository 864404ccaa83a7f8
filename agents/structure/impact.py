"""Who feels a change: what reads the column, everything made from it, whose that is, and how grave that makes it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from agents.structure.changes import Change
from agents.structure.meaning import Meaning
from agents.structure.pipelines import Pipeline, Place, Use, place
from agents.structure.rules import Effect
from integrations.base import Project
from integrations.lineage import ROWS, ProjectLineage
from memory.records import Severity

__all__ = ["Impact", "Use", "Uses", "weigh"]

_MODELS: Final = ("model", "snapshot", "seed", "view")


@dataclass(frozen=True, slots=True)
class Impact:
    """What a change reaches, each sorted and named once.

    Attributes:
        models: models, snapshots and views, directly or through others.
        columns: columns made from it, `schema.table#column`.
        exposures: exposures that show what is made from it.
        owners: of all of these.
        last_used: the newest run of a pipeline among them, None where unknown.
        tests: tests that read the column or table itself.
    """

    models: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    exposures: tuple[str, ...] = ()
    owners: tuple[str, ...] = ()
    last_used: datetime | None = None
    tests: tuple[str, ...] = ()

    @property
    def is_used(self) -> bool:
        """Does anything read it?"""
        return bool(self.models or self.columns or self.exposures or self.tests)


class Uses:
    """What pipelines and views read of warehouses; built once a look, asked for each change."""

    def __init__(self, pipelines: Mapping[str, Sequence[Pipeline]]) -> None:
        self._pipelines = pipelines

    @classmethod
    def of(cls, projects: Sequence[tuple[ProjectLineage, Project, datetime | None]]) -> Uses:
        """From pipelines as last parsed, each with the time of its newest run.

        The views of a warehouse go in as a project without nodes: each part of the lineage is a view then.
        """
        found: dict[str, list[Pipeline]] = defaultdict(list)
        for lineage, project, last_run in projects:
            found[project.warehouse].append(Pipeline.of(lineage, project, last_run))
        return cls(found)

    def readers(self, source: str, table: str, column: str = ROWS) -> tuple[Use, ...]:
        """What reads the column (or the table) itself."""
        where = place(table, column)
        return tuple(p.uses[name] for p in self._pipelines.get(source, ()) for name in p.readers_of(where))

    def impact(self, change: Change, source: str) -> Impact | None:
        """What a change reaches; None where nothing is known of who reads this source."""
        pipelines = self._pipelines.get(source)
        if not pipelines:
            return None
        uses: dict[str, Use] = {}
        columns: set[str] = set()
        places = list(_touched(change))
        for pipeline in pipelines:
            reached, through = pipeline.reached(places)
            uses |= reached
            columns |= through
        runs = [u.last_run for u in uses.values() if u.last_run is not None]
        return Impact(
            _named(uses, *_MODELS),
            tuple(sorted(columns)),
            _named(uses, "exposure"),
            tuple(sorted({u.owner for u in uses.values() if u.owner})),
            max(runs, default=None),
            _named(uses, "test"),
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
    return tuple(sorted(u.node for u in uses.values() if u.kind in kinds))


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
    as a risk for those who read, who will wait for rows. Without any lineage (None) the readers' class alone decides.
    """
    if impact is None:
        return _UNKNOWN[meaning.readers]
    if not impact.is_used:
        return _NOTE
    writers = Effect.RISKY if meaning.writers.rank > Effect.RISKY.rank else meaning.writers
    return _USED[max(meaning.readers, writers, key=lambda effect: effect.rank)]
