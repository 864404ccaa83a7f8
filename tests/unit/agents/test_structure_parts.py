"""The parts structure is compared by: types, texts, assignments, swaps, JSON and back."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import UTC, datetime
from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.structure import texts
from agents.structure.assignment import best
from agents.structure.difference import difference
from agents.structure.known import Content, KnownTable, Sketched, Structure, structure_of
from agents.structure.parts import as_parts, changed_parts, from_parts
from agents.structure.types import is_akin, normal, retyping
from config.errors import SourceError
from integrations.base import Catalog, Column, Constraint, Enumeration, Grant, Index, NumberSequence, Table

NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("INT4", "integer"),
        ("int", "INTEGER"),
        ("int(11)", "integer"),
        ("INT8", "bigint"),
        ("VARCHAR(50)", "character varying(50)"),
        ("varchar ( 50 )", "character varying(50)"),
        ("DECIMAL", "numeric"),
        ("decimal(10)", "numeric(10,0)"),
        ("decimal(10, 2)", "numeric(10,2)"),
        ("BOOL", "boolean"),
        ("timestamp", "timestamp without time zone"),
        ("timestamp(3)", "timestamp(3) without time zone"),
        ("timestamptz", "timestamp with time zone"),
        ("TIME", "time without time zone"),
        ("double", "double precision"),
        ("float8", "double precision"),
        ("real", "float4"),
        ("char", "character(1)"),
        ("int4[]", "integer[]"),
        ("varchar(9)[]", "character varying(9)[]"),
        ("int unsigned", "uint32"),
    ],
)
def test_one_type_by_two_names(one: str, other: str) -> None:
    """Both are written one way, and nothing changes from one to the other."""
    assert normal(one) == normal(other)
    assert retyping(one, other).how == "same"


@pytest.mark.parametrize(
    ("before", "after", "how", "aspect"),
    [
        ("varchar(50)", "text", "widens", ""),
        ("text", "varchar(50)", "narrows", "length"),
        ("varchar(50)", "varchar(20)", "narrows", "length"),
        ("character varying", "text", "same", ""),
        ("char(3)", "varchar(3)", "other", "representation"),
        ("numeric(10,2)", "numeric(10,0)", "narrows", "scale"),
        ("numeric(10,2)", "numeric(12,2)", "widens", ""),
        ("numeric(10,2)", "numeric(10,4)", "narrows", "range"),
        ("numeric(10,2)", "numeric", "widens", ""),
        ("numeric", "numeric(38,9)", "narrows", "scale"),
        ("numeric(10,2)", "integer", "narrows", "scale"),
        ("numeric(8,0)", "integer", "widens", ""),
        ("integer", "bigint", "widens", ""),
        ("bigint", "integer", "narrows", "range"),
        ("int unsigned", "int", "narrows", "range"),
        ("integer", "numeric(10,0)", "widens", ""),
        ("integer", "numeric(5,0)", "narrows", "range"),
        ("integer", "double precision", "widens", ""),
        ("bigint", "double precision", "narrows", "exactness"),
        ("numeric(10,2)", "real", "narrows", "exactness"),
        ("real", "double precision", "widens", ""),
        ("double precision", "real", "narrows", "exactness"),
        ("double precision", "integer", "narrows", "scale"),
        ("timestamptz", "timestamp", "other", "time zone"),
        ("timestamp", "timestamptz", "other", "time zone"),
        ("timestamp(6)", "timestamp(3)", "narrows", "fraction"),
        ("date", "timestamp", "widens", ""),
        ("timestamp", "date", "narrows", "time of day"),
        ("json", "jsonb", "other", "representation"),
        ("integer", "text", "other", ""),
        ("text", "integer", "other", ""),
        ("uuid", "text", "other", ""),
        ("integer[]", "bigint[]", "widens", ""),
        ("integer", "integer[]", "other", ""),
        ("enum('a','b')", "enum('a','b','c')", "widens", ""),
        ("enum('a','b')", "enum('a')", "narrows", "values"),
        ("raw.mood", "raw.colour", "other", ""),
    ],
)
def test_retyping(before: str, after: str, how: str, aspect: str) -> None:
    """More fits, less fits (and what is lost), or it is something else."""
    found = retyping(before, after)
    assert (found.how, found.aspect) == (how, aspect)
    assert is_akin(before, after) is (how != "other" or bool(aspect))


@given(st.text(max_size=30))
def test_any_text_is_some_type(text: str) -> None:
    """Whatever an engine calls a type can be compared, and normal names stay as they are."""
    assert normal(normal(text)) == normal(text)
    assert retyping(text, text).how == "same"


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        ("'new'", "'new'::text", True),
        ("'new'::character varying", "'new'::text", True),
        ("'a::b'", "'a'", False),
        ("'2020-01-01'::date", "('2020-01-01'::text)::date", True),
        ("0", "(0)::numeric(10,2)", True),
        ("now()", "NOW()", True),
        ("now()", "(now() AT TIME ZONE 'utc'::text)", False),
        ("now()::date", "now()", False),
        ("CAST('new' AS VARCHAR)", "'new'", True),
        ("nextval('raw.a_id_seq'::regclass)", "nextval('raw.b_id_seq'::regclass)", True),
        ("CHECK ((amount > 0))", "CHECK (amount > (0)::numeric)", True),
        ("CHECK (amount > 0)", "CHECK (amount >= 0)", False),
        ("lower(name)", "lower((name)::text)", True),
        ('lower("Name")', "lower(name)", False),
        ("a and (b or c)", "a and b or c", False),
        ("f(x)", "f x", False),
        ("", "", True),
    ],
)
def test_texts(one: str, other: str, alike: bool) -> None:
    """Casts and brackets that say nothing are passed over; those that say something are not."""
    assert texts.is_alike(one, other) is alike
    assert texts.is_alike(other, one) is alike


def test_texts_with_renames() -> None:
    """A name that changed may stand in its new form, and a view may call it by its old one."""
    renames = {("customer_id", "cust_id")}
    assert texts.is_alike("CHECK (customer_id > 0)", "CHECK (cust_id > 0)", renames)
    assert not texts.is_alike("CHECK (order_id > 0)", "CHECK (cust_id > 0)", renames)
    before, after = "select customer_id from o", "select cust_id as customer_id from o"
    assert texts.is_same_query(before, after, renames)
    assert not texts.is_same_query(before, after)
    assert not texts.is_same_query(before, "select other as customer_id from o", renames)
    assert texts.is_same_query("select 1 as a;", "SELECT 1\n  AS a")


@given(st.text(max_size=60))
def test_any_text_is_like_itself(text: str) -> None:
    """Whatever an engine writes can be read, brackets open or not."""
    assert texts.words(text) == texts.words(text + " ")
    assert texts.is_alike(text, f" {text}") or text != text.strip()


@given(
    st.integers(0, 4),
    st.integers(0, 4),
    st.data(),
)
def test_the_best_assignment(rows: int, columns: int, data: st.DataObject) -> None:
    """It is what trying all gives; a pair's margin is what is lost without it."""
    places = st.tuples(st.integers(0, max(rows - 1, 0)), st.integers(0, max(columns - 1, 0)))
    scores = data.draw(st.dictionaries(places, st.integers(1, 9))) if rows and columns else {}
    found = best(rows, columns, scores)
    total = sum(scores[c.row, c.column] for c in found)
    assert total == _by_trying(rows, columns, scores)
    for chosen in found:
        rest = {place: score for place, score in scores.items() if place != (chosen.row, chosen.column)}
        assert chosen.margin == total - _by_trying(rows, columns, rest)


def _by_trying(rows: int, columns: int, scores: dict[tuple[int, int], int]) -> int:
    most = 0
    for way in product(range(-1, columns), repeat=rows):
        taken = [c for c in way if c >= 0]
        if len(set(taken)) == len(taken) and all((r, c) in scores for r, c in enumerate(way) if c >= 0):
            most = max(most, sum(scores[r, c] for r, c in enumerate(way) if c >= 0))
    return most


# --- comparing -----------------------------------------------------------------------------------------------------


def _content(values: range) -> Content:
    hashes = sorted(hashlib.md5(str(v).encode(), usedforsecurity=False).hexdigest()[:12] for v in values)
    return Content(len(values), 0, len(values), tuple(hashes[:48]), 48)


def _table(*columns: tuple[str, str, range | None], **more: Any) -> dict[str, KnownTable]:
    listed = tuple(Column(name, place, type_, True) for place, (name, type_, _) in enumerate(columns, 1))
    content = {name: _content(values) for name, _, values in columns if values is not None}
    table = KnownTable("raw", "t", "table", None, 9, listed, Sketched(NOW, 9, content), **more)
    return {table.path: table}


def _renames(before: dict[str, KnownTable], after: dict[str, KnownTable]) -> dict[str, str]:
    return {c.column: c.payload["after"] for c in difference(before, after) if c.kind == "column_renamed"}


def test_three_names_go_round() -> None:
    """Three columns that exchanged names in a circle are three renames; one that only has new values is none."""
    one, two, three, other = range(100), range(1000, 1100), range(5000, 5100), range(20_000, 20_100)
    before = _table(("a", "integer", one), ("b", "integer", two), ("c", "integer", three), ("d", "integer", other))
    after = _table(
        ("a", "integer", three), ("b", "integer", one), ("c", "integer", two), ("d", "integer", range(9000, 9100))
    )
    assert _renames(before, after) == {"a": "b", "b": "c", "c": "a"}
    assert _renames(before, _table(("a", "integer", two), ("b", "integer", two), ("c", "integer", three))) == {}


def test_the_whole_counts() -> None:
    """Each by itself would fit both; together there is one way that fits best, and it is clear."""
    same = range(200)
    before = _table(("customer_id", "integer", same), ("customer_group_id", "integer", same), ("n", "integer", None))
    after = _table(("cust_id", "integer", same), ("cust_group_id", "integer", same), ("n", "integer", None))
    assert _renames(before, after) == {"customer_id": "cust_id", "customer_group_id": "cust_group_id"}


def test_keys_are_evidence() -> None:
    """Two new columns hold the same; the one that is the key now is the one that was."""
    values = range(300)
    key = Constraint("k", "primary_key", ("code",), "PRIMARY KEY (code)")
    before = _table(("code", "integer", values), ("x", "text", None), constraints=(key,))
    new_key = replace(key, columns=("number",), definition="PRIMARY KEY (number)")
    after = _table(
        ("x", "text", None), ("number", "integer", values), ("copied", "integer", values), constraints=(new_key,)
    )
    assert _renames(before, after) == {"code": "number"}
    assert "code" not in _renames(before, {p: replace(t, constraints=()) for p, t in after.items()})


def test_made_up_names_are_no_change() -> None:
    """A key named after another table is the same key; a name that somebody gave is told."""
    made = Constraint("t_new_pkey", "primary_key", ("id",), "PRIMARY KEY (id)")
    before = _table(("id", "integer", None), constraints=(replace(made, name="t_pkey"),))
    assert difference(before, _table(("id", "integer", None), constraints=(made,))) == []
    (told,) = difference(before, _table(("id", "integer", None), constraints=(replace(made, name="the key"),)))
    assert (told.kind, told.payload["what"], told.payload["after"]) == ("constraint_altered", "name", "the key")


# --- JSON ----------------------------------------------------------------------------------------------------------


def _catalog() -> Catalog:
    columns = (
        Column("id", 1, "integer", False, None, "1", numbering="always"),
        Column("name", 2, "text", True, "'x'", "2", comment="who", collation="C"),
    )
    table = Table(
        "raw",
        "people",
        columns,
        identity="7",
        rows=30,
        comment="all",
        constraints=(Constraint("k", "primary_key", ("id",), "PRIMARY KEY (id)"),),
        indexes=(Index("i", ("name",), True, "btree (name)"),),
        partitioning="LIST (name)",
        owner="team",
        grants=(Grant("reader", ("SELECT",)),),
    )
    view = Table("raw", "seen", columns[:1], kind="view", definition="select id from people")
    mood = Enumeration("raw", "mood", ("sad", "ok"), "9")
    numbers = NumberSequence("raw", "numbers", "bigint increment 1", "10")
    return Catalog((table, view), NOW, "f", ("hidden",), (mood,), (numbers,))


def test_parts_read_back() -> None:
    """Everything a catalog tells, and what was found in the columns, survives; defaults are not written."""
    structure = structure_of(_catalog())
    table = replace(structure.tables["raw.people"], sketched=Sketched(NOW, 30, {"id": _content(range(9))}), postponed=2)
    structure = replace(structure, tables={**structure.tables, "raw.people": table})
    parts = as_parts(structure)
    assert from_parts(parts) == structure
    assert sorted(parts) == [
        "enumerations",
        "invisible",
        "sequences",
        "sketch:raw.people",
        "table:raw.people",
        "table:raw.seen",
    ]
    assert "comment" not in parts["table:raw.seen"]
    assert structure_of(_catalog(), ["raw.p*", "*.mood"]).tables.keys() == {"raw.seen"}
    assert structure_of(_catalog(), ["raw.p*", "*.mood"]).enumerations == {}
    assert from_parts({}) == Structure()


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("table:raw.people", {"schema": "raw"}),
        ("table:raw.people", 7),
        ("enumerations", [{"schema": "raw"}]),
        ("sequences", "all"),
        ("invisible", 3),
    ],
)
def test_a_part_misread(name: str, part: Any) -> None:
    """It is named, and nothing it holds is shown."""
    with pytest.raises(SourceError, match=f"part '{name}'") as caught:
        from_parts({name: part})
    assert caught.value.hint


def test_only_changed_parts_are_written() -> None:
    """A row estimate that hardly moved is no reason to write; one that doubled is, and so is anything else."""
    parts = as_parts(structure_of(_catalog()))
    people = parts["table:raw.people"]
    assert changed_parts(parts, parts) == {}
    assert changed_parts(parts, {**parts, "table:raw.people": {**people, "rows": 40}}) == {}
    for change in ({"rows": 100}, {"rows": -1}, {"comment": "some"}):
        assert changed_parts(parts, {**parts, "table:raw.people": people | change}) == {
            "table:raw.people": people | change
        }
    left = {name: part for name, part in parts.items() if name != "table:raw.seen"}
    assert changed_parts(parts, left) == {"table:raw.seen": None}
