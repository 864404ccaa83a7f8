"""The catalog of a PostgreSQL server in a fixed number of statements, however many tables there are, and one snapshot.

`pg_class.oid` and `pg_attribute.attnum` survive a rename, which makes renames exact. The rows are of the snapshot, but
what writes types and expressions reads the server's own caches, which know every commit at once; where the two
contradict each other, because something was dropped in between, all is read anew.

One connection is enough: while the server works on a statement, what the one before gave is taken in beside the event
loop. Columns, which are most of it, come a row a table, so that little has to be done for each of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import psycopg
from psycopg import AsyncConnection, AsyncCursor
from psycopg.rows import DictRow, tuple_row

from config.errors import TransientError
from integrations.base import Catalog
from integrations.warehouses.postgres import queries
from integrations.warehouses.postgres.assembling import Rows, assemble
from integrations.warehouses.postgres.beside import Beside, in_a_thread, uncollected
from integrations.warehouses.postgres.columns import Row
from integrations.warehouses.postgres.definitions import Memo, Told, read_definitions
from integrations.warehouses.postgres.options import PostgresOptions
from integrations.warehouses.postgres.sessions import Sessions

_ROWS = 5_000
_RELATIONS = 250
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
        catalog = await in_a_thread(_settle, rows, told, memo, sessions.source)
        if catalog is not None:
            return catalog
    raise TransientError(
        f"warehouse {sessions.source}: its catalog changed while it was read, {_ATTEMPTS} times in a row",
        hint="somebody creates and drops relations all the time; it will be tried again",
    )


def _settle(rows: Rows, told: Told, memo: Memo, source: str) -> Catalog | None:
    if rows.columns.has_vanished_types:
        return None
    texts = memo.settle(told, rows.shape, rows.path, source)
    return None if texts is None else assemble(rows, texts)


async def _read(connection: AsyncConnection[DictRow], options: PostgresOptions) -> tuple[Rows, Told]:
    schemas = await (await connection.execute(queries.SCHEMAS)).fetchall()
    wanted = [s for s in schemas if s["name"] is not None and options.looks_at(s["name"])]
    visible = [s["oid"] for s in wanted if s["visible"]]
    rows = Rows(schemas[0]["now"], tuple(s["name"] for s in wanted if not s["visible"]))
    async with Beside() as beside:
        for query, take in (
            (queries.RELATIONS, rows.take_relations),
            (queries.COLUMNS, rows.columns.take),
            (queries.PARTICULARS, rows.columns.take_particulars),
            (queries.CONSTRAINTS, rows.take_constraints),
            (queries.INDEXES, rows.take_indexes),
            (queries.RIGHTS, rows.take_rights),
            (queries.ENUMERATIONS, rows.enumerations.extend),
            (queries.SEQUENCES, rows.sequences.extend),
        ):
            is_wide = query is queries.COLUMNS
            cursor = connection.cursor(row_factory=tuple_row, binary=is_wide)
            await cursor.execute(query, {"schemas": visible})
            beside.put(_take_all, cursor, take, _RELATIONS if is_wide else _ROWS)
            if query is queries.RELATIONS and cursor.rowcount > _MANY:
                await connection.execute(queries.FOR_MANY)
            if query is queries.PARTICULARS:
                await beside.done()
                await cursor.execute(queries.TYPES, rows.columns.asked_types())
                rows.columns.take_types(await cursor.fetchall())
                beside.put(_make_all, rows.columns.make)
            if query is queries.CONSTRAINTS:
                beside.put(_make_all, rows.make_keys)
        told = await read_definitions(connection, visible, is_looked_at=rows.relations.__contains__)
    return rows, told


async def _take_all(cursor: AsyncCursor[Row], take: Callable[[Iterable[Row]], None], at_once: int) -> None:
    """Hand on what a cursor holds, few rows at a time, so that nothing else waits for long."""
    with uncollected():
        while chunk := await cursor.fetchmany(at_once):
            await in_a_thread(take, chunk)


async def _make_all(make: Callable[[int], bool]) -> None:
    """Make what belongs to few relations at a time, until there is nothing more to make."""
    while await in_a_thread(make, _RELATIONS):
        pass
