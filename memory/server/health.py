"""What is wrong with the database the swarm lives in: who keeps old rows from being cleared, and which tables swell.

A snapshot that somebody keeps open (a forgotten transaction, a prepared one, a replication slot, a standby with
feedback) holds back the clearing of dead rows in the whole database. The swarm's claims stay fast all the same, but
its tables grow until it is gone, so it is named: who, since when.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import psycopg
from psycopg.rows import dict_row

from memory.connection import statements
from memory.connection.database import Transaction
from memory.server import partitions

# Tables whose rows change all the time; each has vacuum settings of its own in its migration.
HOT = ("agents", "counters", "keys", "processes", "tasks", "tasks_scheduled", "timers")
OLD_SECONDS = 300.0
OLD_TRANSACTIONS = 100_000
LOW_DAYS = 1  # a new database has a day; the first round of housekeeping makes a week
DEAD_ROWS = 100_000
KINDS = ("transaction", "prepared", "slot", "standby")
_CURES = {
    "transaction": "end it: SELECT pg_terminate_backend({pid})",
    "prepared": "COMMIT PREPARED or ROLLBACK PREPARED '{name}', in this database",
    "slot": "let its reader catch up, or drop it: SELECT pg_drop_replication_slot('{name}')",
    "standby": "look for a long query on the standby, or turn hot_standby_feedback off there",
}


@dataclass(frozen=True, slots=True)
class Pin:
    """Somebody who keeps old rows from being cleared.

    Attributes:
        kind: transaction, prepared, slot or standby.
        pid: of the server process; None where there is none.
        name: application_name, identifier of the prepared transaction, or the slot's name.
        transactions: how many have begun in the cluster since its snapshot.
        seconds: since when. Of another login's session it is known only as "at least", by the bus: None while nothing
            was published since.
    """

    kind: str
    pid: int | None
    name: str
    transactions: int
    seconds: float | None

    @property
    def is_old(self) -> bool:
        """Does it hold back more than a moment's worth?"""
        return (self.seconds or 0.0) > OLD_SECONDS or self.transactions > OLD_TRANSACTIONS


@dataclass(frozen=True, slots=True)
class Table:
    """How one hot table stands: rows that live, rows that wait to be cleared, size with indexes in bytes."""

    name: str
    live: int
    dead: int
    bytes: int
    vacuumed_seconds_ago: float | None


@dataclass(frozen=True, slots=True)
class Trouble:
    """One thing that is wrong, and what to do about it. `kind` is stable: pinned, partitions, bloat."""

    kind: str
    what: str
    hint: str


@dataclass(frozen=True, slots=True)
class Health:
    """The database at one moment. `horizon`: days each partitioned table is made ahead."""

    pins: tuple[Pin, ...]
    tables: tuple[Table, ...]
    horizon: dict[str, int]

    @property
    def troubles(self) -> list[Trouble]:
        """What somebody should do something about, the worst first."""
        return [*_pinned(self.pins), *_ending(self.horizon), *_swollen(self.tables)]

    def oldest(self, kind: str) -> Pin | None:
        """The pin of a kind that has held the longest."""
        mine = [pin for pin in self.pins if pin.kind == kind]
        return max(mine, key=lambda pin: (pin.transactions, pin.seconds or 0.0), default=None)


async def health(tx: Transaction) -> Health:
    """Look at pins, hot tables and partitions; costs the same however much is kept."""
    pins = tuple(Pin(**row) for row in await tx.all("pins"))
    tables = tuple(Table(**row) for row in await tx.all("table_health", tables=list(HOT)))
    return Health(pins, tables, await partitions.horizon(tx))


async def pins_seen_by(url: str) -> tuple[Pin, ...] | None:
    """The pins as another login sees them (an owner sees since when); None where it may not look, or cannot."""
    try:
        async with await psycopg.AsyncConnection.connect(
            url, autocommit=True, connect_timeout=10, application_name="dataswarm/doctor", row_factory=dict_row
        ) as connection:
            cursor = await connection.execute(statements.load("health")["pins"], {"now": None})
            return tuple(Pin(**row) for row in await cursor.fetchall())
    except psycopg.Error:
        return None


def _pinned(pins: Sequence[Pin]) -> list[Trouble]:
    found = []
    for pin in pins:
        if pin.is_old:
            who = f"{pin.kind} {pin.name!r}" + (f" (pid {pin.pid})" if pin.pid is not None else "")
            long = f"for {pin.seconds:.0f} s and " if pin.seconds is not None else ""
            what = f"{who} has kept old rows from being cleared {long}{pin.transactions} transactions"
            found.append(Trouble("pinned", what, _CURES[pin.kind].format(pid=pin.pid, name=pin.name)))
    return found


def _ending(horizon: dict[str, int]) -> list[Trouble]:
    hint = "is a swarm running? its housekeeping makes them; its log says why it does not"
    return [
        Trouble(
            "partitions",
            f"partitions of {table} are made {days} day(s) ahead"
            if days > 0
            else f"{table} has no partition for today",
            hint,
        )
        for table, days in horizon.items()
        if days < LOW_DAYS
    ]


def _swollen(tables: Sequence[Table]) -> list[Trouble]:
    hint = "autovacuum does not keep up: look for who pins old rows, then VACUUM (VERBOSE) it"
    return [
        Trouble("bloat", f"{table.name} has {table.dead} dead rows beside {table.live} living ones", hint)
        for table in tables
        if table.dead > max(DEAD_ROWS, table.live)
    ]
