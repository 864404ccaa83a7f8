"""Lineage: what is made from what, as each source last told it.

Edges of wholes (tables, and the code that reads and makes them) say all there is; edges of columns, of a kind
`column:…`, stand beside them and say it finer:

    column:value       the one goes into the other (`column:filter+value`: it also decides which rows there are)
    column:use         the code at the other end names the column: without it, it does not run
    column:made        the code makes the column

A walk from a whole goes by the edges of wholes. One from a column goes by edges of columns, and takes the edge of its
whole only where none is known between the two: what is not known finer counts as made from all of it, for missing one
is worse.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from typing import Final

from config.assets import Asset
from memory import forms
from memory.connection.database import Transaction
from memory.records import Edge

DEEPEST = 20
USE: Final = "column:use"
MADE: Final = "column:made"
_MANY = 1000
"""So many edges are written down outside the event loop."""
_Written = tuple[list[str], list[str], list[str], str]


async def replace(tx: Transaction, source: str, edges: Sequence[Edge]) -> int:
    """Make `edges` all that is known from a source; what it no longer tells is gone. How many rows changed.

    Telling the same again reads one row. Of several edges between the same two, one is kept.

    Raises:
        UsageError: no source named.
    """
    forms.text(source, "source", required=True)
    written = _written(edges) if len(edges) < _MANY else await asyncio.to_thread(_written, edges)
    upstreams, downstreams, kinds, told = written
    await tx.run("hold_lineage", source=source)
    row = await tx.one("lineage_told", source=source)
    if row is not None and row["hash"] == told:
        return 0
    row = await tx.one("replace_lineage", source=source, upstreams=upstreams, downstreams=downstreams, kinds=kinds)
    await tx.run("tell_lineage", source=source, hash=told)
    return int(row["changed"]) if row else 0


def _written(edges: Sequence[Edge]) -> _Written:
    """Edges as they are stored, in an order of their own, and a hash of them all."""
    shown: dict[Asset, str] = {}
    for edge in edges:
        for asset in (edge.upstream, edge.downstream):
            if asset not in shown:
                shown[asset] = str(asset)
    rows = sorted({(shown[e.upstream], shown[e.downstream], e.kind) for e in edges})
    hashed = hashlib.sha256()
    for row in rows:
        hashed.update("\n".join((*row, "")).encode())
    return [u for u, _, _ in rows], [d for _, d, _ in rows], [k for _, _, k in rows], hashed.hexdigest()


async def upstream(tx: Transaction, asset: Asset, depth: int = DEEPEST) -> set[Asset]:
    """Everything the asset is made from, at most `depth` edges away; itself left out, cycles harmless.

    Where a column is found, so is its table; what decides the rows of its table is asked of the table.
    """
    rows = await tx.all("lineage_upstream", asset=asset, whole=str(asset.whole), depth=depth)
    return {Asset.parse(row["asset"]) for row in rows}


async def downstream(tx: Transaction, asset: Asset, depth: int = DEEPEST) -> set[Asset]:
    """Everything made from the asset, at most `depth` edges away; itself left out, cycles harmless.

    Where a column is found, so is its table. What is made from a column's table counts as made from the column
    where no edges of columns are known between the two.
    """
    rows = await tx.all("lineage_downstream", asset=asset, whole=str(asset.whole), depth=depth)
    return {Asset.parse(row["asset"]) for row in rows}


async def is_read(tx: Transaction, source: Asset) -> bool:
    """Does anybody but the source itself tell of something made from what is in it?"""
    row = await tx.one("lineage_reads", inside=f"{source.scheme}://{source.source}/", source=source.source)
    return bool(row and row["is_read"])
