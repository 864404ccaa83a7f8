"""Looking into tables within bounds: which are due, and what their columns hold."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from agents.structure.known import Content, KnownTable, Sketched
from config.errors import SwarmError
from integrations.base import Warehouse

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


def due(tables: Iterable[KnownTable], bounds: Bounds, now: datetime) -> list[KnownTable]:
    """Tables whose sketch is missing or old, most urgent first."""
    wanted = [(rank, t) for t in tables if bounds.covers(t) and (rank := _urgency(t, bounds, now)) is not None]
    return [t for _, t in sorted(wanted, key=lambda pair: (pair[0], pair[1].path))]


def _urgency(table: KnownTable, bounds: Bounds, now: datetime) -> tuple[int, datetime] | None:
    sketched = table.sketched
    if sketched is None:
        return 0, now
    if not sketched.possible:
        return None
    age = now - sketched.at
    if sketched.estimate != table.rows and age >= bounds.every / 50:
        return 1, sketched.at
    return (2, sketched.at) if age >= bounds.every else None


async def look_into(warehouse: Warehouse, table: KnownTable, bounds: Bounds, now: datetime) -> KnownTable | None:
    """The table with what its columns hold; None where that could not be learnt just now.

    A refusal for good (rights, say) is remembered, so that it is not asked for again until the table changes.
    """
    try:
        async with asyncio.timeout(bounds.seconds):
            profile = await warehouse.profile(table.path, sketch=bounds.size)
    except TimeoutError:
        return None
    except SwarmError as error:
        if error.retryable:
            return None
        return replace(table, sketched=Sketched(now, table.rows, {}, possible=False))
    content = {
        name: Content(
            rows=profile.rows,
            nulls=column.nulls,
            distinct=-1 if column.distinct is None else column.distinct,
            sketch=tuple(h[:_HASH_CHARACTERS] for h in column.sketch),
            size=bounds.size,
        )
        for name, column in profile.columns.items()
        if profile.exact
    }
    return replace(table, sketched=Sketched(now, table.rows, content))


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
