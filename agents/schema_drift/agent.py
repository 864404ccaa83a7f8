"""The agent: compares the catalog with what it knew, and says exactly what changed and whom it reaches."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Final

import structlog
from pydantic import BaseModel

from agents.base import Agent
from agents.context import Context
from agents.schema_drift import evidence, retaking
from agents.schema_drift.baseline import (
    GONE,
    RETAKEN,
    SEEN,
    VIEWS,
    Head,
    OpenChange,
    Seen,
    beside,
    dump,
    gone_part,
    parse,
    read_seen,
    table_part,
)
from agents.schema_drift.comparing import Compared, compared
from agents.schema_drift.looking import Bounds, Look, Sketches, inherited
from agents.schema_drift.options import SchemaDriftOptions
from agents.schema_drift.reach import MOST_ASKED, Reach
from agents.schema_drift.telling import KINDS, Weighed, calmed, tell
from agents.schema_drift.views import Views, dialect_of
from agents.structure.changes import Change
from agents.structure.difference import difference, of_table
from agents.structure.known import KnownTable, Structure, structure_of
from agents.structure.meaning import meaning
from agents.structure.parts import TABLE
from agents.verdicts import Sensed
from config.assets import Asset
from config.errors import SourceError
from integrations.base import Catalog, Fingerprinted, Integration, Structured, Warehouse
from memory.board.baselines import PASSING, SECRET
from memory.records import JSON, Fact, NewObservation

log = structlog.get_logger(__name__)
ACCEPTED: Final = "drift.accepted"
"""The fact, about what a change concerns, that it is to stay: its key, or a list of keys."""
_MOST_GONE: Final = 200


class SchemaDrift(Agent):
    """Watches the structure of whatever has tables. It senses and tells; what to do about it is for others to say."""

    name = "schema-drift"
    senses = (Structured,)
    every_seconds = 60.0
    publishes = KINDS
    Options = SchemaDriftOptions

    def __init__(self, options: BaseModel | None = None) -> None:
        super().__init__(options)
        self._views: dict[str, Views] = {}

    async def sense(self, source: Integration, baseline: JSON, context: Context) -> Sensed:
        """Compare the catalog with the baseline; the first look only makes one."""
        assert isinstance(source, Structured)  # noqa: S101 - `senses` says so
        warehouse = source if isinstance(source, Warehouse) else None
        look = Look(warehouse, self.options.bounds, context.now)
        one = _OneLook(source, look, context, self.options, self._views_of(source))
        head = parse(baseline)
        wish = await retaking.wish(context, source.name)
        is_retaken = head is not None and retaking.is_new(wish, head)
        # Before the catalog: what changes in between is then seen at the next look, never missed.
        mark = await source.fingerprint() if isinstance(source, Fingerprinted) else ""
        if head is not None and not is_retaken and one.is_quiet(head, mark):
            return await one.refreshed(head, {})
        catalog = await source.catalog()
        if head is not None and not is_retaken and one.is_same(head, catalog):
            rows = {table.path: table.rows for table in catalog.tables}
            return await one.refreshed(one.marked(head, mark), rows)
        structure = await asyncio.to_thread(structure_of, catalog, self.options.skip)
        if head is not None and not is_retaken:
            try:
                return await one.compare(head, mark, catalog, structure)
            except SourceError as error:
                log.warning("drift.baseline_misread", source=source.name, problem=error.message)
                head = None
        if baseline is not None and head is None:
            log.warning("drift.baseline_taken_anew", source=source.name)
        return await one.taken(mark, catalog, structure, wish, head)

    def _views_of(self, source: Structured) -> Views:
        """What is known of the source's views, from look to look."""
        known, dialect = self._views.get(source.name), dialect_of(source)
        if known is None or known.dialect != dialect:
            known = self._views[source.name] = Views(source.name, dialect)
        return known


class _OneLook:
    """One look at one source."""

    def __init__(
        self, source: Structured, look: Look, context: Context, options: SchemaDriftOptions, views: Views
    ) -> None:
        self.source = source
        self.look = look
        self.context = context
        self.options = options
        self.views = views
        self.reach = Reach(source.name, context)

    def is_quiet(self, head: Head, mark: str) -> bool:
        """Did nothing change, by the cheap fingerprint alone?"""
        whole = timedelta(minutes=self.options.whole_minutes)
        is_young = head.whole_at is not None and self.context.now - head.whole_at < whole
        return bool(mark) and mark == head.mark and head.options == self.options.digest and is_young

    def is_same(self, head: Head, catalog: Catalog) -> bool:
        """Is the catalog as it was, and was all told of it that is told today?"""
        seen = head.fingerprint, head.options, head.views
        return seen == (catalog.fingerprint, self.options.digest, VIEWS)

    def marked(self, head: Head, mark: str) -> Head:
        """The head after the catalog was read; where there is no cheap fingerprint, it is read at every look."""
        return replace(head, mark=mark, whole_at=self.context.now) if mark else head

    async def taken(
        self, mark: str, catalog: Catalog, structure: Structure, wish: Fact | None, before: Head | None
    ) -> Sensed:
        """Make a baseline. Nothing is told, but that it was made anew, where somebody asked for that.

        - wish: the newest; whatever comes first is as it wants it.
        - before: what is known, where it is made anew because of the wish.
        """
        sketches = await asyncio.to_thread(_covered, Sketches(), structure, self.look.bounds)
        await self.look.refresh(sketches, {path: t.rows for path, t in structure.tables.items()})
        parts: dict[str, JSON | None] = await asyncio.to_thread(
            lambda: {TABLE + path: table_part(table) for path, table in structure.tables.items()}
        )
        parts |= beside(structure)
        observations: Sequence[NewObservation] = ()
        note = "first look"
        if wish is not None and before is not None:
            parts[RETAKEN] = retaking.part(wish)
            observations = retaking.told(self.source.name, wish, before, len(structure.tables))
            note = retaking.note(wish)
        old = {*await self.context.part_hashes()}
        old |= {*await self.context.parts(prefix=PASSING), *await self.context.parts(prefix=SECRET)}
        parts |= dict.fromkeys(name for name in old if name not in parts and name not in sketches.parts)
        serial = before.serial + 1 if before is not None else 0
        head = self._head(Head(serial=serial, retaken=wish.version if wish else 0), mark, catalog, sketches)
        _, edges, anew = await self.views.look({}, structure, is_told=False)
        facts = await self.views.facts(anew, self.context)
        return Sensed(observations, dump(head), edges, facts, parts={**parts, **sketches.parts}, note=note)

    async def refreshed(self, head: Head, rows: Mapping[str, int]) -> Sensed:
        """Nothing changed: look into what is due. With nothing due, nothing is read and nothing written."""
        now = self.context.now
        if self.look.left <= 0 or head.due_at is None or (head.due_at > now and not rows):
            return Sensed(baseline=dump(head))
        seen = await self.context.parts(prefix=SEEN)
        sketches = Sketches(await asyncio.to_thread(read_seen, seen))
        await self.look.refresh(sketches, rows)
        if sketches.parts:
            head = replace(head, due_at=sketches.due_at(self.look.bounds, now))
        return Sensed(baseline=dump(head), parts=sketches.parts)

    async def compare(self, head: Head, mark: str, catalog: Catalog, structure: Structure) -> Sensed:
        """Tell what changed. Raises SourceError where the baseline cannot be read."""
        found = await compared(head, structure, self.context, self.options.skip)
        self.reach.views, edges, anew = await self.views.look(
            found.before.tables, structure, changed=found.after.tables.keys(), is_told=head.views == VIEWS
        )
        tables = await evidence.gather(self.look, found.before.tables, found.after.tables, found.returned)
        after = replace(found.after, tables=tables)
        changes = await asyncio.to_thread(_changes, found, after)
        casting = evidence.Casting(self.look.warehouse)
        changes = [await casting.answered(change, tables) for change in changes]
        open_ = await self._not_accepted(head.open) if changes else head.open
        waited = {o.table for o in open_ if changes and not o.is_addition}
        built = {path for path in sorted({c.table for c in changes} | waited) if await self.reach.is_built(path)}
        told = tell(
            self.source.name,
            await self._weighed(changes, built),
            serial=head.serial,
            tables={**structure.tables, **tables},
            open_=open_,
            planned=await self.context.planned_changes() if changes else (),
        )
        observations = [o for o in told.observations if o.subject.path not in built]
        settled = _settled(found.before.tables, tables, changes)
        gone = [path for path in _gone(head, found.before.tables, settled) if path not in told.undone_tables]
        kept = {GONE + path: gone_part(found.before.tables[path]) for path in gone if path in found.before.tables}
        sketches = await self._sketches(structure, settled)
        parts: dict[str, JSON | None] = {TABLE + path: None for path in found.lost}
        parts |= await asyncio.to_thread(lambda: {TABLE + path: table_part(table) for path, table in settled.items()})
        parts |= {GONE + path: None for path in head.gone if path not in gone} | kept | found.beside()
        is_postponed = any(table.postponed for table in settled.values())
        head = self._head(
            replace(head, serial=head.serial + bool(told.observations), open=told.open, gone=tuple(gone)),
            mark,
            replace(catalog, fingerprint="") if is_postponed else catalog,
            sketches,
        )
        return Sensed(
            calmed(self.source.name, observations, serial=head.serial, most=self.options.storm),
            dump(head),
            edges,
            await self.views.facts(anew, self.context),
            parts={**parts, **sketches.parts},
            note=_note(observations),
        )

    def _head(self, head: Head, mark: str, catalog: Catalog, sketches: Sketches) -> Head:
        marked = replace(
            self.marked(head, mark),
            fingerprint=catalog.fingerprint,
            options=self.options.digest,
            due_at=sketches.due_at(self.look.bounds, self.context.now),
            invisible=catalog.invisible,
            views=VIEWS,
        )
        return marked if catalog.fingerprint else replace(marked, mark="")

    # --- what is told ----------------------------------------------------------------------------------------------

    async def _weighed(self, changes: Sequence[Change], built: Collection[str]) -> list[Weighed]:
        """Each change with what it means and reaches; of very many, the graver ones' reach is asked for."""
        weighed = [Weighed(c, meaning(c, self.options.overrides, source=self.source.name)) for c in changes]
        asked = [one for one in weighed if one.change.table not in built]
        worst = {id(one) for one in sorted(asked, key=lambda one: -one.meaning.worst.rank)[:MOST_ASKED]}
        return [replace(one, impact=await self.reach.of(one.change)) if id(one) in worst else one for one in weighed]

    async def _not_accepted(self, open_: Sequence[OpenChange]) -> tuple[OpenChange, ...]:
        """Without what somebody said is to stay: nobody waits to see it undone."""
        left = []
        for change in open_:
            if change.is_addition:
                left.append(change)
                continue
            column = change.columns[0][0] if len(change.columns) == 1 else change.column
            fact = await self.context.fact(Asset("warehouse", self.source.name, change.table, column), ACCEPTED)
            if fact is None or change.key not in _keys(fact.object):
                left.append(change)
        return tuple(left)

    # --- what is known from now on -----------------------------------------------------------------------------------

    async def _sketches(self, structure: Structure, settled: Mapping[str, KnownTable]) -> Sketches:
        """What is known of the tables' content: of changed ones what was settled, of the others what was known."""
        seen = await self.context.parts(prefix=SEEN)
        sketches = await asyncio.to_thread(lambda: _covered(Sketches(read_seen(seen)), structure, self.look.bounds))
        for path, table in settled.items():
            if path not in sketches.seen or table.postponed:
                continue
            if table.sketched is not None:
                sketches.put(path, table.sketched)
            elif sketches.seen[path].at is not None or not sketches.seen[path].possible:
                sketches.drop(path)
                sketches.expect(path, Seen())
        rows = {path: table.rows for path, table in structure.tables.items()}
        await self.look.refresh(sketches, rows, [path for path, table in settled.items() if table.postponed])
        return sketches


def _covered(sketches: Sketches, structure: Structure, bounds: Bounds) -> Sketches:
    """Expect what may be looked into from now on, and drop what may not any more."""
    covered = {path for path, table in structure.tables.items() if bounds.covers(table)}
    for path in [path for path in sketches.seen if path not in covered]:
        sketches.drop(path)
    for path in sorted(covered - sketches.seen.keys()):
        sketches.expect(path, Seen())
    return sketches


def _changes(found: Compared, after: Structure) -> list[Change]:
    before = replace(found.before, tables={**found.before.tables, **found.users})
    changes = difference(before, replace(after, tables={**after.tables, **found.users}))
    for path, table in found.returned.items():
        changes.extend(of_table(table, after.tables[path]))
    return changes


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


def _gone(head: Head, before: Mapping[str, KnownTable], settled: Mapping[str, KnownTable]) -> list[str]:
    """Paths of the tables that are kept as they last were, oldest first."""
    now = [path for path in before if path not in settled]
    return [*(path for path in head.gone if path not in settled and path not in now), *now][-_MOST_GONE:]


def _keys(accepted: JSON) -> Collection[str]:
    return [accepted] if isinstance(accepted, str) else accepted if isinstance(accepted, list) else ()


def _note(observations: Sequence[NewObservation]) -> str:
    """What a revision is about: `2 column_renamed, 1 table_added`."""
    kinds = Counter(o.kind.removeprefix("schema.") for o in observations)
    return ", ".join(f"{count} {kind}" for kind, count in kinds.most_common()) or "nothing to tell"
