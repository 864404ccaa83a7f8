"""What changed between two looks, as a list of changes. Pure: no clock, no warehouse."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from agents.structure import columns, tables
from agents.structure.changes import Change
from agents.structure.columns import Pair, Unclear
from agents.structure.known import KnownTable
from agents.structure.tables import TablePair
from integrations.base import Column

_SEQUENCE = re.compile(r"nextval\(.*\)", re.IGNORECASE | re.DOTALL)


def difference(before: Mapping[str, KnownTable], after: Mapping[str, KnownTable]) -> list[Change]:
    """All changes, in an order that does not depend on the catalog's."""
    matched = tables.match(before, after)
    found = [
        Change("table_dropped", t.path, "", {"table": t.path}, _identities(t, None), needs=()) for t in matched.dropped
    ]
    for table in matched.added:
        payload = {"table": table.path, "columns": len(table.columns)}
        identities = _identities(None, table)
        found.append(Change("table_added", table.path, "", payload, identities, arrives=(table.path, "")))
    for pair in matched.pairs:
        found.extend(_renamed(pair))
        found.extend(of_table(pair.before, pair.after))
    return sorted(found, key=lambda c: c.name)


def of_table(before: KnownTable, after: KnownTable) -> Iterator[Change]:
    """What changed inside one table; changes are named by its old path."""
    if before.columns == after.columns and before.identity == after.identity:
        return
    assigned = columns.assign(before, after)
    for pair in assigned.pairs:
        yield from _of_column(before, after, pair)
    for column in assigned.dropped:
        yield Change(
            "column_dropped",
            before.path,
            column.name,
            {"table": before.path, "column": column.name, "type": column.type, **_moved(before, after)},
            (column.identity or "", ""),
            needs=((column.name, column.type),),
        )
    for column in assigned.added:
        yield Change(
            "column_added",
            before.path,
            column.name,
            {
                "table": before.path,
                "column": column.name,
                "type": column.type,
                "nullable": column.nullable,
                "default": column.default is not None,
                **_moved(before, after),
            },
            ("", column.identity or ""),
            arrives=(after.path, column.name),
        )
    for unclear in assigned.unclear:
        yield _unclear(before, after, unclear)


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


def _of_column(table: KnownTable, now: KnownTable, pair: Pair) -> Iterator[Change]:
    before, after = pair.before, pair.after
    identities = (before.identity or "", after.identity or "")
    arrives = (now.path, after.name)
    if before.name != after.name:
        payload = {
            "table": table.path,
            "before": before.name,
            "after": after.name,
            "type": before.type,
            "evidence": pair.evidence,
            "confidence": pair.confidence,
            **_moved(table, now),
        }
        needs = ((before.name, before.type),)
        yield Change("column_renamed", table.path, before.name, payload, identities, arrives, needs)
    common = {"table": table.path, "column": before.name, **_moved(table, now)}
    if before.name != after.name:
        common["now_column"] = after.name
    if before.type != after.type:
        payload = {**common, "before": before.type, "after": after.type}
        needs = ((before.name, before.type),)
        yield Change("column_retyped", table.path, before.name, payload, identities, arrives, needs)
    if before.nullable != after.nullable:
        payload = {**common, "what": "nullability", "before": _null(before), "after": _null(after)}
        yield Change("column_altered", table.path, before.name, payload, identities)
    # A type change rewrites the default with a cast; that is no change of its own.
    if before.type == after.type and _default(before) != _default(after):
        payload = {**common, "what": "default", "before": before.default, "after": after.default}
        yield Change("column_altered", table.path, before.name, payload, identities)


def _unclear(table: KnownTable, now: KnownTable, unclear: Unclear) -> Change:
    payload = {
        "table": table.path,
        "dropped": [c.name for c in unclear.dropped],
        "added": [c.name for c in unclear.added],
        "type": unclear.type,
        "reason": unclear.reason,
        **_moved(table, now),
    }
    return Change(
        "columns_ambiguous",
        table.path,
        unclear.dropped[0].name if len(unclear.dropped) == 1 else "",
        payload,
        _identities(table, now),
        needs=tuple((c.name, c.type) for c in unclear.dropped),
    )


def _moved(before: KnownTable, after: KnownTable) -> dict[str, str]:
    """Where the table itself was renamed: its path of today."""
    return {} if before.path == after.path else {"now": after.path}


def _identities(before: KnownTable | None, after: KnownTable | None) -> tuple[str, str]:
    return (before.identity or "" if before else ""), (after.identity or "" if after else "")


def _null(column: Column) -> str:
    return "nullable" if column.nullable else "not null"


def _default(column: Column) -> str | None:
    """The default without the name of the sequence, which changes whenever a table is made anew."""
    return None if column.default is None else _SEQUENCE.sub("nextval", column.default)
