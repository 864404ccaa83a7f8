"""Connections to one engine as one role: opened for one look, closed after it, every complaint translated."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from pydantic import SecretStr
from sqlalchemy import Connection, Engine, event
from sqlalchemy.engine import URL
from sqlalchemy.exc import SQLAlchemyError

from config.errors import SetupError
from integrations.warehouses.sql.drivers import read_url, require_driver, secrets_of
from integrations.warehouses.sql.faults import translate
from integrations.warehouses.sql.lanes import Cut
from integrations.warehouses.sql.manners import Manner


class Sessions:
    """Transactions on one engine as one role.

    Args:
        manner: how the engine wants to be spoken to.
        url: SQLAlchemy URL; never shown.
        writes: is this the actor?
    """

    def __init__(self, manner: Manner, url: SecretStr, *, writes: bool) -> None:
        self.manner = manner
        self.writes = writes
        self.url: URL = read_url(manner.source, url)
        self._secrets = secrets_of(self.url)
        self._thread = threading.local()
        require_driver(manner.source, self.url)
        with self._translated(connecting=True):
            self.engine: Engine = manner.engine(self.url, writes=writes)
        event.listen(self.engine, "do_connect", self._connect)

    @contextmanager
    def session(self, cut: Cut, *, application: str, pinned: bool = False) -> Iterator[Connection]:
        """A connection of its own, settled, outside any transaction that was asked for.

        Args:
            cut: severs the connection when nobody waits for it any more.
            application: whose session it is, where the engine can be told.
            pinned: time zone and formats as the swarm needs them; otherwise the role's own hold.

        Raises a translated error for whatever the driver raises.
        """
        self._thread.application = application
        with self._translated(connecting=True):
            connection = self.engine.connect()
        try:
            driver = connection.connection.driver_connection
            cut.by(lambda: self.manner.sever(driver))
            with self._translated():
                self.manner.settle(connection, writes=self.writes, pinned=pinned)
                yield connection
        finally:
            self._quietly(connection, connection.close)

    @contextmanager
    def within(self, connection: Connection) -> Iterator[None]:
        """One transaction, rolled back at the end unless the block has committed it by the manner."""
        self.manner.begin(connection, writes=self.writes)
        try:
            yield
        finally:
            self._quietly(connection, lambda: self.manner.rollback(connection))

    @contextmanager
    def transaction(self, cut: Cut, *, application: str, pinned: bool = False) -> Iterator[Connection]:
        """A session with one transaction that is rolled back."""
        with self.session(cut, application=application, pinned=pinned) as connection, self.within(connection):
            yield connection

    def _connect(self, dialect: Any, record: Any, arguments: Any, named: dict[str, Any]) -> Any | None:
        named.update(self.manner.named(self._thread.application))
        return self.manner.connected(dialect, named)

    def _quietly(self, connection: Connection, last: Callable[[], None]) -> None:
        """The last thing said to a connection; one that cannot even hear that is dropped, and what was done with it."""
        try:
            last()
        except Exception as error:
            if not _is_drivers(error):
                raise
            connection.invalidate()

    @contextmanager
    def _translated(self, *, connecting: bool = False) -> Iterator[None]:
        try:
            yield
        except (TypeError, ValueError) as error:
            if not connecting:
                raise
            raise SetupError(
                f"warehouse {self.manner.source}: the driver does not take what the URL says ({type(error).__name__})",
                hint="check what stands behind the question mark in the URL",
            ) from None
        except Exception as error:
            # Drivers also raise their own errors and warnings past SQLAlchemy, from a fetch or a callback.
            if not _is_drivers(error):
                raise
            raise translate(
                error,
                self.manner.source,
                secrets=self._secrets,
                reader=self.manner.fault,
                connecting=connecting,
            ) from None


def _is_drivers(error: BaseException) -> bool:
    """Is it of SQLAlchemy, of the system, or of the family every driver has (PEP 249)?"""
    if isinstance(error, (SQLAlchemyError, OSError)):
        return True
    return any(c.__name__ in ("Error", "Warning") and c.__module__ != "builtins" for c in type(error).__mro__)
