"""A ClickHouse server by HTTP, through clickhouse-connect.

What is asked and how answers are read is what the embedded one is tested with; this way to a live server is not part
of the project's own tests.
"""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final
from urllib.parse import SplitResult, unquote

from config.errors import SetupError, TransientError
from integrations.warehouses.clickhouse.answers import FORMAT, SETTINGS, Answer, read
from integrations.warehouses.clickhouse.faults import translate
from integrations.warehouses.clickhouse.transport import CHANGING, Conversation, Settings

_CONNECT_SECONDS: Final = 5
_PORTS: Final = {"http": 8123, "https": 8443}
_AT_ONCE: Final = 3
_READING: Final = ("select", "with")


class ServerTransport:
    """A server as one user; each look is a client of its own."""

    def __init__(self, source: str, parts: SplitResult, *, seconds: float) -> None:
        self._source = source
        self._parts = parts
        self._seconds = seconds
        self._gate = asyncio.Semaphore(_AT_ONCE)
        self.described = f"server {parts.hostname}"

    def check(self) -> None:
        """SetupError where the library is missing."""
        self._library()

    @asynccontextmanager
    async def look(self, *, read_only: bool, application: str) -> AsyncIterator[Conversation]:
        """A client; every statement of a reader is sent with `readonly=2`."""
        library = self._library()
        settings = {
            **SETTINGS,
            "max_execution_time": f"{self._seconds}",
            "log_comment": f"dataswarm/{application}",
            **({"readonly": "2"} if read_only else CHANGING),
        }
        async with self._gate:
            client = await self._guarded(library, lambda: self._client(library, application))
            try:
                yield _Talk(self, library, client, settings)
            finally:
                await asyncio.to_thread(client.close)

    def close(self) -> None:
        """Nothing is held between looks."""

    def _client(self, library: Any, application: str) -> Any:
        return library.get_client(
            host=self._parts.hostname,
            port=self._parts.port or _PORTS[self._parts.scheme],
            username=unquote(self._parts.username or "default"),
            password=unquote(self._parts.password or ""),
            database=unquote(self._parts.path.strip("/")) or "default",
            secure=self._parts.scheme == "https",
            client_name=f"dataswarm/{application}",
            connect_timeout=_CONNECT_SECONDS,
            send_receive_timeout=self._seconds + _CONNECT_SECONDS,
            autogenerate_session_id=False,
        )

    def _library(self) -> Any:
        try:
            return importlib.import_module("clickhouse_connect")
        except ImportError:
            raise SetupError(
                f"warehouse {self._source}: the library clickhouse-connect is not installed",
                hint="pip install 'dataswarm[clickhouse]'",
            ) from None

    async def _guarded(self, library: Any, work: Any) -> Any:
        """In a thread; what the library raises becomes one of ours, without its text, which may hold the URL."""
        faults = importlib.import_module(f"{library.__name__}.driver.exceptions")
        try:
            return await asyncio.to_thread(work)
        except faults.ClickHouseError as error:
            if "DB::Exception" in str(error):
                raise translate(str(error), self._source) from None
            raise TransientError(
                f"warehouse {self._source}: the server cannot be reached or broke off ({type(error).__name__})",
                hint="is the server up, and are host, port and scheme in the URL right?",
            ) from None


class _Talk:
    """Statements by one client."""

    def __init__(self, transport: ServerTransport, library: Any, client: Any, settings: Settings) -> None:
        self._transport = transport
        self._library = library
        self._client = client
        self._settings = settings

    async def rows(self, sql: str, settings: Settings | None = None) -> Answer:
        """What one statement gives; of one that changes, how many rows it wrote."""
        given = {**self._settings, **(settings or {})}

        def ask() -> Answer:
            if sql.lstrip(" \n(").lower().startswith(_READING):
                answer = self._client.raw_query(sql, settings=given, fmt=FORMAT)
                return Answer(read(answer.decode(errors="replace"), self._transport._source))  # noqa: SLF001
            summary = self._client.command(sql, settings=given)
            return Answer([], int(getattr(summary, "written_rows", -1)))

        answer: Answer = await self._transport._guarded(self._library, ask)  # noqa: SLF001
        return answer
