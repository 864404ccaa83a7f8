"""How SQLite wants to be spoken to: a file, read through a connection that cannot write it."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from datetime import time as time_of_day
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import quote, unquote

from sqlalchemy import Connection
from sqlalchemy.engine import URL, CursorResult, Dialect, Engine, create_engine
from sqlalchemy.pool import NullPool

from config.errors import SetupError
from integrations.base import Catalog, Finding
from integrations.warehouses.sql import statements
from integrations.warehouses.sql.faults import Fault
from integrations.warehouses.sql.manners import Manner, Target
from integrations.warehouses.sql.sqlite import casting
from integrations.warehouses.sql.sqlite.catalog import SCHEMA, columns_of, quoted, read_answers, read_fingerprint
from integrations.warehouses.sql.sqlite.faults import fault_of

_STEPS = 5000  # of SQLite's machine between two looks at the clock: some tenths of a millisecond
_READING = frozenset({sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE})
_HARMLESS_PRAGMAS = frozenset(
    {"table_info", "table_xinfo", "table_list", "foreign_key_list", "index_list", "index_info", "index_xinfo"}
    | {"database_list", "collation_list", "function_list", "data_version"}
)


class Line(sqlite3.Connection):
    """A connection that gives up by the clock, or when it is severed from another thread.

    Attributes:
        ends_at: on the monotonic clock; None: not now.
        is_severed: nobody waits for it any more.
    """

    ends_at: float | None = None
    is_severed: bool = False

    def is_over(self) -> bool:
        """Asked by SQLite every so many steps; True interrupts the statement."""
        return self.is_severed or (self.ends_at is not None and time.monotonic() > self.ends_at)


class SqliteManner(Manner):
    """SQLite 3.26 or newer, by the standard library."""

    streams: ClassVar[bool] = False
    # A transaction that reads holds up whoever writes the file, so what takes long is asked in pieces.
    counts_in_one_transaction: ClassVar[bool] = False

    def engine(self, url: URL, *, writes: bool) -> Engine:
        """The file opened for reading only, or by the actor for writing; never made."""
        path = self._path(url)
        address = f"file:{quote(str(path))}?mode={'rw' if writes else 'ro'}"

        def connect() -> Line:
            if not path.is_file():
                raise SetupError(
                    f"warehouse {self.source}: there is no file at the path in the URL",
                    hint="write sqlite:////absolute/path/to/file.db, four slashes before an absolute path",
                )
            made = sqlite3.connect(
                address, uri=True, timeout=self.options.lock_timeout_seconds, isolation_level=None, factory=Line
            )
            made.set_progress_handler(made.is_over, _STEPS)
            return made

        return create_engine("sqlite://", creator=connect, poolclass=NullPool, hide_parameters=True)

    def _path(self, url: URL) -> Path:
        written = url.database or ""
        if written.startswith("file:"):
            written = unquote(written.removeprefix("file:").partition("?")[0])
        if written in ("", ":memory:"):
            raise SetupError(
                f"warehouse {self.source}: a database in memory is seen by nobody else",
                hint="name a file: sqlite:////absolute/path/to/file.db",
            )
        return Path(written).absolute()

    def named(self, application: str) -> Mapping[str, str]:
        """A file has no sessions."""
        return {}

    def sever(self, connection: Any) -> None:
        """What runs is interrupted, what would run next is too."""
        connection.is_severed = True
        connection.interrupt()

    def settle(self, connection: Connection, *, writes: bool, pinned: bool) -> None:
        """No writing but by the actor, and then what the schema says of references holds."""
        self.say(connection, "pragma foreign_keys = on" if writes else "pragma query_only = on")

    def begin(self, connection: Connection, *, writes: bool) -> None:
        """Only one writes at a time; waiting for that is bounded by the lock's time-out."""
        self._hurry(connection)
        self.say(connection, "begin immediate" if writes else "begin")

    def commit(self, connection: Connection) -> None:
        """Make what was done last."""
        self.say(connection, "commit")

    def rollback(self, connection: Connection) -> None:
        """Take back what was done, however late it is."""
        line = self._line(connection)
        line.set_authorizer(None)
        line.ends_at, severed, line.is_severed = None, line.is_severed, False
        if line.in_transaction:
            self.say(connection, "rollback")
        line.is_severed = severed

    def is_inside(self, connection: Connection) -> bool:
        """As the library says."""
        return self._line(connection).in_transaction

    def say(self, connection: Connection, sql: str, parameters: Any = (), **options: Any) -> CursorResult[Any]:
        """Each statement has the whole time."""
        self._hurry(connection)
        return super().say(connection, sql, parameters, **options)

    def bound(self, parameters: Any) -> Any:
        """What SQLite has no type for goes as text."""
        return tuple(_storable(p) for p in parameters)

    def require_query(self, connection: Connection, sql: str, limit: int) -> None:
        """SQLite itself says of every part of a statement what it would do, so it is asked and not the text.

        Without that a reader could still attach another file, make one, or write a copy of this one.
        """
        statements.words_of(sql, "sqlite")
        self._line(connection).set_authorizer(_permit)

    def lock(self, connection: Connection, name: str) -> None:
        """A transaction that writes has the whole file to itself."""

    def quoted(self, dialect: Dialect, name: str) -> str:
        """In double quotes."""
        return quoted(name)

    def catalog(self, connection: Connection) -> Catalog:
        """Asked in one short transaction, so that it is of one moment; put together after it."""
        self.begin(connection, writes=False)
        try:
            answers = read_answers(connection, self.options)
        finally:
            self.rollback(connection)
        return answers.catalog()

    def fingerprint(self, connection: Connection) -> str:
        """One query."""
        self._hurry(connection)
        return read_fingerprint(connection)

    def find(self, connection: Connection, splits: Sequence[tuple[str, str]]) -> Target | None:
        """The one schema is `main`; names know no case, but here they are taken as they are."""
        self._hurry(connection)
        for schema, name in splits:
            listed = "select 1 from main.sqlite_master where type in ('table', 'view') and name = ?"
            if schema == SCHEMA and connection.exec_driver_sql(listed, (name,)).first():
                return Target(schema, name, columns_of(connection, name))
        return None

    def cast_test(self, value: str, before: str, after: str) -> str | None:
        """By patterns: this engine casts anything."""
        return casting.cast_test(value, before, after)

    def examine(self, connection: Connection, *, writes: bool) -> list[Finding]:
        """Readable; for the actor writable, its directory too."""
        line = self._line(connection)
        path = Path(next(row[2] for row in line.execute("pragma database_list") if row[1] == "main"))
        version = sqlite3.sqlite_version
        if not writes:
            tables = line.execute("select count(*) from main.sqlite_master where type in ('table', 'view')").fetchone()
            return [
                Finding(True, f"reader reaches the file with SQLite {version}"),
                Finding(True, f"reads {tables[0]} tables and views, changes none: the file is opened read-only"),
            ]
        if os.access(path, os.W_OK) and os.access(path.parent, os.W_OK):
            return [Finding(True, f"actor reaches the file with SQLite {version}, and may write it")]
        return [
            Finding(
                False, "actor may not write the file, or its directory", "SQLite writes a journal beside it; allow both"
            )
        ]

    def fault(self, error: BaseException) -> Fault | None:
        """By SQLite's own code."""
        return fault_of(error)

    def _hurry(self, connection: Connection) -> None:
        self._line(connection).ends_at = time.monotonic() + self.options.statement_timeout_seconds

    def _line(self, connection: Connection) -> Line:
        line = connection.connection.driver_connection
        assert isinstance(line, Line)  # noqa: S101 - `engine` makes no other
        return line


def _permit(action: int, first: str | None, second: str | None, *_: str | None) -> int:
    """Reading, and the pragmas that only tell."""
    if action in _READING:
        return sqlite3.SQLITE_DENY if (second or "").lower() == "load_extension" else sqlite3.SQLITE_OK
    if action == sqlite3.SQLITE_UPDATE and first == "sqlite_master":
        # What a virtual table's declaration looks like; nobody can update that table by a statement.
        return sqlite3.SQLITE_OK
    if action == sqlite3.SQLITE_PRAGMA and (first or "").lower() in _HARMLESS_PRAGMAS:
        return sqlite3.SQLITE_OK
    return sqlite3.SQLITE_DENY


def _storable(value: Any) -> Any:
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, datetime):
        return value.isoformat(sep=" ")
    return value.isoformat() if isinstance(value, date | time_of_day) else value
