"""How an engine wants to be spoken to. What is here does for every dialect; `mysql/` and `sqlite/` know better.

A manner is asked in the thread of one look, with a connection of that look alone. Which engine has which manner is
said in `choosing.py`, and nowhere else.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from sqlalchemy import Connection, inspect
from sqlalchemy.engine import URL, CursorResult, Dialect, Engine, create_engine
from sqlalchemy.exc import NoSuchTableError
from sqlalchemy.pool import NullPool

from integrations import postgres_casts
from integrations.base import Catalog, ColumnProfile, Finding
from integrations.warehouses.sql import inspected, statements
from integrations.warehouses.sql.drivers import PROVEN
from integrations.warehouses.sql.faults import Fault
from integrations.warehouses.sql.options import SqlOptions

CONNECT_SECONDS = 5
_CONNECTING: Mapping[str, str] = {
    "psycopg": "connect_timeout",
    "psycopg2": "connect_timeout",
    "pyodbc": "timeout",
    "oracledb": "tcp_connect_timeout",
    "snowflake": "login_timeout",
}
_SETTLING: Mapping[str, Sequence[str]] = {
    "postgresql": (
        "set session characteristics as transaction {mode}",
        "set statement_timeout = {statement_ms}",
        "set lock_timeout = {lock_ms}",
        "set idle_in_transaction_session_timeout = 5000",
    ),
    "redshift": ("set statement_timeout to {statement_ms}",),
    "snowflake": ("alter session set statement_timeout_in_seconds = {statement_s}",),
    "mssql": ("set lock_timeout {lock_ms}",),
}
"""What makes a session read-only and bounds its statements; the wall clock of the lanes bounds every one."""


@dataclass(frozen=True, slots=True)
class Target:
    """A table to count: its names, its columns with their types, the engine's estimate of its rows (-1: none)."""

    schema: str
    name: str
    columns: Mapping[str, str]
    rows: int = -1


class Manner:
    """The manner of any dialect that SQLAlchemy reflects.

    Args:
        source: the configured name, for messages.
        options: of the warehouse.
        dialect: SQLAlchemy's name of it.
    """

    counts_in_one_transaction: ClassVar[bool] = True
    streams: ClassVar[bool] = True

    def __init__(self, source: str, options: SqlOptions, dialect: str) -> None:
        self.source = source
        self.options = options
        self.dialect = dialect

    # --- connecting ---------------------------------------------------------------------------------------------

    def engine(self, url: URL, *, writes: bool) -> Engine:
        """What makes connections, none of which outlives its look."""
        wait = _CONNECTING.get(url.get_driver_name())
        arguments = {wait: CONNECT_SECONDS} if wait and wait not in url.query else {}
        return create_engine(url, poolclass=NullPool, hide_parameters=True, connect_args=arguments)

    def named(self, application: str) -> Mapping[str, str]:
        """What tells the engine whose session it is, as arguments of the driver's connect."""
        return {"application_name": application} if self.dialect == "postgresql" else {}

    def connected(self, dialect: Dialect, arguments: Mapping[str, Any]) -> Any | None:
        """A connection of the driver's, made from the arguments of its connect; None leaves that to SQLAlchemy."""
        return None

    def sever(self, connection: Any) -> None:
        """Wake, from another thread, whoever waits on a driver's connection."""
        with contextlib.suppress(Exception):
            twin = socket.socket(fileno=os.dup(connection.fileno()))
            with twin:
                twin.shutdown(socket.SHUT_RDWR)
            return
        for way in ("cancel", "close"):
            with contextlib.suppress(Exception):
                getattr(connection, way)()

    def settle(self, connection: Connection, *, writes: bool, pinned: bool) -> None:
        """Make the session read-only and impatient, where the engine knows how."""
        values = {
            "mode": "read write" if writes else "read only",
            "statement_ms": max(1, round(self.options.statement_timeout_seconds * 1000)),
            "statement_s": max(1, round(self.options.statement_timeout_seconds)),
            "lock_ms": max(1, round(self.options.lock_timeout_seconds * 1000)),
        }
        for statement in _SETTLING.get(self.dialect, ()):
            self.say(connection, statement.format(**values))
        if self.dialect == "oracle":
            connection.connection.driver_connection.call_timeout = values["statement_ms"]  # type: ignore[union-attr]
        if self.dialect in _SETTLING:
            connection.commit()

    def begin(self, connection: Connection, *, writes: bool) -> None:
        """Begin a transaction; the drivers of most engines do it by themselves."""

    def commit(self, connection: Connection) -> None:
        """Make what was done last."""
        connection.commit()

    def rollback(self, connection: Connection) -> None:
        """Take back what was done."""
        connection.rollback()

    def is_inside(self, connection: Connection) -> bool:
        """Is the transaction that was begun still the one going on, as far as the driver tells?"""
        info = getattr(connection.connection.driver_connection, "info", None)
        status = getattr(info, "transaction_status", None)
        return status is None or int(status) != 0

    # --- statements ---------------------------------------------------------------------------------------------

    def say(self, connection: Connection, sql: str, parameters: Any = (), **options: Any) -> CursorResult[Any]:
        """Send a text as it is, with parameters in the driver's own style; `options` are SQLAlchemy's, for once."""
        # Without parameters nothing is interpolated: a percent sign is one.
        told = options if parameters else options | {"no_parameters": True}
        return connection.exec_driver_sql(sql, parameters or None, execution_options=told)

    def require_query(self, connection: Connection, sql: str, limit: int) -> None:
        """UsageError unless a text is one query and nothing else; may tell the session how many rows will do."""
        statements.require_query(sql, self.dialect)

    def require_steps(self, texts: Sequence[str], counted: Sequence[bool]) -> None:
        """UsageError where statements cannot be one transaction; `counted` says which must touch so many rows."""
        for text in texts:
            statements.require_step(text, self.dialect)

    def commits_at(self, sql: str) -> bool:
        """Does the engine commit at a statement, whether asked to or not?"""
        return False

    def bound(self, parameters: Any) -> Any:
        """Parameters as the driver takes them."""
        return parameters

    def lock(self, connection: Connection, name: str) -> None:
        """Take an advisory lock for the transaction, where the engine has one."""
        if self.dialect == "postgresql":
            self.say(connection, "select pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtext(%s))", (name,))

    def quoted(self, dialect: Dialect, name: str) -> str:
        """One identifier in quotes."""
        preparer = dialect.identifier_preparer
        escaped = name.replace(preparer.escape_quote, preparer.escape_to_quote)
        return f"{preparer.initial_quote}{escaped}{preparer.final_quote}"

    # --- looking ------------------------------------------------------------------------------------------------

    def catalog(self, connection: Connection) -> Catalog:
        """All that the engine tells of its structure."""
        return inspected.read_catalog(connection, self.options)

    def fingerprint(self, connection: Connection) -> str:
        """Another text whenever the catalog may be another. Not cheap here: it is the catalog's own."""
        return self.catalog(connection).fingerprint

    def find(self, connection: Connection, splits: Sequence[tuple[str, str]]) -> Target | None:
        """The first of these (schema, name) that is a table or view."""
        inspector = inspect(connection)
        for schema, name in splits:
            with contextlib.suppress(NoSuchTableError):
                columns = inspector.get_columns(name, schema=schema)
                if columns:
                    return Target(schema, name, {c["name"]: "" for c in columns})
        return None

    def sketch(
        self, connection: Connection, target: Target, column: str, *, size: int, key: str
    ) -> ColumnProfile | None:
        """Distinct values and their smallest hashes counted by the engine; None where values must be fetched."""
        return None

    def cast_test(self, value: str, before: str, after: str) -> str | None:
        """A condition for values that are surely of their old type still; None where none is known here."""
        return postgres_casts.cast_test(value, before, after) if self.dialect == "postgresql" else None

    def examine(self, connection: Connection, *, writes: bool) -> list[Finding]:
        """Findings about who we are there: reachable, version, rights enough and not too many."""
        version = ".".join(str(v) for v in connection.dialect.server_version_info or ()) or "of unknown version"
        who = "actor" if writes else "reader"
        findings = [Finding(True, f"{who} reaches {self.dialect} {version}")]
        if self.dialect not in PROVEN:
            findings.append(
                Finding(
                    True, f"{self.dialect} is untested against a live server", "docs/engines.md says what that means"
                )
            )
        if not writes:
            findings.append(
                Finding(
                    True,
                    "whether the reader could write is not known here; queries are read before they are sent",
                    "give `url` a role that may only read",
                )
            )
        return findings

    # --- complaints ---------------------------------------------------------------------------------------------

    def fault(self, error: BaseException) -> Fault | None:
        """What the driver's own error means, where its codes are known; None leaves it to what all drivers share."""
        return None
