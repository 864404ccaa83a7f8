"""Whatever dies, sleeps, is cut off or restarted: no task is lost, no deed is done twice, none lies about."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.storm import brewing
from tests.chaos.tally import Kill, Tally
from tests.pace import slowness

pytestmark = pytest.mark.chaos
# `make chaos` sets these; the short form is part of the default suite.
TASKS = int(os.environ.get("CHAOS_TASKS", "300"))
KILLS = int(os.environ.get("CHAOS_KILLS", "6"))


@pytest.fixture
def directory() -> Iterator[Path]:
    """On a disk, not in memory: this server waits for it. Sockets need a short path."""
    made = Path(tempfile.mkdtemp(prefix="dsc", dir="/tmp"))
    yield made / "pg"
    shutil.rmtree(made, ignore_errors=True)


async def test_nothing_is_lost_doubled_or_late(directory: Path) -> None:
    """Kills, sleepers, blocked loops, cut lines, lost NOTIFY, a clock an hour off, PostgreSQL restarted: 0, 0, 0."""
    async with brewing(directory, count=TASKS, kills=KILLS, lease_seconds=2.0 * slowness()) as storm:
        tally = await storm.run()
    print(tally)  # noqa: T201 - the counts are the point
    assert (tally.lost, tally.duplicated, tally.stolen, tally.late) == ([], [], 0, {}), str(tally)
    assert tally.faults["kills"] == KILLS
    assert min(tally.faults.values()) >= 1
    assert tally.takeovers >= 1


def test_the_counts_can_fail() -> None:
    """Each fault of a queue shows in the count that stands for it."""
    tally = Tally(6, Counter())
    tally.count(range(6), succeeded=[0, 1, 2, 3, 3, 4], done=[0, 1, 1, 3, 4, 5])
    assert tally.lost == [2, 5]
    assert tally.duplicated == [1, 3]
    kills = [Kill(100.0, frozenset({1, 2, 3, 4}))]
    claims = [(1, 102.9), (2, 99.0), (2, 104.3), (3, 104.5)]
    tally.measure(kills, claims, finished={1: 103.0}, outages=[(101.0, 101.2), (104.4, 110.0)], lease_seconds=2.0)
    assert tally.takeovers == 3
    assert set(tally.late) == {2, 3, 4}
    assert round(tally.late[2], 3) == 0.1
