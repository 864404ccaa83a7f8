"""PostgreSQL as it comes in life: wrong URLs and rights, odd names, wide tables, locks, and what hashes tell."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from config.errors import ConflictError, PermanentError, SetupError, SwarmError, TransientError, UsageError
from integrations.base import Statement
from integrations.warehouses.postgres import PostgresOptions, PostgresWarehouse

ODD = '"; drop table x'


def warehouse(url: str, **options: object) -> PostgresWarehouse:
    """A warehouse by URL."""
    return PostgresWarehouse("bakery", PostgresOptions.model_validate({"url": url, "schemas": ["raw"]} | options))


@pytest.fixture
def odd(bakery: Any) -> Iterator[Any]:
    """A schema with a table named and columned as nobody should."""
    bakery.run(
        f"""
        create schema odd; grant usage on schema odd to reader;
        create table odd."a.b; %s ""x" ("{ODD.replace('"', '""')}" integer, "100%" text, "Ünï" date, " " boolean);
        insert into odd."a.b; %s ""x" values (1, 'x', null, true), (null, 'y', null, false);
        grant select on all tables in schema odd to reader"""
    )
    yield bakery
    bakery.run("drop schema odd cascade")


async def test_a_wrong_url_says_what_to_do(bakery: Any, closed_port: int) -> None:
    """Nonsense, no server, no database, a wrong password: a finding with a hint each, and never the password."""
    cases = {
        "postgresql://u:hunter2@[nonsense/db": "cannot be read",
        "not a url hunter2": "cannot be read",
        f"postgresql://u:hunter2@127.0.0.1:{closed_port}/db": "refused",
        bakery.url("reader", database="nowhere", password="hunter2"): "does not exist",
        bakery.url("nobody", password="hunter2"): "does not exist",
        bakery.url("locked", password="hunter2"): "authentication failed",
    }
    for url, what in cases.items():
        looking = warehouse(url)
        finding = (await looking.examine())[0]
        assert not finding.ok
        assert what in finding.what
        assert finding.hint
        with pytest.raises(SwarmError) as caught:
            await looking.catalog()
        assert "hunter2" not in str(caught.value) + str(finding) + repr(looking.options)
        assert caught.value.__suppress_context__
    await warehouse(bakery.url("locked")).query("select 1")


async def test_the_kind_of_a_connection_failure(bakery: Any, closed_port: int) -> None:
    """A server that is away is tried again; credentials that are refused are a matter of set-up."""
    with pytest.raises(TransientError):
        await warehouse(f"postgresql://u@127.0.0.1:{closed_port}/db").catalog()
    with pytest.raises(SetupError):
        await warehouse(bakery.url("locked", password="wrong")).catalog()
    with pytest.raises(SetupError, match="cannot be read"):
        await warehouse("nonsense").open()


async def test_too_many_rights_are_found(bakery: Any) -> None:
    """A superuser, or a reader that may write, is not let pass; the hint says what to give instead."""
    for role, what in (("mighty", "superuser"), ("actor", "may change raw.sales"), ("team", "may change")):
        bad = [f for f in await warehouse(bakery.url(role)).examine() if not f.ok]
        assert [("too many rights" in f.what, what in f.what) for f in bad] == [(True, True)]
        assert "print-grants" in bad[0].hint
    reading = warehouse(bakery.url("reader"), actor_url=bakery.url("mighty"))
    assert ["actor mighty has too many rights: superuser" in f.what for f in await reading.examine() if not f.ok]


async def test_too_few_rights_are_found(bakery: Any) -> None:
    """A schema that is shut, a table that may not be read, a schema that is not there, an actor that may not create."""
    bakery.run("create table if not exists raw.unread (id integer)")
    looking = warehouse(
        bakery.url("reader"), schemas=["raw", "hidden", "no_such"], actor_url=bakery.url("reader"), owned_schema="nope"
    )
    bad = " | ".join(f.what for f in await looking.examine() if not f.ok)
    for what in (
        "schema no_such does not exist",
        "may not look into schema hidden",
        "may not read raw.unread",
        "schema nope does not exist",
        "actor may not create in schema dataswarm_scratch",
    ):
        assert what in bad
    with pytest.raises(SetupError, match="permission denied") as caught:
        await looking.profile("raw.unread")
    assert "print-grants" in caught.value.hint
    assert (await looking.catalog()).invisible == ("hidden",)
    bakery.run("drop table raw.unread")


async def test_a_language_that_is_shut_is_found(bakery: Any) -> None:
    """Without the language views are read by there is a finding with the grant to give, and no catalog."""
    bakery.run("revoke usage on language plpgsql from public")
    try:
        looking = warehouse(bakery.url("reader"))
        bad = [f for f in await looking.examine() if not f.ok]
        assert [("plpgsql" in f.what, f.hint) for f in bad] == [(True, "grant usage on language plpgsql to it")]
        with pytest.raises(SetupError, match="plpgsql"):
            await looking.catalog()
    finally:
        bakery.run("grant usage on language plpgsql to public")


async def test_odd_names_do_no_harm(odd: Any) -> None:
    """Quotes, percent signs, dots and spaces in names: seen, counted, sketched, and nothing else happens."""
    looking = warehouse(odd.url("reader"), schemas=["odd"], sketch_key="k")
    table = (await looking.catalog()).tables[0]
    assert [c.name for c in table.columns] == [ODD, "100%", "Ünï", " "]
    profile = await looking.profile(table.path, sketch=8)
    assert {n: (c.nulls, c.distinct) for n, c in profile.columns.items()} == {
        ODD: (1, 1),
        "100%": (0, 2),
        "Ünï": (2, 0),
        " ": (0, 2),
    }
    with pytest.raises(PermanentError, match="no column"):
        await looking.profile(table.path, columns=["nope"])
    with pytest.raises(UsageError):
        looking.quote("a\0b")


async def test_the_widest_table(bakery: Any) -> None:
    """1,600 columns, the most PostgreSQL allows, are seen and counted; sketches of many come in batches."""
    columns = ", ".join(f"c{i} integer default {i}" for i in range(1600))
    bakery.run(f"create table raw.wide ({columns}); insert into raw.wide (c0) values (7), (null)")
    bakery.run("grant select on raw.wide to reader")
    looking = warehouse(bakery.url("reader"))
    wide = next(t for t in (await looking.catalog()).tables if t.name == "wide")
    assert len(wide.columns) == 1600
    profile = await looking.profile("raw.wide")
    assert (profile.rows, len(profile.columns), profile.columns["c0"].nulls) == (2, 1600, 1)
    some = await looking.profile("raw.wide", columns=[f"c{i}" for i in range(120)], sketch=4)
    assert [len(c.sketch) for c in some.columns.values()] == [1] * 120
    bakery.run("drop table raw.wide")


async def test_identity_survives_a_rename(bakery: Any) -> None:
    """Table and column keep their identity and sketch under other names; a new type keeps the sketch."""
    bakery.run(
        "create table raw.orders (id bigint, customer_id integer); grant select on raw.orders to reader;"
        " insert into raw.orders select i, i % 50 from generate_series(1, 300) i"
    )
    looking = warehouse(bakery.url("reader"), sketch_key="k")
    before = next(t for t in (await looking.catalog()).tables if t.name == "orders")
    old = await looking.profile("raw.orders", sketch=16)
    fingerprint = (await looking.catalog()).fingerprint
    bakery.run("alter table raw.orders rename column customer_id to cust_id; alter table raw.orders rename to o2")
    bakery.run("alter table raw.o2 alter column cust_id type text")
    catalog = await looking.catalog()
    after = next(t for t in catalog.tables if t.name == "o2")
    new = await looking.profile("raw.o2", sketch=16)
    assert catalog.fingerprint != fingerprint
    assert (after.identity, after.columns[1].identity) == (before.identity, before.columns[1].identity)
    assert [c.type for c in after.columns] == ["bigint", "text"]
    assert (old.columns["customer_id"], len(new.columns["cust_id"].sketch)) == (new.columns["cust_id"], 16)
    other = await warehouse(bakery.url("reader"), sketch_key="another").profile("raw.o2", sketch=16)
    assert not set(other.columns["cust_id"].sketch) & set(new.columns["cust_id"].sketch)
    bakery.run("drop table raw.o2")


async def test_types_defaults_and_comments(bakery: Any) -> None:
    """Types are written in full, defaults and comments come along, row estimates do not change the fingerprint."""
    looking = warehouse(bakery.url("reader"))
    first = await looking.catalog()
    sales = next(t for t in first.tables if t.name == "sales")
    assert {c.name: c.type for c in sales.columns} == {
        "id": "integer",
        "baker_id": "integer",
        "amount": "numeric(10,2)",
        "note": "character varying(40)",
        "sold_at": "timestamp with time zone",
    }
    assert (sales.columns[2].default, sales.columns[3].comment, sales.columns[0].nullable) == ("0", "free text", False)
    bakery.run("analyze raw.sales")
    second = await looking.catalog()
    assert next(t for t in second.tables if t.name == "sales").rows == 20
    assert first.fingerprint == second.fingerprint


async def test_a_large_table_is_sampled_and_says_so(bakery: Any) -> None:
    """Above `sketch_rows` rows are estimated, nulls scaled, nothing is sketched, and the profile is not exact."""
    bakery.run(
        "create table raw.large as select i as id, case when i % 4 = 0 then i end as part, repeat('x', 100) as pad"
        " from generate_series(1, 40000) i; analyze raw.large; grant select on raw.large to reader"
    )
    looking = warehouse(bakery.url("reader"), sketch_rows=4000)
    profile = await looking.profile("raw.large", sketch=8)
    assert not profile.exact
    assert profile.rows == pytest.approx(40000, rel=0.02)
    assert profile.columns["part"].nulls == pytest.approx(30000, rel=0.15)
    assert profile.columns["id"].sketch == ()
    assert (await warehouse(bakery.url("reader")).profile("raw.large")).rows == 40000
    bakery.run("drop table raw.large")


async def test_a_locked_table_is_waited_for_briefly(bakery: Any) -> None:
    """A table somebody rebuilds is a TransientError within the lock time-out; the catalog does not wait at all."""
    looking = warehouse(bakery.url("reader"), lock_timeout_seconds=0.1)
    with psycopg.connect(bakery.url("postgres")) as holder:
        holder.execute("set local lock_timeout = '5s'")
        holder.execute("lock table raw.sales in access exclusive mode")
        assert (await looking.catalog()).tables
        with pytest.raises(TransientError, match="lock"):
            await looking.profile("raw.sales")


async def test_a_slow_statement_is_ended(bakery: Any) -> None:
    """The statement time-out holds for queries, with the setting to change in the hint."""
    looking = warehouse(bakery.url("reader"), statement_timeout_seconds=0.1)
    with pytest.raises(TransientError) as caught:
        await looking.query("select pg_sleep(30)")
    assert "statement_timeout_seconds" in caught.value.hint


async def test_values_are_not_in_messages(bakery: Any) -> None:
    """An error that quotes a value from a row is passed on without it."""
    looking = warehouse(bakery.url("reader"))
    with pytest.raises(PermanentError) as caught:
        await looking.query("select note::integer from raw.sales where note is not null")
    assert "n5" not in str(caught.value)
    assert "InvalidTextRepresentation" in str(caught.value)


async def test_reading_cannot_be_talked_into_writing(bakery: Any) -> None:
    """Even as a role with every right, no text gets `query` to write."""
    looking = warehouse(bakery.url("mighty"))
    before = bakery.run("select sum(amount) from raw.sales")
    for sql in (
        "update raw.sales set amount = 0",
        "set transaction read write",
        "begin; update raw.sales set amount = 0; commit",
        "rollback; update raw.sales set amount = 0",
        "with gone as (delete from raw.sales returning 1) select * from gone",
        "select set_config('transaction_read_only', 'off', false)",
    ):
        with pytest.raises(SwarmError):
            await looking.query(sql)
    assert bakery.run("select sum(amount) from raw.sales") == before


async def test_the_actor_is_named_and_exclusive(bakery: Any) -> None:
    """The session says which agent it is; while one holds the lock, another waits and gives up in time."""
    acting = warehouse(bakery.url("reader"), actor_url=bakery.url("actor"), lock_timeout_seconds=0.2)
    probe = Statement("create table dataswarm.seen as select current_setting('application_name') as who", rows=None)
    await acting.execute([probe], agent="incident-response", lock="warehouse://bakery/raw.sales")
    assert bakery.run("select who from dataswarm.seen") == [("dataswarm/incident-response",)]
    with psycopg.connect(bakery.url("postgres")) as holder:
        holder.execute("select pg_advisory_xact_lock(hashtext('a lock'))")
        with pytest.raises(TransientError):
            await acting.execute([Statement("drop table dataswarm.seen")], agent="x", lock="a lock")
    assert await acting.execute([Statement("drop table dataswarm.seen")], agent="x", lock="a lock")


async def test_the_actor_cannot_leave_its_transaction(bakery: Any) -> None:
    """Two statements in one text, or one that commits, are refused; what was done before them is rolled back."""
    acting = warehouse(bakery.url("reader"), actor_url=bakery.url("actor"))
    before = bakery.run("select sum(amount) from raw.sales")
    change = Statement("update raw.sales set amount = amount + %s", (1,), rows=20)
    for text in ("select 1; select 2", "rollback"):
        with pytest.raises(SwarmError):
            await acting.execute([change, Statement(text)], agent="x")
        assert bakery.run("select sum(amount) from raw.sales") == before
    with pytest.raises(ConflictError, match="20 rows where 19"):
        await acting.execute([Statement(change.sql, (1,), rows=19)], agent="x")
    with pytest.raises(SetupError, match="no actor"):
        await warehouse(bakery.url("reader")).execute([change], agent="x")
    assert bakery.run("select sum(amount) from raw.sales") == before


async def test_connections_are_bounded(bakery: Any) -> None:
    """However many look at once, no more than `connections` sessions are there, and none afterwards."""
    looking = warehouse(bakery.url("reader"), connections=2)
    count = "select count(*) as n, pg_sleep(0.05) from pg_stat_activity where application_name = 'dataswarm/reader'"
    seen = await asyncio.gather(*(looking.query(count) for _ in range(8)))
    assert max(rows[0]["n"] for rows in seen) <= 2
