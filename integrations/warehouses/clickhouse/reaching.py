"""What a text from somebody else may be: one statement, and one that stays inside the tables there are.

ClickHouse reads files and addresses by table functions, and an embedded one takes any path for a table's name; its own
read-only mode allows both. So a text is read by a parser first: every table it names must be one that is there, and no
function that reaches outside may be called.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from sqlglot import exp, parse
from sqlglot.dialects.clickhouse import ClickHouse
from sqlglot.errors import SqlglotError
from sqlglot.tokenizer_core import Token, TokenType

from config.errors import PermanentError

# Table functions that make rows of nothing, or of the tables that are there.
INSIDE: Final = frozenset(
    {
        *("numbers", "numbers_mt", "zeros", "zeros_mt", "primes", "generate_series", "generateseries"),
        *("generaterandom", "values", "null", "view", "viewifpermitted", "format", "dictionary"),
    }
)
_CHANGES: Final = frozenset({"insert", "alter", "create", "delete", "update", "drop", "rename", "exchange"})


@dataclass(frozen=True, slots=True)
class Reach:
    """The tables a text names, as (database, name), the database empty where it names none; the functions it calls."""

    tables: frozenset[tuple[str, str]]
    functions: frozenset[str]


def of_query(sql: str, source: str) -> Reach:
    """What a query reaches; PermanentError where it is no single query, or cannot be read."""
    tokens = _tokens(sql, source)
    try:
        statements = parse(sql, read="clickhouse")
    except SqlglotError:
        raise PermanentError(f"warehouse {source}: the query cannot be read", hint="is it ClickHouse's SQL?") from None
    query = statements[0] if len(statements) == 1 else None
    if not isinstance(query, exp.Query) or any(e.args.get("format") for e in query.find_all(exp.Query)):
        raise PermanentError(f"warehouse {source}: a query must be one SELECT, without FORMAT and INTO OUTFILE")
    for token, following in pairwise(tokens):
        if token.token_type is TokenType.IN and following.token_type not in (TokenType.L_PAREN, TokenType.L_BRACKET):
            raise PermanentError(f"warehouse {source}: IN takes a list or a query here", hint="write in (select …)")
    return Reach(_tables(query, source), _functions(tokens))


def of_change(sql: str, source: str) -> Reach:
    """What a change calls; PermanentError where it is no single statement of a kind that a remedy may use."""
    tokens = _tokens(sql, source)
    if not tokens or tokens[0].text.lower() not in _CHANGES:
        raise PermanentError(f"warehouse {source}: a remedy may not use this kind of statement")
    return Reach(frozenset(), _functions(tokens))


def _tokens(sql: str, source: str) -> list[Token]:
    try:
        tokens = list(ClickHouse().tokenize(sql))
    except SqlglotError:
        raise PermanentError(f"warehouse {source}: the statement cannot be read") from None
    while tokens and tokens[-1].token_type is TokenType.SEMICOLON:
        tokens.pop()
    if any(token.token_type is TokenType.SEMICOLON for token in tokens):
        raise PermanentError(
            f"warehouse {source}: one text must hold one statement", hint="send one statement at a time"
        )
    return tokens


def _functions(tokens: list[Token]) -> frozenset[str]:
    return frozenset(
        token.text.lower() for token, following in pairwise(tokens) if following.token_type is TokenType.L_PAREN
    )


def _tables(query: exp.Query, source: str) -> frozenset[tuple[str, str]]:
    named = {cte.alias for cte in query.find_all(exp.CTE)}
    found = set()
    for table in query.find_all(exp.Table):
        if not isinstance(table.this, exp.Identifier):
            called = table.this.name if isinstance(table.this, exp.Anonymous) else type(table.this).__name__
            if called.lower() not in INSIDE:
                raise PermanentError(f"warehouse {source}: a query may not call {called} for rows")
        elif table.args.get("catalog"):
            raise PermanentError(f"warehouse {source}: a table has a database and a name, no more")
        elif table.db or table.name not in named:
            found.add((table.db, table.name))
    return frozenset(found)
