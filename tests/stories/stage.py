"""A stage for stories: a private copy of a world with a swarm that has learned what healthy is.

The swarm works in the test's process (`stage`), or each agent in a process of its own (`apart`).

The baseline is learned once per run of the suite, memory and all, and copied for each story; otherwise every story
would pay a minute for it.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from config.settings import Settings
from dataswarm.app import Addresses, App, addresses, load
from dataswarm.demo import opting_in
from dataswarm.demo.cycle import CycleReport
from dataswarm.demo.faults.catalogue import CATALOGUE
from dataswarm.demo.play import learned, run, start_swarm
from dataswarm.demo.story import Seen, look
from dataswarm.demo.team import Team
from dataswarm.demo.world import World
from memory.board import ledger
from memory.bus.listener import Listener, Wake
from memory.connection.database import Database
from memory.members import presence
from memory.records import IncidentState, Remediation, RemediationState, Resolution
from memory.server.embedded import EmbeddedServer
from tests.pace import PATIENCE
from tests.places import fresh_place
from tests.stories.world import BaseWorld, alone

AGENTS = ("schema-drift", "pipeline-health", "incident-response")
ENDINGS = (IncidentState.RESOLVED, IncidentState.ESCALATED, IncidentState.CLOSED)
UNTOLD_SECONDS = 1.0
"""Leases of agents and depths of queues are told by no hint: so often they are looked at without one."""
SEEDS = (1, 2, 3)
TAKEN_BACK = (("column-renamed", 1), ("table-renamed", 1))
"""Faults and seeds whose story goes on after the repair: a human takes it back."""
Copied = tuple[World, Team, Path]


@dataclass
class Play:
    """One story on its way: the world, its scheduler, and the blackboard of a swarm, wherever that runs."""

    world: World
    team: Team
    config: Path
    database: Database
    wake: Wake
    cycles: list[CycleReport] = field(default_factory=list)

    async def cycle(self) -> CycleReport:
        """One cycle of the team."""
        report = await asyncio.to_thread(self.team.cycle)
        self.cycles.append(report)
        return report

    async def break_(self, fault: str, seed: int, way: str = "", *more: str) -> dict[str, Any]:
        """Inject a fault from a process of its own."""
        ways = ["--way", way] if way else []
        told = await run(
            python(
                "dataswarm.demo.faults", "--world", self.world.directory, "--fault", fault, "--seed", seed, *ways, *more
            )
        )
        return dict(json.loads(told))

    async def seen(self) -> Seen:
        """The blackboard now."""
        return await look(self.database)

    async def until(self, holds: Callable[[Seen], bool], seconds: float = PATIENCE) -> Seen:
        """Wait until something stands on the blackboard; fails with what stands there instead."""
        end = monotonic() + seconds
        while not holds(seen := await self.seen()):
            await self._wait(end, lambda: describe(seen))
        return seen

    async def _wait(self, end: float, what: Callable[[], str]) -> None:
        """Wait for a hint that something was recorded; fails once it is `end`."""
        if (left := end - monotonic()) <= 0:
            raise AssertionError(f"it did not come to that: {what()}\n{self.log()[-3000:]}")
        await self.wake.wait(min(left, UNTOLD_SECONDS))

    def log(self) -> str:
        """What swarms in processes of their own have logged so far; empty where there are none."""
        file = self.config.parent / "swarm.log"
        return file.read_text(encoding="utf-8") if file.exists() else ""

    async def up(self, agents: Sequence[str] = AGENTS, seconds: float = PATIENCE) -> None:
        """Wait until these agents are held by somebody."""
        await self.until(lambda s: set(agents) <= {a.agent for a in s.agents if a.holder is not None}, seconds)

    async def to_the_end(self) -> Seen:
        """Until the incident is resolved or handed over; the team builds again whenever a remedy soaks."""
        while True:
            seen = await self.until(lambda s: state(s) in (*ENDINGS, IncidentState.VERIFYING))
            if state(seen) is not IncidentState.VERIFYING:
                return seen
            await self.cycle()
            await self.until(lambda s: state(s) is not IncidentState.VERIFYING)

    async def look_until(self, kind: str, part: str, *, count: int = 1, seconds: float = PATIENCE) -> None:
        """Wait until observations of a kind about a subject are on record."""
        end = monotonic() + seconds
        while True:
            async with self.database.transaction() as tx:
                found = await ledger.observations(tx, kinds=[kind], subjects=None, since=None)
            if sum(part in str(o.subject) for o in found) >= count:
                return
            await self._wait(end, lambda: f"no {kind} of {part}, but {[(o.kind, str(o.subject)) for o in found]}")  # noqa: B023 - asked at once

    async def cli(self, *arguments: object) -> dict[str, Any]:
        """What a command of the program answers as JSON, typed beside the swarm."""
        return dict(json.loads(await run(python("dataswarm", *arguments, "--config", self.config, "--json"))))

    async def grade(self) -> dict[str, Any]:
        """What the judge says, a process with a role of its own, by the fault's own measure."""
        return await self.grade_as(None)

    async def grade_as(self, oracle: str | None) -> dict[str, Any]:
        """What the judge says, by a measure of the caller's choice."""
        chosen = ["--oracle", oracle] if oracle else []
        told = await run(python("dataswarm.demo.grader", "--world", self.world.directory, *chosen), accepted=(0, 1))
        return dict(json.loads(told))


@dataclass(kw_only=True)
class Stage(Play):
    """A story whose swarm runs in this process."""

    app: App


def python(module: str, *arguments: object) -> list[str]:
    """A command that runs a module of ours."""
    return [sys.executable, "-m", module, *map(str, arguments)]


def is_first_told(fault: str, seed: int) -> bool:
    """Is it the one seed of a fault with which the default suite tells its story? All seeds come up over the faults."""
    return seed == SEEDS[list(CATALOGUE).index(fault) % len(SEEDS)]


def way_of(fault: str, seed: int) -> str:
    """Both ways of a schema change come up over the seeds."""
    ways = CATALOGUE[fault].ways
    return ways[seed % len(ways)] if ways else ""


async def mended(play: Play, fault: str, seed: int) -> Remediation:
    """Break the world, let the swarm mend it alone, and have it judged; the remedy that did it."""
    await play.break_(fault, seed, way_of(fault, seed))
    assert not (await play.cycle()).is_green
    seen = await play.to_the_end()
    assert len(seen.incidents) == 1, describe(seen)
    assert seen.incidents[0].resolution is Resolution.AUTO, describe(seen)
    assert play.cycles[-1].is_green
    grade = await play.grade()
    assert grade["is_held"], grade
    verified = [r for r in seen.remediations if r.state is RemediationState.VERIFIED]
    assert verified, describe(seen)
    return verified[-1]


def state(seen: Seen) -> IncidentState | None:
    """The state of the incident, if there is one."""
    return seen.incident.state if seen.incident else None


def describe(seen: Seen) -> str:
    """What stands on the blackboard, for a failing story."""
    lines = [f"incident {i.id} {i.state}: {i.title} {dict(i.details)}" for i in seen.incidents]
    lines += [f"{t.after}: {t.reason}" for t in seen.timeline]
    lines += [f"decision {d.kind} by {d.agent}: {d.cause} {d.rationale}" for d in seen.decisions]
    lines += [f"remediation {r.playbook} {r.state} {dict(r.result)}" for r in seen.remediations]
    lines += [f"tasks {dict(row)}" for row in seen.depth]
    return "\n".join(lines) or "nothing"


@pytest.fixture(scope="session")
def trained_world(base_world: BaseWorld, scheduler: Team) -> Path:
    """A stopped world beside which a swarm has learned its baseline, its memory stopped as well; one for the run."""
    shared = base_world.directory.parent
    directory, done = shared / "trained", shared / "trained.done"
    with alone(shared):
        if not done.exists():
            shutil.rmtree(directory, ignore_errors=True)
            world = World.clone(base_world.directory, directory)
            scheduler.move_to(world)
            asyncio.run(_train(world, scheduler))
            EmbeddedServer.start(directory / "swarm" / "memory" / "postgres").stop()
            world.stop()
            done.touch()
    return directory


async def _train(world: World, team: Team) -> None:
    config = opting_in.write(world, drift_seconds=2, health_seconds=1)
    async with swarm(load(config), config) as app:
        report = await asyncio.to_thread(team.cycle)
        assert report.is_green, report.failed
        await learned(app.database, world, PATIENCE)


@asynccontextmanager
async def swarm(settings: Settings, config: Path, only: Sequence[str] = ()) -> AsyncIterator[App]:
    """A swarm at work in this process; drained at the end."""
    app = await App.open(settings)
    stop = asyncio.Event()
    job = asyncio.create_task(app.run(stop, only=only, config=config))
    try:
        started = asyncio.create_task(app.started())
        await asyncio.wait({job, started}, return_when=asyncio.FIRST_COMPLETED)
        started.cancel()
        yield app
    finally:
        stop.set()
        try:
            await job
        finally:
            await app.close()


@asynccontextmanager
async def listening(database: Database) -> AsyncIterator[Wake]:
    """A waiter that wakes whenever something is recorded."""
    listener = Listener(database.listen_url)
    wake = listener.subscribe()
    await listener.start()
    try:
        yield wake
    finally:
        await listener.close()


@contextmanager
def processes(config: Path, *arguments: tuple[str, ...]) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Swarm processes, each with its own arguments; none survives the test."""
    started = [start_swarm(config, *more) for more in arguments]
    try:
        yield started
    finally:
        for process in started:
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.terminate()
        for process in started:
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@asynccontextmanager
async def beside(copied: Copied) -> AsyncIterator[tuple[Play, Addresses]]:
    """The blackboard, read beside the processes."""
    world, team, config = copied
    where = addresses(load(config))
    database = await Database.open(where.worker, application_name="dataswarm/test", pool_size=2)
    try:
        async with listening(database) as wake:
            yield Play(world, team, config, database, wake), where
    finally:
        await database.close()


@asynccontextmanager
async def apart(copied: Copied) -> AsyncIterator[Play]:
    """A story whose agents each have a process of their own and meet in PostgreSQL alone."""
    # Each process has a door of its own; port 0 lets the system choose.
    with processes(copied[2], *(("--only", name) for name in AGENTS)):
        async with beside(copied) as (play, _):
            await play.up()
            async with play.database.transaction() as tx:
                assert len({p.process for p in await presence.all(tx)}) == len(AGENTS)
            yield play


@asynccontextmanager
async def together(copied: Copied) -> AsyncIterator[Stage]:
    """A story whose swarm works in this process."""
    world, team, config = copied
    async with swarm(load(config), config) as app, listening(app.database) as wake:
        yield Stage(world, team, config, app.database, wake, app=app)


@pytest.fixture
def copied(trained_world: Path, scheduler: Team) -> Iterator[Copied]:
    """A private running copy of the trained world, its scheduler, and its configuration file."""
    parent = fresh_place("dss")
    world = World.clone(trained_world, parent / "w")
    scheduler.move_to(world)
    config = opting_in.write(world, drift_seconds=2, health_seconds=1, patience_seconds=8)
    yield world, scheduler, config
    EmbeddedServer.start(world.directory / "swarm" / "memory" / "postgres").stop()
    world.remove()
    shutil.rmtree(parent, ignore_errors=True)


@pytest.fixture
async def stage(copied: Copied) -> AsyncIterator[Stage]:
    """A stage with a whole swarm on it."""
    async with together(copied) as play:
        yield play
