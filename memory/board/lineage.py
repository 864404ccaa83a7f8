"""Lineage: what is made from what, as each source last told it."""

from __future__ import annotations

from collections.abc import Sequence

from config.assets import Asset
from memory import forms
from memory.connection.database import Transaction
from memory.records import Edge

DEEPEST = 20


async def replace(tx: Transaction, source: str, edges: Sequence[Edge]) -> int:
    """Make `edges` all that is known from a source; what it no longer tells is gone. How many rows changed.

    Raises:
        UsageError: no source named.
    """
    forms.text(source, "source", required=True)
    await tx.run("hold_lineage", source=source)
    row = await tx.one(
        "replace_lineage",
        source=source,
        upstreams=[str(edge.upstream) for edge in edges],
        downstreams=[str(edge.downstream) for edge in edges],
        kinds=[edge.kind for edge in edges],
    )
    return int(row["changed"]) if row else 0


async def upstream(tx: Transaction, asset: Asset, depth: int = DEEPEST) -> set[Asset]:
    """Everything the asset is made from, at most `depth` edges away; itself left out, cycles harmless.

    A column is made from what its table is made from, too; where a column is found, so is its table.
    """
    rows = await tx.all("lineage_upstream", asset=asset, whole=str(asset.whole), depth=depth)
    return {Asset.parse(row["asset"]) for row in rows}


async def downstream(tx: Transaction, asset: Asset, depth: int = DEEPEST) -> set[Asset]:
    """Everything made from the asset, at most `depth` edges away; itself left out, cycles harmless.

    What is made from a column's table counts as made from the column: without edges between columns nothing finer
    is known, and missing one is worse.
    """
    rows = await tx.all("lineage_downstream", asset=asset, whole=str(asset.whole), depth=depth)
    return {Asset.parse(row["asset"]) for row in rows}
