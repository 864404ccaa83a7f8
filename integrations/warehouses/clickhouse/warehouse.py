"""A ClickHouse server, or an embedded one, as a warehouse."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Final
from urllib.parse import unquote, urlsplit

from pydantic import BaseModel, SecretStr

from config.errors import PermanentError, SetupError, SwarmError
from integrations.base import Catalog, Finding, Profile, Statement
from integrations.warehouses.clickhouse import reaching
from integrations.warehouses.clickhouse.casting import cast_test
from integrations.warehouses.clickhouse.catalog import read_catalog, read_fingerprint
from integrations.warehouses.clickhouse.embedded import EmbeddedTransport
from integrations.warehouses.clickhouse.options import ClickhouseOptions
from integrations.warehouses.clickhouse.profile import read_profile
from integrations.warehouses.clickhouse.reaching import INSIDE, Reach
from integrations.warehouses.clickhouse.server import ServerTransport
from integrations.warehouses.clickhouse.transport import Conversation, Transport
from integrations.warehouses.clickhouse.words import literal, parameterised, quoted

_READER: Final = "reader"
_VERSION: Final = "select version() as version, currentUser() as user"
_FUNCTIONS: Final = "select name from system.table_functions"
_TABLES: Final = """
select name, database = currentDatabase() as here, database from system.tables where name in {names}
"""


class ClickhouseWarehouse:
    """A ClickHouse (24.3 or newer): `http://…` and `https://…` by clickhouse-connect, `chdb:///path` by chdb.

    The way to a server has not been tried against a live one by the project's own tests; `examine` says so. ClickHouse
    cannot take back what a statement did: `execute` runs one statement at a time and promises no count before it, and
    refuses whatever would need a transaction. It has no locks to name, so `lock` holds nobody back.
    """

    kind: ClassVar[str] = "clickhouse"
    Options: ClassVar[type[BaseModel]] = ClickhouseOptions

    def __init__(self, name: str, options: ClickhouseOptions) -> None:
        self.name = name
        self.options = options
        self._reader = self._transport(options.url)
        self._actor = self._transport(options.actor_url) if options.actor_url else None
        if options.actor_url and options.actor_url == options.url:
            # One directory, one gate: two transports would find it locked by each other.
            self._actor = self._reader

    async def open(self) -> None:
        """Read the URLs, find the libraries; SetupError where one is missing or cannot be understood."""
        self._way(self._reader).check()
        if self.options.actor_url:
            self._way(self._actor).check()

    async def close(self) -> None:
        """End what is kept for the next call."""
        for way in filter(None, (self._reader, self._actor)):
            way.close()

    async def examine(self) -> Sequence[Finding]:
        """Is it there, can it be read, how much is in it? Never raises for what it finds."""
        try:
            way = self._way(self._reader)
            async with way.look(read_only=True, application=_READER) as talk:
                version = (await talk.rows(_VERSION)).rows[0]
            catalog = await self.catalog()
        except SwarmError as error:
            return [Finding(False, error.message, error.hint)]
        schemas = {t.schema for t in catalog.tables}
        what = f"ClickHouse {version['version']} ({way.described}) as {version['user']}"
        findings = [Finding(True, f"{what} reads {len(catalog.tables)} tables in {len(schemas)} databases")]
        findings += [
            Finding(False, f"database {name} does not exist or is empty", "check `schemas` of this source")
            for name in self.options.named_schemas
            if name not in schemas
        ]
        if isinstance(way, ServerTransport):
            findings.append(
                Finding(True, "reading a live server over HTTP has not been tried by the project's own tests")
            )
        if not self.options.sketch_key.get_secret_value():
            findings.append(Finding(True, "sketches are not keyed", "set sketch_key to a random text of your own"))
        if not self.options.actor_url:
            findings.append(Finding(True, "no actor: nothing can be changed here", "set actor_url to allow remedies"))
        return findings

    async def catalog(self) -> Catalog:
        """Tables, views and what belongs to them."""
        async with self._way(self._reader).look(read_only=True, application=_READER) as talk:
            return await read_catalog(talk, self.options)

    async def fingerprint(self) -> str:
        """A hash of the statements that make the tables, and of the grants."""
        async with self._way(self._reader).look(read_only=True, application=_READER) as talk:
            return await read_fingerprint(talk, self.options)

    async def profile(self, table: str, *, columns: Sequence[str] | None = None, sketch: int = 0) -> Profile:
        """Counts of `database.table`; a table of more than `sketch_rows` rows is sampled (`Profile.exact` tells)."""
        async with self._way(self._reader).look(read_only=True, application=_READER) as talk:
            return await read_profile(
                talk,
                table,
                source=self.name,
                columns=columns,
                sketch=sketch,
                key=self.options.sketch_key.get_secret_value(),
                limit_rows=self.options.sketch_rows,
            )

    async def query(self, sql: str, parameters: Sequence[Any] = (), *, limit: int = 1000) -> list[dict[str, Any]]:
        """Rows of one SELECT over the tables that are there, at most `limit`."""
        text = parameterised(sql, parameters, self.name)
        reach = reaching.of_query(text, self.name)
        async with self._way(self._reader).look(read_only=True, application=_READER) as talk:
            await self._stays_inside(talk, reach)
            bounds = {"max_result_rows": str(max(1, limit)), "result_overflow_mode": "break"}
            return list((await talk.rows(text, bounds)).rows[:limit])

    async def execute(self, statements: Sequence[Statement], *, agent: str, lock: str = "") -> list[int]:
        """Run at most one statement as the actor; the rows an INSERT wrote, -1 for any other.

        SetupError for more than one and for a count that must hold: neither could be undone.
        """
        if not self.options.actor_url:
            raise SetupError(
                f"warehouse {self.name}: there is no actor to change it", hint="set actor_url of this source"
            )
        if len(statements) > 1 or any(s.rows is not None for s in statements):
            raise SetupError(
                f"warehouse {self.name}: ClickHouse cannot take back what a statement did, so it takes one statement"
                " at a time here, and none that must touch a number of rows",
                hint="let a human apply it, or change the models instead",
            )
        if not statements:
            return []
        text = parameterised(statements[0].sql, statements[0].parameters, self.name)
        reach = reaching.of_change(text, self.name)
        way = self._way(self._actor)
        async with way.look(read_only=False, application=agent) as talk:
            await self._stays_inside(talk, reach)
            written = (await talk.rows(text)).written
        return [written if text.lstrip().lower().startswith("insert") else -1]

    def quote(self, *names: str) -> str:
        """A dotted, quoted identifier. Beside parameters, a percent sign in it must still be doubled."""
        return quoted(*names)

    def cast_test(self, value: str, before: str, after: str) -> str | None:
        """What is surely of its old type still; see the protocol."""
        return cast_test(value, before, after)

    async def _stays_inside(self, talk: Conversation, reach: Reach) -> None:
        """Every table that is named is there, and nothing is called that reads files or addresses."""
        outside = {r["name"].lower() for r in (await talk.rows(_FUNCTIONS)).rows} - INSIDE
        if called := sorted(reach.functions & (outside | {"file"})):
            raise PermanentError(f"warehouse {self.name}: a statement may not call {', '.join(called)}")
        if not reach.tables:
            return
        names = ", ".join(sorted({literal(name) for _, name in reach.tables}))
        rows = (await talk.rows(_TABLES.replace("{names}", f"({names})"))).rows
        there = {(r["database"], r["name"]) for r in rows} | {("", r["name"]) for r in rows if r["here"]}
        if missing := sorted(reach.tables - there):
            raise PermanentError(
                f"warehouse {self.name}: there is no table {'.'.join(filter(None, missing[0]))!r}",
                hint="was it renamed or dropped?",
            )

    def _transport(self, url: SecretStr) -> Transport | None:
        """None where the URL cannot be read; said when it is used."""
        try:
            parts = urlsplit(url.get_secret_value())
            is_port = parts.port is None or parts.port > 0
        except ValueError:
            return None
        seconds = self.options.statement_timeout_seconds
        if parts.scheme == "chdb" and not parts.netloc and len(parts.path) > 1:
            return EmbeddedTransport(self.name, unquote(parts.path), seconds=seconds)
        if parts.scheme in ("http", "https") and parts.hostname and is_port:
            return ServerTransport(self.name, parts, seconds=seconds)
        return None

    def _way(self, transport: Transport | None) -> Transport:
        if transport is None:
            raise SetupError(
                f"warehouse {self.name}: the URL cannot be read",
                hint="write http://user:password@host:8123/database or chdb:///path, odd characters percent-encoded",
            )
        return transport
