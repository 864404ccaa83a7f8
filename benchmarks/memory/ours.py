"""The product, asked the same questions as the peers, through the interfaces that agents use."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import Any

import psycopg

from benchmarks.memory.corpus import DIMENSIONS, Corpus
from config.assets import Asset
from memory.access import AccessLog
from memory.beliefs.cache import FactCache
from memory.beliefs.knowledge import assert_fact, fact
from memory.board import ledger
from memory.connection.database import Database
from memory.finding import embeddings, recall
from memory.records import NewObservation, Reference

MODEL = "bench"
TOP = 10
FACTS = 200
HELD = Asset.parse("warehouse://shop/raw.held")


class Ours:
    """The product on a database of its own. `numbers` are the corpus's, which notes carry as references here."""

    def __init__(self, db: Database, owner_url: str, corpus: Corpus, questions: int) -> None:
        self.db = db
        self.owner_url = owner_url
        self.corpus = corpus
        self.questions = corpus.questions(questions)
        self.loaded = 0

    async def load(self, count: int) -> None:
        """By COPY, as the peers, its index rebuilt; then the words are folded, and facts written to be read."""
        async with self.db.transaction() as tx:
            await embeddings.add_model(tx, MODEL, DIMENSIONS)
        await asyncio.to_thread(self._copy, count)
        self.loaded = count
        await recall.fold(self.db)
        async with self.db.transaction() as tx:
            for number in range(FACTS):
                await assert_fact(tx, "bench", HELD, f"fact-{number}", {"rows": number}, expected=None)

    def _copy(self, count: int) -> None:
        with psycopg.connect(self.owner_url, autocommit=True) as connection:
            row = connection.execute("SELECT part FROM dataswarm.embedding_models").fetchone()
            assert row is not None  # noqa: S101 - it was just made
            index = connection.execute(
                "SELECT indexname, indexdef FROM pg_indexes WHERE tablename = %s AND indexdef ~ 'hnsw'", [row[0]]
            ).fetchone()
            assert index is not None  # noqa: S101 - 384 dimensions have one
            connection.execute(f'DROP INDEX dataswarm."{index[0]}"'.encode())
            columns = "noun, ref, at, agent, kind, subject, whole, sensitivity"
            with connection.cursor().copy(f"COPY dataswarm.documents ({columns}, text) FROM STDIN".encode()) as copy:
                for item in self.corpus.items(count):
                    at = time.strftime("%Y-%m-%d %H:%M:%S+00", time.gmtime(1_767_225_600 + item.number * 10))
                    copy.write_row(("note", item.number, at, item.agent, "note", item.asset, item.asset, 1, item.text))
            connection.execute("CREATE TEMP TABLE vectors (ref bigint PRIMARY KEY, embedding halfvec)")
            with connection.cursor().copy("COPY vectors FROM STDIN") as copy:
                for item in self.corpus.items(count):
                    copy.write_row((item.number, str(item.vector)))
            connection.execute(
                "INSERT INTO dataswarm.embeddings (model, document_id, at, importance, sensitivity, noun, agent, kind,"
                " subject, whole, branch, embedding) SELECT %s, d.id, d.at, d.importance, d.sensitivity, d.noun,"
                " d.agent, d.kind, d.subject, d.whole, d.branch, v.embedding"
                " FROM dataswarm.documents d JOIN vectors v ON d.noun = 'note' AND d.ref = v.ref",
                [MODEL],
            )
            connection.execute("TRUNCATE dataswarm.embedding_queue")
            connection.execute("SET maintenance_work_mem = '1GB'")
            connection.execute(index[1].encode())
            connection.execute("VACUUM ANALYZE dataswarm.documents, dataswarm.embeddings")

    async def search(
        self, *, agent: str | None = None, words: bool = False, vectors: bool = True, **more: Any
    ) -> tuple[list[float], list[list[int]]]:
        """Every question; seconds each, and the numbers found."""
        seconds, found = [], []
        for question in self.questions:
            began = time.perf_counter()
            answer = await recall.search(
                self.db,
                question.words if words else "",
                vector=question.vector if vectors else None,
                model=MODEL if vectors else "",
                agents=[agent] if agent else None,
                limit=TOP,
                **more,
            )
            seconds.append(time.perf_counter() - began)
            found.append([item.reference.id for item in answer.found])
        return seconds, found

    async def full_text(self) -> list[float]:
        """The one-SQL form everybody writes first: all words, OR, ts_rank_cd; seconds each."""

        def all_of_them() -> list[float]:
            seconds = []
            with psycopg.connect(self.owner_url, autocommit=True) as connection:
                for question in self.questions:
                    began = time.perf_counter()
                    connection.execute(
                        "SELECT d.id, ts_rank_cd(d.lexemes, q.wanted) AS rank FROM dataswarm.documents d, ("
                        " SELECT string_agg(quote_literal(lexeme), ' | ')::tsquery AS wanted"
                        " FROM unnest(dataswarm.lexemes(%s))) q WHERE d.lexemes @@ q.wanted"
                        " ORDER BY rank DESC LIMIT %s",
                        [question.words, TOP],
                    ).fetchall()
                    seconds.append(time.perf_counter() - began)
            return seconds

        return await asyncio.to_thread(all_of_them)

    async def get(self, count: int) -> list[float]:
        """Facts by key, from the database; seconds each."""

        async def once(number: int) -> None:
            async with self.db.transaction() as tx:
                assert await fact(tx, HELD, f"fact-{number}") is not None  # noqa: S101 - it was written

        return await _timed(count, once)

    async def cached(self, count: int, cache: FactCache) -> list[float]:
        """The same from the cache of the process; seconds each."""

        async def once(number: int) -> None:
            assert await cache.fact(HELD, f"fact-{number}") is not None  # noqa: S101 - it was written

        for number in range(FACTS):
            await once(number)
        return await _timed(count, once)

    async def logged(self) -> list[float]:
        """What noting an answer of ten costs, with its share of the flush; seconds each."""
        log, seconds = AccessLog(self.db), []
        for _ in range(20):
            began = time.perf_counter()
            for question in self.questions[:10]:
                log.searched("bench", question.words, [Reference("observation", n) for n in range(TOP)])
            await log.flush()
            seconds.append((time.perf_counter() - began) / 10)
        return seconds

    async def write(self, count: int, start: int, size: int) -> float:
        """Observations, durable, so many in a transaction, their vectors deferred; seconds in all."""
        items = list(self.corpus.items(count, start=start))
        began = time.perf_counter()
        for first in range(0, count, size):
            async with self.db.transaction() as tx:
                await ledger.record(
                    tx,
                    "bench",
                    [
                        NewObservation("note", Asset.parse(item.asset), payload={"text": item.text})
                        for item in items[first : first + size]
                    ],
                )
        return time.perf_counter() - began


async def _timed(count: int, once: Callable[[int], Awaitable[None]]) -> list[float]:
    numbers, seconds = random.Random(1), []
    for _ in range(count):
        number = numbers.randrange(FACTS)
        began = time.perf_counter()
        await once(number)
        seconds.append(time.perf_counter() - began)
    return seconds
