"""Each case is DDL before and after, run on real engines: what changed is told, and nothing else. See README.md."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import pytest
import yaml

from agents.structure.changes import Change
from agents.structure.difference import difference
from agents.structure.known import Content, KnownTable, Sketched, Structure, structure_of
from agents.structure.meaning import meaning
from agents.structure.parts import as_parts, from_parts
from tests.cases.comparing import plain, unmatched
from tests.cases.schema_drift.engines.grounds import GROUNDS, Ground, literal

HERE = Path(__file__).parent
AT = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
SKETCH = 48


def _cases() -> Iterator[Any]:
    for path in sorted(p for p in HERE.glob("*.yaml") if p.name != "reasons.yaml"):
        for case in yaml.safe_load(path.read_text(encoding="utf-8")):
            assert case.get("describe"), f"{path.name}: {case['name']} says what it shows"
            for engine in case["engines"]:
                said = {**case, **case.get("but", {}).get(engine, {})}
                for way, after in said.get("by", {"": said.get("after", "")}).items():
                    if after is None:  # the engine has no such way
                        continue
                    name = "-".join(filter(None, (path.stem, case["name"], way, engine)))
                    yield pytest.param(said, way, engine, id=name)


@pytest.fixture
def ground(engine: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ground]:
    """An empty place in the case's engine."""
    yield from GROUNDS[engine](request, tmp_path)


@pytest.mark.parametrize(("case", "way", "engine"), list(_cases()))
async def test_change(case: dict[str, Any], way: str, engine: str, ground: Ground) -> None:
    """Exactly the expected changes are told, with their class; in another order the catalog is the same."""
    ground.run([*_statements(case.get("before", "")), *_rows(case.get("data", {}))])
    before = await _look(ground)
    ground.run(_statements(case["by"][way] if way else case.get("after", "")))
    after = await _look(ground)
    found = [_told(change, ground.schema) for change in difference(before, after)]
    expected = case["expect"]
    wanted: Any = expected.get(way, expected.get("else")) if isinstance(expected, dict) else expected
    assert not (problem := unmatched(wanted, found)), problem
    assert difference(after, _reversed(after)) == []
    assert from_parts(as_parts(before)) == before, "what is written down reads back the same"


def _statements(written: Any) -> list[str]:
    """Statements apart by `;` at a line's end, or a list of them and of `load: {table: {column: values}}`."""
    found: list[str] = []
    for step in written if isinstance(written, list) else [written]:
        if isinstance(step, Mapping):
            found += _rows(step["load"])
        else:
            found += [s for s in re.split(r";\s*(?:\n|$)", step) if s.strip()]
    return found


def _rows(data: Mapping[str, Any]) -> list[str]:
    """What puts rows into tables, by their names."""
    return [s for table, columns in data.items() for s in _load(table, columns)]


def _load(table: str, columns: Mapping[str, Any]) -> Sequence[str]:
    """One INSERT; columns with fewer values begin again."""
    values = [_values(given) for given in columns.values()]
    rows = zip(*(islice(cycle(v), max(map(len, values))) for v in values), strict=True)
    listed = ", ".join("(" + ", ".join(map(literal, row)) + ")" for row in rows)
    return [f"insert into {table} ({', '.join(columns)}) values {listed}"]


def _values(given: Any) -> list[Any]:
    """`1..500` or a list."""
    if isinstance(given, str) and ".." in given:
        low, _, high = given.partition("..")
        return list(range(int(low), int(high) + 1))
    return given if isinstance(given, list) else [given]


async def _look(ground: Ground) -> Structure:
    """The structure, and what the columns of its tables hold."""
    seen = structure_of(await ground.warehouse.catalog())
    tables = {path: replace(t, rows=-1, sketched=await _sketched(ground, t)) for path, t in seen.tables.items()}
    return replace(seen, tables=tables)


def _reversed(found: Structure) -> Structure:
    """The same catalog in another order."""
    return replace(found, tables=dict(reversed(list(found.tables.items()))))


async def _sketched(ground: Ground, table: KnownTable) -> Sketched | None:
    if table.kind != "table":
        return None
    profile = await ground.warehouse.profile(table.path, sketch=SKETCH)
    content = {
        name: Content(
            profile.rows,
            c.nulls,
            -1 if c.distinct is None else c.distinct,
            tuple(h[:12] for h in c.sketch),
            SKETCH,
        )
        for name, c in profile.columns.items()
    }
    return Sketched(AT, -1, content)


def _told(change: Change, schema: str) -> dict[str, Any]:
    """A change as a case expects it: its payload beside its kind, the schema's name left out, and its class."""
    means = meaning(change, source="shop")
    payload = {k: _bare(v, schema) for k, v in plain(dict(change.payload)).items()}
    return {
        **payload,
        "change": change.kind,
        "about": _bare(change.table, schema),
        "column": change.column or payload.get("column"),
        "class": f"{means.readers}/{means.writers}",
        "rule": means.rule,
    }


def _bare(value: Any, schema: str) -> Any:
    if isinstance(value, str):
        return value.replace(f"{schema}.", "")
    if isinstance(value, list):
        return [_bare(v, schema) for v in value]
    return {k: _bare(v, schema) for k, v in value.items()} if isinstance(value, dict) else value
