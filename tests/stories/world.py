"""A demo world for tests: made once per test run (also under xdist), copied for each test that wants one.

Import the fixtures in the `conftest.py` of the folder that uses them. `world` is a private copy with three healthy
cycles behind it and the twin worked out for the days to come; `team` is the scheduler, moved to that copy.
"""

from __future__ import annotations

import fcntl
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from dataswarm.demo.cycle import CycleReport
from dataswarm.demo.team import Team
from dataswarm.demo.world import DEFAULT_HISTORY_DAYS, World
from tests.places import fresh_place, roomy_place

SEED = 7
HEALTHY_CYCLES = 3
DAYS_TO_COME = 3
_REPORTS = "cycles.jsonl"


@dataclass(frozen=True, slots=True)
class BaseWorld:
    """The stopped world that tests copy, and the healthy cycles it has seen."""

    directory: Path
    cycles: tuple[CycleReport, ...]


@pytest.fixture(scope="session")
def base_world(testrun_uid: str, worker_id: str) -> Iterator[BaseWorld]:
    """The world every test copies; made by the first worker that asks, removed by the last one that is done."""
    # Not in pytest's own directories: their names are too long for a socket, and any other run may sweep them away.
    shared = Path(roomy_place()) / f"dsw-{testrun_uid[:12]}"
    shared.mkdir(exist_ok=True)
    directory, mine = shared / "base", shared / f"{worker_id}.uses"
    with alone(shared):
        mine.touch()
        if not (directory / _REPORTS).exists():
            shutil.rmtree(directory, ignore_errors=True)
            _make(directory)
    lines = (directory / _REPORTS).read_text().splitlines()
    yield BaseWorld(directory, tuple(map(CycleReport.from_json, lines)))
    with alone(shared):
        mine.unlink()
        is_last = not list(shared.glob("*.uses"))
    if is_last:
        shutil.rmtree(shared, ignore_errors=True)


@contextmanager
def alone(shared: Path) -> Iterator[None]:
    """Only one worker of the run at a time."""
    with (shared / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@pytest.fixture(scope="session")
def scheduler(base_world: BaseWorld) -> Iterator[Team]:
    """One team process for all tests of a worker; use `team`."""
    with Team(World.open(base_world.directory)) as team:
        yield team


@pytest.fixture
def world(base_world: BaseWorld) -> Iterator[World]:
    """A running copy of the base world, gone after the test."""
    # Sockets need a short path, which pytest's own directories are not.
    parent = fresh_place("dsw")
    copy = World.clone(base_world.directory, parent / "w")
    yield copy
    copy.remove()
    shutil.rmtree(parent, ignore_errors=True)


@pytest.fixture
def team(scheduler: Team, world: World) -> Team:
    """The team's scheduler at work for `world`."""
    scheduler.move_to(world)
    return scheduler


def _make(directory: Path) -> None:
    fresh = World.create(directory, SEED)
    today = DEFAULT_HISTORY_DAYS - 1 + HEALTHY_CYCLES
    days = [str(day) for day in range(today, today + DAYS_TO_COME + 1)]
    command = [sys.executable, "-m", "dataswarm.demo.grader", "--world", str(directory), "--work-out", *days]
    # The twin is a database of its own, so it is worked out beside the cycles.
    with (
        (directory / "grader.log").open("w") as log,
        Team(fresh) as team,
        subprocess.Popen(command, stdout=log, stderr=log) as grader,
    ):
        reports = [team.cycle() for _ in range(HEALTHY_CYCLES)]
    assert grader.returncode == 0, (directory / "grader.log").read_text()[-2000:]
    fresh.stop()
    (directory / _REPORTS).write_text("".join(report.to_json() + "\n" for report in reports))
