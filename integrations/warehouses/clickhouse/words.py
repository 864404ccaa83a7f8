"""Names and values as ClickHouse reads them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from config.errors import PermanentError, UsageError

# Quoted parts and comments, in which a placeholder would be no value; then the placeholders.
_PARTS: Final = re.compile(
    r"('(?:[^'\\]|\\.|'')*'|\"(?:[^\"\\]|\\.|\"\")*\"|`(?:[^`\\]|\\.|``)*`|--[^\n]*|/\*.*?\*/)|%(.?)", re.DOTALL
)
_HIGHEST: Final = 2**63 - 1


def quoted(*names: str) -> str:
    """A dotted, quoted identifier; UsageError for a name that can be none."""
    if not names or any(not name or "\0" in name for name in names):
        raise UsageError("an identifier cannot be empty or hold a zero byte")
    return ".".join("`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`" for name in names)


def literal(value: Any) -> str:  # noqa: C901, PLR0911 - one line a type
    """A value as a constant in SQL; PermanentError for a type ClickHouse has none for."""
    match value:
        case None:
            return "NULL"
        case bool():
            return str(value).lower()
        case int():
            return str(value) if -_HIGHEST <= value <= _HIGHEST else f"toInt256('{value}')"
        case float():
            return repr(value)
        case Decimal() if value.is_finite():
            places = -int(value.as_tuple().exponent)
            return f"toDecimal256('{value:f}', {max(0, places)})"
        case datetime():
            moment = value.astimezone(UTC) if value.tzinfo else value
            zone = ", 'UTC'" if value.tzinfo else ""
            return f"toDateTime64('{moment:%Y-%m-%d %H:%M:%S.%f}', 6{zone})"
        case date():
            return f"toDate32('{value.isoformat()}')"
        case UUID():
            return f"toUUID('{value}')"
        case str():
            return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
        case list() | tuple():
            return "[" + ", ".join(literal(v) for v in value) + "]"
    raise PermanentError(f"a value of type {type(value).__name__} cannot be sent to ClickHouse")


def parameterised(sql: str, parameters: Sequence[Any], source: str) -> str:
    """The values in the places of `%s`, and `%%` as a percent sign; a text without parameters stays as it is.

    A place within quotes is refused: what was put there would be read as SQL.
    """
    if not parameters:
        return sql
    left = iter(parameters)
    places = 0

    def placed(match: re.Match[str]) -> str:
        nonlocal places
        if match[1] is not None:
            if re.search(r"(?<!%)(%%)*%s", match[1]):
                raise PermanentError(f"warehouse {source}: a placeholder stands within quotes or a comment")
            return match[1].replace("%%", "%")
        if match[2] == "%":
            return "%"
        if match[2] != "s":
            raise PermanentError(
                f"warehouse {source}: a percent sign in a statement with parameters is none of %s and %%",
                hint="double the percent sign",
            )
        places += 1
        return literal(next(left, None))

    text = _PARTS.sub(placed, sql)
    if places != len(parameters):
        raise PermanentError(
            f"warehouse {source}: the statement has {places} placeholders and {len(parameters)} parameters"
        )
    return text


def splits(path: str) -> Iterator[tuple[str, str]]:
    """Every way to read `database.name`, for either may hold a dot itself."""
    for place, character in enumerate(path):
        if character == ".":
            yield path[:place], path[place + 1 :]
