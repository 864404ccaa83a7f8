"""One change outside, done by the rule: intent, then lease and deed under a lock of the outside, then the outcome."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import psycopg
from psycopg_pool import AsyncConnectionPool

from config.assets import Asset
from memory.connection.database import Database
from memory.queue import effects, tasks
from memory.records import EffectClass, Task

Outside = AsyncConnectionPool[psycopg.AsyncConnection[tuple[object, ...]]]
LEDGER = Asset("warehouse", "outside", "public.ledger")


class Deed:
    """Writes the task's number into the ledger outside, once, whoever else may be at it.

    Args:
        db: where intents stand.
        outside: connections to the outside, which knows locks but no intents.
        task: as claimed; its payload has the number.
        careless: leave the rule out.
        stumble: called between any two steps.
    """

    def __init__(
        self, db: Database, outside: Outside, task: Task, *, careless: bool, stumble: Callable[[], Awaitable[None]]
    ) -> None:
        self._db = db
        self._outside = outside
        self._task = task
        self._number = int(task.payload["number"])
        self._careless = careless
        self._stumble = stumble

    async def do(self) -> dict[str, object]:
        """Do it, or find it done; what is stored as the task's result."""
        await self._stumble()
        if self._careless:
            async with self._outside.connection() as outside:
                await self._write(outside)
            await self._stumble()
            return {"probed": False}
        async with self._db.transaction() as tx:
            effect = await effects.intend(
                tx,
                self._task,
                step="write",
                target=LEDGER,
                intent={"number": self._number},
                inverse={"delete": self._number},
                effect_class=EffectClass.INVERTIBLE,
            )
        await self._stumble()
        if effect.state == "done":
            return {"probed": True}
        probed = await self._once()
        await self._stumble()
        async with self._db.transaction() as tx:
            await effects.settle(tx, self._task, effect.id, "done", {"probed": probed})
        await self._stumble()
        return {"probed": probed}

    async def _once(self) -> bool:
        """Under the outside's own lock, so that a sleeper between lease and deed is waited for: probe, lease, deed."""
        async with self._outside.connection() as outside, outside.transaction():
            await outside.execute("SELECT pg_advisory_xact_lock(%s)", (self._number,))
            found = await outside.execute("SELECT 1 FROM public.ledger WHERE number = %s", (self._number,))
            if await found.fetchone():
                return True
            async with self._db.transaction() as tx:
                await tasks.fence(tx, self._task)
            await self._stumble()
            await self._write(outside)
            await self._stumble()
        return False

    async def _write(self, outside: psycopg.AsyncConnection[tuple[object, ...]]) -> None:
        await outside.execute(
            "INSERT INTO public.ledger (number, task_id, attempt) VALUES (%s, %s, %s)",
            (self._number, self._task.id, self._task.attempt),
        )
