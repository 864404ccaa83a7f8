"""What a table was like when it was last looked at: its structure, and what its columns held."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from integrations.base import Catalog, Column, Table


@dataclass(frozen=True, slots=True)
class Content:
    """What a column holds, without values.

    Attributes:
        rows: rows of its table when it was counted.
        nulls: how many of them are null there.
        distinct: distinct values, -1 where not counted.
        sketch: the smallest keyed hashes of the distinct values, ascending.
        size: how many hashes were asked for; a shorter sketch holds all values.
    """

    rows: int
    nulls: int
    distinct: int
    sketch: tuple[str, ...]
    size: int

    @property
    def null_share(self) -> float:
        """Share of nulls, 0 to 1; 0 for an empty table."""
        return self.nulls / self.rows if self.rows else 0.0


@dataclass(frozen=True, slots=True)
class Sketched:
    """When a table's columns were last looked into, at which row estimate, and what was found.

    `possible` is False where the source refused for good; `content` is empty for an empty or unreadable table.
    """

    at: datetime
    estimate: int
    content: Mapping[str, Content] = field(default_factory=dict)
    possible: bool = True


@dataclass(frozen=True, slots=True)
class KnownTable:
    """A table as it was. `postponed` counts the looks at which a judgement on it was put off for want of evidence."""

    schema: str
    name: str
    kind: str
    identity: str | None
    rows: int
    columns: tuple[Column, ...]
    sketched: Sketched | None = None
    postponed: int = 0

    @property
    def path(self) -> str:
        """`schema.name`."""
        return f"{self.schema}.{self.name}"

    @property
    def content(self) -> Mapping[str, Content]:
        """What is known of the columns' content, by column name."""
        return self.sketched.content if self.sketched else {}

    def column(self, name: str) -> Column | None:
        """The column of that name."""
        return next((c for c in self.columns if c.name == name), None)


def tables_of(catalog: Catalog, skip: Sequence[str]) -> dict[str, KnownTable]:
    """The catalog's tables by path, without those that a pattern of `skip` covers."""
    return {t.path: _known(t) for t in catalog.tables if not is_skipped(t.path, skip)}


def is_skipped(path: str, skip: Sequence[str]) -> bool:
    """Is a table one of those not to look at?"""
    return any(fnmatch.fnmatchcase(path, pattern) for pattern in skip)


def _known(table: Table) -> KnownTable:
    return KnownTable(table.schema, table.name, table.kind, table.identity, table.rows, table.columns)
