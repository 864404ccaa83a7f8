"""Searching memory for who asks from outside: by words, and by meaning where a model is configured. JSON values.

A model that cannot be asked takes nothing away: the answer is by words then, and a note says why.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime

from agents.runtime.upkeep import embedder_of
from config.errors import SwarmError
from config.settings import EmbeddingSettings, Settings
from dataswarm.views import Json, plain
from memory.access import AccessLog
from memory.connection.database import Database
from memory.finding import embedders, embeddings, filling
from memory.finding.embedders import Embedder
from memory.finding.recall import Answer

BY_WORDS = "searched by words alone"


def former_of(name: str, now: EmbeddingSettings) -> Embedder:
    """The model that serves until the one configured now is filled in. SetupError where it is not to be had any more.

    It has the address and the key of the one configured now where both are of one provider.
    """
    alike = now.name is not None and now.name.partition(":")[0] == name.partition(":")[0]
    return embedders.remade(
        name,
        base_url=now.base_url if alike else None,
        api_key=now.api_key.get_secret_value() if alike and now.api_key else None,
        timeout_seconds=now.timeout_seconds,
    )


class Telling:
    """An embedder that remembers why a question of it had no vector.

    Attributes:
        problem: empty where none was in the way; never quotes what was asked.
    """

    def __init__(self, asked: Embedder) -> None:
        self._asked = asked
        self.problem = ""

    @property
    def name(self) -> str:
        """Provider and model."""
        return self._asked.name

    async def documents(self, texts: Sequence[str]) -> list[list[float]]:
        """One vector a text."""
        return await self._asked.documents(texts)

    async def question(self, text: str) -> list[float]:
        """The vector of a question."""
        try:
            return await self._asked.question(text)
        except SwarmError as error:
            self.problem = error.message
            raise


class Searching:
    """Searches of one process; the configured model is made once, for one that runs here takes its time to load.

    Args:
        database: the blackboard.
        settings: as they are now; a changed model is made at the next question.
        make: makes the model that is configured.
        remake: makes the model that was, and serves until the configured one is filled in.
    """

    def __init__(
        self,
        database: Database,
        settings: Callable[[], Settings],
        *,
        make: Callable[[EmbeddingSettings], Embedder] = embedder_of,
        remake: Callable[[str, EmbeddingSettings], Embedder] = former_of,
    ) -> None:
        self._database = database
        self._settings = settings
        self._make = make
        self._remake = remake
        self._made: tuple[EmbeddingSettings, Embedder] | None = None
        self._indexed: set[str] = set()  # models that need no word about it
        self._former: tuple[EmbeddingSettings, Embedder] | None = None

    async def search(
        self,
        query: str,
        *,
        by: str,
        nouns: Sequence[str] | None = None,
        kinds: Sequence[str] | None = None,
        subject: str | None = None,
        since: datetime | None = None,
        agents: Sequence[str] | None = None,
        branch: str = "main",
        limit: int = 10,
    ) -> Json:
        """What fits a question best, best first; who asked is written down, with what they were shown.

        Keys: query, found, unsearched, model and coverage (of vectors; empty and None by words alone), way, note (why
        by words alone where a model is configured, or that its vectors are too long for an index; else empty).

        Raises:
            UsageError: as `recall.ask`.
            TransientError: the database is away.
        """
        embedder, note = await self._embedder(query)
        told = await filling.answer(
            self._database,
            [] if embedder is None else [embedder],
            query,
            older=self._older,
            nouns=nouns,
            kinds=kinds,
            subject=subject,
            since=since,
            agents=agents,
            branch=branch,
            limit=limit,
        )
        if embedder is not None and not told.model:
            note = await self._why(embedder)
        await self._write_down(by, query, told)
        note = f"{BY_WORDS}: {note}" if note else await self._plainly(told.model)
        return {"query": query, **plain(told), "note": note}

    async def _embedder(self, query: str) -> tuple[Telling | None, str]:
        """The configured model, and why there is none to be asked; neither where none is configured or needed."""
        wanted = self._settings().embedding
        if wanted.name is None or not query.strip():
            return None, ""
        if self._made is None or self._made[0] != wanted:
            try:
                self._made = (wanted, await asyncio.to_thread(self._make, wanted))
            except SwarmError as error:
                return None, error.message
        return Telling(self._made[1]), ""

    async def _older(self, name: str) -> Embedder:
        """The model that serves, while the configured one is being filled in."""
        now = self._settings().embedding
        if self._former is None or (self._former[0], self._former[1].name) != (now, name):
            self._former = (now, await asyncio.to_thread(self._remake, name, now))
        return self._former[1]

    async def _why(self, embedder: Telling) -> str:
        """Why a model that could be made gave no vector."""
        if embedder.problem:
            return embedder.problem
        async with self._database.transaction(durable=False) as tx:
            known = embedder.name in await embeddings.models(tx)
        if known:
            return f"{embedder.name} gave a vector of other dimensions than it has here"
        return f"nothing was embedded by {embedder.name} yet; `dataswarm up` does it in the background"

    async def _plainly(self, model: str) -> str:
        """What a model without an index costs; empty for one that has it, or for none."""
        if not model or model in self._indexed:
            return ""
        async with self._database.transaction(durable=False) as tx:
            known = (await embeddings.models(tx)).get(model)
        if known is None or known.is_indexed:
            self._indexed.add(model)
            return ""
        return (
            f"{model} has {known.dimensions} dimensions, an index holds {embeddings.INDEXED_UP_TO} at most:"
            " every vector that the filters leave was compared, exactly and slowly"
        )

    async def _write_down(self, by: str, query: str, told: Answer) -> None:
        log = AccessLog(self._database)
        log.searched(by, query, [found.reference for found in told.found])
        await log.flush()
