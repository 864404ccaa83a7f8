"""What the source's own views read: told to the blackboard, and asked when something is renamed beneath them.

A view is read again only when its text changed, or the columns of what it reads did (`integrations.lineage.Memo`); the
first look of a process reads them all.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from pydantic import SecretStr

from agents import column_edges
from agents.context import Context
from agents.structure import views
from agents.structure.changes import Change
from agents.structure.known import Structure, Tables
from config.assets import Asset
from config.errors import UsageError
from integrations.lineage import Lineage, Memo, ProjectLineage
from integrations.lineage.naming import dialect_name
from memory.records import JSON, Edge

_MOST_FACTS: Final = 200
"""Views of one look of which doubts are told; the others' are told as their texts change."""


def dialect_of(source: Any) -> str:
    """The SQL a source speaks: by its kind, or by the URL it is reached by; empty where neither tells."""
    url = getattr(getattr(source, "options", None), "url", "")
    text = url.get_secret_value() if isinstance(url, SecretStr) else str(url or "")
    for name in (str(source.kind), text.partition(":")[0].partition("+")[0]):
        try:
            return dialect_name(name)
        except UsageError:
            continue
    return ""


@dataclass(frozen=True, slots=True)
class Seen:
    """The views of one look: those that changed as they were before, and all as they are now."""

    before: Mapping[str, Lineage] = field(default_factory=dict)
    after: Mapping[str, Lineage] = field(default_factory=dict)
    texts: Mapping[str, tuple[str, str]] = field(default_factory=dict)

    def part(self, path: str) -> Lineage | None:
        """What a view read before the look; None for what is no view."""
        return self.before.get(path) or self.after.get(path)

    def following(self, change: Change) -> frozenset[str]:
        """The views that go on though the change renames what they read."""
        return views.following(change, self.before, self.after, self.texts)


@dataclass(slots=True)
class Views:
    """The views of one source, kept from look to look.

    Attributes:
        source: its name.
        dialect: its SQL.
        parts: what each view reads, as of the last look.
        memo: what was read once and need not be read again.
    """

    source: str
    dialect: str
    parts: Mapping[str, Lineage] = field(default_factory=dict)
    memo: Memo = field(default_factory=Memo)
    _texts: Mapping[str, str] | None = None
    _reading: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def look(
        self, before: Tables, structure: Structure, *, changed: Collection[str] = (), is_told: bool
    ) -> tuple[Seen, list[Edge] | None, list[str]]:
        """The views, the edges to tell (None: those told are those there are), and the names of those read anew.

        - before: tables that changed, as they were.
        - changed: paths of those that are another now, or new.
        - is_told: were edges told earlier, if there were any?
        """
        texts = {path: table.definition for path, table in structure.tables.items() if views.is_view(table)}
        # Compared by all texts: another process may have made the looks in between.
        if is_told and texts == self._texts and not self._is_touched({*before, *changed}):
            return Seen({}, self.parts, {}), None, []
        async with self._reading:  # a memo is not for several threads
            was, now = await asyncio.to_thread(self._read, before, structure.tables)
            project = views.of_warehouse(self.source)
            edges = None
            if not is_told or was.parts or now.parts or self.parts:
                edges = await asyncio.to_thread(column_edges.of_views, now, project, structure.tables.keys())
            anew = [path for path, part in now.parts.items() if self.parts.get(path) is not part]
            self.parts, self._texts = now.parts, texts
        both = {
            path: (before[path].definition, structure.tables[path].definition)
            for path in was.parts
            if path in structure.tables
        }
        return Seen(was.parts, now.parts, both), edges, anew

    def _is_touched(self, changed: Collection[str]) -> bool:
        """Did something change that goes by the name of what a view reads?"""
        read = {path.rpartition(".")[2].casefold() for part in self.parts.values() for path in part.reads}
        return any(path.rpartition(".")[2].casefold() in read for path in changed)

    def _read(self, before: Tables, now: Tables) -> tuple[ProjectLineage, ProjectLineage]:
        was = views.lineage_of(before, now, self.dialect, self.memo)
        return was, views.lineage_of(now, {}, self.dialect, self.memo)

    async def facts(self, anew: Sequence[str], context: Context) -> list[tuple[Asset, str, JSON]]:
        """What is in doubt about views that were read anew, and what is not any more."""
        told: list[tuple[Asset, str, JSON]] = []
        lineage = ProjectLineage({path: self.parts[path] for path in anew})
        for subject, predicate, held in column_edges.facts(lineage, views.of_warehouse(self.source)):
            if len(told) < _MOST_FACTS and (held["in_doubt"] or await context.fact(subject, predicate) is not None):
                told.append((subject, predicate, held))
        return told
