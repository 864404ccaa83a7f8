"""Counts that tell why a test found rows. Only counts leave the warehouse; names are quoted by it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from integrations.base import Table, Warehouse

_TIMES = ("timestamp", "date", "time")


@dataclass(frozen=True, slots=True)
class Duplicates:
    """Rows of a table that share a key.

    Attributes:
        rows: of the table.
        keys: distinct keys that occur more than once.
        extra: rows beyond the first of each such key.
        variants: distinct rows among them, load-time columns left out; equal to `keys` where the copies are equal.
        batch_column: the load-time column that tells batches apart, empty where there is none.
        batches: distinct values of it among them.
    """

    rows: int
    keys: int
    extra: int
    variants: int
    batch_column: str
    batches: int

    @property
    def is_identical(self) -> bool:
        """Are the surplus rows copies but for what the loader adds?"""
        return self.keys > 0 and self.variants == self.keys


@dataclass(frozen=True, slots=True)
class Nulls:
    """Nulls of a column among the rows of its table."""

    rows: int
    nulls: int


async def duplicates(warehouse: Warehouse, table: Table, column: str, load_columns: Sequence[str]) -> Duplicates:
    """Count what shares a value of `column`; nulls are no duplicates."""
    relation, key = warehouse.quote(table.schema, table.name), warehouse.quote(column)
    repeated = f"select {key} from {relation} where {key} is not null group by {key} having count(*) > 1"
    counted = f"select {key}, count(*) as copies from {relation} where {key} is not null group by {key}"
    totals = await warehouse.query(
        "select coalesce(sum(copies), 0) as filled, coalesce(sum(case when copies > 1 then 1 end), 0) as repeated,"
        f" coalesce(sum(copies - 1), 0) as extra from ({counted}) as counted"
    )
    rows = int((await warehouse.query(f"select count(*) as total_rows from {relation}"))[0]["total_rows"])
    keys, extra = int(totals[0]["repeated"]), int(totals[0]["extra"])
    if not keys:
        return Duplicates(rows, 0, 0, 0, "", 0)
    business = [c.name for c in table.columns if c.name not in load_columns]
    listed = ", ".join(warehouse.quote(c) for c in business)
    among = f"from {relation} where {key} in ({repeated})"
    found = await warehouse.query(f"select count(*) as variants from (select distinct {listed} {among}) as different")
    batch = _batch_column(table, load_columns)
    batches = 0
    if batch:
        answer = await warehouse.query(f"select count(distinct {warehouse.quote(batch)}) as batches {among}")
        batches = int(answer[0]["batches"])
    return Duplicates(rows, keys, extra, int(found[0]["variants"]), batch, batches)


async def nulls(warehouse: Warehouse, table: Table, column: str) -> Nulls:
    """Count the nulls of a column."""
    found = await warehouse.query(
        f"select count(*) as total_rows, count({warehouse.quote(column)}) as filled"
        f" from {warehouse.quote(table.schema, table.name)}"
    )
    rows = int(found[0]["total_rows"])
    return Nulls(rows, rows - int(found[0]["filled"]))


def _batch_column(table: Table, load_columns: Sequence[str]) -> str:
    """The load-time column that names a batch: one that is no time, if there is such."""
    there = [c for c in table.columns if c.name in load_columns]
    named = [c for c in there if not c.type.startswith(_TIMES)]
    return (named or there)[0].name if there else ""
