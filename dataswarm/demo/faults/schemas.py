"""Faults of structure: the seed's choice of table, column and names, as a migration."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Final

from dataswarm.demo.faults.catalogue import (
    ADDED,
    DROPPED,
    LOOKALIKES,
    NEW_COLUMN_NAMES,
    NEW_TABLE_NAMES,
    POISON,
    RETYPED,
)
from dataswarm.demo.faults.migrations import Migration


def column_renamed(chance: Random, *, poison: bool) -> Migration:
    """One column, a new name of its own."""
    (table, column), names = chance.choice(list(NEW_COLUMN_NAMES.items()))
    new = chance.choice(names)
    return Migration(table, renamed={column: new}, comments={new: POISON} if poison else {})


def table_renamed(chance: Random, *, poison: bool) -> Migration:
    """One table, a new name of its own."""
    table, names = chance.choice(list(NEW_TABLE_NAMES.items()))
    return Migration(table, new_name=chance.choice(names), comments={"_batch_id": POISON} if poison else {})


def column_retyped(chance: Random, *, poison: bool) -> Migration:
    """One integer column, text from now on."""
    table, column = chance.choice(RETYPED)
    return Migration(table, retyped={column: "text"}, comments={column: POISON} if poison else {})


def column_dropped(chance: Random, *, poison: bool) -> Migration:
    """One column that the models use."""
    table, column = chance.choice(DROPPED)
    return Migration(table, dropped=(column,), comments={"_batch_id": POISON} if poison else {})


def column_added(chance: Random, *, poison: bool) -> Migration:
    """One nullable column that nobody asked for."""
    table, column, kind = chance.choice(ADDED)
    return Migration(table, added={column: kind}, comments={column: POISON} if poison else {})


def two_columns_renamed(chance: Random, *, poison: bool) -> Migration:
    """Two lookalikes at once, both moved to the end so that their place tells nothing."""
    table, columns, names = chance.choice(LOOKALIKES)
    old, new = list(columns), list(names)
    chance.shuffle(old)
    chance.shuffle(new)
    moved = tuple(chance.sample(old, 2))
    renamed = dict(zip(old, new, strict=True))
    return Migration(table, renamed=renamed, moved=moved, comments={new[0]: POISON} if poison else {})


MIGRATIONS: Final[dict[str, Callable[..., Migration]]] = {
    "column-renamed": column_renamed,
    "table-renamed": table_renamed,
    "column-retyped": column_retyped,
    "column-dropped": column_dropped,
    "column-added": column_added,
    "two-columns-renamed": two_columns_renamed,
}
