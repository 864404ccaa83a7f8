"""DDL as a catalog: statement by statement over the dialects, and what is refused, with its place."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

import pytest

from config.errors import UsageError
from integrations.base import Catalog, Column, Table
from integrations.declared import read_ddl, read_scripts

Told = Callable[[Catalog], object]
BASE = "create table t (a int, b text not null, c int default 3);"


def table(catalog: Catalog, name: str = "t") -> Table:
    """The table of that name."""
    return next(t for t in catalog.tables if t.name.lower() == name)


def column(catalog: Catalog, name: str, of: str = "t") -> Column:
    """A column of a table."""
    return next(c for c in table(catalog, of).columns if c.name == name)


def names(catalog: Catalog, of: str = "t") -> list[str]:
    """The columns of a table."""
    return [c.name for c in table(catalog, of).columns]


def types(catalog: Catalog, of: str = "t") -> list[str]:
    """Their types."""
    return [c.type for c in table(catalog, of).columns]


def keys(catalog: Catalog, of: str = "t") -> list[tuple[str, str, str]]:
    """The keys and checks of a table: name, kind, text."""
    return [(c.name, c.kind, c.definition) for c in table(catalog, of).constraints]


def tables(catalog: Catalog) -> list[str]:
    """All paths."""
    return [t.path for t in catalog.tables]


CASES: list[tuple[str, str, Told, object]] = [
    # --- PostgreSQL ---
    ("postgres", BASE, names, ["a", "b", "c"]),
    ("postgres", BASE, lambda c: [x.nullable for x in table(c).columns], [True, False, True]),
    (
        "postgres",
        BASE + "alter table t add column d bigint not null default 0",
        lambda c: column(c, "d").type,
        "bigint",
    ),
    ("postgres", BASE + "alter table t add column if not exists a int", names, ["a", "b", "c"]),
    ("postgres", BASE + "alter table t drop column a, drop column if exists z", names, ["b", "c"]),
    ("postgres", BASE + "alter table t alter a type bigint using a::bigint", lambda c: column(c, "a").type, "bigint"),
    ("postgres", BASE + "alter table t alter b drop not null", lambda c: column(c, "b").nullable, True),
    ("postgres", BASE + "alter table t alter a set not null", lambda c: column(c, "a").nullable, False),
    ("postgres", BASE + "alter table t alter c drop default", lambda c: column(c, "c").default, None),
    ("postgres", BASE + "alter table t alter a set default 7", lambda c: column(c, "a").default, "7"),
    ("postgres", BASE + "alter table t rename column a to z", names, ["z", "b", "c"]),
    ("postgres", BASE + "alter table t rename a to z", names, ["z", "b", "c"]),
    ("postgres", BASE + "alter table t rename to u", tables, ["public.u"]),
    ("postgres", BASE + "create schema s; alter table t set schema s", tables, ["s.t"]),
    ("postgres", BASE + "create table s.u (a int); alter schema s rename to r", tables, ["public.t", "r.u"]),
    ("postgres", BASE + "set search_path to s, public; create table u (a int)", tables, ["public.t", "s.u"]),
    ("postgres", BASE + "drop table t", tables, []),
    ("postgres", BASE + "drop table if exists nothing, t cascade", tables, []),
    ("postgres", BASE + "create table s.u (a int); drop schema s cascade", tables, ["public.t"]),
    ("postgres", BASE + "alter table t add primary key (a)", keys, [("t_pkey", "primary_key", "PRIMARY KEY (a)")]),
    ("postgres", BASE + "alter table t add primary key (a)", lambda c: column(c, "a").nullable, False),
    ("postgres", BASE + "alter table only t add constraint u unique (a, b)", keys, [("u", "unique", "UNIQUE (a, b)")]),
    ("postgres", BASE + "alter table t add unique (a); alter table t drop constraint t_a_key", keys, []),
    ("postgres", BASE + "alter table t add check (a > 0)", keys, [("t_check", "check", "CHECK ((a > 0))")]),
    (
        "postgres",
        BASE + "alter table t add constraint k check (a > 0); alter table t rename column a to z",
        keys,
        [("k", "check", "CHECK ((z > 0))")],
    ),
    (
        "postgres",
        BASE + "alter table t add constraint f foreign key (a) references s.o (a) on delete cascade;"
        "alter table t rename column a to z",
        keys,
        [("f", "foreign_key", "FOREIGN KEY (z) REFERENCES s.o(a) ON DELETE CASCADE")],
    ),
    (
        "postgres",
        BASE + "alter table t add constraint x unique (a); alter table t rename constraint x to y",
        keys,
        [("y", "unique", "UNIQUE (a)")],
    ),
    (
        "postgres",
        BASE + "create unique index i on t (a); alter table t add constraint k unique using index i",
        keys,
        [("k", "unique", "UNIQUE (a)")],
    ),
    (
        "postgres",
        "create table t (a int references o, b int unique check (b > 1))",
        lambda c: [k[1] for k in keys(c)],
        ["foreign_key", "check", "unique"],
    ),
    (
        "postgres",
        "create table t (a bigserial)",
        lambda c: (column(c, "a").type, column(c, "a").nullable, column(c, "a").default),
        ("bigint", False, "nextval('t_a_seq'::regclass)"),
    ),
    ("postgres", "create table t (a int generated always as identity)", lambda c: column(c, "a").numbering, "always"),
    (
        "postgres",
        "create table t (a int); alter table t alter column a add generated by default as identity",
        lambda c: column(c, "a").numbering,
        "by default",
    ),
    (
        "postgres",
        "create table t (a int, b int generated always as (a * 2) stored)",
        lambda c: column(c, "b").generated,
        "a * 2",
    ),
    (
        "postgres",
        "create table t (a varchar(50), b numeric(10, 2), c timestamptz, d timestamp(3), e text[], f bool, g char)",
        types,
        [
            "character varying(50)",
            "numeric(10,2)",
            "timestamp with time zone",
            "timestamp(3) without time zone",
            "text[]",
            "boolean",
            "character(1)",
        ],
    ),
    ("postgres", 'create table t (a s.mood, b "Mixed")', types, ["s.mood", "Mixed"]),
    ("postgres", 'create table "T" ("Id" int, ID int)', names, ["Id", "id"]),
    (
        "postgres",
        BASE + "comment on table t is 'x'; comment on column t.a is 'y'",
        lambda c: (table(c).comment, column(c, "a").comment),
        ("x", "y"),
    ),
    (
        "postgres",
        BASE + "comment on column t.a is 'y'; comment on column public.t.a is null",
        lambda c: column(c, "a").comment,
        "",
    ),
    (
        "postgres",
        BASE + "create index i on t using btree (a desc, lower(b)) where a > 1",
        lambda c: [(i.name, i.columns, i.unique, i.definition) for i in table(c).indexes],
        [("i", ("a", "LOWER(b)"), False, "WHERE a > 1")],
    ),
    (
        "postgres",
        BASE + "create unique index concurrently if not exists i on t (a); alter index i rename to j",
        lambda c: [(i.name, i.unique) for i in table(c).indexes],
        [("j", True)],
    ),
    ("postgres", BASE + "create index i on t (a); drop index i", lambda c: table(c).indexes, ()),
    ("postgres", BASE + "create index i on t (a); alter table t drop column a", lambda c: table(c).indexes, ()),
    (
        "postgres",
        "create type mood as enum ('a', 'b'); alter type mood add value 'c' before 'b'",
        lambda c: c.enumerations[0].values,
        ("a", "c", "b"),
    ),
    (
        "postgres",
        "create type mood as enum ('a'); alter type mood rename value 'a' to 'z'; alter type mood rename to m",
        lambda c: [(e.name, e.values) for e in c.enumerations],
        [("m", ("z",))],
    ),
    ("postgres", "create type mood as enum ('a'); drop type mood", lambda c: c.enumerations, ()),
    (
        "postgres",
        "create sequence s increment by 2 cycle; alter sequence s increment 5",
        lambda c: c.sequences[0].definition,
        "increment 5 cycle",
    ),
    (
        "postgres",
        BASE + "create view v as select a, b::varchar(3) as x from t",
        lambda c: (names(c, "v"), types(c, "v"), table(c, "v").kind),
        (["a", "x"], ["integer", "character varying(3)"], "view"),
    ),
    (
        "postgres",
        BASE + "create materialized view v (p, q) as select a, b from t; alter materialized view v rename to w",
        lambda c: (names(c, "w"), table(c, "w").kind),
        (["p", "q"], "materialized view"),
    ),
    ("postgres", BASE + "create table u as select * from t", lambda c: types(c, "u"), ["integer", "text", "integer"]),
    ("postgres", BASE + "create table u (like t including all)", lambda c: names(c, "u"), ["a", "b", "c"]),
    ("postgres", BASE + "create table p partition of t for values from (1) to (2)", tables, ["public.t"]),
    ("postgres", BASE + "create table p (a int); alter table t attach partition p default", tables, ["public.t"]),
    ("postgres", "create table t (a int) partition by range (a)", lambda c: table(c).partitioning, "RANGE(a)"),
    ("postgres", "create temp table t (a int)", tables, []),
    # --- MySQL ---
    (
        "mysql",
        (
            "create table `t` (`id` int unsigned not null auto_increment, `e` enum('a','b') default 'a' comment 'hi',"
            " primary key (`id`), unique key `u` (`e`), key `k` (`e`)) engine=InnoDB comment='x'"
        ),
        lambda c: (
            column(c, "id").numbering,
            column(c, "e").comment,
            table(c).comment,
            [k[1] for k in keys(c)],
            [i.name for i in table(c).indexes],
        ),
        ("by default", "hi", "x", ["primary_key", "unique"], ["k"]),
    ),
    (
        "mysql",
        BASE + "alter table t modify column a bigint not null",
        lambda c: (column(c, "a").type, column(c, "a").nullable),
        ("bigint", False),
    ),
    ("mysql", BASE + "alter table t change a z bigint", lambda c: (names(c), types(c)[0]), (["z", "b", "c"], "bigint")),
    ("mysql", BASE + "alter table t add column d int after a", names, ["a", "d", "b", "c"]),
    ("mysql", BASE + "alter table t add column d int first", names, ["d", "a", "b", "c"]),
    ("mysql", BASE + "alter table t add column (d int, e int)", names, ["a", "b", "c", "d", "e"]),
    ("mysql", BASE + "rename table t to u, u to w", tables, ["default.w"]),
    (
        "mysql",
        BASE + "alter table t add index k (a); alter table t rename index k to l",
        lambda c: [i.name for i in table(c).indexes],
        ["l"],
    ),
    ("mysql", BASE + "use shop; create table u (a int)", tables, ["default.t", "shop.u"]),
    ("mysql", BASE + "alter table t comment='new'", lambda c: table(c).comment, "new"),
    ("mysql", BASE + "alter table t add primary key (a); alter table t drop primary key", keys, []),
    # --- Snowflake ---
    (
        "snowflake",
        "create or replace table db.s.t (id number(38,0) autoincrement, s string comment 'x') comment='t'",
        lambda c: (tables(c), names(c), table(c).comment, column(c, "ID").numbering),
        (["S.T"], ["ID", "S"], "t", "by default"),
    ),
    (
        "snowflake",
        BASE + "alter table t alter column A set data type varchar(50)",
        lambda c: types(c)[0],
        "varchar(50)",
    ),
    (
        "snowflake",
        BASE + "create table u (z int); alter table t swap with u",
        lambda c: (names(c), names(c, "u")),
        (["Z"], ["A", "B", "C"]),
    ),
    ("snowflake", BASE + "create table u clone t", lambda c: names(c, "u"), ["A", "B", "C"]),
    ("snowflake", BASE + "alter table t drop column A, B", names, ["C"]),
    # --- BigQuery ---
    (
        "bigquery",
        (
            "create table `p.d.t` (id int64 not null options(description='x'), s struct<a int64, b array<string>>)"
            " partition by date(ts) options(description='tab')"
        ),
        lambda c: (column(c, "id").nullable, column(c, "id").comment, table(c).comment),
        (False, "x", "tab"),
    ),
    (
        "bigquery",
        "create table d.t (a int64); alter table d.t alter column a set options (description='x')",
        lambda c: column(c, "a").comment,
        "x",
    ),
    ("bigquery", "create table d.t (a int64); alter table d.t rename to u", tables, ["d.u"]),
    # --- DuckDB, SQLite ---
    ("duckdb", "create type mood as enum ('a', 'b')", lambda c: c.enumerations[0].values, ("a", "b")),
    ("duckdb", BASE + "create or replace table t as select 1 as one", names, ["one"]),
    ("duckdb", BASE + "alter table t alter a set data type varchar", lambda c: column(c, "a").type, "text"),
    (
        "sqlite",
        "create table t (id integer primary key autoincrement, a text not null default 'x') without rowid",
        lambda c: (tables(c), column(c, "id").numbering, column(c, "id").nullable),
        (["main.t"], "by default", False),
    ),
    ("sqlite", "create table t (a, b); alter table t rename column a to z", names, ["z", "b"]),
    # --- ClickHouse, SQL Server, Databricks ---
    (
        "clickhouse",
        (
            "create table d.t (id UInt64, n Nullable(Int32), s LowCardinality(String) default 'x' comment 'c')"
            " engine = MergeTree partition by toYYYYMM(ts) order by id"
        ),
        lambda c: ([x.nullable for x in table(c).columns], types(c), column(c, "s").comment),
        ([False, True, False], ["UInt64", "Nullable(Int32)", "LowCardinality(String)"], "c"),
    ),
    ("clickhouse", "create table t (a UInt8); create table u (b UInt8); exchange tables t and u", names, ["b"]),
    (
        "clickhouse",
        "create table t (a UInt8); alter table t comment column a 'x'",
        lambda c: column(c, "a").comment,
        "x",
    ),
    (
        "tsql",
        (
            "create table [dbo].[t] ([id] int identity(1,1) not null, [a] nvarchar(max) null constraint [df] default"
            " ('x'), constraint [pk] primary key clustered ([id] asc)) on [primary]"
        ),
        lambda c: (tables(c), column(c, "id").numbering, keys(c)[0][:2]),
        (["dbo.t"], "always", ("pk", "primary_key")),
    ),
    (
        "tsql",
        BASE + "alter table t alter column a bigint not null",
        lambda c: (column(c, "a").type, column(c, "a").nullable),
        ("bigint", False),
    ),
    ("databricks", BASE + "alter table t add columns (d int, e string)", names, ["a", "b", "c", "d", "e"]),
    ("databricks", BASE + "alter table t replace columns (z int)", names, ["z"]),
    ("databricks", BASE + "alter table t alter column a comment 'x'", lambda c: column(c, "a").comment, "x"),
]


@pytest.mark.parametrize(
    ("dialect", "ddl", "tell", "expected"), CASES, ids=[f"{c[0]}-{i}" for i, c in enumerate(CASES)]
)
def test_statements(dialect: str, ddl: str, tell: Told, expected: object) -> None:
    """Each statement leaves behind what the engine would."""
    assert tell(read_ddl(ddl, dialect)) == expected


def test_the_cases_cover_what_they_should() -> None:
    """At least forty statements over six dialects."""
    assert len(CASES) >= 40
    assert len({dialect for dialect, *_ in CASES}) >= 6


WRONG = [
    ("postgres", "create table t (a int);\n\ncreate table (;", "statement 2, line 3: this CREATE TABLE cannot be read"),
    ("postgres", "create table t (a int);\ncreate table t (b int);", "statement 2, line 2: public.t is there already"),
    (
        "postgres",
        "-- a comment\n\nalter table missing add column b int",
        "statement 1, line 3: there is no table public.missing",
    ),
    ("postgres", BASE + "\nalter table tt add column d int", "statement 2, line 2: there is no table public.tt"),
    ("postgres", BASE + "\nalter table t drop column d", "statement 2, line 2: public.t has no column d"),
    ("postgres", BASE + "\nalter table t add column a int", "public.t has a column a already"),
    ("postgres", BASE + "\nalter table t drop constraint k", "public.t has no constraint k"),
    ("postgres", BASE + "\nalter table t rename column z to y", "public.t has no column z"),
    ("postgres", "drop view v", "there is no table public.v"),
    ("postgres", "create index i on t (a)", "there is no table public.t"),
    ("postgres", "alter type mood add value 'x'", "there is no type public.mood"),
    ("postgres", "create type m as enum ('a'); alter type m add value 'a'", "has this value already"),
    ("postgres", "select 1;\nselect 'open", "line 2: a quote or a comment is not closed"),
    ("mysql", "rename table a to b", "there is no table default.a"),
    ("postgress", "select 1", "unknown SQL dialect"),
]


@pytest.mark.parametrize(("dialect", "ddl", "says"), WRONG, ids=range(len(WRONG)))
def test_what_cannot_be_is_refused_with_its_place(dialect: str, ddl: str, says: str) -> None:
    """Statement and line are named, and nothing is guessed."""
    with pytest.raises(UsageError, match=re.escape(says)):
        read_ddl(ddl, dialect)


def test_the_nearest_table_is_named() -> None:
    """A misspelt name is met with the right one."""
    with pytest.raises(UsageError) as caught:
        read_ddl("create table orders (a int); alter table ordrs add b int", "postgres")
    assert "public.orders" in caught.value.hint


def test_what_is_no_structure_is_passed_over_and_counted() -> None:
    """Rows, rights, functions and settings; a body with semicolons is one statement."""
    ddl = """
    create table t (a int);
    insert into t values (1); insert into t values (2);
    grant all on t to joe;
    create function f() returns int as $$ select 1; select 2; $$ language sql;
    alter table t owner to joe;
    alter default privileges grant select on tables to joe;
    \\connect other
    set client_encoding = 'UTF8';
    """
    found = read_scripts({"a.sql": ddl}, "postgres")
    assert found.passed_over == {"insert": 2, "grant": 1, "create function": 1, "alter default": 1, "set": 1}
    assert found.statements == 8
    assert tables(found.catalog) == ["public.t"]


def test_a_trigger_with_a_body_is_one_statement() -> None:
    """Its semicolons end nothing."""
    trigger = "create trigger x after insert on t begin update t set a = 1; end;"
    ddl = f"create table t (a int); {trigger} create table u (b int)"
    assert tables(read_ddl(ddl, "sqlite")) == ["main.t", "main.u"]


def test_scripts_build_on_one_another_and_name_their_file() -> None:
    """A folder of migrations is read in order; what is wrong is placed in its own file."""
    found = read_scripts({"1.sql": "create table t (a int)", "2.sql": "alter table t add b int"}, "postgres")
    assert names(found.catalog) == ["a", "b"]
    with pytest.raises(UsageError, match=r"^2\.sql, statement 2, line 2: "):
        read_scripts({"1.sql": "create table t (a int)", "2.sql": "select 1;\nalter table t drop z"}, "postgres")


def test_the_fingerprint_follows_the_structure_alone() -> None:
    """The same structure by another way has the same fingerprint; another column another one."""
    one = read_ddl("create table t (a int, b text)", "postgres")
    other = read_ddl("create table t (a int); alter table t add column b text", "postgres")
    assert one.fingerprint == other.fingerprint
    assert read_ddl("create table t (a int)", "postgres").fingerprint != one.fingerprint
    assert replace(one, fingerprint="") == replace(other, fingerprint="")
