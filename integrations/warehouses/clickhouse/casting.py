"""Can a value be cast back? In ClickHouse's words: accurateCastOrNull, and a pattern where it would cut a number."""

from __future__ import annotations

from typing import Final

from integrations.casts import keeps_number, kind

_EXACT: Final = {
    "tinyint": "Int8",
    "smallint": "Int16",
    "integer": "Int32",
    "bigint": "Int64",
    "utinyint": "UInt8",
    "usmallint": "UInt16",
    "uinteger": "UInt32",
    "ubigint": "UInt64",
    "uuid": "UUID",
    "double precision": "Float64",
}
_DAY: Final = "^[0-9]{4}-[0-9]{2}-[0-9]{2}$"


def cast_test(value: str, before: str, after: str) -> str | None:
    """See `CastTesting`."""
    old, new = kind(before), kind(after)
    if not new.is_text:
        return keeps_number(value, old, new, f"trunc({value})")
    text = f"toString({value})"
    if old.name in _EXACT:
        return f"accurateCastOrNull({text}, '{_EXACT[old.name]}') is not null"
    if old.precision is not None:
        whole = f"^[+-]?0*[0-9]{{1,{max(1, old.precision - old.scale)}}}"
        fraction = f"([.][0-9]{{0,{old.scale}}}0*)?$" if old.scale else "([.]0*)?$"
        return f"match({text}, '{whole}{fraction}')"
    if old.name == "date":
        return f"match({text}, '{_DAY}') and toString(accurateCastOrNull({text}, 'Date32')) = {text}"
    return None
