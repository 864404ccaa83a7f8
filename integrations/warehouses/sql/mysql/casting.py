"""Can a value be cast back? In the words of MySQL and MariaDB, which cast anything to something: by patterns."""

from __future__ import annotations

from typing import Final

from integrations.casts import keeps_number, kind

_WHOLE: Final = "^ *[+-]?[0-9]{1,40} *$"
_NUMBER: Final = "^ *[+-]?([0-9]{1,30}([.][0-9]{0,30})?|[.][0-9]{1,30}) *$"
_FLOATING: Final = "^ *[+-]?([0-9]{1,100}([.][0-9]{0,100})?|[.][0-9]{1,100})([eE][+-]?[0-9]{1,2})? *$"
_DAY: Final = "^ *[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])"
_CLOCK: Final = "([ T]([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9]([.][0-9]{1,6})?)?)? *$"
_DATES: Final = {"date": " *$", "timestamp without time zone": _CLOCK, "timestamp with time zone": _CLOCK}


def cast_test(value: str, before: str, after: str) -> str | None:
    """See `CastTesting`."""
    old, new = kind(before), kind(after)
    if not new.is_text:
        return keeps_number(value, old, new, f"truncate({value}, 0)")
    if old.low is not None:
        fits = f"cast(trim({value}) as decimal(65, 0)) between {old.low} and {old.high}"
        return f"case when {value} regexp '{_WHOLE}' then {fits} else false end"
    if old.precision is not None:
        exact = f"cast(trim({value}) as decimal(65, 30))"
        fits = f"abs({exact}) < 1e{old.precision - old.scale} and {exact} = round({exact}, {old.scale})"
        return f"case when {value} regexp '{_NUMBER}' then {fits} else false end"
    if old.name in ("double precision", "real"):
        return f"{value} regexp '{_FLOATING}'"
    if old.name in _DATES:
        # The last day of the month it names, which a day that does not exist is beyond.
        first = f"concat(left(trim({value}), 8), '01')"
        fits = f"cast(substr(trim({value}), 9, 2) as unsigned) <= day(last_day({first}))"
        return f"case when {value} regexp '{_DAY}{_DATES[old.name]}' then {fits} and {value} >= '0001' else false end"
    return None
