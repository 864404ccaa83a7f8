"""The catalog of a PostgreSQL server in a fixed number of statements, however many tables there are, and one snapshot.

`pg_class.oid` and `pg_attribute.attnum` survive a rename, which makes renames exact. The rows are of the snapshot, but
what writes types and expressions reads the server's own caches, which know every commit at once; where the two
contradict each other, because something was dropped in between, all is read anew.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Iterable
from typing import ParamSpec, TypeVar

import psycopg
from psycopg import AsyncConnection, AsyncCursor
from psycopg.rows import DictRow, tuple_row

from config.errors import TransientError
from integrations.base import Catalog
from integrations.warehouses.postgres import queries
from integrations.warehouses.postgres.assembling import Row, Rows, assemble
from integrations.warehouses.postgres.definitions import Memo, Told, read_definitions
from integrations.warehouses.postgres.options import PostgresOptions
from integrations.warehouses.postgres.sessions import Sessions

P = ParamSpec("P")
T = TypeVar("T")
_CHUNK = 5_000
_MANY = 500
_ATTEMPTS = 3
_CONTRADICTIONS = (psycopg.errors.InternalError_, psycopg.errors.UndefinedTable, psycopg.errors.UndefinedObject)


async def take_catalog(sessions: Sessions, options: PostgresOptions, memo: Memo, *, application: str) -> Catalog:
    """Everything in the schemas to look at, whole or not at all.

    Raises:
        TransientError: something is locked that was never told before, or the catalog changed at every attempt.
    """
    for _ in range(_ATTEMPTS):
        async with sessions.transaction(read_only=True, application=application, pinned=True) as connection:
            try:
                rows, told = await _read(connection, options)
            except _CONTRADICTIONS:
                continue
        # The connection is given back first: what follows takes a while and needs no snapshot.
        catalog = await asyncio.to_thread(_uncollected, _settle, rows, told, memo, sessions.source)
        if catalog is not None:
            return catalog
    raise TransientError(
        f"warehouse {sessions.source}: its catalog changed while it was read, {_ATTEMPTS} times in a row",
        hint="somebody creates and drops relations all the time; it will be tried again",
    )


def _settle(rows: Rows, told: Told, memo: Memo, source: str) -> Catalog | None:
    if rows.has_vanished_types:
        return None
    texts = memo.settle(told, rows.shape, rows.path, source)
    return None if texts is None else assemble(rows, texts)


async def _read(connection: AsyncConnection[DictRow], options: PostgresOptions) -> tuple[Rows, Told]:
    schemas = await (await connection.execute(queries.SCHEMAS)).fetchall()
    wanted = [s for s in schemas if s["name"] is not None and options.looks_at(s["name"])]
    visible = [s["oid"] for s in wanted if s["visible"]]
    rows = Rows(schemas[0]["now"], tuple(s["name"] for s in wanted if not s["visible"]))
    for query, take in (
        (queries.RELATIONS, rows.take_relations),
        (queries.COLUMNS, rows.take_columns),
        (queries.CONSTRAINTS, rows.take_constraints),
        (queries.INDEXES, rows.take_indexes),
        (queries.RIGHTS, rows.take_rights),
        (queries.ENUMERATIONS, rows.enumerations.extend),
        (queries.SEQUENCES, rows.sequences.extend),
    ):
        cursor = connection.cursor(row_factory=tuple_row)
        await cursor.execute(query, (visible,))
        await _take_all(cursor, take)
        if query is queries.RELATIONS and len(rows.relations) > _MANY:
            await connection.execute(queries.FOR_MANY)
    return rows, await read_definitions(connection, visible, is_looked_at=rows.relations.__contains__)


async def _take_all(cursor: AsyncCursor[Row], take: Callable[[Iterable[Row]], None]) -> None:
    """Hand on what a cursor holds beside the event loop, few rows at a time, so that nothing else waits for long."""
    while chunk := await cursor.fetchmany(_CHUNK):
        await asyncio.to_thread(_uncollected, take, chunk)


def _uncollected(make: Callable[P, T], *given: P.args, **named: P.kwargs) -> T:
    """What `make` gives, made without the collector: it would go over hundreds of thousands of things that stay."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        return make(*given, **named)
    finally:
        if was_on:
            gc.enable()
