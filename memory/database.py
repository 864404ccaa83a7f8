"""The way into PostgreSQL: a bounded pool, transactions under a clearance, named statements, one map of errors.

Everything goes through `Database.transaction`: BEGIN, SET LOCAL ROLE and the time limits in one round trip, which
also works behind pgbouncer in transaction mode. Connections of a process: the pool, the listener, the heartbeat.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

import psycopg
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb
from psycopg_pool import AsyncConnectionPool

from config.assets import Asset
from config.errors import SetupError, SwarmError, TransientError, UsageError
from memory import statements
from memory.hints import CHANNEL, Hints
from memory.migrate import OLDEST_SERVER
from memory.records import Sensitivity
from memory.translation import translate

__all__ = ["Connection", "Database", "Jsonb", "Transaction", "translate"]

Connection = psycopg.AsyncConnection[dict[str, Any]]


class _AssetDumper(psycopg.adapt.Dumper):
    oid = psycopg.adapters.types["text"].oid

    def dump(self, obj: Asset) -> bytes:
        return str(obj).encode()


def _asset_or_json(connection: psycopg.AsyncConnection[Any]) -> None:
    """Dicts go in as jsonb, assets as text; both come back as Python's JSON and str."""
    connection.adapters.register_dumper(dict, psycopg.types.json.JsonbDumper)
    connection.adapters.register_dumper(Asset, _AssetDumper)


class Transaction:
    """One transaction; statements by name. Made by `Database.transaction`, of no use after it.

    Attributes:
        now: NULL in production (the server's clock); set by tests.
        clearance: what its role may read.
        durable: does its commit wait for the disk?
    """

    def __init__(
        self,
        connection: Connection,
        named: Mapping[str, str],
        now: datetime | None,
        clearance: Sensitivity,
        *,
        durable: bool,
    ) -> None:
        self._connection = connection
        self._named = named
        self.now = now
        self.clearance = clearance
        self.durable = durable
        self.hints: list[str] = []

    async def _execute(self, name: str, parameters: dict[str, Any]) -> psycopg.AsyncCursor[dict[str, Any]]:
        parameters.setdefault("now", self.now)
        try:
            return await self._connection.execute(self._named[name], parameters)
        except psycopg.Error as error:
            raise translate(error, statement=name) from None

    async def all(self, name: str, /, **parameters: Any) -> list[dict[str, Any]]:
        """Every row of a named statement. `%(now)s` is passed by itself; dicts go in as jsonb."""
        cursor = await self._execute(name, parameters)
        return await cursor.fetchall()

    async def one(self, name: str, /, **parameters: Any) -> dict[str, Any] | None:
        """The first row of a named statement, or None."""
        cursor = await self._execute(name, parameters)
        return await cursor.fetchone()

    async def run(self, name: str, /, **parameters: Any) -> int:
        """Execute a named statement; the number of rows it touched."""
        cursor = await self._execute(name, parameters)
        return cursor.rowcount

    def hint(self, channel_payload: str) -> None:
        """After the commit, tell listeners that there is something new. A pointer, never content."""
        self.hints.append(channel_payload)


class Database:
    """The swarm's own database, as the worker sees it.

    Attributes:
        clock: gives every transaction its `now`; None is the server's clock. Tests set it.
        url, listen_url: where the pool connects, and where LISTEN does (a direct address, not a transaction pooler).
        marks: low-water marks of the claims of this process, by agent: a hint that may be dropped at any time.
    """

    def __init__(
        self, pool: AsyncConnectionPool[Connection], url: str, listen_url: str, timeout_seconds: float
    ) -> None:
        self._pool = pool
        self._named = statements.all()
        self.url = url
        self.listen_url = listen_url
        self.clock: Callable[[], datetime | None] = lambda: None
        self.marks: dict[str, tuple[int, float]] = {}
        limits = self._named["limit_time"].format(
            milliseconds=int(timeout_seconds * 1000), idle=int(timeout_seconds * 2000)
        )
        self._begin = {
            (level, durable): ";".join(
                [self._named[f"begin_{level.name.lower()}"], limits, *([] if durable else [self._named["relax"]])]
            )
            for level in Sensitivity
            for durable in (True, False)
        }
        self._hints = Hints(self._notify)

    @classmethod
    async def open(
        cls,
        url: str,
        *,
        application_name: str,
        pool_size: int = 6,
        listen_url: str | None = None,
        prepare: bool = True,
        statement_timeout_seconds: float = 30,
    ) -> Database:
        """Connect and make sure that the login is neither too weak nor too mighty.

        Args:
            url: of a login that is a member of the three clearance roles (`dataswarm_worker`).
            application_name: as seen in pg_stat_activity, `dataswarm/<agent>` say.
            pool_size: the most connections the pool holds; listener and heartbeat add one each.
            listen_url: a direct address for LISTEN where `url` goes through pgbouncer.
            prepare: use prepared statements; False behind pgbouncer before 1.21.
            statement_timeout_seconds: a statement that takes longer is stopped.

        Raises:
            SetupError: no such server or database, an old server, a superuser, missing roles.
            TransientError: the server does not answer.
        """
        options: dict[str, Any] = {
            "autocommit": True,
            "application_name": application_name,
            "prepare_threshold": 2 if prepare else None,
            "row_factory": dict_row,
        }
        await cls._examine(url, options)

        async def configure(connection: Connection) -> None:
            _asset_or_json(connection)

        pool: AsyncConnectionPool[Connection] = AsyncConnectionPool(
            url,
            connection_class=psycopg.AsyncConnection[dict[str, Any]],
            kwargs=options,
            min_size=1,
            max_size=pool_size,
            open=False,
            configure=configure,
            name=application_name,
        )
        try:
            await pool.open(wait=True, timeout=30)
        except psycopg.Error as error:
            await pool.close()
            raise translate(error) from None
        return cls(pool, url, listen_url or url, statement_timeout_seconds)

    @staticmethod
    async def _examine(url: str, options: Mapping[str, Any]) -> None:
        try:
            async with await psycopg.AsyncConnection.connect(url, connect_timeout=10, **options) as connection:
                cursor = await connection.execute(statements.load("session")["who_am_i"])
                login = await cursor.fetchone()
        except psycopg.ProgrammingError as error:
            # libpq quotes the address in its message, and the address may hold a password.
            raise SetupError(
                f"the database's address cannot be used ({type(error).__name__})",
                hint="write postgresql://user@host:port/database",
            ) from None
        except psycopg.OperationalError as error:
            raise _unreachable(error) from None
        if login is None:
            raise SetupError("the server does not know the role that logged in")
        if login["version"] < OLDEST_SERVER:
            raise SetupError(f"PostgreSQL 15 or newer is needed, this is {login['version'] // 10000}")
        if login["too_mighty"]:
            raise SetupError(
                f"{login['name']} is a superuser or bypasses row-level security; the swarm refuses to work as one",
                hint="log in as dataswarm_worker (made by `dataswarm migrate`); only migrations run as the owner",
            )
        if not login["member"]:
            raise SetupError(
                f"{login['name']} is not a member of the roles dataswarm_public, _internal and _confidential",
                hint="run `dataswarm migrate` with the owner's address first, then log in as dataswarm_worker",
            )

    @asynccontextmanager
    async def transaction(
        self, *, clearance: Sensitivity = Sensitivity.INTERNAL, durable: bool = True
    ) -> AsyncIterator[Transaction]:
        """One transaction under a clearance; commits at the end, rolls back on any exception.

        Hints given inside are sent right after the commit, in a transaction of their own. With `durable=False` the
        commit does not wait for the disk: only for what is done again when lost (claims, heartbeats, access log).

        Raises:
            TransientError: no connection, or the server went away. When it went away *during* the commit, nobody
                knows whether it counted: what is repeated must carry a key.
            SwarmError: what the database refused, by `translate`.
        """
        connection = await self._started(clearance, durable=durable)
        try:
            transaction = Transaction(connection, self._named, self.clock(), clearance, durable=durable)
            try:
                yield transaction
                await self._commit(connection, transaction)
            except BaseException:
                await _roll_back(connection)
                raise
        except psycopg.Error as error:
            raise translate(error) from None
        finally:
            await self._pool.putconn(connection)

    async def _started(self, clearance: Sensitivity, *, durable: bool) -> Connection:
        """A connection inside a fresh transaction. Nothing has happened yet, so a dead one is simply replaced."""
        for _ in range(self._pool.max_size + 1):
            try:
                connection = await self._pool.getconn()
            except psycopg.Error as error:
                raise TransientError(
                    f"no connection to the database became free: {type(error).__name__}",
                    hint="is the server up, and pool_size large enough?",
                ) from None
            try:
                await connection.execute(self._begin[clearance, durable])
            except BaseException as error:
                broken = connection.broken
                await _roll_back(connection)
                await self._pool.putconn(connection)
                if isinstance(error, psycopg.OperationalError) and broken:
                    continue
                if isinstance(error, psycopg.Error):
                    raise translate(error) from None
                raise
            return connection
        raise TransientError("the database closed every connection", hint="it is restarting, perhaps")

    async def _commit(self, connection: Connection, transaction: Transaction) -> None:
        payloads = self._hints.offer(transaction.hints) if transaction.hints else []
        if not payloads:
            await connection.execute(self._named["commit"])
            return
        # COMMIT ends the transaction; the NOTIFY behind it is one of its own, in the same round trip.
        async with connection.pipeline():
            await connection.execute(self._named["commit"])
            await connection.execute(self._named["notify"], {"channel": CHANNEL, "payloads": payloads})

    async def _notify(self, payloads: Sequence[str]) -> None:
        async with self._pool.connection() as connection:
            await connection.execute(self._named["notify"], {"channel": CHANNEL, "payloads": list(payloads)})

    async def close(self) -> None:
        """Send the last hints and give every connection back."""
        await self._hints.flush()
        await self._pool.close()


async def _roll_back(connection: Connection) -> None:
    """End what is open; a dead connection has nothing open, and the pool throws it away."""
    try:
        await connection.rollback()
    except psycopg.Error:
        await connection.close()


def _unreachable(error: psycopg.OperationalError) -> SwarmError:
    translated = translate(error)
    if isinstance(translated, UsageError):
        return translated
    first = next(iter(str(error).strip().splitlines()), type(error).__name__)
    return TransientError(f"the database does not answer: {first}", hint="check the address and that it runs")
