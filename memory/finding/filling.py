"""Filling in vectors: texts that wait are embedded in batches, in the background, by any number of replicas.

A provider that is away, refuses a text, or changes its dimensions loses nothing: the text waits on with its error, due
again later. A model that is new is filled while the one before it serves, and takes over once it has come far enough.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Unpack

import structlog

from config.errors import PermanentError, SwarmError
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
_PLAIN_WORD = "orders"  # what no provider refuses that can be asked at all


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
            SetupError: the model cannot be used as it is configured.
            UsageError: the model has other dimensions here than its vectors have: configure it under another name.
        """
        name = self._embedder.name
        if self._dimensions is None:
            dimensions = len(await self._embedder.question(_PLAIN_WORD))
            async with self._db.transaction() as tx:
                added = await embeddings.add_model(tx, name, dimensions)
            if added and dimensions > embeddings.INDEXED_UP_TO:
                log.warning("embeddings.exact_only", model=name, dimensions=dimensions, most=embeddings.INDEXED_UP_TO)
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

    async def _embed(self, claimed: Sequence[Waiting], *, is_part: bool = False) -> Filled:
        """One batch; where the provider refuses it, its halves, so that one bad text stops no other."""
        try:
            vectors = await self._embedder.documents([waiting.text for waiting in claimed])
        except PermanentError as error:
            if len(claimed) == 1 or (not is_part and await self._refuses_all()):
                return await self._failed(claimed, error)
            half = len(claimed) // 2
            first = await self._embed(claimed[:half], is_part=True)
            second = await self._embed(claimed[half:], is_part=True)
            return Filled(first.stored + second.stored, first.failed + second.failed, first.problem or second.problem)
        except SwarmError as error:
            return await self._failed(claimed, error)
        if problem := self._misfit(vectors, claimed):
            return await self._failed(claimed, problem)
        async with self._db.transaction() as tx:
            stored = await embeddings.store(tx, self._embedder.name, claimed, vectors)
        return Filled(stored=stored)

    async def _refuses_all(self) -> bool:
        """Is it the provider that changed, and no text to blame? Then its halves need not be asked for."""
        try:
            await self._embedder.question(_PLAIN_WORD)
        except SwarmError:
            return True
        return False

    def _misfit(self, vectors: Sequence[Sequence[float]], claimed: Sequence[Waiting]) -> PermanentError | None:
        """Why these vectors are not stored: halves of the batch would be no better."""
        if len(vectors) != len(claimed):
            return PermanentError(f"{len(vectors)} vectors came for {len(claimed)} texts")
        wrong = {len(vector) for vector in vectors} - {self._dimensions or 0}
        if wrong:
            return PermanentError(f"vectors of {min(wrong)} dimensions came where the model has {self._dimensions}")
        return None

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
    older: Callable[[str], Awaitable[Embedder]] | None = None,
    clearance: Sensitivity = Sensitivity.INTERNAL,
    **filters: Unpack[recall.Wanted],
) -> recall.Answer:
    """`recall.ask` with the question's vector, of the model that serves, else of the one that is being filled.

    By words alone where neither can be asked.

    Args:
        db: the swarm's database.
        embedders: what is configured here, the wanted one first; the model that serves may be another, older one.
        query: the question.
        older: makes the model that serves, by its name, where it is none of these.
        clearance: of who asks.
        filters: as `recall.ask` takes them.

    Raises:
        UsageError: as `recall.ask`.
    """
    if not embedders or not query.strip():
        return await recall.search(db, query, clearance=clearance, **filters)
    async with db.transaction(clearance=clearance) as tx:
        models = await embeddings.models(tx)
    known = {embedder.name: embedder for embedder in embedders if embedder.name in models}
    serving = next((name for name, model in models.items() if model.state == "serving"), "")
    if serving and serving not in known and older is not None:
        try:
            known[serving] = await older(serving)
        except SwarmError as error:
            log.warning("embeddings.question_failed", model=serving, problem=error.message)
    for embedder in sorted(known.values(), key=lambda one: one.name != serving):
        try:
            vector = await embedder.question(query)
        except SwarmError as error:  # the next one, or words, give a whole answer, and it says what it has
            log.warning("embeddings.question_failed", model=embedder.name, problem=error.message)
            continue
        if len(vector) == models[embedder.name].dimensions:
            return await recall.search(db, query, clearance=clearance, vector=vector, model=embedder.name, **filters)
        problem = f"{len(vector)} dimensions came, the model has {models[embedder.name].dimensions}"
        log.warning("embeddings.question_failed", model=embedder.name, problem=problem)
    return await recall.search(db, query, clearance=clearance, **filters)
