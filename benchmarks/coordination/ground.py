"""The ground all stand on: one embedded server on a disk with fsync on, and a fresh database for every measurement."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import psycopg
from psycopg import sql

from benchmarks.coordination.actors import Actor
from benchmarks.coordination.contenders import Contender
from benchmarks.machine import on_disk, server_settings
from config.errors import SetupError
from memory.server.embedded import EmbeddedServer


class Ground:
    """A server of this run's own. Use `Ground.laid`."""

    def __init__(self, server: EmbeddedServer, directory: Path, cache: Path) -> None:
        self._server = server
        self._directory = directory
        self._cache = cache
        self._templates: dict[str, str] = {}
        self._made = 0
        self.settings = server_settings(server.url)

    @classmethod
    @asynccontextmanager
    async def laid(cls, place: Path, cache: Path) -> AsyncIterator[Ground]:
        """Start the server in a new directory beneath `place`; stopped and removed in the end.

        Raises:
            SetupError: the place is not on a disk, or the server does not start.
        """
        directory = _made(place)
        server = await asyncio.to_thread(EmbeddedServer.start, directory / "pg")
        try:
            yield cls(server, directory, cache)
        finally:
            await asyncio.to_thread(server.stop)
            shutil.rmtree(directory, ignore_errors=True)

    def actor(self, contender: Contender, database: str) -> Actor:
        """A process of the contender on a database; its standard error is kept in a file of the run."""
        role = contender.role or "postgres"
        url = self._server.url_for(database=database, user=role)
        return Actor(contender, url, self._cache, self._directory / f"{contender.name}.log")

    async def install(self, contender: Contender) -> None:
        """Make the database that its fresh ones are copied from.

        Raises:
            AskedInVainError: its own installation fails.
        """
        name = "template_" + contender.name.replace(" ", "_").replace("-", "_")
        await asyncio.to_thread(self._server.create_database, name)
        owner = Contender(contender.name, contender.version)  # installing takes a superuser
        async with self.actor(owner, name) as actor:
            await actor.ask("install", within=120)
        self._templates[contender.name] = name

    @asynccontextmanager
    async def fresh(self, contender: Contender) -> AsyncIterator[str]:
        """A fresh database with its schema; whatever others left to write is on the disk before it is given."""
        self._made += 1
        name = f"bench_{self._made}"
        await asyncio.to_thread(self._copy, self._templates[contender.name], name)
        try:
            yield name
        finally:
            await asyncio.to_thread(self._drop, name)

    def settle(self) -> None:
        """A checkpoint: nobody pays for what another left."""
        with psycopg.connect(self._server.url, autocommit=True) as connection:
            connection.execute("CHECKPOINT")

    def tend(self, database: str) -> None:
        """What autovacuum would have done by the time that much history has gathered."""
        with psycopg.connect(self._server.url_for(database=database), autocommit=True) as connection:
            connection.execute("VACUUM (ANALYZE)")

    def _copy(self, template: str, name: str) -> None:
        with psycopg.connect(self._server.url, autocommit=True) as connection:
            connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [template])
            connection.execute(
                sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(template))
            )
            connection.execute("CHECKPOINT")

    def _drop(self, name: str) -> None:
        with psycopg.connect(self._server.url, autocommit=True) as connection:
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    @asynccontextmanager
    async def pinned(self, database: str) -> AsyncIterator[None]:
        """Somebody holds an old snapshot with a transaction of its own open, as a forgotten session does."""
        url = self._server.url_for(database=database)
        async with await psycopg.AsyncConnection.connect(url) as connection:
            await connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            await connection.execute("SELECT pg_current_xact_id()")
            try:
                yield
            finally:
                await connection.rollback()


def _made(place: Path) -> Path:
    """A new directory on a disk; the server runs as a user of its own where we are root, and must be let in."""
    if not on_disk(place.resolve()):
        raise SetupError(f"{place} is memory, where waiting for the disk costs nothing", hint="--directory DIR")
    directory = Path(tempfile.mkdtemp(prefix="dataswarm-bench-", dir=place))
    directory.chmod(0o755)
    return directory
