"""A human takes back what the swarm did, by the program itself, beside a swarm at work."""

from __future__ import annotations

import subprocess
from collections.abc import AsyncIterator
from typing import Any

import pytest
from psycopg import Connection

from dataswarm.demo.story import Seen
from dataswarm.demo.world import World
from memory.queue import tasks
from memory.records import DecisionKind, IncidentState, RemediationState, Resolution, TaskState
from tests.stories.stage import TAKEN_BACK, Copied, Stage, describe, is_first_told, mended, state, together

pytestmark = pytest.mark.story


def git(world: World, *arguments: str) -> str:
    """What git says of the repository everybody pushes to."""
    done = subprocess.run(["git", "-C", str(world.origin), *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def ended(seen: Seen, which: int, *states: RemediationState) -> bool:
    """Did a remediation come to one of these states?"""
    return any(r.id == which and r.state in states for r in seen.remediations)


def effects_of(shown: dict[str, Any], which: int) -> dict[str, str]:
    """How the effects of a remediation stand, by step, as `show` has them."""
    [remedy] = [r for r in shown["remediations"] if r["id"] == which]
    return {e["step"].partition(" ")[0]: e["state"] for e in remedy["effects"]}


async def diagnosed_again(stage: Stage) -> Seen:
    """Wait until the next failed run has its diagnosis, everybody has considered it, and nothing is under way."""
    [first] = [d.payload["run"] for d in (await stage.seen()).decisions if d.kind is DecisionKind.DIAGNOSIS]
    return await stage.until(
        lambda s: (
            any(d.kind is DecisionKind.DIAGNOSIS and d.payload["run"] != first for d in s.decisions)
            and not any(a.lag for a in s.agents)
            and not any(row["kind"] == "remediate" and row["state"] != "failed" for row in s.depth)
        )
    )


@pytest.mark.every_seed.with_args(is_first_told)
@pytest.mark.parametrize(("fault", "seed"), TAKEN_BACK)
async def test_a_patch_taken_back_is_off_production_and_stays_with_the_human(
    stage: Stage, fault: str, seed: int
) -> None:
    """Mended and proven; then production reads as before the patch, and the next red build starts no new remedy.

    A renamed table has a second playbook that was not tried: the human's word stands against that one as well.
    """
    world = stage.world
    before = git(world, "rev-parse", "main^{tree}")
    remedy = await mended(stage, fault, seed)
    assert remedy.playbook == "patch-model"
    assert git(world, "rev-parse", "main^{tree}") != before

    told = await stage.cli("undo", remedy.id)
    assert (told["remediation_id"], told["incident_id"]) == (remedy.id, remedy.incident_id)
    seen = await stage.until(lambda s: ended(s, remedy.id, RemediationState.UNDONE))
    assert git(world, "rev-parse", "main^{tree}") == before
    assert git(world, "log", "-1", "--format=%s", "main").startswith("Take back: ")
    await stage.until(lambda s: state(s) is IncidentState.ESCALATED)
    shown = await stage.cli("show", remedy.incident_id)
    assert effects_of(shown, remedy.id)["merge"] == "undone"
    assert any(step["after"] == "escalated" and "taken_back" in step["reason"] for step in shown["timeline"])

    assert not (await stage.cycle()).is_green
    seen = await diagnosed_again(stage)
    assert [i.state for i in seen.incidents] == [IncidentState.ESCALATED], describe(seen)
    assert [r.id for r in seen.remediations] == [remedy.id], describe(seen)
    assert git(world, "rev-parse", "main^{tree}") == before


@pytest.fixture
async def bridging_stage(copied: Copied) -> AsyncIterator[Stage]:
    """A stage on which the models are not patched."""
    config = copied[2]
    text = config.read_text(encoding="utf-8")
    config.write_text(text.replace("\nplaybooks:\n", "\nplaybooks:\n  patch-model:\n    enabled: false\n"), "utf-8")
    async with together(copied) as play:
        yield play


async def test_where_models_are_not_patched_a_view_bridges_and_is_not_torn_away(bridging_stage: Stage) -> None:
    """A renamed table is bridged by a view, proven and explained; taking it back names what stands on it."""
    stage = bridging_stage
    before = git(stage.world, "rev-parse", "main")
    remedy = await mended(stage, "table-renamed", 2)
    assert remedy.playbook == "compatibility-view"
    assert git(stage.world, "rev-parse", "main") == before
    view = str(remedy.plan["details"]["view"])
    shown = await stage.cli("show", remedy.incident_id)
    [told] = shown["remediations"]
    assert told["plan"]["details"]["drop"] in told["undo_hint"]
    assert effects_of(shown, remedy.id)["create"] == "done"

    # The staging view of the models stands on it, so it cannot go alone, and it is not tried.
    refused = (await stage.cli("undo", remedy.id))["task_id"]
    seen = await stage.until(lambda s: any((row["kind"], row["state"]) == ("undo", "failed") for row in s.depth))
    async with stage.database.transaction() as tx:
        task = await tasks.get(tx, refused)
    assert task is not None
    assert task.state is TaskState.FAILED
    assert "analytics.stg_" in task.error, task.error
    shown = await stage.cli("show", remedy.incident_id)
    assert [(t["id"], t["kind"], t["error"]) for t in shown["failed_tasks"]] == [(refused, "undo", task.error)]
    [told] = shown["remediations"]
    assert (told["not_taken_back"]["task_id"], told["not_taken_back"]["error"]) == (refused, task.error)
    assert [i.resolution for i in seen.incidents] == [Resolution.AUTO], describe(seen)
    with stage.world.connect("dbt_team") as connection:
        assert columns_of(connection, view)
        redirect(connection, view, str(remedy.plan["details"]["sql"][0]).rpartition(" from ")[2])

    # Once the models read the new name, it goes.
    await stage.cli("undo", remedy.id)
    await stage.until(lambda s: ended(s, remedy.id, RemediationState.UNDONE) and state(s) is IncidentState.ESCALATED)
    [told] = (await stage.cli("show", remedy.incident_id))["remediations"]
    assert told["not_taken_back"] is None
    with stage.world.connect("dbt_team") as connection:
        assert columns_of(connection, view) == 0


def columns_of(connection: Connection[Any], relation: str) -> int:
    """How many columns a relation has; none where it is not there."""
    found = connection.execute(
        "select count(*) from pg_attribute where attrelid = to_regclass(%s) and attnum > 0", (relation,)
    ).fetchone()
    return int(found[0]) if found else 0


def redirect(connection: Connection[Any], view: str, table: str) -> None:
    """Let the staging view read the table by its new name, as the team's next build would."""
    staging = f"analytics.stg_{view.partition('.')[2]}"
    [(text,)] = connection.execute("select pg_get_viewdef(%s::regclass)", (staging,)).fetchall()
    connection.execute(f"create or replace view {staging} as {str(text).replace(view, table)}")
