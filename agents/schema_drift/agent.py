"""The agent: compares the catalog with what it knew, and says exactly what changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import structlog
from pydantic import BaseModel, ConfigDict, Field

from agents.base import Agent
from agents.context import Context
from agents.schema_drift.baseline import Known, dump, parse
from agents.schema_drift.casting import castability
from agents.schema_drift.looking import Bounds, due, inherited, look_into
from agents.schema_drift.telling import KINDS, tell
from agents.structure import columns, tables
from agents.structure.changes import Change
from agents.structure.difference import difference, of_table
from agents.structure.known import KnownTable, is_skipped, tables_of
from agents.structure.tables import TablePair
from agents.verdicts import Sensed
from config.errors import SwarmError
from integrations.base import Catalog, Integration, Warehouse
from memory.records import JSON, NewObservation

log = structlog.get_logger(__name__)
_MOST_GONE = 200
_PATIENCE = 3


class SchemaDriftOptions(BaseModel):
    """What can be tuned.

    Attributes:
        skip: shell patterns over `schema.table` that are not looked at: the swarm's own schemas, and what a dbt run
            puts up for moments.
        sketch_size: hashes kept a column; 0 keeps none, and then a table made anew is compared by names alone.
        sketch_columns: tables with more columns are not sketched.
        sketch_rows: tables with more rows, by the engine's estimate, are not sketched.
        sketch_minutes: a sketch older than this is taken again.
        tables_per_look: tables sketched in one look at most.
        table_seconds: longest time spent on one table.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    skip: tuple[str, ...] = ("dataswarm.*", "dataswarm_scratch*.*", "*__dbt_tmp*", "*__dbt_backup*")
    sketch_size: int = Field(default=48, ge=0, le=1000)
    sketch_columns: int = Field(default=100, ge=0)
    sketch_rows: int = Field(default=200_000, ge=0)
    sketch_minutes: float = Field(default=15.0, gt=0)
    tables_per_look: int = Field(default=10, ge=0)
    table_seconds: float = Field(default=5.0, gt=0)

    @property
    def bounds(self) -> Bounds:
        """How much a look may look into."""
        return Bounds(
            columns=self.sketch_columns,
            rows=self.sketch_rows,
            size=self.sketch_size,
            looks=self.tables_per_look if self.sketch_size else 0,
            seconds=self.table_seconds,
            every=timedelta(minutes=self.sketch_minutes),
        )


class SchemaDrift(Agent):
    """Watches the structure of warehouses. It senses and tells; what a change means is for others to say."""

    name = "schema-drift"
    senses = (Warehouse,)
    every_seconds = 60.0
    publishes = KINDS
    Options = SchemaDriftOptions

    async def sense(self, source: Integration, baseline: JSON, context: Context) -> Sensed:
        """Compare the catalog with the baseline; the first look only makes one."""
        assert isinstance(source, Warehouse)  # noqa: S101 - `senses` says so
        catalog = await source.catalog()
        seen = tables_of(catalog, self.options.skip)
        known = parse(baseline)
        look = _Look(source, self.options.bounds, context.now)
        if known is None:
            if baseline is not None:
                log.warning("drift.baseline_taken_anew", source=source.name)
            fresh = await look.refresh(seen)
            return Sensed(baseline=dump(Known(0, catalog.fingerprint, fresh, invisible=catalog.invisible)))
        hidden = {p: t for p, t in known.tables.items() if t.schema in catalog.invisible}
        if catalog.fingerprint == known.fingerprint:
            carried = {path: replace(known.tables.get(path, t), rows=t.rows) for path, t in seen.items()}
            refreshed = await look.refresh(carried)
            return Sensed(baseline=dump(replace(known, tables={**refreshed, **hidden})))
        before = _comparable(known, catalog, seen, self.options.skip)
        returned = _returned(known, before, seen)
        after = await look.gather_evidence(before, seen, returned)
        changes = difference(before, after)
        for path, table in returned.items():
            changes.extend(of_table(table, after[path]))
        changes = [await look.with_castability(c, after) for c in changes]
        told = tell(
            source.name,
            changes,
            serial=known.serial,
            tables={**after, **hidden},
            open_=known.open,
            planned=await context.planned_changes() if changes else (),
        )
        settled = _settled(before, after, changes)
        gone = {**known.gone, **{p: t for p, t in before.items() if p not in after}}
        now_known = Known(
            serial=known.serial + bool(told.observations),
            fingerprint="" if any(t.postponed for t in settled.values()) else catalog.fingerprint,
            tables={**await look.refresh(settled), **hidden},
            gone=dict([(p, t) for p, t in gone.items() if p not in after][-_MOST_GONE:]),
            open=told.open,
            invisible=catalog.invisible,
        )
        return Sensed(await _of_sources(told.observations, context), dump(now_known))


async def _of_sources(observations: Sequence[NewObservation], context: Context) -> tuple[NewObservation, ...]:
    """Without what a pipeline builds itself: that comes and goes with every build, and its breakage is the run's."""
    wholes = {o.subject.whole for o in observations}
    built = {w for w in wholes if any(a.scheme != w.scheme for a in await context.upstream(w))}
    return tuple(o for o in observations if o.subject.whole not in built)


def _comparable(
    known: Known, catalog: Catalog, seen: Mapping[str, KnownTable], skip: Sequence[str]
) -> dict[str, KnownTable]:
    """What was known, as far as it can be compared: nothing of a schema that cannot be seen now.

    A schema seen for the first time is taken as it is: its tables are not new, only visible now.
    """
    before = {p: t for p, t in known.tables.items() if t.schema not in catalog.invisible and not is_skipped(p, skip)}
    first_seen = {s for s in known.invisible if not any(t.schema == s for t in known.tables.values())}
    return before | {p: t for p, t in seen.items() if p not in before and t.schema in first_seen}


def _returned(known: Known, before: Mapping[str, KnownTable], seen: Mapping[str, KnownTable]) -> dict[str, KnownTable]:
    """Tables that bore a name which is taken again by another one, as they last were.

    So a drop in one look and a re-creation in the next tell the same as both in one look.
    """
    return {
        path: known.gone[path]
        for path, table in seen.items()
        if path in known.gone
        and path not in before
        and (table.identity is None or table.identity != known.gone[path].identity)
    }


def _settled(
    before: Mapping[str, KnownTable], after: Mapping[str, KnownTable], changes: Sequence[Change]
) -> dict[str, KnownTable]:
    """The tables as they are known from now on, with what is still known of their content."""
    origin = {c.payload["after"]: c.table for c in changes if c.kind == "table_renamed"}
    renamed: dict[str, dict[str, str]] = {}
    for change in changes:
        if change.kind == "column_renamed":
            renamed.setdefault(change.table, {})[change.payload["after"]] = change.column
    settled = {}
    for path, table in after.items():
        old = before.get(origin.get(path, path))
        if table.sketched is None and old is not None:
            table = replace(table, sketched=inherited(old, table, renamed.get(old.path, {})))  # noqa: PLW2901 - completed
        settled[path] = table
    return settled


class _Look:
    """One look: how many tables it may still look into."""

    def __init__(self, warehouse: Warehouse, bounds: Bounds, now: datetime) -> None:
        self.warehouse = warehouse
        self.bounds = bounds
        self.now = now
        self.left = bounds.looks

    async def refresh(self, known: Mapping[str, KnownTable]) -> dict[str, KnownTable]:
        """Take the sketches that are due, as far as the bounds allow."""
        tables_ = dict(known)
        for table in due([t for t in known.values() if not t.postponed], self.bounds, self.now):
            if self.left <= 0:
                break
            self.left -= 1
            if looked := await look_into(self.warehouse, table, self.bounds, self.now):
                tables_[table.path] = looked
        return tables_

    async def gather_evidence(
        self,
        before: Mapping[str, KnownTable],
        seen: Mapping[str, KnownTable],
        returned: Mapping[str, KnownTable],
    ) -> dict[str, KnownTable]:
        """Look into tables of which only the content can tell what became of them.

        Where it cannot be learnt just now (a lock, a slow server), the judgement on that table is put off: it stays
        as it was known, for a few looks.
        """
        after = dict(seen)
        matched = tables.settle(before, seen)
        for table in tables.candidates(matched.dropped, matched.added):
            after[table.path] = await self._look(table) or table
        again = [TablePair(table, seen[path], "returned") for path, table in returned.items()]
        for pair in (*matched.pairs, *again):
            if not pair.before.content or not columns.candidates(pair.before, pair.after):
                continue
            looked = await self._look(pair.after) if self.bounds.covers(pair.after) else pair.after
            if looked is not None:
                after[looked.path] = looked
            elif pair.evidence == "path" and pair.before.postponed < _PATIENCE:
                after[pair.before.path] = replace(pair.before, postponed=pair.before.postponed + 1)
        return after

    async def _look(self, table: KnownTable) -> KnownTable | None:
        if not self.bounds.covers(table):
            return table
        if self.left <= 0:
            return None
        self.left -= 1
        return await look_into(self.warehouse, table, self.bounds, self.now)

    async def with_castability(self, change: Change, after: Mapping[str, KnownTable]) -> Change:
        """A retyped column with the answer to whether its values can still be read as what they were."""
        if change.kind != "column_retyped" or change.arrives is None:
            return change
        path, column = change.arrives
        table = after[path]
        try:
            found = await castability(
                self.warehouse,
                (table.schema, table.name),
                column,
                change.payload["before"],
                change.payload["after"],
            )
        except SwarmError as error:
            log.info("drift.castability_unknown", source=self.warehouse.name, problem=error.message)
            found = None
        answer = {
            "castable": found.castable if found else None,
            "rejected": found.rejected if found else None,
            "rows": found.rows if found else None,
        }
        return replace(change, payload={**change.payload, **answer})
