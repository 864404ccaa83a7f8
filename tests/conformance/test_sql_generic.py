"""Any other dialect: read by SQLAlchemy's Inspector, here against a real PostgreSQL, which has a door of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from decimal import Decimal
from typing import Any

import pytest
from pydantic import SecretStr

from config.errors import ConflictError, PermanentError, SetupError, SwarmError, TransientError, UsageError
from integrations.base import Column, Constraint, Enumeration, Index, NumberSequence, Statement
from integrations.conformance import WarehouseConformance
from integrations.warehouses.postgres import PostgresOptions, PostgresWarehouse
from integrations.warehouses.sql import SqlOptions, SqlWarehouse

pytest.importorskip("sqlalchemy", reason="the extra `sql` is not installed")


def warehouse(bakery: Any, role: str = "reader", **options: object) -> SqlWarehouse:
    """A warehouse by role."""
    return SqlWarehouse("bakery", SqlOptions.model_validate({"url": bakery.url(role), "schemas": ["raw"]} | options))


class TestInspected(WarehouseConformance):
    """PostgreSQL by SQLAlchemy, with a reader and an actor."""

    @pytest.fixture
    async def warehouse(self, bakery: Any) -> AsyncIterator[SqlWarehouse]:
        """The bakery's server as both roles."""
        made = warehouse(bakery, actor_url=bakery.url("actor"), sketch_key=SecretStr("a key of the tests"))
        await made.open()
        yield made
        await made.close()

    @pytest.fixture
    def table(self) -> str:
        """Twenty sales, most without a note."""
        return "raw.sales"

    @pytest.fixture
    def write(self) -> str:
        """Touches one row."""
        return "update raw.sales set amount = amount + 1 where id = 3"


@pytest.fixture
def odd(bakery: Any) -> Iterator[Any]:
    """A schema of its own with an object of each kind, and names as nobody should give them."""
    bakery.run(
        """
        create schema odd; grant usage on schema odd to reader;
        create type odd.mood as enum ('good', 'bad');
        create sequence odd.numbers;
        create table odd.parents (id integer generated always as identity primary key, code varchar(10) unique,
          m odd.mood default 'good', at timestamptz(3), twice integer generated always as (2) stored);
        create table odd.children (parent integer constraint up references odd.parents on delete cascade,
          price numeric(10,2) not null default 0 check (price >= 0), note text collate "C");
        comment on table odd.children is 'small ones'; comment on column odd.children.note is 'free';
        create index by_price on odd.children (price);
        create view odd.seen as select id from odd.parents;
        create materialized view odd.stored as select id from odd.parents;
        create table odd."a.b; %s ""x" ("100%" text, "Ünï" date);
        insert into odd."a.b; %s ""x" values ('x', null);
        grant select on all tables in schema odd to reader"""
    )
    yield bakery
    bakery.run("drop schema odd cascade")


async def test_the_inspector_tells_what_it_can(odd: Any) -> None:
    """Columns, keys, checks, indexes, views, comments, enumerations and sequences of a dialect without a reader."""
    catalog = await warehouse(odd, schemas=["odd", "nowhere"]).catalog()
    tables = {t.name: t for t in catalog.tables}
    assert catalog.invisible == ("nowhere",)
    parents, children = tables["parents"], tables["children"]
    assert parents.columns[0] == Column("id", 1, "integer", nullable=False, numbering="always")
    assert [(c.name, c.type) for c in parents.columns[1:4]] == [
        *(("code", "character varying(10)"), ("m", "odd.mood"), ("at", "timestamp(3) with time zone"))
    ]
    assert (parents.columns[4].generated, parents.columns[4].default) == ("2", None)
    assert [(c.kind, c.columns) for c in parents.constraints] == [("primary_key", ("id",)), ("unique", ("code",))]
    foreign = next(c for c in children.constraints if c.kind == "foreign_key")
    assert foreign == Constraint("up", "foreign_key", ("parent",), "ondelete CASCADE", "odd.parents", ("id",))
    check = next(c for c in children.constraints if c.kind == "check")
    assert "price >= " in check.definition
    assert [i.columns for i in children.indexes] == [("price",)]
    assert isinstance(children.indexes[0], Index)
    assert (children.comment, children.columns[2].comment, children.columns[2].collation) == ("small ones", "free", "C")
    assert (tables["seen"].kind, tables["stored"].kind) == ("view", "materialized view")
    assert "parents" in tables["seen"].definition
    assert [c.name for c in tables["stored"].columns] == ["id"]
    assert catalog.enumerations == (Enumeration("odd", "mood", ("good", "bad")),)
    assert NumberSequence("odd", "numbers", "") in catalog.sequences
    assert [c.name for c in tables['a.b; %s "x'].columns] == ["100%", "Ünï"]


async def test_fingerprints_tell_definitions_from_rows(odd: Any) -> None:
    """Without a cheap way the fingerprint is the catalog's: another after a definition, the same after rows."""
    looking = warehouse(odd, schemas=["odd"])
    before = await looking.fingerprint()
    assert before == (await looking.catalog()).fingerprint
    odd.run("insert into odd.parents (code) values ('x')")
    assert await looking.fingerprint() == before
    odd.run("alter table odd.children alter price type numeric(11,2)")
    assert await looking.fingerprint() != before


async def test_sketches_are_those_of_the_other_door(odd: Any, bakery: Any) -> None:
    """Values fetched and hashed here give the very sketches that PostgreSQL makes itself."""
    bakery.run(
        "create table odd.sorts as select i, i::numeric(10,2) as n, (i % 2 = 0) as b, i * 1.5::float8 as f,"
        " '2026-01-02'::date + i as d, timestamptz '2026-01-02 03:04:05+00' + i * interval '1 second' as t,"
        " timestamp '2026-01-02 03:04:05' as w, convert_to('ä' || i, 'UTF8') as raw, 'ü' || i as s,"
        " case when i > 5 then md5(i::text)::uuid end as u from generate_series(1, 30) i;"
        " grant select on odd.sorts to reader"
    )
    own = PostgresOptions(url=SecretStr(bakery.url("reader")), sketch_key=SecretStr("k"))
    theirs = await PostgresWarehouse("bakery", own).profile("odd.sorts", sketch=8)
    assert await warehouse(odd, sketch_key="k").profile("odd.sorts", sketch=8) == theirs
    sampled = await warehouse(odd, sketch_rows=10).profile("odd.sorts", sketch=8)
    assert (sampled.exact, sampled.rows, sampled.columns["u"].sketch) == (False, 30, ())
    profile = await warehouse(odd).profile('odd.a.b; %s "x', sketch=2)
    assert {n: (c.nulls, c.distinct) for n, c in profile.columns.items()} == {"100%": (0, 1), "Ünï": (1, 0)}


async def test_only_a_query_is_sent(bakery: Any) -> None:
    """What sqlglot does not read as one query that only reads never reaches the server, whatever the role may do."""
    looking = warehouse(bakery, "mighty")
    before = bakery.run("select sum(amount) from raw.sales")
    for sql in (
        "update raw.sales set amount = 0",
        "with gone as (delete from raw.sales returning 1) select * from gone",
        "select * into raw.copy from raw.sales",
        "select 1 for update",
        "copy raw.sales to '/tmp/x'",
        "set transaction read write",
        "select 1; select 2",
        "vacuum",
        "this is no sql at all",
    ):
        with pytest.raises(UsageError, match="bakery"):
            await looking.query(sql)
    with pytest.raises(SwarmError):
        await looking.query("select lo_from_bytea(0, 'x')")  # a function that writes: the read-only session refuses it
    assert bakery.run("select sum(amount) from raw.sales") == before
    rows = await looking.query("select %s::numeric as a, '100%%' as b", (Decimal("1.5"),))
    assert rows == [{"a": Decimal("1.5"), "b": "100%"}]


async def test_changes_are_one_transaction(bakery: Any) -> None:
    """Counts hold, what would end the transaction is refused, the session says whose it is, a lock excludes."""
    acting = warehouse(bakery, actor_url=bakery.url("actor"), lock_timeout_seconds=0.2)
    before = bakery.run("select sum(amount) from raw.sales")
    change = Statement("update raw.sales set amount = amount + %s", (1,), rows=20)
    with pytest.raises(ConflictError, match="20 rows where 19"):
        await acting.execute([Statement(change.sql, (1,), rows=19)], agent="x")
    for text in ("commit", "rollback", "select 1; select 2", "create table dataswarm.a (); commit"):
        with pytest.raises(UsageError):
            await acting.execute([change, Statement(text)], agent="x")
    assert bakery.run("select sum(amount) from raw.sales") == before
    probe = Statement("create table dataswarm.named as select current_setting('application_name') as who")
    await acting.execute([probe], agent="incident-response", lock="raw.sales")
    assert bakery.run("select who from dataswarm.named") == [("dataswarm/incident-response",)]
    await acting.execute([Statement("drop table dataswarm.named")], agent="x")


async def test_complaints_are_translated(bakery: Any, closed_port: int) -> None:
    """Away, refused, too slow, not there: an error of its kind that names the source and holds no secret or value."""
    cases: list[tuple[str, type[SwarmError], str]] = [
        (f"postgresql://u:hunter2@127.0.0.1:{closed_port}/db", TransientError, "refused"),
        (bakery.url("locked", password="hunter2"), SetupError, "authentication failed"),
        (bakery.url("reader", database="nowhere", password="hunter2"), SetupError, "does not exist"),
    ]
    for url, error, what in cases:
        with pytest.raises(error, match="warehouse bakery") as caught:
            await SqlWarehouse("bakery", SqlOptions(url=SecretStr(url))).catalog()
        assert what in caught.value.message
        assert "hunter2" not in str(caught.value)
    looking = warehouse(bakery)
    with pytest.raises(PermanentError) as value:
        await looking.query("select note::integer from raw.sales where note is not null")
    assert "n5" not in str(value.value)
    with pytest.raises(TransientError) as slow:
        await warehouse(bakery, statement_timeout_seconds=0.1).query("select pg_sleep(30)")
    assert "statement_timeout_seconds" in slow.value.hint
    with pytest.raises(SetupError, match="permission denied"):
        await warehouse(bakery, schemas=["hidden"]).query("select * from hidden.secret")
