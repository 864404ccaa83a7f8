"""ClickHouse's names of types in the words of the house: `Nullable(Int32)` is a nullable integer.

`LowCardinality` is how values are stored and is left out. Inside of arrays, maps and tuples, which cannot be null
themselves, `nullable(…)` stays where it stands.
"""

from __future__ import annotations

import re
from typing import Final

_WORDS: Final = {
    "Bool": "boolean",
    "Int8": "tinyint",
    "Int16": "smallint",
    "Int32": "integer",
    "Int64": "bigint",
    "UInt8": "utinyint",
    "UInt16": "usmallint",
    "UInt32": "uinteger",
    "UInt64": "ubigint",
    "Float32": "real",
    "Float64": "double precision",
    "String": "text",
    "Date32": "date",
    "DateTime": "timestamp(0) with time zone",
}
_SHAPE: Final = re.compile(r"([A-Za-z]\w*)\((.*)\)\Z", re.DOTALL)
_FIELD: Final = re.compile(r"(`(?:[^`\\]|\\.)*`|[^\s(),'`]+)\s+(.+)\Z", re.DOTALL)
_QUOTED: Final = re.compile(r"'(?:[^'\\]|\\.)*'|`(?:[^`\\]|\\.)*`")


def normalised(text: str) -> tuple[str, bool]:
    """A column's type as the house writes it, and whether it takes nulls."""
    found = _SHAPE.match(text)
    if found and found[1] == "LowCardinality":
        return normalised(found[2])
    if found and found[1] == "Nullable":
        return _written(found[2]), True
    return _written(text), False


def bare(text: str) -> str:
    """A type without what says how it is stored and whether it may be null."""
    found = _SHAPE.match(text)
    return bare(found[2]) if found and found[1] in ("LowCardinality", "Nullable") else text


def _written(text: str) -> str:  # noqa: C901, PLR0911 - one line a shape
    found = _SHAPE.match(text)
    if found is None:
        return _WORDS.get(text, text.lower())
    name, inner = found[1], found[2]
    match name:
        case "LowCardinality":
            return _written(inner)
        case "Nullable":
            return f"nullable({_written(inner)})"
        case "Array":
            return f"{_written(inner)}[]"
        case "Map":
            return f"map({', '.join(_written(part) for part in _parts(inner))})"
        case "Tuple" | "Nested":
            return f"struct({', '.join(_member(part) for part in _parts(inner))})"
        case "Decimal":
            return f"numeric({inner.replace(' ', '')})"
        case "FixedString":
            return f"character({inner})"
        case "DateTime":
            return f"timestamp(0) with time zone {inner}"
        case "DateTime64":
            scale, _, zone = inner.partition(",")
            return f"timestamp({scale}) with time zone {zone.strip()}".rstrip()
    return f"{name.lower()}({inner})"


def _member(text: str) -> str:
    found = _FIELD.match(text)
    return f"{found[1]} {_written(found[2])}" if found else _written(text)


def _parts(inner: str) -> list[str]:
    """The arguments of a type, cut at the commas that stand in no brackets and no quotes."""
    plain = _QUOTED.sub(lambda m: "q" * len(m[0]), inner)
    found, depth, start = [], 0, 0
    for place, character in enumerate(plain):
        depth += (character == "(") - (character == ")")
        if character == "," and depth == 0:
            found.append(inner[start:place].strip())
            start = place + 1
    return [*found, inner[start:].strip()]
