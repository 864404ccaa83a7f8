"""Baselines: the look that read the last one replaces it, no other; their parts have a past."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import perf_counter
from typing import Any

import psycopg
import pytest

from config.errors import ConflictError, SetupError, UsageError
from memory.board import baselines
from memory.connection.database import Database
from memory.records import JSON, Baseline, Sensitivity
from memory.vault.envelopes import Vault
from tests.memory.sealing import ring
from tests.pace import quick

DAY = timedelta(days=1)
START = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)


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
    """Six looks that read the same version: one of them is kept, with its parts and no other's."""
    if start:
        async with db.transaction() as tx:
            await baselines.swap(tx, "a", "shop", "first", 0)

    async def look(number: int) -> bool:
        try:
            async with db.transaction() as tx:
                await baselines.swap(tx, "a", "shop", number, start, {"table:x": {"by": number}})
        except ConflictError:
            return False
        return True

    assert sum(await asyncio.gather(*(look(number) for number in range(6)))) == 1
    async with db.transaction() as tx:
        head = await baselines.get(tx, "a", "shop")
        assert head is not None
        assert await baselines.parts(tx, "a", "shop") == {"table:x": {"by": head.value}}


# --- parts ---------------------------------------------------------------------------------------------------------


async def swapped(db: Database, version: int, parts: Mapping[str, JSON | None], note: str = "") -> None:
    """One swap of the parts in a transaction of its own."""
    async with db.transaction() as tx:
        await baselines.swap(tx, "a", "shop", {"at": version}, version, parts, note=note)


async def test_parts_are_kept_as_of_each_revision(db: Database) -> None:
    """Only what changed is written; what a revision held can be read later, what went is not there from then on."""
    await swapped(db, 0, {"table:a": [1], "table:b": [1]}, "first look")
    await swapped(db, 1, {"table:a": [1], "table:b": [2]})
    await swapped(db, 2, {})
    await swapped(db, 3, {"table:a": [1]})
    await swapped(db, 4, {"table:a": None, "table:c": [3]}, "two tables")
    async with db.transaction() as tx:
        assert await baselines.parts(tx, "a", "shop") == {"table:b": [2], "table:c": [3]}
        assert await baselines.parts(tx, "a", "shop", 1) == {"table:a": [1], "table:b": [1]}
        assert await baselines.parts(tx, "a", "shop", 2) == {"table:a": [1], "table:b": [2]}
        assert await baselines.parts(tx, "a", "shop", 5) == {"table:b": [2], "table:c": [3]}
        assert await baselines.parts(tx, "a", "shop", names=["table:b", "table:z"]) == {"table:b": [2]}
        assert await baselines.parts(tx, "a", "shop", prefix="table:c") == {"table:c": [3]}
        assert await baselines.parts(tx, "b", "shop") == {}
        told = await baselines.revisions(tx, "a", "shop")
        assert [(r.revision, r.changed, r.note) for r in told] == [
            (5, 2, "two tables"),
            (2, 1, ""),
            (1, 2, "first look"),
        ]
        with pytest.raises(UsageError, match="no revision 3"):
            await baselines.parts(tx, "a", "shop", 3)
        assert await baselines.hashes(tx, "a", "shop") == {
            "table:b": baselines.hash_of([2]),
            "table:c": baselines.hash_of([3]),
        }


async def test_a_swap_that_fails_leaves_the_parts(db: Database) -> None:
    """Whoever comes too late, or hands in what is no JSON, changes nothing."""
    await swapped(db, 0, {"table:a": [1]})
    with pytest.raises(ConflictError):
        await swapped(db, 0, {"table:a": [2]})
    with pytest.raises(UsageError, match="part table:b"):
        await swapped(db, 1, {"table:a": [2], "table:b": {1, 2}})
    async with db.transaction() as tx:
        assert await baselines.parts(tx, "a", "shop") == {"table:a": [1]}
        assert (await baselines.get(tx, "a", "shop") or Baseline("", "", 0, None)).version == 1


async def test_what_passes_has_no_past(db: Database, owner_url: str) -> None:
    """Such a part is replaced where it stands, makes no revision, and is not there as of an earlier one."""
    await swapped(db, 0, {"table:a": [1], "passing:seen": 1, "secret:sketch": [7]})
    await swapped(db, 1, {"passing:seen": 2, "secret:sketch": [8]})
    await swapped(db, 2, {"passing:seen": 2})
    async with db.transaction() as tx:
        assert await baselines.parts(tx, "a", "shop") == {"table:a": [1], "passing:seen": 2, "secret:sketch": [8]}
        assert await baselines.parts(tx, "a", "shop", 1) == {"table:a": [1]}
        assert [r.revision for r in await baselines.revisions(tx, "a", "shop")] == [1]
    with psycopg.connect(owner_url) as connection:
        rows = connection.execute("SELECT part, revision FROM dataswarm.baseline_parts ORDER BY part").fetchall()
    assert rows == [("passing:seen", 2), ("secret:sketch", 2), ("table:a", 1)]


async def test_what_is_secret_is_sealed_where_it_can_be(db: Database, owner_url: str, tmp_path: Path) -> None:
    """With clearance and a key no plain text of it is in the database, and its data keys go with it.

    Without clearance it stays what it is; who may not read it does not see that it is there.
    """
    db.vault = Vault(ring("one"))
    secret: dict[str, JSON | None] = {"secret:sketch:x": ["deadbeefcafe"], "table:x": [1]}
    for version, clearance in enumerate((Sensitivity.CONFIDENTIAL, Sensitivity.CONFIDENTIAL)):
        async with db.transaction(clearance=clearance) as tx:
            await baselines.swap(tx, "a", "shop", {}, version, secret)
    async with db.transaction(clearance=Sensitivity.CONFIDENTIAL) as tx:
        assert await baselines.parts(tx, "a", "shop") == secret
        await baselines.swap(tx, "b", "shop", {}, 0, {"table:x": [1]})
    async with db.transaction() as tx:
        assert await baselines.parts(tx, "a", "shop") == {"table:x": [1]}
        await baselines.swap(tx, "c", "shop", {}, 0, secret)
        assert await baselines.parts(tx, "c", "shop") == secret
    with psycopg.connect(owner_url) as connection:
        stored = connection.execute("SELECT value::text FROM dataswarm.baseline_parts WHERE agent = 'a'").fetchall()
        keys = connection.execute("SELECT count(*) FROM dataswarm.data_keys WHERE noun = 'baseline'").fetchone()
    assert "deadbeefcafe" not in str(stored)
    assert keys == (1,), "the key of what was replaced is gone"
    db.vault = Vault(ring("another"))
    async with db.transaction(clearance=Sensitivity.CONFIDENTIAL) as tx:
        with pytest.raises(SetupError):
            await baselines.parts(tx, "a", "shop")


# --- the past ------------------------------------------------------------------------------------------------------


async def test_names_keep_revisions(db: Database) -> None:
    """A name stands for one revision for ever; what has none and is old goes, the newest and its parts stay."""
    now: list[datetime] = [START]
    db.clock = lambda: now[0]
    for version in range(4):
        await swapped(db, version, {"table:a": [version], **({"table:b": [0]} if version == 0 else {})})
        now[0] += 10 * DAY
    async with db.transaction() as tx:
        await baselines.name(tx, "a", "shop", 2, " before the move ", "maria")
        await baselines.name(tx, "a", "shop", 2, "before the move", "maria")
        assert await baselines.named(tx, "a", "shop", "before the move") == 2
        assert await baselines.named(tx, "a", "shop", "nothing") is None
        with pytest.raises(ConflictError, match="revision 2"):
            await baselines.name(tx, "a", "shop", 3, "before the move", "maria")
        for name, revision in (("7", 2), ("", 2), ("x", 9)):
            with pytest.raises(UsageError):
                await baselines.name(tx, "a", "shop", revision, name, "maria")
    async with db.transaction() as tx:
        assert await baselines.forget(tx, START + 365 * DAY) == 2
        assert await baselines.forget(tx, START + 365 * DAY) == 0
        told = await baselines.revisions(tx, "a", "shop")
        assert [(r.revision, r.names) for r in told] == [(4, ()), (2, ("before the move",))]
        assert await baselines.parts(tx, "a", "shop", 2) == {"table:a": [1], "table:b": [0]}
        assert await baselines.parts(tx, "a", "shop") == {"table:a": [3], "table:b": [0]}
        for gone in (1, 3):
            with pytest.raises(UsageError):
                await baselines.parts(tx, "a", "shop", gone)


async def test_forgetting_leaves_what_is_young(db: Database, owner_url: str) -> None:
    """A revision is kept until it is older than asked, and each part as long as one of its revisions is."""
    now: list[datetime] = [START]
    db.clock = lambda: now[0]
    for version in range(3):
        await swapped(db, version, {"table:a": [version]})
        now[0] += 10 * DAY
    async with db.transaction() as tx:
        assert await baselines.forget(tx, START + 5 * DAY) == 1
    with psycopg.connect(owner_url) as connection:
        rows = connection.execute("SELECT revision, until FROM dataswarm.baseline_parts ORDER BY revision").fetchall()
    assert rows == [(2, 3), (3, None)]


async def test_ten_thousand_parts_are_quick(db: Database) -> None:
    """Written at once in under two seconds; the head alone is read in no time, and writing the same writes nothing."""
    columns: list[Any] = [
        {"name": f"column_{n}", "position": n, "type": "integer", "nullable": True} for n in range(20)
    ]
    parts = {f"table:raw.t{n}": {"name": f"t{n}", "columns": columns} for n in range(10_000)}
    begin = perf_counter()
    await swapped(db, 0, parts)
    written = perf_counter() - begin
    begin = perf_counter()
    async with db.transaction() as tx:
        await baselines.get(tx, "a", "shop")
    read = perf_counter() - begin
    begin = perf_counter()
    async with db.transaction() as tx:
        assert len(await baselines.hashes(tx, "a", "shop")) == 10_000
    compared = perf_counter() - begin
    await swapped(db, 1, parts)
    async with db.transaction() as tx:
        assert [r.revision for r in await baselines.revisions(tx, "a", "shop")] == [1]
    assert written < quick(2)
    assert read < quick(0.1)
    assert compared < quick(0.5)
