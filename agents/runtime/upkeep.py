"""What a process does again and again beside its agents' work: report itself, fire timers, forget, index, embed.

Any number of replicas may do all of it, as often as they like: each round is idempotent, and what has to happen once
is decided in the database. A round that fails is logged, and the next one makes it up.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import structlog

from config.errors import ConflictError, SwarmError
from config.settings import EmbeddingSettings, Settings
from memory import clock
from memory.board import approvals, baselines, remediations
from memory.connection.database import Database
from memory.finding import embedders, files, recall
from memory.finding.embedders import Embedder
from memory.finding.filling import Filler
from memory.queue import tasks, timers
from memory.records import RemediationState, Sensitivity
from memory.server import partitions
from memory.vault import envelopes

log = structlog.get_logger(__name__)
HOUSEKEEPING_SECONDS = 30.0
TIMER_SECONDS = 1.0
PARTITION_SECONDS = 3600.0
FILES_SECONDS = 60.0
FOLD_SECONDS = 30.0
EMBEDDING_SECONDS = 5.0
LONGEST_EMBEDDING_SECONDS = 60.0  # between tries of a model that cannot be used


def embedder_of(wanted: EmbeddingSettings) -> Embedder:
    """The configured embedding model. SetupError where it is not installed or not known."""
    assert wanted.name is not None  # noqa: S101 - the caller looks first
    return embedders.from_model(
        wanted.name,
        base_url=wanted.base_url,
        api_key=wanted.api_key.get_secret_value() if wanted.api_key else None,
        dimensions=wanted.dimensions,
        timeout_seconds=wanted.timeout_seconds,
    )


@dataclass(frozen=True, slots=True)
class _Loop:
    name: str
    seconds: Callable[[], float]
    once: Callable[[], Awaitable[object]]  # True: there is more to do, at once


class Upkeep:
    """The periodic rounds of one process.

    Args:
        database: the blackboard; retention and timers go by its clock.
        settings: as they are now; what they change counts from the next round.
        beat: reports this process to the others.
        embedder: makes the model that is configured.
    """

    def __init__(
        self,
        database: Database,
        settings: Callable[[], Settings],
        *,
        beat: Callable[[], Awaitable[object]],
        embedder: Callable[[EmbeddingSettings], Embedder] = embedder_of,
    ) -> None:
        self._database = database
        self._settings = settings
        self._beat = beat
        self._embedder = embedder
        self._filler: Filler | None = None
        self._filled_for: EmbeddingSettings | None = None
        self._patience = EMBEDDING_SECONDS
        self._told: dict[tuple[str, str], str] = {}

    async def run(self, stop: asyncio.Event) -> None:
        """All rounds at their times until `stop` is set; each is a task known by its name, as readiness asks."""
        loops = [asyncio.create_task(self._repeat(loop, stop), name=loop.name) for loop in self._loops()]
        try:
            await asyncio.gather(*loops)
        finally:
            for loop in loops:
                loop.cancel()
            await asyncio.gather(*loops, return_exceptions=True)

    def _loops(self) -> Iterator[_Loop]:
        def runtime(most: float, name: str) -> Callable[[], float]:
            return lambda: min(most, getattr(self._settings().runtime, name))

        yield _Loop("housekeeping", runtime(HOUSEKEEPING_SECONDS, "agent_lease_seconds"), self.keep_house)
        yield _Loop("timers", runtime(TIMER_SECONDS, "poll_seconds"), self.fire_timers)
        yield _Loop("partitions", lambda: PARTITION_SECONDS, self.forget)
        yield _Loop("folding", lambda: FOLD_SECONDS, self.fold)
        yield _Loop("files", lambda: FILES_SECONDS, self.index)
        yield _Loop("embeddings", lambda: self._patience, self.embed)

    async def _repeat(self, loop: _Loop, stop: asyncio.Event) -> None:
        while not stop.is_set():
            try:
                if await loop.once() is True:
                    continue
            except SwarmError as error:
                log.warning("loop.failed", loop=loop.name, problem=error.message)
            except Exception:  # a bug in one round must not end the others unseen
                log.exception("loop.crashed", loop=loop.name)
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), loop.seconds())

    async def keep_house(self) -> None:
        """Report this process, and close the questions that nobody answered in time."""
        await self._beat()
        async with self._database.transaction() as tx:
            for question in await approvals.expire(tx):
                with suppress(ConflictError):  # the remedy went another way meanwhile
                    await remediations.move(
                        tx,
                        question.remediation_id,
                        before=[RemediationState.PROPOSED],
                        after=RemediationState.REFUSED,
                        result={"reason": "nobody answered in time", "by_request": True},
                    )

    async def fire_timers(self) -> None:
        """Publish the timers that are due."""
        await timers.fire(self._database)

    async def forget(self) -> None:
        """Make partitions ahead and drop what is past retention, with all that hangs on it.

        The index, and the data keys without which copies in backups cannot be read.
        """
        kept = self._settings().retention
        days = {
            "events": kept.events_days,
            "observations": kept.observations_days,
            "decisions": kept.observations_days,
            "tasks_history": kept.history_days,
            "access_log": kept.access_days,
        }
        await partitions.maintain(self._database, days)
        async with self._database.transaction() as tx:
            await tasks.forget_blobs(tx, days["tasks_history"])
        now = await clock.now(self._database)
        async with self._database.transaction(clearance=Sensitivity.CONFIDENTIAL) as tx:
            for noun in ("observation", "decision"):
                # A partition is dropped once its whole day is past: nothing it holds may go before it does.
                before = now - timedelta(days=days[f"{noun}s"] + 1)
                await recall.forget(tx, [noun], before)
                await envelopes.forget(tx, noun, before)
            await baselines.forget(tx, now - baselines.KEPT)

    async def fold(self) -> None:
        """Count the words of what was written lately, by which recall weighs them."""
        await recall.fold(self._database)

    async def index(self) -> None:
        """Bring what memory knows of the configured folders up to date. What is wrong with one is told once."""
        for folder in self._settings().memory.files:
            try:
                filed = await files.index(self._database, folder)
            except SwarmError as error:
                self._tell(folder, "", error.message)
                continue
            self._tell(folder, "", "")
            for one in filed:
                self._tell(folder, one.path, one.error if one.state == "failed" else "")
            if changed := sum(one.state in ("written", "retired") for one in filed):
                log.info("files.indexed", folder=str(folder), changed=changed)

    def _tell(self, folder: Path, path: str, problem: str) -> None:
        """Log a problem when it is new, not every minute; once it is gone it may be told again."""
        key = (str(folder), path)
        if problem and self._told.get(key) != problem:
            log.warning("files.left_out", folder=str(folder), path=path, problem=problem)
        if problem:
            self._told[key] = problem
        else:
            self._told.pop(key, None)

    async def embed(self) -> bool:
        """Embed a batch of what waits, where a model is configured; was there any? Without one words are enough.

        Raises:
            SetupError: there is no such model, or it is not installed.
            SwarmError: as `Filler.once`.
        """
        self._patience = min(self._patience * 2, LONGEST_EMBEDDING_SECONDS)
        filler = await self._current()
        filled = await filler.once() if filler is not None else None
        self._patience = EMBEDDING_SECONDS
        return filled is not None and filled.stored > 0

    async def _current(self) -> Filler | None:
        """The filler of the model that is configured now."""
        wanted = self._settings().embedding
        if wanted != self._filled_for:
            self._filler = None
            if wanted.name is not None:  # a model of this machine is loaded, which takes its time
                made = await asyncio.to_thread(self._embedder, wanted)
                self._filler = Filler(self._database, made, batch=wanted.batch)
            self._filled_for = wanted
        return self._filler
