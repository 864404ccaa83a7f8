"""Real processes that die, sleep and share: every story ends the same, and each effect happens once."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
from pathlib import Path
from uuid import UUID

import psutil
import psycopg
import pytest

from dataswarm.demo.world import World
from memory.connection.database import Database
from memory.members import presence
from memory.queue import effects, tasks
from memory.records import Resolution, TaskState
from tests.pace import slowness, until
from tests.stories.stage import Copied, beside, describe, processes

pytestmark = [pytest.mark.story, pytest.mark.chaos]
DOOR = """
CREATE FUNCTION public.wait_at_the_door() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(42);
    RETURN NEW;
END $$;
CREATE TRIGGER door BEFORE UPDATE ON dataswarm.remediations
FOR EACH ROW WHEN (NEW.state = 'approved') EXECUTE FUNCTION public.wait_at_the_door();
"""
AT_THE_DOOR = "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND objid = 42 AND NOT granted"
LOOK_SECONDS = 0.1
"""So often the processes of the machine are looked through; a dbt takes ten times as long to start alone."""
# Of the remedy's task, not of any other that failed meanwhile.
_LOST = r"(?:task\.(?:cancelled|lease_lost)|the lease of a task was lost)"
LET_GO = re.compile(rf'^(?=.*"kind": "remediate").*"event": "{_LOST}"', re.MULTILINE)


def quicker(config: Path, **runtime: float) -> Path:
    """The demo's configuration with other figures for its processes."""
    text = config.read_text(encoding="utf-8")
    more = "".join(f"  {name}: {value:.1f}\n" for name, value in runtime.items())
    config.write_text(text.replace("  environment: demo\n", f"  environment: demo\n{more}"), encoding="utf-8")
    return config


async def test_a_replica_killed_in_the_middle_of_a_build_is_taken_over(copied: Copied) -> None:
    """Kill -9 during dbt build: no second dbt beside the first, still resolved, each effect done once."""
    world, _, config = copied
    quicker(config, lease_seconds=3 * slowness(), agent_lease_seconds=3 * slowness())
    with processes(config, (), ()) as started:
        async with beside(copied) as (play, _):
            await play.up(["incident-response"])
            await play.break_("column-renamed", 2)
            assert not (await play.cycle()).is_green
            await until(lambda: has_built(world) and dbts(world))
            above = {p.pid for build in dbts(world) for p in build.parents()}
            victim = next(p for p in started if p.pid in above)
            os.kill(victim.pid, signal.SIGKILL)
            most = 0

            async def watch() -> None:
                nonlocal most
                while True:
                    most = max(most, len(dbts(world)))
                    await asyncio.sleep(LOOK_SECONDS)

            watching = asyncio.create_task(watch())
            seen = await play.to_the_end()
            watching.cancel()
            assert [i.resolution for i in seen.incidents] == [Resolution.AUTO], describe(seen)
            assert most == 1
            assert len(merges(world)) == 1
            assert (await play.grade())["is_held"]


async def test_a_worker_that_slept_through_its_lease_does_nothing_when_it_wakes(copied: Copied) -> None:
    """SIGSTOP between an intent and its deed, SIGCONT after takeover: the stale worker touches nothing."""
    world, _, config = copied
    quicker(config, lease_seconds=3 * slowness(), agent_lease_seconds=3 * slowness())
    with processes(config, (), ()) as started:
        async with beside(copied) as (play, where):
            await play.up(["incident-response"])
            with psycopg.connect(where.owner, autocommit=True) as door, psycopg.connect(where.owner) as gate:
                # A door before the remedy is approved, and a gate between its first intent and its deed: whoever
                # reads the kill switch waits there. The door is opened once the gate is shut.
                door.execute(DOOR)
                door.execute("SELECT pg_advisory_lock(42)")
                await play.break_("transient-failure", 1)
                assert not (await play.cycle()).is_green
                await until(lambda: door.execute(AT_THE_DOOR).fetchone())
                gate.execute("LOCK TABLE dataswarm.kill_switch IN ACCESS EXCLUSIVE MODE")
                door.execute("SELECT pg_advisory_unlock(42)")
                sleeper = await until(lambda: whose_turn(play.database, started))
                assert isinstance(sleeper, subprocess.Popen)
                sleeper.send_signal(signal.SIGSTOP)
            seen = await play.to_the_end()
            assert [i.resolution for i in seen.incidents] == [Resolution.AUTO], describe(seen)
            asleep = len(play.log())
            sleeper.send_signal(signal.SIGCONT)

            def has_given_up() -> bool:
                # Its deed would be a dbt below it: there must be none, from waking until it has let go.
                assert not [b for b in dbts(world) if sleeper.pid in {p.pid for p in b.parents()}]
                return LET_GO.search(play.log()[asleep:]) is not None

            await until(has_given_up)


async def whose_turn(database: Database, started: list[subprocess.Popen[bytes]]) -> subprocess.Popen[bytes] | None:
    """The process that runs the remedy, once it waits at the gate."""
    async with database.transaction() as tx:
        running = await tasks.list_(tx, states=[TaskState.LEASED], kind="remediate")
        homes: dict[UUID | None, int] = {p.process_id: p.pid for p in await presence.processes(tx)}
        waiting = running and any(e.state == "intended" for e in await effects.of_task(tx, running[0].id))
    if not waiting:
        return None
    return next((p for p in started if p.pid == homes.get(running[0].worker)), None)


def has_built(world: World) -> bool:
    """Has the swarm ever wanted to start a dbt for this world? Asked in no time, unlike which processes there are."""
    return any((world.directory / "swarm" / "memory" / "work").rglob("dbt.lock"))


def dbts(world: World) -> list[psutil.Process]:
    """The swarm's living dbt processes for this world: those that build into a target directory of the swarm's own."""
    found = []
    mark = str(world.directory / "swarm" / "memory" / "work")
    for process in psutil.process_iter(["cmdline", "status"]):
        line = process.info["cmdline"] or []
        is_dbt = any(part.endswith("/dbt") for part in line[:3]) and "leash" not in " ".join(line)
        if is_dbt and any(mark in part for part in line) and process.info["status"] != psutil.STATUS_ZOMBIE:
            found.append(process)
    return found


def merges(world: World) -> list[str]:
    """Commits on production that the swarm made beyond the team's."""
    done = subprocess.run(
        ["git", "-C", str(world.origin), "log", "--format=%H", f"{world.base_commit}..main"],
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.split()
