"""Texts the server tells only under a lock: checks, exclusions, expressions, indexes, partition keys, views' queries.

The server writes them from parsed trees and opens the relations they speak of with the weakest lock there is. That
waits for whoever holds ACCESS EXCLUSIVE (a migration in mid-transaction, a rebuild), and pg_get_viewdef keeps what it
took until the transaction ends: a look at many views would in turn stop every ALTER TABLE of what they read, and could
fill the server's table of locks. Hence:

- What is written alike in any case is not asked for: an index of plain columns (`texts.py`).
- What somebody has locked, or waits to lock, is left out. Who locks something between that and its turn costs a wait
  of milliseconds, and then those texts are asked for anew.
- Views go through one anonymous block that asks for each in a subtransaction of its own and lets go of its locks.
- What was left out comes from a memo of the last look, if nothing it is written from has changed since: the version of
  the row that holds the tree, the names in every relation it reads, the names of functions and types. While others
  alter a table uncommitted, the snapshot shows the old rows, so the old text is the true one; nothing is guessed.
- Where the memo has nothing, there is no catalog: a table without its checks would look as if they had been dropped.

A text is written from what is committed when it is asked for, the rows are those of the snapshot. Where something was
changed in between, a text may be newer than its row; a fingerprint taken before the look tells that another is due.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import psycopg
from psycopg import AsyncConnection
from psycopg.rows import DictRow, tuple_row

from config.errors import TransientError
from integrations.warehouses.postgres import texts
from integrations.warehouses.postgres.beside import in_a_thread, uncollected

Place = tuple[str, int, int]
"""What a text belongs to: part, oid, and the number of the column or expression."""

_WAIT = "20ms"
_ATTEMPTS = 5
_CHUNK = 5_000


@dataclass(slots=True)
class Told:
    """What the server told: a row a text, and what else the texts are written from."""

    rows: list[tuple[Any, ...]] = field(default_factory=list)
    names: str = ""
    elsewhere: Mapping[int, str] = field(default_factory=dict)


@dataclass(slots=True)
class Memo:
    """What was told at the last look, and the versions of all it was written from; as large as one catalog's texts."""

    known: Mapping[Place, tuple[object, str]] = field(default_factory=dict)

    def settle(
        self, told: Told, shape: Callable[[int], object], path: Callable[[int], str], source: str
    ) -> dict[Place, str] | None:
        """Every text, those that could not be told taken from the last look; None where the catalog moved on.

        Args:
            told: what the server told.
            shape: all names in a relation that is looked at, by oid, in a form that can be compared.
            path: how to call a relation, by oid.
            source: the configured name of the warehouse, for messages.

        Raises:
            TransientError: a relation is locked and its texts are not known.
        """
        found: dict[Place, str] = {}
        known: dict[Place, tuple[object, str]] = {}
        for part, oid, number, owner, row_version, relations, is_locked, text in told.rows:
            place = (part, oid, number)
            seen = [told.elsewhere.get(r) or shape(r) for r in map(int, relations.split())]
            version = hash((row_version, told.names, *seen))
            if text is None:
                remembered, text = self.known.get(place, (None, None))  # noqa: PLW2901 - completed
                if remembered != version or text is None:
                    if not is_locked:
                        return None
                    raise TransientError(
                        f"warehouse {source}: {path(owner)}, or what it reads, is locked by another session, and what"
                        " is defined on it is not known yet",
                        hint="somebody changes it; it will be tried again",
                    )
            found[place] = text
            known[place] = (version, text)
        self.known = known
        return found


async def read_definitions(
    connection: AsyncConnection[DictRow], schemas: Sequence[int], *, is_looked_at: Callable[[int], bool]
) -> Told:
    """The texts of everything in some schemas.

    Args:
        connection: inside a transaction of one snapshot.
        schemas: their oids.
        is_looked_at: was a relation read, by oid?
    """
    told = Told()
    cursor = connection.cursor(row_factory=tuple_row)
    patience = (await (await cursor.execute("select pg_catalog.current_setting('lock_timeout')")).fetchall())[0][0]
    await _wait_at_most(cursor, _WAIT)
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            async with connection.transaction():
                await cursor.execute(texts.OF_TABLES, (list(schemas),))
            break
        except psycopg.errors.LockNotAvailable:
            if attempt == _ATTEMPTS:
                raise
    await _keep(cursor, told.rows.extend)
    await cursor.execute(texts.OF_VIEWS.replace("<<schemas>>", ", ".join(str(int(oid)) for oid in schemas)))
    await cursor.execute("fetch all from dataswarm_views")
    await _keep(cursor, told.rows.extend)
    await cursor.execute("close dataswarm_views")
    await _wait_at_most(cursor, patience)
    told.names = (await (await cursor.execute(texts.NAMES)).fetchall())[0][0]
    read = await in_a_thread(lambda: {int(oid) for row in told.rows for oid in row[5].split()})
    if strangers := sorted(oid for oid in read if not is_looked_at(oid)):
        told.elsewhere = dict(await (await cursor.execute(texts.ELSEWHERE, (strangers,))).fetchall())
    return told


async def _wait_at_most(cursor: psycopg.AsyncCursor[Any], patience: str) -> None:
    await cursor.execute("select pg_catalog.set_config('lock_timeout', %s, true)", (patience,))


async def _keep(cursor: psycopg.AsyncCursor[Any], take: Callable[[Iterable[Any]], None]) -> None:
    with uncollected():
        while chunk := await cursor.fetchmany(_CHUNK):
            take(chunk)
            await asyncio.sleep(0)
