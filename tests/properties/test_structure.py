"""Random schemas, changed by random operations on real engines: what is told is what was done, and its inverse."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, NamedTuple

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from agents.structure.changes import Change
from agents.structure.difference import difference
from agents.structure.known import Structure, structure_of
from agents.structure.meaning import meaning
from agents.structure.parts import as_parts, changed_parts, from_parts
from integrations.base import Warehouse
from integrations.warehouses.duckdb import DuckdbOptions, DuckdbWarehouse
from integrations.warehouses.postgres import PostgresOptions, PostgresWarehouse
from memory.server.embedded import EmbeddedServer
from tests.duck import run
from tests.properties.ground import TIMES

TYPES: Final = ("integer", "text", "numeric(10,2)", "date")
WIDER: Final = {"integer": "bigint", "text": "text", "numeric(10,2)": "numeric(12,4)", "date": "timestamp"}
NEW: Final = "uuid"
"""The type of columns that are added: none that goes can be taken for one of them."""


class Told(NamedTuple):
    """The gist of a change: what an operation is expected to be told as."""

    kind: str
    table: str
    column: str = ""
    gist: str = ""


@dataclass(frozen=True)
class Place:
    """An engine to change and to look at."""

    reset: Callable[[], None]
    run: Callable[[Sequence[str]], None]
    look: Callable[[], Structure]
    has_identities: bool


@dataclass
class Plan:
    """DDL before and after, and what is to be told."""

    before: list[str] = field(default_factory=list)
    after: list[str] = field(default_factory=list)
    told: set[Told] = field(default_factory=set)


@st.composite
def plans(draw: st.DrawFn, *, has_identities: bool) -> Plan:
    """Up to three tables; at most one operation a column, and one that concerns a table as a whole."""
    plan = Plan()
    for name in draw(st.lists(st.sampled_from(["orders", "People", "o d", "x1"]), unique=True, min_size=1, max_size=3)):
        _table(draw, plan, name, has_identities=has_identities)
    if draw(st.booleans()):
        plan.after.append("create table added_one (id integer)")
        plan.told.add(Told("table_added", "added_one"))
    _enumeration(draw, plan, has_identities=has_identities)
    return plan


def _table(draw: st.DrawFn, plan: Plan, name: str, *, has_identities: bool) -> None:
    columns = {f"c {i}" if i == 1 else f"col_{i}": draw(st.sampled_from(TYPES)) for i in range(draw(st.integers(1, 6)))}
    listed = ", ".join(f'"{column}" {type_}' for column, type_ in columns.items())
    plan.before.append(f'create table "{name}" ({listed})')
    names = list(columns)
    indexed = names[:2] if has_identities and draw(st.booleans()) else []
    unique = names[-2:] if has_identities and draw(st.booleans()) else []
    if indexed:
        plan.before.append(f'create index "by {name}" on "{name}" ({_listed(indexed)})')
    if unique:
        plan.before.append(f'alter table "{name}" add constraint "one {name}" unique ({_listed(unique)})')
    whole = draw(st.sampled_from(["", "drop", "comment", "rename" if has_identities else ""]))
    if whole == "drop":
        plan.after.append(f'drop table "{name}"')
        plan.told.add(Told("table_dropped", name))
        return
    dropped = _columns(draw, plan, name, columns, has_identities=has_identities)
    for kind, belongs in (("index_dropped", indexed), ("constraint_dropped", unique)):
        if dropped & set(belongs) and not set(belongs) <= dropped:
            plan.told.add(Told(kind, name))
    if draw(st.booleans()):
        plan.after.append(f'alter table "{name}" add column fresh {NEW}')
        plan.told.add(Told("column_added", name, "fresh"))
    if whole == "comment":
        plan.after.append(f"comment on table \"{name}\" is 'said'")
        plan.told.add(Told("table_altered", name, "", "comment"))
    if whole == "rename":
        plan.after.append(f'alter table "{name}" rename to "{name} now"')
        plan.told.add(Told("table_renamed", name, "", f"{name} now"))


def _columns(draw: st.DrawFn, plan: Plan, name: str, columns: dict[str, str], *, has_identities: bool) -> set[str]:
    """One operation a column, or none; a table keeps one column. The names of those that went."""
    dropped: set[str] = set()
    ways = ["", "", "drop", "retype", "default", "required", "comment", *(["rename"] if has_identities else [])]
    for column, type_ in columns.items():
        way = draw(st.sampled_from(ways))
        alter = f'alter table "{name}" alter column "{column}"'
        if way == "drop" and len(dropped) + 1 < len(columns):
            dropped.add(column)
            plan.after.append(f'alter table "{name}" drop column "{column}"')
            plan.told.add(Told("column_dropped", name, column))
        elif way == "rename":
            plan.after.append(f'alter table "{name}" rename column "{column}" to "{column} now"')
            plan.told.add(Told("column_renamed", name, column, f"{column} now"))
        elif way == "retype" and WIDER[type_] != type_:
            plan.after.append(f"{alter} type {WIDER[type_]}")
            plan.told.add(Told("column_retyped", name, column))
        elif way == "default":
            plan.after.append(f"{alter} set default {_value(type_)}")
            plan.told.add(Told("column_altered", name, column, "default"))
        elif way == "required":
            plan.after.append(f"{alter} set not null")
            plan.told.add(Told("column_altered", name, column, "nullability"))
        elif way == "comment":
            plan.after.append(f'comment on column "{name}"."{column}" is \'said\'')
            plan.told.add(Told("column_altered", name, column, "comment"))
    return dropped


def _enumeration(draw: st.DrawFn, plan: Plan, *, has_identities: bool) -> None:
    values = draw(st.lists(st.sampled_from("abcde"), unique=True, min_size=2, max_size=5))
    now = draw(st.permutations(values))[: draw(st.integers(1, len(values)))]
    plan.before.append(f"create type mood as enum ({_values(values)})")
    plan.after += ["drop type mood", f"create type mood as enum ({_values(now)})"]
    if now != values:
        plan.told.add(Told("enumeration_altered", "mood", "", "values"))


def _value(type_: str) -> str:
    return {"text": "'x'", "date": "'2020-01-01'"}.get(type_, "7")


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)


def _values(values: Sequence[str]) -> str:
    return ", ".join(f"'{value}'" for value in values)


def _gist(change: Change, schema: str) -> Told:
    def bare(path: str) -> str:
        return path.removeprefix(f"{schema}.")

    payload = change.payload
    gist = str(payload.get("what") or (payload["after"] if change.kind.endswith("renamed") else ""))
    return Told(change.kind, bare(change.table), change.column, bare(gist))


_INVERSE: Final = {"added": "dropped", "dropped": "added"}


def _sides(change: Change) -> tuple[Any, ...]:
    """A change with all that its inverse must say the other way round."""
    payload = change.payload
    return (
        change.kind,
        change.table,
        change.column,
        payload.get("what", ""),
        payload.get("before"),
        payload.get("after"),
        payload.get("added"),
        payload.get("removed"),
    )


def _mirrored(change: Change) -> tuple[Any, ...]:
    """What the way back must say."""
    payload = change.payload
    thing, _, did = change.kind.rpartition("_")
    table, column = payload.get("now", change.table), payload.get("now_column", change.column)
    if change.kind == "table_renamed":
        table = payload["after"]
    if change.kind == "column_renamed":
        column = payload["after"]
    return (
        f"{thing}_{_INVERSE.get(did, did)}",
        table,
        column,
        payload.get("what", ""),
        payload.get("after"),
        payload.get("before"),
        payload.get("removed"),
        payload.get("added"),
    )


def _holds(place: Place, plan: Plan, schema: str) -> None:
    place.reset()
    place.run(plan.before)
    before = place.look()
    place.run(plan.after)
    after = place.look()
    changes = difference(before, after)
    assert {_gist(c, schema) for c in changes} == plan.told
    assert len({c.name for c in changes}) == len(changes), "every change has a name of its own"
    assert all(meaning(c, source="shop").rule for c in changes)
    back = difference(after, before)
    assert {repr(_mirrored(c)) for c in changes} == {repr(_sides(c)) for c in back}, "the way back says the opposite"
    assert difference(before, before) == []
    turned = replace(after, tables=dict(reversed(list(after.tables.items()))))
    assert difference(before, turned) == changes, "the catalog's order says nothing"
    assert from_parts(as_parts(after)) == after
    parts = as_parts(before) | changed_parts(as_parts(before), as_parts(after))
    assert difference(from_parts({k: v for k, v in parts.items() if v is not None}), after) == []


@contextmanager
def _runner() -> Iterator[Callable[[Warehouse], Structure]]:
    with asyncio.Runner() as runner:
        yield lambda warehouse: structure_of(runner.run(warehouse.catalog()))


@pytest.fixture(scope="module")
def postgres(server: EmbeddedServer) -> Iterator[Place]:
    """A schema of the run's server."""
    url = server.url_for(database="postgres")
    warehouse = PostgresWarehouse("shop", PostgresOptions(url=SecretStr(url), schemas=("changing",)))
    with psycopg.connect(url, autocommit=True) as connection, _runner() as look:
        connection.execute("set client_min_messages to warning")
        connection.execute("set search_path to changing")

        def run(statements: Sequence[str]) -> None:
            for statement in statements:
                connection.execute(statement)

        def reset() -> None:
            run(["drop schema if exists changing cascade", "create schema changing"])

        yield Place(reset, run, lambda: look(warehouse), has_identities=True)
        connection.execute("drop schema if exists changing cascade")


@pytest.fixture(scope="module")
def duck(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A DuckDB file, which keeps no identities."""
    path: Path = tmp_path_factory.mktemp("duck") / "shop.duckdb"
    warehouse = DuckdbWarehouse("shop", DuckdbOptions(path=path))

    def change(statements: Sequence[str]) -> None:
        run(path, *statements)

    with _runner() as look:
        yield Place(lambda: path.unlink(missing_ok=True), change, lambda: look(warehouse), has_identities=False)


def _examples(number: int) -> settings:
    return settings(
        max_examples=number * TIMES,
        deadline=None,
        derandomize=TIMES == 1,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


@_examples(50)
@given(plan=plans(has_identities=True))
def test_postgres_tells_what_was_done(postgres: Place, plan: Plan) -> None:
    """Random operations on PostgreSQL are told as exactly those operations, and the way back as their opposites."""
    _holds(postgres, plan, "changing")


@_examples(8)
@given(plan=plans(has_identities=False))
def test_duckdb_tells_what_was_done(duck: Place, plan: Plan) -> None:
    """The same on DuckDB, which keeps no identities."""
    _holds(duck, plan, "main")
