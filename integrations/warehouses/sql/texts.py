"""Values as PostgreSQL would write them, and sketches of what was fetched, for engines that cannot hash by themselves.

A sketch is the `k` smallest md5(key || value) of a column's distinct values. Values are hashed in batches as they
arrive and not kept; of each only the hash is, as long as the counting goes on.
"""

from __future__ import annotations

import hashlib
import heapq
import json
from collections.abc import Iterable
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any


def text_of(value: Any) -> str:  # noqa: PLR0911 - a line for each type
    """A value as text, written like PostgreSQL's own cast as far as the driver's types allow."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return repr(value).removesuffix(".0")
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, datetime):
        text = value.isoformat(sep=" ")
        return text.removesuffix(":00") if value.tzinfo is not None else text
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, bytes | bytearray | memoryview):
        return "\\x" + bytes(value).hex()
    if isinstance(value, dict | list | tuple):
        return json.dumps(value, sort_keys=True, default=str)
    return str(value)


class Hashes:
    """The distinct keyed hashes of the values seen so far."""

    def __init__(self, key: str) -> None:
        self._key = key
        self._seen: set[bytes] = set()

    def take(self, values: Iterable[Any]) -> None:
        """Hash a batch of values, nulls left out."""
        self._seen.update(
            hashlib.md5((self._key + text_of(v)).encode("utf-8", "surrogatepass"), usedforsecurity=False).digest()
            for v in values
            if v is not None
        )

    @property
    def distinct(self) -> int:
        """How many different values there were."""
        return len(self._seen)

    def smallest(self, size: int) -> tuple[str, ...]:
        """The smallest hashes, sorted."""
        return tuple(h.hex() for h in heapq.nsmallest(size, self._seen))
