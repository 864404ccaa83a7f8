"""Can a value be cast back? In DuckDB's words: TRY_CAST, and a pattern where TRY_CAST would round or cut."""

from __future__ import annotations

from typing import Final

from integrations.casts import keeps_number, kind

_WHOLE: Final = r"\s*[+-]?\d{1,18}\s*"
_NUMBER: Final = r"\s*[+-]?(\d{1,20}(\.\d{0,17})?|\.\d{1,17})\s*"
_DAY: Final = r"\s*\d{4}-\d{2}-\d{2}\s*"
_SAFE: Final = {
    "boolean": "boolean",
    "double precision": "double",
    "uuid": "uuid",
    "timestamp without time zone": "timestamp",
    "timestamp with time zone": "timestamptz",
}


def cast_test(value: str, before: str, after: str) -> str | None:
    """See `CastTesting`."""
    old, new = kind(before), kind(after)
    if not new.is_text:
        return keeps_number(value, old, new, f"trunc({value})")
    text = f"cast({value} as varchar)"
    if old.low is not None:
        # Texts of more digits are no small numbers, and beyond 18 digits nothing is promised.
        return f"regexp_full_match({text}, '{_WHOLE}') and try_cast({text} as hugeint) between {old.low} and {old.high}"
    if old.precision is not None:
        exact = f"try_cast({text} as decimal(38, 17))"
        cast = f"try_cast({text} as decimal({old.precision}, {old.scale}))"
        return f"regexp_full_match({text}, '{_NUMBER}') and {cast} = {exact}"
    if old.name == "date":
        return f"regexp_full_match({text}, '{_DAY}') and try_cast({text} as date) is not null"
    if old.name in _SAFE:
        return f"try_cast({text} as {_SAFE[old.name]}) is not null"
    return None
