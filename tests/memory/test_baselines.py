"""Baselines: the look that read the last one replaces it, no other."""

from __future__ import annotations

import asyncio

import pytest

from config.errors import ConflictError, UsageError
from memory.board import baselines
from memory.connection.database import Database
from memory.records import Baseline


async def test_swaps_follow_versions(db: Database) -> None:
    """None before the first; each swap needs the version that was read; agents do not share them."""
    async with db.transaction() as tx:
        assert await baselines.get(tx, "a", "shop") is None
        assert await baselines.swap(tx, "a", "shop", {"tables": []}, 0) == Baseline("a", "shop", 1, {"tables": []})
        assert (await baselines.swap(tx, "a", "shop", [1, "two", None], 1)).version == 2
        with pytest.raises(ConflictError, match="has version 2, not 1"):
            await baselines.swap(tx, "a", "shop", {}, 1)
        with pytest.raises(ConflictError, match="has version 2, not 0"):
            await baselines.swap(tx, "a", "shop", {}, 0)
        with pytest.raises(ConflictError, match="has version 0, not 3"):
            await baselines.swap(tx, "b", "shop", {}, 3)
        with pytest.raises(UsageError, match="baseline"):
            await baselines.swap(tx, "a", "shop", {"x": float("inf")}, 2)
        found = await baselines.get(tx, "a", "shop")
    assert found is not None
    assert (found.version, found.value) == (2, [1, "two", None])


@pytest.mark.parametrize("start", [0, 1])
async def test_of_many_at_once_one_swaps(db: Database, start: int) -> None:
    """Six looks that read the same version: one of them is kept."""
    if start:
        async with db.transaction() as tx:
            await baselines.swap(tx, "a", "shop", "first", 0)

    async def look(number: int) -> bool:
        try:
            async with db.transaction() as tx:
                await baselines.swap(tx, "a", "shop", number, start)
        except ConflictError:
            return False
        return True

    assert sum(await asyncio.gather(*(look(number) for number in range(6)))) == 1
