"""ClickHouse, embedded by chdb, against the conformance suite and as it comes in life.

Every database is made and changed by another process, as its owner would.
"""

from __future__ import annotations

import asyncio
import hashlib
import sys
from collections.abc import AsyncIterator, Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from config.errors import PermanentError, SetupError, SwarmError, TransientError, UsageError
from integrations.base import Column, Constraint, Fingerprinted, Index, Statement, Table, Warehouse
from integrations.conformance import WarehouseConformance
from integrations.warehouses.clickhouse import ClickhouseOptions, ClickhouseWarehouse
from integrations.warehouses.clickhouse.embedded import EmbeddedTransport
from tests.clickhouse import holding, run

pytest.importorskip("chdb", reason="chdb is an extra and is not installed")

ODD = '"; drop table x'
_BAKERY = (
    "create database shop",
    "create table shop.sales (id Int32, amount Decimal(10, 2), note Nullable(String)) engine = MergeTree order by id",
    "insert into shop.sales select number, number, if(number % 5, null, 'n' || toString(number)) from numbers(1, 20)",
)


def clickhouse(path: Path, **options: object) -> ClickhouseWarehouse:
    """A warehouse by path."""
    return ClickhouseWarehouse("shop", ClickhouseOptions.model_validate({"url": f"chdb://{path}"} | options))


def everything(path: Path) -> list[Path]:
    """All that lies beneath a folder."""
    return sorted(path.rglob("*"))


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A database with twenty sales, most without a note."""
    run(tmp_path / "shop", *_BAKERY)
    return tmp_path / "shop"


class TestClickhouse(WarehouseConformance):
    """ClickHouse by chdb, with an actor."""

    @pytest.fixture
    async def warehouse(self, shop: Path) -> AsyncIterator[ClickhouseWarehouse]:
        """The shop's directory."""
        url = SecretStr(f"chdb://{shop}")
        opened = ClickhouseWarehouse("shop", ClickhouseOptions(url=url, actor_url=url, sketch_key=SecretStr("a key")))
        await opened.open()
        yield opened
        await opened.close()

    @pytest.fixture
    def table(self) -> str:
        """Twenty sales, most without a note."""
        return "shop.sales"

    @pytest.fixture
    def write(self) -> str:
        """Touches one row."""
        return "alter table shop.sales update amount = amount + 1 where id = 3"

    async def test_execute_counts_rows(self, warehouse: Warehouse, write: str) -> None:
        """A count that must hold is refused, for it would be known too late; an insert says how many rows it wrote."""
        with pytest.raises(SetupError, match="cannot take back"):
            await warehouse.execute([Statement(write, rows=1)], agent="conformance", lock="a lock")
        assert await warehouse.execute([Statement(write)], agent="conformance", lock="a lock") == [-1]
        add = Statement("insert into shop.sales (id, note) values (%s, %s), (51, '50%%')", (50, "it's\\ \n%s"))
        assert await warehouse.execute([add], agent="conformance") == [2]
        rows = await warehouse.query("select note from shop.sales where id >= %s order by id", (50,))
        assert [r["note"] for r in rows] == ["it's\\ \n%s", "50%"]

    async def test_execute_is_all_or_nothing(self, warehouse: Warehouse, table: str, write: str) -> None:
        """More than one statement is refused before the first is run, for nothing could be taken back."""
        read = f"select * from {warehouse.quote(*table.split('.', 1))} order by 1"
        before = await warehouse.query(read)
        for statements in (
            [Statement(write, rows=1), Statement(write, rows=2)],
            [Statement(write), Statement("select * from no_such_table")],
            [Statement(write), Statement(write)],
        ):
            with pytest.raises(SetupError, match="cannot take back"):
                await warehouse.execute(statements, agent="conformance")
        assert await warehouse.query(read) == before
        assert await warehouse.execute([], agent="conformance") == []


async def test_every_kind_of_object_is_in_the_catalog(tmp_path: Path) -> None:
    """Tables, views, keys, checks, skipping indexes, defaults, generated columns, comments: exactly as they are."""
    run(
        tmp_path / "all",
        "create database raw",
        """create table raw.people (
             id Int64, name LowCardinality(Nullable(String)) default 'x' comment 'how called',
             twice Int64 materialized id * 2, thrice Int64 alias id * 3,
             index by_name name type bloom_filter(0.01) granularity 2, constraint positive check id > 0,
             constraint `it's small` assume id < 9)
           engine = ReplacingMergeTree partition by id % 10 order by (id, twice) primary key id comment 'who'""",
        "create view raw.`a view` as select id, name from raw.people",
        "create materialized view raw.totals engine = SummingMergeTree order by id as select id from raw.people",
        "create table raw.outside (a Int32) engine = File(CSV)",
        "create table raw.brief (a Int32) engine = Memory",
    )
    catalog = await clickhouse(tmp_path / "all", schemas=["raw"]).catalog()
    found = {t.name: t for t in catalog.tables}
    assert list(found) == ["a view", "brief", "outside", "people", "totals"]
    assert all(t.identity and len(t.identity) == 36 for t in catalog.tables)
    assert found["people"] == Table(
        "raw",
        "people",
        (
            Column("id", 1, "bigint", False),
            Column("name", 2, "text", True, default="'x'", comment="how called"),
            Column("twice", 3, "bigint", False, generated="materialized id * 2"),
            Column("thrice", 4, "bigint", False, generated="alias id * 3"),
        ),
        identity=found["people"].identity,
        rows=0,
        comment="who",
        constraints=(
            Constraint("it's small", "check", definition="ASSUME (id < 9)"),
            Constraint("positive", "check", definition="CHECK (id > 0)"),
        ),
        indexes=(Index("by_name", ("name",), definition="bloom_filter(0.01) granularity 2"),),
        partitioning="engine ReplacingMergeTree, partition by id % 10, order by id, twice, primary key id",
    )
    assert [(t.kind, t.partitioning) for t in catalog.tables if t.name != "people"] == [
        ("view", ""),
        ("table", "engine Memory"),
        ("foreign table", "engine File"),
        ("materialized view", ""),
    ]
    assert found["a view"].definition == "SELECT id, name FROM raw.people"
    assert [c.name for c in found["totals"].columns] == ["id"]


async def test_types_are_in_the_words_of_the_house(tmp_path: Path) -> None:
    """Every type, nested ones with odd field names included, is written as the other warehouses write it."""
    types = {
        "Bool": "boolean",
        "Int8": "tinyint",
        "Int16": "smallint",
        "Nullable(Int32)": "integer",
        "Int64": "bigint",
        "UInt64": "ubigint",
        "Int128": "int128",
        "Float32": "real",
        "Float64": "double precision",
        "Decimal(18, 3)": "numeric(18,3)",
        "Decimal32(2)": "numeric(9,2)",
        "String": "text",
        "FixedString(4)": "character(4)",
        "UUID": "uuid",
        "Date": "date",
        "Date32": "date",
        "DateTime": "timestamp(0) with time zone",
        "DateTime('Europe/Berlin')": "timestamp(0) with time zone 'Europe/Berlin'",
        "DateTime64(3)": "timestamp(3) with time zone",
        "DateTime64(6, 'UTC')": "timestamp(6) with time zone 'UTC'",
        "Enum8('a' = 1, 'it\\'s' = 2)": "enum8('a' = 1, 'it\\'s' = 2)",
        "Array(Array(Nullable(Int32)))": "nullable(integer)[][]",
        "Map(LowCardinality(String), Decimal(4, 1))": "map(text, numeric(4,1))",
        "Tuple(a Int32, `b, c` Array(String), d Tuple(Int8, String))": "struct(a integer, `b, c` text[],"
        " d struct(tinyint, text))",
        "IPv4": "ipv4",
        "AggregateFunction(uniq, Int32)": "aggregatefunction(uniq, Int32)",
    }
    columns = ", ".join(f"c{i} {written}" for i, written in enumerate(types))
    run(
        tmp_path / "t",
        "create database t",
        f"create table t.t ({columns}) engine = MergeTree order by c1 settings allow_nullable_key = 1",
    )
    run(tmp_path / "t", "insert into t.t (c1) values (1), (2), (null)")
    looking = clickhouse(tmp_path / "t")
    (table,) = (await looking.catalog()).tables
    assert [c.type for c in table.columns] == list(types.values())
    assert [c.name for c in table.columns if c.nullable] == ["c3"]
    profile = await looking.profile("t.t", sketch=4)
    assert (profile.rows, profile.columns["c1"].nulls, profile.columns["c3"].nulls) == (3, 0, 3)
    assert len(await looking.query("select * except (c25) from t.t")) == 3


async def test_the_fingerprint_moves_with_the_structure_alone(shop: Path) -> None:
    """Whatever changes the catalog changes both fingerprints; rows and mutations change neither."""
    looking = clickhouse(shop)
    assert isinstance(looking, Fingerprinted)

    async def seen() -> tuple[str, str]:
        return await looking.fingerprint(), (await looking.catalog()).fingerprint

    before = await seen()
    run(
        shop,
        "insert into shop.sales (id) values (99)",
        "alter table shop.sales update note = 'x' where id = 1 settings mutations_sync = 2",
        "delete from shop.sales where id = 2",
        "optimize table shop.sales final",
        "create table shop.brief (a Int32) engine = Memory",
        "drop table shop.brief sync",
    )
    assert await seen() == before
    for change in (
        "alter table shop.sales add column added Int32",
        "alter table shop.sales modify column added Int64",
        "alter table shop.sales modify column added default 3",
        "alter table shop.sales rename column added to other",
        "alter table shop.sales comment column other 'c'",
        "alter table shop.sales modify comment 'c'",
        "alter table shop.sales drop column other",
        "alter table shop.sales add index i note type minmax",
        "alter table shop.sales add constraint c check id > 0",
        "create view shop.v as select id from shop.sales",
        "create or replace view shop.v as select note from shop.sales",
        "rename table shop.sales to shop.sold",
        "drop table shop.v sync",
    ):
        run(shop, change)
        after = await seen()
        assert after[0] != before[0], change
        assert after[1] != before[1], change
        before = after


async def test_identity_survives_a_rename(shop: Path) -> None:
    """A table keeps its uuid under another name, a column its sketch under another type."""
    looking = clickhouse(shop, sketch_key="k")
    (before,) = (await looking.catalog()).tables
    old = await looking.profile("shop.sales", sketch=8)
    run(
        shop,
        "rename table shop.sales to shop.sold",
        "alter table shop.sold modify column note LowCardinality(Nullable(String))",
    )
    run(shop, "alter table shop.sold rename column note to remark")
    (after,) = (await looking.catalog()).tables
    assert (after.identity, after.name) == (before.identity, "sold")
    assert old.columns["note"].nulls == 16
    other = await clickhouse(shop, sketch_key="another").profile("shop.sold", sketch=8)
    new = await looking.profile("shop.sold", sketch=8)
    assert set(old.columns["note"].sketch) <= set(new.columns["remark"].sketch)
    assert not set(other.columns["remark"].sketch) & set(new.columns["remark"].sketch)


async def test_sketches_are_those_of_every_warehouse(shop: Path) -> None:
    """A sketch is the smallest md5(key || text) of the values, so that warehouses can be compared."""
    hashed = sorted(hashlib.md5(f"k{i}".encode(), usedforsecurity=False).hexdigest() for i in range(1, 21))
    profile = await clickhouse(shop, sketch_key="k").profile("shop.sales", sketch=8)
    assert profile.columns["id"].sketch == tuple(hashed[:8])
    assert profile.columns["id"].distinct == 20


async def test_a_missing_library_is_said_so(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the libraries the kind is known all the same; opening it names the line that installs them."""
    for library, url in (("chdb", f"chdb://{shop}"), ("clickhouse_connect", "http://127.0.0.1:1/db")):
        monkeypatch.setitem(sys.modules, library, None)
        with pytest.raises(SetupError, match="not installed") as caught:
            await ClickhouseWarehouse("shop", ClickhouseOptions(url=SecretStr(url))).open()
        assert "pip install 'dataswarm[clickhouse]'" in caught.value.hint


async def test_odd_names_do_no_harm(tmp_path: Path) -> None:
    """Quotes, percent signs, dots, backslashes and spaces in names: seen, counted, sketched, and nothing else."""
    path = tmp_path / "odd"
    quote = clickhouse(path).quote
    names = (ODD, "100%", "Ünï", "a`b\\", " ")
    columns = ", ".join(f"{quote(name)} Nullable(String)" for name in names)
    table = quote("o.d'd", 'a.b; %s "x')
    run(
        path,
        f"create database {quote(chr(111) + '.d' + chr(39) + 'd')}",
        f"create table {table} ({columns}) engine = MergeTree order by ()",
    )
    run(path, f"insert into {table} values ('1', 'x', null, 'p', 'q'), (null, 'y', null, 'r', 's')")
    looking = clickhouse(path, sketch_key="k")
    (found,) = (await looking.catalog()).tables
    assert tuple(c.name for c in found.columns) == names
    profile = await looking.profile(found.path, sketch=8)
    assert [(c.nulls, c.distinct) for c in profile.columns.values()] == [(1, 1), (0, 2), (2, 0), (0, 2), (0, 2)]
    doubled = quote("100%").replace("%", "%%")
    text = f"select {quote('a`b' + chr(92))} as v from {table.replace('%', '%%')} where {doubled} = %s"
    assert await looking.query(text, ["y"]) == [{"v": "r"}]
    with pytest.raises(PermanentError, match="no column"):
        await looking.profile(found.path, columns=["nope"])
    with pytest.raises(UsageError):
        looking.quote("a\0b")


async def test_values_keep_their_kind(shop: Path) -> None:
    """Values come as Python's own, and go as parameters, unharmed."""
    looking = clickhouse(shop)
    values: list[Any] = [
        -(2**100),
        2**63 - 1,
        1.5,
        True,
        None,
        "it's \\ \n\t' -- %s",
        Decimal("-1.50"),
        date(1955, 2, 3),
        datetime(2024, 1, 2, 3, 4, 5, 678901, tzinfo=UTC),
    ]
    row = (await looking.query("select " + ", ".join(f"%s as c{i}" for i in range(len(values))), values))[0]
    assert list(row.values()) == values
    assert (await looking.query("select 18446744073709551615 as u, nan as f, ['a'] as l"))[0]["u"] == 2**64 - 1
    for sql in ("select '%s'", "select %s, %s", "select %d", 'select 1 as "%s"', "select 1 -- %s"):
        with pytest.raises(PermanentError):
            await looking.query(sql, ["x"])


async def test_reading_reaches_nothing_else(shop: Path, tmp_path: Path) -> None:
    """No text gets `query` to write, to read a file or an address, or to leave read-only mode."""
    secret = tmp_path / "secret.csv"
    secret.write_text("hunter2\n")
    written = tmp_path / "written"
    looking = clickhouse(shop, actor_url=f"chdb://{shop}")
    for sql in (
        "insert into shop.sales (id) values (100)",
        "create temporary table t (a Int32)",
        f"select * from file('{secret}', 'LineAsString')",
        f"select * from `file`('{secret}', 'LineAsString')",
        f"select * from '{secret}'",
        f'select * from "{secret}"',
        f'select * from default."{secret}"',
        f"select file('{secret}')",
        f"select 1 where 'hunter2' in \"{secret}\"",
        f"select 1 where 'hunter2' in '{secret}'",
        f"select 1 where 'hunter2' in file('{secret}')",
        f"select * from view(select * from file('{secret}', 'LineAsString'))",
        f"with a as (select * from file('{secret}', 'LineAsString')) select * from a",
        "select * from url('http://127.0.0.1:1/', 'LineAsString')",
        "select * from executable('id', 'TSV', 'a String')",
        "select * from python('x')",
        f"select 1 into outfile '{written}'",
        "select 1 format CSV",
        "select 1 settings readonly = 0",
        "set readonly = 0",
        "system shutdown",
        "kill query where 1",
        "use system",
        "select 1; select 2",
        "",
        "-- nothing",
        "drop table shop.sales",
    ):
        with pytest.raises(SwarmError) as caught:
            await looking.query(sql)
        assert "hunter2" not in str(caught.value)
    assert not written.exists()
    for sql in (
        "system shutdown",
        "set max_threads = 1",
        "attach table shop.t",
        f"insert into function file('{written}') select 1",
        f"insert into shop.sales (note) select line from file('{secret}', 'LineAsString')",
        "optimize table shop.sales; drop table shop.sales",
        "grant all on *.* to x",
    ):
        with pytest.raises(PermanentError):
            await looking.execute([Statement(sql)], agent="x")
    assert not written.exists()
    assert (await looking.query("select count() as n from shop.sales"))[0]["n"] == 20
    assert (await looking.query("select sum(number) as n from numbers(4) where number in (select 3)"))[0]["n"] == 3


async def test_a_directory_somebody_has_open_is_tried_again(shop: Path) -> None:
    """While another process has it, every look is a TransientError; afterwards, and beside one another, looks work."""
    looking = clickhouse(shop, actor_url=f"chdb://{shop}")
    with holding(shop):
        for look in (
            looking.catalog,
            looking.fingerprint,
            lambda: looking.query("select 1"),
            lambda: looking.execute([Statement("drop table shop.sales")], agent="x"),
        ):
            with pytest.raises(TransientError, match="code 76") as caught:
                await look()
            assert "another process" in caught.value.hint
        assert [f.ok for f in await looking.examine()] == [False]
    seen = await asyncio.gather(looking.catalog(), looking.catalog(), looking.profile("shop.sales"))
    assert seen[0].tables == seen[1].tables


async def test_a_slow_statement_is_ended(shop: Path) -> None:
    """The time-out holds, and a caller who gives up leaves no process behind that keeps the directory."""
    slow = "select sum(cityHash64(number)) as n from numbers(1000000000000)"
    with pytest.raises(TransientError) as caught:
        await clickhouse(shop, statement_timeout_seconds=0.5).query(slow)
    assert "statement_timeout_seconds" in caught.value.hint
    looking = clickhouse(shop)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1):
            await looking.query(slow)
    assert await looking.query("select 1 as n") == [{"n": 1}]


async def test_looks_after_one_another_share_a_process(shop: Path) -> None:
    """One process serves them, a failure among them, and holds nothing in between; one that went is replaced."""
    looking = clickhouse(shop, actor_url=f"chdb://{shop}")
    assert isinstance(looking._reader, EmbeddedTransport)
    processes = set()
    for _ in range(3):
        with pytest.raises(PermanentError):
            await looking.query("select throwIf(number = 90000) as a from numbers(99999)", limit=99_999)
        assert await looking.query("select 42 as a") == [{"a": 42}]
        await looking.execute([Statement("insert into shop.sales (id) values (100)")], agent="x")
        run(shop, "insert into shop.sales (id) values (101)")
        assert looking._reader._kept is not None
        processes.add(looking._reader._kept)
    (kept,) = processes
    kept.end()
    assert await looking.query("select 42 as a") == [{"a": 42}]
    assert looking._reader._kept not in (None, kept)
    await looking.close()
    assert looking._reader._kept is None


async def test_values_are_not_in_messages(shop: Path) -> None:
    """An error that quotes a value, from a row or from the statement, is passed on without it."""
    looking = clickhouse(shop)
    for sql in (
        "select toInt32(assumeNotNull(note)) from shop.sales where id = 5",
        "select toDate('n5')",
        "select nope from shop.sales where note = 'n5'",
        "select * from nope where note = 'n5'",
        "select toInt32('n5') +",
    ):
        with pytest.raises(PermanentError) as caught:
            await looking.query(sql)
        assert "n5" not in str(caught.value)


async def test_a_large_table_is_sampled_and_says_so(shop: Path) -> None:
    """Above `sketch_rows` nulls are scaled up, nothing is sketched, and the profile is not exact."""
    run(
        shop,
        "create table shop.large (id Int32, part Nullable(Int32)) engine = MergeTree order by id",
        "insert into shop.large select number, if(number % 4, null, number) from numbers(40000)",
    )
    profile = await clickhouse(shop, sketch_rows=4000).profile("shop.large", sketch=8)
    assert (profile.exact, profile.rows, profile.columns["id"].sketch) == (False, 40_000, ())
    assert profile.columns["part"].nulls == pytest.approx(30_000, rel=0.02)
    exact = await clickhouse(shop).profile("shop.large", sketch=8)
    assert (exact.exact, exact.columns["part"].nulls, exact.columns["part"].distinct) == (True, 30_000, 10_000)


async def test_a_wrong_url_says_what_to_do(tmp_path: Path, closed_port: int) -> None:
    """Nonsense, no directory of chdb, no server: a finding with a hint, never the password, and nothing is made."""
    (tmp_path / "empty").mkdir()
    cases: dict[str, tuple[str, type[SwarmError]]] = {
        "nonsense hunter2": ("cannot be read", SetupError),
        "http://u:hunter2@[nonsense": ("cannot be read", SetupError),
        "http://u:hunter2@host:99999/db": ("cannot be read", SetupError),
        "chdb://": ("cannot be read", SetupError),
        f"chdb://{tmp_path}/empty": ("no directory of chdb", SetupError),
        f"chdb://{tmp_path}/missing": ("no directory of chdb", SetupError),
        f"http://u:hunter2@127.0.0.1:{closed_port}/db": ("cannot be reached", TransientError),
    }
    for url, (what, kind) in cases.items():
        looking = ClickhouseWarehouse("shop", ClickhouseOptions(url=SecretStr(url)))
        (finding,) = await looking.examine()
        assert (finding.ok, what in finding.what, bool(finding.hint)) == (False, True, True), url
        looks: tuple[Callable[[], Any], ...] = (looking.catalog, looking.fingerprint)
        for look in looks:
            with pytest.raises(kind) as caught:
                await look()
            assert "hunter2" not in str(caught.value) + repr(looking.options) + str(finding)
        if kind is SetupError:
            with pytest.raises(SetupError):
                await looking.open()
    assert [p.relative_to(tmp_path).as_posix() for p in everything(tmp_path)] == ["empty"]
    with pytest.raises(SetupError, match="no actor"):
        await clickhouse(tmp_path).execute([Statement("drop table x")], agent="x")
