"""One run of the demo: a world, a swarm beside it, a fault from elsewhere, and the proof at the end.

Everything is real and apart: the warehouse server, the team's scheduler, the saboteur, the judge and the swarm are
processes of their own. This one only starts them, reads the blackboard, and shows what it sees.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from time import monotonic
from typing import TypeVar

from rich.console import Console

from config.errors import SwarmError, TransientError, UsageError
from dataswarm.app import Addresses, addresses, load
from dataswarm.demo import opting_in, proof
from dataswarm.demo.faults.catalogue import CATALOGUE
from dataswarm.demo.screen import Screen
from dataswarm.demo.story import Seen, Story, look
from dataswarm.demo.team import Team
from dataswarm.demo.world import World
from memory.beliefs import knowledge
from memory.board import baselines
from memory.connection.database import Database
from memory.records import IncidentState
from memory.server import migrate

HEALTHY_CYCLES = 3
LONGEST_SECONDS = 150.0
LOOK_SECONDS = 0.25
DEFAULT_FAULT = "column-renamed"
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Options:
    """What can be asked of a run.

    Attributes:
        fault: a name of the catalogue.
        way: `alter` or `recreate` for schema faults; empty lets the seed choose.
        seed: varies table, column, names, size and moment.
        once: end with the exit status of the run, without waiting for the user.
        keep: leave the world and the swarm's memory where they are, and say where.
        plain: lines only.
        json: a file to write the outcome to.
        directory: where to play instead of a temporary directory.
    """

    fault: str = DEFAULT_FAULT
    way: str = ""
    seed: int = 1
    once: bool = False
    keep: bool = False
    plain: bool = False
    json: Path | None = None
    directory: Path | None = None


def main(options: Options, console: Console) -> int:
    """Play; 0 when it ended as this fault must, 1 when not."""
    return asyncio.run(play(options, console))


async def play(options: Options, console: Console) -> int:
    """Play one run from the empty directory to the proof.

    Raises:
        UsageError: no such fault.
    """
    fault = CATALOGUE.get(options.fault)
    if fault is None:
        raise UsageError(f"no fault is called {options.fault!r}", hint="`dataswarm demo --list` shows them")
    # Sockets live below this path, and systems allow them about a hundred characters.
    home = options.directory or Path(tempfile.mkdtemp(prefix="dataswarm-"))
    way = options.way or (fault.ways[options.seed % len(fault.ways)] if fault.ways else "")
    story = Story(fault, options.seed, way, is_kept=options.keep)
    plain = options.plain or not console.is_terminal
    stage: Stage | None = None
    try:
        with Screen(story, console, plain=plain) as screen:
            try:
                async with set_up(story, screen, home, options) as stage:
                    await _act_one(stage)
                    await _act_two(stage)
                    await _judge(stage)
                    screen.end()
                    if not options.once and console.is_terminal and sys.stdin.isatty():
                        await _linger(stage, console)
            except SwarmError as error:
                story.problem = error.message
        if not story.is_shown:
            proof.show(console, story)
        if options.json is not None:
            options.json.write_text(json.dumps(story.as_json(), indent=2, default=str) + "\n", encoding="utf-8")
        if options.keep:
            _say_where(story, home, console)
    finally:
        if not options.keep:
            shutil.rmtree(home, ignore_errors=True)
    return 0 if story.is_right else 1


@dataclass(slots=True)
class Stage:
    """What a run needs while it goes on."""

    story: Story
    screen: Screen
    world: World
    team: Team
    database: Database
    swarm: subprocess.Popen[bytes]
    options: Options

    async def cycle(self) -> None:
        """One cycle of the team, watched."""
        report = await self.watched(asyncio.to_thread(self.team.cycle))
        self.story.cycles.append(report)
        state = "green" if report.is_green else f"{len(report.failed)} failed, {len(report.skipped)} skipped"
        self.screen.tell(f"the team's build of day {report.day}: {state} ({report.seconds:.1f} s)")

    async def watched(self, doing: Awaitable[T]) -> T:
        """Wait for something while the view goes on."""
        job = asyncio.ensure_future(doing)
        while not job.done():
            await self.look()
            await asyncio.wait({job}, timeout=LOOK_SECONDS)
        return await job

    async def look(self) -> Seen:
        """Read the blackboard and show it. TransientError where the swarm has died."""
        if self.swarm.poll() is not None:
            raise TransientError(f"the swarm ended with status {self.swarm.returncode}")
        self.story.seen = await look(self.database)
        self.screen.follow()
        return self.story.seen

    async def until(self, what: str, holds: Callable[[Seen], bool], seconds: float = LONGEST_SECONDS) -> bool:
        """Look until something holds; False where it took too long."""
        self.story.phase = what
        end = monotonic() + seconds
        while not holds(await self.look()):
            if monotonic() > end:
                return False
            await asyncio.sleep(LOOK_SECONDS)
        return True


@asynccontextmanager
async def set_up(story: Story, screen: Screen, home: Path, options: Options) -> AsyncIterator[Stage]:
    """Warehouse, team, swarm: all running, all ended again."""
    story.phase = "making the shop: a warehouse, a dbt project, a team"
    world = await asyncio.to_thread(World.create, home / "world", options.seed, progress=screen.tell)
    team = Team(world)
    swarm: subprocess.Popen[bytes] | None = None
    database: Database | None = None
    where: Addresses | None = None
    try:
        port = free_port()
        story.config = file = opting_in.write(world, port=port)
        story.phase = "starting the swarm"
        settings = load(file)
        where = await asyncio.to_thread(addresses, settings)
        await migrate.apply(where.owner)
        database = await Database.open(where.worker, application_name="dataswarm/demo", pool_size=2)
        swarm = start_swarm(file)
        story.address = f"http://127.0.0.1:{port}"
        screen.tell(f"DEMO: the swarm is starting, its console is at {story.address}")
        yield Stage(story, screen, world, team, database, swarm, options)
    finally:
        if swarm is not None:
            swarm.terminate()
            with suppress(subprocess.TimeoutExpired):
                await asyncio.to_thread(swarm.wait, 20)
            if swarm.poll() is None:
                swarm.kill()
        if database is not None:
            await database.close()
        await asyncio.to_thread(team.stop)
        if not options.keep:
            if where is not None and where.embedded is not None:
                await asyncio.to_thread(where.embedded.stop)
            await asyncio.to_thread(world.stop)


def start_swarm(config: Path, *arguments: str) -> subprocess.Popen[bytes]:
    """The swarm as a process of its own, its log beside its configuration."""
    with (config.parent / "swarm.log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "dataswarm", "up", "--config", str(config), *arguments],
            stdout=log,
            stderr=log,
            cwd=config.parent,
        )


def free_port() -> int:
    """A port nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def _act_one(stage: Stage) -> None:
    """Healthy cycles, until the swarm knows what healthy is."""
    story = stage.story
    for number in range(1, HEALTHY_CYCLES + 1):
        story.phase = f"healthy cycle {number} of {HEALTHY_CYCLES}"
        await stage.cycle()
        if not story.cycles[-1].is_green:
            raise TransientError(f"a healthy cycle failed: {', '.join(story.cycles[-1].failed)[:300]}")
    story.phase = "the swarm learns its baseline"
    await stage.watched(learned(stage.database, stage.world))
    stage.screen.tell("the swarm has learned its baseline")


async def learned(database: Database, world: World, seconds: float = 60) -> None:
    """Wait until both baselines are there and the marts of the last healthy build are profiled.

    Raises:
        TransientError: it took longer than `seconds`.
    """
    end = monotonic() + seconds
    while monotonic() < end:
        async with database.transaction() as tx:
            drift = await baselines.get(tx, "schema-drift", "shop")
            health = await baselines.get(tx, "pipeline-health", "shop_dbt")
            profiles = await knowledge.facts(tx, predicate="profile.good")
        last = json.loads((world.target / "run_results.json").read_text())["metadata"]["invocation_id"]
        if drift and health and any(f.object.get("run") == last for f in profiles):
            return
        await asyncio.sleep(LOOK_SECONDS)
    raise TransientError("the swarm did not learn a baseline in time; see its log")


async def _act_two(stage: Stage) -> None:
    """The fault, the failing build, and what the swarm makes of it."""
    story, fault = stage.story, stage.story.fault
    story.phase = "somebody else changes the warehouse"
    way = ["--way", story.way] if story.way else []
    told = await stage.watched(
        run(
            [
                *(sys.executable, "-m", "dataswarm.demo.faults"),
                *("--world", str(stage.world.directory), "--fault", fault.name, "--seed", str(story.seed), *way),
            ]
        )
    )
    story.injected = json.loads(told)
    story.broken_at = datetime.fromisoformat(str(story.injected["at"]))
    stage.screen.tell(f"another process, under a role the swarm cannot read: {fault.description}")
    story.phase = "the team's next build"
    await stage.cycle()
    if fault.breaks_build and story.cycles[-1].is_green:
        raise TransientError("the fault did not break the team's build")
    if fault.ending == "none":
        story.phase = "nothing should happen"
        await stage.cycle()
        await stage.until("nothing should happen but a note of it", _is_noted_and_calm, 20)
        return
    await _to_the_end(stage)


async def _to_the_end(stage: Stage) -> None:
    """Until the incident is resolved or in a human's hands; the team's cycles go on once it is mended."""
    end = monotonic() + LONGEST_SECONDS
    while monotonic() < end:
        found = await stage.until("the swarm is at work", _needs_us)
        incident = stage.story.seen.incident
        if not found or incident is None:
            break
        if incident.state is IncidentState.VERIFYING:
            stage.story.phase = "mended; the team's next build has to be clean as well"
            await stage.cycle()
            await stage.until("soaking", lambda s: _state(s) is not IncidentState.VERIFYING, 20)
        elif incident.state in (IncidentState.RESOLVED, IncidentState.ESCALATED, IncidentState.CLOSED):
            return
    stage.story.problem = "the incident did not come to an end in time"


def _is_noted_and_calm(seen: Seen) -> bool:
    return bool(seen.noted) and not any(row["state"] == "leased" for row in seen.depth)


def _state(seen: Seen) -> IncidentState | None:
    return seen.incident.state if seen.incident else None


def _needs_us(seen: Seen) -> bool:
    return _state(seen) in (
        IncidentState.VERIFYING,
        IncidentState.RESOLVED,
        IncidentState.ESCALATED,
        IncidentState.CLOSED,
    )


async def _judge(stage: Stage) -> None:
    """Let the judge, a process with a role of its own, compare every mart row by row."""
    stage.story.phase = "the judge compares every mart with its golden twin"
    told = await stage.watched(
        run([sys.executable, "-m", "dataswarm.demo.grader", "--world", str(stage.world.directory)], accepted=(0, 1))
    )
    stage.story.grade = json.loads(told)
    await stage.look()


async def _linger(stage: Stage, console: Console) -> None:
    """Show the proof while the swarm still runs, so that its console can be looked at; until Enter."""
    stage.story.is_live = True
    proof.show(console, stage.story)
    stage.story.is_shown = True
    file = stage.story.config
    console.print(f"\nThe swarm is still running: {stage.story.address}", highlight=False)
    console.print(f"Look closer in another terminal: dataswarm show 1 --config {file}", highlight=False, soft_wrap=True)
    await asyncio.to_thread(console.input, "Enter ends it. ")


def _say_where(story: Story, home: Path, console: Console) -> None:
    """Where a kept world is, and how to go on with it."""

    def say(line: str) -> None:
        console.print(line, highlight=False, soft_wrap=True, markup=False)

    say(f"\nkept in {home}, its servers running; the swarm has stopped")
    if story.config is not None:
        say(f"  dataswarm show 1 --config {story.config}")
        say(f"  dataswarm up --config {story.config}    (it works on; only then is an undo carried out)")


async def run(command: list[str], accepted: tuple[int, ...] = (0,)) -> str:
    """Run a process of the demo and give back what it printed. TransientError with its last words if it fails."""
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, err = await process.communicate()
    if process.returncode not in accepted:
        raise TransientError(f"{' '.join(command[1:4])} failed: {err.decode(errors='replace')[-800:]}")
    return out.decode()
