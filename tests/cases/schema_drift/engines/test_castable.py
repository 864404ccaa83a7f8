"""Can values be read as what they were? Each real engine is asked in its own words, and promises nothing wrong."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from agents.schema_drift.casting import castability
from tests.cases.schema_drift.engines.grounds import GROUNDS, Ground, literal

TEXTS = {
    "postgres": "text",
    "sqlite": "text",
    "mariadb": "varchar(100)",
    "duckdb": "varchar",
    "clickhouse": "Nullable(String)",
}
NUMBERS = dict.fromkeys(TEXTS, "decimal(20, 4)") | {"clickhouse": "Nullable(Decimal(20, 4))"}
VALUES: Sequence[tuple[str, Sequence[str], Sequence[str]]] = [
    ("integer", ["1", "-2147483648", "0042"], ["", "1.5", "five", "99999999999999999999", "1 2", "--1", "0x1F"]),
    ("bigint", ["900000000000000000", "-5"], ["9" * 41, "1e3", "+-1"]),
    ("numeric(6,2)", ["1234.50", "0.1", "-7"], ["12345.6", "0.123", "1,5", "x", "1.2.3"]),
    ("date", ["2024-02-29", "1999-12-31"], ["2023-02-29", "2024-13-01", "31.12.1999", "2024-04-31", "now"]),
]


@pytest.fixture
def ground(engine: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ground]:
    """An empty place in the engine."""
    yield from GROUNDS[engine](request, tmp_path)


def _rows(values: Sequence[str | float | None]) -> str:
    return ", ".join(f"({literal(value)})" for value in values)


def _make(ground: Ground, engine: str, type_: str, values: Sequence[str | float | None]) -> None:
    storage = " engine MergeTree order by ()" if engine == "clickhouse" else ""
    ground.run([f"create table held (v {type_}){storage}", f"insert into held values {_rows(values)}"])


@pytest.mark.parametrize(("before", "good", "bad"), VALUES, ids=[v[0] for v in VALUES])
@pytest.mark.parametrize("engine", list(TEXTS))
async def test_texts(engine: str, ground: Ground, before: str, good: Sequence[str], bad: Sequence[str]) -> None:
    """Texts that are surely what the column held are castable, nulls as well; each bad one is counted."""
    _make(ground, engine, TEXTS[engine], [*good, None])
    table = (ground.schema, "held")
    found = await castability(ground.warehouse, table, "v", before, "text")
    assert (found.castable, found.rejected, found.rows) == (True, 0, len(good) + 1)
    ground.run([f"insert into held values {_rows(bad)}"])
    found = await castability(ground.warehouse, table, "v", before, "text")
    assert (found.castable, found.rejected) == (False, len(bad))


@pytest.mark.parametrize("engine", list(NUMBERS))
async def test_numbers(engine: str, ground: Ground) -> None:
    """Numbers that a wider column holds are castable while they are whole and small enough."""
    _make(ground, engine, NUMBERS[engine], [1, -32768, None])
    table = (ground.schema, "held")
    found = await castability(ground.warehouse, table, "v", "smallint", "numeric(20,4)")
    assert (found.castable, found.rejected, found.rows) == (True, 0, 3)
    ground.run(["insert into held values (1.5), (40000)"])
    found = await castability(ground.warehouse, table, "v", "smallint", "numeric(20,4)")
    assert (found.castable, found.rejected) == (False, 2)


@pytest.mark.parametrize("engine", list(TEXTS))
async def test_what_cannot_be_told_is_not_promised(engine: str, ground: Ground) -> None:
    """Of types for which an engine has no words nothing is said."""
    _make(ground, engine, TEXTS[engine], ["x"])
    found = await castability(ground.warehouse, (ground.schema, "held"), "v", "geometry", "text")
    assert (found.castable, found.rejected, found.rows) == (None, None, None)
