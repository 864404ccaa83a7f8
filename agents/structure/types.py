"""Types of columns: the same type under its many names, and whether a new type holds more, less or something else."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

_FORM: Final = re.compile(r"^(?P<base>[^()]+?)\s*(?:\((?P<arguments>.*)\)(?P<rest>[^()]*))?$", re.DOTALL)
_ARRAY: Final = re.compile(r"\[\d*\]$")
_LISTED: Final = re.compile(r"'((?:[^']|'')*)'")
_UNBOUNDED: Final = 10**9
_MOST_FRACTION: Final = 6

_ALIASES: Final[Mapping[str, str]] = {
    "int": "integer",
    "int4": "integer",
    "int32": "integer",
    "signed": "integer",
    "serial": "integer",
    "serial4": "integer",
    "int2": "smallint",
    "int16": "smallint",
    "short": "smallint",
    "smallserial": "smallint",
    "int8": "bigint",
    "int64": "bigint",
    "long": "bigint",
    "bigserial": "bigint",
    "serial8": "bigint",
    "int128": "hugeint",
    "int unsigned": "uinteger",
    "integer unsigned": "uinteger",
    "uint32": "uinteger",
    "bigint unsigned": "ubigint",
    "uint64": "ubigint",
    "smallint unsigned": "usmallint",
    "uint16": "usmallint",
    "tinyint unsigned": "utinyint",
    "uint8": "utinyint",
    "decimal": "numeric",
    "dec": "numeric",
    "number": "numeric",
    "fixed": "numeric",
    "float4": "real",
    "float32": "real",
    "float8": "double precision",
    "float64": "double precision",
    "double": "double precision",
    "float": "double precision",
    "varchar": "character varying",
    "char varying": "character varying",
    "nvarchar": "character varying",
    "varchar2": "character varying",
    "string": "text",
    "clob": "text",
    "char": "character",
    "nchar": "character",
    "bpchar": "character",
    "bool": "boolean",
    "logical": "boolean",
    "timestamp": "timestamp without time zone",
    "datetime": "timestamp without time zone",
    "timestamp_ntz": "timestamp without time zone",
    "timestamptz": "timestamp with time zone",
    "timestamp_tz": "timestamp with time zone",
    "time": "time without time zone",
    "timetz": "time with time zone",
    "blob": "bytea",
    "bytes": "bytea",
    "varbinary": "bytea",
}
_INTEGERS: Final[Mapping[str, tuple[int, int]]] = {
    "tinyint": (-(2**7), 2**7 - 1),
    "smallint": (-(2**15), 2**15 - 1),
    "mediumint": (-(2**23), 2**23 - 1),
    "integer": (-(2**31), 2**31 - 1),
    "bigint": (-(2**63), 2**63 - 1),
    "hugeint": (-(2**127), 2**127 - 1),
    "utinyint": (0, 2**8 - 1),
    "usmallint": (0, 2**16 - 1),
    "uinteger": (0, 2**32 - 1),
    "ubigint": (0, 2**64 - 1),
}
_FLOATS: Final[Mapping[str, int]] = {"real": 24, "double precision": 53}
_TEXTS: Final[Mapping[str, int]] = {
    "text": _UNBOUNDED,
    "citext": _UNBOUNDED,
    "character varying": _UNBOUNDED,
    "character": 1,
    "tinytext": 2**8 - 1,
    "mediumtext": 2**24 - 1,
    "longtext": _UNBOUNDED,
}


@dataclass(frozen=True, slots=True)
class Retyping:
    """From one type to another: `how` is same, widens, narrows or other; `aspect` says in what, where that matters."""

    how: str
    aspect: str = ""


_SAME, _WIDENS, _OTHER = Retyping("same"), Retyping("widens"), Retyping("other")


@dataclass(frozen=True, slots=True)
class _Type:
    base: str
    arguments: tuple[str, ...] = ()

    def number(self, place: int, default: int) -> int:
        given = self.arguments[place] if place < len(self.arguments) else ""
        return int(given) if given.isdigit() else default


@lru_cache(maxsize=16_384)
def normal(type_: str) -> str:
    """The one way to write a type: INT4 → integer, VARCHAR(50) → character varying(50), DECIMAL(10) → numeric(10,0)."""
    if _ARRAY.search(type_):
        return normal(_ARRAY.sub("", type_)) + "[]"
    read = _read(type_)
    return f"{read.base}({','.join(read.arguments)})" if read.arguments else read.base


@lru_cache(maxsize=16_384)
def retyping(before: str, after: str) -> Retyping:
    """What becomes of values when a column's type changes."""
    if normal(before) == normal(after):
        return _SAME
    if _ARRAY.search(before) and _ARRAY.search(after):
        return retyping(_ARRAY.sub("", before), _ARRAY.sub("", after))
    if _ARRAY.search(before) or _ARRAY.search(after):
        return _OTHER
    one, other = _read(before), _read(after)
    judge = _JUDGES.get((_family(one), _family(other)))
    return judge(one, other) if judge else _OTHER


def is_akin(before: str, after: str) -> bool:
    """May values of one type be found again, as they are, in the other?"""
    found = retyping(before, after)
    return found.how != "other" or bool(found.aspect)


@lru_cache(maxsize=16_384)
def _read(type_: str) -> _Type:
    found = _FORM.match(type_.strip())
    if found is None:
        return _Type(type_.strip())
    base = " ".join(f"{found['base']} {found['rest'] or ''}".split())
    base = base if '"' in base else base.lower()
    listed = base in ("enum", "enum8", "enum16", "set")
    arguments = tuple(_LISTED.findall(found["arguments"] or "")) if listed else _arguments(found["arguments"])
    base = _ALIASES.get(base, base)
    if base in _INTEGERS:
        return _Type(base)  # a width of display
    if base == "numeric" and len(arguments) == 1:
        return _Type(base, (*arguments, "0"))
    if base == "character" and not arguments and type_.strip().lower() != "bpchar":
        return _Type(base, ("1",))
    return _Type(base, arguments)


def _arguments(written: str | None) -> tuple[str, ...]:
    return tuple(part.strip() for part in written.split(",")) if written and written.strip() else ()


def _family(type_: _Type) -> str:
    if type_.base in _INTEGERS:
        return "integer"
    if type_.base in _FLOATS:
        return "float"
    if type_.base in _TEXTS:
        return "text"
    return _FAMILIES.get(type_.base, "")


_FAMILIES: Final[Mapping[str, str]] = {
    "numeric": "numeric",
    "date": "date",
    "timestamp without time zone": "timestamp",
    "timestamp with time zone": "timestamp",
    "time without time zone": "time",
    "time with time zone": "time",
    "json": "json",
    "jsonb": "json",
    "enum": "listed",
    "enum8": "listed",
    "enum16": "listed",
}


# --- one family to another -----------------------------------------------------------------------------------------


def _narrows(aspect: str) -> Retyping:
    return Retyping("narrows", aspect)


def _digits(type_: _Type) -> tuple[int, int]:
    """Digits before and after the point that surely fit."""
    if type_.base in _INTEGERS:
        low, high = _INTEGERS[type_.base]
        return len(str(max(-low, high))), 0
    scale = type_.number(1, _UNBOUNDED)
    return type_.number(0, _UNBOUNDED + scale) - scale, scale


def _integers(one: _Type, other: _Type) -> Retyping:
    (low, high), (lowest, highest) = _INTEGERS[one.base], _INTEGERS[other.base]
    return _WIDENS if lowest <= low and high <= highest else _narrows("range")


def _decimals(one: _Type, other: _Type) -> Retyping:
    (whole, scale), (room, places) = _digits(one), _digits(other)
    if places < scale:
        return _narrows("scale")
    return _narrows("range") if room < whole else _WIDENS


def _to_float(one: _Type, other: _Type) -> Retyping:
    if one.base not in _INTEGERS:
        return _narrows("exactness")
    return _WIDENS if _INTEGERS[one.base][1] < 2 ** _FLOATS[other.base] else _narrows("exactness")


def _floats(one: _Type, other: _Type) -> Retyping:
    return _WIDENS if _FLOATS[one.base] <= _FLOATS[other.base] else _narrows("exactness")


def _from_float(_: _Type, other: _Type) -> Retyping:
    return _WIDENS if other.base == "numeric" and not other.arguments else _narrows("scale")


def _texts(one: _Type, other: _Type) -> Retyping:
    length, room = (t.number(0, _TEXTS[t.base]) for t in (one, other))
    if room < length:
        return _narrows("length")
    if ("character" in (one.base, other.base) and one.base != other.base) or "citext" in (one.base, other.base):
        return Retyping("other", "representation")
    return _WIDENS if length < room else _SAME


def _times(one: _Type, other: _Type) -> Retyping:
    if one.base != other.base:
        return Retyping("other", "time zone")
    fraction, room = one.number(0, _MOST_FRACTION), other.number(0, _MOST_FRACTION)
    return _SAME if fraction == room else _WIDENS if fraction < room else _narrows("fraction")


def _listed(one: _Type, other: _Type) -> Retyping:
    if set(one.arguments) <= set(other.arguments):
        return _WIDENS
    return _narrows("values")


_JUDGES: Final[Mapping[tuple[str, str], Callable[[_Type, _Type], Retyping]]] = {
    ("integer", "integer"): _integers,
    ("integer", "numeric"): _decimals,
    ("numeric", "integer"): _decimals,
    ("numeric", "numeric"): _decimals,
    ("integer", "float"): _to_float,
    ("numeric", "float"): _to_float,
    ("float", "float"): _floats,
    ("float", "integer"): _from_float,
    ("float", "numeric"): _from_float,
    ("text", "text"): _texts,
    ("date", "timestamp"): lambda *_: _WIDENS,
    ("timestamp", "date"): lambda *_: _narrows("time of day"),
    ("timestamp", "timestamp"): _times,
    ("time", "time"): _times,
    ("json", "json"): lambda *_: Retyping("other", "representation"),
    ("listed", "listed"): _listed,
    ("listed", "text"): lambda *_: _WIDENS,
    ("text", "listed"): lambda *_: _narrows("values"),
}
