"""Plain SQL over psycopg, to hold the bus against: NOTIFY in the writing transaction, a connection for each listener.

Also what is possible at all: the same rows without any NOTIFY.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import psycopg

from benchmarks.coordination.speaking import Speak, Speaker
from benchmarks.peers.actor import main, now_ns

SCHEMA = """
CREATE TABLE events (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, at timestamptz NOT NULL DEFAULT now(),
                     topic text NOT NULL, subject text NOT NULL, noun text NOT NULL, reference_id bigint NOT NULL)
"""
INSERT = """
INSERT INTO events (topic, subject, noun, reference_id)
VALUES ('observation.bench', 'warehouse://bench/raw.orders', 'observation', %s) RETURNING id
"""
# One statement, one round trip: the kindest form of it.
INSERT_AND_NOTIFY = f"WITH event AS ({INSERT}) SELECT pg_notify('bench', id::text) FROM event"
READ = "SELECT id, reference_id FROM events WHERE id = ANY (%s)"
Connection = psycopg.AsyncConnection[tuple[Any, ...]]


class Plain(Speaker):
    """No queue: it is asked about the bus alone."""

    async def install(self) -> None:
        """One table."""
        async with await self._connect() as connection:
            await connection.execute(SCHEMA)

    async def _connect(self) -> Connection:
        return await psycopg.AsyncConnection.connect(self.url, autocommit=True, prepare_threshold=0)

    async def open(self) -> None:
        """Every question connects for itself."""

    async def speakers(self, writers: int, way: str) -> Sequence[Speak]:
        """A connection for each writer; `insert only` tells nobody."""
        statement = INSERT if way == "insert only" else INSERT_AND_NOTIFY

        def speaking(connection: Connection) -> Speak:
            return lambda number: connection.execute(statement, [number])

        return [speaking(await self._connect()) for _ in range(writers)]

    async def attend(self, agents: int, *, reads: bool) -> None:
        """A LISTEN for each of them."""
        self.readers = []
        for heard in self.hearing[:agents]:
            connection = await self._connect()
            await connection.execute("LISTEN bench")
            self.readers.append(asyncio.create_task(self._read(connection, heard, reads=reads)))

    async def _read(self, connection: Connection, heard: dict[int, int], *, reads: bool) -> None:
        """Fetches what it was told of, so that nothing is missed: `id > last` would lose what commits late."""
        while True:
            told = [int(one.payload) async for one in connection.notifies(stop_after=1)]
            if not reads:
                continue
            rows = await (await connection.execute(READ, [told])).fetchall()
            at = now_ns()
            for _, number in rows:
                heard.setdefault(number, at)

    async def put(self, number: int) -> None:
        """Not asked."""
        raise NotImplementedError

    async def put_many(self, first: int, count: int) -> None:
        """Not asked."""
        raise NotImplementedError

    async def remaining(self) -> int:
        """Not asked."""
        raise NotImplementedError

    async def start(self) -> None:
        """Not asked."""
        raise NotImplementedError


if __name__ == "__main__":
    main(Plain)
