"""The coordination benchmark: what it may be asked, who takes part, and one real run at a tiny size."""

from __future__ import annotations

import argparse
import json
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.__main__ import BENCHMARKS, main
from benchmarks.coordination import running
from benchmarks.coordination.contenders import PEERS, PEERS_FOLDER
from benchmarks.coordination.measures import AT_ONCE, BY_TURNS, FULL, NAMES, QUICK
from benchmarks.coordination.targets import REFERENCE, rows, weak
from benchmarks.machine import on_disk
from benchmarks.peers.actor import Tally
from config.errors import UsageError


def asked(*arguments: str) -> argparse.Namespace:
    """Options as the command line makes them."""
    parser = argparse.ArgumentParser()
    running.add_options(parser)
    return parser.parse_args(arguments)


def test_an_unknown_benchmark_is_a_mistake(capsys: pytest.CaptureFixture[str]) -> None:
    """Exit status 2, and the names there are."""
    with pytest.raises(SystemExit) as left:
        main(["cordination"])
    assert left.value.code == 2
    told = capsys.readouterr().err
    assert all(name in told for name in BENCHMARKS)


@pytest.mark.parametrize(
    "arguments",
    [("--only", "celery"), ("--rows", "speed"), ("--rounds", "0"), ("--finished", "many")],
)
def test_what_cannot_be_asked_is_refused_before_anything_starts(
    arguments: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit status 2 and a sentence, no traceback, no server."""
    assert main(["coordination", *arguments]) == 2
    assert arguments[1] in capsys.readouterr().err


def test_sizes_follow_the_options() -> None:
    """Quick is smaller, rounds and levels can be given."""
    assert running._sizes(asked()) == FULL
    assert running._sizes(asked("--quick")) == QUICK
    given = running._sizes(asked("--rounds", "5", "--finished", "1e5,1e4"))
    assert (given.rounds, given.finished) == (5, (10_000, 100_000))
    with pytest.raises(UsageError):
        running._sizes(asked("--rounds", "0"))


def test_ours_alone_needs_no_peer() -> None:
    """`--only ours` prepares nobody, and says of each that it was left out."""
    present, missing = running._peers(asked("--only", "ours"))
    assert present == []
    assert set(missing) == set(PEERS)


def test_every_measurement_fills_rows_that_exist() -> None:
    """And no name stands for two of them."""
    found = rows(FULL.finished)
    assert {metric for _, metrics in BY_TURNS.values() for metric in metrics} <= set(found)
    assert not set(BY_TURNS) & set(AT_ONCE)
    assert set(NAMES) == set(BY_TURNS) | set(AT_ONCE)
    assert set(REFERENCE) <= set(found)
    assert "drain_flat" not in rows((10_000,))


def test_a_badly_run_peer_makes_the_comparison_weak() -> None:
    """Peers as they stand elsewhere are fine; one at half its place to the others is named."""
    found = rows(())
    for metric, figures in REFERENCE.items():
        for name, value in figures.items():
            found[metric].add(name, value * 3)
    assert weak(found) == []
    found["drain"].samples["pgqueuer"] = [REFERENCE["drain"]["pgqueuer"]]
    said = weak(found)
    assert said
    assert all("drain: pgqueuer" in line for line in said)


@pytest.mark.parametrize("name", [name for name in PEERS if name != "graphile-worker"])
def test_peers_are_pinned_with_hashes(name: str) -> None:
    """Every requirement has a version and a hash, and the peer's own is the one that is printed."""
    text = (PEERS_FOLDER / f"requirements-{name}.txt").read_text(encoding="utf-8")
    wanted = re.findall(r"^([a-z0-9-]+)==(\S+).*\\$\n\s+--hash=sha256:", text, re.MULTILINE)
    assert len(wanted) == len(re.findall(r"^[a-z]", text, re.MULTILINE))
    assert dict(wanted)[name] == PEERS[name].version


def test_the_peer_on_node_is_pinned_with_a_hash() -> None:
    """The package lock has its version and its integrity."""
    lock = json.loads((PEERS_FOLDER / "package-lock.json").read_text(encoding="utf-8"))
    found = lock["packages"]["node_modules/graphile-worker"]
    assert found["version"] == PEERS["graphile-worker"].version
    assert all("integrity" in package for place, package in lock["packages"].items() if place)


async def test_a_tally_tells_when_enough_were_seen() -> None:
    """The first time counts, and waiting for what has happened already does not wait."""
    tally = Tally()
    tally.seen(1)
    first = tally.times[1]
    tally.seen(1)
    tally.seen(2)
    await tally.reach(3)
    assert tally.times[1] == first
    assert sorted(tally.times) == [1, 2]


def test_a_place_in_memory_is_known() -> None:
    """There waiting for the disk costs nothing, and figures would mean nothing."""
    if not Path("/dev/shm").is_mount():
        pytest.skip("no memory file system to look at")
    assert not on_disk(Path("/dev/shm/somewhere"))
    assert on_disk(Path("/proc/../usr"))


@pytest.fixture
def disk() -> Iterator[Path]:
    """A directory on a disk, where the rest of a run may lie in memory."""
    with tempfile.TemporaryDirectory(prefix="dsw", dir="/tmp") as made:
        yield Path(made)


def test_a_tiny_run_measures_the_product_for_real(
    tmp_path: Path, disk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A server, processes, tasks enqueued and drained; figures kept and drawn; without a peer nothing is met."""
    kept, drawn = tmp_path / "found.json", tmp_path / "found.svg"
    status = main(
        [
            "coordination", "--tiny", "--only", "ours", "--rows", "drain",
            "--at", "2026-11-20T12:00:00", "--json", str(kept), "--chart", str(drawn), "--directory", str(disk),
        ]
    )  # fmt: skip
    assert status == 0
    found = json.loads(kept.read_text(encoding="utf-8"))
    assert found["at"] == "2026-11-20T12:00:00"
    figures = {row["metric"]: row for row in found["rows"]}
    assert set(figures) == {"drain"}
    assert all(row["product"] > 0 for row in figures.values()), figures
    assert not any(row["met"] for row in figures.values())
    assert found["settings"]["fsync"] == "on"
    assert "drain a backlog" in capsys.readouterr().out
    assert drawn.read_text(encoding="utf-8").startswith("<svg")
