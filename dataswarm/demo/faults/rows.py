"""Faults of content: a batch that comes twice, a batch whose rows lost their keys."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from random import Random
from typing import Any

from psycopg import Connection, sql

from dataswarm.demo import loader
from dataswarm.demo.faults.catalogue import DUPLICATED, NULLED
from dataswarm.demo.raw_tables import LOAD_COLUMNS, TABLES, Row
from dataswarm.demo.shop import Shop


@dataclass(frozen=True, slots=True)
class Spoiled:
    """What was done to a table's rows.

    Attributes:
        table: its first name.
        column: the emptied column; empty if none was.
        batch: the batch, as `_batch_id` has it.
        rows: how many rows were hit.
        keys: the keys of rows that cannot come back, in text form.
    """

    table: str
    column: str
    batch: str
    rows: int
    keys: tuple[str, ...] = ()


def load_twice(connection: Connection[Any], shop: Shop, chance: Random, at: datetime) -> Spoiled:
    """Append one of the last two batches of a table again, under its own name or as a retry.

    Args:
        connection: in the loader's role; the caller commits.
        shop: where the rows come from.
        chance: the seed's choices.
        at: the load time of the second copy, aware.
    """
    table = chance.choice(DUPLICATED)
    names = loader.names_of(connection, table)
    day = names.loaded_through - chance.randrange(2)
    batch = loader.batch_id(shop, table, day)
    label = chance.choice((batch, f"{batch}-retry"))
    rows: list[Row] = [(*row, label, at) for row in shop.rows(table, day)]
    loader.append(connection, TABLES[table], names, rows)
    return Spoiled(table, "", batch, len(rows))


def load_without_keys(connection: Connection[Any], shop: Shop, chance: Random, at: datetime) -> Spoiled:
    """Load a table's next batch ahead of the others, a few of its rows with an empty key.

    The rows were never in any mart, so what the marts must be is plain: everything but these rows.

    Args:
        connection: in the loader's role; the caller commits.
        shop: where the rows come from.
        chance: the seed's choices.
        at: the load time, aware.
    """
    table, column = chance.choice(NULLED)
    names = loader.names_of(connection, table)
    day = names.loaded_through + 1
    loader.load(connection, shop, day, at, tables=(table,))
    batch = loader.batch_id(shop, table, day)
    rows = shop.rows(table, day)
    hit = chance.sample(rows, k=min(len(rows), chance.randrange(2, 7)))
    keys = [str(row[0]) for row in hit]
    connection.execute(
        sql.SQL("update {} set {} = null where {}::text = any(%s) and {} = %s").format(
            names.relation,
            sql.Identifier(names.columns[column]),
            sql.Identifier(names.columns[TABLES[table].key]),
            sql.Identifier(LOAD_COLUMNS[0]),
        ),
        (keys, batch),
    )
    return Spoiled(table, column, batch, len(hit), tuple(sorted(keys)))
