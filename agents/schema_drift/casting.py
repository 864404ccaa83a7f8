"""Can the values of a retyped column still be read as what they were? Counted by the warehouse, never fetched.

Each engine has words of its own for it (`CastTesting`); they accept only what a cast accepts for certain, so that
`castable` is never true by mistake. They hold no value and no name; names are quoted by the warehouse.
"""

from __future__ import annotations

from dataclasses import dataclass

from integrations.base import CastTesting, Warehouse


@dataclass(frozen=True, slots=True)
class Castability:
    """Can all values be cast back? None: not asked. `rejected` values of `rows` rows cannot."""

    castable: bool | None = None
    rejected: int | None = None
    rows: int | None = None


async def castability(
    warehouse: Warehouse, table: tuple[str, str], column: str, before: str, after: str
) -> Castability:
    """Count what cannot be cast back. Raises what the warehouse raises."""
    quoted = warehouse.quote(column)
    test = warehouse.cast_test(quoted, before, after) if isinstance(warehouse, CastTesting) else None
    if test is None:
        return Castability()
    # As an expression, not in WHERE: one pass counts all three.
    rejects = f"{quoted} is not null and not coalesce(({test}), false)"
    sql = (
        f"select count(*) as total_rows, count(case when {rejects} then 1 end) as rejected"
        f" from {warehouse.quote(*table)}"
    )
    row = (await warehouse.query(sql))[0]
    rejected, rows = int(row["rejected"]), int(row["total_rows"])
    return Castability(rejected == 0, rejected, rows)
