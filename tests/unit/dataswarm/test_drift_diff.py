"""`dataswarm drift diff`: live sources, saved states, DDL and manifests against one another, and what it refuses."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import psycopg
import pytest
from typer.testing import Result

from agents.structure.known import structure_of
from dataswarm.drifting import markdown, telling
from dataswarm.drifting.comparing import compare
from dataswarm.drifting.sides import SCRATCH, Side
from integrations.declared import read_ddl
from integrations.registry import discover
from tests.places import fresh_place
from tests.unit.dataswarm.drift_ground import DDL, files, run, save, shop, shop_url
from tests.unit.dataswarm.program import Program, program, write_config

__all__ = ["files", "program", "shop", "shop_url"]


def told(result: Result, *, status: int = 0) -> Any:
    """The JSON answer, which fits its schema."""
    assert result.exit_code == status, result.output + result.stderr
    found = json.loads(result.stdout)
    jsonschema.validate(found, telling.SCHEMA)
    return found


def changes(found: Any) -> set[tuple[str, str, str | None]]:
    """Table, kind and column of each."""
    return {(t["table"], c["kind"], c["column"]) for t in found["tables"] for c in t["changes"]}


# --- files ---------------------------------------------------------------------------------------------------------


def test_two_files_of_postgres_ddl(program: Program, files: Path) -> None:
    """Loaded into a server of their own; what is lost, what breaks, worst first; no configuration is read."""
    sides = (str(files / "before.sql"), str(files / "after.sql"))
    found = told(program("drift", "diff", *sides, "--dialect", "postgres", "--json", config=False), status=1)
    assert changes(found) >= {
        ("raw.sales", "column_retyped", "amount"),
        ("raw.sales", "column_dropped", "note"),
    }
    assert found["worst"] == "data_loss"
    assert found["failed"]
    assert found["before"]["kind"] == "ddl"
    ranks = [c["worst"] for c in found["tables"][0]["changes"]]
    assert ranks == sorted(ranks, key=["data_loss", "breaking", "risky", "compatible"].index)


def test_the_same_ddl_differs_in_nothing(program: Program, files: Path) -> None:
    """A copy with rows, rights and comments of the author beside changes nothing; that is said, and passes."""
    more = "insert into raw.bakers values (1, 'a', now()); grant select on raw.sales to nobody_here; -- a comment"
    (files / "copy.sql").write_text(DDL + more, encoding="utf-8")
    sides = (str(files / "before.sql"), str(files / "copy.sql"))
    found = told(program("drift", "diff", *sides, "--dialect", "postgres", "--json", config=False))
    assert found["tables"] == []
    assert found["after"]["notes"] == ["passed over: 1 grant, 1 insert"]
    said = program("drift", "diff", *sides, "--dialect", "postgres", config=False)
    assert "nothing changes between" in said.output


def test_a_dialect_without_an_engine_is_read(program: Program, files: Path) -> None:
    """Snowflake's DDL is compared as it stands, and that no engine looked at it is said."""
    (files / "a.sql").write_text("create table shop.t (id number(38,0), name string);")
    (files / "b.sql").write_text("create table shop.t (id number(38,0));")
    sides = (str(files / "a.sql"), str(files / "b.sql"))
    found = told(program("drift", "diff", *sides, "--dialect", "snowflake", "--json", config=False), status=1)
    assert changes(found) == {("SHOP.T", "column_dropped", "NAME")}
    assert found["before"]["notes"] == ["read as snowflake, without an engine"]


def test_a_folder_is_read_in_order(program: Program, files: Path) -> None:
    """Migrations build on one another."""
    folder = files / "migrations"
    folder.mkdir()
    (folder / "001.sql").write_text(DDL)
    (folder / "002.sql").write_text("alter table raw.sales add column channel text;")
    sides = (str(files / "before.sql"), str(folder))
    found = told(program("drift", "diff", *sides, "--dialect", "postgres", "--json", config=False))
    assert changes(found) == {("raw.sales", "column_added", "channel")}


@pytest.mark.parametrize(("level", "status"), [("breaking", 1), ("risky", 1), ("data_loss", 1), ("never", 0)])
def test_the_exit_status_follows_the_level(program: Program, files: Path, level: str, status: int) -> None:
    """A column's rounding is a loss at each level but never."""
    (files / "a.sql").write_text("create table t (a numeric(10,2));")
    (files / "b.sql").write_text("create table t (a numeric(10,0));")
    sides = (str(files / "a.sql"), str(files / "b.sql"))
    result = program("drift", "diff", *sides, "--dialect", "mysql", "--fail-on", level, config=False)
    assert result.exit_code == status, result.output


def test_breaking_is_not_yet_a_loss(program: Program, files: Path) -> None:
    """A renamed column breaks; only losses fail under data_loss, and what is skipped is nobody's business."""
    (files / "a.sql").write_text("create table t (customer_id int, x text);")
    (files / "b.sql").write_text("create table t (cust_id int, x text);")
    sides = (str(files / "a.sql"), str(files / "b.sql"), "--dialect", "snowflake")
    assert program("drift", "diff", *sides, config=False).exit_code == 1
    assert program("drift", "diff", *sides, "--fail-on", "data_loss", config=False).exit_code == 0
    assert program("drift", "diff", *sides, "--skip", "*.T", config=False).exit_code == 0


def test_ddl_of_a_stranger_touches_nothing(program: Program, files: Path, tmp_path: Path) -> None:
    """Files and programs are out of its reach: such a statement is passed over or refused by the server's rights."""
    victim = tmp_path / "victim"
    (files / "a.sql").write_text(f"create table t (a int);\ncopy t to program 'touch {victim}';")
    (files / "b.sql").write_text(
        f"create table t (a int);\ndo $$ begin execute 'copy t to program ''touch {victim}'''; end $$;"
    )
    sides = (str(files / "a.sql"), str(files / "b.sql"))
    result = program("drift", "diff", *sides, "--dialect", "postgres", config=False)
    assert result.exit_code == 2
    assert "b.sql, statement 2, line 2: permission denied" in result.stderr
    assert not victim.exists()


def test_no_server_is_left_behind(program: Program, files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The scratch server and its directory are gone, also after a refusal."""
    place = fresh_place("d")
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    (files / "b.sql").write_text("create table t (a int) oops;")
    sides = (str(files / "before.sql"), str(files / "b.sql"))
    assert program("drift", "diff", *sides, "--dialect", "postgres", config=False).exit_code == 2
    place.rmdir()  # nothing lies in it


# --- live sources and saved states ----------------------------------------------------------------------------------


def test_a_live_source_against_its_next_ddl(shop: Program, files: Path) -> None:
    """The dialect is the source's own; who owns tables and who may read them is no change."""
    found = told(shop("drift", "diff", "shop", str(files / "after.sql"), "--json"), status=1)
    assert ("raw.sales", "column_dropped", "note") in changes(found)
    assert all(kind.startswith("column") for _, kind, _ in changes(found))
    assert found["source"] == "shop"
    same = told(shop("drift", "diff", "shop", str(files / "before.sql"), "--json"))
    assert same["tables"] == []


def test_a_saved_state_by_number_and_by_name(shop: Program, shop_url: str) -> None:
    """What the swarm knew is compared with what is; saved states with one another."""
    first = shop.seed(lambda db: save(db, "shop", "create table raw.bakers (id bigint, name text)", name="early"))
    second = shop.seed(lambda db: save(db, "shop", "create table raw.bakers (id bigint)", expected=first))
    found = told(shop("drift", "diff", "shop@early", f"shop@{second}", "--json"), status=1)
    assert changes(found) == {("raw.bakers", "column_dropped", "name")}
    assert (found["before"]["revision"], found["after"]["revision"]) == (first, second)
    live = told(shop("drift", "diff", f"shop@{second}", "shop", "--json"), status=1)
    assert ("raw.bakers", "column_added", "name") in changes(live)


def test_what_the_role_cannot_see_is_said(shop: Program, shop_url: str, server: Any, files: Path) -> None:
    """A schema without rights is not visible, and nothing in it counts as gone."""
    role = f"looker_{abs(hash(shop_url)) % 10**8}"
    database = psycopg.conninfo.conninfo_to_dict(shop_url)["dbname"]
    run(shop_url, "create schema vault", "create table vault.t (a int)", f"create role {role} login")
    run(shop_url, f"grant usage on schema raw to {role}", f"grant select on all tables in schema raw to {role}")
    write_config(shop, sources={"shop": {"kind": "postgres", "url": server.url_for(database=str(database), user=role)}})
    (files / "with.sql").write_text(DDL + "create schema vault; create table vault.t (a int);")
    try:
        found = told(shop("drift", "diff", str(files / "with.sql"), "shop", "--json"))
        assert found["not_visible"] == ["vault"]
        assert found["tables"] == []
        assert "not visible, and not compared: vault" in shop("drift", "diff", str(files / "with.sql"), "shop").output
    finally:
        run(shop_url, f"drop owned by {role}", f"drop role {role}")


def test_a_source_that_does_not_answer_is_no_finding(shop: Program, files: Path) -> None:
    """Exit status 3: it could not be compared; 1 would mean that something was found. No password is shown."""
    write_config(shop, sources={"shop": {"kind": "postgres", "url": "postgresql://a:sesame@127.0.0.1:1/x"}})
    result = shop("drift", "diff", "shop", str(files / "before.sql"))
    assert result.exit_code == 3
    assert "sesame" not in result.output + result.stderr


def test_duckdb_live_against_ddl(program: Program, tmp_path: Path) -> None:
    """The dialect's own engine loads the DDL, in a database file of its own."""
    if "duckdb" not in discover().kinds:
        pytest.skip("the kind duckdb is not registered in this installation")
    import duckdb  # noqa: PLC0415 - an extra

    with duckdb.connect(str(tmp_path / "live.duckdb")) as connection:
        connection.execute("create table t (a integer, b varchar not null)")
    (tmp_path / "next.sql").write_text("create table t (a bigint, b varchar not null);")
    write_config(program, sources={"lake": {"kind": "duckdb", "path": str(tmp_path / "live.duckdb")}})
    found = told(program("drift", "diff", "lake", str(tmp_path / "next.sql"), "--json", "--fail-on", "never"))
    assert changes(found) == {("main.t", "column_retyped", "a")}
    assert found["after"]["notes"] == []


# --- manifests and lineage ------------------------------------------------------------------------------------------


def test_whom_it_reaches(shop: Program, files: Path, manifest: Path) -> None:
    """By a compiled manifest: models, exposures, owners and columns made from what changes; of the unused nobody."""
    sides = ("shop", str(files / "after.sql"), "--manifest", str(manifest))
    found = told(shop("drift", "diff", *sides, "--json"), status=1)
    by_column = {c["column"]: c["impact"] for t in found["tables"] for c in t["changes"]}
    assert "model.bakery.sales_by_baker" in by_column["amount"]["models"]
    assert "exposure.bakery.bread_report" in by_column["amount"]["exposures"]
    assert "accounts@bakery.example" in by_column["amount"]["owners"]
    assert "marts.sales_by_baker#amount" in by_column["amount"]["columns"]
    assert by_column["note"]["models"] == []
    said = shop("drift", "diff", *sides)
    assert "amount: models model.bakery.promised" in said.output
    assert said.exit_code == 1


def test_a_manifest_against_a_live_source(shop: Program, manifest: Path) -> None:
    """Only what the project declares is compared: other tables are not gone."""
    found = told(shop("drift", "diff", str(manifest), "shop", "--json", "--fail-on", "never"))
    assert ("raw.sales", "table_added", None) not in changes(found)
    assert found["before"]["kind"] == "manifest"
    assert all(table.startswith(("marts.", "raw.")) for table, _, _ in changes(found))


def test_two_manifests(program: Program, manifest: Path, tmp_path: Path) -> None:
    """A contract that promises less, before anything is built."""
    other = json.loads(manifest.read_text())
    del other["nodes"]["model.bakery.promised"]["columns"]["amount"]
    (tmp_path / "manifest.json").write_text(json.dumps(other))
    found = told(program("drift", "diff", str(manifest), str(tmp_path), "--json", config=False), status=1)
    assert changes(found) == {("marts.promised", "column_dropped", "amount")}


# --- markdown -------------------------------------------------------------------------------------------------------


def side(given: str, ddl: str) -> Side:
    """A side that was read."""
    return Side(given, "ddl", structure_of(read_ddl(ddl, "postgres")), SCRATCH, "read:postgres")


SNAPSHOT = """\
<!-- dataswarm:drift -->
### Schema changes: 1 data loss, 1 compatible in 2 tables

`old.sql` → `new.sql`

| table | change | readers | writers | reaches |
|---|---|---|---|---|
| public\\.orders | column amount dropped \\(integer\\) | **data loss** | **breaking** | unknown |
| public\\.more | table added \\(1 columns\\) | compatible | compatible | unknown |

This check **fails** (it fails on breaking).
Who reads these tables is not known: no lineage was given.
"""


def test_markdown() -> None:
    """The comment: marker, summary, table; then details that fold."""
    before, after = (
        "create table orders (id int, amount int)",
        "create table orders (id int); create table more (a int)",
    )
    said = markdown.comment(compare(side("old.sql", before), side("new.sql", after)), fail_on="breaking")
    assert said.startswith(SNAPSHOT)
    assert "<details><summary>public\\.orders</summary>" in said
    assert said.count("<details>") == said.count("</details>") == 2


def test_names_inject_no_markup() -> None:
    """Tables called like markup are words: no cell, tag, link, mention or marker of theirs comes through."""
    evil = "`|<img src=x onerror=alert(1)> @everyone [x](http://e.example) <!-- dataswarm:drift --> #1 **b**"
    quoted = '"' + evil + '"'
    before, after = f"create table {quoted} (a int, b int)", f"create table {quoted} (a int)"
    said = markdown.comment(compare(side("a.sql", before), side("b.sql`<b>", after)), fail_on="never")
    assert said.count("<!--") == 1
    assert "<img" not in said
    assert "@everyone" not in said
    assert "](http" not in said
    assert "**b**" not in said
    [row] = [line for line in said.splitlines() if "dropped" in line and line.startswith("|")]
    assert row.replace("\\|", "").count("|") == 6


def test_a_comment_is_never_too_long() -> None:
    """Many changes are cut to what a host takes, and the cut is said."""
    before = "".join(f"create table table_with_a_long_name_{n} (a int);" for n in range(2_000))
    said = markdown.comment(compare(side("a.sql", before), side("b.sql", "")), fail_on="never")
    assert len(said) <= markdown.LONGEST
    assert "Too long for a comment" in said


def test_markdown_from_the_command(program: Program, files: Path) -> None:
    """As the command writes it, alone on standard output."""
    sides = (str(files / "before.sql"), str(files / "after.sql"), "--dialect", "snowflake")
    result = program("drift", "diff", *sides, "--markdown", "--fail-on", "never", config=False)
    assert result.exit_code in (0, 2)
    sides = (str(files / "before.sql"), str(files / "after.sql"), "--dialect", "postgres")
    result = program("drift", "diff", *sides, "--markdown", config=False)
    assert result.exit_code == 1
    assert result.stdout.startswith(markdown.MARKER)


# --- refusals -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("shpo", "{here}/before.sql"), "did you mean 'shop'"),
        (("shop", "shop"), "both sides are the same"),
        (("{here}/before.sql", "{here}/../{name}/before.sql"), "both sides are the same"),
        (("{here}/none.sql", "shop"), "there is no file"),
        (("{here}/bad.sql", "shop"), "bad.sql, statement 2, line 3: "),
        (("{here}/open.sql", "shop"), "a quote or a comment is not closed"),
        (("{here}/latin.sql", "shop"), "is not UTF-8"),
        (("{here}/empty", "shop"), "there is no .sql or .ddl file"),
        (("{here}/wrong.json", "shop"), "not a dbt manifest"),
        (("{here}/broken.json", "shop"), "broken.json, line 1: this is not JSON"),
        (("shop@7", "shop"), "there is no baseline of shop yet"),
        (("{here}/before.sql", "{here}/after.sql"), "which SQL is it?"),
        (("{here}/before.sql", "{here}/after.sql", "--dialect", "postgress"), "did you mean postgres"),
        (("{here}/before.sql", "{here}/after.sql", "--json", "--markdown"), "two answers"),
        (("shop", "{here}/before.sql", "--fail-on", "everything"), "everything"),
        (("shop", "{here}/before.sql", "--manifest", "{here}/wrong.json"), "not a dbt manifest"),
    ],
)
def test_refusals(shop: Program, files: Path, arguments: tuple[str, ...], says: str) -> None:
    """Your mistake, in a sentence that names it, and exit status 2."""
    (files / "bad.sql").write_text("create table t (a int);\n\ncreate table u (a nothing_like_a_type);")
    (files / "open.sql").write_text("select 'open")
    (files / "latin.sql").write_bytes(b"create table caf\xe9 (a int)")
    (files / "empty").mkdir()
    (files / "wrong.json").write_text("{}")
    (files / "broken.json").write_text("{")
    given = [a.format(here=files, name=files.name) for a in arguments]
    result = shop("drift", "diff", *given)
    assert result.exit_code == 2, result.output
    assert says in result.stderr
    assert "Traceback" not in result.output


def test_a_revision_that_is_not_kept(shop: Program) -> None:
    """The nearest saved name is said."""
    shop.seed(lambda db: save(db, "shop", "create table raw.t (a int)", name="release-7"))
    result = shop("drift", "diff", "shop@relase-7", "shop")
    assert result.exit_code == 2
    assert "did you mean 'release-7'" in result.stderr
    assert "no revision 99" in shop("drift", "diff", "shop@99", "shop").stderr


def test_it_runs_as_a_process(files: Path) -> None:
    """The real program, where there is no configuration: the answer on standard output, a status for the shell."""
    sides = ("before.sql", "after.sql", "--dialect", "postgres", "--json")
    here = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])}
    words = [sys.executable, "-m", "dataswarm", "drift", "diff", *sides]
    done = subprocess.run(words, cwd=files, env=here, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    jsonschema.validate(json.loads(done.stdout), telling.SCHEMA)
    assert not (files / ".dataswarm").exists()


def test_the_schema_is_one() -> None:
    """The schema itself is valid, and the documented one."""
    jsonschema.Draft202012Validator.check_schema(telling.SCHEMA)
    page = (Path(__file__).parents[3] / "docs" / "drift.md").read_text(encoding="utf-8")
    shown = page.split("```json schema\n", 1)[1].split("```", 1)[0]
    assert json.loads(shown) == telling.SCHEMA
