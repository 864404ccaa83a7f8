"""What finding costs as memory grows: the product alone, at ten thousand, a hundred thousand and a million items.

Loading is not measured. Texts are shorter than the corpus's and vectors are made in bulk, or a million would take an
hour; both are written into the product's own tables as its own statements would, and counted as folding counts them.
"""

from __future__ import annotations

import asyncio
import random
import statistics
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial

import numpy as np
import psycopg

from benchmarks.memory.corpus import DIMENSIONS, REST, SHARES, Corpus
from benchmarks.memory.ours import HELD, MODEL, Ours
from benchmarks.progress import timed
from benchmarks.report import PRODUCT, Row, Target
from config.assets import Asset
from memory.beliefs.cache import FactCache
from memory.beliefs.knowledge import assert_fact, fact
from memory.connection.database import Database
from memory.finding import embeddings, recall

PAYMENTS = Asset.parse("warehouse://shop/raw.payments")
BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
APART = timedelta(seconds=30)  # a million items are a year
ASSETS = 2000
AT_ONCE = 20_000
QUESTIONS = 40
COLUMNS = "id, noun, ref, at, agent, kind, subject, whole, sensitivity, text"
INDEXES = "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'dataswarm' AND indexdef ~ 'USING (hnsw|gin)'"


async def measure(db: Database, owner_url: str, sizes: Sequence[int]) -> list[Row]:
    """Rows for each size; the database is empty before."""
    grown, rows, held = Grown(owner_url), [], 0
    async with db.transaction() as tx:
        await embeddings.add_model(tx, MODEL, DIMENSIONS)
        await assert_fact(tx, "bench", HELD, "fact-0", {"rows": 1}, expected=None)
    for size in sizes:
        with timed(f"growing to {size:,} items"):
            await asyncio.to_thread(grown.grow, held, size)
            db.remembered.clear()  # plans are remembered for a minute, in which nothing grows tenfold
        held = size
        with timed(f"asking among {size:,} items"):
            rows += await _asked(db, grown, size)
            rows += await _kept(db, owner_url, size)
    return rows


class Grown:
    """A memory that is made larger, and knows what is true of it."""

    def __init__(self, owner_url: str) -> None:
        self.owner_url = owner_url
        corpus = Corpus()
        self.words, self.weights = corpus.vocabulary()
        centres, steps = corpus.directions()
        self.centres = np.array(centres, dtype=np.float32)
        self.steps = [np.array(block, dtype=np.float32) for block in steps]
        self.asked = self.vectors(np.random.default_rng(99), QUESTIONS)

    def vectors(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """As the corpus makes them: a topic's centre and a step in each block of directions."""
        found = self.centres[rng.integers(len(self.centres), size=count)]
        for block in self.steps:
            found = found + block[rng.integers(len(block), size=count)]
        return found.astype(">f2")

    def grow(self, held: int, size: int) -> None:
        """From so many items to so many, the large indexes made anew."""
        with psycopg.connect(self.owner_url, autocommit=True) as connection:
            part = connection.execute("SELECT part FROM dataswarm.embedding_models").fetchone()
            assert part is not None  # noqa: S101 - it was just made
            indexes = connection.execute(INDEXES).fetchall()
            for name, _ in indexes:
                connection.execute(f'DROP INDEX dataswarm."{name}"'.encode())
            connection.execute("SET session_replication_role = replica")  # words are counted at once, below
            for start in range(held, size, AT_ONCE):
                self._copy(connection, part[0], start, min(AT_ONCE, size - start))
            connection.execute("SET session_replication_role = origin")
            connection.execute("TRUNCATE dataswarm.lexeme_counts, dataswarm.lexeme_news, dataswarm.embedding_queue")
            connection.execute(
                "INSERT INTO dataswarm.lexeme_counts (lexeme, documents)"
                " SELECT word, ndoc FROM ts_stat('SELECT lexemes FROM dataswarm.documents')"
            )
            connection.execute(
                "UPDATE dataswarm.lexeme_totals SET (documents, lexemes) ="
                " (SELECT count(*), sum(length(lexemes)) FROM dataswarm.documents)"
            )
            connection.execute("SET maintenance_work_mem = '4GB'")
            for _, definition in indexes:
                connection.execute(definition.encode())
            connection.execute("VACUUM ANALYZE dataswarm.documents, dataswarm.embeddings")
            connection.execute("CHECKPOINT")

    def _copy(self, connection: psycopg.Connection, part: str, start: int, count: int) -> None:
        rng = random.Random(start)
        lines = list(self._lines(rng, start, count))
        with connection.cursor().copy(f"COPY dataswarm.documents ({COLUMNS}) FROM STDIN".encode()) as copy:
            for line in lines:
                copy.write_row(line)
        vectors = self.vectors(np.random.default_rng(start), count)
        head = DIMENSIONS.to_bytes(2, "big") + b"\0\0"
        named = "model, document_id, at, importance, sensitivity, noun, agent, kind, subject, whole, branch, embedding"
        with connection.cursor().copy(f'COPY dataswarm."{part}" ({named}) FROM STDIN (FORMAT binary)'.encode()) as copy:
            copy.set_types(["text", "int8", "timestamptz", "float8", "int2", *["text"] * 6, "bytea"])
            for line, vector in zip(lines, vectors, strict=True):
                number, noun, _, at, agent, kind, subject, whole, level, _ = line
                row = (MODEL, number, at, 1.0, level, noun, agent, kind, subject, whole, "main")
                copy.write_row((*row, head + vector.tobytes()))

    def _lines(self, rng: random.Random, start: int, count: int) -> Iterator[tuple[object, ...]]:
        agents, shares = [*SHARES, REST], [*SHARES.values(), 1 - sum(SHARES.values())]
        written = rng.choices(agents, shares, k=count)
        for place in range(count):
            number = start + place + 1
            asset = str(PAYMENTS) if number % ASSETS == 77 else f"warehouse://shop/raw.t{number % ASSETS}"  # noqa: PLR2004
            text = " ".join(rng.choices(self.words, cum_weights=self.weights, k=rng.randrange(12, 25)))
            text = f"schema {text}" if number % 50 == 0 else text
            # A number of its own for the reference: facts that are written count from one.
            yield number + 10**7, "note", number, BEGAN + APART * number, written[place], "note", asset, asset, 1, text

    def nearest(self, agent: str | None) -> list[set[int]]:
        """The true ten of each question, by comparing everything."""
        with psycopg.connect(self.owner_url, autocommit=True) as connection:
            connection.execute("SET enable_indexscan = off")
            return [
                {
                    row[0] - 10**7
                    for row in connection.execute(
                        "SELECT document_id FROM dataswarm.embeddings WHERE model = %s"
                        " AND (%s::text IS NULL OR agent = %s::text) ORDER BY embedding <=> %s::halfvec LIMIT 10",
                        [MODEL, agent, agent, str(vector.tolist())],
                    )
                }
                for vector in self.asked
            ]


async def _asked(db: Database, grown: Grown, size: int) -> list[Row]:
    vectors = [vector.tolist() for vector in grown.asked]
    rng = random.Random(5)
    texts = [" ".join(rng.choices(grown.words[50:], k=5)) for _ in vectors]
    now = BEGAN + APART * size
    rows: list[Row] = []
    add = partial(_add, rows, size)

    for agent in (None, *SHARES):
        found: dict[int, set[int]] = {}

        async def one(number: int, agent: str | None = agent, found: dict[int, set[int]] = found) -> None:
            agents = None if agent is None else [agent]
            answer = await recall.search(db, "", vector=vectors[number], model=MODEL, agents=agents)
            found[number] = {item.reference.id for item in answer.found}

        share = "" if agent is None else f"_{SHARES[agent]:g}"
        title = "search" if agent is None else f"search among {SHARES[agent]:.1%}"
        add(f"growth_search{share}", title, await _median(one, QUESTIONS))
        true = await asyncio.to_thread(grown.nearest, agent)
        hits = statistics.fmean(len(near & found[number]) / max(len(near), 1) for number, near in enumerate(true))
        add(f"growth_search{share}_recall", "… and how many of the true ten", hits, "", Target(0.99))

    async def hybrid(number: int) -> None:
        await recall.search(db, texts[number], vector=vectors[number], model=MODEL)

    async def lately(_: int) -> None:
        await recall.search(db, "payments schema", subject=PAYMENTS, since=now - timedelta(hours=48))

    async def anywhere(_: int) -> None:
        await recall.search(db, "payments schema", since=now - timedelta(hours=48))

    add("growth_hybrid", "by words and vector", await _median(hybrid, QUESTIONS))
    add("growth_payments", "about the payments asset, last 48 hours", await _median(lately, QUESTIONS))
    add("growth_lately", "'payments schema' in the last 48 hours", await _median(anywhere, QUESTIONS))
    return rows


async def _kept(db: Database, owner_url: str, size: int) -> list[Row]:
    rows: list[Row] = []
    add = partial(_add, rows, size)

    async def get(_: int) -> None:
        async with db.transaction() as tx:
            await fact(tx, HELD, "fact-0")

    add("growth_get", "get a fact", await _median(get, 200))
    ours, cache = Ours(db, owner_url, Corpus(), 0), FactCache(db)

    async def cached(_: int) -> None:
        await cache.fact(HELD, "fact-0")

    add("growth_cached", "get a fact from the process", await _median(cached, 200))
    await cache.close()
    single = 200 / await ours.write(200, 4 * 10**6 + size, 1)
    add("growth_write_single", "single durable write, vectors deferred", single, "1/s")
    add(
        "growth_write",
        "write by the hundred, vectors deferred",
        2000 / await ours.write(2000, 5 * 10**6 + size, 100),
        "1/s",
    )
    return rows


def _add(rows: list[Row], size: int, name: str, title: str, value: float, unit: str = "ms", *targets: Target) -> None:
    row = Row(f"{name}_at_{size}", f"{title}, {size:,} items", unit, "lower" if unit == "ms" else "higher", targets)
    row.add(PRODUCT, value)
    rows.append(row)


async def _median(ask: Callable[[int], Awaitable[object]], count: int) -> float:
    seconds = []
    for number in (*range(count), *range(count)):  # asked once before it is counted
        began = time.perf_counter()
        await ask(number)
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds[count:]) * 1000
