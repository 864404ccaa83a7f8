"""Random renames on DuckDB, which keeps no identities: what columns hold tells, and a wrong rename is never told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agents.structure.changes import Change
from agents.structure.difference import difference
from agents.structure.known import Content, KnownTable, Sketched, Structure, structure_of
from integrations.warehouses.duckdb import DuckdbOptions, DuckdbWarehouse
from tests.duck import run
from tests.properties.ground import TIMES

AT: Final = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
SKETCH: Final = 48
ROWS: Final = 120
TYPES: Final = ("integer", "bigint", "varchar")
RENAMES: Final = {
    "customer_id": "cust_id",
    "quantity": "qty",
    "order_number": "order_no",
    "shipping_address": "ship_addr",
    "amount": "amt",
    "origin_id": "source_id",
    "product_code": "prod_code",
    "lat": "latitude",
}
UNRELATED: Final = ("zeta", "omicron", "kappa", "lambda_x")
FRESH: Final = ("lag", "note", "checked", "batch")


@dataclass
class Plan:
    """A table before and after: columns with type and first value, and what became of them."""

    before: list[tuple[str, str, int]] = field(default_factory=list)
    after: list[tuple[str, str, int]] = field(default_factory=list)
    renamed: dict[str, str] = field(default_factory=dict)
    dropped: set[str] = field(default_factory=set)
    added: set[str] = field(default_factory=set)
    by_alter: bool = True


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    """Columns of few types; some hold the same values, some change names, some go, others come with other values."""
    plan = Plan(by_alter=draw(st.booleans()))
    names = draw(st.lists(st.sampled_from(list(RENAMES)), unique=True, min_size=2, max_size=6))
    strange = list(UNRELATED)
    start = 0
    for name in names:
        start = start if draw(st.integers(0, 5)) == 0 else start + 10_000
        column = (name, draw(st.sampled_from(TYPES)), start)
        plan.before.append(column)
        way = draw(st.sampled_from(["", "", "rename", "rename", "rename strangely", "drop"]))
        if way == "rename" or (way == "rename strangely" and strange):
            plan.renamed[name] = RENAMES[name] if way == "rename" else strange.pop()
            plan.after.append((plan.renamed[name], *column[1:]))
        elif way == "drop" and len(plan.dropped) + 1 < len(names):
            plan.dropped.add(name)
        else:
            plan.after.append(column)
    for name in draw(st.lists(st.sampled_from(FRESH), unique=True, max_size=2)):
        start += 10_000
        plan.after.append((name, draw(st.sampled_from(TYPES)), start))
        plan.added.add(name)
    return plan


def _values(columns: Sequence[tuple[str, str, int]]) -> str:
    return ", ".join(f"(i + {start})::{type_} as {name}" for name, type_, start in columns)


def _made(name: str, columns: Sequence[tuple[str, str, int]]) -> str:
    return f"create table {name} as select {_values([('id', 'integer', 0), *columns])} from range({ROWS}) r(i)"


def _steps(plan: Plan) -> list[str]:
    """From one to the other by ALTER, or a table made beside it and swapped in."""
    if not plan.by_alter:
        return [_made("orders_new", plan.after), "drop table orders", "alter table orders_new rename to orders"]
    steps = [f"alter table orders rename column {a} to {b}" for a, b in plan.renamed.items()]
    steps += [f"alter table orders drop column {name}" for name in sorted(plan.dropped)]
    for name, type_, start in plan.after:
        if name in plan.added:
            steps.append(f"alter table orders add column {name} {type_}")
            steps.append(f"update orders set {name} = (id + {start})::{type_}")
    return steps


@dataclass(frozen=True)
class Place:
    """A DuckDB file to change, and to look at with what its columns hold."""

    reset: Callable[[], None]
    run: Callable[..., None]
    look: Callable[[], Structure]


@pytest.fixture(scope="module")
def duck(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A file of its own."""
    path: Path = tmp_path_factory.mktemp("duck") / "shop.duckdb"
    warehouse = DuckdbWarehouse("shop", DuckdbOptions(path=path))

    async def sketched(table: KnownTable) -> KnownTable:
        profile = await warehouse.profile(table.path, sketch=SKETCH)
        content = {
            name: Content(profile.rows, c.nulls, c.distinct or 0, tuple(h[:12] for h in c.sketch), SKETCH)
            for name, c in profile.columns.items()
        }
        return replace(table, rows=-1, sketched=Sketched(AT, -1, content))

    async def seen() -> Structure:
        structure = structure_of(await warehouse.catalog())
        return replace(structure, tables={path: await sketched(table) for path, table in structure.tables.items()})

    with asyncio.Runner() as runner:
        yield Place(lambda: path.unlink(missing_ok=True), partial(run, path), lambda: runner.run(seen()))


def _covered(changes: Sequence[Change], before: str, after: str) -> bool:
    """Is that rename told, or left open by what could not be told apart?"""
    return any(
        (c.kind == "column_renamed" and (c.payload["before"], c.payload["after"]) == (before, after))
        or (c.kind == "columns_ambiguous" and before in c.payload["dropped"] and after in c.payload["added"])
        for c in changes
    )


@settings(
    max_examples=30 * TIMES,
    deadline=None,
    derandomize=TIMES == 1,
    database=None,
    suppress_health_check=list(HealthCheck),
)
@given(plan=plans())
def test_no_rename_is_told_wrongly_and_none_is_lost(duck: Place, plan: Plan) -> None:
    """Every rename is told with a confidence, or lies within an ambiguity; nothing that came is what went."""
    duck.reset()
    duck.run(_made("orders", plan.before))
    before = duck.look()
    duck.run(*_steps(plan))
    after = duck.look()
    changes = difference(before, after)
    told = {c.payload["before"]: c.payload["after"] for c in changes if c.kind == "column_renamed"}
    assert told.items() <= plan.renamed.items(), "a wrong one is never told"
    assert all(0 < c.payload["confidence"] < 1 for c in changes if c.kind == "column_renamed")
    assert [pair for pair in plan.renamed.items() if not _covered(changes, *pair)] == []
    open_ones = {name for c in changes if c.kind == "columns_ambiguous" for name in c.payload["dropped"]}
    new_ones = {name for c in changes if c.kind == "columns_ambiguous" for name in c.payload["added"]}
    assert plan.dropped == {c.column for c in changes if c.kind == "column_dropped"} | (open_ones - set(plan.renamed))
    assert plan.added == {c.column for c in changes if c.kind == "column_added"} | (
        new_ones - set(plan.renamed.values())
    )
    assert difference(after, after) == []
