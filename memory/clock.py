"""The one clock: the server's. A worker whose own clock is off decides nothing by it."""

from __future__ import annotations

from datetime import datetime
from typing import cast

from memory.connection.database import Database


async def now(database: Database) -> datetime:
    """The server's time (the test's, where a test set it)."""
    async with database.transaction(durable=False) as tx:
        [row] = await tx.all("server_now")
    return cast("datetime", row["now"])
