"""One source behind its door: what each question of the protocol is, in the thread of one look."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import Connection

from config.errors import ConflictError, PermanentError, SetupError, SwarmError, TransientError, UsageError
from integrations.base import Catalog, Finding, Profile, Statement
from integrations.warehouses.sql import statements as texts
from integrations.warehouses.sql.choosing import manner_of
from integrations.warehouses.sql.drivers import read_url
from integrations.warehouses.sql.lanes import Cut
from integrations.warehouses.sql.options import SqlOptions
from integrations.warehouses.sql.profile import read_profile
from integrations.warehouses.sql.sessions import Sessions

READER = "dataswarm/reader"


class Source:
    """An engine as its reader and its actor.

    Args:
        name: the configured name.
        options: of the warehouse; SetupError where a URL cannot be used or a driver is missing.
    """

    def __init__(self, name: str, options: SqlOptions) -> None:
        self.name = name
        self.options = options
        self.manner = manner_of(name, options, read_url(name, options.url).get_backend_name())
        self.reader = Sessions(self.manner, options.url, writes=False)
        self.actor: Sessions | None = None
        if options.actor_url:
            acting = manner_of(name, options, read_url(name, options.actor_url).get_backend_name())
            self.actor = Sessions(acting, options.actor_url, writes=True)

    def examine(self, cut: Cut) -> list[Finding]:
        """Findings about the reader, then about the actor; never raises for what it finds."""
        findings: list[Finding] = []
        try:
            with self.reader.session(cut, application=READER) as connection:
                findings += self.manner.examine(connection, writes=False)
        except SwarmError as error:
            findings.append(Finding(False, error.message, error.hint))
        if not self.options.sketch_key.get_secret_value():
            findings.append(Finding(True, "sketches are not keyed", "set sketch_key to a random text of your own"))
        if self.actor is None:
            findings.append(Finding(True, "no actor: nothing can be changed here", "set actor_url to allow remedies"))
            return findings
        try:
            with self.actor.session(cut, application=READER) as connection:
                findings += self.actor.manner.examine(connection, writes=True)
        except SwarmError as error:
            findings.append(Finding(False, f"actor: {error.message}", error.hint))
        return findings

    def catalog(self, cut: Cut) -> Catalog:
        """The whole structure as of now."""
        with self.reader.session(cut, application=READER, pinned=True) as connection:
            return self.manner.catalog(connection)

    def fingerprint(self, cut: Cut) -> str:
        """Another text whenever the structure may be another."""
        with self.reader.session(cut, application=READER, pinned=True) as connection:
            return self.manner.fingerprint(connection)

    def profile(self, cut: Cut, table: str, columns: Sequence[str] | None, sketch: int) -> Profile:
        """Counts of one table, in one transaction where that holds nobody up."""
        within = self.reader.transaction if self.manner.counts_in_one_transaction else self.reader.session
        with within(cut, application=READER, pinned=True) as connection:
            return read_profile(
                connection,
                self.manner,
                table,
                columns=columns,
                sketch=sketch,
                key=self.options.sketch_key.get_secret_value(),
                limit_rows=self.options.sketch_rows,
            )

    def query(self, cut: Cut, sql: str, parameters: Sequence[Any], limit: int) -> list[dict[str, Any]]:
        """Rows of one query, rolled back."""
        if limit <= 0:
            return []
        with self.reader.transaction(cut, application=READER) as connection:
            self._named(lambda: self.manner.require_query(connection, sql, limit))
            # SQLite's dialect would cut a name at its dot.
            result = self._sent(
                connection, sql, parameters, stream_results=self.manner.streams, sqlite_raw_colnames=True
            )
            if not result.returns_rows:
                return []
            names = list(result.keys())
            rows = [dict(zip(names, row, strict=True)) for row in result.fetchmany(limit)]
            result.close()
            return rows

    def execute(self, cut: Cut, statements: Sequence[Statement], agent: str, lock: str) -> list[int]:
        """Run statements as one transaction of the actor; rows touched by each."""
        if self.actor is None:
            raise SetupError(
                f"warehouse {self.name}: there is no actor to change it", hint="set actor_url of this source"
            )
        manner = self.actor.manner
        counted = [s.rows is not None for s in statements]
        self._named(lambda: manner.require_steps([s.sql for s in statements], counted))
        touched: list[int] = []
        with self.actor.session(cut, application=f"dataswarm/{agent}") as connection:
            if lock:
                manner.lock(connection, lock)
            with self.actor.within(connection):
                for number, statement in enumerate(statements, start=1):
                    touched.append(self._step(connection, number, statement))
                if cut.is_made:
                    raise TransientError(f"warehouse {self.name}: given up before it was done; all was rolled back")
                manner.commit(connection)
        return touched

    def _step(self, connection: Connection, number: int, statement: Statement) -> int:
        assert self.actor is not None  # noqa: S101 - `execute` looked
        result = self._sent(connection, statement.sql, statement.parameters)
        rows = int(result.rowcount)
        result.close()
        manner = self.actor.manner
        if not manner.is_inside(connection) and not manner.commits_at(statement.sql):
            raise PermanentError(f"warehouse {self.name}: statement {number} ended the transaction it was in")
        if statement.rows is not None and rows != statement.rows:
            raise ConflictError(
                f"warehouse {self.name}: statement {number} touched {rows} rows"
                f" where {statement.rows} were expected; all was rolled back"
            )
        return rows

    def _sent(self, connection: Connection, sql: str, parameters: Sequence[Any], **options: Any) -> Any:
        style = connection.dialect.paramstyle
        text, given = self._named(lambda: texts.placed(sql, parameters, style))
        try:
            return self.manner.say(connection, text, self.manner.bound(given), **options)
        except (TypeError, ValueError, OverflowError, LookupError) as error:
            # A mistake in how it was put (types, sizes): the text may quote a parameter.
            raise PermanentError(f"warehouse {self.name}: {type(error).__name__} while sending a statement") from None

    def _named(self, ask: Callable[[], Any]) -> Any:
        """What `ask` gives; its UsageError names this source."""
        try:
            return ask()
        except UsageError as error:
            raise UsageError(f"warehouse {self.name}: {error.message}", hint=error.hint) from None
