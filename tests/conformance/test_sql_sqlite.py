"""SQLite as a warehouse: conformance, an exact catalog of every kind of object, and files as they come in life."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import sqlite3
import threading
import time
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import event

from config.errors import (
    ConflictError,
    PermanentError,
    SetupError,
    SourceError,
    SwarmError,
    TransientError,
    UsageError,
)
from integrations.base import Catalog, Column, Constraint, Fingerprinted, Index, Statement, Table
from integrations.conformance import WarehouseConformance
from integrations.warehouses.sql import SqlOptions, SqlWarehouse
from tests.pace import PATIENCE

log = logging.getLogger(__name__)

SALES = """
create table bakers (id integer primary key, name text not null);
create table sales (
  id integer primary key, baker_id integer references bakers, amount decimal(10, 2) not null default 0,
  note varchar(40));
insert into bakers values (1, 'Ada'), (2, 'Bo');
with recursive n(i) as (select 1 union all select i + 1 from n where i < 20)
insert into sales select i, 1 + i % 2, i, case when i % 5 = 0 then 'n' || i end from n;
"""
EVERYTHING = """
create table parents (
  id integer primary key autoincrement,
  code varchar(10) not null default 'x''y' collate nocase,
  doubled as (id * 2) stored,
  "next; one" int generated always as (id + 1),  -- a comment, with ' a quote
  price decimal(10, 2) default (1 + 2) check (price >= 0),
  anything,
  constraint named check (code <> 'a, b) --'),
  constraint both unique (code, price));
create table children (
  x int constraint to_parent references parents, y int, z text collate rtrim,
  foreign key (y, z) references parents (price, code) on update set null on delete cascade);
create table keyed (a text primary key, b) without rowid;
create table strict_one (a integer, b any, primary key (a, b)) strict;
create table "o""d%d; drop table sales" ("a.b" int, "100%" int, [in brackets] int, `back``tick` int, "Ünï" date);
create index by_code on parents (code collate binary desc, lower(code)) where price > 3;
create unique index by_price on parents (price);
create view seen (p, q) as select id, code /* as */ from parents where code <> ' as ';
create table gone (x);
create view broken as select * from gone;
drop table gone;
"""


def run(path: Path, script: str) -> None:
    """Run SQL as the team does."""
    connection = sqlite3.connect(path)
    connection.executescript(script)
    connection.close()


def warehouse(path: Path, **options: object) -> SqlWarehouse:
    """A warehouse by path."""
    return SqlWarehouse("bakery", SqlOptions.model_validate({"url": f"sqlite:///{path}"} | options))


def md5(text: str) -> str:
    """As every engine hashes."""
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def acting(path: Path, **options: object) -> SqlWarehouse:
    """One with an actor."""
    return warehouse(path, actor_url=f"sqlite:///{path}", **options)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Twenty sales of two bakers."""
    path = tmp_path / "bakery 100%.db"
    run(path, SALES)
    return path


class TestSqlite(WarehouseConformance):
    """A SQLite file, read and changed."""

    @pytest.fixture
    async def warehouse(self, file: Path) -> AsyncIterator[SqlWarehouse]:
        """The bakery's file as both roles."""
        made = acting(file, sketch_key=SecretStr("a key of the tests"))
        await made.open()
        yield made
        await made.close()

    @pytest.fixture
    def table(self) -> str:
        """Twenty sales, most without a note."""
        return "main.sales"

    @pytest.fixture
    def write(self) -> str:
        """Touches one row."""
        return "update sales set amount = amount + 1 where id = 3"


def column(name: str, position: int, type_: str, **more: Any) -> Column:
    """A nullable column, unless said otherwise."""
    given: dict[str, Any] = {"name": name, "position": position, "type": type_, "nullable": True} | more
    return Column(**given)


async def test_every_kind_of_object_is_told_exactly(tmp_path: Path) -> None:
    """Columns, defaults, generated expressions, collations, keys, checks, indexes, views, broken ones too."""
    path = tmp_path / "all.db"
    run(path, EVERYTHING)
    catalog = await warehouse(path).catalog()
    tables = {t.name: t for t in catalog.tables}
    assert set(tables) == {*("parents", "children", "keyed", "strict_one", 'o"d%d; drop table sales', "seen", "broken")}
    assert tables["parents"] == Table(
        "main",
        "parents",
        (
            column("id", 1, "integer", nullable=False, numbering="by default"),
            column("code", 2, "character varying(10)", nullable=False, default="'x''y'", collation="nocase"),
            column("doubled", 3, "any", generated="id * 2 stored"),
            column("next; one", 4, "integer", generated="id + 1 virtual"),
            column("price", 5, "numeric(10,2)", default="1 + 2"),
            column("anything", 6, "any"),
        ),
        constraints=(
            Constraint("", "check", ("price",), "check (price >= 0)"),
            Constraint("named", "check", (), "check (code <> 'a, b) --')"),
            Constraint("", "primary_key", ("id",), 'primary key ("id")'),
            Constraint("both", "unique", ("code", "price"), 'unique ("code", "price")'),
        ),
        indexes=(
            Index("by_code", ("code", "lower(code)"), False, "(code collate binary desc, lower(code)) where price > 3"),
            Index("by_price", ("price",), True, "(price)"),
        ),
    )
    assert tables["children"].constraints == (
        Constraint(
            "",
            "foreign_key",
            ("y", "z"),
            'foreign key ("y", "z") references "parents" ("price", "code") on update set null on delete cascade',
            "main.parents",
            ("price", "code"),
        ),
        Constraint(
            "to_parent", "foreign_key", ("x",), 'foreign key ("x") references "parents" ("id")', "main.parents", ("id",)
        ),
    )
    assert tables["children"].columns[2].collation == "rtrim"
    assert tables["keyed"].columns[0] == column("a", 1, "text", nullable=False)
    assert [c.nullable for c in tables["strict_one"].columns] == [False, False]
    odd = tables['o"d%d; drop table sales']
    assert [(c.name, c.type) for c in odd.columns] == [
        *(
            ("a.b", "integer"),
            ("100%", "integer"),
            ("in brackets", "integer"),
            ("back`tick", "integer"),
            ("Ünï", "date"),
        )
    ]
    assert tables["seen"] == Table(
        "main",
        "seen",
        (column("p", 1, "integer"), column("q", 2, "character varying(10)")),
        "view",
        definition="select id, code from parents where code <> ' as '",
    )
    assert tables["broken"] == Table("main", "broken", (), "view", definition="select * from gone")


async def test_virtual_tables_keep_their_own_out_of_sight(file: Path) -> None:
    """A full-text table is one table, without those it keeps its index in, and without hidden columns."""
    run(file, "create virtual table words using fts5(t)")
    catalog = await warehouse(file).catalog()
    assert [(t.name, t.kind) for t in catalog.tables] == [
        *(("bakers", "table"), ("sales", "table"), ("words", "virtual table"))
    ]
    assert [c.name for c in catalog.tables[2].columns] == ["t"]


async def test_estimates_come_from_analyze(file: Path) -> None:
    """What ANALYZE counted is the estimate, which is no part of the fingerprint."""
    looking = warehouse(file)
    before = await looking.catalog()
    run(file, "create index by_note on sales (note)")
    run(file, "analyze; drop index by_note")
    run(file, "analyze")
    after = await looking.catalog()
    assert [t.rows for t in before.tables] == [-1, -1]
    assert after.fingerprint == before.fingerprint


CHANGES = (
    "create table more (id integer)",
    "drop table sales",
    "alter table sales rename to sold",
    "alter table sales rename column note to remark",
    "alter table sales add column extra text default 'x'",
    "alter table sales drop column note",
    "create index by_amount on sales (amount)",
    "create unique index by_amount on sales (amount)",
    "create view seen as select 1 as one",
    "create virtual table words using fts5(t)",
    "drop table sales; create table sales (id integer primary key, amount decimal(10, 3))",
)
HARMLESS = (
    "insert into bakers values (7, 'Cy')",
    "update sales set amount = 0",
    "delete from sales",
    "analyze",
    "vacuum",
    "pragma user_version = 4",
    "create temp table mine (x)",
    "create table passing (x); drop table passing",
)


@pytest.mark.parametrize("change", CHANGES)
async def test_the_fingerprint_tells_a_change(file: Path, change: str) -> None:
    """After a definition both fingerprints are others."""
    looking = warehouse(file)
    assert isinstance(looking, Fingerprinted)
    before = await looking.fingerprint(), (await looking.catalog()).fingerprint
    run(file, change)
    after = await looking.fingerprint(), (await looking.catalog()).fingerprint
    assert after[0] != before[0]
    assert after[1] != before[1]


@pytest.mark.parametrize("change", HARMLESS)
async def test_the_fingerprint_stays(file: Path, change: str) -> None:
    """After changes of rows and housekeeping both fingerprints are the same."""
    looking = warehouse(file)
    before = await looking.fingerprint(), (await looking.catalog()).fingerprint
    run(file, change)
    assert (await looking.fingerprint(), (await looking.catalog()).fingerprint) == before


async def test_another_file_in_its_place_is_noticed(file: Path, tmp_path: Path) -> None:
    """Two files with as many definitions each have fingerprints of their own."""
    before = await warehouse(file).fingerprint()
    other = tmp_path / "other.db"
    run(other, SALES.replace("varchar(40)", "varchar(41)"))
    other.replace(file)
    assert await warehouse(file).fingerprint() != before


async def test_profiles_and_sketches(file: Path) -> None:
    """Counts are exact; a sketch is the smallest md5(key || value), the same for the same values elsewhere."""
    run(
        file,
        "create table copy (amount text, raw blob); insert into copy select cast(amount as text), x'00ff' from sales",
    )
    looking = warehouse(file, sketch_key="k")
    sales = await looking.profile("main.sales", sketch=4)
    copy = await looking.profile("main.copy", sketch=4)
    assert (sales.rows, sales.exact, sales.columns["note"].nulls, sales.columns["note"].distinct) == (20, True, 16, 4)
    expected = sorted(md5(f"k{i}") for i in range(1, 21))[:4]
    assert sales.columns["amount"].sketch == tuple(expected) == copy.columns["amount"].sketch
    assert copy.columns["raw"].sketch == (md5("k\\x00ff"),)
    other = await warehouse(file, sketch_key="l").profile("main.sales", sketch=4)
    assert not set(other.columns["amount"].sketch) & set(expected)
    with pytest.raises(PermanentError, match="no column 'nope'"):
        await looking.profile("main.sales", columns=["nope"])


async def test_letters_of_either_case_are_two_values(file: Path) -> None:
    """What a collation calls equal is still distinct."""
    run(file, "create table cased (c text collate nocase); insert into cased values ('a'), ('A'), ('a')")
    assert (await warehouse(file).profile("main.cased", sketch=4)).columns["c"].distinct == 2


async def test_a_large_table_is_sampled_and_says_so(file: Path) -> None:
    """Above `sketch_rows` rows are counted, nulls scaled up, nothing is sketched, and the profile is not exact."""
    profile = await warehouse(file, sketch_rows=10).profile("main.sales", sketch=4)
    assert (profile.rows, profile.exact) == (20, False)
    assert profile.columns["note"].nulls == 16
    assert profile.columns["id"].sketch == ()
    assert (await warehouse(file, sketch_rows=0).profile("main.sales")).exact


async def test_odd_names_do_no_harm(tmp_path: Path) -> None:
    """Quotes, dots, percent signs and statements in names: seen, counted, sketched, and nothing else happens."""
    path = tmp_path / "odd.db"
    run(path, EVERYTHING)
    run(path, """insert into "o""d%d; drop table sales" values (1, 2, 3, null, '2026-01-01')""")
    looking = warehouse(path)
    profile = await looking.profile('main.o"d%d; drop table sales', sketch=2)
    assert {n: (c.nulls, c.distinct) for n, c in profile.columns.items()} == {
        "a.b": (0, 1),
        "100%": (0, 1),
        "in brackets": (0, 1),
        "back`tick": (1, 0),
        "Ünï": (0, 1),
    }
    assert await looking.query('select "a.b" from "o""d%d; drop table sales"') == [{"a.b": 1}]
    with pytest.raises(UsageError):
        looking.quote("a\0b")


async def test_wide_tables_are_counted_in_pieces(file: Path) -> None:
    """A thousand columns, more than one query counts, are all counted."""
    columns = ", ".join(f"c{i} integer" for i in range(1000))
    run(file, f"create table wide ({columns}); insert into wide (c0, c999) values (7, 8), (null, 9)")
    profile = await warehouse(file).profile("main.wide")
    assert (profile.rows, len(profile.columns)) == (2, 1000)
    assert [profile.columns[f"c{i}"].nulls for i in (0, 500, 999)] == [1, 2, 0]


async def test_placeholders_reach_the_driver(file: Path) -> None:
    """`%s` is a parameter and `%%` a percent sign; without parameters a percent sign is itself; counts must agree."""
    looking = warehouse(file)
    rows = await looking.query("select %s as a, '100%%' as b, %s as c", (1, Decimal("1.50")))
    assert rows == [{"a": 1, "b": "100%", "c": "1.50"}]
    assert await looking.query("select '100%' as b, '%s' as c") == [{"b": "100%", "c": "%s"}]
    for sql, parameters in (("select %s", (1, 2)), ("select '100%' , %s", (1,))):
        with pytest.raises(UsageError, match="bakery"):
            await looking.query(sql, parameters)
    with pytest.raises(PermanentError):
        await looking.query("select %s", (2**80,))


async def test_reading_cannot_be_talked_into_writing(file: Path, tmp_path: Path) -> None:
    """No text gets `query` to write, to attach, copy or make a file, or to change its own mode."""
    looking = warehouse(file)
    for sql in (
        "update sales set amount = 0",
        "with gone as (select 1) delete from sales",
        f"attach 'file:{tmp_path}/other.db?mode=rwc' as other",
        f"vacuum into '{tmp_path}/copy.db'",
        "pragma query_only = off",
        "pragma journal_mode = wal",
        "create temp table mine (x)",
        "begin; update sales set amount = 0; commit",
        "select load_extension('evil')",
        "commit",
    ):
        with pytest.raises(SwarmError):
            await looking.query(sql)
    assert os.listdir(tmp_path) == [file.name]  # noqa: PTH208 - a look, not a walk
    assert (await looking.query("select sum(amount) as s from sales"))[0]["s"] == 210
    assert await looking.query("select name from pragma_table_info('bakers')") == [{"name": "id"}, {"name": "name"}]


async def test_changes_are_one_transaction(file: Path) -> None:
    """Definitions too are rolled back; what would end the transaction is refused; references are held."""
    changing = acting(file)
    before = await changing.catalog()
    with pytest.raises(ConflictError, match="20 rows where 19"):
        await changing.execute(
            [Statement("create table more (x)"), Statement("update sales set amount = amount + %s", (1,), rows=19)],
            agent="x",
        )
    with pytest.raises(UsageError, match="ROLLBACK"):
        await changing.execute([Statement("create table more (x)"), Statement("rollback")], agent="x")
    with pytest.raises(PermanentError, match="constraint"):
        await changing.execute([Statement("delete from bakers")], agent="x")
    with pytest.raises(ConflictError, match="already"):
        await changing.execute([Statement("insert into bakers values (%s, %s)", (1, "Secret"))], agent="x")
    assert (await changing.catalog()).fingerprint == before.fingerprint
    assert (await changing.query("select sum(amount) as s from sales"))[0]["s"] == 210
    with pytest.raises(SetupError, match="no actor"):
        await warehouse(file).execute([Statement("select 1")], agent="x")


async def test_a_locked_file_is_waited_for_briefly(file: Path) -> None:
    """While another writes, changing is a TransientError within the lock time-out, and looking goes on."""
    holder = sqlite3.connect(file, isolation_level=None)
    holder.execute("begin immediate")
    changing = acting(file, lock_timeout_seconds=0.05)
    with pytest.raises(TransientError, match="locked"):
        await changing.execute([Statement("update sales set amount = 0")], agent="x")
    assert len((await changing.catalog()).tables) == 2
    holder.execute("commit")
    holder.execute("begin exclusive")
    with pytest.raises(TransientError, match="locked"):
        await changing.catalog()
    holder.close()


async def test_a_slow_statement_is_ended(file: Path) -> None:
    """The statement time-out holds, with the setting to change in the hint, and the thread is gone with it."""
    endless = "with recursive n(i) as (select 1 union all select i + 1 from n) select max(i) from n"
    with pytest.raises(TransientError, match="interrupted") as caught:
        await warehouse(file, statement_timeout_seconds=0.1).query(endless)
    assert "statement_timeout_seconds" in caught.value.hint


async def test_who_gives_up_waiting_ends_the_work(file: Path) -> None:
    """A cancelled look interrupts its statement: its thread ends long before the statement would."""
    endless = "with recursive n(i) as (select 1 union all select i + 1 from n) select max(i) from n"
    looking = warehouse(file, statement_timeout_seconds=600, connections=1)
    begun = asyncio.Event()
    loop = asyncio.get_running_loop()
    await looking.open()
    engine = looking._ready().reader.engine
    event.listen(engine, "before_cursor_execute", lambda *_: loop.call_soon_threadsafe(begun.set))
    task = asyncio.create_task(looking.query(endless))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    # The only lane is free again, which it is not before the thread has ended.
    assert await asyncio.wait_for(looking.query("select 1 as one"), PATIENCE) == [{"one": 1}]
    assert not [t for t in threading.enumerate() if t.name == "warehouse bakery" and t.is_alive()][1:]


@pytest.mark.parametrize(
    ("url", "error", "what"),
    [
        ("sqlite:///{0}/none.db", SetupError, "no file"),
        ("sqlite://", SetupError, "in memory"),
        ("sqlite:///{0}", SetupError, "no file"),
        ("sqlite:///{0}/text.db", SourceError, "no SQLite database"),
        ("not a url hunter2", SetupError, "cannot be read"),
    ],
)
async def test_a_wrong_url_says_what_to_do(tmp_path: Path, url: str, error: type[SwarmError], what: str) -> None:
    """A file that is not there or is none, a database in memory, nonsense: an error that says so, and a finding."""
    (tmp_path / "text.db").write_text("this is no database, but long enough to be looked at " * 100)
    looking = SqlWarehouse("bakery", SqlOptions(url=SecretStr(url.format(tmp_path))))
    with pytest.raises(error, match=what) as caught:
        await looking.catalog()
    assert caught.value.hint
    assert "hunter2" not in str(caught.value)
    assert what in next(f for f in await looking.examine() if not f.ok).what
    assert not (tmp_path / "none.db").exists()


async def test_values_are_not_in_messages(file: Path) -> None:
    """A broken statement is not quoted; a name that is missing is."""
    looking = warehouse(file)
    for sql in ("select * from sales where note = 'Secret' 'Secret'", "select abs(-9223372036854775808)"):
        with pytest.raises(PermanentError) as caught:
            await looking.query(sql)
        assert "Secret" not in str(caught.value)
    with pytest.raises(PermanentError, match="no such column: nope"):
        await looking.query("select nope from sales")


async def test_only_main_is_looked_at(file: Path) -> None:
    """There is one schema; another that is configured is invisible, and one left out is left out."""
    catalog = await warehouse(file, schemas=["main", "shop"]).catalog()
    assert ([t.path for t in catalog.tables], catalog.invisible) == (["main.bakers", "main.sales"], ("shop",))
    assert (await warehouse(file, exclude_schemas=["m*"]).catalog()).tables == ()


async def test_a_thousand_tables(tmp_path: Path) -> None:
    """The number of queries is the same for ten tables and for a thousand."""

    async def look(tables: int) -> tuple[Catalog, int, float, float]:
        path = tmp_path / f"{tables}.db"
        columns = ", ".join(f"c{i} varchar(20) default 'x'" for i in range(20))
        run(
            path,
            "begin;"
            + "".join(f"create table t{i} (id integer primary key, {columns});" for i in range(tables))
            + "commit",
        )
        looking = warehouse(path)
        await looking.query("select 1")
        said: list[str] = []
        event.listen(looking._ready().reader.engine, "before_cursor_execute", lambda *a: said.append(a[2]))
        begun = time.perf_counter()
        catalog = await looking.catalog()
        done = time.perf_counter()
        count = len(said)
        await looking.fingerprint()
        return catalog, count, done - begun, time.perf_counter() - done

    _, few, *_ = await look(10)
    catalog, many, seconds, cheaply = await look(1000)
    assert len(catalog.tables) == 1000
    assert few == many <= 12
    log.info("1,000 tables: %s statements, catalog %.2f s, fingerprint %.3f s", many, seconds, cheaply)
