"""Results of tasks, written many at once: what arrives while a commit is in flight rides the next one."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

from config.errors import SwarmError, TransientError
from memory import bus
from memory.connection.database import Database, Row
from memory.queue import kinds, tasks, waiting
from memory.records import Task

_log = logging.getLogger(__name__)
AT_ONCE = 500
RETRY_SECONDS = 0.2
Result = tuple[Task, str | None]


class Finishing:
    """Completes tasks of one worker.

    Args:
        db: the swarm's database.
        settled: told which tasks were finished, and which had lost their lease and were left untouched.
        spoilt: told of a task whose result the database refused.
        ready: told that tasks became ready, in the place of those that ended.
    """

    def __init__(
        self,
        db: Database,
        settled: Callable[[list[Task], list[Task]], None],
        spoilt: Callable[[Task, Exception], Awaitable[None]],
        ready: Callable[[], None],
    ) -> None:
        self._db = db
        self._settled = settled
        self._spoilt = spoilt
        self._ready = ready
        self._free = asyncio.Event()
        self._results: list[Result] = []
        self._arrived = asyncio.Event()
        self._landed = asyncio.Event()
        self._landed.set()

    @property
    def waiting(self) -> int:
        """How many results are not written yet."""
        return len(self._results)

    def add(self, task: Task, result: str | None) -> None:
        """Finish this task with a result, JSON text."""
        if not self._results:
            self._arrived.set()
            self._landed.clear()
        self._results.append((task, result))

    async def land(self, seconds: float = 10.0) -> None:
        """Wait until all is written, at most so long: what is not will be done again by others."""
        try:
            async with asyncio.timeout(seconds):
                await self._landed.wait()
        except TimeoutError:
            _log.warning("results could not be written; their leases run out", extra={"tasks": len(self._results)})

    async def run(self) -> None:
        """For ever."""
        while True:
            await self._arrived.wait()
            batch = self._results[:AT_ONCE]
            try:
                await self._write(batch)
            except TransientError as error:
                # Fenced by tokens: what was written after all is told as lost, and stays written.
                _log.warning("results could not be written and are tried again", extra={"problem": error.message})
                await asyncio.sleep(RETRY_SECONDS)
                continue
            del self._results[: len(batch)]
            if not self._results:
                self._arrived.clear()
                self._landed.set()

    async def _write(self, batch: list[Result]) -> None:
        try:
            rows = await self._db.once("finish_tasks", tasks.finishing(batch), hints=_hints)
        except TransientError:
            raise
        except SwarmError as error:
            if len(batch) == 1:
                await self._spoilt(batch[0][0], error)
                return
            for one in batch:  # one of them cannot be written: let it fail alone
                await self._write([one])
            return
        ((ids, _, told, waits),) = rows
        done, lost = [task for task, _ in batch], []
        if len(ids or ()) < len(batch):
            kept = set(ids or ())
            done, lost = [task for task in done if task.id in kept], [task for task in done if task.id not in kept]
        self._settled(done, lost)
        if told:
            self._ready()
        if waits or any(
            kinds.may_be_limited(self._db, agent, kind) for agent, kind in {(task.agent, task.kind) for task in done}
        ):
            self._free.set()

    async def admit(self) -> None:
        """For ever: fill the places that became free, for many endings at once, beside the writing of the next."""
        while True:
            await self._free.wait()
            self._free.clear()
            try:
                if await waiting.admit_now(self._db):
                    self._ready()
            except SwarmError as error:
                _log.warning("nobody was admitted; made up for by the poll", extra={"problem": error.message})


def _hints(rows: Sequence[Row]) -> list[str]:
    ((_, announced, told, _),) = rows
    return [*([bus.HINT] if announced else []), *(waiting.hint_for(agent) for agent in told or ())]
