"""The warehouse's own views: what they read, and which of them go on when something is renamed beneath them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from agents.structure.changes import Change
from agents.structure.known import KnownTable, Tables
from config.errors import UsageError
from integrations.base import Project
from integrations.lineage import ROWS, Lineage, Memo, ProjectLineage, Schema, views
from integrations.lineage.naming import dialect_name

RENAMES: Final = ("column_renamed", "table_renamed")


def is_view(table: KnownTable) -> bool:
    """Is it made by a query that the engine tells?"""
    return "view" in table.kind and bool(table.definition)


def of_warehouse(source: str) -> Project:
    """The project without nodes that the views of a warehouse are parts of."""
    return Project("", source, {})


def lineage_of(made: Tables, around: Tables, dialect: str, memo: Memo | None = None) -> ProjectLineage:
    """What the views among `made` read, by their paths.

    - around: all tables whose columns are known; of those that are in both, `made` counts.
    - dialect: of the engine. In one that nobody can read, no view reads anything that is known.
    - memo: with it, only what changed is parsed again.
    """
    texts = {path: table.definition for path, table in sorted(made.items()) if is_view(table)}
    try:
        spoken = dialect_name(dialect)
    except UsageError:
        return ProjectLineage()
    if not texts:
        return ProjectLineage()
    columns = {path: [c.name for c in table.columns] for path, table in {**around, **made}.items()}
    return views(texts, schema=Schema(columns, dialect=spoken), memo=memo)


def reads(part: Lineage, table: str, column: str = ROWS) -> bool:
    """Does a view name the column (or read the table) itself?"""
    if column == ROWS:
        return any(read.casefold() == table.casefold() for read in part.reads)
    wanted = table.casefold(), column.casefold()
    named = {*part.uses, *(edge.source for edge in part.edges)}
    return any((t.casefold(), c.casefold()) == wanted for t, c in named)


def following(
    change: Change, before: Mapping[str, Lineage], after: Mapping[str, Lineage], texts: Mapping[str, tuple[str, str]]
) -> frozenset[str]:
    """The views that read what was renamed, and read it by its new name now: they go on as if nothing had happened.

    An engine that stores a view as text leaves the old name in it; one that stores what the text means (PostgreSQL, by
    numbers) rewrites it, and so does whoever makes the view anew in the same release. What the view says tells which.

    - before, after: parts by path.
    - texts: definitions before and after, of views that are there in both.
    """
    if change.kind not in RENAMES:
        return frozenset()
    old, new = (change.table, change.column), (str(change.payload.get("now") or change.table), "")
    new = (str(change.payload["after"]), "") if change.kind == "table_renamed" else (new[0], change.payload["after"])
    found = set()
    for path, (text_before, text_after) in texts.items():
        was, now = before.get(path), after.get(path)
        if was is None or now is None or text_before == text_after or not reads(was, *old):
            continue
        if len(now.unresolved) > len(was.unresolved):
            continue  # it names something that is not there any more
        # Where names were exchanged, both are there before and after: another text says that it was rewritten.
        if reads(now, *new) and (reads(was, *new) or not reads(now, *old)):
            found.add(path)
    return frozenset(found)
