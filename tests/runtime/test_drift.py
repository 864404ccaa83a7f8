"""Drift through the runtime: real warehouses, baselines and lineage in the swarm's own database."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from pydantic import SecretStr

from agents.runtime.swarm import Swarm
from agents.schema_drift import SchemaDrift, SchemaDriftOptions
from config.assets import Asset
from integrations.base import Catalog
from integrations.warehouses.postgres import PostgresOptions, PostgresWarehouse
from memory.board import baselines, lineage
from memory.connection.database import Database
from memory.records import Baseline, Edge, Observation, Severity
from memory.server.embedded import EmbeddedServer
from tests.cases.reading import Shelf
from tests.pace import PATIENCE, until
from tests.runtime.test_loops import observed
from tests.runtime.toys import running

ORDERS = Asset.parse("warehouse://shop/raw.orders")
MODEL = Asset.parse("dbt://shop_dbt/model.shop.stg_orders")
MADE = Asset.parse("warehouse://shop/mart.stg_orders")


class Quick(SchemaDrift):
    """Looks often."""

    every_seconds = 0.2


@pytest.fixture
def shop(server: EmbeddedServer) -> Iterator[str]:
    """A database with a few tables; the address of its owner."""
    name = f"w_{uuid4().hex[:12]}"
    server.create_database(name)
    url = server.url_for(database=name)
    run(url, "create schema raw; create table raw.orders (id int primary key, customer_id int, note text, legacy text)")
    yield url
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute(f"drop database {name} with (force)")


def run(url: str, sql: str) -> None:
    """Change a warehouse."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(sql)


def warehouse(url: str, name: str = "shop") -> PostgresWarehouse:
    """The warehouse as it is configured."""
    options = PostgresOptions(url=SecretStr(url), schemas=("raw",), sketch_key=SecretStr("of a test"))
    return PostgresWarehouse(name, options)


@asynccontextmanager
async def watching(db: Database, sources: dict[str, Any], **options: Any) -> AsyncIterator[Swarm]:
    """The agent at work on these sources."""
    agent = Quick(SchemaDriftOptions(**options))
    for source in sources.values():
        await source.open()
    try:
        async with running(db, agents={"schema-drift": agent}, sources=sources) as swarm:
            yield swarm
    finally:
        for source in sources.values():
            await source.close()


async def head(db: Database, source: str = "shop") -> Baseline | None:
    """The baseline as it is now."""
    async with db.transaction() as tx:
        return await baselines.get(tx, "schema-drift", source)


async def told(db: Database, kind: str, count: int) -> list[Observation]:
    """Observations of a kind once there are so many."""
    found = await observed(db, kind)
    return found if len(found) >= count else []


async def test_a_used_column_is_an_error_and_an_unused_one_a_note(db: Database, shop: str) -> None:
    """The rename of what a model reads is told as an error with whom it reaches; that of what nobody reads as info."""
    async with db.transaction() as tx:
        await lineage.replace(
            tx,
            "shop_dbt",
            [
                Edge(ORDERS, MODEL),
                Edge(MODEL, MADE),
                Edge(ORDERS.column("customer_id"), MODEL, lineage.USE),
                Edge(ORDERS.column("customer_id"), MADE.column("customer_id"), "column:value"),
            ],
        )
    async with watching(db, {"shop": warehouse(shop)}):
        await until(lambda: head(db))
        run(shop, "alter table raw.orders rename customer_id to buyer_id")
        run(shop, "alter table raw.orders rename note to remark")
        run(shop, "alter table raw.orders drop legacy")
        renamed = {o.subject.part: o for o in await until(lambda: told(db, "schema.column_renamed", 2))}
        [dropped] = await until(lambda: told(db, "schema.column_dropped", 1))
    used, unused = renamed["customer_id"], renamed["note"]
    assert (used.severity, unused.severity) == (Severity.ERROR, Severity.INFO)
    assert used.importance > 0.5 > unused.importance
    assert used.payload["impact"]["models"]["names"] == ["model.shop.stg_orders"]
    assert used.payload["impact"]["columns"]["names"] == ["mart.stg_orders#customer_id"]
    assert unused.payload["impact"]["models"]["count"] == 0
    assert dropped.severity is Severity.INFO, "nobody reads it"
    assert dropped.importance < 0.5


async def test_a_look_at_which_nothing_changed_writes_nothing(db: Database, shop: str) -> None:
    """The baseline keeps its version over many looks; a change makes a revision, and so does its undoing."""
    source = Counting("shop", warehouse(shop).options)
    async with watching(db, {"shop": source}, sketch_size=0):
        first = await until(lambda: head(db))
        seen = source.looks
        await until(lambda: source.looked(seen + 4))
        assert await head(db) == first
        assert source.catalogs == 1
        run(shop, "alter table raw.orders alter note set not null")
        await until(lambda: observed(db, "schema.column_altered"))
        run(shop, "alter table raw.orders alter note drop not null")
        await until(lambda: observed(db, "schema.restored"))
    async with db.transaction() as tx:
        told_ = await baselines.revisions(tx, "schema-drift", "shop")
        assert [(r.changed, r.note) for r in told_] == [
            (1, "1 restored"),
            (1, "1 column_altered"),
            (told_[-1].changed, "first look"),
        ]
        was = await baselines.parts(tx, "schema-drift", "shop", told_[1].revision)
        now = await baselines.parts(tx, "schema-drift", "shop")
    assert was["table:raw.orders"] != now["table:raw.orders"]


class Counting(PostgresWarehouse):
    """A warehouse that counts how often it was looked at, and how often its catalog was read."""

    looks = 0
    catalogs = 0

    async def fingerprint(self) -> str:
        """Count."""
        self.looks += 1
        return await super().fingerprint()

    async def catalog(self) -> Catalog:
        """Count."""
        self.catalogs += 1
        return await super().catalog()

    async def looked(self, times: int) -> bool:
        """Was it looked at so often?"""
        return self.looks >= times


class Hanging(Shelf):
    """A warehouse that never answers."""

    def __init__(self, name: str) -> None:
        super().__init__(name, {"tables": {}})
        self.asked_for = asyncio.Event()

    async def catalog(self) -> Catalog:
        """Wait for ever."""
        self.asked_for.set()
        await asyncio.Event().wait()
        raise AssertionError("nobody sets it")


async def test_a_source_that_hangs_does_not_hold_up_the_others(db: Database, shop: str) -> None:
    """While one warehouse does not answer, the other is looked at again and again, and its change is told."""
    hanging = Hanging("slow")
    async with watching(db, {"slow": hanging, "shop": warehouse(shop)}):
        await asyncio.wait_for(hanging.asked_for.wait(), PATIENCE)
        await until(lambda: head(db))
        run(shop, "alter table raw.orders add fresh int")
        await until(lambda: observed(db, "schema.column_added"))
        assert await head(db, "slow") is None


async def test_a_locked_table_does_not_hold_up_the_look(db: Database, shop: str) -> None:
    """Another table's change is told while somebody holds a table for himself."""
    run(shop, "create table raw.held (id int); create table raw.free (id int)")
    async with watching(db, {"shop": warehouse(shop)}, table_seconds=0.5):
        await until(lambda: head(db))
        with psycopg.connect(shop) as other:
            other.execute("lock table raw.held in access exclusive mode")
            run(shop, "alter table raw.free add fresh int")
            [added] = await until(lambda: observed(db, "schema.column_added"))
    assert added.subject.path == "raw.free"
