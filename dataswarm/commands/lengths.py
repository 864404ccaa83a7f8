"""Lengths of time as people write them: `2h`, `30m`, `1d12h`."""

from __future__ import annotations

import re

from config.errors import UsageError

_PART = re.compile(r"(\d+(?:\.\d+)?)\s*([a-z]+)", re.IGNORECASE)
_UNITS = {
    "s": 1,
    "sec": 1,
    "m": 60,
    "min": 60,
    "h": 3600,
    "hour": 3600,
    "d": 86400,
    "day": 86400,
    "w": 604800,
    "week": 604800,
}


def seconds(text: str) -> float:
    """The seconds in a length of time.

    Raises:
        UsageError: it is none; says how to write one.
    """
    total, rest = 0.0, text.strip()
    wrong = UsageError(
        f"not a length of time: {text[:40]!r}", hint="write a number with s, m, h, d or w: 30m, 2h, 1d12h"
    )
    if not rest:
        raise wrong
    while rest:
        part = _PART.match(rest)
        factor = _UNITS.get(part[2].lower()) or _UNITS.get(part[2].lower().removesuffix("s")) if part else None
        if part is None or factor is None:
            raise wrong
        total += float(part[1]) * factor
        rest = rest[part.end() :].strip()
    if total <= 0:
        raise UsageError("a length of time is more than nothing", hint="write 30m, 2h or 1d")
    return total
