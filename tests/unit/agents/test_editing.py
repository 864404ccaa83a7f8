"""Edits of model text: the cases of editing_cases.yaml, and what must hold of any edit."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from agents.editing import Cast, Change, Rename, SourceTable, Unclear, edit_columns, set_identifier

CASES: list[dict[str, Any]] = YAML(typ="safe").load(Path(__file__).with_name("editing_cases.yaml"))


def changes_of(edit: dict[str, Any]) -> dict[str, Change]:
    """The `edit` of a case as changes."""
    return {k: Cast(v["cast"]) if isinstance(v, dict) else Rename(v) for k, v in edit.items()}


def edited(before: str, edit: dict[str, Any]) -> str:
    """The text after the edit of a case."""
    return edit_columns(before, changes_of(edit), table="raw.orders", source=("shop", "orders")).text


@pytest.mark.parametrize("case", CASES, ids=[c["name"] for c in CASES])
def test_case(case: dict[str, Any]) -> None:
    """Byte for byte as the case says, or refused for the reason it says."""
    if "unfit" in case:
        with pytest.raises(Unclear, match=case["unfit"]):
            edited(case["before"], case["edit"])
    else:
        assert edited(case["before"], case["edit"]) == case["after"]


def test_enough_cases() -> None:
    """The table of cases has no twins and keeps its breadth."""
    names = [case["name"] for case in CASES]
    assert len(set(names)) == len(names) >= 30


JUNK = st.sampled_from(
    ["", " ", "\n", "\t", "/* customer_id */", "-- customer_id\n", "{# customer_id #}", " \n\n  ", "/* ü {{ 1 }} */"]
)
EXPRESSIONS = st.sampled_from(
    [
        ("{c} as x{i}", "{n} as x{i}"),
        ("lower({c}) as x{i}", "lower({n}) as x{i}"),
        ("'customer_id' as x{i}", "'customer_id' as x{i}"),
        ("status as x{i}", "status as x{i}"),
        ('"Customer_id" as x{i}', '"Customer_id" as x{i}'),
        ("coalesce({c},{c}, 0)::text as x{i}", "coalesce({n},{n}, 0)::text as x{i}"),
        ("{c}::int  as  x{i}", "{n}::int  as  x{i}"),
        ("{{{{ cents('total') }}}} as x{i}", "{{{{ cents('total') }}}} as x{i}"),
    ]
)


@given(
    items=st.lists(st.tuples(EXPRESSIONS, JUNK, JUNK), min_size=1, max_size=8),
    spelling=st.sampled_from(["customer_id", "CUSTOMER_ID", '"customer_id"', "o.customer_id", "o.Customer_Id"]),
    ends=st.tuples(JUNK, JUNK),
)
def test_only_the_touched_tokens_change(
    items: list[tuple[tuple[str, str], str, str]], spelling: str, ends: tuple[str, str]
) -> None:
    """Whatever stands around them, comments and blanks included, comes through byte for byte."""
    new = ("o." if spelling.startswith("o.") else "") + "buyer_id"

    def text(which: int) -> str:
        listed = ",".join(
            f"{left} {pair[which].format(c=spelling, n=new, i=i)} {right}"
            for i, (pair, left, right) in enumerate(items)
        )
        return f"{ends[0]} select {listed}\nfrom {{{{ source('shop', 'orders') }}}} as o {ends[1]}"

    assert edited(text(0), {"customer_id": "buyer_id"}) == text(1)


@given(st.text(max_size=60))
def test_any_text_is_edited_or_refused(noise: str) -> None:
    """Nothing but Unclear is raised, and text that is accepted still holds its noise."""
    before = f"select customer_id from {{{{ source('shop', 'orders') }}}} {noise}"
    try:
        after = edited(before, {"customer_id": "buyer_id"})
    except Unclear:
        return
    # The noise may be a second relation; then the column gets a qualifier.
    rest = before.removeprefix("select customer_id")
    assert re.fullmatch(r"select (.*\.)?buyer_id as customer_id", after.removesuffix(rest), re.DOTALL)
    assert after.endswith(rest)


SOURCES = """\
version: 2

sources:
  - name: shop   # the shop
    schema: raw
    tables:
      - name: customers
      - name: "orders"  # daily
        description: what was ordered
      - { name: refunds, description: money back }
      - description: parcels
        name: shipments
        identifier: parcels  # was shipments
  - name: other
    tables:
      - name: orders
"""


def test_identifier_in_block_style() -> None:
    """A line of its own under the name, at the name's depth, comments kept."""
    after = set_identifier(SOURCES, SourceTable("shop", "orders"), "sales_orders")
    line = '      - name: "orders"  # daily\n'
    assert after == SOURCES.replace(line, line + "        identifier: sales_orders\n")
    assert YAML(typ="safe").load(after)["sources"][0]["tables"][1]["identifier"] == "sales_orders"


def test_identifier_in_flow_style() -> None:
    """Inside the braces, behind the name."""
    after = set_identifier(SOURCES, SourceTable("shop", "refunds"), "Money back")
    assert '{ name: refunds, identifier: "Money back", description: money back }' in after
    assert len(after) == len(SOURCES) + len(', identifier: "Money back"')


def test_identifier_that_is_there_is_replaced() -> None:
    """The value alone changes."""
    after = set_identifier(SOURCES, SourceTable("shop", "shipments"), "yes")
    assert after == SOURCES.replace("identifier: parcels", 'identifier: "yes"')


def test_identifier_at_the_end_without_a_newline() -> None:
    """The last line of a file may lack its newline; Windows line ends stay."""
    after = set_identifier(SOURCES.rstrip("\n"), SourceTable("other", "orders"), "x")
    assert after == SOURCES.rstrip("\n") + "\n        identifier: x"
    windows = SOURCES.replace("\n", "\r\n")
    assert set_identifier(windows, SourceTable("shop", "customers"), "x") == windows.replace(
        "- name: customers\r\n", "- name: customers\r\n        identifier: x\r\n"
    )


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("sources: [", "not valid YAML"),
        ("version: 2", "declared 0 times"),
        (SOURCES + "  - name: shop\n    tables: [{ name: orders }]\n", "declared 2 times"),
        ("b: &b { x: 1 }\nsources: [{ name: shop, tables: [{ <<: *b, name: orders }] }]", "merge"),
        ("sources: [{ name: shop, tables: orders }]", "declared 0 times"),
    ],
)
def test_identifier_is_not_guessed(text: str, reason: str) -> None:
    """Anything but one plain declaration is refused."""
    with pytest.raises(Unclear, match=re.escape(reason)):
        set_identifier(text, SourceTable("shop", "orders"), "x")
