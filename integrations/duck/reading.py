"""Reading what somebody asks for: one statement that reads, told apart by DuckDB's own parser."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from config.errors import PermanentError
from integrations.duck.session import Session, named

_READING = ("SELECT", "EXPLAIN")
_PLACE = re.compile(r"%(.?)", re.DOTALL)


def read_rows(
    session: Session, sql: str, parameters: Sequence[Any], *, source: str, limit: int
) -> list[dict[str, Any]]:
    """At most `limit` rows of one reading statement; the rest is not fetched."""
    text = parameterised(sql, parameters, source)
    only_reads(session, text, source)
    with session.timed():
        cursor = session.connection.execute(text, list(parameters) or None)
        return named(cursor, cursor.fetchmany(limit)) if limit > 0 else []


def only_reads(session: Session, sql: str, source: str) -> None:
    """PermanentError for a text that is not one statement that reads."""
    kind = statement_kind(session, sql, source)
    if kind not in _READING:
        raise PermanentError(f"warehouse {source}: a query may only read; this is {kind}")


def statement_kind(session: Session, sql: str, source: str) -> str:
    """What kind of statement a text is, in DuckDB's words; PermanentError where it is none, or more than one."""
    statements = session.connection.extract_statements(sql)
    if len(statements) != 1:
        raise PermanentError(
            f"warehouse {source}: one text must hold one statement; this holds {len(statements)}",
            hint="send one statement at a time",
        )
    return str(statements[0].type.name)


def parameterised(sql: str, parameters: Sequence[Any], source: str, *, blank: bool = False) -> str:
    """`%s` as DuckDB's placeholder and `%%` as a percent sign; a text without parameters stays as it is.

    `blank` puts nulls in the places, for those who ask about the text alone.
    """
    if not parameters:
        return sql
    places = 0

    def placed(match: re.Match[str]) -> str:
        nonlocal places
        if match[1] == "%":
            return "%"
        if match[1] != "s":
            raise PermanentError(
                f"warehouse {source}: a percent sign in a statement with parameters is none of %s and %%",
                hint="double the percent sign",
            )
        places += 1
        return "null" if blank else f"${places}"

    text = _PLACE.sub(placed, sql)
    if places != len(parameters):
        raise PermanentError(
            f"warehouse {source}: the statement has {places} placeholders and {len(parameters)} parameters"
        )
    return text
