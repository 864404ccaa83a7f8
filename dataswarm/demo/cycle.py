"""One turn of the team's day: load the next batch, pull the models, check freshness, build production."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic
from typing import Any, Self

from config.errors import ConflictError
from dataswarm.demo import builds, loader, repository, roles
from dataswarm.demo.world import World

_BAD = frozenset({"error", "fail", "runtime error"})


@dataclass(frozen=True, slots=True)
class CycleReport:
    """What one cycle did.

    Attributes:
        day: the day loaded last, counted from the shop's first.
        rows: rows appended to the raw tables.
        commit: what was built.
        started_at: aware, in ISO form.
        seconds: wall time of the whole cycle.
        is_green: the build went through and every source is fresh.
        failed: unique ids of nodes and tests that failed, and of stale or unreadable sources.
        skipped: unique ids that were not tried because of them.
    """

    day: int
    rows: int
    commit: str
    started_at: str
    seconds: float
    is_green: bool
    failed: tuple[str, ...]
    skipped: tuple[str, ...]

    def to_json(self) -> str:
        """One line of JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, line: str) -> Self:
        """Read what `to_json` wrote."""
        read: dict[str, Any] = json.loads(line)
        return cls(**{**read, "failed": tuple(read["failed"]), "skipped": tuple(read["skipped"])})


def run_cycle(world: World, *, loads: bool = True) -> CycleReport:
    """Run one cycle in this process, under the loader's and the team's own roles.

    Args:
        world: a running world.
        loads: append the next day's batches first; without it the models are only built again.

    Raises:
        ConflictError: another build of the team is in flight.
    """
    started, began = datetime.now(UTC), monotonic()
    rows = _load(world, started) if loads else 0
    commit = repository.pull(world.team_checkout)
    environment = builds.dbt_environment(world, "dbt_team", database=roles.WAREHOUSE, owner="dbt_team")
    outcomes: list[bool] = []
    with in_flight(world.running_marker):
        # Artefacts of an earlier cycle must not stand for this one if dbt cannot even parse.
        for stale in ("run_results", "sources"):
            (world.target / f"{stale}.json").unlink(missing_ok=True)
        for command in (["source", "freshness"], ["build"]):
            arguments = builds.dbt_arguments(command, project=world.team_checkout, target=world.target)
            outcomes.append(builds.try_here(arguments, environment))
    by_status = _results(world.target)
    failed = tuple(sorted(name for name, status in by_status if status in _BAD))
    return CycleReport(
        day=world.last_day(),
        rows=rows,
        commit=commit,
        started_at=started.isoformat(),
        seconds=round(monotonic() - began, 3),
        is_green=all(outcomes),
        failed=failed,
        skipped=tuple(sorted(name for name, status in by_status if status == "skipped")),
    )


@contextmanager
def in_flight(marker: Path) -> Iterator[None]:
    """Say in a file, while the block runs, that the team's dbt is in flight and under which process id.

    Raises:
        ConflictError: a living process has the marker already; a dead one's is taken over.
    """
    if (other := flying(marker)) is not None:
        raise ConflictError(f"the team's build is in flight already (process {other})")
    fresh = marker.with_suffix(f".{os.getpid()}")
    fresh.write_text(json.dumps({"pid": os.getpid(), "started_at": datetime.now(UTC).isoformat()}))
    fresh.replace(marker)
    try:
        yield
    finally:
        marker.unlink(missing_ok=True)


def flying(marker: Path) -> int | None:
    """The process id of the team's build in flight, or None; a dead process flies no more."""
    try:
        pid = int(json.loads(marker.read_text())["pid"])
        os.kill(pid, 0)
    except (FileNotFoundError, ProcessLookupError):
        return None
    return pid


def _load(world: World, at: datetime) -> int:
    with world.connect("loader") as connection:
        through = loader.loaded_through(connection) + 1
        return loader.load(connection, world.shop, through, at)


def _results(target: Path) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for name in ("sources", "run_results"):
        if (target / f"{name}.json").exists():
            results = builds.read_artefact(target, name)["results"]
            found.extend((str(result["unique_id"]), str(result["status"])) for result in results)
    return found
