"""A PostgreSQL warehouse: read as the reader, changed as the actor."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, ClassVar

from psycopg import AsyncConnection, sql
from psycopg.pq import TransactionStatus
from psycopg.rows import DictRow
from pydantic import BaseModel

from config.errors import ConflictError, PermanentError, SetupError, SwarmError, UsageError
from integrations import postgres_casts
from integrations.base import Catalog, Finding, Profile, Statement
from integrations.warehouses.postgres.catalog import take_catalog
from integrations.warehouses.postgres.definitions import Memo
from integrations.warehouses.postgres.options import PostgresOptions
from integrations.warehouses.postgres.profile import read_profile
from integrations.warehouses.postgres.rights import examine_actor, examine_reader
from integrations.warehouses.postgres.sessions import Sessions
from integrations.warehouses.postgres.stamp import Seen, read_stamp

READER = "dataswarm/reader"


class PostgresWarehouse:
    """A PostgreSQL server (15 or newer) as a warehouse.

    Every look is one short read-only transaction on a connection of its own with statement and lock time-outs.
    Statements go by the extended protocol, so one text is one statement and cannot end the transaction it is in.
    """

    kind: ClassVar[str] = "postgres"
    Options: ClassVar[type[BaseModel]] = PostgresOptions

    def __init__(self, name: str, options: PostgresOptions) -> None:
        self.name = name
        self.options = options
        gate = asyncio.Semaphore(options.connections)
        limits = {
            "statement_timeout": options.statement_timeout_seconds,
            "lock_timeout": options.lock_timeout_seconds,
        }
        self._memo = Memo()
        self._seen: Seen | None = None
        self._reader = Sessions(name, options.url, gate=gate, **limits)
        self._actor = Sessions(name, options.actor_url, gate=gate, **limits) if options.actor_url else None

    async def open(self) -> None:
        """Read the URLs; SetupError where one cannot be understood. Connections are made when needed."""
        self._reader.parameters()
        if self._actor:
            self._actor.parameters()

    async def close(self) -> None:
        """Nothing is held between calls."""

    async def examine(self) -> Sequence[Finding]:
        """Reachable? Rights enough, and not too many? Never raises for what it finds."""
        findings: list[Finding] = []
        try:
            async with self._reader.transaction(read_only=True, application=READER) as connection:
                findings += await examine_reader(connection, self.options)
        except SwarmError as error:
            findings.append(Finding(False, error.message, error.hint))
        if self._actor is None:
            findings.append(Finding(True, "no actor: nothing can be changed here", "set actor_url to allow remedies"))
            return findings
        try:
            async with self._actor.transaction(read_only=True, application=READER) as connection:
                findings += await examine_actor(connection, self.options)
        except SwarmError as error:
            findings.append(Finding(False, f"actor: {error.message}", error.hint))
        return findings

    async def catalog(self) -> Catalog:
        """Everything in the schemas to look at, in a fixed number of statements and one snapshot; waits for no lock.

        What is only told under a lock and is locked now comes from the last look, if it cannot have changed since;
        otherwise TransientError.
        """
        return await take_catalog(self._reader, self.options, self._memo, application=READER)

    async def fingerprint(self) -> str:
        """Another text whenever the catalog may be another; ask before a look, so that what changes during it shows."""
        async with self._reader.transaction(read_only=True, application=READER, pinned=True) as connection:
            self._seen = await read_stamp(connection, self.options, self._seen)
        return self._seen.text

    async def profile(self, table: str, *, columns: Sequence[str] | None = None, sketch: int = 0) -> Profile:
        """Counts of `schema.table`; a table of more than `sketch_rows` rows is sampled (`Profile.exact` tells)."""
        async with self._reader.transaction(read_only=True, application=READER, pinned=True) as connection:
            return await read_profile(
                connection,
                table,
                source=self.name,
                columns=columns,
                sketch=sketch,
                key=self.options.sketch_key.get_secret_value(),
                limit_rows=self.options.sketch_rows,
            )

    async def query(self, sql: str, parameters: Sequence[Any] = (), *, limit: int = 1000) -> list[dict[str, Any]]:
        """Rows of one read-only statement, at most `limit`; the rest is not fetched."""
        rows: list[dict[str, Any]] = []
        async with self._reader.transaction(read_only=True, application=READER) as connection:
            # Streaming forces the extended protocol and stops the server when enough has come.
            stream = connection.cursor().stream(sql, tuple(parameters) or None)
            try:
                async for row in stream:
                    if len(rows) >= limit:
                        break
                    rows.append(row)
            finally:
                await stream.aclose()  # type: ignore[attr-defined]
        return rows

    async def execute(self, statements: Sequence[Statement], *, agent: str, lock: str = "") -> list[int]:
        """Run statements in one transaction as the actor; see the protocol."""
        if self._actor is None:
            raise SetupError(
                f"warehouse {self.name}: there is no actor to change it", hint="set actor_url of this source"
            )
        touched: list[int] = []
        async with self._actor.transaction(read_only=False, application=f"dataswarm/{agent}") as connection:
            if lock:
                await connection.execute("select pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtext(%s))", (lock,))
            for number, statement in enumerate(statements, start=1):
                touched.append(await self._run(connection, number, statement))
        return touched

    async def _run(self, connection: AsyncConnection[DictRow], number: int, statement: Statement) -> int:
        cursor = connection.cursor()
        # A pipeline always speaks the extended protocol: a text with two statements in it is refused.
        async with connection.pipeline():
            await cursor.execute(statement.sql, tuple(statement.parameters) or None)
        if connection.info.transaction_status is not TransactionStatus.INTRANS:
            raise PermanentError(f"warehouse {self.name}: statement {number} ended the transaction it was in")
        if statement.rows is not None and cursor.rowcount != statement.rows:
            raise ConflictError(
                f"warehouse {self.name}: statement {number} touched {cursor.rowcount} rows"
                f" where {statement.rows} were expected; all was rolled back"
            )
        return cursor.rowcount

    def cast_test(self, value: str, before: str, after: str) -> str | None:
        """What is surely of its old type still; see the protocol."""
        return postgres_casts.cast_test(value, before, after)

    def quote(self, *names: str) -> str:
        """A dotted, quoted identifier. Beside parameters, a percent sign in it must still be doubled."""
        if not names or any(not name or "\0" in name for name in names):
            raise UsageError("an identifier cannot be empty or hold a zero byte")
        return sql.Identifier(*names).as_string(None)
