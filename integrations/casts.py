"""Types as far as it matters for casting values back: what is text, and what a number may be."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

INTEGERS: Final = {
    "tinyint": (-(2**7), 2**7 - 1),
    "utinyint": (0, 2**8 - 1),
    "smallint": (-(2**15), 2**15 - 1),
    "usmallint": (0, 2**16 - 1),
    "mediumint": (-(2**23), 2**23 - 1),
    "integer": (-(2**31), 2**31 - 1),
    "uinteger": (0, 2**32 - 1),
    "bigint": (-(2**63), 2**63 - 1),
    "ubigint": (0, 2**64 - 1),
    "tinyint unsigned": (0, 2**8 - 1),
    "smallint unsigned": (0, 2**16 - 1),
    "mediumint unsigned": (0, 2**24 - 1),
    "integer unsigned": (0, 2**32 - 1),
    "bigint unsigned": (0, 2**64 - 1),
}
_TEXT: Final = re.compile(r"^(text|citext|tinytext|mediumtext|longtext|character varying|character|string)\b")
_EXACT: Final = re.compile(r"^numeric\((\d+)(?:,(\d+))?\)$")


@dataclass(frozen=True, slots=True)
class Kind:
    """What a type holds: `is_text`; whole numbers from `low` to `high`; decimals of `precision` and `scale`.

    `name` is the type without its size.
    """

    name: str
    is_text: bool = False
    low: int | None = None
    high: int | None = None
    precision: int | None = None
    scale: int = 0


def kind(written: str) -> Kind:
    """What a type, in the words of the house, holds."""
    name = written.partition("(")[0].strip()
    if _TEXT.match(written):
        return Kind(name, is_text=True)
    low, high = INTEGERS.get(written, (None, None))
    if exact := _EXACT.match(written):
        return Kind(name, precision=int(exact[1]), scale=int(exact[2] or 0))
    return Kind(re.sub(r"\(\d+\)", "", written), low=low, high=high)


def keeps_number(value: str, before: Kind, after: Kind, whole: str) -> str | None:
    """The condition for numbers that became wider numbers; `whole` is the value rounded to a whole one."""
    if before.low is None or (after.low is None and after.precision is None):
        return None
    return f"{value} = {whole} and {value} between {before.low} and {before.high}"
