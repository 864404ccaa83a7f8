"""Can a value be cast back? In SQLite's words, which has no patterns but GLOB, and casts anything to something."""

from __future__ import annotations

from integrations.casts import keeps_number, kind

_MOST_DIGITS = 18


def cast_test(value: str, before: str, after: str) -> str | None:
    """See `CastTesting`; SQLite's whole numbers are all of 64 bits, whatever they are called."""
    old, new = kind(before), kind(after)
    if not new.is_text:
        return keeps_number(value, old, new, f"cast({value} as integer)")
    text = f"trim(cast({value} as text))"
    plain = f"(case when substr({text}, 1, 1) in ('+', '-') then substr({text}, 2) else {text} end)"
    if old.low is not None:
        return f"{_digits(plain)} and length({plain}) <= {_MOST_DIGITS}"
    if old.precision is not None or old.name in ("numeric", "real", "double precision"):
        whole = f"replace({plain}, '.', '')"
        number = f"{_digits(whole)} and length({plain}) - length({whole}) <= 1"
        return number if old.precision is None else f"{number} and {_fits(plain, old.precision, old.scale)}"
    moment = f"datetime({text}, '+0 days')"  # reckoned with, a day that does not exist becomes another
    day = f"date({text}, '+0 days')"
    shapes = {"date": day, "timestamp without time zone": f"{day}, {moment}, replace({moment}, ' ', 'T')"}
    return f"coalesce({text} in ({shapes[old.name]}), false)" if old.name in shapes else None


def _fits(plain: str, precision: int, scale: int) -> str:
    """Enough room before the point and behind it, zeroes at either end left out."""
    point = f"(case instr({plain}, '.') when 0 then length({plain}) + 1 else instr({plain}, '.') end)"
    whole, fraction = f"ltrim(substr({plain}, 1, {point} - 1), '0')", f"rtrim(substr({plain}, {point} + 1), '0')"
    return f"length({whole}) <= {precision - scale} and length({fraction}) <= {scale}"


def _digits(text: str) -> str:
    return f"({text} <> '' and {text} not glob '*[^0-9]*')"
