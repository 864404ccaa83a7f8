"""How MySQL and MariaDB want to be spoken to, by PyMySQL."""

from __future__ import annotations

import contextlib
import hashlib
import math
import socket
import ssl
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, ClassVar

from sqlalchemy import CHAR, Connection, bindparam, cast, func, select, text
from sqlalchemy.engine import URL, Dialect, Engine, create_engine
from sqlalchemy.pool import NullPool

from config.errors import TransientError, UsageError
from integrations.base import Catalog, ColumnProfile, Finding
from integrations.warehouses.sql import statements
from integrations.warehouses.sql.faults import Fault
from integrations.warehouses.sql.manners import CONNECT_SECONDS, Manner, Target
from integrations.warehouses.sql.mysql import casting
from integrations.warehouses.sql.mysql.catalog import Reading, backticked
from integrations.warehouses.sql.mysql.faults import fault_of
from integrations.warehouses.sql.mysql.rights import examine_role
from integrations.warehouses.sql.profile import column_of, relation_of
from integrations.warehouses.sql.type_names import normalised

_IN_TRANSACTION = 1  # the server's status flag, in every answer
_IDLE_SECONDS = 10
_LONGEST_LOCK = 60
_DEFINING = frozenset(
    {
        "CREATE",
        "ALTER",
        "DROP",
        "RENAME",
        "TRUNCATE",
        "GRANT",
        "REVOKE",
        "ANALYZE",
        "OPTIMIZE",
        "REPAIR",
        "CHECK",
        "FLUSH",
    }
    | {
        "LOCK",
        "UNLOCK",
        "INSTALL",
        "UNINSTALL",
        "RESET",
        "CACHE",
        "CHANGE",
        "STOP",
        "PURGE",
        "SHUTDOWN",
        "KILL",
        "LOAD",
    }
)
_BINARY = ("blob", "binary", "bit", "point", "geometry", "linestring", "polygon", "multi", "vector")

_SAYS_HOW = ("ssl", "read_default_")

_TARGET = """
select t.table_schema as schema_name, t.table_name as name, t.table_rows as table_rows, c.column_name as column_name,
       c.column_type as column_type
  from information_schema.tables t
  join information_schema.columns c on c.table_schema = t.table_schema and c.table_name = t.table_name
 where ({splits}) and t.table_type <> 'SEQUENCE' order by c.ordinal_position
"""


@cache
def _offered() -> ssl.SSLContext:
    """What encrypts without asking who the server is, as every client of MySQL does where nothing is said."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


class MySqlManner(Manner):
    """MySQL 8 and MariaDB 10.3 or newer: which of the two it is, the server tells."""

    streams: ClassVar[bool] = False  # the server is told how many rows will do; PyMySQL would read the rest to its end

    def engine(self, url: URL, *, writes: bool) -> Engine:
        """Autocommit, for transactions are begun outright; no file of ours is ever sent."""
        seconds = math.ceil(self.options.statement_timeout_seconds) + 1
        arguments: dict[str, Any] = {"autocommit": True}
        if url.get_driver_name() == "pymysql":
            arguments["local_infile"] = False
            waits = {"connect_timeout": CONNECT_SECONDS, "read_timeout": seconds, "write_timeout": seconds}
            arguments |= {k: v for k, v in waits.items() if k not in url.query}
        if "charset" not in url.query:
            arguments["charset"] = "utf8mb4"
        return create_engine(url, poolclass=NullPool, hide_parameters=True, connect_args=arguments)

    def named(self, application: str) -> Mapping[str, str]:
        """A connection attribute, seen in performance_schema."""
        return {"program_name": application}

    def connected(self, dialect: Dialect, arguments: Mapping[str, Any]) -> Any | None:
        """PyMySQL as it connects by itself, encrypted where the server offers it, but with one context for all.

        It would make one for each connection, and read every certificate this machine trusts to check none of them.
        Whoever says how to encrypt, in the URL or a file that it names, is left to the driver.
        """
        if dialect.driver != "pymysql" or any(name.startswith(_SAYS_HOW) for name in arguments):
            return None
        connection = dialect.connect(**arguments, ssl_disabled=True, defer_connect=True)
        connection.ssl, connection.ctx = True, _offered()
        connection.connect()
        return connection

    def sever(self, connection: Any) -> None:
        """Closing a socket wakes nobody who reads from it; shutting it down does."""
        held = getattr(connection, "_sock", None)
        if held is None:
            super().sever(connection)
            return
        with contextlib.suppress(OSError):
            held.shutdown(socket.SHUT_RDWR)

    def settle(self, connection: Connection, *, writes: bool, pinned: bool) -> None:
        """Time-outs for statements, locks and our own idleness; a reader's session is read-only throughout."""
        dialect: Any = connection.dialect
        seconds = self.options.statement_timeout_seconds
        limit = (
            f"max_statement_time = {seconds:g}"
            if dialect.is_mariadb
            else f"max_execution_time = {round(seconds * 1000)}"
        )
        waiting = max(1, math.ceil(self.options.lock_timeout_seconds))
        settings = [
            limit,
            f"lock_wait_timeout = {waiting}",
            f"innodb_lock_wait_timeout = {waiting}",
            # A process of ours that is frozen in mid-transaction must not hold the owner's tables.
            f"wait_timeout = {_IDLE_SECONDS}",
        ]
        if pinned:
            settings.append("time_zone = '+00:00'")
        self.say(connection, "set session " + ", session ".join(settings))
        if not writes:
            self.say(connection, "set session transaction read only")

    def begin(self, connection: Connection, *, writes: bool) -> None:
        """A reader gets one snapshot, and can leave it by no statement that `require_query` lets pass."""
        mode = "read write" if writes else "with consistent snapshot, read only"
        self.say(connection, f"start transaction {mode}")

    def commit(self, connection: Connection) -> None:
        """Make what was done last."""
        self.say(connection, "commit")

    def rollback(self, connection: Connection) -> None:
        """Take back what was done."""
        self.say(connection, "rollback")

    def is_inside(self, connection: Connection) -> bool:
        """As the server's last answer says."""
        status = getattr(connection.connection.driver_connection, "server_status", _IN_TRANSACTION)
        return bool(status & _IN_TRANSACTION)

    def require_query(self, connection: Connection, sql: str, limit: int) -> None:
        """A reading word at its head; the read-only transaction sees to the rest."""
        statements.require_reading_words(sql, "mysql")
        self.say(connection, f"set session sql_select_limit = {int(limit)}")

    def require_steps(self, texts: Sequence[str], counted: Sequence[bool]) -> None:
        """A definition commits at once, itself and what came before: it goes alone, and cannot be counted on."""
        words = [statements.require_step(text, "mysql") for text in texts]
        defining = [w for w in words if w in _DEFINING]
        if defining and (len(words) > 1 or any(counted)):
            raise UsageError(
                f"MySQL commits at {defining[0]} and could take nothing back",
                hint="send it alone, without a number of rows",
            )

    def commits_at(self, sql: str) -> bool:
        """At every definition."""
        return statements.require_step(sql, "mysql") in _DEFINING

    def lock(self, connection: Connection, name: str) -> None:
        """A lock of the session, which ends with it; its name may have 64 characters."""
        short = f"dataswarm/{name}"
        if len(short) > _LONGEST_LOCK:
            short = "dataswarm/" + hashlib.sha256(name.encode()).hexdigest()[:40]
        waiting = max(1, math.ceil(self.options.lock_timeout_seconds))
        if self.say(connection, "select get_lock(%s, %s)", (short, waiting)).scalar_one() != 1:
            raise TransientError(
                f"warehouse {self.source}: another session holds the lock {name!r}",
                hint="somebody is changing that now; it will be tried again",
            )

    def quoted(self, dialect: Dialect, name: str) -> str:
        """In backticks, which hold in every mode of the server."""
        return backticked(name)

    def catalog(self, connection: Connection) -> Catalog:
        """All of information_schema that is about structure, in autocommit."""
        return Reading(connection, self.source, self.options).catalog()

    def fingerprint(self, connection: Connection) -> str:
        """The schemas there are, and one query that sums up everything the catalog is made of."""
        return Reading(connection, self.source, self.options).fingerprint()

    def find(self, connection: Connection, splits: Sequence[tuple[str, str]]) -> Target | None:
        """Every split in one query; compared here once more, for information_schema knows no case."""
        if not splits:
            return None
        conditions = " or ".join(f"(t.table_schema = :s{i} and t.table_name = :t{i})" for i in range(len(splits)))
        query = text(_TARGET.format(splits=conditions)).bindparams(
            *(bindparam(f"{k}{i}", v) for i, split in enumerate(splits) for k, v in zip("st", split, strict=True))
        )
        rows = connection.execute(query).mappings().all()
        for schema, name in splits:
            mine = [r for r in rows if (r["schema_name"], r["name"]) == (schema, name)]
            if mine:
                columns = {r["column_name"]: normalised(str(r["column_type"]), "mysql") for r in mine}
                estimate = mine[0]["table_rows"]
                return Target(schema, name, columns, -1 if estimate is None else int(estimate))
        return None

    def sketch(
        self, connection: Connection, target: Target, column: str, *, size: int, key: str
    ) -> ColumnProfile | None:
        """Hashed by the server: distinct hashes are distinct values, whatever the column's collation calls equal."""
        one = column_of(column)
        value: Any = cast(one, CHAR)
        if any(word in target.columns[column] for word in _BINARY):
            value = func.concat("\\x", func.lower(func.hex(one)))
        hashed = func.md5(func.concat(bindparam("key", key), value)).label("h")
        distinct = (
            select(hashed).select_from(relation_of(target.schema, target.name)).where(one.is_not(None)).distinct()
        )
        d = distinct.subquery("d")
        rows = connection.execute(select(d.c.h, func.count().over().label("n")).order_by(d.c.h).limit(size)).all()
        return ColumnProfile(0, int(rows[0][1]) if rows else 0, tuple(str(r[0]) for r in rows))

    def cast_test(self, value: str, before: str, after: str) -> str | None:
        """By patterns: this engine casts anything."""
        return casting.cast_test(value, before, after)

    def examine(self, connection: Connection, *, writes: bool) -> list[Finding]:
        """Who we are, which server it is, and what we may do."""
        return examine_role(connection, self.options, writes=writes)

    def fault(self, error: BaseException) -> Fault | None:
        """By the server's or the driver's code."""
        return fault_of(error)
