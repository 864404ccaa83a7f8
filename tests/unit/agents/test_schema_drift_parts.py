"""The parts schema drift judges by: names, sketches, the bounds of a look, and properties of the whole."""

from __future__ import annotations

import hashlib
import time
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.schema_drift import SchemaDrift, SchemaDriftOptions
from agents.schema_drift.baseline import Head, OpenChange, dump, parse, table_part
from agents.structure import names
from agents.structure.difference import difference
from agents.structure.evidence import Verdict, judge
from agents.structure.known import Content, KnownTable
from agents.structure.parts import from_parts
from integrations.base import Column
from tests.cases.reading import ContextAsData, Shelf
from tests.pace import quick


@pytest.mark.parametrize(
    ("one", "other", "supports"),
    [
        ("customer_id", "cust_id", True),
        ("customerId", "customer_id", True),
        ("quantity", "qty", True),
        ("email", "email_address", True),
        ("lat", "lag", False),
        ("tax_cents", "levy_cents", False),
        ("billing_region", "region_1", False),
        ("a", "b", False),
        ("", "_", False),
    ],
)
def test_names(one: str, other: str, supports: bool) -> None:
    """Abbreviations support a pair; a look-alike letter or a commonplace part does not."""
    commonplace = frozenset({"cents", "id", "region"})
    assert (names.affinity(one, other, commonplace) >= names.SUPPORT) is supports
    assert names.affinity(one, other) == names.affinity(other, one)


def _content(values: range | list[int], *, rows: int = 0, nulls: int = 0, size: int = 48) -> Content:
    hashes = sorted(hashlib.md5(str(v).encode(), usedforsecurity=False).hexdigest()[:12] for v in set(values))
    return Content(rows or len(values) + nulls, nulls, len(hashes), tuple(hashes[:size]), size)


@pytest.mark.parametrize(
    ("before", "after", "verdict"),
    [
        (_content(range(500)), _content(range(500)), Verdict.SAME),
        (_content(range(500)), _content(range(520)), Verdict.SAME),
        (_content(range(500)), _content(range(1200)), Verdict.SAME),
        (_content(range(500)), _content(range(9000)), Verdict.SILENT),
        (_content(range(5000)), _content(range(500)), Verdict.DIFFERENT),
        (_content(range(500)), _content(range(9000, 9500)), Verdict.DIFFERENT),
        (_content(range(500)), _content(range(500), nulls=400), Verdict.DIFFERENT),
        (_content([0, 1]), _content([0, 1]), Verdict.SILENT),
        (_content([]), _content(range(9)), Verdict.SILENT),
    ],
)
def test_contents(before: Content, after: Content, verdict: Verdict) -> None:
    """Same, grown, grown beyond comparing, shrunk, other values, other nulls, too few to tell, nothing there."""
    assert judge(before, after, "integer") is verdict


def test_booleans_say_nothing() -> None:
    """Two booleans always look alike."""
    assert judge(_content([0, 1, 2]), _content([0, 1, 2]), "boolean") is Verdict.SILENT


async def test_a_look_is_bounded() -> None:
    """Ten tables, two a look: first those never looked into, then none until they are old or moved."""
    agent = SchemaDrift(SchemaDriftOptions(tables_per_look=2, sketch_minutes=60))
    shapes: dict[str, Any] = {
        f"raw.t{i}": {"identity": i, "rows": 5, "columns": {"id": {"type": "integer", "values": "1..5"}}}
        for i in range(5)
    }
    shapes["raw.v"] = {"identity": 90, "kind": "view", "columns": {"id": "integer"}}
    shapes["raw.huge"] = {"identity": 91, "rows": 10**9, "columns": {"id": "integer"}}
    baseline, held = None, dict[str, Any]()
    looked: list[list[str]] = []
    for minutes in (0, 1, 2, 3, 70):
        shelf = Shelf("shop", {"tables": shapes})
        context = ContextAsData({"now": minutes}, held)
        sensed = await agent.sense(shelf, baseline, context)
        baseline = sensed.baseline
        context.hold(sensed.parts)
        looked.append(shelf.profiled)
    assert looked == [["raw.t0", "raw.t1"], ["raw.t2", "raw.t3"], ["raw.t4"], [], ["raw.t0", "raw.t1"]]
    moved = {**shapes, "raw.t3": {**shapes["raw.t3"], "rows": 9}}
    shelf = Shelf("shop", {"tables": moved})
    await agent.sense(shelf, baseline, ContextAsData({"now": 71}, held))
    assert shelf.profiled == ["raw.t3", "raw.t2"], "the one whose row estimate moved comes first"


async def test_a_refusal_is_remembered() -> None:
    """A table the reader may not read is asked once, not at every look."""
    agent = SchemaDrift()
    shapes = {"raw.a": {"identity": 1, "fails": "permanent", "columns": {"id": "integer"}}}
    first, second = Shelf("shop", {"tables": shapes}), Shelf("shop", {"tables": shapes})
    context = ContextAsData()
    sensed = await agent.sense(first, None, context)
    context.hold(sensed.parts)
    await agent.sense(second, sensed.baseline, ContextAsData({"now": 600}, context.held))
    assert (first.profiled, second.profiled) == (["raw.a"], [])


async def test_a_baseline_of_another_shape_is_taken_anew() -> None:
    """It is a first look again: nothing is told, nothing breaks."""
    shelf = Shelf("shop", {"tables": {"raw.a": {"identity": 1, "columns": {"id": "integer"}}}})
    for old in ({"shape": 1}, {"shape": 2, "serial": "x"}, "text"):
        context = ContextAsData(held={"table:raw.old": {}, "secret:sketch:raw.old": {}, "passing:seen:raw.old": {}})
        sensed = await SchemaDrift().sense(shelf, old, context)
        assert sensed.observations == ()
        assert parse(sensed.baseline) is not None
        context.hold(sensed.parts)
        assert not [name for name in context.held if "old" in name], "nothing of before is left"


async def test_a_part_that_cannot_be_read_makes_a_first_look() -> None:
    """Somebody's hand in a part is no reason to stop watching: the baseline is taken anew."""
    context = ContextAsData()
    tables = {"raw.a": {"identity": 1, "columns": {"id": "integer"}}}
    sensed = await SchemaDrift().sense(Shelf("shop", {"tables": tables}), None, context)
    context.hold(sensed.parts)
    context.held["table:raw.a"] = {"name": 7}
    changed = {"raw.a": {"identity": 1, "columns": {"id": "text"}}}
    again = await SchemaDrift().sense(Shelf("shop", {"tables": changed}), sensed.baseline, context)
    assert again.observations == ()
    assert again.note == "first look"


# --- properties ----------------------------------------------------------------------------------------------------

_NAMES = st.sampled_from(["id", "customer_id", "cust_id", "tax", "ship", "a b", 'q"', "émile", "x1", "x2"])
_TYPES = st.sampled_from(["integer", "text", "date"])


@st.composite
def _tables(draw: st.DrawFn) -> dict[str, KnownTable]:
    shapes = {}
    for number, name in enumerate(draw(st.lists(st.sampled_from("abcd"), unique=True, max_size=3))):
        listed = draw(st.lists(_NAMES, unique=True, min_size=1, max_size=6))
        has_identity = draw(st.booleans())
        columns = tuple(
            Column(column, place, draw(_TYPES), draw(st.booleans()), None, str(place) if has_identity else None)
            for place, column in enumerate(listed, 1)
        )
        identity = str(1000 + number) if has_identity else None
        shapes[f"raw.{name}"] = KnownTable("raw", name, "table", identity, 5, columns)
    return shapes


@given(_tables())
def test_no_difference_with_itself(tables: dict[str, KnownTable]) -> None:
    """A catalog compared with itself, in another order and made anew, has no changes."""
    assert difference(tables, dict(reversed(tables.items()))) == []
    anew = {
        p: KnownTable(t.schema, t.name, t.kind, t.identity and t.identity + "9", 7, t.columns)
        for p, t in tables.items()
    }
    assert difference(tables, anew) == []


@given(_tables(), st.data())
def test_rename_and_its_inverse(tables: dict[str, KnownTable], data: st.DataObject) -> None:
    """A rename in an engine with identities is told as exactly that rename, and its inverse as its inverse."""
    known = {p: t for p, t in tables.items() if t.identity}
    if not known:
        return
    path = data.draw(st.sampled_from(sorted(known)))
    table = known[path]
    place = data.draw(st.integers(0, len(table.columns) - 1))
    old = table.columns[place]
    new = Column("renamed", old.position, old.type, old.nullable, old.default, old.identity)
    columns = (*table.columns[:place], new, *table.columns[place + 1 :])
    after = {**known, path: KnownTable("raw", table.name, "table", table.identity, 5, columns)}
    (there,) = difference(known, after)
    (back,) = difference(after, known)
    assert (there.kind, there.column, there.payload["after"]) == ("column_renamed", old.name, "renamed")
    assert (back.kind, back.column, back.payload["after"]) == ("column_renamed", "renamed", old.name)


@given(_tables(), _tables())
@settings(max_examples=200)
def test_every_name_is_accounted_for(before: dict[str, KnownTable], after: dict[str, KnownTable]) -> None:
    """Whatever became of the catalogs: no column is told twice, and applying the changes gives the new names."""
    changes = difference(before, after)
    assert len({c.name for c in changes}) == len(changes)
    for path, table in before.items():
        if path not in after:
            continue
        here = [c for c in changes if c.table == path]
        now = {c.name for c in table.columns}
        gone = {c.column for c in here if c.kind in ("column_dropped", "column_renamed")}
        come = {c.column for c in here if c.kind == "column_added"}
        come |= {c.payload["after"] for c in here if c.kind == "column_renamed"}
        for unclear in (c for c in here if c.kind == "columns_ambiguous"):
            gone |= set(unclear.payload["dropped"])
            come |= set(unclear.payload["added"])
        assert (now - gone) | come == {c.name for c in after[path].columns}


@given(_tables())
def test_the_baseline_survives_json(tables: dict[str, KnownTable]) -> None:
    """What is written down reads back the same, rows apart, which move with every load."""
    head = Head(3, "f", open=(OpenChange("k", "schema.x", "raw.a", (("id", "integer"),)),), gone=("raw.b",))
    assert parse(dump(head)) == head
    for path, table in tables.items():
        assert from_parts({f"table:{path}": table_part(table)}).tables == {path: replace(table, rows=-1)}


def test_ten_thousand_columns_are_quick() -> None:
    """Comparing five tables of two thousand columns takes no time to speak of (each column renamed by ALTER)."""

    def wide(prefix: str) -> dict[str, KnownTable]:
        return {
            f"raw.t{n}": KnownTable(
                "raw",
                f"t{n}",
                "table",
                str(n),
                1,
                tuple(Column(f"{prefix}{i}", i, "integer", True, None, str(i)) for i in range(2000)),
            )
            for n in range(5)
        }

    before, after = wide("a"), wide("b")
    begun = time.process_time()
    changes = difference(before, after)
    assert time.process_time() - begun < quick(2), "measured: 0.1 s"
    assert len(changes) == 10_000
    assert {c.kind for c in changes} == {"column_renamed"}
