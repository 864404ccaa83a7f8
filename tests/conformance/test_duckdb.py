"""DuckDB files against the conformance suite, and as they come in life."""

from __future__ import annotations

import asyncio
import hashlib
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import pytest
from pydantic import SecretStr

from config.errors import ConflictError, PermanentError, SetupError, SourceError, SwarmError, TransientError, UsageError
from integrations.base import Column, Constraint, Enumeration, Fingerprinted, Index, NumberSequence, Statement, Table
from integrations.conformance import WarehouseConformance
from integrations.warehouses.duckdb import DuckdbOptions, DuckdbWarehouse
from tests.duck import run

ROOT = Path(__file__).parents[2]
ODD = '"; drop table x'
_BAKERY = """
create schema raw;
create table raw.sales (id integer primary key, amount decimal(10, 2) not null default 0, note varchar);
insert into raw.sales select i, i, case when i % 5 = 0 then 'n' || i end from range(1, 21) t(i);
"""


def warehouse(path: Path, **options: object) -> DuckdbWarehouse:
    """A warehouse by path."""
    return DuckdbWarehouse("bakery", DuckdbOptions.model_validate({"path": path} | options))


@pytest.fixture
def bakery(tmp_path: Path) -> Path:
    """A file with twenty sales, most without a note."""
    path = tmp_path / "bakery.duckdb"
    run(path, _BAKERY)
    return path


class TestDuckdb(WarehouseConformance):
    """A DuckDB file with an actor."""

    @pytest.fixture
    async def warehouse(self, bakery: Path) -> AsyncIterator[DuckdbWarehouse]:
        """The bakery's file."""
        opened = DuckdbWarehouse("bakery", DuckdbOptions(path=bakery, actor=True, sketch_key=SecretStr("a key")))
        await opened.open()
        yield opened
        await opened.close()

    @pytest.fixture
    def table(self) -> str:
        """Twenty sales, most without a note."""
        return "raw.sales"

    @pytest.fixture
    def write(self) -> str:
        """Touches one row."""
        return "update raw.sales set amount = amount + 1 where id = 3"


async def test_every_kind_of_object_is_in_the_catalog(tmp_path: Path) -> None:
    """Tables, views, keys, checks, indexes, enumerations, sequences, defaults, comments: exactly as they are."""
    path = tmp_path / "all.duckdb"
    run(
        path,
        "create schema raw; create type raw.mood as enum ('sad', 'it''s ok'); create sequence raw.numbers increment 2",
        """create table raw.people (
             id bigint primary key default nextval('raw.numbers'), name varchar not null default 'x', code integer
               unique, feeling raw.mood, twice bigint generated always as (code * 2), check (length(name) < 9))""",
        "create table raw.orders (id integer, person bigint references raw.people (id), unique (id, person))",
        "create index by_name on raw.people (name, (code + 1)); create unique index by_both on raw.orders (person, id)",
        'create view raw."a view as" ("first", "se)cond") as select id, name from raw.people',
        "comment on table raw.people is 'who'; comment on column raw.people.name is 'how called'",
        """comment on view raw."a view as" is 'seen'""",
    )
    catalog = await warehouse(path, schemas=["raw"]).catalog()
    highest = 2**63 - 1
    assert catalog.sequences == (
        NumberSequence("raw", "numbers", f"bigint increment 2 minvalue 1 maxvalue {highest} no cycle"),
    )
    assert catalog.enumerations == (Enumeration("raw", "mood", ("sad", "it's ok")),)
    assert catalog.tables == (
        Table(
            "raw",
            "a view as",
            (Column("first", 1, "bigint", True), Column("se)cond", 2, "text", True)),
            kind="view",
            comment="seen",
            definition='SELECT id, "name" FROM raw.people',
        ),
        Table(
            "raw",
            "orders",
            (Column("id", 1, "integer", True), Column("person", 2, "bigint", True)),
            rows=0,
            constraints=(
                Constraint("orders_id_person_key", "unique", ("id", "person"), "UNIQUE(id, person)"),
                Constraint(
                    "orders_person_id_fkey",
                    "foreign_key",
                    ("person",),
                    "FOREIGN KEY (person) REFERENCES raw.people(id)",
                    "raw.people",
                    ("id",),
                ),
            ),
            indexes=(
                Index("by_both", ("person", "id"), True, "CREATE UNIQUE INDEX by_both ON raw.orders(person, id)"),
            ),
        ),
        Table(
            "raw",
            "people",
            (
                Column("id", 1, "bigint", False, default="nextval('raw.numbers')"),
                Column("name", 2, "text", False, default="'x'", comment="how called"),
                Column("code", 3, "integer", True),
                Column("feeling", 4, "enum('sad','it''s ok')", True),
                Column("twice", 5, "bigint", True, generated="CAST((code * 2) AS BIGINT)"),
            ),
            rows=0,
            comment="who",
            constraints=(
                Constraint("people_code_key", "unique", ("code",), "UNIQUE(code)"),
                Constraint("people_id_pkey", "primary_key", ("id",), "PRIMARY KEY(id)"),
                Constraint("people_name_check", "check", ("name",), 'CHECK((length("name") < 9))'),
            ),
            indexes=(
                Index(
                    "by_name",
                    ("name", "((code + 1))"),
                    definition='CREATE INDEX by_name ON raw.people("name", ((code + 1)))',
                ),
            ),
        ),
    )


async def test_types_are_in_the_words_of_the_house(tmp_path: Path) -> None:
    """Every type, nested ones with odd field names included, is written as the other warehouses write it."""
    path = tmp_path / "types.duckdb"
    types = {
        "boolean": "boolean",
        "tinyint": "tinyint",
        "smallint": "smallint",
        "integer": "integer",
        "bigint": "bigint",
        "hugeint": "hugeint",
        "uinteger": "uinteger",
        "real": "real",
        "double": "double precision",
        "decimal(18, 3)": "numeric(18,3)",
        "varchar(10)": "text",
        "blob": "bytea",
        "bit": "bit varying",
        "uuid": "uuid",
        "json": "json",
        "date": "date",
        "time": "time without time zone",
        "timestamp": "timestamp without time zone",
        "timestamptz": "timestamp with time zone",
        "timestamp_s": "timestamp(0) without time zone",
        "timestamp_ms": "timestamp(3) without time zone",
        "timestamp_ns": "timestamp(9) without time zone",
        "interval": "interval",
        "integer[]": "integer[]",
        "varchar[3][]": "text[3][]",
        "map(varchar, decimal(4, 1))": "map(text, numeric(4,1))",
        'struct(a integer, "b c" varchar[], "integer" struct(d timestamptz))': 'struct(a integer, "b c" text[],'
        ' "integer" struct(d timestamp with time zone))',
        "union(n integer, t varchar)": "union(n integer, t text)",
        "enum('a,b', 'it''s')": "enum('a,b','it''s')",
    }
    columns = ", ".join(f"c{i} {written}" for i, written in enumerate(types))
    run(path, f"create table t ({columns})")
    (table,) = (await warehouse(path).catalog()).tables
    assert [c.type for c in table.columns] == list(types.values())


async def test_the_fingerprint_moves_with_the_structure_alone(bakery: Path) -> None:
    """Whatever changes the catalog changes both fingerprints; rows, statistics and sequence values change neither."""
    run(
        bakery, "create sequence raw.s; create view raw.v as select id from raw.sales", "create type raw.e as enum('a')"
    )
    looking = warehouse(bakery)
    assert isinstance(looking, Fingerprinted)

    async def seen() -> tuple[str, str]:
        return await looking.fingerprint(), (await looking.catalog()).fingerprint

    before = await seen()
    for statement in (
        "insert into raw.sales values (99, 1, 'x')",
        "update raw.sales set note = null",
        "delete from raw.sales where id > 10",
        "select nextval('raw.s')",
        "analyze",
        "checkpoint",
        "create temp table gone (a integer)",
        "create table raw.brief (a integer); drop table raw.brief",
    ):
        run(bakery, statement)
        assert await seen() == before, statement
    for statement in (
        "alter table raw.sales add column added integer",
        "alter table raw.sales alter column added set default 3",
        "alter table raw.sales alter column added type bigint",
        "alter table raw.sales rename column added to other",
        "comment on column raw.sales.other is 'c'",
        "comment on table raw.sales is 'c'",
        "alter table raw.sales drop column other",
        "create index i on raw.sales (note)",
        "drop index raw.i",
        "create or replace view raw.v as select amount from raw.sales",
        "drop view raw.v",
        "drop type raw.e; create type raw.e as enum('a', 'b')",
        "drop sequence raw.s; create sequence raw.s increment 5",
        "create table raw.another (a integer check (a > 0))",
        "create or replace table raw.another (a integer check (a > 1))",
        "alter table raw.another rename to renamed",
        "create schema extra; create table extra.t (a integer)",
    ):
        run(bakery, statement)
        after = await seen()
        assert after[0] != before[0], statement
        assert after[1] != before[1], statement
        before = after


async def test_schemas_are_chosen(bakery: Path) -> None:
    """What is left out is neither in the catalog nor in the fingerprint; a schema that is not there is a finding."""
    run(bakery, "create schema hidden; create table hidden.secret (a integer)")
    looking = warehouse(bakery, exclude_schemas=["hid*"])
    before = await looking.fingerprint()
    run(bakery, "alter table hidden.secret add column b integer")
    assert await looking.fingerprint() == before
    assert {t.schema for t in (await looking.catalog()).tables} == {"raw"}
    assert ["nope" in f.what for f in await warehouse(bakery, schemas=["raw", "nope"]).examine() if not f.ok] == [True]


async def test_odd_names_do_no_harm(tmp_path: Path) -> None:
    """Quotes, percent signs, dots and spaces in names: seen, counted, sketched, and nothing else happens."""
    path = tmp_path / 'od"d; name%.duckdb'
    quote = warehouse(path).quote
    columns = ", ".join(
        f"{quote(n)} {t}" for n, t in {ODD: "integer", "100%": "varchar", "Ünï": "date", " ": "int"}.items()
    )
    table = quote("o.d'd", 'a.b; %s "x')
    run(path, f"create schema {quote(chr(111) + '.d' + chr(39) + 'd')}; create table {table} ({columns})")
    run(path, f"insert into {table} values (1, 'x', null, 1), (null, 'y', null, 2)")
    looking = warehouse(path, sketch_key="k")
    (found,) = (await looking.catalog()).tables
    assert [c.name for c in found.columns] == [ODD, "100%", "Ünï", " "]
    profile = await looking.profile(found.path, sketch=8)
    assert {n: (c.nulls, c.distinct) for n, c in profile.columns.items()} == {
        ODD: (1, 1),
        "100%": (0, 2),
        "Ünï": (2, 0),
        " ": (0, 2),
    }
    doubled = quote("100%").replace("%", "%%")
    rows = await looking.query(f"select {doubled} as v from {table.replace('%', '%%')} where {doubled} = %s", ["y"])
    assert rows == [{"v": "y"}]
    with pytest.raises(PermanentError, match="no column"):
        await looking.profile(found.path, columns=["nope"])
    with pytest.raises(UsageError):
        looking.quote("a\0b")


async def test_what_is_no_database_is_said_so(tmp_path: Path) -> None:
    """A missing file, a folder, a text, an empty file: an error with a hint, found by `examine`; nothing is made."""
    text, empty, missing = tmp_path / "text.duckdb", tmp_path / "empty.duckdb", tmp_path / "missing.duckdb"
    text.write_text("hunter2 " * 1000)
    empty.touch()
    for path, kind in ((text, SourceError), (empty, SourceError), (missing, SetupError), (tmp_path, SetupError)):
        looking = warehouse(path, actor=True)
        (finding,) = await looking.examine()
        assert not finding.ok
        assert finding.hint
        for look in (looking.catalog, looking.fingerprint, lambda at=looking: at.execute([], agent="x")):
            with pytest.raises(kind, match="bakery") as caught:
                await look()
            assert "hunter2" not in str(caught.value)
    assert not missing.exists()


@contextmanager
def writer(path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that has the file open for writing, with a change that is not in the file yet."""
    program = (
        "import duckdb, sys; c = duckdb.connect(sys.argv[1]);"
        " c.execute('alter table raw.sales add column written integer'); print('open', flush=True); sys.stdin.read()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        yield process
    finally:
        process.kill()
        process.communicate()


async def test_a_file_somebody_writes_is_tried_again(bakery: Path) -> None:
    """While another process writes it is a TransientError; after that process was killed, its change is seen."""
    looking = warehouse(bakery, actor=True)
    before = await looking.fingerprint()
    with writer(bakery):
        for look in (looking.catalog, looking.fingerprint, lambda: looking.query("select 1")):
            with pytest.raises(TransientError, match="lock"):
                await look()
        with pytest.raises(TransientError):
            await looking.execute([Statement("delete from raw.sales")], agent="x")
        assert [f.ok for f in await looking.examine()] == [False]
    assert await looking.fingerprint() != before
    (sales,) = (await looking.catalog()).tables
    assert [c.name for c in sales.columns] == ["id", "amount", "note", "written"]


async def test_nothing_is_held_between_looks(bakery: Path) -> None:
    """Between looks another process may write; nothing is left beside the file."""
    looking = warehouse(bakery)
    await asyncio.gather(looking.catalog(), looking.profile("raw.sales", sketch=4), looking.query("select 1"))
    with writer(bakery):
        pass
    await looking.catalog()
    assert {p.name for p in bakery.parent.iterdir()} <= {"bakery.duckdb", "bakery.duckdb.wal"}


@pytest.mark.parametrize("name", ["memory", "system", "temp", "main", "a.b", 'it\'s "odd"'])
async def test_a_file_may_be_called_anything(tmp_path: Path, name: str) -> None:
    """A name that DuckDB uses for something of its own, or that needs quotes, is one like another, look after look."""
    with duckdb.connect(str(tmp_path / f"{name}.duckdb")) as connection:
        connection.execute(_BAKERY)
    looking = warehouse(tmp_path / f"{name}.duckdb", actor=True)
    for number in range(2):
        assert [t.path for t in (await looking.catalog()).tables] == ["raw.sales"]
        await looking.execute([Statement("insert into raw.sales (id) values (%s)", (100 + number,), rows=1)], agent="x")
        assert (await looking.profile("raw.sales")).rows == 21 + number


async def test_an_owner_in_this_process_is_tried_again(bakery: Path) -> None:
    """A connection of somebody else in the same process is a TransientError, not a crash."""
    with duckdb.connect(str(bakery)), pytest.raises(TransientError):
        await warehouse(bakery).catalog()
    assert (await warehouse(bakery).catalog()).tables


async def test_reading_reaches_nothing_else(bakery: Path, tmp_path: Path) -> None:
    """No text gets `query` to write, to read another file, to load, attach or set anything."""
    other = tmp_path / "other.csv"
    other.write_text("a\n1\n")
    looking = warehouse(bakery, actor=True)
    written = tmp_path / "written"
    local = other.read_text()  # noqa: F841 - DuckDB would take it for a table
    for sql in (
        "insert into raw.sales values (100, 1, 'x')",
        "create temp table t (a integer)",
        f"copy (select 1) to '{written}'",
        f"copy raw.sales from '{other}'",
        f"export database '{written}'",
        f"attach '{written}'",
        f"select * from read_csv('{other}')",
        f"select * from '{other}'",
        f"select * from read_text('{other}')",
        "select * from glob('/etc/*')",
        "select * from read_csv('/etc/passwd')",
        "select * from local",
        "install httpfs",
        "load httpfs",
        "set memory_limit = '90GB'",
        "pragma database_list",
        "begin",
        "select 1; select 2",
        "",
        "-- nothing",
        "select nextval('raw.s')",
    ):
        with pytest.raises(SwarmError):
            await looking.query(sql)
    assert not written.exists()
    for sql in (f"copy raw.sales to '{bakery}'", f"attach '{written}'", "set threads = 1", "commit", "load httpfs"):
        with pytest.raises(PermanentError, match="may not use"):
            await looking.execute([Statement(sql)], agent="x")
    with pytest.raises(SetupError):
        await looking.execute([Statement(f"create table t as select * from read_csv('{other}')")], agent="x")
    assert not written.exists()
    assert (await looking.query("explain select 1"))[0]


async def test_a_view_over_files_is_seen_and_not_followed(bakery: Path, tmp_path: Path) -> None:
    """A view over an outside file keeps its place and columns; querying it is a matter of set-up."""
    (tmp_path / "other.csv").write_text("a,b\n1,x\n")
    run(bakery, f"create view raw.outside as from read_csv('{tmp_path}/other.csv')")
    looking = warehouse(bakery)
    found = next(t for t in (await looking.catalog()).tables if t.name == "outside")
    assert [c.name for c in found.columns] == ["a", "b"]
    with pytest.raises(SetupError, match="disabled by configuration"):
        await looking.profile("raw.outside")


async def test_a_slow_statement_is_ended(bakery: Path) -> None:
    """The time-out interrupts a query, and a caller who gives up leaves nothing running behind."""
    endless = "select sum(a.range * b.range) from range(100000000) a, range(100000000) b"
    with pytest.raises(TransientError) as caught:
        await warehouse(bakery, statement_timeout_seconds=0.1).query(endless)
    assert "statement_timeout_seconds" in caught.value.hint
    looking = warehouse(bakery)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await looking.query(endless)
    assert await looking.query("select 1 as n") == [{"n": 1}]


async def test_values_are_not_in_messages(bakery: Path) -> None:
    """An error that quotes a value, from a row or from the statement, is passed on without it."""
    looking = warehouse(bakery, actor=True)
    for sql in (
        "select note::integer from raw.sales",
        "select cast('n5' as date)",
        "select * from nope where a = 'n5'",
    ):
        with pytest.raises(PermanentError) as caught:
            await looking.query(sql)
        assert "n5" not in str(caught.value)
    with pytest.raises(ConflictError) as conflict:
        await looking.execute([Statement("insert into raw.sales values (%s, 1, 'n5')", (3,))], agent="x")
    assert "3" not in conflict.value.message
    assert "n5" not in conflict.value.message


async def test_sketches_are_those_of_every_warehouse(bakery: Path) -> None:
    """A sketch is the smallest md5(key || text) of the values, so that warehouses can be compared."""
    hashed = sorted(hashlib.md5(f"k{i}".encode(), usedforsecurity=False).hexdigest() for i in range(1, 21))
    profile = await warehouse(bakery, sketch_key="k").profile("raw.sales", sketch=8)
    assert profile.columns["id"].sketch == tuple(hashed[:8])
    assert profile.columns["id"].distinct == 20


def test_a_missing_library_is_said_so(bakery: Path) -> None:
    """Without the library both kinds can be loaded; opening one names the line that installs it."""
    program = f"""
import asyncio, sys
sys.modules["duckdb"] = None
from integrations.warehouses.duckdb import DuckdbOptions, DuckdbWarehouse
from integrations.warehouses.files import FilesOptions, FilesWarehouse
from config.errors import SetupError
for made in (DuckdbWarehouse("a", DuckdbOptions(path={str(bakery)!r})), FilesWarehouse("a", FilesOptions(path="."))):
    try:
        asyncio.run(made.open())
    except SetupError as error:
        print(error.hint)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.stdout == "pip install 'dataswarm[duckdb]'\n" * 2, done.stderr


async def test_counts_of_changes(bakery: Path) -> None:
    """Rows touched by every kind of statement; without an actor nothing may be changed."""
    acting = warehouse(bakery, actor=True)
    statements = [
        Statement("insert into raw.sales values (%s, %s, '100%%')", (50, 1)),
        Statement("update raw.sales set note = 'x' where id > 45"),
        Statement("delete from raw.sales where id = 50 returning id", rows=1),
        Statement("create table raw.made as select id from raw.sales"),
        Statement("create view raw.seen as select 1 as one"),
        Statement("drop view raw.seen"),
        Statement("select id from raw.sales where id < 3"),
    ]
    assert await acting.execute(statements, agent="x") == [1, 1, 1, 20, -1, -1, 2]
    with pytest.raises(ConflictError, match="20 rows where 19"):
        await acting.execute([Statement("drop table raw.made"), Statement("delete from raw.sales", rows=19)], agent="x")
    assert (await acting.profile("raw.made")).rows == 20
    with pytest.raises(SetupError, match="no actor"):
        await warehouse(bakery).execute([Statement("delete from raw.sales")], agent="x")


async def test_a_large_table_is_sampled_and_says_so(bakery: Path) -> None:
    """Above `sketch_rows` nulls are scaled up, nothing is sketched, and the profile is not exact."""
    run(
        bakery,
        "create table raw.large as select i as id, case when i % 4 = 0 then i end as part from range(200000) t(i)",
    )
    profile = await warehouse(bakery, sketch_rows=50_000).profile("raw.large", sketch=8)
    assert (profile.exact, profile.rows, profile.columns["id"].sketch) == (False, 200_000, ())
    assert profile.columns["part"].nulls == pytest.approx(150_000, rel=0.05)
    exact = await warehouse(bakery).profile("raw.large", sketch=8)
    assert (exact.exact, exact.columns["part"].nulls, exact.columns["id"].distinct) == (True, 150_000, 200_000)
