"""What comes back: `JSONCompact` by either transport, turned into Python's values by the types it names."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final

from config.errors import SourceError
from integrations.warehouses.clickhouse.types import bare

# Numbers keep every digit, times are written in UTC, what JSON has no word for is quoted.
SETTINGS: Final = {
    "output_format_json_quote_64bit_integers": "0",
    "output_format_json_quote_decimals": "1",
    "output_format_json_quote_denormals": "1",
    "output_format_json_validate_utf8": "1",
    "date_time_output_format": "iso",
}
FORMAT: Final = "JSONCompact"


@dataclass(frozen=True, slots=True)
class Answer:
    """Rows by the names of their columns, and how many rows were written, -1 where nobody says."""

    rows: Sequence[dict[str, Any]]
    written: int = -1


def read(text: str, source: str) -> list[dict[str, Any]]:
    """The rows of an answer; none of a statement without rows."""
    if not text.strip():
        return []
    try:
        body = json.loads(text)
        names = [column["name"] for column in body["meta"]]
        makers = [_maker(column["type"]) for column in body["meta"]]
        return [
            {n: None if v is None else make(v) for n, make, v in zip(names, makers, row, strict=True)}
            for row in body["data"]
        ]
    except (ValueError, KeyError, TypeError, ArithmeticError):
        raise SourceError(
            f"warehouse {source}: the answer cannot be read", hint="leave FORMAT out of queries"
        ) from None


def _maker(kind: str) -> Callable[[Any], Any]:
    name = bare(kind).partition("(")[0]
    if name == "Decimal":
        return Decimal
    if name.startswith("DateTime"):
        return datetime.fromisoformat
    if name in ("Date", "Date32"):
        return date.fromisoformat
    return float if name.startswith("Float") else _same


def _same(value: Any) -> Any:
    return value
