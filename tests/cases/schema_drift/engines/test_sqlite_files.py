"""DDL in SQLite's dialect as sides of `drift diff`: loaded into a scratch file and read as SQLite tells it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from tests.unit.dataswarm.program import Program, program, write_config
from tests.unit.dataswarm.test_drift_diff import changes, told

__all__ = ["program"]
BEFORE = """
-- what only SQLite says
create table bakers (id integer primary key autoincrement, family_name text not null collate nocase) strict;
create table "daily sales" (
  day date, baker_id integer references bakers (id) on delete cascade, amount decimal(10,2) default 0,
  twice generated always as (amount * 2) virtual, check (amount >= 0), primary key (day, baker_id)) without rowid;
create index by_amount on "daily sales" (amount) where amount > 0;
create view best as select day, max(amount) as amount from "daily sales" group by day;
create trigger guard before delete on bakers begin select raise(abort, 'no; never'); end;
create virtual table words using fts5 (body);
insert into bakers (family_name) values ('a;b');
pragma foreign_keys = on;
"""
AFTER = (
    BEFORE
    + """
alter table bakers rename column family_name to fam_name;
alter table bakers add column seniority integer;
drop index by_amount;
drop view best;
"""
)
EXPECTED = {
    ("main.bakers", "column_renamed", "family_name"),
    ("main.bakers", "column_added", "seniority"),
    ("main.daily sales", "index_dropped", None),
    ("main.best", "table_dropped", None),
}


def _write(place: Path, name: str, text: str) -> str:
    (place / name).write_text(text, encoding="utf-8")
    return str(place / name)


def test_two_files(program: Program, tmp_path: Path) -> None:
    """What SQLite makes of two scripts is compared; rows and settings are passed over and counted."""
    sides = (_write(tmp_path, "before.sql", BEFORE), _write(tmp_path, "after.sql", AFTER))
    found = told(program("drift", "diff", *sides, "--dialect", "sqlite", "--json", config=False), status=1)
    assert {change for change in changes(found) if "words" not in change[0]} == EXPECTED
    assert not any("words" in table for table, _, _ in changes(found))
    same = (sides[0], _write(tmp_path, "same.sql", BEFORE))
    assert changes(told(program("drift", "diff", *same, "--dialect", "sqlite", "--json", config=False))) == set()


def test_a_refused_statement_is_named(program: Program, tmp_path: Path) -> None:
    """SQLite's own refusal comes with the file, the statement and the line."""
    sides = (
        _write(tmp_path, "before.sql", BEFORE),
        _write(tmp_path, "broken.sql", "create table a (b);\n\ndrop table c;"),
    )
    refused = program("drift", "diff", *sides, "--dialect", "sqlite", config=False)
    assert refused.exit_code == 2
    assert "broken.sql, statement 2, line 3" in refused.stderr + refused.output


def test_a_live_file_against_ddl(program: Program, tmp_path: Path) -> None:
    """A source of kind `sql` and the DDL it was made by are the same; the next version of it is not."""
    with closing(sqlite3.connect(tmp_path / "shop.db")) as connection:
        connection.executescript(BEFORE)
    write_config(program, sources={"shop": {"kind": "sql", "url": f"sqlite:///{tmp_path / 'shop.db'}"}})
    same, after = _write(tmp_path, "same.sql", BEFORE), _write(tmp_path, "after.sql", AFTER)
    assert changes(told(program("drift", "diff", "shop", same, "--json"))) == set()
    assert changes(told(program("drift", "diff", "shop", after, "--json"), status=1)) == EXPECTED
