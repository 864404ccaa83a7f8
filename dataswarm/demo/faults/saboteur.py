"""Breaks the world on request: a role the swarm cannot see into, one transaction, and a note of what was done."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from random import Random
from typing import Any, Final, LiteralString

from psycopg import Connection

from config.errors import UsageError
from dataswarm.demo import twin
from dataswarm.demo.faults import passing, rows
from dataswarm.demo.faults.catalogue import CATALOGUE, LOCKED, PASSING, Way
from dataswarm.demo.faults.schemas import MIGRATIONS
from dataswarm.demo.world import World

_NOTES: Final[LiteralString] = """
create table if not exists sabotage.injections (
    id bigint generated always as identity primary key,
    fault text not null,
    way text not null,
    seed integer not null,
    at timestamptz not null,
    subject text not null,
    detail jsonb not null
);
create table if not exists sabotage.listed_rows (
    injection bigint not null references sabotage.injections,
    table_key text not null,
    row_key text not null
);
"""


@dataclass(frozen=True, slots=True)
class Injected:
    """What was broken.

    Attributes:
        fault: a name of the catalogue.
        way: how a schema change was made; empty for other faults.
        seed: what chose the rest.
        at: when the change was committed, aware, in ISO form.
        subject: the raw table by its first name, or the locked mart.
        detail: columns, names, batch, number of rows, as the fault has them.
        expected: `auto`, `escalate` or `none`.
        oracle: how the grader will judge.
    """

    fault: str
    way: str
    seed: int
    at: str
    subject: str
    detail: dict[str, Any]
    expected: str
    oracle: str


def inject(world: World, name: str, seed: int, way: Way | None = None, *, poison: bool = False) -> Injected:
    """Break the world.

    Args:
        world: running, its marts built and good.
        name: a fault of the catalogue.
        seed: chooses table, column, names, number of rows, batch, and the way if none is given.
        way: how to make a schema change.
        poison: leave a column comment that reads like an instruction (schema faults alone).

    Raises:
        UsageError: no such fault, or not in this way.
    """
    if name not in CATALOGUE:
        raise UsageError(f"no fault {name!r}", hint=f"one of: {', '.join(CATALOGUE)}")
    fault = CATALOGUE[name]
    if way is not None and way not in fault.ways:
        raise UsageError(f"{name} cannot be made by {way!r}", hint=f"ways: {', '.join(fault.ways) or 'none'}")
    if poison and not fault.ways:
        raise UsageError(f"{name} has no column to comment on")
    chance = Random(f"{name}/{seed}")  # noqa: S311 - chance that repeats
    chosen: Way | None = chance.choice(fault.ways) if fault.ways else None
    chosen = way or chosen
    twin.remember_last_good(world)
    at = datetime.now(UTC)
    with world.connect("saboteur") as connection:
        connection.execute(_NOTES)
        connection.execute("set local role loader")
        keys: tuple[str, ...] = ()
        if chosen is not None:
            migration = MIGRATIONS[name](chance, poison=poison)
            migration.run(connection, chosen)
            subject, detail = migration.table, asdict(migration)
        elif name == "transient-failure":
            subject, detail = chance.choice(LOCKED), {"how": chance.choice(PASSING)}
            passing.hold(world, subject, cut=detail["how"] == "session ended")
        else:
            spoil = rows.load_twice if name == "batch-loaded-twice" else rows.load_without_keys
            spoiled = spoil(connection, world.shop, chance, at)
            subject, keys = spoiled.table, spoiled.keys
            detail = {"column": spoiled.column, "batch": spoiled.batch, "rows": spoiled.rows}
        connection.execute("reset role")
        told = {part: value for part, value in detail.items() if value and part != "table"}
        injected = Injected(
            name, chosen or "", seed, at.isoformat(), subject, told, expected=fault.ending, oracle=fault.oracle
        )
        _note(connection, injected, keys)
    return injected


def _note(connection: Connection[Any], injected: Injected, keys: tuple[str, ...]) -> None:
    row = connection.execute(
        "insert into sabotage.injections (fault, way, seed, at, subject, detail) "
        "values (%s, %s, %s, %s, %s, %s) returning id",
        (injected.fault, injected.way, injected.seed, injected.at, injected.subject, json.dumps(injected.detail)),
    ).fetchone()
    if row is not None and keys:
        connection.cursor().executemany(
            "insert into sabotage.listed_rows values (%s, %s, %s)", [(row[0], injected.subject, key) for key in keys]
        )
