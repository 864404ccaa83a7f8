"""Changing a DuckDB file: one transaction, counted, undone as a whole."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from config.errors import ConflictError, PermanentError
from integrations.base import Statement
from integrations.duck import Session, parameterised
from integrations.duck.reading import statement_kind

# What leads out of the file (COPY, ATTACH, EXPORT, LOAD), out of the transaction or around the settings is not here.
_ALLOWED: Final = frozenset({"SELECT", "INSERT", "UPDATE", "DELETE", "MERGE_INTO", "CREATE", "ALTER", "DROP"})
_COUNTED: Final = "Count"


def apply(session: Session, statements: Sequence[Statement], source: str) -> list[int]:
    """Rows touched by each statement, -1 where DuckDB counts none; all of them or nothing."""
    texts = [parameterised(s.sql, s.parameters, source) for s in statements]
    for number, text in enumerate(texts, start=1):
        kind = statement_kind(session, text, source)
        if kind not in _ALLOWED:
            raise PermanentError(f"warehouse {source}: statement {number} is {kind}, which a remedy may not use")
    session.run("begin transaction")
    try:
        touched = [
            _run(session, number, statement, text, source)
            for number, (statement, text) in enumerate(zip(statements, texts, strict=True), start=1)
        ]
    except BaseException:
        session.connection.rollback()
        raise
    session.run("commit")
    return touched


def _run(session: Session, number: int, statement: Statement, text: str, source: str) -> int:
    rows = _touched(session, text, statement)
    if statement.rows is not None and rows != statement.rows:
        raise ConflictError(
            f"warehouse {source}: statement {number} touched {rows} rows"
            f" where {statement.rows} were expected; all was rolled back"
        )
    return rows


def _touched(session: Session, text: str, statement: Statement) -> int:
    with session.timed():
        cursor = session.connection.execute(text, list(statement.parameters) or None)
        names = [column[0] for column in cursor.description or ()]
        rows = cursor.fetchall()
    if names == [_COUNTED]:
        return int(rows[0][0]) if rows else -1
    return -1 if names == ["Success"] else len(rows)
