"""Looking without touching: one transaction in which PostgreSQL itself refuses every write."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from memory.connection.database import Database, Transaction
from memory.records import Sensitivity


@asynccontextmanager
async def still(db: Database, clearance: Sensitivity = Sensitivity.INTERNAL) -> AsyncIterator[Transaction]:
    """A READ ONLY transaction in which everything is as it was when the first question was asked.

    It keeps old rows from being cleared while it lasts: seconds, not hours.

    Raises:
        TransientError: no connection.
        SwarmError: something tried to write.
    """
    async with db.transaction(clearance=clearance, durable=False) as tx:
        was = await tx.one("looking_as") or {}
        await tx.run("leave_writing")
        await tx.run("stand_still")
        await tx.run("enter_still", **was)
        yield tx
