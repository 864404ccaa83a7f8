"""What a source was like when it was last looked at: its structure, and what its columns held."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeAlias, TypeVar

from integrations.base import Catalog, Column, Constraint, Enumeration, Grant, Index, NumberSequence, Table

_Listed = TypeVar("_Listed", Enumeration, NumberSequence)


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
    """A table as it was. `postponed` counts the looks at which a judgement on it was put off for want of evidence.

    The rest means what it means in `integrations.base.Table`.
    """

    schema: str
    name: str
    kind: str
    identity: str | None
    rows: int
    columns: tuple[Column, ...]
    sketched: Sketched | None = None
    postponed: int = 0
    comment: str = ""
    constraints: tuple[Constraint, ...] = ()
    indexes: tuple[Index, ...] = ()
    definition: str = ""
    partitioning: str = ""
    owner: str = ""
    grants: tuple[Grant, ...] = ()

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


Tables: TypeAlias = Mapping[str, KnownTable]


@dataclass(frozen=True, slots=True)
class Structure:
    """All that was seen of a source. Everything is named by its path, `schema.name`.

    `invisible` are schemas that could not be looked into: nothing of them is known, and nothing of them is gone.
    """

    tables: Tables = field(default_factory=dict)
    enumerations: Mapping[str, Enumeration] = field(default_factory=dict)
    sequences: Mapping[str, NumberSequence] = field(default_factory=dict)
    invisible: tuple[str, ...] = ()


def structure_of(catalog: Catalog, skip: Sequence[str] = ()) -> Structure:
    """The catalog by paths, without what a shell pattern of `skip` covers."""
    return Structure(
        tables_of(catalog, skip),
        _by_path(catalog.enumerations, skip),
        _by_path(catalog.sequences, skip),
        catalog.invisible,
    )


def tables_of(catalog: Catalog, skip: Sequence[str]) -> dict[str, KnownTable]:
    """The catalog's tables by path, without those that a pattern of `skip` covers."""
    return {t.path: _known(t) for t in catalog.tables if not is_skipped(t.path, skip)}


def is_skipped(path: str, skip: Sequence[str]) -> bool:
    """Is a table one of those not to look at?"""
    return any(fnmatch.fnmatchcase(path, pattern) for pattern in skip)


def _by_path(found: Iterable[_Listed], skip: Sequence[str]) -> dict[str, _Listed]:
    paths = ((f"{one.schema}.{one.name}", one) for one in found)
    return {path: one for path, one in paths if not is_skipped(path, skip)}


def _known(table: Table) -> KnownTable:
    return KnownTable(
        table.schema,
        table.name,
        table.kind,
        table.identity,
        table.rows,
        table.columns,
        comment=table.comment,
        constraints=table.constraints,
        indexes=table.indexes,
        definition=table.definition,
        partitioning=table.partitioning,
        owner=table.owner,
        grants=table.grants,
    )
