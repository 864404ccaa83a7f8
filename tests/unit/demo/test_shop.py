"""The shop's rows: the same every time, in daily batches that are small beside the history."""

from __future__ import annotations

from collections import Counter
from datetime import date

from dataswarm.demo.raw_tables import TABLES
from dataswarm.demo.shop import Shop
from dataswarm.demo.world import DEFAULT_HISTORY_DAYS

FIRST = date(2026, 3, 2)


def test_a_day_is_the_same_every_time() -> None:
    """Two shops of one seed agree, however they are asked; another seed does not."""
    forwards, backwards, other = Shop(3, FIRST), Shop(3, FIRST), Shop(4, FIRST)
    there = [forwards.rows(table, day) for day in (5, 40) for table in TABLES]
    back = [backwards.rows(table, day) for day in (40, 5) for table in reversed(TABLES)]
    assert there == back[::-1]
    assert there != [other.rows(table, day) for day in (5, 40) for table in TABLES]


def test_a_batch_is_small_beside_the_history() -> None:
    """After the default history no daily batch is over 1.2 % of its table, and every table gets rows every day."""
    shop = Shop(11, FIRST)
    week = range(DEFAULT_HISTORY_DAYS, DEFAULT_HISTORY_DAYS + 7)
    for table in TABLES:
        total = sum(len(shop.rows(table, day)) for day in range(DEFAULT_HISTORY_DAYS))
        sizes = [len(shop.rows(table, day)) for day in week]
        assert min(sizes) > 0
        assert max(sizes) / total <= 0.012, table


def test_sales_have_a_weekly_rhythm_and_grow() -> None:
    """Saturdays beat Tuesdays, and the last month beats the first."""
    shop = Shop(5, FIRST)
    by_weekday: Counter[int] = Counter()
    sizes = [len(shop.rows("orders", day)) for day in range(168)]
    for day, size in enumerate(sizes):
        by_weekday[shop.day(day).weekday()] += size
    assert by_weekday[5] > by_weekday[1] * 1.15
    assert sum(sizes[-28:]) > sum(sizes[28:56])


def test_keys_are_unique_and_references_resolve() -> None:
    """No key comes twice over the days, and no row points to what has not arrived by its own day."""
    shop = Shop(9, FIRST)
    keys: dict[str, set[object]] = {table: set() for table in TABLES}
    for day in range(40):
        batch = {table: shop.rows(table, day) for table in TABLES}
        for table, rows in batch.items():
            fresh = {row[0] for row in rows}
            assert len(fresh) == len(rows)
            assert not fresh & keys[table]
            keys[table] |= fresh
        assert {row[1] for row in batch["orders"]} <= keys["customers"]
        assert {row[2] for row in batch["order_items"]} <= keys["products"]
        for table in ("order_items", "payments", "shipments", "refunds"):
            assert {row[1] for row in batch[table]} <= keys["orders"]
