"""Timers: an agent asks to be woken; when the time comes, an event `timer.due` addressed to it is published, once."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from config.assets import Asset
from config.errors import UsageError
from memory import bus, keys
from memory.connection.database import Database, Transaction
from memory.queue.new_tasks import encode
from memory.records import Payload

FIRE_AT_ONCE = 500
LONGEST_KEY = 400


@dataclass(frozen=True, slots=True)
class Timer:
    """One wish to be woken. `fired_at` is None while it waits."""

    id: int
    agent: str
    key: str
    due_at: datetime
    payload: Payload
    subject: Asset
    fired_at: datetime | None


async def set_(tx: Transaction, agent: str, key: str, until: datetime, payload: Payload, subject: Asset) -> int:
    """Wake an agent at a time of the server's clock; its id. A waiting timer with the same key is moved.

    Raises:
        UsageError: the key is unfit, the payload is not JSON, or the time has no zone.
    """
    keys.check(key, "timer key", LONGEST_KEY)
    if until.tzinfo is None:
        raise UsageError("a timer's time needs a time zone")
    row = await tx.one(
        "set_timer", agent=agent, key=key, until=until, payload=encode(payload, "payload"), subject=subject
    )
    assert row is not None  # noqa: S101 - INSERT … RETURNING has one row
    return int(row["id"])


async def cancel(tx: Transaction, agent: str, key: str) -> bool:
    """Take a waiting timer back; False: it has fired, or never was."""
    return await tx.run("cancel_timer", agent=agent, key=key) == 1


async def fire(db: Database) -> int:
    """Publish an event for every timer that is due, each once over all replicas; how many."""
    fired = 0
    while True:
        async with db.transaction() as tx:
            count = await tx.run("fire_timers", limit=FIRE_AT_ONCE)
            if count:
                tx.hint(bus.HINT)
        fired += count
        if count < FIRE_AT_ONCE:
            return fired


async def next_due(tx: Transaction) -> float | None:
    """Seconds until the next timer is due (0 or less: now); None where none waits."""
    row = await tx.one("next_timer")
    return None if row is None else row["seconds"]


async def get(tx: Transaction, timer_id: int) -> Timer | None:
    """A timer, waiting or fired; None where it was cancelled or is past retention."""
    row = await tx.one("get_timer", id=timer_id)
    return None if row is None else Timer(**{**row, "subject": Asset.parse(row["subject"])})
