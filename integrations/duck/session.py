"""Connections of DuckDB: opened for one look in a thread of its own, closed after it, one at a time for a source.

DuckDB locks the file it has open against other processes, so nothing is held between looks. It runs inside this
process, and what it may reach is therefore switched off: other files, extensions from elsewhere, Python's variables.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from integrations.duck.faults import translate
from integrations.duck.library import load

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

T = TypeVar("T")
MEMORY = ":memory:"
_AGAIN_SECONDS = 0.05

# Nothing is spilled beside the user's file, nothing is fetched or loaded, no variable of Python is a table.
_SEALED = {
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "python_enable_replacements": "false",
    "temp_directory": "",
}


class Session:
    """One connection, used by one thread; statements that take longer than `seconds` are interrupted.

    `invalid` are the errors that say that a file is not what it should be.
    """

    def __init__(self, connection: DuckDBPyConnection, seconds: float, invalid: tuple[type[Exception], ...]) -> None:
        self.connection = connection
        self.invalid = invalid
        self._seconds = seconds
        self._watch = _Watch(connection.interrupt)

    def rows(self, sql: str, parameters: Sequence[Any] | Mapping[str, Any] = ()) -> list[dict[str, Any]]:
        """All rows of a statement, by the names of its columns."""
        with self.timed():
            cursor = self.connection.execute(sql, parameters) if parameters else self.connection.execute(sql)
            return named(cursor, cursor.fetchall())

    def run(self, sql: str) -> None:
        """A statement without rows."""
        with self.timed():
            self.connection.execute(sql)

    @contextmanager
    def timed(self) -> Iterator[None]:
        """What runs inside is interrupted when it takes too long."""
        with self._watch.over(self._seconds):
            yield

    def stop(self) -> None:
        """Interrupt whatever runs, and what comes after it; may be called from another thread."""
        self._watch.end(at_once=True)

    def close(self) -> None:
        """Let go of the file."""
        self._watch.end()
        self.connection.close()


def named(cursor: DuckDBPyConnection, rows: Sequence[Sequence[Any]]) -> list[dict[str, Any]]:
    """Rows by the names of their columns."""
    names = [column[0] for column in cursor.description or ()]
    return [dict(zip(names, row, strict=True)) for row in rows]


class Sessions:
    """How a source is opened.

    Args:
        source: the configured name, for messages.
        path: the database file, or `MEMORY`.
        seconds: no statement runs longer.
        settings: of DuckDB, beside those that seal it.
    """

    def __init__(self, source: str, path: str, *, seconds: float, settings: Mapping[str, str]) -> None:
        self.source = source
        self._path = path
        self._seconds = seconds
        self._settings = dict(settings)
        self._gate = asyncio.Semaphore(1)

    async def look(self, work: Callable[[Session], T], *, read_only: bool = True, application: str = "reader") -> T:
        """What `work` makes of a session, in a thread; interrupted when the caller is cancelled.

        Raises a translated error for whatever DuckDB raises.
        """
        async with self._gate:
            opened: list[Session] = []
            task = asyncio.ensure_future(asyncio.to_thread(self._work, opened, work, read_only, application))
            try:
                return await asyncio.shield(task)
            except asyncio.CancelledError:
                while not task.done():
                    for session in opened:
                        session.stop()
                    await asyncio.wait({task}, timeout=_AGAIN_SECONDS)
                raise

    def _work(self, opened: list[Session], work: Callable[[Session], T], read_only: bool, application: str) -> T:
        library = load(self.source)
        try:
            session = self._open(library, read_only, application)
            opened.append(session)
            try:
                return work(session)
            finally:
                session.close()
        except library.Error as error:
            raise translate(error, self.source) from None

    def _open(self, library: Any, read_only: bool, application: str) -> Session:
        config = {**_SEALED, **self._settings, "custom_user_agent": f"dataswarm/{application}"}
        connection = library.connect(self._path, read_only=read_only and self._path != MEMORY, config=config)
        # Values are hashed and compared as text, so what changes how a value is written is pinned.
        connection.execute("set timezone = 'UTC'")
        return Session(connection, self._seconds, (library.InvalidInputException, library.IOException))


class _Watch:
    """A thread that interrupts what runs longer than it may, again and again until it ends."""

    def __init__(self, interrupt: Callable[[], None]) -> None:
        self._interrupt = interrupt
        self._changed = threading.Condition()
        self._due: float | None = None
        self._is_over = False
        self._is_stopped = False
        self._thread = threading.Thread(target=self._keep, name="duck-watch", daemon=True)
        self._thread.start()

    @contextmanager
    def over(self, seconds: float) -> Iterator[None]:
        self._set(time.monotonic() if self._is_stopped else time.monotonic() + seconds)
        try:
            yield
        finally:
            self._set(None)

    def end(self, *, at_once: bool = False) -> None:
        with self._changed:
            self._is_stopped = at_once
            self._is_over = not at_once
            self._due = time.monotonic() if at_once else None
            self._changed.notify()
        if not at_once:
            self._thread.join()

    def _set(self, due: float | None) -> None:
        with self._changed:
            self._due = due
            self._changed.notify()

    def _keep(self) -> None:
        with self._changed:
            while not self._is_over:
                left = None if self._due is None else self._due - time.monotonic()
                if left is not None and left <= 0:
                    self._interrupt()
                    left = _AGAIN_SECONDS
                self._changed.wait(left)
