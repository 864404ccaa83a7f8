"""How ClickHouse is spoken to: one small protocol, so that a server and an embedded one are read by the same code."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from typing import Final, Protocol

from integrations.warehouses.clickhouse.answers import Answer

Settings = Mapping[str, str]

# A statement that changes is done when it returns.
CHANGING: Final = {"mutations_sync": "2", "alter_sync": "2", "lightweight_deletes_sync": "2"}


class Conversation(Protocol):
    """One look: statements one after another, the last one possibly somebody else's."""

    async def rows(self, sql: str, settings: Settings | None = None) -> Answer:
        """What one statement gives; a translated error where it fails. After an error nothing more is asked."""


class Transport(Protocol):
    """A way to one ClickHouse as one user."""

    described: str
    """What `doctor` says of it."""

    def check(self) -> None:
        """SetupError where the URL cannot be used or the library is missing."""

    def look(self, *, read_only: bool, application: str) -> AbstractAsyncContextManager[Conversation]:
        """A conversation in which, if `read_only`, ClickHouse itself refuses to write."""

    def close(self) -> None:
        """Let go of what is kept between looks. Idempotent."""
