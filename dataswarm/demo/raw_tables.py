"""The raw tables as the producer first made them; faults change the warehouse, never this page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

Row = tuple[object, ...]
"""One row of a raw table in the order of its business columns, without the load-time columns."""

LOAD_COLUMNS: Final = ("_batch_id", "_loaded_at")
"""Columns the loader adds; two loads of the same business rows differ in these alone."""


@dataclass(frozen=True, slots=True)
class RawTable:
    """A raw table as the producer first made it: columns in order with their PostgreSQL types, key first."""

    name: str
    columns: tuple[tuple[str, str], ...]

    @property
    def key(self) -> str:
        """The column that tells its rows apart."""
        return self.columns[0][0]


def _table(name: str, columns: str) -> RawTable:
    pairs = (part.strip().split(" ", 1) for part in columns.split(","))
    return RawTable(name, tuple((column, kind) for column, kind in pairs))


TABLES: Final[dict[str, RawTable]] = {
    table.name: table
    for table in (
        _table(
            "customers",
            "customer_id integer, email text, first_name text, last_name text, billing_region text,"
            "delivery_region text, loyalty_points integer, signed_up_on date",
        ),
        _table(
            "products",
            "product_id integer, sku text, product_name text, category text, list_price_cents integer,"
            "unit_cost_cents integer",
        ),
        _table(
            "orders",
            "order_id integer, customer_id integer, ordered_at timestamp, status text, channel text,"
            "tax_cents integer, shipping_cents integer, discount_cents integer",
        ),
        _table(
            "order_items",
            "order_item_id integer, order_id integer, product_id integer, quantity integer,unit_price_cents integer",
        ),
        _table(
            "payments",
            "payment_id integer, order_id integer, method text, amount_cents integer, paid_at timestamp",
        ),
        _table(
            "shipments",
            "shipment_id integer, order_id integer, carrier text, shipped_on date, delivered_on date,"
            "weight_grams integer",
        ),
        _table("refunds", "refund_id integer, order_id integer, reason text, refund_cents integer, refunded_on date"),
        _table(
            "web_sessions",
            "session_id integer, customer_id integer, started_at timestamp, device text, page_views integer,"
            "seconds_on_site integer",
        ),
    )
}
