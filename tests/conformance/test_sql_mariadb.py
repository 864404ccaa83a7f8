"""MariaDB as a warehouse: a server of its own, conformance, an exact catalog, locks, time-outs and wrong set-ups."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import os
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import event

from config.errors import ConflictError, PermanentError, SetupError, SwarmError, TransientError, UsageError
from integrations.base import Catalog, Column, Constraint, Fingerprinted, Grant, Index, NumberSequence, Statement, Table
from integrations.conformance import WarehouseConformance
from integrations.warehouses.sql import SqlOptions, SqlWarehouse
from integrations.warehouses.sql.inspected import read_catalog
from integrations.warehouses.sql.lanes import Cut
from tests.mariadb import PASSWORD, Server, free_port
from tests.pace import quick

pymysql = pytest.importorskip("pymysql", reason="the extra `mysql` is not installed")

log = logging.getLogger(__name__)

EVERYTHING = """
create table parents (id int primary key, name varchar(40) not null, unique key name_key (name(10)));
create table things (
  id bigint unsigned not null auto_increment primary key,
  parent_id int,
  price decimal(10,2) not null default 0 comment 'what it''s worth',
  made_at datetime(3) not null default current_timestamp(3) on update current_timestamp(3),
  seen_at timestamp null,
  is_new tinyint(1) default 1,
  kind enum('a','b''c') default 'a',
  twice int generated always as (price * 2) stored,
  more int as (price + 1) virtual,
  quoted varchar(10) default 'it''s',
  nothing varchar(10) default null,
  made_by varchar(40) default (uuid()),
  exact varchar(10) collate utf8mb4_bin,
  padded int(5) zerofill,
  small int check (small > 0),
  key by_quoted (quoted(4), price desc),
  fulltext key words (quoted),
  constraint to_parent foreign key (parent_id) references parents (id) on delete cascade,
  constraint positive check (price >= 0)) comment 'all sorts';
create view dear as select id, price from things where price > 1;
create table gone (x int);
create view broken as select x from gone;
drop table gone;
create sequence numbers start with 5 increment by 2 maxvalue 100 cycle;
create table split (id int, d date) partition by range (year(d)) (partition p0 values less than (2020));
create table kept (id int) with system versioning;
create table `o``d"d%d; drop table x.y` (`a.b` int, `100%` int, `Ünï` date);
grant select, insert on things to reader;
"""


def warehouse(url: str, **options: object) -> SqlWarehouse:
    """A warehouse by URL."""
    return SqlWarehouse("bakery", SqlOptions.model_validate({"url": url, "schemas": ["shop"]} | options))


def md5(text: str) -> str:
    """As every engine hashes."""
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


class TestMariaDb(WarehouseConformance):
    """MariaDB, with a reader and an actor."""

    @pytest.fixture
    async def warehouse(self, mariadb: Server) -> AsyncIterator[SqlWarehouse]:
        """The shop as both roles."""
        key = SecretStr("a key of the tests")
        made = warehouse(mariadb.url("reader"), actor_url=mariadb.url("actor"), sketch_key=key)
        await made.open()
        yield made
        await made.close()

    @pytest.fixture
    def table(self) -> str:
        """Twenty sales, most without a note."""
        return "shop.sales"

    @pytest.fixture
    def write(self) -> str:
        """Touches one row."""
        return "update sales set amount = amount + 1 where id = 3"


@pytest.fixture
def fresh(mariadb: Server) -> Iterator[Server]:
    """A schema of the test's own, `own`, gone afterwards."""
    mariadb.run("create database own character set utf8mb4 collate utf8mb4_general_ci; ")
    mariadb.run("grant select, show view on own.* to reader;\n")
    yield mariadb
    mariadb.run("drop database own;\nrevoke all privileges, grant option from reader")
    mariadb.run("grant select, show view on shop.* to reader")


def column(name: str, position: int, type_: str, **more: Any) -> Column:
    """A nullable column, unless said otherwise."""
    given: dict[str, Any] = {"name": name, "position": position, "type": type_, "nullable": True} | more
    return Column(**given)


async def test_every_kind_of_object_is_told_exactly(fresh: Server) -> None:
    """Types, defaults, generated columns, keys, checks, indexes, views, sequences, partitions, grants."""
    fresh.run(EVERYTHING, database="own")
    catalog = await warehouse(fresh.url("reader"), schemas=["own"]).catalog()
    tables = {t.name: t for t in catalog.tables}
    assert set(tables) == {*("parents", "things", "dear", "broken", "split", "kept", 'o`d"d%d; drop table x.y')}
    general = {"collation": "utf8mb4_general_ci"}
    now = "current_timestamp(3)"
    assert tables["things"] == Table(
        "own",
        "things",
        (
            column("id", 1, "bigint unsigned", nullable=False, numbering="by default"),
            column("parent_id", 2, "integer"),
            column("price", 3, "numeric(10,2)", nullable=False, default="0.00", comment="what it's worth"),
            column("made_at", 4, "timestamp(3) without time zone", nullable=False, default=f"{now} on update {now}"),
            column("seen_at", 5, "timestamp with time zone"),
            column("is_new", 6, "tinyint(1)", default="1"),
            column("kind", 7, "enum('a','b''c')", default="'a'", **general),
            column("twice", 8, "integer", generated="`price` * 2 stored"),
            column("more", 9, "integer", generated="`price` + 1 virtual"),
            column("quoted", 10, "character varying(10)", default="'it''s'", **general),
            column("nothing", 11, "character varying(10)", **general),
            column("made_by", 12, "character varying(40)", default="uuid()", **general),
            column("exact", 13, "character varying(10)", collation="utf8mb4_bin"),
            column("padded", 14, "integer(5) unsigned zerofill"),
            column("small", 15, "integer"),
        ),
        rows=0,
        comment="all sorts",
        constraints=(
            Constraint("positive", "check", (), "check (`price` >= 0)"),
            Constraint("small", "check", (), "check (`small` > 0)"),
            Constraint(
                "to_parent",
                "foreign_key",
                ("parent_id",),
                "foreign key (`parent_id`) references `own`.`parents` (`id`) on update restrict on delete cascade",
                "own.parents",
                ("id",),
            ),
            Constraint("PRIMARY", "primary_key", ("id",), "primary key (`id`)"),
        ),
        indexes=(
            Index("by_quoted", ("quoted", "price"), False, "btree (`quoted`(4), `price` desc)"),
            Index("to_parent", ("parent_id",), False, "btree (`parent_id`)"),
            Index("words", ("quoted",), False, "fulltext (`quoted`)"),
        ),
        grants=(Grant("'reader'@'%'", ("insert", "select")),),
    )
    assert tables["parents"].constraints == (
        Constraint("PRIMARY", "primary_key", ("id",), "primary key (`id`)"),
        Constraint("name_key", "unique", ("name",), "unique (`name`(10))"),
    )
    dear = "select `own`.`things`.`id` AS `id`,`own`.`things`.`price` AS `price` from `own`.`things`"
    assert tables["dear"] == Table(
        "own",
        "dear",
        (
            column("id", 1, "bigint unsigned", nullable=False, default="0"),
            column("price", 2, "numeric(10,2)", nullable=False, default="0.00", comment="what it's worth"),
        ),
        "view",
        definition=f"{dear} where `own`.`things`.`price` > 1",
        owner="root@localhost",
    )
    broken = "select `own`.`gone`.`x` AS `x` from `own`.`gone`"
    assert tables["broken"] == Table("own", "broken", (), "view", definition=broken, owner="root@localhost")
    assert tables["split"].partitioning == "range (year(`d`))"
    assert (tables["kept"].kind, len(tables["kept"].columns)) == ("table", 1)
    odd = tables['o`d"d%d; drop table x.y']
    assert [c.name for c in odd.columns] == ["a.b", "100%", "Ünï"]
    assert catalog.sequences == (NumberSequence("own", "numbers", "start 5 increment 2 minimum 1 maximum 100 cycle"),)


CHANGES = (
    "create table more (id int)",
    "drop table things",
    "rename table things to stuff",
    "alter table things rename column price to cost",
    "alter table things add column extra text",
    "alter table things drop column padded",
    "alter table things modify seen_at datetime",
    "alter table things modify exact varchar(11) collate utf8mb4_bin",
    "alter table things modify exact varchar(10) collate utf8mb4_general_ci",
    "alter table things modify small int not null",
    "alter table things alter column is_new set default 0",
    "alter table things modify kind enum('a','b''c','d') default 'a'",
    "alter table things modify more int as (price + 2) virtual",
    "alter table things modify small int comment 'tiny'",
    "alter table things comment 'sorts'",
    "alter table things drop constraint positive",
    "alter table things add constraint lower check (small < 9)",
    "alter table things drop foreign key to_parent",
    "alter table parents drop key name_key",
    "alter table things drop primary key, add primary key (id, price)",
    "create index by_kind on things (kind)",
    "drop index by_quoted on things",
    "alter table split partition by hash (id)",
    "create or replace view dear as select id from things",
    "drop view dear",
    "create view other as select 1 as one",
    "drop sequence numbers",
    "revoke insert on things from reader",
    "drop table things, parents",
)
HARMLESS = (
    "insert into parents values (1, 'x')",
    "insert into things (price) values (7)",
    "delete from things",
    "analyze table things",
    "optimize table parents",
    "select nextval(numbers)",
    "create temporary table passing (x int)",
    "alter table split add partition (partition p1 values less than maxvalue)",
)


@pytest.mark.parametrize("change", CHANGES)
async def test_the_fingerprint_tells_a_change(fresh: Server, change: str) -> None:
    """After a definition, made in the same second as the one before it, both fingerprints are others."""
    fresh.run(EVERYTHING, database="own")
    looking = warehouse(fresh.url("reader"), schemas=["own"])
    assert isinstance(looking, Fingerprinted)
    before = await looking.fingerprint(), (await looking.catalog()).fingerprint
    fresh.run(change, database="own")
    after = await looking.fingerprint(), (await looking.catalog()).fingerprint
    assert after[0] != before[0]
    assert after[1] != before[1]


async def test_the_fingerprint_stays(fresh: Server) -> None:
    """After changes of rows, housekeeping and new partitions both fingerprints are the same."""
    fresh.run(EVERYTHING, database="own")
    looking = warehouse(fresh.url("reader"), schemas=["own"])
    before = await looking.fingerprint(), (await looking.catalog()).fingerprint
    for change in HARMLESS:
        fresh.run(change, database="own")
        assert (await looking.fingerprint(), (await looking.catalog()).fingerprint) == before, change


async def test_a_schema_that_cannot_be_seen_is_not_dropped(mariadb: Server) -> None:
    """A schema configured by name that the reader may not see is invisible, and `doctor` says so."""
    looking = warehouse(mariadb.url("reader"), schemas=["shop", "hidden"])
    assert (await looking.catalog()).invisible == ("hidden",)
    bad = [f for f in await looking.examine() if not f.ok]
    assert [("hidden" in f.what, bool(f.hint)) for f in bad] == [(True, True)]


async def test_looking_stops_nobody_and_waits_for_nobody(fresh: Server) -> None:
    """Amid a catalog another session alters a table it has just read; one that locks it stalls nothing."""
    fresh.run(EVERYTHING, database="own")
    looking = warehouse(fresh.url("reader"), schemas=["own"])
    await looking.open()
    altered: list[str] = []

    def alter(*said: Any) -> None:
        if "key_column_usage" in said[2] and "union all" not in said[2] and not altered:
            altered.append(said[2])
            fresh.run("set lock_wait_timeout = 1;\nalter table own.things add column extra int")

    event.listen(looking._ready().reader.engine, "before_cursor_execute", alter)
    catalog = await looking.catalog()
    assert altered
    # What was read before and after the change would not fit together: it was read again.
    things = next(t for t in catalog.tables if t.name == "things")
    assert things.columns[-1].name == "extra"
    holder = fresh.connect()
    with holder, holder.cursor() as cursor:
        cursor.execute("lock tables own.things write")
        assert (await looking.catalog()).fingerprint == catalog.fingerprint
        with pytest.raises(TransientError, match="Lock wait"):
            await warehouse(fresh.url("reader"), lock_timeout_seconds=1).profile("own.things")


async def test_profiles_and_sketches(fresh: Server) -> None:
    """A sketch is made of md5(key || value), the same as elsewhere for the same values; case and padding count."""
    fresh.run(
        "create table copy (amount varchar(20), word varchar(5), raw varbinary(5), b bit(3), u uuid);\n"
        "insert into copy select format(amount, 2), elt(1 + id % 4, 'a', 'A', 'a ', 'ä'), x'00ff', b'101', uuid()"
        " from shop.sales",
        database="own",
    )
    looking = warehouse(fresh.url("reader"), sketch_key="k")
    sales = await looking.profile("shop.sales", sketch=4)
    copy = await looking.profile("own.copy", sketch=4)
    assert (sales.rows, sales.exact, sales.columns["note"].nulls, sales.columns["note"].distinct) == (20, True, 16, 4)
    amounts = [row["a"] for row in await looking.query("select cast(amount as char) as a from shop.sales")]
    expected = tuple(sorted({md5(f"k{a}") for a in amounts})[:4])
    assert sales.columns["amount"].sketch == expected == copy.columns["amount"].sketch
    words = sorted(md5(f"k{w}") for w in ("a", "A", "a ", "ä"))
    assert copy.columns["word"].sketch == tuple(words)
    assert copy.columns["raw"].sketch == (md5("k\\x00ff"),)
    assert copy.columns["u"].distinct == 20
    with pytest.raises(PermanentError, match="no column 'nope'"):
        await looking.profile("shop.sales", columns=["nope"])


async def test_a_large_table_is_sampled_and_says_so(fresh: Server) -> None:
    """Above `sketch_rows` rows are estimated, nulls scaled up, nothing is sketched, and the profile is not exact."""
    fresh.run(
        "create table large as select seq as id, case when seq % 4 = 0 then seq end as part from seq_1_to_20000;\n"
        "analyze table large",
        database="own",
    )
    profile = await warehouse(fresh.url("reader"), sketch_rows=2000).profile("own.large", sketch=8)
    assert not profile.exact
    assert profile.rows == pytest.approx(20000, rel=0.1)
    assert profile.columns["part"].nulls == pytest.approx(15000, rel=0.1)
    assert profile.columns["id"].sketch == ()
    assert (await warehouse(fresh.url("reader")).profile("own.large")).rows == 20000


async def test_odd_names_do_no_harm(fresh: Server) -> None:
    """Quotes, dots, percent signs and statements in names: seen, counted, sketched, and nothing else happens."""
    fresh.run(EVERYTHING, database="own")
    fresh.run("insert into `o``d\"d%d; drop table x.y` values (1, null, '2026-01-01')", database="own")
    looking = warehouse(fresh.url("reader"), schemas=["own"])
    profile = await looking.profile('own.o`d"d%d; drop table x.y', sketch=2)
    assert {n: (c.nulls, c.distinct) for n, c in profile.columns.items()} == {
        "a.b": (0, 1),
        "100%": (1, 0),
        "Ünï": (0, 1),
    }
    name = looking.quote("own", 'o`d"d%d; drop table x.y')
    assert await looking.query(f"select `a.b`, '50%' as half from {name}") == [{"a.b": 1, "half": "50%"}]


async def test_a_query_is_told_how_many_rows_will_do(mariadb: Server) -> None:
    """The server stops at the limit, however many rows there would be; parameters and percent signs arrive."""
    looking = warehouse(mariadb.url("reader"))
    endless = "select a.id from sales a, sales b, sales c, sales d, sales e, sales f, sales g"
    assert len(await looking.query(endless, limit=3)) == 3
    assert await looking.query("select %s as a, '100%%' as b", ("x%sy",)) == [{"a": "x%sy", "b": "100%"}]
    with pytest.raises(UsageError, match="placeholders"):
        await looking.query("select %s", (1, 2))


async def test_reading_cannot_be_talked_into_writing(mariadb: Server) -> None:
    """Even as a role with every right, no text gets `query` to write a row, a file, a setting or a lock."""
    mariadb.run("create or replace procedure shop.sneak() begin commit; update shop.sales set amount = 0; end")
    mariadb.run(
        "create or replace function shop.sly() returns int begin update shop.sales set amount = 0; return 1; end"
    )
    looking = warehouse(mariadb.url("mighty"))
    before = mariadb.run("select sum(amount) from sales")
    for sql in (
        "update sales set amount = 0",
        "set session transaction read write",
        "commit",
        "begin; update sales set amount = 0; commit",
        "select 1; update sales set amount = 0",
        "call sneak()",
        "select sly()",
        "create table shop.more (x int)",
        "truncate table sales",
        f"select 1 into outfile '{mariadb.room}/data/out'",
        f"select 1 /*! into outfile '{mariadb.room}/data/out' */",
        f"select 1 /*M! into dumpfile '{mariadb.room}/data/out' */",
        "lock tables sales write",
        "do sleep(1)",
        "with x as (select 1) delete from sales",
        "analyze update sales set amount = 0",
    ):
        with pytest.raises(SwarmError):
            await looking.query(sql)
    assert mariadb.run("select sum(amount) from sales") == before
    assert "out" not in os.listdir(mariadb.room / "data")  # noqa: PTH208 - a look, not a walk


async def test_changes_are_one_transaction(mariadb: Server) -> None:
    """Counts are of rows matched; what would commit by itself is refused beside others, and goes alone."""
    acting = warehouse(mariadb.url("reader"), actor_url=mariadb.url("actor"))
    before = mariadb.run("select sum(amount) from sales")
    same = Statement("update sales set amount = amount + %s", (0,), rows=20)
    assert await acting.execute([same], agent="x") == [20]
    change = Statement("update sales set amount = amount + %s", (1,), rows=20)
    with pytest.raises(ConflictError, match="20 rows where 19"):
        await acting.execute([change, Statement(change.sql, (1,), rows=19)], agent="x")
    for text in ("create table shop.more (x int)", "commit", "begin", "select 1; select 2", "truncate table sales"):
        with pytest.raises(SwarmError):
            await acting.execute([change, Statement(text)], agent="x")
    with pytest.raises(UsageError, match="commits at CREATE"):
        await acting.execute([Statement("create table shop.more (x int)", rows=0)], agent="x")
    assert mariadb.run("select sum(amount) from sales") == before
    await acting.execute([Statement("create table shop.more (x int)")], agent="x", lock="shop.more")
    await acting.execute([Statement("drop table shop.more")], agent="x", lock="l" * 200)
    with pytest.raises(ConflictError, match="already") as caught:
        await acting.execute([Statement("insert into bakers values (%s, %s)", (1, "Secret"))], agent="x")
    assert "Secret" not in str(caught.value)


async def test_the_actor_is_named_and_exclusive(mariadb: Server) -> None:
    """The session says which agent it is; while another holds the lock, one gives up in time."""
    acting = warehouse(mariadb.url("reader"), actor_url=mariadb.url("actor"), lock_timeout_seconds=1)
    holder = mariadb.connect()
    with holder, holder.cursor() as cursor:
        cursor.execute("select get_lock('dataswarm/a lock', 0)")
        with pytest.raises(TransientError, match="holds the lock"):
            await acting.execute([Statement("update sales set note = note")], agent="x", lock="a lock")
    assert await acting.execute([Statement("update sales set note = note", rows=20)], agent="x", lock="a lock") == [20]
    assert acting._ready().manner.named("dataswarm/x") == {"program_name": "dataswarm/x"}


async def test_a_slow_statement_is_ended(mariadb: Server) -> None:
    """The statement time-out holds, with the setting to change in the hint."""
    looking = warehouse(mariadb.url("reader"), statement_timeout_seconds=0.2)
    endless = "select count(*) from seq_1_to_1000000 a, seq_1_to_1000000 b where a.seq + b.seq < 0"
    with pytest.raises(TransientError) as caught:
        await looking.query(endless)
    assert "statement_timeout_seconds" in caught.value.hint


async def test_a_lock_of_others_is_waited_for_briefly(mariadb: Server) -> None:
    """Rows that another transaction holds are a TransientError within the lock time-out."""
    acting = warehouse(mariadb.url("reader"), actor_url=mariadb.url("actor"), lock_timeout_seconds=1)
    holder = mariadb.connect()
    with holder, holder.cursor() as cursor:
        cursor.execute("begin")
        cursor.execute("update sales set note = note where id = 1")
        with pytest.raises(TransientError, match="Lock wait"):
            await acting.execute([Statement("update sales set note = 'x' where id = 1")], agent="x")


async def test_a_source_that_hangs_is_given_up(mariadb: Server) -> None:
    """A server that lets in and then says nothing is a TransientError by the clock, and its thread ends."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"mysql://reader:hunter2@127.0.0.1:{silent.getsockname()[1]}/shop"
        looking = warehouse(url, statement_timeout_seconds=0.05, connections=1)
        looking._lanes.seconds = 0.3
        await looking.open()
        begun = time.perf_counter()
        for look in (looking.catalog(), looking.query("select 1")):
            with pytest.raises(TransientError, match="given up") as caught:
                await look
            assert "hunter2" not in str(caught.value)
        assert time.perf_counter() - begun < quick(2)
        assert (await warehouse(mariadb.url("reader")).query("select 1 as one")) == [{"one": 1}]
    for thread in threading.enumerate():
        if thread.name == "warehouse bakery":
            await asyncio.to_thread(thread.join, 20)
            assert not thread.is_alive()


async def test_a_connection_that_is_cut_is_tried_again_later(mariadb: Server) -> None:
    """Killed in the middle of a catalog: a TransientError, nothing partial, and the next look is whole."""
    looking = warehouse(mariadb.url("reader"))
    await looking.open()
    engine = looking._ready().reader.engine
    killed: list[int] = []

    def kill(*said: Any) -> None:
        if "information_schema.statistics" in said[2] and "union all" not in said[2] and not killed:
            killed.append(said[0].connection.driver_connection.thread_id())
            mariadb.run(f"kill {killed[0]}")

    event.listen(engine, "before_cursor_execute", kill)
    with pytest.raises(TransientError):
        await looking.catalog()
    assert killed
    assert len((await looking.catalog()).tables) == 2


async def test_a_wrong_url_says_what_to_do(mariadb: Server) -> None:
    """Wrong password, database, user, host, port, driver, parameter: an error of its kind, a finding, no secret."""
    bad = "hunter2"
    cases: dict[str, tuple[type[SwarmError], str]] = {
        mariadb.url("reader", password=bad): (SetupError, "Access denied for user 'reader'"),
        mariadb.url("nobody", password=bad): (SetupError, "Access denied"),
        mariadb.url("mighty", database="nowhere"): (SetupError, "Unknown database 'nowhere'"),
        f"mysql://u:{bad}@127.0.0.1:{free_port()}/db": (TransientError, "refused"),
        f"mysql://u:{bad}@no-such-host.invalid/db": (TransientError, "no-such-host.invalid"),
        f"mysql://u:{bad}@h:port/db": (SetupError, "cannot be read"),
        mariadb.url("reader") + "&nonsense=1": (SetupError, "does not take what the URL says"),
        mariadb.url("reader") + "&connect_timeout=soon": (SetupError, "does not take what the URL says"),
        f"mysql+aiomysql://u:{bad}@h/db": (SetupError, "driver"),
    }
    for url, (error, what) in cases.items():
        looking = warehouse(url)
        with pytest.raises(error, match="warehouse bakery") as caught:
            await looking.catalog()
        assert what in caught.value.message
        assert caught.value.hint
        finding = next(f for f in await looking.examine() if not f.ok)
        assert what in finding.what
        assert bad not in str(caught.value) + str(finding) + repr(looking.options)
        assert caught.value.__suppress_context__


async def test_rights_are_judged(mariadb: Server) -> None:
    """A reader that may write is not let pass; a table it may not read is said so; values are not in messages."""
    bad = [f for f in await warehouse(mariadb.url("mighty")).examine() if not f.ok]
    assert ["too many rights" in f.what for f in bad] == [True]
    bad = [f for f in await warehouse(mariadb.url("actor")).examine() if not f.ok]
    assert ["on shop" in f.what for f in bad] == [True]
    acting = warehouse(mariadb.url("reader"), actor_url=mariadb.url("mighty"))
    assert ["actor" in f.what for f in await acting.examine() if not f.ok] == [True]
    looking = warehouse(mariadb.url("reader"))
    with pytest.raises(SetupError, match="denied"):
        await looking.query("select * from mysql.user")
    with pytest.raises(PermanentError) as caught:
        await looking.query("select * from sales where note = 'Secret' limit 'more'")
    assert "Secret" not in str(caught.value)
    with pytest.raises(PermanentError, match="doesn't exist"):
        await looking.query("select * from shop.nothing_here")


async def test_connections_are_bounded(mariadb: Server) -> None:
    """However many look at once, no more than `connections` sessions are there."""
    looking = warehouse(mariadb.url("reader"), connections=2)
    count = "select count(*) as n, sleep(0.02) as s from information_schema.processlist where user = 'reader'"
    seen = await asyncio.gather(*(looking.query(count) for _ in range(8)))
    assert max(rows[0]["n"] for rows in seen) <= 2


async def test_a_thousand_tables(fresh: Server) -> None:
    """The number of queries is the same for ten tables and for a thousand, and the summary costs far less."""
    columns = ", ".join(f"c{i} varchar(20) default 'x' comment 'c'" for i in range(20))

    async def look() -> tuple[Catalog, int, float, float]:
        looking = warehouse(fresh.url("reader"), schemas=["own"])
        await looking.query("select 1")
        said: list[str] = []
        event.listen(looking._ready().reader.engine, "before_cursor_execute", lambda *a: said.append(a[2]))
        begun = time.perf_counter()
        catalog = await looking.catalog()
        done = time.perf_counter()
        count = len(said)
        await looking.fingerprint()
        return catalog, count, done - begun, time.perf_counter() - done

    def make(first: int, last: int) -> None:
        connection = fresh.connect()
        with connection, connection.cursor() as cursor:
            for i in range(first, last):
                cursor.execute(f"create table own.t{i} (id int primary key, a int, {columns}, key (a))")

    make(0, 10)
    _, few, *_ = await look()
    make(10, 1000)
    catalog, many, seconds, cheaply = await look()
    assert len(catalog.tables) == 1000
    assert few == many <= 20
    assert cheaply < seconds
    log.info("1,000 tables: %s statements, catalog %.2f s, fingerprint %.3f s", many, seconds, cheaply)


async def test_a_server_that_falls_silent_is_cut_off(mariadb: Server) -> None:
    """Amid a statement that may take a minute the network swallows the answer: the wait is cut, and its thread ends."""
    swallowed = asyncio.Event()
    lines: list[asyncio.Task[Any]] = []

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, listens: bool) -> None:
        while data := await reader.read(65536):
            if listens and b"fall silent" in data:
                swallowed.set()
            if not swallowed.is_set():
                writer.write(data)
                await writer.drain()
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    async def between(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        lines.append(task)
        from_server, to_server = await asyncio.open_connection("127.0.0.1", mariadb.port)
        there = pass_on(reader, to_server, listens=True)
        back = pass_on(from_server, writer, listens=False)
        await asyncio.gather(there, back, return_exceptions=True)

    proxy = await asyncio.start_server(between, "127.0.0.1", 0)
    url = f"mysql://reader:{PASSWORD}@127.0.0.1:{proxy.sockets[0].getsockname()[1]}/shop"
    looking = warehouse(url, statement_timeout_seconds=60, connections=1)
    assert await looking.query("select 1 as one") == [{"one": 1}]
    looking._lanes.seconds = 0.5
    with pytest.raises(TransientError, match=r"given up after 0\.5 s"):
        await looking.query("select 'fall silent' as words")
    assert swallowed.is_set()
    swallowed.clear()
    looking._lanes.seconds = 20
    # The one lane is free again, which it is not before the thread has ended.
    begun = time.perf_counter()
    assert await looking.query("select 2 as two") == [{"two": 2}]
    assert time.perf_counter() - begun < quick(10)
    proxy.close()
    await asyncio.gather(*lines)


async def test_the_inspector_sees_the_same(fresh: Server) -> None:
    """What every other dialect is read by agrees with the reader of MariaDB's own, and keeps a broken view too."""
    fresh.run(EVERYTHING, database="own")
    looking = warehouse(fresh.url("reader"), schemas=["own"])
    exact = {t.name: t for t in (await looking.catalog()).tables}

    def inspect(cut: Cut) -> Catalog:
        with looking._ready().reader.session(cut, application="test") as connection:
            return read_catalog(connection, looking.options)

    told = {t.name: t for t in (await looking._lanes.run(inspect)).tables}
    assert set(told) - {"numbers"} == set(exact)
    assert (told["broken"].columns, told["broken"].kind) == ((), "view")
    for name, table in exact.items():
        if table.kind == "table":  # of views SQLAlchemy's dialect knows only names and types
            theirs = [(c.name, c.nullable, c.comment) for c in told[name].columns]
            assert theirs == [(c.name, c.nullable, c.comment) for c in table.columns]
        assert [c.name for c in told[name].columns] == [c.name for c in table.columns]
        assert [c.type for c in told[name].columns] == [c.type for c in table.columns]
        for kind in ("primary_key", "foreign_key"):
            keys = [(c.columns, c.references, c.referenced) for c in table.constraints if c.kind == kind]
            assert [(c.columns, c.references, c.referenced) for c in told[name].constraints if c.kind == kind] == keys
