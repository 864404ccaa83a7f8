"""Statements on their way to a driver: placeholders as it wants them, one statement only, and nothing but a query.

What a text is, is decided by its tokens, so that no comment, string or quoted name is taken for a word of SQL.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from itertools import pairwise
from typing import Any

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError
from sqlglot.tokenizer_core import Token, TokenType

from config.errors import UsageError

_PLACEHOLDER = re.compile(r"%(.?)", re.DOTALL)
_READING = frozenset({"SELECT", "WITH", "VALUES", "TABLE", "SHOW", "DESCRIBE", "DESC", "EXPLAIN"})
_ONE_AT_A_TIME = frozenset({"mysql", "mariadb", "sqlite"})
_CONTROL = frozenset({"BEGIN", "START", "COMMIT", "ROLLBACK", "END", "ABORT", "SAVEPOINT", "RELEASE", "XA"})
_CHANGES = (
    exp.Insert, exp.Update, exp.Delete, exp.Merge, exp.Create, exp.Drop, exp.Alter, exp.TruncateTable, exp.Copy,
    exp.Command, exp.Into, exp.Lock, exp.Set, exp.Use, exp.Grant, exp.Transaction, exp.Commit, exp.Rollback,
    exp.Attach, exp.Detach, exp.Pragma, exp.Kill, exp.LoadData, exp.Analyze, exp.Export,
)  # fmt: skip
_SQLGLOT = {
    "awsathena": "athena", "clickhousedb": "clickhouse", "cockroachdb": "postgres", "exa": "exasol", "mariadb": "mysql",
    "mssql": "tsql", "postgresql": "postgres", "teradatasql": "teradata", "vertica": "postgres",
}  # fmt: skip


def spoken(dialect: str) -> str:
    """The name sqlglot knows a dialect of SQLAlchemy by; its own SQL, the most generous, where it knows none."""
    name = _SQLGLOT.get(dialect, dialect)
    return name if name in {d.value for d in sqlglot.Dialects} else ""


def placed(sql: str, parameters: Sequence[Any], style: str) -> tuple[str, Any]:
    """A statement with `%s` and its parameters as a driver of that paramstyle takes them.

    Without parameters the text goes as it is, percent signs and all.
    """
    if not parameters:
        return sql, ()
    given = tuple(_plain(p) for p in parameters)
    number = 0

    def put(match: re.Match[str]) -> str:
        nonlocal number
        if match[1] == "%":
            return "%%" if style in ("format", "pyformat") else "%"
        if match[1] != "s":
            raise UsageError(
                "a percent sign stands alone in a statement with parameters",
                hint="write %s for a parameter and %% for the sign itself",
            )
        number += 1
        return {"qmark": "?", "numeric": f":{number}", "named": f":p{number}"}.get(style, "%s")

    text = _PLACEHOLDER.sub(put, sql)
    if number != len(given):
        raise UsageError(f"the statement has {number} placeholders and {len(given)} parameters")
    if style == "named":
        return text, {f"p{i}": value for i, value in enumerate(given, start=1)}
    return text, given


def _plain(value: Any) -> Any:
    """What drivers without a type for it take as text."""
    if isinstance(value, str | bytes | bool | int | float | Decimal | type(None)) or hasattr(value, "isoformat"):
        return value
    return value if isinstance(value, Mapping | list | tuple) else str(value)


def words_of(sql: str, dialect: str) -> list[Token]:
    """The tokens of one statement, closing semicolons left out; UsageError where there are two or none."""
    try:
        tokens = list(sqlglot.tokenize(sql, read=spoken(dialect) or None))
    except SqlglotError:
        raise UsageError("the statement cannot be read", hint="is a quote left open?") from None
    while tokens and tokens[-1].token_type is TokenType.SEMICOLON:
        tokens.pop()
    if not tokens:
        raise UsageError("the statement is empty")
    # The body of a trigger holds semicolons; these drivers send no second statement whatever the text.
    may_hold = dialect in _ONE_AT_A_TIME and first_word(tokens) in ("CREATE", "ALTER")
    if any(t.token_type is TokenType.SEMICOLON for t in tokens) and not may_hold:
        raise UsageError("only one statement at a time", hint="send each by itself")
    return tokens


def first_word(tokens: Sequence[Token]) -> str:
    """The word a statement begins with, opening brackets passed over."""
    return next((t.text.upper() for t in tokens if t.token_type is not TokenType.L_PAREN), "")


def require_step(sql: str, dialect: str) -> str:
    """The first word of a statement that may be part of a transaction; UsageError where it would begin or end one."""
    word = first_word(words_of(sql, dialect))
    if word in _CONTROL:
        raise UsageError(f"{word} would end the transaction it is in", hint="leave it out; the whole is committed once")
    return word


def require_reading_words(sql: str, dialect: str) -> None:
    """UsageError unless a statement begins as a query does and writes no file; for engines that guard the rest."""
    tokens = words_of(sql, dialect)
    if first_word(tokens) not in _READING:
        raise _no_query()
    plain = [t.text.upper() for t in tokens if t.token_type not in (TokenType.STRING, TokenType.IDENTIFIER)]
    if any(b in ("OUTFILE", "DUMPFILE") for a, b in pairwise(plain) if a == "INTO"):
        raise _no_query()
    # A server runs what stands in such a comment; a tokenizer passes it over.
    if "/*!" in sql or "/*M!" in sql.upper():
        raise UsageError("a query may hold no executable comment", hint="leave out /*! … */")


def require_query(sql: str, dialect: str) -> None:
    """UsageError unless a text is one query and no part of it changes, locks or writes; for engines that guard less."""
    words_of(sql, dialect)
    try:
        trees = [t for t in sqlglot.parse(sql, read=spoken(dialect) or None) if t is not None]
    except SqlglotError:
        raise UsageError("the query cannot be read, so nobody can say it only reads") from None
    if len(trees) != 1 or not isinstance(trees[0], exp.Query | exp.Describe | exp.Show):
        raise _no_query()
    if trees[0].find(*_CHANGES):
        raise _no_query()


def _no_query() -> UsageError:
    return UsageError("this is no query, and looking changes nothing", hint="changes go through the actor")
