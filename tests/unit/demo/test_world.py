"""The healthy world: green cycles, a twin that agrees, roles that keep to themselves, copies in no time."""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import replace
from pathlib import Path
from time import monotonic

import psycopg
import pytest

from config.errors import ConflictError, SetupError, TransientError, UsageError
from dataswarm.demo import builds, twin
from dataswarm.demo.cycle import flying, in_flight
from dataswarm.demo.grader import grade
from dataswarm.demo.roles import TWIN
from dataswarm.demo.team import Team
from dataswarm.demo.world import World
from tests.pace import quick
from tests.stories.world import BaseWorld


def test_healthy_cycles_are_green(base_world: BaseWorld) -> None:
    """Every cycle loads the next day into every table and passes all tests and freshness checks."""
    assert [report.is_green for report in base_world.cycles] == [True] * 3
    days = [report.day for report in base_world.cycles]
    assert days == list(range(days[0], days[0] + 3))
    assert all(report.rows > 200 and not report.failed for report in base_world.cycles)


def test_the_project_is_worth_watching(base_world: BaseWorld) -> None:
    """Real artefacts: enough models and tests, owners, freshness, an exposure, a keyed incremental model."""
    target = World.open(base_world.directory).target
    manifest = builds.read_artefact(target, "manifest")
    nodes = manifest["nodes"].values()
    models = [node for node in nodes if node["resource_type"] == "model"]
    assert len(models) >= 12
    assert sum(node["resource_type"] == "test" for node in nodes) >= 30
    assert all(node["config"]["meta"]["owner"] for node in models)
    incremental = [node for node in models if node["config"]["materialized"] == "incremental"]
    assert incremental
    assert all(node["config"]["unique_key"] for node in incremental)
    assert all(exposure["owner"]["email"] for exposure in manifest["exposures"].values())
    assert len(manifest["sources"]) >= 6
    assert {result["status"] for result in builds.read_artefact(target, "sources")["results"]} == {"pass"}
    assert {result["status"] for result in builds.read_artefact(target, "run_results")["results"]} <= {
        "pass",
        "success",
        "no-op",
    }


def test_a_copy_is_quick_and_agrees_with_its_twin(base_world: BaseWorld) -> None:
    """Copying and starting a world is nothing beside making one; its marts equal the twin's, row by row."""
    with tempfile.TemporaryDirectory(prefix="dsw") as parent:
        began = monotonic()
        copy = World.clone(base_world.directory, Path(parent) / "w")
        seconds = monotonic() - began
        judged = grade(copy)
        copy.remove()
    assert seconds < quick(10)
    assert judged.is_held
    assert judged.oracle == "equal"
    assert len(judged.marts) == 7
    assert all(mart.rows > 300 for mart in judged.marts)


def test_the_twin_sees_a_single_changed_cell(world: World) -> None:
    """One value changed in one row of one mart is one row missing and one unexpected; a lost mart is all missing."""
    with world.connect("dbt_team") as connection:
        connection.execute(
            "update analytics.fct_orders set tax_cents = tax_cents + 1 "
            "where order_id = (select max(order_id) from analytics.fct_orders)"
        )
        connection.execute("alter table analytics.fct_refunds alter column reason type varchar(40)")
        connection.execute("drop table analytics.mart_carriers")
    differing = {mart.mart: mart for mart in twin.compare(world) if not mart.is_equal}
    assert set(differing) == {"fct_orders", "fct_refunds", "mart_carriers"}
    assert (differing["fct_orders"].missing, differing["fct_orders"].unexpected) == (1, 1)
    assert differing["fct_refunds"].columns_differ == ("reason",)
    assert differing["mart_carriers"].missing == differing["mart_carriers"].expected_rows > 0
    judged = grade(world)
    assert not judged.is_held
    assert json.loads(judged.to_json())["is_held"] is False


def test_load_times_are_not_compared(world: World) -> None:
    """A mart whose load-time columns alone differ is equal."""
    with world.connect("dbt_team") as connection:
        connection.execute("update analytics.fct_orders set _loaded_at = now()")
        connection.execute("update analytics.fct_daily_sales set built_at = now()")
    assert all(mart.is_equal for mart in twin.compare(world))


@pytest.mark.parametrize(
    ("role", "database", "statement"),
    [
        ("swarm_reader", "shop", "delete from raw.orders"),
        ("swarm_reader", "shop", "select * from producer.columns"),
        ("swarm_reader", "shop", "create table sabotage.mine (id int)"),
        ("swarm_actor", "shop", "select * from producer.columns"),
        ("swarm_actor", "shop", "drop table raw.orders"),
        ("swarm_actor", "shop", "truncate raw.orders"),
        ("swarm_actor", "shop", "set role loader"),
        ("dbt_team", "shop", "insert into raw.orders default values"),
    ],
)
def test_roles_keep_to_their_own(quiet_world: World, role: str, database: str, statement: str) -> None:
    """What a role is not given, it is refused."""
    with quiet_world.connect(role, database) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute(statement)


@pytest.mark.parametrize("role", ["swarm_reader", "swarm_actor", "dbt_team", "loader"])
def test_the_twin_is_the_graders_alone(quiet_world: World, role: str) -> None:
    """Nobody else can even connect to it, and no login works without its password."""
    with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
        quiet_world.connect(role, TWIN)
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(quiet_world.url(role).replace(quiet_world.passwords[role], "guess"))


def test_the_actor_may_do_what_repairs_need(world: World) -> None:
    """Quarantine rows, put up a compatibility view, replace what the team built; all of it readable by the reader."""
    with world.connect("swarm_actor") as actor:
        actor.execute("create table dataswarm.kept as select * from raw.refunds limit 2")
        actor.execute("delete from raw.refunds where refund_id in (select refund_id from dataswarm.kept)")
        actor.execute("insert into raw.refunds select * from dataswarm.kept")
        actor.execute("create view raw.refunds_v1 as select * from raw.refunds")
        actor.execute("drop view analytics.stg_refunds cascade")
        actor.execute("create table dataswarm_scratch.tried as select 1 as id")
    for relation in ("dataswarm.kept", "raw.refunds_v1", "dataswarm_scratch.tried", "analytics.fct_refunds"):
        with world.connect("swarm_reader") as reader:
            assert reader.execute(f"select count(*) from {relation}").fetchone() != (0,)


def test_a_build_in_flight_says_so(tmp_path: Path) -> None:
    """The marker names the living process, refuses a second build, and a dead one's is taken over."""
    marker = tmp_path / ".running"
    with in_flight(marker):
        assert flying(marker) == os.getpid()
        with pytest.raises(ConflictError), in_flight(marker):
            pass
        assert marker.exists()
    assert flying(marker) is None
    # No process can have this id: it is over the kernel's limit.
    marker.write_text('{"pid": 4194305}')
    with in_flight(marker):
        assert flying(marker) == os.getpid()
    assert not marker.exists()


def test_refusals_say_what_to_do(base_world: BaseWorld, tmp_path: Path) -> None:
    """A directory in use, one without a world, and a stopped world are each refused with a hint."""
    with pytest.raises(UsageError, match="is not empty"):
        World.create(base_world.directory, 1)
    with pytest.raises(UsageError, match="holds no demo world"):
        World.open(tmp_path)
    with pytest.raises(SetupError, match="is not running"):
        World.open(base_world.directory).url("loader")


def test_a_team_that_dies_is_noticed(quiet_world: World) -> None:
    """Asking a team for a world that is gone ends with its last words, not with a hang."""
    with Team(quiet_world) as team:
        team.move_to(replace(quiet_world, directory=quiet_world.directory / "gone"))
        with pytest.raises(TransientError, match="holds no demo world"):
            team.cycle()
