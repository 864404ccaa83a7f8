"""What stands changed in the warehouse, put together from what was observed about it.

Observations come one by one; a column renamed twice, or renamed and then dropped, is one change to whoever still
reads the old name. What was undone is left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from agents.pipeline_health.messages import Reading, mentions
from config.assets import Asset
from memory.records import JSON, Observation

CONFIDENT = 1.0
OWN_HAND = "dataswarm/"


@dataclass(frozen=True, slots=True)
class Drift:
    """A change that stands, in the names that readers still use.

    Attributes:
        cause: the cause class it makes: `column_renamed`, …
        source: the warehouse.
        table: the table's old path, `schema.table`.
        columns: the old names of the columns it concerns; empty for the table itself.
        payload: as a diagnosis of that cause carries it.
        observations: ids of what told it.
        at: when it was last told.
        confidence: of the observation, 0 to 1.
        planned_by: who announced it; empty where nobody did.
        planned: id of the announcement.
    """

    cause: str
    source: str
    table: str
    columns: tuple[str, ...]
    payload: Mapping[str, JSON]
    observations: tuple[int, ...]
    at: datetime
    confidence: float = 1.0
    planned_by: str = ""
    planned: int = 0

    @property
    def subject(self) -> Asset:
        """The root asset by its old name."""
        column = self.columns[0] if len(self.columns) == 1 else ""
        return Asset("warehouse", self.source, self.table, column)

    @property
    def is_announced(self) -> bool:
        """Did a human announce it?"""
        return bool(self.planned_by) and not self.planned_by.startswith(OWN_HAND)

    @property
    def is_own(self) -> bool:
        """Is it the swarm's own hand?"""
        return self.planned_by.startswith(OWN_HAND)

    def agreement(self, reading: Reading, message: str) -> float:
        """How well it explains an error text, 0 to 1 (1: the text names what went)."""
        if self.cause in ("table_renamed", "table_dropped"):
            return float(reading.misses_relation(self.table))
        if self.cause == "column_retyped":
            if not reading.is_type_trouble:
                return 0.0
            named = reading.names_type(str(self.payload["after"])) or reading.names_type(str(self.payload["before"]))
            return (0.8 if named else 0.6) + (0.15 if mentions(message, self.columns[0]) else 0.0)
        return float(any(reading.misses_column(column) for column in self.columns))


def standing(observations: Iterable[Observation]) -> list[Drift]:
    """The changes that stand, oldest first. The observations come in any order."""
    told = sorted(observations, key=lambda o: (o.at, o.id))
    undone = {o.payload.get("of") for o in told if o.kind == "schema.restored"}
    fold = _Fold()
    for observation in told:
        change = observation.payload.get("change")
        if change is None or change not in undone:
            fold.add(observation)
    return list(fold)


@dataclass(slots=True)
class _Fold:
    """Changes by (source, old table, today's name of the column; empty: the table)."""

    current: dict[tuple[str, str, str], Drift] = field(default_factory=dict)
    others: list[Drift] = field(default_factory=list)
    paths: dict[tuple[str, str], str] = field(default_factory=dict)

    def __iter__(self) -> Iterator[Drift]:
        yield from sorted([*self.current.values(), *self.others], key=lambda d: (d.at, d.observations))

    def add(self, observation: Observation) -> None:
        """Take one more observation into account; kinds that break no reader are passed over."""
        adders = {
            "schema.column_renamed": self._column_renamed,
            "schema.column_dropped": self._column_dropped,
            "schema.column_retyped": self._column_retyped,
            "schema.columns_ambiguous": self._ambiguous,
            "schema.table_renamed": self._table_renamed,
            "schema.table_dropped": self._table_dropped,
        }
        if add := adders.get(observation.kind):
            add(observation)

    def _drift(
        self, o: Observation, cause: str, table: str, columns: tuple[str, ...], payload: dict[str, JSON]
    ) -> Drift:
        explained = o.payload.get("explained_by") or {}
        return Drift(
            cause=cause,
            source=o.subject.source,
            table=table,
            columns=columns,
            payload=payload,
            observations=(o.id,),
            at=o.at,
            confidence=float(o.payload.get("confidence", CONFIDENT)),
            planned_by=str(explained.get("by", "")),
            planned=int(explained.get("planned", 0)),
        )

    def _root(self, o: Observation, path: str) -> str:
        return self.paths.get((o.subject.source, path), path)

    def _before(self, o: Observation, table: str, name: str) -> Drift | None:
        """The rename by which a column or table got the name that changed now."""
        found = self.current.get((o.subject.source, table, name))
        return found if found is not None and found.cause.endswith("_renamed") else None

    def _put(self, drift: Drift, name: str, earlier: Drift | None) -> None:
        if earlier is not None:
            del self.current[(drift.source, drift.table, str(earlier.payload["after"]))]
            drift = replace(
                drift,
                observations=(*earlier.observations, *drift.observations),
                confidence=min(earlier.confidence, drift.confidence),
            )
        self.current[(drift.source, drift.table, name)] = drift

    def _column_renamed(self, o: Observation) -> None:
        table, before, after = self._root(o, o.payload["table"]), o.payload["before"], o.payload["after"]
        earlier = self._before(o, table, before)
        first = earlier.columns[0] if earlier else before
        payload = {"table": table, "before": first, "after": after}
        if first == after and earlier is not None:  # all the way back
            del self.current[(o.subject.source, table, before)]
            return
        self._put(self._drift(o, "column_renamed", table, (first,), payload), after, earlier)

    def _column_dropped(self, o: Observation) -> None:
        table, column = self._root(o, o.payload["table"]), o.payload["column"]
        earlier = self._before(o, table, column)
        first = earlier.columns[0] if earlier else column
        self._put(self._drift(o, "column_dropped", table, (first,), {"table": table, "column": first}), first, earlier)

    def _column_retyped(self, o: Observation) -> None:
        table, column = self._root(o, o.payload["table"]), o.payload["column"]
        renamed = self._before(o, table, column)
        payload = {
            "table": table,
            "column": renamed.columns[0] if renamed else column,
            "before": o.payload["before"],
            "after": o.payload["after"],
            "castable": o.payload.get("castable"),
        }
        for earlier in [d for d in self.others if d.cause == "column_retyped" and d.table == table]:
            if earlier.source == o.subject.source and earlier.payload["column"] == payload["column"]:
                payload["before"] = earlier.payload["before"]
                self.others.remove(earlier)
        if payload["before"] != payload["after"]:
            self.others.append(self._drift(o, "column_retyped", table, (str(payload["column"]),), payload))

    def _ambiguous(self, o: Observation) -> None:
        table = self._root(o, o.payload["table"])
        names = {k: o.payload.get(k) for k in ("dropped", "added", "type")}
        dropped = tuple(o.payload["dropped"])
        self.others.append(self._drift(o, "columns_ambiguous", table, dropped, {"table": table, **names}))

    def _table_renamed(self, o: Observation) -> None:
        after = o.payload["after"]
        root = self._root(o, o.payload["before"])
        self.paths[(o.subject.source, after)] = root
        earlier = self.current.pop((o.subject.source, root, ""), None)
        if root == after:  # all the way back
            return
        drift = self._drift(o, "table_renamed", root, (), {"before": root, "after": after})
        if earlier is not None:
            drift = replace(drift, observations=(*earlier.observations, *drift.observations))
        self.current[(drift.source, root, "")] = drift

    def _table_dropped(self, o: Observation) -> None:
        root = self._root(o, o.payload["table"])
        self.current[(o.subject.source, root, "")] = self._drift(o, "table_dropped", root, (), {"table": root})
