"""What is compared: the parts of the baseline that are not as the catalog has them now, and nothing else.

A source has thousands of tables and few changes: their hashes tell which parts to read. So a look costs one reading
of the catalog, and of memory what changed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from agents.context import Context
from agents.schema_drift.baseline import (
    BESIDE,
    GONE,
    SKETCH,
    Head,
    beside,
    read_gone,
    read_sketches,
    table_part,
)
from agents.structure.known import KnownTable, Structure, is_skipped
from agents.structure.parts import TABLE, from_parts
from integrations.base import Enumeration, NumberSequence
from memory.board.baselines import hash_of
from memory.records import JSON

MOST_SKETCHES = 2_000
"""Tables whose content is compared in one look."""
_Listed = TypeVar("_Listed", Enumeration, NumberSequence)


@dataclass(slots=True)
class Compared:
    """Two structures without what is the same in both.

    Attributes:
        before, after: what was known of it, and what is there now.
        hidden: what was known of schemas that cannot be seen now, and stays known.
        returned: tables that bear the name of one that went earlier, as that one last was.
        lost: paths of tables that are known and not there any more, skipped ones included.
        users: unchanged tables with columns of a listed type that changed: who uses it is told with it.
    """

    before: Structure
    after: Structure
    hidden: Structure
    returned: Mapping[str, KnownTable] = field(default_factory=dict)
    lost: Sequence[str] = ()
    users: Mapping[str, KnownTable] = field(default_factory=dict)

    def beside(self) -> dict[str, JSON]:
        """The parts that belong to no table, with what is hidden."""
        return beside(
            Structure(
                enumerations={**self.after.enumerations, **self.hidden.enumerations},
                sequences={**self.after.sequences, **self.hidden.sequences},
            )
        )


def hashes(structure: Structure) -> dict[str, str]:
    """The hash of each part, by its name; one part at a time, for all of them together are large."""
    found = {TABLE + path: hash_of(table_part(table)) for path, table in structure.tables.items()}
    return found | {name: hash_of(part) for name, part in beside(structure).items()}


async def compared(head: Head, structure: Structure, context: Context, skip: Sequence[str]) -> Compared:
    """Read what is needed of the baseline, and put beside it what is there now. Raises SourceError for a part misread.

    A schema that cannot be seen tells nothing: what was known of it stays. One that is seen for the first time is
    taken as it is: its tables are not new, only visible now.
    """
    now = await asyncio.to_thread(hashes, structure)
    then = await context.part_hashes()
    names = {name for name in now.keys() | then.keys() if now.get(name) != then.get(name)}
    parts = await context.parts([name for name in names if name in then])
    known = await asyncio.to_thread(from_parts, parts)
    tables = {path: t for path, t in structure.tables.items() if TABLE + path in names}
    unseen = frozenset(structure.invisible)
    arrived = {
        schema
        for schema in head.invisible
        if schema not in unseen and not any(name.startswith(f"{TABLE}{schema}.") for name in then)
    }
    hidden = Structure(
        {p: t for p, t in known.tables.items() if t.schema in unseen},
        {p: e for p, e in known.enumerations.items() if e.schema in unseen},
        {p: s for p, s in known.sequences.items() if s.schema in unseen},
    )
    before = {p: t for p, t in known.tables.items() if p not in hidden.tables and not is_skipped(p, skip)}
    lost = [p for p in known.tables if p not in hidden.tables and p not in structure.tables]
    before |= {p: t for p, t in tables.items() if p not in before and t.schema in arrived}
    before = await _with_content(before, context)
    enumerations = _beside(BESIDE[0], names, known.enumerations, structure.enumerations, unseen, arrived, skip)
    sequences = _beside(BESIDE[1], names, known.sequences, structure.sequences, unseen, arrived, skip)
    return Compared(
        Structure(before, enumerations[0], sequences[0]),
        Structure(tables, enumerations[1], sequences[1]),
        hidden,
        await _returned(head, before, tables, context),
        lost,
        _users(structure, enumerations[0], before.keys() | tables.keys()),
    )


async def _with_content(before: Mapping[str, KnownTable], context: Context) -> dict[str, KnownTable]:
    names = [SKETCH + path for path in sorted(before)[:MOST_SKETCHES]]
    sketches = read_sketches(await context.parts(names))
    return {path: replace(table, sketched=sketches.get(path)) for path, table in before.items()}


def _beside(
    name: str,
    names: set[str],
    known: Mapping[str, _Listed],
    now: Mapping[str, _Listed],
    unseen: frozenset[str],
    arrived: set[str],
    skip: Sequence[str],
) -> tuple[dict[str, _Listed], dict[str, _Listed]]:
    """Both sides of what belongs to no table: unchanged, it was not read, and is what it is."""
    if name not in names:
        return dict(now), dict(now)
    before = {p: one for p, one in known.items() if one.schema not in unseen and not is_skipped(p, skip)}
    return before | {p: one for p, one in now.items() if p not in before and one.schema in arrived}, dict(now)


def _users(structure: Structure, enumerations: Mapping[str, Enumeration], apart: set[str]) -> dict[str, KnownTable]:
    changed = [e for path, e in enumerations.items() if structure.enumerations.get(path) != e]
    if not changed:
        return {}
    bare = {e.name for e in changed}
    return {
        path: table
        for path, table in structure.tables.items()
        if path not in apart and any(name in column.type for column in table.columns for name in bare)
    }


async def _returned(
    head: Head, before: Mapping[str, KnownTable], seen: Mapping[str, KnownTable], context: Context
) -> dict[str, KnownTable]:
    """Tables that bear a name which was taken by another one before, as they last were.

    So a drop in one look and a re-creation in the next tell the same as both in one look.
    """
    names = [GONE + path for path in head.gone if path in seen and path not in before]
    gone = read_gone(await context.parts(names))
    return {
        path: table
        for path, table in gone.items()
        if seen[path].identity is None or seen[path].identity != table.identity
    }
