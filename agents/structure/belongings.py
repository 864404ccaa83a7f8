"""Constraints and indexes of a table, before and after: matched by what they say first, and by name only then."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from agents.structure import texts
from agents.structure.alterations import LONGEST
from agents.structure.changes import Change, Renamed
from agents.structure.known import KnownTable
from integrations.base import Constraint, Index
from memory.records import JSON

_MADE_UP: Final = re.compile(
    r"^$|^primary$|_(pkey|key|fkey|check|excl|exclusion|idx|not_null|ibfk_)\d*$|^(sys_|sqlite_autoindex_|constraint_\d)"
    r"|_pk$|_ibfk_\d+$",
    re.IGNORECASE,
)
"""Names that engines make up; one of them for another is no change."""

_Belonging = TypeVar("_Belonging", Constraint, Index)


@dataclass(frozen=True, slots=True)
class Moved:
    """What became of a table's columns, as far as constraints and indexes care.

    Attributes:
        gone: columns that went, by their old names.
        come: columns that came, by their new names.
        renamed: names that changed anywhere.
        lost: paths of tables that went.
        new: paths of tables that came.
    """

    gone: frozenset[str]
    come: frozenset[str]
    renamed: Renamed
    lost: Collection[str] = ()
    new: Collection[str] = ()


@dataclass(frozen=True, slots=True)
class _Matched(Generic[_Belonging]):
    pairs: list[tuple[_Belonging, _Belonging, bool]]
    dropped: list[_Belonging]
    added: list[_Belonging]


def of_constraints(before: KnownTable, after: KnownTable, common: dict[str, JSON], moved: Moved) -> Iterator[Change]:
    """Constraints that came, went or changed; what goes or comes with its columns is told with them."""
    if before.constraints == after.constraints:
        return
    matched = _match(
        before.constraints,
        after.constraints,
        lambda one, other: _is_same_constraint(before.path, one, other, moved.renamed),
        lambda one, other: one.kind == other.kind and (one.name == other.name or one.kind == "primary_key"),
    )
    for one, other, is_same in matched.pairs:
        yield from _altered("constraint_altered", before, common, _of_constraint(one), one, other, is_same=is_same)
    for constraint in matched.dropped:
        if not _stood_on(constraint, moved.gone) and constraint.references not in moved.lost:
            yield Change("constraint_dropped", before.path, "", {**common, **_of_constraint(constraint)})
    for constraint in matched.added:
        if not _stood_on(constraint, moved.come) and constraint.references not in moved.new:
            yield Change("constraint_added", before.path, "", {**common, **_of_constraint(constraint)})


def of_indexes(before: KnownTable, after: KnownTable, common: dict[str, JSON], moved: Moved) -> Iterator[Change]:
    """The same for indexes."""
    if before.indexes == after.indexes:
        return
    matched = _match(
        before.indexes,
        after.indexes,
        lambda one, other: _is_same_index((before, after), one, other, moved.renamed),
        lambda one, other: one.name == other.name,
    )
    for one, other, is_same in matched.pairs:
        yield from _altered("index_altered", before, common, _of_index(one, other), one, other, is_same=is_same)
    for index in matched.dropped:
        if not _stood_on(index, moved.gone):
            yield Change("index_dropped", before.path, "", {**common, **_of_index(index)})
    for index in matched.added:
        if not _stood_on(index, moved.come):
            yield Change("index_added", before.path, "", {**common, **_of_index(index)})


def going_with(table: KnownTable, column: str, columns: frozenset[str]) -> list[str]:
    """Names of the constraints and indexes that stand on `column` and on no other than `columns`, which all go."""
    found: list[Constraint | Index] = [*table.constraints, *table.indexes]
    return sorted({b.name for b in found if b.name and _stood_on(b, columns) and column in _basis(b, columns)})


def keys_to(path: str, pairs: Sequence[tuple[KnownTable, KnownTable]]) -> list[JSON]:
    """The keys of other tables that point to `path` in the first of a pair and not in the other: they go with it."""
    return [
        {"table": one.path, "name": key.name, "columns": list(key.columns)}
        for one, other in sorted(pairs, key=lambda pair: pair[0].path)
        for key in one.constraints
        if key.references == path and one.path != path and path not in {k.references for k in other.constraints}
    ]


def _match(
    before: Sequence[_Belonging],
    after: Sequence[_Belonging],
    says_the_same: Callable[[_Belonging, _Belonging], bool],
    is_namesake: Callable[[_Belonging, _Belonging], bool],
) -> _Matched[_Belonging]:
    left, right = list(before), list(after)
    pairs: list[tuple[_Belonging, _Belonging, bool]] = []

    def pair(fits: Callable[[_Belonging, _Belonging], bool], *, is_same: bool) -> None:
        for one in list(left):
            other = next((o for o in right if fits(one, o)), None)
            if other is not None:
                left.remove(one)
                right.remove(other)
                pairs.append((one, other, is_same))

    pair(lambda one, other: one.name == other.name and says_the_same(one, other), is_same=True)
    pair(says_the_same, is_same=True)
    pair(is_namesake, is_same=False)
    return _Matched(pairs, left, right)


def _altered(
    kind: str,
    table: KnownTable,
    common: dict[str, JSON],
    about: dict[str, JSON],
    one: Constraint | Index,
    other: Constraint | Index,
    *,
    is_same: bool,
) -> Iterator[Change]:
    if not is_same:
        payload = {"what": "definition", "before": _shown(one), "after": _shown(other)}
        yield Change(kind, table.path, "", {**common, **about, **payload})
    if one.name != other.name and not (_MADE_UP.search(one.name) and _MADE_UP.search(other.name)):
        payload = {"what": "name", "before": one.name, "after": other.name}
        yield Change(kind, table.path, "", {**common, **about, **payload})


def _is_same_constraint(table: str, one: Constraint, other: Constraint, renamed: Renamed) -> bool:
    if one.kind != other.kind:
        return False
    references = renamed.tables.get(one.references, one.references)
    if references != other.references:
        return False
    columns = [renamed.column(table, c) for c in one.columns]
    if one.kind == "check":
        if set(columns) != set(other.columns):
            return False
    elif columns != list(other.columns):
        return False
    if tuple(renamed.column(one.references, c) for c in one.referenced) != other.referenced:
        return False
    return one.definition == other.definition or texts.is_alike(
        one.definition, other.definition, renamed.words(table, one.references)
    )


def _is_same_index(tables: tuple[KnownTable, KnownTable], one: Index, other: Index, renamed: Renamed) -> bool:
    if one == other:
        return True
    # Some engines tell an index as the statement that made it, with its own name and the table's of that time.
    words = renamed.words(tables[0].path) | {(one.name, other.name), (tables[0].name, tables[1].name)}
    return (
        one.unique == other.unique
        and len(one.columns) == len(other.columns)
        and all(
            renamed.column(tables[0].path, b) == a or texts.is_alike(b, a, words)
            for b, a in zip(one.columns, other.columns, strict=True)
        )
        and texts.is_alike(one.definition, other.definition, words)
    )


def _stood_on(belonging: Constraint | Index, columns: frozenset[str]) -> bool:
    """Does it stand on these columns alone?"""
    if not columns:
        return False
    if isinstance(belonging, Constraint):
        # Which columns a check is about, some engines do not say.
        return set(belonging.columns) <= columns if belonging.columns else bool(_basis(belonging, columns))
    return all(column in columns or texts.mentions(column, columns) for column in belonging.columns)


def _basis(belonging: Constraint | Index, columns: frozenset[str]) -> frozenset[str]:
    """Those of the columns it stands on."""
    written = " ".join(belonging.columns) if isinstance(belonging, Index) else belonging.definition
    return (frozenset(belonging.columns) & columns) or texts.mentions(written, columns)


def _of_constraint(constraint: Constraint) -> dict[str, JSON]:
    payload: dict[str, JSON] = {
        "name": constraint.name,
        "constraint": constraint.kind,
        "columns": list(constraint.columns),
        "definition": constraint.definition[:LONGEST],
    }
    if constraint.references:
        payload |= {"references": constraint.references, "referenced": list(constraint.referenced)}
    return payload


def _of_index(index: Index, now: Index | None = None) -> dict[str, JSON]:
    return {
        "name": index.name,
        "columns": list(index.columns),
        "unique": index.unique or (now is not None and now.unique),
        "definition": index.definition[:LONGEST],
    }


def _shown(belonging: Constraint | Index) -> str:
    if belonging.definition:
        return belonging.definition[:LONGEST]
    shown = f"({', '.join(belonging.columns)})"
    if isinstance(belonging, Index):
        return f"unique {shown}" if belonging.unique else shown
    return (
        f"{shown} references {belonging.references} ({', '.join(belonging.referenced)})"
        if belonging.references
        else shown
    )
