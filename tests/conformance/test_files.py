"""Folders of files against the parts of the conformance suite that make sense for them, and as they come in life."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

import duckdb
import pytest
from pydantic import SecretStr

from config.errors import PermanentError, SetupError, SourceError, SwarmError, TransientError
from integrations.base import Column, Fingerprinted, Statement, Table, Warehouse
from integrations.conformance import WarehouseConformance
from integrations.warehouses.files import FilesOptions, FilesWarehouse

ODD = '"; drop table x'


def parquet(path: Path, query: str) -> Path:
    """A Parquet file of what a query gives."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with duckdb.connect() as connection:
        connection.execute(f"copy ({query}) to '{str(path).replace(chr(39), chr(39) * 2)}' (format parquet)")
    return path


def text(path: Path, content: str) -> Path:
    """A text file, packed where its name says so."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(content.encode()) if path.suffix == ".gz" else content.encode())
    return path


def files(path: Path, **options: object) -> FilesWarehouse:
    """A source by path."""
    return FilesWarehouse("lake", FilesOptions.model_validate({"path": path} | options))


async def columns(source: FilesWarehouse) -> Mapping[str, Mapping[str, str]]:
    """Types of the columns of all tables."""
    return {t.name: {c.name: c.type for c in t.columns} for t in (await source.catalog()).tables}


class TestFiles(WarehouseConformance):
    """A folder with a Parquet file; there is nobody to change it."""

    @pytest.fixture
    async def warehouse(self, tmp_path: Path) -> AsyncIterator[FilesWarehouse]:
        """Twenty sales, most without a note."""
        folder = tmp_path / "bakery"
        parquet(
            folder / "sales.parquet",
            "select i as id, case when i % 5 = 0 then 'n' || i end as note from range(20) t(i)",
        )
        opened = FilesWarehouse("lake", FilesOptions(path=folder, sketch_key=SecretStr("a key")))
        await opened.open()
        yield opened
        await opened.close()

    @pytest.fixture
    def table(self) -> str:
        """Twenty sales."""
        return "bakery.sales"

    @pytest.fixture
    def write(self) -> str:
        """Would touch one row."""
        return "update bakery.sales set note = 'x' where id = 3"

    async def test_execute_counts_rows(self, warehouse: Warehouse, write: str) -> None:
        """Files are never changed, and that is said."""
        with pytest.raises(SetupError, match="never changed"):
            await warehouse.execute([Statement(write)], agent="conformance")

    async def test_execute_is_all_or_nothing(self, warehouse: Warehouse, table: str, write: str) -> None:
        """Nothing, then."""
        before = await warehouse.profile(table, sketch=8)
        with pytest.raises(SetupError, match="never changed"):
            await warehouse.execute([Statement(write), Statement(write)], agent="conformance")
        assert await warehouse.profile(table, sketch=8) == before


async def test_names_make_tables(tmp_path: Path) -> None:
    """A file is a table, a sub-folder is one with all beneath it, partitions are columns, bookkeeping is left out."""
    lake = tmp_path / "lake"
    parquet(lake / "Orders.parquet", "select 1::integer as id, 'x' as name, true as paid")
    text(lake / "people.csv", "id,name,born,score\n1,Ada,1815-12-10,1.5\n2,,1912-06-23,2\n")
    text(lake / "packed.tsv.gz", "a\tb\n1\tx, y\n")
    text(lake / "events.jsonl", '{"at": "2024-01-01 10:00:00", "body": {"n": 1}}\n{"at": null, "tags": ["x"]}\n')
    text(lake / "list.json", json.dumps([{"a": 1}, {"a": 2.5}]))
    for day, more in (("2024-01-01", ""), ("2024-01-02", ", 'web' as channel")):
        parquet(lake / "sales" / f"day={day}" / "shop=1" / "part.parquet", f"select 1::integer as id{more}")
    text(lake / "logs" / "deep" / "a.csv", "x\n1\n")
    text(lake / "logs" / "b.csv", "x,y\n1.5,2\n")
    for name in ("_SUCCESS", ".hidden.csv", "README.md", "_tmp/half.parquet", "logs/_half.csv", "logs/.b.csv.crc"):
        text(lake / name, "nothing")
    catalog = await files(lake).catalog()
    assert {t.path for t in catalog.tables} == {
        f"lake.{name}" for name in ("Orders", "people", "packed", "events", "list", "sales", "logs")
    }
    found = {t.name: t for t in catalog.tables}
    assert found["sales"] == Table(
        "lake",
        "sales",
        (
            Column("id", 1, "integer", False),
            Column("channel", 2, "text", True),
            Column("day", 3, "date", False),
            Column("shop", 4, "bigint", False),
        ),
        rows=2,
        partitioning="folders (day, shop)",
    )
    assert await columns(files(lake)) == {
        "Orders": {"id": "integer", "name": "text", "paid": "boolean"},
        "people": {"id": "bigint", "name": "text", "born": "date", "score": "double precision"},
        "packed": {"a": "bigint", "b": "text"},
        "events": {"at": "timestamp without time zone", "body": "struct(n bigint)", "tags": "text[]"},
        "list": {"a": "double precision"},
        "sales": {"id": "integer", "channel": "text", "day": "date", "shop": "bigint"},
        "logs": {"x": "double precision", "y": "bigint"},
    }
    rows = await files(lake).query("select day, channel from sales order by day")
    assert [(str(r["day"]), r["channel"]) for r in rows] == [("2024-01-01", None), ("2024-01-02", "web")]
    assert (await files(lake).profile("lake.logs")).columns["y"].nulls == 1


async def test_one_file_or_a_pattern(tmp_path: Path) -> None:
    """`path` may name one file or match several; `include` and `exclude` choose, the schema may be named."""
    for name in ("a.csv", "b.csv", "c.json"):
        text(tmp_path / "in" / name, '{"x": 1}' if name.endswith("json") else "x\n1\n")
    assert list(await columns(files(tmp_path / "in" / "a.csv"))) == ["a"]
    assert list(await columns(files(tmp_path / "in" / "*.csv"))) == ["a", "b"]
    assert list(await columns(files(tmp_path / "in", include=["*.csv"], exclude=["b*"]))) == ["a"]
    assert {t.path for t in (await files(tmp_path / "in", schema_name="raw").catalog()).tables} == {
        "raw.a",
        "raw.b",
        "raw.c",
    }
    parquet(tmp_path / "days" / "day=x" / "p.parquet", "select 1 as id")
    parquet(tmp_path / "days" / "day=__HIVE_DEFAULT_PARTITION__" / "p.parquet", "select 2 as id")
    (table,) = (await files(tmp_path / "days").catalog()).tables
    assert (table.path, table.columns[1]) == ("days.days", Column("day", 2, "text", True))
    assert (await files(tmp_path / "days").profile("days.days")).columns["day"].nulls == 1


async def test_nullability_is_the_footers(tmp_path: Path) -> None:
    """A column that the footer requires is not nullable, unless one of the files lacks it."""
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    firm, nested = pa.field("id", pa.int64(), nullable=False), pa.field("s", pa.struct([("a", pa.list_(pa.int32()))]))
    (tmp_path / "t").mkdir()
    pq.write_table(
        pa.table(
            {"s": [None], "id": [1], "n": [1]}, schema=pa.schema([nested, firm, pa.field("n", pa.int32(), False)])
        ),
        tmp_path / "t" / "1.parquet",
    )
    pq.write_table(pa.table({"id": [2]}, schema=pa.schema([firm])), tmp_path / "t" / "2.parquet")
    (table,) = (await files(tmp_path).catalog()).tables
    assert {c.name: (c.type, c.nullable) for c in table.columns} == {
        "s": ("struct(a integer[])", True),
        "id": ("bigint", False),
        "n": ("integer", True),
    }


async def test_different_types_are_united(tmp_path: Path) -> None:
    """What fits both is taken; what has nothing in common is text; names differ by more than their case."""
    for name, body in {"1": "1::integer as a, 1 as b, [1] as c, 1 as D", "2": "1::bigint as a, date '2024-01-01' as b,"
                       " ['x'] as c, 2.5::double as d"}.items():  # fmt: skip
        parquet(tmp_path / "lake" / "t" / f"{name}.parquet", f"select {body}")
    source = files(tmp_path / "lake")
    assert (await columns(source))["t"] == {"a": "bigint", "b": "text", "c": "text[]", "D": "double precision"}
    rows = await source.query("select * from lake.t order by d")
    assert rows == [{"a": 1, "b": "1", "c": ["1"], "D": 1.0}, {"a": 1, "b": "2024-01-01", "c": ["x"], "D": 2.5}]


async def test_a_header_alone_says_no_types(tmp_path: Path) -> None:
    """A CSV file of no rows beside others leaves their types as they are."""
    text(tmp_path / "t" / "1.csv", "id,day\n1,2024-01-01\n")
    before = await columns(files(tmp_path))
    text(tmp_path / "t" / "2.csv", "id,day\n")
    text(tmp_path / "t" / "3.csv", "")
    assert await columns(files(tmp_path)) == before == {"t": {"id": "bigint", "day": "date"}}
    assert (await files(tmp_path).profile(f"{tmp_path.name}.t")).rows == 1


async def test_only_what_moved_is_read_again(tmp_path: Path) -> None:
    """The fingerprint moves with names, sizes and times; a file that did not move is not opened by the next look."""
    old = parquet(tmp_path / "old.parquet", "select 1 as a")
    source = files(tmp_path)
    assert isinstance(source, Fingerprinted)
    first, catalog = await source.fingerprint(), await source.catalog()
    assert (await source.fingerprint(), (await source.catalog()).fingerprint) == (first, catalog.fingerprint)
    status = old.stat()
    old.write_bytes(b"x" * status.st_size)
    os.utime(old, ns=(status.st_atime_ns, status.st_mtime_ns))
    parquet(tmp_path / "new.parquet", "select 1 as b")
    assert await source.fingerprint() != first
    assert await columns(source) == {"old": {"a": "integer"}, "new": {"b": "integer"}}
    second = await source.fingerprint()
    (tmp_path / "new.parquet").unlink()
    assert await source.fingerprint() == first != second
    catalog = await source.catalog()
    parquet(tmp_path / "rows.parquet", "select i as a from range(5) t(i)")
    one, seen = await source.fingerprint(), (await source.catalog()).fingerprint
    parquet(tmp_path / "rows.parquet", "select i as a from range(5000) t(i)")
    assert await source.fingerprint() != one
    assert (await source.catalog()).fingerprint == seen != catalog.fingerprint


async def test_a_half_written_file_keeps_what_was_known(tmp_path: Path) -> None:
    """A file without its footer is a TransientError naming it; where it was known, the table keeps its structure."""
    whole = parquet(tmp_path / "t.parquet", "select 1 as a, 'x' as b").read_bytes()
    parquet(tmp_path / "u" / "1.parquet", "select 1 as c")
    parquet(tmp_path / "u" / "2.parquet", "select 1 as d")
    source = files(tmp_path)
    before = await source.catalog()
    for half in (whole[:-20], whole[:4], b"", b"PAR1" + b"\0" * 50):
        (tmp_path / "t.parquet").write_bytes(half)
        (tmp_path / "u" / "1.parquet").write_bytes(half)
        known = await source.catalog()
        # A file without a byte holds nothing; beside others, it is as if it was not there.
        assert known.tables[0] == before.tables[0]
        assert known.fingerprint == before.fingerprint or not half
        with pytest.raises(TransientError, match=r"t\.parquet") as caught:
            await files(tmp_path).catalog()
        assert "rename" in caught.value.hint
        with pytest.raises(TransientError):
            await source.query("select * from t")
    (tmp_path / "t.parquet").write_bytes(whole)
    parquet(tmp_path / "u" / "1.parquet", "select 1 as c")
    assert (await source.catalog()).fingerprint == before.fingerprint
    assert (await files(tmp_path).catalog()).fingerprint == before.fingerprint


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("quotes.csv", 'id,name\n1,"a\n2,b\n', SourceError),
        ("stray.csv", 'id,name\n1,"x"y"\n2,b\n', SourceError),
        ("ragged.csv", "id,name\n1,a\n2,b,c,d\n3,e\n", SourceError),
        ("empty.csv", "", TransientError),
        ("half.json", '{"a": 1}\n{"a":', TransientError),
        ("wrong.json", "id,name\n1,hunter2\n", SourceError),
        ("wrong.parquet", "id,name\n1,hunter2\n", TransientError),
        ("wrong.csv.gz", b"no gzip at all, hunter2", SourceError),
        ("binary.csv", bytes(range(256)) * 50, SourceError),
    ],
)
async def test_a_broken_file_is_named(tmp_path: Path, name: str, content: str | bytes, kind: type[SwarmError]) -> None:
    """What cannot be read is an error that names the file, says what to do and holds no value; `examine` finds it."""
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    source = files(tmp_path)
    for look in (source.catalog, lambda: source.profile(f"{tmp_path.name}.{name.partition('.')[0]}")):
        with pytest.raises(kind, match=name) as caught:
            await look()
        assert caught.value.hint
        assert "hunter2" not in str(caught.value)
    assert [(f.ok, name in f.what) for f in await source.examine()] == [(False, True)]
    await source.fingerprint()


async def test_a_folder_that_is_away_is_no_empty_one(tmp_path: Path) -> None:
    """A folder that vanished or holds nothing is a SourceError, never a catalog in which everything was dropped."""
    lake = tmp_path / "lake"
    text(lake / "a.csv", "x\n1\n")
    source = files(lake)
    await source.catalog()
    (lake / "a.csv").unlink()
    for is_there in (True, False):
        if not is_there:
            lake.rmdir()
        for look in (source.catalog, source.fingerprint, lambda: source.query("select 1")):
            with pytest.raises(SourceError, match="lake") as caught:
                await look()
            assert "mounted" in caught.value.hint
    with pytest.raises(SourceError, match="nothing at"):
        await files(tmp_path / "nowhere" / "*.csv").catalog()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything, so nothing can be shut here")
async def test_a_folder_that_is_shut(tmp_path: Path) -> None:
    """No right to read the folder, a sub-folder or a file is a matter of set-up."""
    inner = text(tmp_path / "lake" / "t" / "a.csv", "x\n1\n")
    for shut in (inner, inner.parent, tmp_path / "lake"):
        shut.chmod(0)
        with pytest.raises(SetupError, match="lake"):
            await files(tmp_path / "lake").catalog()
        shut.chmod(0o755)


async def test_contradictions_are_named(tmp_path: Path) -> None:
    """Two files for one table, two kinds in one folder, partitions that differ: both files stand in the message."""
    clash: Mapping[str, Callable[[Path], Any]] = {
        r"a\.csv and a\.json": lambda p: [text(p / "a.csv", "x\n1\n"), text(p / "a.json", '{"x": 1}')],
        r"csv and json": lambda p: [text(p / "t" / "a.csv", "x\n1\n"), text(p / "t" / "b.json", '{"x": 1}')],
        r"differ in partitions": lambda p: [
            text(p / "t" / "day=1" / "a.csv", "x\n1\n"),
            text(p / "t" / "a.csv", "x\n1\n"),
        ],
        r"both be table": lambda p: [text(p / "A.csv", "x\n1\n"), text(p / "a" / "b.csv", "x\n1\n")],
    }
    for number, (message, make) in enumerate(clash.items()):
        make(tmp_path / str(number))
        with pytest.raises(SourceError, match=message) as caught:
            await files(tmp_path / str(number)).catalog()
        assert caught.value.hint


async def test_queries_reach_the_tables_alone(tmp_path: Path) -> None:
    """No text reads a file that is none of the tables it names, nor writes one, nor changes what may be reached."""
    lake = tmp_path / "lake"
    text(lake / "a.csv", "x\n1\n")
    secret = text(tmp_path / "secret.csv", "word\nhunter2\n")
    source = files(lake)
    written = tmp_path / "written.csv"
    for sql in (
        "select * from read_csv('/etc/passwd')",
        "select * from '/etc/passwd'",
        f"select * from a, read_csv('{secret}')",
        f"select * from a where x in (select word from '{secret}')",
        f"select * from read_csv('{lake}/../secret.csv')",
        f"select * from read_text('{secret}')",
        f"select * from read_csv('{lake}/*')",
        "select * from glob('/etc/*')",
        f"copy (select * from a) to '{written}'",
        f"copy (select * from a) to '{lake}/a.csv'",
        f"attach '{written}'",
        f"export database '{written}'",
        "create table t as select 1",
        "set enable_external_access = true",
        "reset allowed_paths",
        "install httpfs",
        "load httpfs",
        "select 1; select 2",
        "",
        "pragma version",
    ):
        with pytest.raises(SwarmError) as caught:
            await source.query(sql)
        assert "hunter2" not in str(caught.value)
    assert not written.exists()
    assert (lake / "a.csv").read_text() == "x\n1\n"
    assert await source.query("select x + %s as n from lake.a where 'a%%' like %s", (1, "a%")) == [{"n": 2}]


async def test_odd_names_do_no_harm(tmp_path: Path) -> None:
    """Quotes, percent signs, dots, brackets and spaces in folders, files and columns: seen, counted and sketched."""
    lake = tmp_path / "la'ke.\"x%"
    for name in ("a.b; %s 'x\"", "[1]", "1", "*", "x?", "Ünï", "select", " "):
        text(lake / f"{name}.csv", '"""; drop table x",100%,Ünï,a b\n1,x,,1\n,y,,2\n')
    text(lake / "part" / "k'1=a%20b" / "x[1].csv", "v\n1\n")
    source = files(lake, sketch_key="k")
    catalog = await source.catalog()
    assert len(catalog.tables) == 9
    for table in catalog.tables:
        profile = await source.profile(table.path, sketch=8)
        if table.name != "part":
            assert {n: (c.nulls, c.distinct) for n, c in profile.columns.items()} == {
                ODD: (1, 1),
                "100%": (0, 2),
                "Ünï": (2, 0),
                "a b": (0, 2),
            }
        assert (await source.query(f"select count(*) as n from {source.quote(table.schema, table.name)}"))[0]["n"]
    assert await source.query('select * from "part"') == [{"v": 1, "k'1": "a b"}]
    with pytest.raises(PermanentError, match="no table"):
        await source.profile("lake.nope")


async def test_sketches_agree_across_formats(tmp_path: Path) -> None:
    """The same values in Parquet, CSV and JSON have the same sketch."""
    parquet(tmp_path / "p.parquet", "select i::integer as a, 'v' || i as b from range(50) t(i)")
    text(tmp_path / "c.csv", "a,b\n" + "".join(f"{i},v{i}\n" for i in range(50)))
    text(tmp_path / "j.jsonl", "".join(json.dumps({"a": i, "b": f"v{i}"}) + "\n" for i in range(50)))
    source = files(tmp_path, sketch_key="k")
    p, c, j = [(await source.profile(f"{tmp_path.name}.{name}", sketch=16)).columns for name in "pcj"]
    assert p == c == j
    assert len(p["a"].sketch) == 16


async def test_looks_may_come_together(tmp_path: Path) -> None:
    """Many looks at once wait for one another and agree."""
    parquet(tmp_path / "t.parquet", "select 1 as a")
    source = files(tmp_path)
    seen = await asyncio.gather(*(source.catalog() for _ in range(6)))
    assert len({c.fingerprint for c in seen}) == 1
