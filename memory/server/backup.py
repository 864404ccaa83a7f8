"""Backup of the whole memory in one file, and restore into an empty server.

The file is a tar of a manifest and a dump, both of one moment. What is confidential is in it as ciphertext; the keys
are not, and the manifest names those that are needed. On another server transactions are numbered anew: a restore
renumbers what agents have not read yet, so that each reads exactly that, and begins an era for branches.
"""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import io
import json
import re
import tarfile
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, cast

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from config.errors import PermanentError, SetupError, TransientError, UsageError
from memory.connection import statements
from memory.connection.translation import translate
from memory.server import migrate, postgres_programs

FORMAT = 1
_MANIFEST, _DUMP = "manifest.json", "memory.dump"
# Restored by ourselves: the schema is made with its owner, and migrations are noted when all else is done.
_LEFT_OUT = re.compile(r"^\d+; \d+ \d+ (SCHEMA - dataswarm\b|TABLE DATA dataswarm migrations\b)")
_Connection = psycopg.AsyncConnection[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Manifest:
    """What is in a backup.

    Attributes:
        format: of the file.
        release: of dataswarm.
        at: the moment it shows.
        server: PostgreSQL's major version.
        migrations: those applied, in order.
        rows: how many each table has.
        keys: ids of the keys that wrap what is confidential in it; without them that stays closed.
        dump: the SHA-256 of the dump.
    """

    format: int
    release: str
    at: str
    server: int
    migrations: tuple[Mapping[str, Any], ...]
    rows: Mapping[str, int]
    keys: tuple[str, ...]
    dump: str


@dataclass(frozen=True, slots=True)
class Restored:
    """What a restore did: the backup's manifest, migrations applied on top, and events agents have still to read."""

    manifest: Manifest
    migrated: tuple[str, ...]
    waiting: int


async def backup(owner_url: str, path: Path, *, release: str) -> Manifest:
    """Write the whole memory into a file, as of one moment, while work goes on.

    The file is whole or not there, readable to its owner alone.

    Raises:
        UsageError: the file is there already, or cannot be written.
        SetupError: no memory there, or pg_dump is missing or older than the server.
    """
    folder = await asyncio.to_thread(_writable, path)
    async with _connected(owner_url) as connection:
        if not (await _one(connection, "migrate", "is_installed"))["installed"]:
            raise SetupError("there is no memory in this database", hint="run `dataswarm migrate` first")
        await connection.execute(_named("begin_backup"))
        moment = await _one(connection, "backup", "backup_moment")
        program = await postgres_programs.find("pg_dump", moment["server"])
        with tempfile.TemporaryDirectory(dir=folder, prefix=".dataswarm-backup-") as scratch:
            dump = Path(scratch) / _DUMP
            await postgres_programs.run(
                program,
                [f"--snapshot={moment['snapshot']}", "--role=dataswarm_owner", "--schema=dataswarm", "--format=custom",
                 f"--file={dump}"],
                url=owner_url,
            )  # fmt: skip
            manifest = Manifest(
                format=FORMAT,
                release=release,
                at=moment["at"].isoformat(),
                server=moment["server"],
                migrations=tuple(
                    {**row, "applied_at": row["applied_at"].isoformat()}
                    for row in await _all(connection, "migrate", "applied_migrations")
                ),
                rows=await _counted(connection),
                keys=tuple(row["key_id"] for row in await _all(connection, "backup", "backup_keys")),
                dump=await asyncio.to_thread(_hash, dump),
            )
            await asyncio.to_thread(_pack, dump, manifest, path)
    return manifest


async def verify(path: Path) -> Manifest:
    """Read a backup through: is it whole, and may this release restore it?

    Raises:
        UsageError: no such file, no backup, a damaged one, or one of a newer release.
    """
    with tempfile.TemporaryDirectory(prefix="dataswarm-verify-") as scratch:
        manifest, _ = await _opened(path, Path(scratch))
        return manifest


async def restore(owner_url: str, path: Path) -> Restored:
    """Restore a backup into a database without a memory, and migrate it to this release.

    All or nothing: a restore that was interrupted is taken away by the next one, and `up` refuses to work on it.

    Raises:
        UsageError: not a backup, a damaged or newer one; or there is a memory in the database already.
        SetupError: pg_restore is missing, or the server is older than the backup's.
        PermanentError: pg_restore failed, or what came back is not what was saved.
    """
    with tempfile.TemporaryDirectory(prefix="dataswarm-restore-") as scratch:
        manifest, dump = await _opened(path, Path(scratch))
        await _make_room(owner_url)
        await migrate.apply(owner_url, migrations=())  # roles, extension, schema
        async with _connected(owner_url) as connection:
            server = (await _one(connection, "backup", "backup_moment"))["server"]
        if server < manifest.server:
            raise SetupError(f"the backup is of PostgreSQL {manifest.server}, this server is {server}: an older one")
        program = await postgres_programs.find("pg_restore", max(server, manifest.server))
        await _load(program, owner_url, dump)
        waiting = await _settle(owner_url, manifest)
    return Restored(manifest, tuple(await migrate.apply(owner_url)), waiting)


async def _make_room(owner_url: str) -> None:
    async with _connected(owner_url) as connection:
        state = await _one(connection, "backup", "is_half_restored")
        if not state["used"]:
            return
        applied = await _all(connection, "migrate", "applied_migrations") if state["begun"] else None
        if applied is None or applied:
            raise UsageError(
                "there is a memory in this database already, and a restore overwrites nothing",
                hint="make an empty database and restore into that one",
            )
        await connection.execute(_named("drop_half_restored"))


async def _load(program: Path, owner_url: str, dump: Path) -> None:
    listed = await postgres_programs.run(program, ["--list", str(dump)])
    wanted = dump.with_suffix(".list")
    kept = "\n".join(line for line in listed.splitlines() if not _LEFT_OUT.match(line))
    await asyncio.to_thread(wanted.write_text, kept + "\n", encoding="utf-8")
    await postgres_programs.run(
        program,
        ["--no-owner", "--role=dataswarm_owner", "--single-transaction", "--exit-on-error", f"--use-list={wanted}",
         str(dump)],
        url=owner_url,
    )  # fmt: skip


async def _settle(owner_url: str, manifest: Manifest) -> int:
    """Give what was numbered by the other server numbers of this one, compare, and declare it done; all at once."""
    async with _connected(owner_url) as connection, connection.transaction():
        await connection.execute(statements.load("migrate")["become_owner"])
        counted = await _counted(connection)
        wrong = sorted(
            name
            for name in (manifest.rows.keys() | counted.keys()) - {"migrations"}
            if manifest.rows.get(name) != counted.get(name)
        )
        if wrong:
            raise PermanentError(f"the restore is not what was saved: other numbers of rows in {', '.join(wrong)}")
        rebased = await _one(connection, "backup", "rebase_events")
        if rebased["highest"] >= rebased["next"]:
            raise PermanentError("this server is too young to number the unread events; run a few transactions on it")
        for name in ("begin_era", "forget_old_processes"):
            await connection.execute(_named(name))
        for row in manifest.migrations:
            await connection.execute(
                _named("record_migration"), {**row, "applied_at": datetime.fromisoformat(row["applied_at"])}
            )
        return int(rebased["waiting"])


# -- the file --------------------------------------------------------------------------------------------------------


def _writable(path: Path) -> Path:
    if path.exists():
        raise UsageError(f"{path} is there already, and a backup overwrites nothing")
    if not path.parent.is_dir():
        raise UsageError(f"there is no folder {str(path.parent)!r} to write the backup into")
    return path.parent


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _pack(dump: Path, manifest: Manifest, path: Path) -> None:
    draft = dump.with_suffix(".tar")
    with tarfile.open(draft, "w") as tar:
        text = json.dumps(dataclasses.asdict(manifest), indent=1).encode()
        head = tarfile.TarInfo(_MANIFEST)
        head.size, head.mode = len(text), 0o600
        tar.addfile(head, io.BytesIO(text))
        tar.add(dump, _DUMP, filter=_nobody)
    draft.chmod(0o600)
    draft.replace(path)


def _nobody(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """Whose machine it was made on is nobody's business."""
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    member.mode = 0o600
    return member


async def _opened(path: Path, scratch: Path) -> tuple[Manifest, Path]:
    manifest, dump = await asyncio.to_thread(_unpacked, path, scratch)
    _fitting(manifest)
    program = await postgres_programs.find("pg_restore", manifest.server)
    await postgres_programs.run(program, ["--list", str(dump)])
    return manifest, dump


def _unpacked(path: Path, scratch: Path) -> tuple[Manifest, Path]:
    damaged = UsageError(f"{path} is not a backup, or a damaged one", hint="take another copy of it")
    try:
        with tarfile.open(path) as tar:
            head, body = tar.extractfile(_MANIFEST), tar.extractfile(_DUMP)
            if head is None or body is None:
                raise damaged
            said = json.load(head)
            if said["format"] > FORMAT:
                raise UsageError(f"{path} was made by a newer release ({said['release']})", hint="upgrade dataswarm")
            dump = scratch / _DUMP
            with dump.open("wb") as file:
                while block := body.read(1 << 20):
                    file.write(block)
        manifest = Manifest(**{**said, "migrations": tuple(said["migrations"]), "keys": tuple(said["keys"])})
    except FileNotFoundError:
        raise UsageError(f"there is no file {path}") from None
    except (tarfile.TarError, KeyError, TypeError, ValueError, OSError):
        raise damaged from None
    if _hash(dump) != manifest.dump:
        raise damaged
    return manifest, dump


def _fitting(manifest: Manifest) -> None:
    """Refuse what a newer release migrated further than this one knows, or otherwise than this one did."""
    known = {migration.number: migration for migration in migrate.shipped()}
    for row in manifest.migrations:
        ours = known.get(row["number"])
        if ours is None:
            raise UsageError(
                f"the backup was made by a newer release ({manifest.release}), migrated to {row['name']}",
                hint="upgrade dataswarm here, then restore",
            )
        if (ours.name, ours.checksum) != (row["name"], row["checksum"]):
            raise UsageError(
                f"the backup has another migration {ours} than this release", hint=f"restore it with {manifest.release}"
            )


# -- the database ----------------------------------------------------------------------------------------------------


@asynccontextmanager
async def _connected(url: str) -> AsyncIterator[_Connection]:
    try:
        async with await psycopg.AsyncConnection.connect(
            url, autocommit=True, connect_timeout=10, application_name="dataswarm/backup", row_factory=dict_row
        ) as connection:
            yield connection
    except psycopg.OperationalError as error:
        raise translate(error) from None
    except psycopg.Error as error:
        raise translate(error, statement="backup") from None


def _named(name: str) -> str:
    return statements.load("backup")[name]


async def _all(connection: _Connection, noun: str, name: str) -> list[dict[str, Any]]:
    cursor = await connection.execute(statements.load(noun)[name], {})
    return await cursor.fetchall()


async def _one(connection: _Connection, noun: str, name: str) -> dict[str, Any]:
    rows = await _all(connection, noun, name)
    if not rows:
        raise TransientError(f"{name} gave no row")
    return rows[0]


async def _counted(connection: _Connection) -> dict[str, int]:
    template = sql.SQL(_named("count_rows"))
    counted = {}
    for row in await _all(connection, "backup", "backup_tables"):
        cursor = await connection.execute(template.format(table=sql.Identifier(row["name"])))
        found = cast("dict[str, int]", await cursor.fetchone())
        counted[row["name"]] = found["number"]
    return counted
