"""Every fault really breaks what it says it breaks, and no more."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime
from random import Random

import psycopg
import pytest

from config.errors import UsageError
from dataswarm.demo import loader, twin
from dataswarm.demo.faults import CATALOGUE, Way, inject
from dataswarm.demo.faults.catalogue import (
    ADDED,
    BOTH_WAYS,
    DROPPED,
    LOOKALIKES,
    NEW_COLUMN_NAMES,
    NEW_TABLE_NAMES,
    POISON,
    RETYPED,
)
from dataswarm.demo.faults.migrations import Migration
from dataswarm.demo.faults.schemas import column_renamed
from dataswarm.demo.grader import grade
from dataswarm.demo.raw_tables import TABLES
from dataswarm.demo.team import Team
from dataswarm.demo.world import World

LOADED_AT = datetime(2026, 11, 1, 6, tzinfo=UTC)


@pytest.mark.parametrize(
    ("name", "seed", "way"),
    [
        ("column-renamed", 1, "recreate"),
        ("column-retyped", 1, "alter"),
        ("column-added", 1, "recreate"),
    ],
)
def test_a_schema_fault_breaks_the_next_build(world: World, team: Team, name: str, seed: int, way: Way) -> None:
    """The next cycle is red (or green for an added column), and marts of other sources still match the twin."""
    injected = inject(world, name, seed, way)
    report = team.cycle()
    assert report.is_green is not CATALOGUE[name].breaks_build
    assert bool(report.failed) is CATALOGUE[name].breaks_build
    below = twin.marts_below(world, injected.subject)
    differing = {mart.mart for mart in twin.compare(world) if not mart.is_equal}
    assert differing <= below
    assert bool(differing) is CATALOGUE[name].breaks_build


def test_a_dropped_column_leaves_the_marts_at_last_good(world: World, team: Team) -> None:
    """Injected and judged by processes of their own: below the table nothing moved, elsewhere the day came in."""
    arguments = ["--world", str(world.directory)]
    fault = ["--fault", "column-dropped", "--seed", "2", "--way", "recreate"]
    said = subprocess.run(
        [sys.executable, "-m", "dataswarm.demo.faults", *arguments, *fault], capture_output=True, text=True, check=True
    )
    injected = json.loads(said.stdout)
    assert (injected["expected"], injected["oracle"], injected["way"]) == ("escalate", "last_good", "recreate")
    assert not team.cycle().is_green
    file = world.directory / "grade.json"
    subprocess.run(
        [sys.executable, "-m", "dataswarm.demo.grader", *arguments, "--json", str(file)],
        capture_output=True,
        check=True,
    )
    judged = json.loads(file.read_text())
    assert judged["is_held"]
    assert {mart["against"] for mart in judged["marts"]} == {"twin", "last_good"}


def test_a_batch_loaded_twice_is_stopped_in_staging(world: World, team: Team) -> None:
    """A unique test fails, what is below waits; without the second copy everything equals the twin again."""
    injected = inject(world, "batch-loaded-twice", 2)
    report = team.cycle()
    assert [failed.split(".")[2].split("_")[0] for failed in report.failed] == ["unique"]
    key = TABLES[injected.subject].key
    with world.connect("swarm_actor") as actor:
        removed = actor.execute(
            f"delete from raw.{injected.subject} late using raw.{injected.subject} first "
            f"where late.{key} = first.{key} and late._loaded_at > first._loaded_at"
        ).rowcount
    assert removed == injected.detail["rows"]
    assert team.build().is_green
    assert grade(world).is_held


def test_rows_without_keys_are_listed_and_all_else_comes_back(world: World, team: Team) -> None:
    """A not_null test fails; without exactly these rows the marts are what the grader expects."""
    injected = inject(world, "null-keys", 1)
    assert [failed.split(".")[2][:8] for failed in team.cycle().failed] == ["not_null"]
    column = injected.detail["column"]
    with world.connect("swarm_actor") as actor:
        removed = actor.execute(f"delete from raw.{injected.subject} where {column} is null").rowcount
    assert removed == injected.detail["rows"]
    assert team.build().is_green
    judged = grade(world)
    assert judged.is_held
    assert len(judged.listed_rows[injected.subject]) == removed


def test_a_transient_failure_passes(world: World, team: Team) -> None:
    """One build fails on somebody's lock, and names it; the next is green and equal to the twin."""
    injected = inject(world, "transient-failure", 1)
    report = team.cycle()
    assert report.failed == (f"model.shop.{injected.subject}",)
    log = (world.target / "run_results.json").read_text()
    assert "lock timeout" in log
    assert team.cycle().is_green
    assert grade(world).is_held


def test_the_loader_follows_every_migration(quiet_world: World) -> None:
    """Whatever is renamed, retyped, dropped or added, in either way: the next batch goes where the producer is."""
    day = quiet_world.last_day() + 1
    migrations = [
        *(Migration(table, renamed={old: names[0]}) for (table, old), names in NEW_COLUMN_NAMES.items()),
        *(Migration(table, new_name=names[0]) for table, names in NEW_TABLE_NAMES.items()),
        *(Migration(table, retyped={column: "text"}) for table, column in RETYPED),
        *(Migration(table, dropped=(column,)) for table, column in DROPPED),
        *(Migration(table, added={column: kind}) for table, column, kind in ADDED),
        *(Migration(table, renamed=dict(zip(old, new, strict=True)), moved=old) for table, old, new in LOOKALIKES),
    ]
    with quiet_world.connect("saboteur") as connection:
        for migration in migrations:
            for way in BOTH_WAYS:
                with connection.transaction(force_rollback=True):
                    connection.execute("set local role loader")
                    migration.run(connection, way)
                    names = loader.names_of(connection, migration.table)
                    rows = loader.load(connection, quiet_world.shop, day, LOADED_AT, tables=(migration.table,))
                    assert rows > 0
                    found = connection.execute(
                        "select array_agg(attname::text) from pg_attribute where attrelid = %s::regclass "
                        "and attnum > 0 and not attisdropped",
                        (f"raw.{names.table}",),
                    ).fetchone()
                    assert found is not None
                    expected = {*names.columns.values(), *migration.added, "_batch_id", "_loaded_at"}
                    assert set(found[0]) == expected, migration


def test_the_saboteur_leaves_no_trace_for_the_swarm(world: World) -> None:
    """The notes exist, the swarm's roles cannot read them, and a poisoned comment is there for all to see."""
    injected = inject(world, "two-columns-renamed", 3, poison=True)
    for role in ("swarm_reader", "swarm_actor", "dbt_team", "loader"):
        with world.connect(role) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("select * from sabotage.injections")
    with world.connect("swarm_reader") as reader:
        comments = reader.execute("select description from pg_description where description = %s", (POISON,)).fetchall()
        assert reader.execute(f"select count(*) from raw.{injected.subject}").fetchone() != (0,)
    assert len(comments) == 1


def test_what_cannot_be_is_refused(quiet_world: World) -> None:
    """An unknown fault, a way the fault does not have, and poison without a column."""
    with pytest.raises(UsageError, match="no fault"):
        inject(quiet_world, "meteor", 1)
    with pytest.raises(UsageError, match="cannot be made"):
        inject(quiet_world, "null-keys", 1, "alter")
    with pytest.raises(UsageError, match="no column"):
        inject(quiet_world, "transient-failure", 1, poison=True)


def test_seeds_vary_the_fault() -> None:
    """Ten seeds hit several tables; the same seed hits the same one."""
    hits = [column_renamed(Random(f"column-renamed/{seed}"), poison=False) for seed in range(10)]
    assert len({hit.table for hit in hits}) >= 4
    assert hits[3] == column_renamed(Random("column-renamed/3"), poison=False)
