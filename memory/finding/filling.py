"""Filling in vectors: texts that wait are embedded in batches, in the background, by any number of replicas.

A provider that is away, or refuses a text, loses nothing: the text waits on with its error, due again later. A model
that is new is filled while the one before it serves, and takes over once it has come far enough.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Unpack

import structlog

from config.errors import PermanentError, SwarmError, TransientError, UsageError
from memory.connection.database import Database
from memory.finding import embeddings, recall
from memory.finding.embedders import Embedder
from memory.finding.embeddings import Waiting
from memory.records import Sensitivity

log = structlog.get_logger(__name__)
BATCH = 64
SERVING_FROM = 0.95  # the share of texts a new model must have embedded before it replaces the one that serves
_FIRST_RETRY_SECONDS = 5.0
_LONGEST_RETRY_SECONDS = 3600.0


@dataclass(frozen=True, slots=True)
class Filled:
    """What one round did. `problem` is empty where nothing failed; it never quotes a text."""

    stored: int = 0
    failed: int = 0
    problem: str = ""


class Filler:
    """Fills in the vectors of one model.

    Args:
        db: the swarm's database.
        embedder: the configured model.
        batch: how many texts at once.
        serving_from: the share from which the model replaces its forerunner.
    """

    def __init__(
        self, db: Database, embedder: Embedder, *, batch: int = BATCH, serving_from: float = SERVING_FROM
    ) -> None:
        self._db = db
        self._embedder = embedder
        self._batch = batch
        self._serving_from = serving_from
        self._dimensions: int | None = None

    async def once(self) -> Filled:
        """Embed one batch of what waits. The first call learns the model's dimensions by asking for one vector.

        Raises:
            TransientError: the database or the provider is away, and nothing was claimed.
            PermanentError: the provider refuses even a plain word.
            UsageError: the model has other dimensions here than its vectors have: configure it under another name.
        """
        name = self._embedder.name
        if self._dimensions is None:
            dimensions = len(await self._embedder.question("orders"))
            async with self._db.transaction() as tx:
                await embeddings.add_model(tx, name, dimensions)
            self._dimensions = dimensions
        async with self._db.transaction() as tx:
            claimed = await embeddings.claim(tx, name, limit=self._batch)
        if not claimed:
            await self._settle()
            return Filled()
        filled = await self._embed(claimed)
        if filled.stored:
            await self._settle()
        return filled

    async def _embed(self, claimed: Sequence[Waiting]) -> Filled:
        """One batch; where the provider refuses it, its halves, so that one bad text stops no other."""
        try:
            vectors = await self._embedder.documents([waiting.text for waiting in claimed])
            self._check(vectors, claimed)
        except PermanentError as error:
            if len(claimed) > 1:
                half = len(claimed) // 2
                first, second = await self._embed(claimed[:half]), await self._embed(claimed[half:])
                return Filled(
                    first.stored + second.stored, first.failed + second.failed, first.problem or second.problem
                )
            return await self._failed(claimed, error)
        except (TransientError, UsageError) as error:
            return await self._failed(claimed, error)
        async with self._db.transaction() as tx:
            stored = await embeddings.store(tx, self._embedder.name, claimed, vectors)
        return Filled(stored=stored)

    def _check(self, vectors: Sequence[Sequence[float]], claimed: Sequence[Waiting]) -> None:
        wrong = {len(vector) for vector in vectors} - {self._dimensions or 0}
        if wrong:
            raise PermanentError(f"vectors of {min(wrong)} dimensions came where the model has {self._dimensions}")
        if len(vectors) != len(claimed):
            raise PermanentError(f"{len(vectors)} vectors came for {len(claimed)} texts")

    async def _failed(self, claimed: Sequence[Waiting], error: SwarmError) -> Filled:
        tries = max(waiting.attempts for waiting in claimed)
        wait = min(_FIRST_RETRY_SECONDS * 2 ** min(tries - 1, 20), _LONGEST_RETRY_SECONDS)
        async with self._db.transaction() as tx:
            await embeddings.fail(tx, self._embedder.name, claimed, error.message, retry_in=wait)
        log.warning("embeddings.failed", model=self._embedder.name, texts=len(claimed), problem=error.message)
        return Filled(failed=len(claimed), problem=error.message)

    async def _settle(self) -> None:
        async with self._db.transaction() as tx:
            if await embeddings.settle(tx, self._embedder.name, self._serving_from):
                log.info("embeddings.serving", model=self._embedder.name)

    async def run(self, stop: asyncio.Event, *, pause_seconds: float = 5.0) -> None:
        """Until `stop` is set: batch after batch while texts wait, else a look every `pause_seconds`."""
        while not stop.is_set():
            try:
                filled = await self.once()
            except SwarmError as error:
                log.warning("loop.failed", loop="embeddings", problem=error.message)
                filled = Filled()
            if not filled.stored:
                with suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), pause_seconds)


async def answer(
    db: Database,
    embedders: Sequence[Embedder],
    query: str,
    *,
    clearance: Sensitivity = Sensitivity.INTERNAL,
    **filters: Unpack[recall.Wanted],
) -> recall.Answer:
    """`recall.ask` with the question's vector, of the model that serves; by words alone where that cannot be had.

    Args:
        db: the swarm's database.
        embedders: what is configured here, the wanted one first; the model that serves may be another, older one.
        query: the question.
        clearance: of who asks.
        filters: as `recall.ask` takes them.

    Raises:
        UsageError: as `recall.ask`.
    """
    vector, model = None, ""
    if embedders and query.strip():
        async with db.transaction(clearance=clearance) as tx:
            models = await embeddings.models(tx)
        known = [embedder for embedder in embedders if embedder.name in models]
        known.sort(key=lambda embedder: models[embedder.name].state != "serving")
        for embedder in known[:1]:
            try:
                vector, model = await embedder.question(query), embedder.name
                if len(vector) != models[model].dimensions:
                    raise PermanentError(f"{len(vector)} dimensions came, the model has {models[model].dimensions}")
            except SwarmError as error:  # the answer by words is whole, and says that it has no vectors
                log.warning("embeddings.question_failed", model=embedder.name, problem=error.message)
                vector, model = None, ""
    return await recall.search(db, query, clearance=clearance, vector=vector, model=model, **filters)
