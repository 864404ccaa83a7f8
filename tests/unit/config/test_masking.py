"""Secrets do not reach a reader's eye: texts, structures, the shown configuration."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from config.masking import MASK, Veiled, mask, mask_value, scrub
from tests.pace import quick


@pytest.mark.parametrize(
    "text",
    [
        "postgresql://reader:hunter2@db:5432/shop",
        "postgresql://reader:hun/t@er2hunter2@db/shop?sslmode=require",
        "redis://:hunter2@cache/0",
        "cloning https://hunter2@git.example/models.git",
        "host=db user=reader password=hunter2 dbname=shop",
        "host=db password='hunter2 and more' dbname=shop",
        '{"password": "hunter2", "a": 1}',
        "{'api_key': 'hunter2'}",
        "password: hunter2",
        "settings:\n  secret: hunter2\n  other: 1",
        "PGPASSWORD=hunter2 psql",
        "GET /x?access_token=hunter2&y=1",
        "Authorization: Bearer hunter2",
        "authorization=Basic hunter2",
        "bearer hunter2hunter2hunter2",
        "key sk-hunter2hunter2hunter2 is wrong",
        "https://hooks.slack.com/services/T0/B1/hunter2",
        "could not connect to 'mysql+pymysql://root:hunter2@h/d': refused",
    ],
)
def test_secrets_in_text_are_masked(text: str) -> None:
    """Addresses with a password, named values, bearer tokens and keys with a tell-tale beginning."""
    assert "hunter2" not in mask(text)
    assert MASK in mask(text)


@pytest.mark.parametrize(
    "text",
    [
        "postgresql://reader@db:5432/shop",
        "syntax error: unexpected token: )",
        "max_tokens=50000 input_tokens: 12",
        "model.api_key: should be a text",
        "http://127.0.0.1:8321/incidents/7 seen by a@b",
        "warehouse://shop/raw.orders#customer_id",
        "tests of basic authentication passed",
    ],
)
def test_ordinary_text_is_left_alone(text: str) -> None:
    """Masking that eats what people need to read would soon be switched off."""
    assert mask(text) == text


def test_structures_are_masked_by_name_and_by_text() -> None:
    """A telling name hides everything below it; numbers and truth values are no secrets; other objects become text."""
    seen = mask_value(
        {
            "password": "a", "tokens": [{"name": "b", "value": "c"}], "max_tokens": 5, "is_secret": True,
            "note": "postgresql://u:hunter2@h", "deep": {"api-key": ("d", 1)}, "held": SecretStr("e"),
            "veiled": Veiled("f"), "raw": b"g", "none": None, "token": "",
        }
    )  # fmt: skip
    assert seen == {
        "password": MASK, "tokens": [{"name": MASK, "value": MASK}], "max_tokens": 5, "is_secret": True,
        "note": f"postgresql://u:{MASK}@h", "deep": {"api-key": [MASK, 1]}, "held": "**********",
        "veiled": MASK, "raw": "<bytes>", "none": None, "token": "",
    }  # fmt: skip
    loop: list[object] = []
    loop.append(loop)
    assert "list" in str(mask_value(loop))


@given(st.text(min_size=4), st.text(), st.text())
def test_known_values_never_survive_scrubbing(secret: str, before: str, after: str) -> None:
    """Whatever the value and whatever stands around it."""
    if secret not in MASK and not set(secret) <= {"*"}:
        assert secret not in scrub(before + " " + secret + " " + after, [secret]).replace(MASK, "")


@pytest.mark.parametrize("unit", ["a", "://", "://a:", "password", "password=", "a-", "@", "://:@", "bearer ", "'"])
def test_masking_is_quick_on_hostile_text(unit: str) -> None:
    """Long repetitions, as a log line may hold them, take milliseconds."""
    started = time.perf_counter()
    mask(unit * (100_000 // len(unit)))
    assert time.perf_counter() - started < quick(2)
