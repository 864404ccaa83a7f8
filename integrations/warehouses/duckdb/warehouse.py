"""A DuckDB database file as a warehouse."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from pydantic import BaseModel

from config.errors import PermanentError, SetupError, SwarmError
from integrations.base import Catalog, Finding, Profile, Statement
from integrations.duck import Session, Sessions, Target, quoted, read_profile, read_rows, splits
from integrations.duck.casting import cast_test
from integrations.duck.library import load
from integrations.duck.profile import unknown
from integrations.warehouses.duckdb.catalog import read_catalog, read_fingerprint
from integrations.warehouses.duckdb.changes import apply
from integrations.warehouses.duckdb.options import DuckdbOptions

_FIND = """
select 'table' as kind, list(column_name order by column_index) as columns from duckdb_columns()
 where database_name = current_database() and schema_name = $1 and table_name = $2 and not internal
having count(*) > 0
"""
_IS_TABLE = """
select count(*) as n from duckdb_tables()
 where database_name = current_database() and schema_name = $1 and table_name = $2
"""
_VERSION = "select library_version as version from pragma_version()"


class DuckdbWarehouse:
    """A DuckDB file.

    Every look opens it read-only and closes it again, for DuckDB keeps other processes from writing while a reader
    has it open, and from reading while a writer has. A writer elsewhere is therefore a TransientError here, and
    looks of this source wait for one another. Files and extensions outside of it are out of reach: a view over
    `read_parquet(…)` is in the catalog and cannot be queried. `lock` of `execute` needs no lock of its own: the file
    is open for one writer alone.
    """

    kind: ClassVar[str] = "duckdb"
    Options: ClassVar[type[BaseModel]] = DuckdbOptions

    def __init__(self, name: str, options: DuckdbOptions) -> None:
        self.name = name
        self.options = options
        self._sessions = Sessions(
            name,
            str(options.path),
            seconds=options.statement_timeout_seconds,
            settings={
                "enable_external_access": "false",
                "memory_limit": options.memory_limit,
                "threads": str(options.threads),
            },
        )
        self._known: tuple[tuple[tuple[int, ...], ...], str] | None = None

    async def open(self) -> None:
        """See that the library is there; SetupError with the line that installs it."""
        load(self.name)

    async def close(self) -> None:
        """Nothing is held between calls."""

    async def examine(self) -> Sequence[Finding]:
        """Is it there, can it be read, how much is in it? Never raises for what it finds."""
        try:
            self._present()
            version = await self._sessions.look(lambda session: session.rows(_VERSION)[0]["version"])
            catalog = await self.catalog()
        except SwarmError as error:
            return [Finding(False, error.message, error.hint)]
        schemas = {t.schema for t in catalog.tables}
        findings = [Finding(True, f"DuckDB {version} reads {len(catalog.tables)} tables in {len(schemas)} schemas")]
        findings += [
            Finding(False, f"schema {name} does not exist or is empty", "check `schemas` of this source")
            for name in self.options.named_schemas
            if name not in schemas
        ]
        if not self.options.sketch_key.get_secret_value():
            findings.append(Finding(True, "sketches are not keyed", "set sketch_key to a random text of your own"))
        if not self.options.actor:
            findings.append(Finding(True, "no actor: nothing can be changed here", "set actor to allow remedies"))
        return findings

    async def catalog(self) -> Catalog:
        """Tables, views and what belongs to them, in one snapshot."""
        self._present()
        return await self._sessions.look(lambda session: read_catalog(session, self.options))

    async def fingerprint(self) -> str:
        """A hash of the structure; the file is not even opened while neither it nor its log has moved."""
        stamp = self._stamp()
        if self._known is None or self._known[0] != stamp:
            self._present()
            text = await self._sessions.look(lambda session: read_fingerprint(session, self.options))
            self._known = stamp, text
        return self._known[1]

    async def profile(self, table: str, *, columns: Sequence[str] | None = None, sketch: int = 0) -> Profile:
        """Counts of `schema.table`; a table of more than `sketch_rows` rows is sampled (`Profile.exact` tells)."""
        self._present()

        def count(session: Session) -> Profile:
            session.run("begin transaction")
            target = self._find(session, table)
            return read_profile(
                session,
                target,
                target.wanted(columns, table, self.name),
                sketch=sketch,
                key=self.options.sketch_key.get_secret_value(),
                limit_rows=self.options.sketch_rows,
            )

        return await self._sessions.look(count)

    async def query(self, sql: str, parameters: Sequence[Any] = (), *, limit: int = 1000) -> list[dict[str, Any]]:
        """Rows of one read-only statement, at most `limit`; the rest is not fetched."""
        self._present()
        return await self._sessions.look(
            lambda session: read_rows(session, sql, parameters, source=self.name, limit=limit)
        )

    async def execute(self, statements: Sequence[Statement], *, agent: str, lock: str = "") -> list[int]:
        """Run statements in one transaction; see the protocol. The file is open to nobody else meanwhile."""
        if not self.options.actor:
            raise SetupError(
                f"warehouse {self.name}: there is no actor to change it", hint="set `actor: true` for this source"
            )
        self._present()
        return await self._sessions.look(
            lambda session: apply(session, statements, self.name), read_only=False, application=agent
        )

    def quote(self, *names: str) -> str:
        """A dotted, quoted identifier. Beside parameters, a percent sign in it must still be doubled."""
        return quoted(*names)

    def cast_test(self, value: str, before: str, after: str) -> str | None:
        """What is surely of its old type still; see the protocol."""
        return cast_test(value, before, after)

    def _find(self, session: Session, table: str) -> Target:
        for schema, name in splits(table):
            found = session.rows(_FIND, [schema, name])
            if found:
                is_table = bool(session.rows(_IS_TABLE, [schema, name])[0]["n"])
                return Target(quoted(schema, name), tuple(found[0]["columns"]), is_sampled=is_table)
        raise unknown(table, self.name)

    def _present(self) -> None:
        """A writer would make a missing file; and no file is opened here by other means, for that frees its lock."""
        path = self.options.path
        if not path.exists():
            raise SetupError(f"warehouse {self.name}: there is no file {path}", hint="check `path` of this source")
        if not path.is_file():
            raise SetupError(f"warehouse {self.name}: {path} is no file", hint="name a DuckDB file in `path`")

    def _stamp(self) -> tuple[tuple[int, ...], ...]:
        """What the file system says of the file and its log, without opening either."""
        found: list[tuple[int, ...]] = []
        for path in (self.options.path, Path(f"{self.options.path}.wal")):
            try:
                status = path.stat()
            except FileNotFoundError:
                found.append((0,))
            except OSError as error:
                raise PermanentError(f"warehouse {self.name}: {path} cannot be looked at: {error.strerror}") from None
            else:
                found.append((status.st_ino, status.st_size, status.st_mtime_ns))
        return tuple(found)
