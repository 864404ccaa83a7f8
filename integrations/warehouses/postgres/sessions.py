"""Connections to one server: opened for one transaction, closed after it, never more than so many at once.

A warehouse belongs to others, so nothing idle is held there, and a restart of it leaves nothing stale here.
Settings are made with SET LOCAL semantics, so that a pooler in transaction mode in between does no harm.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import psycopg
from psycopg import AsyncConnection, IsolationLevel, conninfo
from psycopg.rows import DictRow, dict_row
from pydantic import SecretStr

from config.errors import SetupError
from integrations.warehouses.postgres.faults import translate

IDLE_MS = 5000
CONNECT_SECONDS = 5
_TRANSACTION_TIMEOUT_SINCE = 170_000

# Values are hashed and compared as text, so everything that changes how a value is written is pinned.
_SETTINGS = {
    "search_path": "pg_catalog",
    "timezone": "UTC",
    "datestyle": "ISO, YMD",
    "intervalstyle": "iso_8601",
    "bytea_output": "hex",
    "extra_float_digits": "1",
}


class Sessions:
    """Transactions on one server as one role.

    Args:
        source: the configured name, for messages.
        url: libpq URL or key=value string; never shown.
        statement_timeout, lock_timeout: seconds.
        gate: shared by everybody who connects to this source; bounds the connections.
    """

    def __init__(
        self,
        source: str,
        url: SecretStr,
        *,
        statement_timeout: float,
        lock_timeout: float,
        gate: asyncio.Semaphore,
    ) -> None:
        self.source = source
        self._url = url
        self._statement_ms = max(1, round(statement_timeout * 1000))
        self._lock_ms = max(1, round(lock_timeout * 1000))
        self._gate = gate

    def parameters(self) -> dict[str, Any]:
        """The parts of the URL; SetupError (without the URL in it) where it cannot be read."""
        try:
            parts: dict[str, Any] = dict(conninfo.conninfo_to_dict(self._url.get_secret_value()))
        except psycopg.Error:
            raise SetupError(
                f"warehouse {self.source}: the URL cannot be read",
                hint="write postgresql://user:password@host:5432/database, special characters percent-encoded",
            ) from None
        return parts

    @asynccontextmanager
    async def transaction(
        self, *, read_only: bool, application: str, pinned: bool = False
    ) -> AsyncIterator[AsyncConnection[DictRow]]:
        """One transaction on a connection of its own.

        Args:
            read_only: BEGIN READ ONLY, always rolled back; a statement cannot leave that mode.
            application: the session's application_name.
            pinned: search_path, time zone and formats as the swarm needs them, and one snapshot for all
                statements; otherwise the role's own settings hold.

        Raises a translated error for whatever psycopg raises.
        """
        parts = self.parameters()
        secret = str(parts.get("password") or "")
        async with self._gate:
            try:
                connection = await AsyncConnection.connect(
                    **{"connect_timeout": CONNECT_SECONDS, **parts, "application_name": application},
                    autocommit=True,
                    row_factory=dict_row,
                    prepare_threshold=None,
                )
            except psycopg.Error as error:
                raise translate(error, self.source, secret=secret) from None
            try:
                await connection.set_read_only(read_only)
                if pinned:
                    await connection.set_isolation_level(IsolationLevel.REPEATABLE_READ)
                async with connection.transaction(force_rollback=read_only):
                    await self._settle(connection, pinned=pinned)
                    yield connection
            except psycopg.Error as error:
                raise translate(error, self.source, secret=secret) from None
            finally:
                await connection.close()

    async def _settle(self, connection: AsyncConnection[DictRow], *, pinned: bool) -> None:
        settings = {
            "statement_timeout": str(self._statement_ms),
            "lock_timeout": str(self._lock_ms),
            # A process of ours that is frozen in mid-transaction must not hold the owner's tables.
            "idle_in_transaction_session_timeout": str(IDLE_MS),
        }
        if connection.info.server_version >= _TRANSACTION_TIMEOUT_SINCE:
            # A look at many columns takes several statements, each holding the table's weakest lock: bound their sum.
            settings["transaction_timeout"] = str(self._statement_ms * 4)
        if pinned:
            settings |= _SETTINGS
        names = list(settings)
        await connection.execute(
            "select pg_catalog.set_config(s.name, s.value, true) from unnest(%s::text[], %s::text[]) as s(name, value)",
            (names, [settings[name] for name in names]),
        )
