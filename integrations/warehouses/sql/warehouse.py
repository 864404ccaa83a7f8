"""The door: asynchronous outside, threads within, and SQLAlchemy not before it is needed."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import BaseModel

from config.errors import SwarmError, UsageError
from integrations.base import Catalog, Finding, Profile, Statement
from integrations.warehouses.sql.drivers import require_library
from integrations.warehouses.sql.lanes import Lanes
from integrations.warehouses.sql.options import SqlOptions

if TYPE_CHECKING:
    from integrations.warehouses.sql.source import Source

_CONNECT_SECONDS = 5
_STATEMENTS_A_LOOK = 4


class SqlWarehouse:
    """Any engine with a SQLAlchemy dialect as a warehouse.

    MySQL, MariaDB and SQLite are read by queries of their own that leave nothing out; every other dialect by
    SQLAlchemy's Inspector. SQLAlchemy blocks, so each look is a thread with a connection of its own, never more than
    `connections` at once, and given up by the wall clock even where the source hangs.
    """

    kind: ClassVar[str] = "sql"
    Options: ClassVar[type[BaseModel]] = SqlOptions

    def __init__(self, name: str, options: SqlOptions) -> None:
        self.name = name
        self.options = options
        seconds = _CONNECT_SECONDS + _STATEMENTS_A_LOOK * options.statement_timeout_seconds
        self._lanes = Lanes(name, lanes=options.connections, seconds=seconds)
        self._lock = threading.Lock()
        self._source: Source | None = None

    async def open(self) -> None:
        """Load the driver, read the URLs; SetupError where one is missing or cannot be understood."""
        await asyncio.to_thread(self._ready)

    async def close(self) -> None:
        """Nothing is held between calls."""

    async def examine(self) -> Sequence[Finding]:
        """Reachable? Which version? Rights enough, and not too many? Never raises for what it finds."""
        try:
            return await self._lanes.run(lambda cut: self._ready().examine(cut))
        except SwarmError as error:
            return [Finding(False, error.message, error.hint)]

    async def catalog(self) -> Catalog:
        """Tables and all that belongs to them, in the schemas to look at."""
        return await self._lanes.run(lambda cut: self._ready().catalog(cut))

    async def fingerprint(self) -> str:
        """Another text whenever the catalog may be another: one query for MySQL, MariaDB and SQLite.

        No other dialect has a cheap way that is known here, so for them it is the fingerprint of the whole catalog.
        """
        return await self._lanes.run(lambda cut: self._ready().fingerprint(cut))

    async def profile(self, table: str, *, columns: Sequence[str] | None = None, sketch: int = 0) -> Profile:
        """Counts of `schema.table`; of a table of more than `sketch_rows` rows a part (`Profile.exact` tells)."""
        return await self._lanes.run(lambda cut: self._ready().profile(cut, table, columns, sketch))

    async def query(self, sql: str, parameters: Sequence[Any] = (), *, limit: int = 1000) -> list[dict[str, Any]]:
        """Rows of one read-only statement, at most `limit`."""
        return await self._lanes.run(lambda cut: self._ready().query(cut, sql, parameters, limit))

    async def execute(self, statements: Sequence[Statement], *, agent: str, lock: str = "") -> list[int]:
        """Run statements in one transaction as the actor; see the protocol.

        An engine that commits at definitions (MySQL) is not asked for them beside others. `lock` is held where the
        engine has advisory locks (MySQL, MariaDB, PostgreSQL); SQLite lets only one write anyway.
        """
        return await self._lanes.run(lambda cut: self._ready().execute(cut, statements, agent, lock))

    def quote(self, *names: str) -> str:
        """A dotted, quoted identifier. Beside parameters, a percent sign in it must still be doubled."""
        if not names or any(not name or "\0" in name for name in names):
            raise UsageError("an identifier cannot be empty or hold a zero byte")
        source = self._ready()
        return ".".join(source.manner.quoted(source.reader.engine.dialect, name) for name in names)

    def cast_test(self, value: str, before: str, after: str) -> str | None:
        """What is surely of its old type still, where the engine's words for it are known; see the protocol."""
        return self._ready().manner.cast_test(value, before, after)

    def _ready(self) -> Source:
        with self._lock:
            if self._source is None:
                require_library(self.name)
                from integrations.warehouses.sql.source import Source  # noqa: PLC0415 - the base has no SQLAlchemy

                self._source = Source(self.name, self.options)
            return self._source
