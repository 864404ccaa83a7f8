"""What changed about a column that is still there: its type, what it accepts, how it is filled, where it stands."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from agents.structure import texts
from agents.structure.changes import Change, Renamed
from agents.structure.columns import Pair
from agents.structure.types import normal, retyping
from integrations.base import Column
from memory.records import JSON

LONGEST: Final = 2_000
"""Characters of a definition that a change tells; the rest stands in the baseline."""


@dataclass(frozen=True, slots=True)
class Site:
    """The table a column belongs to: its path before and after, what every change of it says, and what was renamed."""

    before: str
    after: str
    common: Mapping[str, JSON]
    renamed: Renamed


def of_column(site: Site, pair: Pair) -> Iterator[Change]:
    """Everything that changed about one column, but its name and its place."""
    before, after = pair.before, pair.after
    type_ = site.renamed.types.get(before.type, before.type)
    found = retyping(type_, after.type)
    is_retyped = normal(type_) != normal(after.type)
    if is_retyped:
        payload = {"before": before.type, "after": after.type, "how": found.how}
        if found.aspect:
            payload["aspect"] = found.aspect
        yield Change(
            "column_retyped",
            site.before,
            before.name,
            {**_about(site, pair), **payload},
            _identities(pair),
            (site.after, after.name),
            ((before.name, before.type),),
        )
    if before.nullable != after.nullable:
        yield _altered(site, pair, "nullability", _null(before), _null(after))
    if not _is_same_default(before, after, is_retyped=is_retyped):
        yield _altered(site, pair, "default", before.default, after.default)
    if before.generated != after.generated and not texts.is_alike(
        before.generated, after.generated, site.renamed.words(site.before)
    ):
        yield _altered(site, pair, "generated", before.generated, after.generated)
    if before.numbering != after.numbering:
        yield _altered(site, pair, "identity", before.numbering, after.numbering)
    if before.comment != after.comment:
        yield _altered(site, pair, "comment", before.comment[:LONGEST], after.comment[:LONGEST])
    if before.collation != after.collation and not is_retyped:
        yield _altered(site, pair, "collation", before.collation, after.collation)


def of_places(site: Site, pairs: Sequence[Pair]) -> Iterator[Change]:
    """The columns that stand elsewhere among those that stayed. One that goes or comes between them moves nobody."""
    was = sorted(pairs, key=lambda p: p.before.position)
    now = sorted(pairs, key=lambda p: p.after.position)
    if was == now:
        return
    place = {p.before.name: number for number, p in enumerate(now, 1)}
    kept = _most_in_order(was, place)
    for number, pair in enumerate(was, 1):
        if pair.before.name not in kept:
            yield _altered(site, pair, "position", number, place[pair.before.name])


def _most_in_order(was: Sequence[Pair], place: Mapping[str, int]) -> frozenset[str]:
    """As many columns as can be said to have stayed; of several ways that which both directions would choose."""
    best: list[tuple[tuple[int, int], int]] = []  # (how many, a weight by their names), the one before
    for number, pair in enumerate(was):
        weight = zlib.crc32("|".join(sorted((pair.before.name, pair.after.name))).encode())
        reached, previous = max(
            (
                (best[earlier][0], earlier)
                for earlier in range(number)
                if place[was[earlier].before.name] < place[pair.before.name]
            ),
            default=((0, 0), -1),
        )
        best.append(((reached[0] + 1, reached[1] + weight), previous))
    number = max(range(len(best)), key=lambda n: best[n][0])
    kept = set()
    while number >= 0:
        kept.add(was[number].before.name)
        number = best[number][1]
    return frozenset(kept)


def _altered(site: Site, pair: Pair, what: str, before: JSON, after: JSON) -> Change:
    payload = {**_about(site, pair), "what": what, "before": before, "after": after}
    return Change("column_altered", site.before, pair.before.name, payload, _identities(pair))


def _about(site: Site, pair: Pair) -> dict[str, JSON]:
    about = {**site.common, "column": pair.before.name}
    if pair.before.name != pair.after.name:
        about["now_column"] = pair.after.name
    return about


def _identities(pair: Pair) -> tuple[str, str]:
    return pair.before.identity or "", pair.after.identity or ""


def _null(column: Column) -> str:
    return "nullable" if column.nullable else "not null"


def _is_same_default(before: Column, after: Column, *, is_retyped: bool) -> bool:
    if before.default is None or after.default is None:
        # Of a generated or numbered column, some engines call the rule itself a default.
        ruled = (before.generated or before.numbering, after.generated or after.numbering)
        return before.default == after.default or any(ruled)
    if texts.is_alike(before.default, after.default):
        return True
    # A type change writes the default anew, as a value of the new type.
    return is_retyped and texts.is_same_value(before.default, after.default)
