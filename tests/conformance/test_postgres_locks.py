"""The catalog and other people's locks: it waits for none, holds none, and is whole or not there."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from config.errors import TransientError
from integrations.base import Catalog, Index, Table
from integrations.warehouses.postgres import PostgresOptions, PostgresWarehouse
from tests.conformance.interposing import interposed
from tests.pace import PATIENCE

_PARTS = """
create schema mill authorization team; grant usage on schema mill to reader;
set role team;
create table mill.ground (a integer constraint positive check (a > 0), b integer generated always as (a * 2) stored,
  during int4range, exclude using gist (during with &&));
create index on mill.ground ((a + 1)) where b > 2; create index plain on mill.ground (b);
create view mill.seen as select a from mill.ground;
create view mill.twice as select a from mill.seen;
create materialized view mill.kept as select b from mill.ground;
create index on mill.kept (b);
create table mill.split (a integer) partition by hash (a);
create table mill.other (a integer primary key, g integer check (g < 9));
"""
# Patience far beyond that of the test: who waits for a lock does not come back in time.
PATIENT = {"lock_timeout_seconds": 300, "statement_timeout_seconds": 300}

GREETING = (3 << 16).to_bytes(4, "big")  # a session begins with its protocol's version, 3.0


def warehouse(url: str, **options: object) -> PostgresWarehouse:
    """A warehouse by URL that looks at the schema of these tests."""
    return PostgresWarehouse("bakery", PostgresOptions.model_validate({"url": url, "schemas": ["mill"]} | options))


@pytest.fixture
def mill(bakery: Any) -> Iterator[Any]:
    """A schema with everything that is told only under a lock."""
    bakery.run(_PARTS)
    yield bakery
    bakery.run("drop schema mill cascade")


def named(catalog: Catalog) -> dict[str, Table]:
    """Tables by name."""
    return {t.name: t for t in catalog.tables}


@pytest.mark.parametrize(
    "statement",
    [
        "lock table mill.ground in access exclusive mode",
        "lock table mill.seen in access exclusive mode",
        "lock table mill.split in access exclusive mode",
        "refresh materialized view mill.kept",
        "alter table mill.ground rename a to z",
        "alter table mill.ground rename to dust",
        "alter table mill.ground drop a cascade",
        "alter table mill.ground add check (b > 7), alter b drop expression",
        "drop schema mill cascade",
        "truncate mill.ground",
        "create or replace view mill.seen as select a, 1 as one from mill.ground",
    ],
)
async def test_a_lock_does_not_stall_a_look(mill: Any, statement: str) -> None:
    """While another session holds ACCESS EXCLUSIVE, all that was known is told as committed, and at once."""
    looking = warehouse(mill.url("reader"), **PATIENT)
    before = await looking.catalog()
    with psycopg.connect(mill.url("postgres")) as holder:
        holder.execute(statement)
        async with asyncio.timeout(PATIENCE):
            during = await looking.catalog()
        assert during.tables == before.tables
        assert during.fingerprint == before.fingerprint
        holder.rollback()
    assert (await looking.catalog()).tables == before.tables


async def test_what_was_never_told_and_is_locked_is_no_catalog(mill: Any) -> None:
    """A first look at a locked table says which one, at once, and returns nothing; afterwards it is told."""
    looking = warehouse(mill.url("reader"), **PATIENT)
    with psycopg.connect(mill.url("postgres")) as holder:
        holder.execute("lock table mill.other in access exclusive mode")
        async with asyncio.timeout(PATIENCE):
            with pytest.raises(TransientError, match=r"mill\.other.* locked") as caught:
                await looking.catalog()
        assert caught.value.hint
    assert named(await looking.catalog())["other"].constraints[0].definition == "CHECK ((g < 9))"


async def test_a_locked_table_without_such_texts_is_told(mill: Any) -> None:
    """Keys, defaults, columns and plain indexes need no lock: a table that has no more is told at the first look."""
    mill.run(
        "drop table mill.other; create table mill.other (a integer default 3, b text, primary key (a));"
        "create index by_both on mill.other (b, a)"
    )
    with psycopg.connect(mill.url("postgres")) as holder:
        holder.execute("lock table mill.other in access exclusive mode")
        async with asyncio.timeout(PATIENCE):
            other = named(await warehouse(mill.url("reader"), **PATIENT).catalog())["other"]
    assert (other.columns[0].default, other.constraints[0].definition) == ("3", "PRIMARY KEY (a)")
    assert other.indexes == (Index("by_both", ("b", "a"), definition="btree (b, a)"),)


@pytest.mark.parametrize(
    "change",
    [
        "alter table mill.ground rename a to z",
        "alter table mill.ground drop constraint positive, add constraint positive check (a > 1)",
        "drop index mill.plain; create index plain on mill.ground (b desc)",
        "alter index mill.ground_expr_idx rename to plainer",
        "create or replace view mill.seen as select a + 0 as a from mill.ground",
    ],
)
async def test_what_changed_since_is_not_told_from_memory(mill: Any, change: str) -> None:
    """What is remembered counts only while nothing it was written from changed: no old text for a new table."""
    looking = warehouse(mill.url("reader"), **PATIENT)
    await looking.catalog()
    mill.run(change)
    with psycopg.connect(mill.url("postgres")) as holder:
        holder.execute("lock table mill.ground in access exclusive mode")
        async with asyncio.timeout(PATIENCE):
            with pytest.raises(TransientError, match="locked"):
                await looking.catalog()
    assert (await looking.catalog()).tables == (await warehouse(mill.url("reader")).catalog()).tables


async def test_what_changed_elsewhere_is_told_beside_what_is_remembered(mill: Any) -> None:
    """A change of one table is seen while another one is locked."""
    looking = warehouse(mill.url("reader"), **PATIENT)
    before = named(await looking.catalog())
    mill.run("alter table mill.other add h integer check (h > 5)")
    with psycopg.connect(mill.url("postgres")) as holder:
        holder.execute("lock table mill.ground in access exclusive mode")
        async with asyncio.timeout(PATIENCE):
            during = named(await looking.catalog())
    assert during["ground"] == before["ground"]
    assert during["seen"] == before["seen"]
    assert {c.definition for c in during["other"].constraints} >= {"CHECK ((h > 5))"}


async def test_a_lock_that_is_only_waited_for_does_not_stall_either(mill: Any) -> None:
    """Behind somebody who waits for ACCESS EXCLUSIVE everybody would queue; the catalog does not."""
    looking = warehouse(mill.url("reader"), **PATIENT)
    before = await looking.catalog()
    until_queued = """do $block$ begin
      while not exists (select from pg_locks where mode = 'AccessExclusiveLock' and not granted) loop end loop;
    end $block$"""
    with psycopg.connect(mill.url("postgres")) as holder:
        holder.execute("lock table mill.ground in access share mode")
        async with await psycopg.AsyncConnection.connect(mill.url("postgres")) as queued:
            task = asyncio.create_task(queued.execute("alter table mill.ground rename a to z"))
            async with asyncio.timeout(PATIENCE):
                await asyncio.to_thread(mill.run, until_queued)
                assert (await looking.catalog()).tables == before.tables
            holder.rollback()
            await task
            await queued.rollback()


async def test_locks_taken_in_the_middle_do_not_stall(mill: Any, tmp_path: Path) -> None:
    """A table locked between any two statements of a look costs neither the look nor its truth."""
    said = 0
    holders: list[psycopg.Connection[Any]] = []

    async def lock_at(data: bytes) -> None:
        nonlocal said
        said += 1
        farewell = data.startswith(b"X")
        if said == moment and not farewell:
            holders.append(psycopg.connect(mill.url("postgres")))
            holders[-1].execute("lock table mill.ground, mill.seen, mill.split, mill.other in access exclusive mode")

    moment = 0
    async with interposed(mill.url("reader"), tmp_path, lock_at) as url:
        looking = warehouse(url, **PATIENT)
        before = await looking.catalog()
        statements, moment = said, 1
        while moment <= statements:
            said = 0
            try:
                async with asyncio.timeout(PATIENCE):
                    assert (await looking.catalog()).tables == before.tables
            finally:
                while holders:
                    holders.pop().close()
            moment += 1
    assert moment > 10


async def test_a_look_blocks_nobody(mill: Any, tmp_path: Path) -> None:
    """At each point in the middle of a look another session alters, renames and drops without waiting at all."""
    moments = 0

    async def alter(data: bytes) -> None:
        nonlocal moments
        moments += 1
        with psycopg.connect(mill.url("postgres")) as other:
            other.execute("set local lock_timeout = '1ms'")
            other.execute("alter table mill.ground add c integer; alter view mill.twice rename to thrice")
            other.execute("drop schema mill cascade")
            other.rollback()

    async with interposed(mill.url("reader"), tmp_path, alter) as url:
        assert len((await warehouse(url).catalog()).tables) == 6
    assert moments > 10


async def test_what_vanishes_in_the_middle_is_read_anew(mill: Any, tmp_path: Path) -> None:
    """A schema emptied and filled at any point of a look: the catalog is that of one moment, never a part of it."""
    said = 0

    async def rebuild(data: bytes) -> None:
        nonlocal said
        said += 1
        if said == moment:
            mill.run("drop schema mill cascade")
            mill.run(_PARTS)

    moment = 0
    async with interposed(mill.url("reader"), tmp_path, rebuild) as url:
        whole = {n: (len(t.columns), t.definition, t.indexes) for n, t in named(await warehouse(url).catalog()).items()}
        statements, moment = said, 1
        while moment <= statements:
            said = 0
            found = named(await warehouse(url).catalog())
            if found:
                assert {n: (len(t.columns), t.definition, t.indexes) for n, t in found.items()} == whole
            moment += 1


async def test_a_catalog_that_never_stands_still_is_tried_again_later(mill: Any, tmp_path: Path) -> None:
    """Rebuilt at every attempt, it is a TransientError after a few; nothing partial comes back."""
    rebuilt = 0

    async def rebuild(data: bytes) -> None:
        nonlocal rebuilt
        if b"in_the_way as materialized" in data:
            rebuilt += 1
            mill.run("drop schema mill cascade")
            mill.run(_PARTS)

    async with interposed(mill.url("reader"), tmp_path, rebuild) as url:
        with pytest.raises(TransientError, match="changed while it was read"):
            await warehouse(url).catalog()
    assert rebuilt == 3


async def test_a_connection_that_dies_leaves_nothing_partial(mill: Any, tmp_path: Path) -> None:
    """Ended by another session at any statement of a look, it is a TransientError; the next look is whole."""
    said, moment, is_read = 0, 0, False
    end = (
        "select count(pg_terminate_backend(pid, 60000)) from pg_stat_activity"
        " where application_name = 'dataswarm/reader'"
    )

    async def end_at(data: bytes) -> None:
        nonlocal said, is_read
        if data[4:8] == GREETING:  # what the session before still had to say does not count
            said, is_read = 0, False
        said += 1
        is_read = is_read or b"ROLLBACK" in data  # said after all was read: nobody minds an end from here on
        if said == moment and not is_read:
            assert mill.run(end) == [(1,)]

    async def end_at_each(look: Callable[[], Awaitable[object]]) -> int:
        """End the session at one statement after the other, until the look is over before; how many there were."""
        nonlocal moment
        moment = 2  # the first is the greeting, before which there is no session
        while True:
            (outcome,) = await asyncio.gather(look(), return_exceptions=True)
            if is_read:
                return moment - 2
            assert isinstance(outcome, TransientError)
            moment += 1

    async with interposed(mill.url("reader"), tmp_path, end_at) as url:
        looking = warehouse(url)
        before = await looking.catalog()
        assert await end_at_each(looking.catalog) > 8
        moment = 0
        assert (await looking.catalog()).tables == before.tables
        assert await end_at_each(lambda: warehouse(url).fingerprint()) > 2
