"""Migrations: numbered files, applied once, in order, under a lock; what was applied is never edited.

A file `memory/sql/migrations/NNNN_name.sql` begins with `-- phase: expand` (the last release goes on working) or
`-- phase: contract` (it does not), and `-- summary: …`. Each runs in a transaction of its own together with its row
in `dataswarm.migrations`, as the role `dataswarm_owner`. Needs a direct address, not a transaction pooler.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from importlib.resources import files
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from config.errors import PermanentError, SetupError, TransientError
from memory.connection import statements
from memory.connection.database import OLDEST_SERVER
from memory.connection.translation import translate

_FILE = re.compile(r"^(?P<number>\d{4})_(?P<name>[a-z0-9_]+)\.sql$")
_PHASE = re.compile(r"^-- phase: (expand|contract)$", re.MULTILINE)
_SUMMARY = re.compile(r"^-- summary: (.+)$", re.MULTILINE)
_VECTOR = (0, 7)
_ATTEMPTS = 5
_Connection = psycopg.AsyncConnection[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Migration:
    """One numbered change of the schema. `applied_at` is None while it is pending."""

    number: int
    name: str
    phase: str
    summary: str
    checksum: str
    body: str
    applied_at: datetime | None = None

    def __str__(self) -> str:
        return f"{self.number:04d}_{self.name}"


def read(name: str, text: str) -> Migration:
    """A migration from its file's name and text.

    Raises:
        PermanentError: the name or the header is not as it must be.
    """
    named, phase, summary = _FILE.match(name), _PHASE.search(text), _SUMMARY.search(text)
    if named is None or phase is None or summary is None:
        raise PermanentError(
            f"the migration {name} is malformed",
            hint="name it NNNN_words.sql and begin with `-- phase: expand|contract` and `-- summary: …`",
        )
    return Migration(
        number=int(named["number"]),
        name=named["name"],
        phase=phase[1],
        summary=summary[1],
        checksum=hashlib.sha256(text.encode()).hexdigest(),
        body=text,
    )


@cache
def shipped() -> tuple[Migration, ...]:
    """The migrations of this release, in order."""
    folder = files("memory") / "sql" / "migrations"
    found = sorted(
        (read(entry.name, entry.read_text(encoding="utf-8")) for entry in folder.iterdir() if entry.name[0].isdigit()),
        key=lambda migration: migration.number,
    )
    numbers = [migration.number for migration in found]
    if numbers != list(range(1, len(numbers) + 1)):
        raise PermanentError(f"the migrations are not numbered 1, 2, 3, …: {numbers}")
    return tuple(found)


def roles_sql() -> str:
    """The script that makes the swarm's roles, for an administrator where the owner may not."""
    return (files("memory") / "sql" / "migrations" / "roles.sql").read_text(encoding="utf-8")


async def plan(owner_url: str) -> list[Migration]:
    """Every migration of this release, the applied ones with their time; changes nothing.

    Raises:
        SetupError, TransientError: the server cannot be reached.
        PermanentError: an applied migration was edited afterwards, or the database is ahead in a way that
            this release cannot work with.
    """
    async with _connected(owner_url) as connection:
        return await _plan(connection, shipped())


async def pending(url: str) -> list[str]:
    """The names of the migrations not applied yet; works with the worker's address too."""
    return [str(migration) for migration in await plan(url) if migration.applied_at is None]


async def apply(
    owner_url: str, *, worker_password: str | None = None, migrations: Sequence[Migration] | None = None
) -> list[str]:
    """Apply what is pending, one process at a time; the names applied.

    Args:
        owner_url: a direct address of a login that may create roles and a schema, once at least.
        worker_password: set as the password of `dataswarm_worker`; None leaves it alone.
        migrations: instead of this release's (tests).

    Raises:
        SetupError: something is missing or not allowed; the hint says what to run.
        PermanentError: edited history, or a migration that fails (the ones before it stay applied).
    """
    wanted = shipped() if migrations is None else tuple(migrations)
    named = statements.load("migrate")
    done: list[str] = []
    async with _connected(owner_url) as connection:
        await connection.execute(named["lock_migrations"])
        await _prepare(connection)
        if worker_password is not None:
            await _set_password(connection, worker_password)
        for migration in await _plan(connection, wanted):
            if migration.applied_at is None:
                await _apply(connection, migration)
                done.append(str(migration))
    return done


@asynccontextmanager
async def _connected(url: str) -> AsyncIterator[_Connection]:
    try:
        async with await psycopg.AsyncConnection.connect(
            url, autocommit=True, connect_timeout=10, application_name="dataswarm/migrate", row_factory=dict_row
        ) as connection:
            yield connection
    except psycopg.Error as error:
        raise translate(error) from None


async def _fetch(connection: _Connection, name: str) -> list[dict[str, Any]]:
    cursor = await connection.execute(statements.load("migrate")[name])
    return await cursor.fetchall()


async def _plan(connection: _Connection, wanted: Sequence[Migration]) -> list[Migration]:
    installed = (await _fetch(connection, "is_installed"))[0]["installed"]
    applied = {row["number"]: row for row in await _fetch(connection, "applied_migrations")} if installed else {}
    planned = []
    for migration in wanted:
        row = applied.pop(migration.number, None)
        if row is not None and (row["checksum"], row["name"]) != (migration.checksum, migration.name):
            raise PermanentError(
                f"the migration {migration} was applied on {row['applied_at']:%Y-%m-%d} and edited since",
                hint="restore the file as it was and write a new migration for the change",
            )
        at = row["applied_at"] if row else None
        planned.append(
            Migration(
                migration.number, migration.name, migration.phase, migration.summary,
                migration.checksum, migration.body, at,
            )
        )  # fmt: skip
    breaking = [row["name"] for row in applied.values() if row["phase"] == "contract"]
    if breaking:
        raise PermanentError(
            f"a newer release has migrated this database past what this one can use ({', '.join(breaking)})",
            hint="upgrade dataswarm here",
        )
    return planned


async def _prepare(connection: _Connection) -> None:
    """What migrations stand on: the version, the roles, the extension, the schema."""
    named = statements.load("migrate")
    server = (await _fetch(connection, "examine_server"))[0]
    if server["version"] < OLDEST_SERVER:
        raise SetupError(f"PostgreSQL 15 or newer is needed, this is {server['version'] // 10000}")
    vector = server["vector_installed"] or server["vector_available"]
    if vector is None or tuple(int(part) for part in vector.split(".")[:2]) < _VECTOR:
        raise SetupError(
            f"pgvector 0.7 or newer is needed, the server has {vector or 'none'}",
            hint="install the package (Debian: postgresql-NN-pgvector) or enable it with your provider",
        )
    await _make_roles(connection)
    if not (await _fetch(connection, "is_member"))[0]["member"]:
        await _as_owner(connection, named["join_owner"], f'GRANT dataswarm_owner TO "{server["owner"]}";')
    if server["vector_installed"] is None:
        await _as_owner(connection, named["install_vector"], "CREATE EXTENSION vector;")
    await _as_owner(
        connection,
        named["create_schema"],
        f'GRANT CREATE ON DATABASE "{connection.info.dbname}" TO "{server["owner"]}";',
    )


async def _make_roles(connection: _Connection) -> None:
    """Roles belong to the whole cluster: another database may be making them at this moment, so try again."""
    for attempt in range(_ATTEMPTS):
        try:
            await connection.execute(roles_sql())
        except (psycopg.errors.InternalError_, psycopg.errors.UniqueViolation) as error:  # "tuple concurrently updated"
            if attempt == _ATTEMPTS - 1:
                raise TransientError("another database is changing the swarm's roles all the time") from error
        except psycopg.errors.InsufficientPrivilege:
            raise SetupError(
                f"{connection.info.user} may not create the swarm's roles",
                hint=f'have an administrator run:\n{roles_sql()}\nGRANT dataswarm_owner TO "{connection.info.user}";',
            ) from None
        else:
            return


async def _as_owner(connection: _Connection, command: str, remedy: str) -> None:
    try:
        await connection.execute(command)
    except psycopg.errors.InsufficientPrivilege as error:
        raise SetupError(
            f"{connection.info.user} may not do what migrating needs: {error.diag.message_primary}",
            hint=f"have an administrator run: {remedy}",
        ) from None


async def _set_password(connection: _Connection, password: str) -> None:
    verifier = connection.pgconn.encrypt_password(password.encode(), b"dataswarm_worker", b"scram-sha-256").decode()
    template = statements.load("migrate")["set_worker_password"]
    await connection.execute(sql.SQL(template).format(verifier=sql.Literal(verifier)))


async def _apply(connection: _Connection, migration: Migration) -> None:
    named = statements.load("migrate")
    try:
        async with connection.transaction():
            await connection.execute(named["become_owner"])
            await connection.execute(migration.body.encode())
            await connection.execute(
                named["note_migration"],
                {
                    "number": migration.number,
                    "name": migration.name,
                    "phase": migration.phase,
                    "checksum": migration.checksum,
                },
            )
    except psycopg.OperationalError as error:
        raise translate(error, statement=str(migration)) from None
    except psycopg.Error as error:
        # Migrations hold no data, so the server's own words may be shown.
        raise PermanentError(
            f"the migration {migration} failed, nothing of it remains: {error.diag.message_primary or error}",
            hint="the ones before it stay applied; `dataswarm migrate --plan` shows where it stands",
        ) from None
