"""A line cut at the worst moment: between what was said and its answer."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from memory.connection.database import Database
from memory.server.embedded import EmbeddedServer
from tests.chaos.lines import lines
from tests.pace import PATIENCE

pytestmark = pytest.mark.chaos


async def test_a_line_cut_while_a_transaction_begins(server: EmbeddedServer, database_name: str) -> None:
    """Nothing has happened yet, so another line takes its place: within a transaction, and under the same role."""
    async with lines(server.socket_directory) as wires:
        url = wires.url(database_name, "dataswarm_worker")
        database = await Database.open(url, application_name="dataswarm/test", pool_size=2)

        async def begin() -> Any:
            async with database.transaction() as tx:
                await tx.one("bus_snapshot")
                cursor = await tx._connection.execute("SELECT current_user::text AS role")
                return await cursor.fetchone(), tx._connection.info.transaction_status.name

        wires.deaf = True
        beginning = asyncio.create_task(begin())
        async with asyncio.timeout(PATIENCE):
            while not wires.swallowed:  # noqa: ASYNC110 - bytes in a proxy have no event
                await asyncio.sleep(0.005)
            wires.deaf = False
            wires.cut()
            assert await beginning == ({"role": "dataswarm_internal"}, "INTRANS")
        await database.close()
