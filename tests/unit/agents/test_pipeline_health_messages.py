"""What error texts say, and what is kept of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.pipeline_health.messages import LONGEST, mentions, read, redact


@pytest.mark.parametrize(
    ("message", "column"),
    [
        ('column "customer_id" does not exist', "customer_id"),
        ("column orders.customer_id does not exist", "customer_id"),
        ('column "customer_id" of relation "orders" does not exist', "customer_id"),
        ('column ""; drop table x" does not exist', '"; drop table x'),
        ("Unknown column 'o.customer_id' in 'field list'", "customer_id"),
        ('Binder Error: Referenced column "customer_id" not found in FROM clause!', "customer_id"),
        ("invalid identifier 'CUSTOMER_ID'", "customer_id"),
    ],
)
def test_missing_columns(message: str, column: str) -> None:
    """Behind an alias or not, in several databases' words; no other column is meant."""
    reading = read(message)
    assert reading.misses_column(column)
    assert not reading.misses_column("id")
    assert reading.is_structural
    assert not reading.transient


@pytest.mark.parametrize(
    ("message", "path"),
    [
        ('relation "raw.orders" does not exist\nLINE 3: from "shop"."raw"."orders"', "raw.orders"),
        ('relation "orders" does not exist', "raw.orders"),
        ("Table 'shop.raw.orders' doesn't exist", "raw.orders"),
    ],
)
def test_missing_relations(message: str, path: str) -> None:
    """By the full or the bare name."""
    assert read(message).misses_relation(path)
    assert not read(message).misses_relation("raw.order_items")


@pytest.mark.parametrize(
    ("message", "type_"),
    [
        ("operator does not exist: text * integer", "text"),
        ("operator does not exist: integer = character varying", "character varying(20)"),
        ("function sum(text) does not exist", "text"),
        ("UNION types text and integer cannot be matched", "text"),
        ("COALESCE types integer and text cannot be matched", "text"),
        ('invalid input syntax for type integer: "12.50"', "integer"),
        ("cannot cast type date to integer", "date"),
    ],
)
def test_type_trouble(message: str, type_: str) -> None:
    """The types are found, and others are not."""
    reading = read(message)
    assert reading.is_type_trouble
    assert reading.names_type(type_)
    assert not reading.names_type("jsonb")
    assert not reading.columns


@pytest.mark.parametrize(
    ("message", "signature"),
    [
        ("canceling statement due to lock timeout", "lock_timeout"),
        ("deadlock detected\nDETAIL: Process 1 waits", "deadlock"),
        ("could not serialize access due to concurrent update", "serialization"),
        ("server closed the connection unexpectedly", "connection"),
        ("FATAL: terminating connection due to administrator command", "connection"),
        ("FATAL: the database system is starting up", "connection"),
        ("canceling statement due to statement timeout", "statement_timeout"),
        ("connection to server at db failed: Connection refused", "connection"),
        ('connection to server failed: FATAL: password authentication failed for user "x"', ""),
        ('connection failed: FATAL: role "dbt" is not permitted to log in', ""),
        ("permission denied for table orders", ""),
        ('syntax error at or near "form"', ""),
        ("", ""),
    ],
)
def test_transient(message: str, signature: str) -> None:
    """What passes by itself, and what does not though it speaks of connections."""
    assert read(message).transient == signature


@given(st.text(max_size=300))
def test_any_text_can_be_read(text: str) -> None:
    """Nothing raises, and what is kept is bounded."""
    read(text)
    mentions(text, "x")
    assert len(redact(text * 20)) <= LONGEST
