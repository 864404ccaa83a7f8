"""The shop's own life as numbers: what each daily batch of each raw table contains.

Everything is a function of a seed and a day, so that the warehouse and its golden twin, loaded at different times
and in different portions, hold the same rows. Days are counted from 0 at `first_day`; identifiers grow with the days.
No clock, no database: `rows` makes them, `loader` writes them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from functools import lru_cache
from random import Random
from typing import Final

from dataswarm.demo.raw_tables import Row

# Monday to Sunday: people order at the week's end.
_WEEK: Final = (0.92, 0.88, 0.93, 0.98, 1.10, 1.18, 1.01)
_SAME_REGION: Final = 0.7
_PAID_IN_TWO: Final = 0.08
_KNOWN_VISITOR: Final = 0.6
_REFUND_DAYS: Final = 4
_REGIONS: Final = ("north", "south", "east", "west", "islands")
_FIRST: Final = ("Ada", "Bo", "Cleo", "Dan", "Eve", "Finn", "Gita", "Hugo", "Ines", "Jon", "Kim", "Lea")
_LAST: Final = ("Abel", "Berg", "Costa", "Dietz", "Ek", "Ford", "Gray", "Holm", "Ito", "Jansen", "Kuhn", "Lopez")
_CATEGORIES: Final = ("books", "games", "garden", "kitchen", "music", "sports")


@dataclass(frozen=True, slots=True)
class Span:
    """The identifiers one day brings: [first, first + count) for customers, products, orders, sessions."""

    customers: range
    products: range
    orders: range
    sessions: range


@dataclass(frozen=True, slots=True)
class Shop:
    """One shop: its seed and its first day."""

    seed: int
    first_day: date

    def day(self, index: int) -> date:
        """The calendar day of a batch."""
        return self.first_day + timedelta(days=index)

    def rows(self, table: str, index: int) -> list[Row]:
        """A table's rows of a day, without the load-time columns; the same every time they are asked for.

        Raises:
            KeyError: no such table.
        """
        return _MAKERS[table](self, index)


@lru_cache(maxsize=4096)
def _span(shop: Shop, index: int) -> Span:
    chance = Random(f"{shop.seed}/{index}/volume")  # noqa: S311 - chance that repeats
    if index == 0:
        return Span(range(1, 401), range(1, 161), range(1, 61), range(1, 121))
    before = _span(shop, index - 1)
    rhythm = _WEEK[shop.day(index).weekday()] * (1 + 0.0008 * index)

    def grown(last: range, mean: float, noise: float) -> range:
        count = max(1, round(mean * rhythm * chance.uniform(1 - noise, 1 + noise)))
        return range(last.stop, last.stop + count)

    return Span(
        grown(before.customers, 6, 0.3),
        grown(before.products, 1, 0.2),
        grown(before.orders, 52, 0.06),
        grown(before.sessions, 110, 0.06),
    )


def _chance(shop: Shop, table: str, identifier: int) -> Random:
    return Random(f"{shop.seed}/{table}/{identifier}")  # noqa: S311 - chance that repeats


def _customers(shop: Shop, index: int) -> list[Row]:
    rows: list[Row] = []
    for customer in _span(shop, index).customers:
        chance = _chance(shop, "customers", customer)
        first, last = chance.choice(_FIRST), chance.choice(_LAST)
        billing = chance.choice(_REGIONS)
        delivery = billing if chance.random() < _SAME_REGION else chance.choice(_REGIONS)
        email = f"{first}.{last}{customer}@mail.example".lower()
        points = chance.randrange(0, 900)
        rows.append((customer, email, first, last, billing, delivery, points, shop.day(index)))
    return rows


def _price(shop: Shop, product: int) -> int:
    return _chance(shop, "price", product).randrange(400, 12_000)


def _products(shop: Shop, index: int) -> list[Row]:
    rows: list[Row] = []
    for product in _span(shop, index).products:
        category = _CATEGORIES[product % len(_CATEGORIES)]
        price = _price(shop, product)
        cost = round(price * _chance(shop, "cost", product).uniform(0.4, 0.75))
        rows.append((product, f"SKU-{product:05d}", f"{category} no. {product}", category, price, cost))
    return rows


@lru_cache(maxsize=512)
def _orders(shop: Shop, index: int) -> list[Row]:
    span = _span(shop, index)
    rows: list[Row] = []
    for order in span.orders:
        chance = _chance(shop, "orders", order)
        at = datetime.combine(shop.day(index), time()) + timedelta(seconds=chance.randrange(86_400))
        status = chance.choices(("paid", "placed", "cancelled"), (90, 6, 4))[0]
        channel = chance.choices(("web", "app", "phone"), (55, 38, 7))[0]
        customer = chance.randrange(1, span.customers.stop)
        # Tax and shipping look alike on purpose: renamed together, no rule can tell which is which.
        tax, shipping = chance.randrange(100, 1_500), chance.randrange(100, 1_500)
        discount = chance.choice((0, 0, 0, 100, 250, 500))
        rows.append((order, customer, at, status, channel, tax, shipping, discount))
    return rows


def _of_orders(maker: Callable[[Shop, Row], list[Row]]) -> Callable[[Shop, int], list[Row]]:
    return lambda shop, index: [row for order in _orders(shop, index) for row in maker(shop, order)]


def _lines(shop: Shop, order: Row) -> list[Row]:
    number = int(str(order[0]))
    chance = _chance(shop, "order_items", number)
    rows: list[Row] = []
    for line in range(chance.choices((1, 2, 3, 4), (38, 34, 18, 10))[0]):
        # The first day's catalogue is always there: an item never points to a product of tomorrow.
        product = chance.randrange(1, 161)
        quantity = chance.choices((1, 2, 3, 5), (70, 18, 8, 4))[0]
        rows.append((number * 10 + line, number, product, quantity, _price(shop, product)))
    return rows


def _payments(shop: Shop, order: Row) -> list[Row]:
    if order[3] != "paid" or not isinstance(order[2], datetime):
        return []
    number = int(str(order[0]))
    chance = _chance(shop, "payments", number)
    parts = 2 if chance.random() < _PAID_IN_TWO else 1
    total = sum(int(str(line[3])) * int(str(line[4])) for line in _lines(shop, order))
    method = chance.choices(("card", "wallet", "transfer"), (64, 24, 12))[0]
    paid_at = order[2] + timedelta(minutes=chance.randrange(1, 90))
    share = total // parts
    amounts = [share] * (parts - 1) + [total - share * (parts - 1)]
    return [(number * 2 + part, number, method, amount, paid_at) for part, amount in enumerate(amounts)]


def _shipments(shop: Shop, index: int) -> list[Row]:
    if index == 0:
        return []
    rows: list[Row] = []
    for order in _orders(shop, index - 1):
        if order[3] == "cancelled":
            continue
        number = int(str(order[0]))
        chance = _chance(shop, "shipments", number)
        carrier = chance.choices(("swift", "post", "pigeon"), (50, 40, 10))[0]
        shipped = shop.day(index)
        delivered = shipped + timedelta(days=chance.choices((1, 2, 3, 6), (40, 35, 20, 5))[0])
        rows.append((number + 100_000, number, carrier, shipped, delivered, chance.randrange(120, 9_000)))
    return rows


def _refunds(shop: Shop, index: int) -> list[Row]:
    if index < _REFUND_DAYS:
        return []
    paid = [order for order in _orders(shop, index - _REFUND_DAYS) if order[3] == "paid"]
    chance = _chance(shop, "refunds", index)
    rows: list[Row] = []
    for order in sorted(chance.sample(paid, k=max(2, len(paid) // 18)), key=str):
        number = int(str(order[0]))
        reason = chance.choice(("Damaged", "Late", "Not as shown", "Changed mind"))
        rows.append((number + 500_000, number, reason, chance.randrange(300, 4_000), shop.day(index)))
    return rows


def _sessions(shop: Shop, index: int) -> list[Row]:
    span = _span(shop, index)
    rows: list[Row] = []
    for session in span.sessions:
        chance = _chance(shop, "web_sessions", session)
        at = datetime.combine(shop.day(index), time()) + timedelta(seconds=chance.randrange(86_400))
        customer = chance.randrange(1, span.customers.stop) if chance.random() < _KNOWN_VISITOR else None
        device = chance.choices(("phone", "desktop", "tablet"), (60, 32, 8))[0]
        rows.append((session, customer, at, device, chance.randrange(1, 24), chance.randrange(10, 1_800)))
    return rows


_MAKERS: Final[dict[str, Callable[[Shop, int], list[Row]]]] = {
    "customers": _customers,
    "products": _products,
    "orders": _orders,
    "order_items": _of_orders(_lines),
    "payments": _of_orders(_payments),
    "shipments": _shipments,
    "refunds": _refunds,
    "web_sessions": _sessions,
}
