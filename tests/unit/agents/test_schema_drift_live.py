"""Schema drift against a real PostgreSQL: each change by ALTER, and by creating the table anew and swapping it in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import psycopg
import pytest
from pydantic import SecretStr

from agents.schema_drift import SchemaDrift, SchemaDriftOptions
from integrations.warehouses.postgres import PostgresOptions, PostgresWarehouse
from memory.records import JSON, NewObservation
from memory.server.embedded import EmbeddedServer
from tests.cases.reading import ContextAsData

_SETUP = """
create schema raw;
create table raw.orders (
    order_id integer, customer_id integer, status text, amount_cents integer,
    tax_cents integer, shipping_cents integer);
insert into raw.orders
    select i, 1 + (i * 7) % 90, (array['paid', 'placed', 'gone'])[1 + i % 3], 1000 + i * 13,
           100 + (i * 37) % 400, 100 + (i * 91) % 400
      from generate_series(1, 600) i;
create view raw.paid as select order_id, customer_id from raw.orders where status = 'paid';
"""


@dataclass
class Watched:
    """A database, the agent that watches it, and what it knew last."""

    url: str
    warehouse: PostgresWarehouse
    agent: SchemaDrift
    baseline: JSON = None
    held: dict[str, JSON] = field(default_factory=dict)

    def run(self, sql: str) -> None:
        """Change the database."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(sql)

    async def look(self, context: Mapping[str, Any] | None = None) -> Sequence[NewObservation]:
        """Look, and remember."""
        window = ContextAsData(context or {}, self.held)
        sensed = await self.agent.sense(self.warehouse, self.baseline, window)
        self.baseline = sensed.baseline
        window.hold(sensed.parts)
        return sensed.observations

    async def told(self) -> list[tuple[str, str, dict[str, Any]]]:
        """What a look says: kind, subject and payload."""
        return [(o.kind.removeprefix("schema."), str(o.subject), dict(o.payload)) for o in await self.look()]


@pytest.fixture
async def watched(server: EmbeddedServer, empty_name: str) -> Watched:
    """A watched database after its first look."""
    url = server.url_for(database=empty_name)
    options = PostgresOptions(url=SecretStr(url), schemas=("raw",), sketch_key=SecretStr("of a test"))
    world = Watched(url, PostgresWarehouse("shop", options), SchemaDrift(SchemaDriftOptions()))
    world.run(_SETUP)
    assert await world.look() == (), "the first look is a baseline"
    assert await world.look() == ()
    return world


def _swap(select: str) -> str:
    return (
        f"begin; create table raw.orders_new as select {select} from raw.orders; "
        "drop table raw.orders cascade; alter table raw.orders_new rename to orders; commit"
    )


_REST = "order_id, status, amount_cents, tax_cents, shipping_cents"


@pytest.mark.parametrize(
    ("ddl", "evidence"),
    [
        ("alter table raw.orders rename customer_id to buyer_id", "identity"),
        (
            _swap("order_id, customer_id as buyer_id, status, amount_cents, tax_cents, shipping_cents"),
            "content",
        ),
    ],
)
async def test_column_renamed(watched: Watched, ddl: str, evidence: str) -> None:
    """One rename comes out as one rename, whichever way it was made; the view that hangs on it is no change."""
    watched.run(ddl)
    told = [t for t in await watched.told() if t[1].startswith("warehouse://shop/raw.orders")]
    assert [(t[0], t[1]) for t in told] == [("column_renamed", "warehouse://shop/raw.orders#customer_id")]
    assert told[0][2]["after"] == "buyer_id"
    assert told[0][2]["evidence"] == evidence
    assert await watched.look() == (), "told once"


@pytest.mark.parametrize(
    ("ddl", "evidence"),
    [
        ("alter table raw.orders rename to sales", "identity"),
        ("create table raw.sales as table raw.orders; drop table raw.orders cascade", "content"),
    ],
)
async def test_table_renamed(watched: Watched, ddl: str, evidence: str) -> None:
    """So does a table's."""
    for statement in ddl.split("; "):
        watched.run(statement)
    told = [t for t in await watched.told() if "paid" not in t[1]]
    assert [(t[0], t[1], t[2]["after"], t[2]["evidence"]) for t in told] == [
        ("table_renamed", "warehouse://shop/raw.orders", "raw.sales", evidence)
    ]


@pytest.mark.parametrize("junk", ["", "12.5", "n/a", "99999999999"])
async def test_column_retyped(watched: Watched, junk: str) -> None:
    """The warehouse counts what could not be read back, and nothing of it is told."""
    watched.run(_swap("order_id, customer_id, status, amount_cents::text, tax_cents, shipping_cents"))
    if junk:
        watched.run(f"update raw.orders set amount_cents = '{junk}' where order_id <= 3")
    told = [t for t in await watched.told() if t[0] == "column_retyped"]
    assert [t[1] for t in told] == ["warehouse://shop/raw.orders#amount_cents"]
    payload = told[0][2]
    assert (payload["before"], payload["after"], payload["castable"]) == ("integer", "text", not junk)
    assert (payload["rejected"], payload["rows"]) == (3 if junk else 0, 600)
    assert not junk or junk not in str(told)


async def test_two_lookalikes(watched: Watched) -> None:
    """Renamed at once in a table made anew, to names that say nothing: ambiguous. By ALTER: plain."""
    watched.run(_swap("order_id, customer_id, status, amount_cents, shipping_cents as b, tax_cents as a"))
    told = [t for t in await watched.told() if "orders" in t[1]]
    assert [t[0] for t in told] == ["columns_ambiguous"]
    assert sorted(told[0][2]["dropped"]) == ["shipping_cents", "tax_cents"]
    watched.run("alter table raw.orders rename a to c")
    watched.run("alter table raw.orders rename b to d")
    assert [(t[0], t[2]["before"], t[2]["after"]) for t in await watched.told()] == [
        ("column_renamed", "a", "c"),
        ("column_renamed", "b", "d"),
    ]


async def test_recreated_as_it_was(watched: Watched) -> None:
    """A full refresh changes nothing, though every identity is new."""
    watched.run(_swap("*"))
    watched.run("create view raw.paid as select order_id, customer_id from raw.orders where status = 'paid'")
    assert await watched.look() == ()


async def test_grown_table_still_recognised(watched: Watched) -> None:
    """A table that grew by half since it was sketched is compared by what it still holds."""
    watched.run("insert into raw.orders select i, i % 90, 'paid', i, i % 400, i % 300 from generate_series(601, 900) i")
    watched.run(_swap("order_id as order_number, customer_id, status, amount_cents, tax_cents, shipping_cents"))
    told = [t for t in await watched.told() if "orders" in t[1]]
    assert [(t[0], t[2].get("after")) for t in told] == [("column_renamed", "order_number")]


async def test_wide_table(watched: Watched) -> None:
    """Two thousand columns of one type, all renamed at once in place and anew."""
    columns = ", ".join(f"c{i} smallint" for i in range(1500))
    watched.run(f"create table raw.wide ({columns})")
    assert [t[0] for t in await watched.told()] == ["table_added"]
    watched.run("alter table raw.wide rename c7 to seven")
    assert [t[2]["after"] for t in await watched.told()] == ["seven"]
    renamed = ", ".join(f"d{i} smallint" for i in range(1500))
    watched.run(f"drop table raw.wide; create table raw.wide ({renamed})")
    told = await watched.told()
    assert [t[0] for t in told] == ["columns_ambiguous"]
    assert "too many" in told[0][2]["reason"]


@pytest.mark.parametrize(
    ("before", "good", "bad"),
    [
        ("smallint", ["1", " -32768 "], ["32768", "1.0", ""]),
        ("integer", ["2147483647", "+5"], ["2147483648", "five"]),
        ("bigint", ["9223372036854775807"], ["9223372036854775808", "9" * 41]),
        ("numeric", ["1.5", "-.5e3", "7."], ["1,5", "$3", "nanny"]),
        ("numeric(6,2)", ["1234.50", "0.1"], ["12345.6", "0.123"]),
        ("double precision", ["1e10", "0.25"], ["1e", "x"]),
        ("boolean", ["TRUE", "off", "1"], ["maybe", "2"]),
        ("date", ["2024-02-29", "1999-12-31"], ["2023-02-29", "2024-13-01", "0000-01-01", "31.12.1999"]),
        ("timestamp without time zone", ["2024-02-29 23:59:59.5", "2024-01-01"], ["2024-01-01 24:01", "now"]),
        ("timestamp with time zone", ["2024-02-29T23:59:59Z", "2024-01-01 10:00+02"], ["2024-01-01 10:00 CET"]),
        ("uuid", ["6ecd8c99-4036-403d-bf84-cf8400f67836"], ["6ecd8c99"]),
    ],
)
async def test_castability_is_never_promised_wrongly(
    watched: Watched, before: str, good: Sequence[str], bad: Sequence[str]
) -> None:
    """What the test accepts, PostgreSQL casts; what is bad, it rejects, one by one."""
    from agents.schema_drift.casting import castability  # noqa: PLC0415 - one test's own

    watched.run("create table raw.texts (t text)")
    with psycopg.connect(watched.url, autocommit=True) as connection:
        for value in good:
            connection.execute("insert into raw.texts values (%s), (null)", (value,))
            connection.execute(f"select t::{before} from raw.texts")
    found = await castability(watched.warehouse, ("raw", "texts"), "t", before, "text")
    assert (found.castable, found.rejected, found.rows) == (True, 0, 2 * len(good))
    with psycopg.connect(watched.url, autocommit=True) as connection:
        for value in bad:
            connection.execute("insert into raw.texts values (%s)", (value,))
    found = await castability(watched.warehouse, ("raw", "texts"), "t", before, "text")
    assert (found.castable, found.rejected) == (False, len(bad))
