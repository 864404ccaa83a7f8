"""Evidence from what tables hold, gathered where only that can tell what became of a table or a column."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

import structlog

from agents.schema_drift.casting import castability
from agents.schema_drift.looking import Look
from agents.structure import columns, tables
from agents.structure.changes import Change
from agents.structure.known import KnownTable
from agents.structure.tables import TablePair
from config.errors import SwarmError
from integrations.base import Warehouse

log = structlog.get_logger(__name__)
_PATIENCE: Final = 3
_MOST_CAST: Final = 50


async def gather(
    look: Look, before: Mapping[str, KnownTable], seen: Mapping[str, KnownTable], returned: Mapping[str, KnownTable]
) -> dict[str, KnownTable]:
    """Look into tables of which only the content can tell what became of them.

    Where it cannot be learnt just now (a lock, a slow server), the judgement on that table is put off: it stays as it
    was known, for a few looks.
    """
    after = dict(seen)
    matched = tables.settle(before, seen)
    for table in tables.candidates(matched.dropped, matched.added):
        after[table.path] = await look.into(table) or table
    again = [TablePair(table, seen[path], "returned") for path, table in returned.items()]
    for pair in (*matched.pairs, *again):
        if not pair.before.content or not columns.candidates(pair.before, pair.after):
            continue
        looked = await look.into(pair.after)
        if looked is not None:
            after[looked.path] = looked
        elif pair.evidence == "path" and pair.before.postponed < _PATIENCE:
            after[pair.before.path] = replace(pair.before, postponed=pair.before.postponed + 1)
    return after


@dataclass(slots=True)
class Casting:
    """Asks whether the values of retyped columns can still be read as what they were; of a storm not for each."""

    warehouse: Warehouse | None
    left: int = _MOST_CAST

    async def answered(self, change: Change, after: Mapping[str, KnownTable]) -> Change:
        """A retyped column with the answer; other changes as they are."""
        if change.kind != "column_retyped" or change.arrives is None or self.warehouse is None:
            return change
        path, column = change.arrives
        table, found = after[path], None
        if self.left > 0:
            self.left -= 1
            types = change.payload["before"], change.payload["after"]
            try:
                found = await castability(self.warehouse, (table.schema, table.name), column, *types)
            except SwarmError as error:
                log.info("drift.castability_unknown", source=self.warehouse.name, problem=error.message)
        answer = {
            "castable": found.castable if found else None,
            "rejected": found.rejected if found else None,
            "rows": found.rows if found else None,
        }
        return replace(change, payload={**change.payload, **answer})
