"""Looking into tables within bounds: which are due, and what their columns hold."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from agents.schema_drift.baseline import SEEN, SKETCH, Seen, seen_part, sketch_part
from agents.structure.known import Content, KnownTable, Sketched
from config.errors import SwarmError
from integrations.base import Warehouse
from memory.records import JSON

_HASH_CHARACTERS = 12
_KINDS = ("table", "materialized view")
_MOVED = -2
"""A row estimate that no engine gives."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much may be looked into.

    Attributes:
        columns: tables with more are left out.
        rows: tables with more (by the engine's estimate) are left out.
        size: hashes a column.
        looks: tables a look at most, changed ones included.
        seconds: for one table.
        every: a sketch older than this is taken again; one whose row estimate moved after a fiftieth of it.
    """

    columns: int
    rows: int
    size: int
    looks: int
    seconds: float
    every: timedelta

    def covers(self, table: KnownTable) -> bool:
        """May it be looked into?"""
        return (
            table.kind in _KINDS
            and 0 < len(table.columns) <= self.columns
            and table.rows <= self.rows
            and self.looks > 0
        )


@dataclass(slots=True)
class Sketches:
    """What is known of when tables were looked into, and what of it changed in this look.

    `seen` has every table that may be looked into, by path; `parts` are those to write.
    """

    seen: dict[str, Seen] = field(default_factory=dict)
    parts: dict[str, JSON | None] = field(default_factory=dict)

    def put(self, path: str, sketched: Sketched) -> None:
        """A table was looked into, or what was known of it holds on."""
        self.expect(path, Seen(sketched.at, sketched.estimate, sketched.possible))
        self.parts[SKETCH + path] = sketch_part(sketched)

    def expect(self, path: str, seen: Seen) -> None:
        """A table may be looked into from now on."""
        self.seen[path] = seen
        self.parts[SEEN + path] = seen_part(seen)

    def drop(self, path: str) -> None:
        """Nothing of a table's content is known any more, or to be known."""
        self.seen.pop(path, None)
        self.parts |= {SEEN + path: None, SKETCH + path: None}

    def due_at(self, bounds: Bounds, now: datetime) -> datetime | None:
        """When the next one is to be looked into."""
        if bounds.looks <= 0:
            return None
        times = (now if one.at is None else one.at + bounds.every for one in self.seen.values() if one.possible)
        return min(times, default=None)


def due(seen: Mapping[str, Seen], rows: Mapping[str, int], bounds: Bounds, now: datetime) -> list[str]:
    """Tables whose sketch is missing or old, most urgent first. `rows`: the engine's estimates of now, where known."""
    wanted = []
    for path, one in seen.items():
        urgency = _urgency(one, rows.get(path, one.estimate), bounds, now)
        if urgency is not None:
            wanted.append((urgency, path))
    return [path for _, path in sorted(wanted)]


def _urgency(seen: Seen, rows: int, bounds: Bounds, now: datetime) -> tuple[int, datetime] | None:
    if seen.at is None:
        return 0, now
    if not seen.possible:
        return None
    age = now - seen.at
    if seen.estimate != rows and age >= bounds.every / 50:
        return 1, seen.at
    return (2, seen.at) if age >= bounds.every else None


@dataclass(slots=True)
class Look:
    """One look: how many tables it may still look into. Without a warehouse there is nothing to look into."""

    warehouse: Warehouse | None
    bounds: Bounds
    now: datetime
    left: int = field(init=False)

    def __post_init__(self) -> None:
        self.left = self.bounds.looks if self.warehouse is not None else 0

    async def refresh(self, sketches: Sketches, rows: Mapping[str, int], postponed: Iterable[str] = ()) -> None:
        """Take the sketches that are due, as far as the bounds allow."""
        waiting = set(postponed)
        for path in due(sketches.seen, rows, self.bounds, self.now):
            if self.left <= 0:
                return
            if path in waiting:
                continue
            estimate = rows.get(path, sketches.seen[path].estimate)
            if (sketched := await self._into(path, estimate)) is not None:
                sketches.put(path, sketched)

    async def into(self, table: KnownTable) -> KnownTable | None:
        """The table with what its columns hold; as it is where that is not to be known, None where not just now."""
        if self.warehouse is None or not self.bounds.covers(table):
            return table
        if self.left <= 0:
            return None
        sketched = await self._into(table.path, table.rows)
        return None if sketched is None else replace(table, sketched=sketched)

    async def _into(self, path: str, estimate: int) -> Sketched | None:
        """What the columns hold; None where that could not be learnt just now.

        A refusal for good (rights, say) is remembered, so that it is not asked for again until the table changes.
        """
        assert self.warehouse is not None  # noqa: S101 - nothing is left to look into without one
        self.left -= 1
        try:
            async with asyncio.timeout(self.bounds.seconds):
                profile = await self.warehouse.profile(path, sketch=self.bounds.size)
        except TimeoutError:
            return None
        except SwarmError as error:
            return None if error.retryable else Sketched(self.now, estimate, {}, possible=False)
        content = {
            name: Content(
                rows=profile.rows,
                nulls=column.nulls,
                distinct=-1 if column.distinct is None else column.distinct,
                sketch=tuple(h[:_HASH_CHARACTERS] for h in column.sketch),
                size=self.bounds.size,
            )
            for name, column in profile.columns.items()
            if profile.exact
        }
        return Sketched(self.now, estimate, content)


def inherited(before: KnownTable, after: KnownTable, renamed: Mapping[str, str]) -> Sketched | None:
    """What is still known of a table's content after a change; nothing of one made anew in another shape.

    One made anew as it was (a full refresh) likely holds the same: what is known stays, as if its rows had moved, so
    that tables rebuilt every hour do not crowd out those that were never looked into. `renamed` maps today's column
    names to those of before.
    """
    if before.sketched is None:
        return None
    if before.identity is None or before.identity != after.identity:
        return replace(before.sketched, estimate=_MOVED, possible=True) if _alike(before, after) else None
    content = {
        c.name: before.content[renamed.get(c.name, c.name)]
        for c in after.columns
        if renamed.get(c.name, c.name) in before.content
    }
    return replace(
        before.sketched, content=content, possible=before.columns != after.columns or before.sketched.possible
    )


def _alike(before: KnownTable, after: KnownTable) -> bool:
    return {(c.name, c.type) for c in before.columns} == {(c.name, c.type) for c in after.columns}
