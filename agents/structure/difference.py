"""What changed between two looks, as a list of changes. Pure: no clock, no warehouse."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from agents.structure import columns, standalone, tables
from agents.structure.alterations import Site, of_column, of_places
from agents.structure.belongings import Moved, going_with, keys_to, of_constraints, of_indexes
from agents.structure.changes import Change, Renamed
from agents.structure.columns import Assignment, Pair, Unclear
from agents.structure.features import of_features, of_grants
from agents.structure.known import KnownTable, Structure, Tables
from agents.structure.swaps import may_be_swapped
from agents.structure.tables import Matched, TablePair
from memory.records import JSON


def difference(before: Structure | Tables, after: Structure | Tables) -> list[Change]:
    """All changes, in an order that does not depend on the catalog's. Tables alone stand for a whole structure."""
    was = before if isinstance(before, Structure) else Structure(before)
    now = after if isinstance(after, Structure) else Structure(after)
    matched = tables.match(was.tables, now.tables)
    enumerations = standalone.match(was.enumerations, now.enumerations)
    changed = [_Changed(pair) for pair in matched.pairs if not _is_untouched(pair)]
    renamed = _renamed_in(matched, changed, enumerations.renamed)
    lost, new = {t.path for t in matched.dropped}, {t.path for t in matched.added}
    pairs = [(one.pair.before, one.pair.after) for one in changed]
    found = [_dropped(t, keys_to(t.path, pairs)) for t in matched.dropped]
    found.extend(_added(t, keys_to(t.path, [(now, was) for was, now in pairs])) for t in matched.added)
    for one in changed:
        found.extend(_renamed(one.pair))
        found.extend(_inside(one.pair.before, one.pair.after, one.assigned, renamed, lost, new))
    found.extend(standalone.of_enumerations(enumerations, was.tables))
    found.extend(standalone.of_sequences(standalone.match(was.sequences, now.sequences)))
    return sorted(found, key=lambda c: c.name)


def of_table(before: KnownTable, after: KnownTable) -> Iterator[Change]:
    """What changed inside one table; changes are named by its old path."""
    one = _Changed(TablePair(before, after))
    if not _is_untouched(one.pair):
        renamed = _renamed_in(Matched((one.pair,), (), ()), [one], {})
        yield from _inside(before, after, one.assigned, renamed, set(), set())


@dataclass(slots=True)
class _Changed:
    """A table of which something is not as it was."""

    pair: TablePair
    assigned: Assignment = field(init=False)

    def __post_init__(self) -> None:
        self.assigned = columns.assign(self.pair.before, self.pair.after)


def _is_untouched(pair: TablePair) -> bool:
    """Is nothing to be compared? Most tables are so, at every look; columns come last, for there are most of them."""
    one, other = pair.before, pair.after
    return one is other or (
        one.identity == other.identity
        and (one.schema, one.name, one.kind, one.comment, one.definition, one.partitioning, one.owner)
        == (other.schema, other.name, other.kind, other.comment, other.definition, other.partitioning, other.owner)
        and one.constraints == other.constraints
        and one.indexes == other.indexes
        and one.grants == other.grants
        and one.columns == other.columns
        and not _may_be_swapped(one, other)
    )


def _may_be_swapped(one: KnownTable, other: KnownTable) -> bool:
    """Could names have been exchanged without a trace but in what the columns hold?"""
    if not one.content or not other.content or columns.has_identities(one, other):
        return False
    return one.content != other.content and may_be_swapped(one.columns, one.content)


def _renamed_in(matched: Matched, changed: list[_Changed], types: dict[str, str]) -> Renamed:
    moved = {p.before.path: p.after.path for p in matched.pairs if p.before.path != p.after.path}
    names = {
        one.pair.before.path: {p.before.name: p.after.name for p in one.assigned.pairs if p.before.name != p.after.name}
        for one in changed
    }
    return Renamed(moved, {path: renamed for path, renamed in names.items() if renamed}, types)


def _inside(
    before: KnownTable, after: KnownTable, assigned: Assignment, renamed: Renamed, lost: set[str], new: set[str]
) -> Iterator[Change]:
    common = _common(before, after)
    site = Site(before.path, after.path, common, renamed)
    moved = Moved(
        frozenset((*(c.name for c in assigned.dropped), *(c.name for u in assigned.unclear for c in u.dropped))),
        frozenset((*(c.name for c in assigned.added), *(c.name for u in assigned.unclear for c in u.added))),
        renamed,
        lost,
        new,
    )
    for pair in assigned.pairs:
        if pair.before.name != pair.after.name:
            yield _renamed_column(site, pair)
        if pair.before != pair.after:
            yield from of_column(site, pair)
    yield from of_places(site, [p for p in assigned.pairs if not p.is_swapped])
    yield from _columns(before, after, assigned, moved)
    for unclear in assigned.unclear:
        yield _unclear(before, after, unclear)
    yield from of_features(before, after, common, renamed)
    yield from of_constraints(before, after, common, moved)
    yield from of_indexes(before, after, common, moved)
    yield from of_grants(before, after, common)


def _dropped(table: KnownTable, keys: list[JSON]) -> Change:
    payload = {"table": table.path, **_relation(table), **({"with": keys} if keys else {})}
    return Change("table_dropped", table.path, "", payload, _identities(table, None), needs=())


def _added(table: KnownTable, keys: list[JSON]) -> Change:
    payload = {
        "table": table.path,
        "columns": len(table.columns),
        **_relation(table),
        **({"with": keys} if keys else {}),
    }
    return Change("table_added", table.path, "", payload, _identities(None, table), arrives=(table.path, ""))


def _renamed(pair: TablePair) -> Iterator[Change]:
    if pair.before.path == pair.after.path:
        return
    payload = {
        "table": pair.before.path,
        "before": pair.before.path,
        "after": pair.after.path,
        "evidence": pair.evidence,
        "confidence": pair.confidence,
    }
    identities = _identities(pair.before, pair.after)
    arrives = (pair.after.path, "")
    yield Change("table_renamed", pair.before.path, "", payload, identities, arrives=arrives, needs=())


def _renamed_column(site: Site, pair: Pair) -> Change:
    before, after = pair.before, pair.after
    payload = {
        **site.common,
        "before": before.name,
        "after": after.name,
        "type": before.type,
        "evidence": pair.evidence,
        "confidence": pair.confidence,
    }
    identities = (before.identity or "", after.identity or "")
    arrives, needs = (site.after, after.name), ((before.name, before.type),)
    return Change("column_renamed", site.before, before.name, payload, identities, arrives, needs)


def _columns(before: KnownTable, after: KnownTable, assigned: Assignment, moved: Moved) -> Iterator[Change]:
    common = _common(before, after) | _relation(before)
    for column in assigned.dropped:
        payload = {**common, "column": column.name, "type": column.type}
        if gone := going_with(before, column.name, moved.gone):
            payload["with"] = gone
        identities = (column.identity or "", "")
        needs = ((column.name, column.type),)
        yield Change("column_dropped", before.path, column.name, payload, identities, needs=needs)
    for column in assigned.added:
        payload = {
            **common,
            "column": column.name,
            "type": column.type,
            "nullable": column.nullable,
            "default": column.default is not None or bool(column.generated or column.numbering),
        }
        if come := going_with(after, column.name, moved.come):
            payload["with"] = come
        identities = ("", column.identity or "")
        yield Change("column_added", before.path, column.name, payload, identities, arrives=(after.path, column.name))


def _unclear(table: KnownTable, now: KnownTable, unclear: Unclear) -> Change:
    payload = {
        **_common(table, now),
        "dropped": [c.name for c in unclear.dropped],
        "added": [c.name for c in unclear.added],
        "type": unclear.dropped[0].type,
        "reason": unclear.reason,
    }
    return Change(
        "columns_ambiguous",
        table.path,
        unclear.dropped[0].name if len(unclear.dropped) == 1 else "",
        payload,
        _identities(table, now),
        needs=tuple((c.name, c.type) for c in unclear.dropped),
    )


def _common(before: KnownTable, after: KnownTable) -> dict[str, JSON]:
    """What every change inside a table says: its path, and that of today where it was renamed."""
    return {"table": before.path} if before.path == after.path else {"table": before.path, "now": after.path}


def _relation(table: KnownTable) -> dict[str, JSON]:
    """What kind of relation it is, where it is none of the usual."""
    return {} if table.kind == "table" else {"relation": table.kind}


def _identities(before: KnownTable | None, after: KnownTable | None) -> tuple[str, str]:
    return (before.identity or "" if before else ""), (after.identity or "" if after else "")
