"""Faults apart from the swarm: what they leave behind, whom they hide from. That each breaks a build, stories show."""

from __future__ import annotations

from datetime import UTC, datetime
from random import Random

import psycopg
import pytest

from config.errors import UsageError
from dataswarm.demo import loader
from dataswarm.demo.faults import inject
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
from dataswarm.demo.world import World

LOADED_AT = datetime(2026, 11, 1, 6, tzinfo=UTC)


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
