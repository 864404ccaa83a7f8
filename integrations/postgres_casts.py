"""Can a value be cast back? In PostgreSQL's words, by whichever door it is reached: patterns."""

from __future__ import annotations

import re
from typing import Final

_TEXT: Final = re.compile(r"^(text|citext|character varying|varchar|character|char|bpchar|string)\b")
_INTEGERS: Final = {
    "smallint": (-(2**15), 2**15 - 1),
    "integer": (-(2**31), 2**31 - 1),
    "bigint": (-(2**63), 2**63 - 1),
}
_EXACT: Final = re.compile(r"^numeric\((\d+)(?:,(\d+))?\)$")
_WHOLE: Final = r"^\s*[+-]?\d{1,40}\s*$"
_NUMBER: Final = r"^\s*[+-]?(\d{1,100}(\.\d{0,100})?|\.\d{1,100})([eE][+-]?\d{1,2})?\s*$"
_TRUTH: Final = r"^\s*(t|true|f|false|y|yes|n|no|on|off|1|0)\s*$"
_LEAP: Final = r"(\d\d(0[48]|[2468][048]|[13579][26])|([02468][48]|[13579][26])00)-02-29"
_DAY: Final = (
    r"(\d{4}-((0[13578]|1[02])-(0[1-9]|[12]\d|3[01])|(0[469]|11)-(0[1-9]|[12]\d|30)|02-(0[1-9]|1\d|2[0-8]))"
    rf"|{_LEAP})"
)
_CLOCK: Final = r"([01]\d|2[0-3]):[0-5]\d(:[0-5]\d(\.\d{1,6})?)?"
_ZONE: Final = r"(Z|[+-](0\d|1[0-4])(:?[0-5]\d)?)"
_NOT_YEAR_ZERO: Final = r"(?!\s*0000)"
_UUID: Final = r"^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$"


def cast_test(column: str, before: str, after: str) -> str | None:
    """See `CastTesting`; the patterns accept only what a cast accepts for certain."""
    base = before.partition("(")[0].strip()
    if _TEXT.match(after):
        return _from_text(f"{column}::text", before, base)
    if base in _INTEGERS and after.partition("(")[0].strip() in (*_INTEGERS, "numeric"):
        low, high = _INTEGERS[base]
        return f"{column} = trunc({column}) and {column} between {low} and {high}"
    return None


def _from_text(text: str, before: str, base: str) -> str | None:
    if base in _INTEGERS:
        low, high = _INTEGERS[base]
        # CASE keeps the cast from what is no number.
        return f"case when {text} ~ '{_WHOLE}' then {text}::numeric between {low} and {high} else false end"
    if exact := _EXACT.match(before):
        scale = int(exact[2] or 0)
        number = f"{text}::numeric"
        fits = f"abs({number}) < 1e{int(exact[1]) - scale} and {number} = round({number}, {scale})"
        return f"case when {text} ~ '{_NUMBER}' then {fits} else false end"
    if base == "boolean":
        return f"lower({text}) ~ '{_TRUTH}'"
    patterns = {
        "numeric": _NUMBER,
        "double precision": _NUMBER,
        "date": rf"^{_NOT_YEAR_ZERO}{_DAY}$",
        "timestamp without time zone": rf"^{_NOT_YEAR_ZERO}{_DAY}([ T]{_CLOCK})?$",
        "timestamp with time zone": rf"^{_NOT_YEAR_ZERO}{_DAY}[ T]{_CLOCK}{_ZONE}$",
        "uuid": _UUID,
    }
    pattern = patterns.get(base)
    return None if pattern is None else f"{text} ~ '{pattern}'"
