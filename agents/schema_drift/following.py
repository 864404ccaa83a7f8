"""What a rename reaches through views that go on, and nothing else: it does not feel the rename.

The blackboard tells all that hangs on a place, not by which way. So what could hang on it by a view that goes on is
asked what it names itself; who cannot say counts as naming the old name.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any

from agents.column_edges import COLUMNS
from agents.context import Context
from agents.schema_drift.views import Seen
from agents.structure import views
from agents.structure.changes import Change
from config.assets import Asset

Downstream = Callable[[Asset], Awaitable[frozenset[Asset]]]


async def parted(
    change: Change,
    found: Collection[Asset],
    following: Collection[Asset],
    *,
    seen: Seen,
    downstream: Downstream,
    context: Context,
) -> tuple[set[Asset], set[Asset]]:
    """What of `found` feels the change, and what goes on with the views that do.

    - following: the views that read the new name.
    - downstream: everything made from an asset.
    """
    through: set[Asset] = set()
    own: set[Asset] = set()
    for whole in sorted(following):
        own |= {asset for asset in found if asset.whole == whole}
        for start in (whole, *sorted(asset for asset in found if asset.whole == whole and asset.part)):
            through |= await downstream(start)
    unsure = (through & set(found)) - own
    felt = set(found) - unsure - own
    for relation in sorted({asset.whole for asset in unsure if asset.scheme == "warehouse"}):
        fact = await context.fact(relation, COLUMNS)
        told = fact.object if fact is not None and isinstance(fact.object, Mapping) else None
        part = seen.part(relation.path)
        # What a pipeline's code says goes before what the engine made of it.
        names_it = _names(told, change) if told is not None else part is None or views.reads(part, change.table)
        if names_it:
            by = str(told.get("by", "")) if told is not None else ""
            made = await downstream(relation)
            felt |= {a for a in unsure if a.whole == relation or a in made or (by and a.path == by)}
    return felt, set(found) - felt


def _names(told: Mapping[str, Any], change: Change) -> bool:
    """Does what makes a relation name what was renamed, by all that is known of its SQL?"""
    table, column = change.table.casefold(), change.column.casefold()
    uses = {str(used).casefold() for used in told.get("uses", ())}
    reads = told.get("reads")
    has_read = reads is None or table in {str(read).casefold() for read in reads}
    if column and f"{table}#{column}" in uses:
        return True
    return has_read and (bool(told.get("in_doubt")) or not column)
