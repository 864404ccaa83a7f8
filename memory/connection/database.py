"""The way into PostgreSQL: a bounded pool, transactions under a clearance, named statements, one map of errors.

Everything goes through `Database.transaction`: BEGIN, the role and the time limits travel with the first statement, in
one round trip, which also works behind pgbouncer in transaction mode. A single statement (`Database.once`) takes its
COMMIT and its hint along too. Connections of a process: the pool, the listener, the heartbeat.
"""

from __future__ import annotations

import asyncio
import logging
import select
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

import psycopg
from psycopg.pq import TransactionStatus
from psycopg.rows import dict_row, tuple_row
from psycopg.types.json import Jsonb
from psycopg_pool import AsyncConnectionPool

from config.errors import SetupError, SwarmError, TransientError, UsageError
from memory.connection import packing, statements
from memory.connection.hints import CHANNEL, Hints
from memory.connection.packing import Numbers, Tokens
from memory.connection.translation import translate
from memory.connection.wire import Asked, Row, exchange
from memory.records import Sensitivity
from memory.vault.envelopes import CLOSED, Vault

_log = logging.getLogger(__name__)
__all__ = ["Connection", "Database", "Jsonb", "Numbers", "Row", "Tokens", "Transaction", "translate"]

Connection = psycopg.AsyncConnection[dict[str, Any]]


OLDEST_SERVER = 150000
KEPT = 4
KEPT_SECONDS = 300.0  # then it goes through the pool, which renews old connections
After = Callable[["Transaction"], Awaitable[None]]


class Transaction:
    """One transaction; statements by name. Made by `Database.transaction`, of no use after it.

    Attributes:
        now: NULL in production (the server's clock); set by tests.
        clearance: what its role may read.
        durable: does its commit wait for the disk?
        database: whose it is.
    """

    def __init__(
        self, database: Database, connection: Connection, now: datetime | None, clearance: Sensitivity, *, durable: bool
    ) -> None:
        self.database = database
        self._connection = connection
        self.now = now
        self.clearance = clearance
        self.durable = durable
        self.hints: list[str] = []
        self.afterwards: list[After] = []
        self.besides: list[After] = []
        self.is_begun = False

    async def _execute(
        self, name: str, parameters: dict[str, Any], *, is_hot: bool = False
    ) -> psycopg.AsyncCursor[Any]:
        parameters.setdefault("now", self.now)
        try:
            while not self.is_begun:
                try:
                    return await self.database.begin(self, name, parameters, is_hot=is_hot)
                except psycopg.OperationalError:
                    # Nothing has happened yet, so a dead connection is simply replaced.
                    if not self._connection.broken:
                        raise
                    self._connection = await self.database.replace(self._connection)
            return await self.database.send(self._connection, name, parameters, is_hot=is_hot)
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

    async def rows(self, name: str, /, **parameters: Any) -> list[Row]:
        """Every row as a tuple, fetched in binary: for what is read by the thousand."""
        cursor = await self._execute(name, parameters, is_hot=True)
        return await cursor.fetchall()

    async def run(self, name: str, /, **parameters: Any) -> int:
        """Execute a named statement; the number of rows it touched."""
        cursor = await self._execute(name, parameters)
        return cursor.rowcount

    def hint(self, channel_payload: str) -> None:
        """After the commit, tell listeners that there is something new. A pointer, never content."""
        self.hints.append(channel_payload)

    def after(self, action: After) -> None:
        """Once committed, do this in a transaction of its own, once however often it was asked for.

        For what must not hold locks while this transaction goes on, and what somebody else does too, later, should
        this process die in between. A failure there is logged and is no failure of this transaction.
        """
        if action not in self.afterwards:
            self.afterwards.append(action)

    def beside(self, action: After) -> None:
        """As `after`, but nobody waits for it: it goes on beside what is done next, once at a time in this process."""
        if action not in self.besides:
            self.besides.append(action)


class Database:
    """The swarm's own database, as the worker sees it.

    Attributes:
        clock: gives every transaction its `now`; None is the server's clock. Tests set it.
        url, listen_url: where the pool connects, and where LISTEN does (a direct address, not a transaction pooler).
        vault: seals and opens what is confidential; closed until somebody gives it keys.
        remembered: what modules keep for this database between calls; a hint that may be dropped at any time.
    """

    def __init__(
        self,
        pool: AsyncConnectionPool[Connection],
        url: str,
        listen_url: str,
        timeout_seconds: float,
        *,
        prepare: bool = True,
    ) -> None:
        self._pool = pool
        self._prepares = prepare
        self._kept: list[tuple[Connection, float]] = []  # out of the pool, and idle: the last one used is the next
        self._since: dict[Connection, float] = {}
        self._asking = 0
        self._closed = False
        self._going: dict[After, asyncio.Task[None]] = {}
        self._named = statements.all()
        self.url = url
        self.listen_url = listen_url
        self.clock: Callable[[], datetime | None] = lambda: None
        self.vault: Vault = CLOSED
        self.remembered: dict[str, Any] = {}
        self._limits = {
            "statement": f"{int(timeout_seconds * 1000)}ms",
            "idle": f"{int(timeout_seconds * 2000)}ms",
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
            packing.register(connection)

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
        return cls(pool, url, listen_url or url, statement_timeout_seconds, prepare=prepare)

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
        connection = await self._borrowed()
        transaction = Transaction(self, connection, self.clock(), clearance, durable=durable)
        try:
            try:
                yield transaction
                if transaction.is_begun:
                    await self._commit(transaction)
            except BaseException:
                await _roll_back(transaction._connection)  # noqa: SLF001 - the other half of this module's pair
                raise
        except psycopg.Error as error:
            raise translate(error) from None
        finally:
            await self._return(transaction._connection)  # noqa: SLF001
        for action in transaction.besides:
            self._beside(action)
        for action in transaction.afterwards:
            await self.follow(action)

    async def follow(self, action: After) -> None:
        """Do what follows a commit, in a transaction of its own; a failure is logged, for others do it later too."""
        try:
            async with self.transaction(durable=False) as tx:
                await action(tx)
        except SwarmError as error:
            _log.warning("what follows a commit failed, and is made up for later", extra={"error": error.code})

    def _beside(self, action: After) -> None:
        if action not in self._going:
            task = asyncio.get_running_loop().create_task(self.follow(action), name="dataswarm-beside")
            self._going[action] = task
            task.add_done_callback(lambda _: self._going.pop(action))

    async def once(
        self,
        name: str | tuple[str, ...],
        parameters: dict[str, Any],
        *,
        hints: Callable[[list[Row]], Sequence[str]] | Sequence[str] = (),
        clearance: Sensitivity = Sensitivity.INTERNAL,
        durable: bool = True,
    ) -> list[Row]:
        """One statement, or a few, as a transaction, in one round trip; the rows of the last one as tuples.

        Args:
            name: of the statement, or the names of several.
            parameters: theirs; `now` is added.
            hints: told with the commit; or what gives them once the rows are known, told right behind it.
            clearance: what its role may read.
            durable: does its commit wait for the disk?

        Raises:
            TransientError: no connection, or it broke; nobody knows then whether the statement counted.
            SwarmError: what the database refused.
        """
        parameters.setdefault("now", self.clock())
        telling = () if callable(hints) else self._hints.offer(hints)
        role = {"role": f"dataswarm_{clearance.name.lower()}", **self._limits}
        names = (name,) if isinstance(name, str) else name
        name = names[-1]
        sent: list[list[Asked]] = [[(self._named["enter" if durable else "enter_relaxed"], role)]]
        sent[0] += [(self._named[one], parameters) for one in names]
        if telling:  # in a transaction of its own: a NOTIFY takes a lock on the whole server when it commits
            sent.append([(self._named["notify"], {"channel": CHANNEL, "payloads": list(telling)})])
        connection = await self._borrowed()
        try:
            answers = await exchange(connection, sent, prepare=self._prepares)
        except psycopg.Error as error:
            raise translate(error, statement=name) from None
        finally:
            await self._return(connection)
        rows = answers[0]
        if isinstance(rows, psycopg.Error):
            raise translate(rows, statement=name) from None
        if callable(hints) and (found := hints(rows)):
            self.tell(found)
        return rows

    def tell(self, payloads: Sequence[str]) -> None:
        """Tell listeners in a moment, in a transaction of its own."""
        self._hints.later(payloads)

    async def _borrowed(self) -> Connection:
        """A connection that was not cut while it lay idle."""
        while self._kept:
            connection, since = self._kept.pop()
            if not _is_cut(connection):
                self._since[connection] = since
                return connection
            await self._discard(connection)
        for _ in range(self._pool.max_size + 1):
            self._asking += 1
            try:
                connection = await self._pool.getconn()
            except psycopg.Error as error:
                raise TransientError(
                    f"no connection to the database became free: {type(error).__name__}",
                    hint="is the server up, and pool_size large enough?",
                ) from None
            finally:
                self._asking -= 1
            if not _is_cut(connection):
                return connection
            await self._discard(connection)
        raise TransientError("the database closed every connection", hint="it is restarting, perhaps")

    async def _return(self, connection: Connection) -> None:
        """Keep it at hand for the next one; a way through the pool costs more than a small statement."""
        now = asyncio.get_running_loop().time()
        since = self._since.pop(connection, now)
        if (
            self._asking
            or self._closed
            or now - since > KEPT_SECONDS
            or len(self._kept) >= KEPT
            or connection.pgconn.transaction_status != TransactionStatus.IDLE
        ):
            await self._pool.putconn(connection)
        else:
            self._kept.append((connection, since))

    async def _discard(self, connection: Connection) -> None:
        await connection.close()
        await self._pool.putconn(connection)

    async def replace(self, connection: Connection) -> Connection:
        """Another connection for one that is dead."""
        await self._discard(connection)
        return await self._borrowed()

    async def begin(
        self, tx: Transaction, name: str, parameters: dict[str, Any], *, is_hot: bool
    ) -> psycopg.AsyncCursor[Any]:
        """Begin a transaction with its first statement."""
        connection = tx._connection  # noqa: SLF001
        try:
            async with connection.pipeline():
                await connection.execute(self._named["begin"])
                enter = self._enter(connection, name, parameters, tx.clearance, durable=tx.durable, is_hot=is_hot)
                cursor = await enter
        except psycopg.Error:
            tx.is_begun = not connection.broken  # a cut line shows when the pipeline ends: nothing has begun then
            raise
        tx.is_begun = True
        return cursor

    async def _enter(
        self,
        connection: Connection,
        name: str,
        parameters: dict[str, Any],
        clearance: Sensitivity,
        *,
        durable: bool,
        is_hot: bool,
    ) -> psycopg.AsyncCursor[Any]:
        role = {"role": f"dataswarm_{clearance.name.lower()}", **self._limits}
        await connection.execute(self._named["enter" if durable else "enter_relaxed"], role)
        return await self.send(connection, name, parameters, is_hot=is_hot)

    async def send(
        self, connection: Connection, name: str, parameters: dict[str, Any], *, is_hot: bool
    ) -> psycopg.AsyncCursor[Any]:
        """Send a named statement; `is_hot`: its rows come as tuples, in binary."""
        if is_hot:
            cursor = connection.cursor(binary=True, row_factory=tuple_row)
            await cursor.execute(self._named[name], parameters)
            return cursor
        return await connection.execute(self._named[name], parameters)

    async def _commit(self, transaction: Transaction) -> None:
        connection = transaction._connection  # noqa: SLF001
        payloads = self._hints.offer(transaction.hints) if transaction.hints else []
        if not payloads:
            await connection.execute(self._named["commit"])
            return
        # COMMIT ends the transaction; the NOTIFY behind it is one of its own, in the same round trip.
        async with connection.pipeline():
            await connection.execute(self._named["commit"])
            await connection.execute(self._named["notify"], {"channel": CHANNEL, "payloads": payloads})

    async def _notify(self, payloads: Sequence[str]) -> None:
        connection = await self._borrowed()
        try:
            asked = (self._named["notify"], {"channel": CHANNEL, "payloads": list(payloads)})
            (answer,) = await exchange(connection, [[asked]], prepare=self._prepares)
        finally:
            await self._return(connection)
        if isinstance(answer, psycopg.Error):
            raise answer

    async def close(self) -> None:
        """Send the last hints, wait for what goes on beside, and give every connection back."""
        await self._hints.flush()
        if self._going:
            await asyncio.wait(self._going.values())
        self._closed = True
        while self._kept:
            await self._pool.putconn(self._kept.pop()[0])
        await self._pool.close()


def _is_cut(connection: Connection) -> bool:
    """An idle server says nothing: whatever can be read is its farewell."""
    if connection.closed:
        return True
    farewell = select.poll()
    farewell.register(connection.pgconn.socket, select.POLLIN)
    return bool(farewell.poll(0))


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
