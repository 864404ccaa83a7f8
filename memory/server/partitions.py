"""Daily partitions: made a week ahead, dropped whole when past retention.

So nothing grows for ever, and no query pays for what is finished. The DDL runs in functions of the owner; the worker
may do nothing else to the schema.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from config.errors import UsageError
from memory import keys
from memory.connection.database import Database, Transaction

AHEAD_DAYS = 7
PROCESS_SECONDS = 86400.0


@dataclass(frozen=True, slots=True)
class Maintained:
    """What one round of maintenance did."""

    made: int
    dropped: tuple[str, ...]
    forgotten: int


async def maintain(db: Database, retention_days: Mapping[str, int] | None = None) -> Maintained:
    """Make what is needed ahead, drop what is past retention; any replica may, at any time, as often as it likes.

    Args:
        db: the swarm's database.
        retention_days: by table, over the defaults of the migrations; `steps` and `timers` too.

    Raises:
        UsageError: an unknown table or a retention below one day.
        TransientError: a table was busy for two seconds; the next round does it.
    """
    wanted = dict(retention_days or {})
    async with db.transaction() as tx:
        tables = await tx.all("partitioned_tables")
    known = {row["parent"] for row in tables} | {"steps", "timers"}
    for table, days in wanted.items():
        if table not in known:
            raise UsageError(f"no table {table!r} has a retention; there are {', '.join(sorted(known))}")
        if days < 1:
            raise UsageError(f"the retention of {table} must be at least one day, not {days}")
    made = 0
    dropped: list[str] = []
    for row in tables:
        days = wanted.get(row["parent"], row["retention_days"])
        async with db.transaction() as tx:
            result = await tx.one(
                "make_partitions",
                parent=row["parent"],
                from_day=row["today"] - timedelta(days=1),
                days=AHEAD_DAYS + 2,
            )
            made += result["made"] if result else 0
        async with db.transaction() as tx:
            before = row["today"] - timedelta(days=days)
            gone = await tx.one("drop_partitions", parent=row["parent"], before=before)
            dropped += gone["dropped"] if gone else []
    history = next((row["retention_days"] for row in tables if row["parent"] == "tasks_history"), 30)
    async with db.transaction() as tx:
        forgotten = await tx.run("forget_steps", days=wanted.get("steps", wanted.get("tasks_history", history)))
        forgotten += await tx.run("forget_timers", days=wanted.get("timers", history))
        forgotten += await keys.forget_expired(tx)
        forgotten += await tx.run("forget_processes", seconds=PROCESS_SECONDS)
    return Maintained(made, tuple(dropped), forgotten)


async def horizon(tx: Transaction) -> dict[str, int]:
    """Days each partitioned table is made ahead; for metrics. At 0 or less, rows go to the default partition."""
    return {row["parent"]: row["days_ahead"] for row in await tx.all("partition_horizon")}
