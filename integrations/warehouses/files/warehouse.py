"""A folder of files as a warehouse: read through views of DuckDB in memory, never changed."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from typing import Any, ClassVar, Final

from pydantic import BaseModel

from config.errors import SetupError, SwarmError
from integrations.base import Catalog, Finding, Profile, Statement
from integrations.duck import Session, Sessions, Target, parameterised, quoted, read_profile, read_rows, splits
from integrations.duck.casting import cast_test
from integrations.duck.library import load
from integrations.duck.profile import unknown
from integrations.duck.reading import only_reads
from integrations.duck.session import MEMORY
from integrations.duck.words import literal, pattern
from integrations.warehouses.files.catalog import read_catalog
from integrations.warehouses.files.folder import FileTable, Folder, look
from integrations.warehouses.files.known import Known
from integrations.warehouses.files.options import FilesOptions
from integrations.warehouses.files.union import unite, view

_PART: Final = re.compile(r'"((?:[^"]|"")*)"|([^."\s]+)')
_DOT: Final = "."


class FilesWarehouse:
    """A folder of Parquet, CSV and JSON files.

    A query sees the tables it names and no other file: DuckDB is told which paths it may open, and then that it may
    open no more. `fingerprint` is what the file system says, so it moves with the data as well; the catalog then reads
    again only the files that moved.
    """

    kind: ClassVar[str] = "files"
    Options: ClassVar[type[BaseModel]] = FilesOptions

    def __init__(self, name: str, options: FilesOptions) -> None:
        self.name = name
        self.options = options
        self._known = Known(name, options.sample_rows)
        self._sessions = Sessions(
            name,
            MEMORY,
            seconds=options.statement_timeout_seconds,
            settings={"memory_limit": options.memory_limit, "threads": str(options.threads)},
        )

    async def open(self) -> None:
        """See that the library is there; SetupError with the line that installs it."""
        load(self.name)

    async def close(self) -> None:
        """Nothing is held between calls."""

    async def examine(self) -> Sequence[Finding]:
        """Is it there, can every file be read? Never raises for what it finds."""
        try:
            folder = await self._folder()
            catalog = await self.catalog()
        except SwarmError as error:
            return [Finding(False, error.message, error.hint)]
        files = sum(len(table.files) for table in folder.tables)
        findings = [Finding(True, f"reads {len(catalog.tables)} tables of {files} files in {self.options.path}")]
        if not self.options.sketch_key.get_secret_value():
            findings.append(Finding(True, "sketches are not keyed", "set sketch_key to a random text of your own"))
        return [*findings, Finding(True, "no actor: files are never changed")]

    async def catalog(self) -> Catalog:
        """Tables and columns; only files whose size or time changed since the last look are read."""
        folder = await self._folder()
        return await self._sessions.look(lambda session: read_catalog(session, folder, self._known))

    async def fingerprint(self) -> str:
        """A hash of names, sizes and times; no file is opened."""
        return (await self._folder()).fingerprint

    async def profile(self, table: str, *, columns: Sequence[str] | None = None, sketch: int = 0) -> Profile:
        """Counts of `schema.table`; a table of more than `sketch_rows` rows is sampled (`Profile.exact` tells)."""
        folder = await self._folder()

        def count(session: Session) -> Profile:
            found = self._named(folder, list(splits(table)), exactly=True)
            if not found:
                raise unknown(table, self.name)
            target = self._show(session, folder, found)[0]
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
        """Rows of one read-only statement over the tables of the folder, at most `limit`."""
        folder = await self._folder()

        def read(session: Session) -> list[dict[str, Any]]:
            text = parameterised(sql, parameters, self.name, blank=True)
            # Before anything else looks at it: the search for names carries an EXPORT half out.
            only_reads(session, text, self.name)
            names = session.connection.get_table_names(text, qualified=True)
            self._show(session, folder, self._named(folder, [_parts(name) for name in names]))
            return read_rows(session, sql, parameters, source=self.name, limit=limit)

        return await self._sessions.look(read)

    async def execute(self, statements: Sequence[Statement], *, agent: str, lock: str = "") -> list[int]:
        """SetupError: files belong to whoever writes them."""
        raise SetupError(
            f"source {self.name}: files are never changed", hint="change what writes them, or the models that read them"
        )

    def quote(self, *names: str) -> str:
        """A dotted, quoted identifier. Beside parameters, a percent sign in it must still be doubled."""
        return quoted(*names)

    def cast_test(self, value: str, before: str, after: str) -> str | None:
        """What is surely of its old type still; see the protocol."""
        return cast_test(value, before, after)

    async def _folder(self) -> Folder:
        return await asyncio.to_thread(look, self.options, self.name)

    def _named(self, folder: Folder, names: Sequence[tuple[str, str]], *, exactly: bool = False) -> list[FileTable]:
        """The tables that are meant; case counts only where they are asked for `exactly`."""

        def same(one: str, other: str) -> bool:
            return one == other if exactly else one.lower() == other.lower()

        return [
            table
            for table in folder.tables
            if any(same(name, table.name) and (not schema or same(schema, folder.schema)) for schema, name in names)
        ]

    def _show(self, session: Session, folder: Folder, tables: Sequence[FileTable]) -> list[Target]:
        """Make the views of these tables, and shut every other file out for the rest of the session."""
        session.run(f"create schema if not exists {quoted(folder.schema)}")
        targets, paths = [], []
        for table in tables:
            structures = self._known.structures(session, table)
            union = unite(session, table, structures)
            session.run(view(folder.schema, table, structures, union))
            targets.append(Target(quoted(folder.schema, table.name), tuple(c.name for c in union.columns)))
            paths += [name for path in structures for name in (path, pattern(path))]
        session.run(f"use {quoted(folder.schema)}")
        session.run(f"set allowed_paths = [{', '.join(map(literal, paths))}]")
        session.run("set enable_external_access = false")
        session.run("set lock_configuration = true")
        return targets


def _parts(name: str) -> tuple[str, str]:
    """Schema and table of a name as DuckDB's parser writes it, an alias behind it left out; no schema is empty."""
    parts, place = [], 0
    while found := _PART.match(name, place):
        parts.append(found[2] or found[1].replace('""', '"'))
        place = found.end()
        if name[place : place + 1] != _DOT:
            break
        place += 1
    return (parts[-2] if len(parts) > 1 else ""), (parts[-1] if parts else "")
