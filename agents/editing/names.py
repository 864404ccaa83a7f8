"""How identifiers are compared and written in a SQL dialect."""

from __future__ import annotations

import re
from typing import Final

import sqlglot
from sqlglot import TokenType, exp
from sqlglot.dialects.dialect import Dialect

from config.errors import PermanentError

_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

# Words PostgreSQL reserves that the tokenizer may still call a name.
_WORDS: Final = """
all analyse analyze and any array as asc asymmetric authorization binary both case cast check collate collation
column concurrently constraint create cross current_catalog current_date current_role current_schema current_time
current_timestamp current_user default deferrable desc distinct do else end except false fetch for foreign freeze
from full grant group having ilike in initially inner intersect into is isnull join lateral leading left like limit
localtime localtimestamp natural not notnull null offset on only or order outer overlaps placing primary references
returning right select session_user similar some symmetric table tablesample then to trailing true union unique
user using variadic verbose when where window with
"""
_RESERVED: Final = frozenset(_WORDS.split())


class Unclear(PermanentError):  # noqa: N818 - an answer more than an accident
    """The text does not say for certain what to touch; nothing is guessed, nothing was edited."""

    code = "unclear"


def fold(identifier: exp.Expr | str, dialect: str) -> str:
    """The name an identifier stands for: unquoted ones as the dialect folds them, quoted ones as written."""
    if isinstance(identifier, str):
        identifier = exp.to_identifier(identifier, quoted=False)
    return str(Dialect.get_or_raise(dialect).normalize_identifier(identifier.copy()).name)


def spell(name: str, dialect: str) -> str:
    """A name as it is to be written: plain where that means the same, quoted otherwise."""
    is_plain = (
        _PLAIN.fullmatch(name) is not None
        and fold(name, dialect) == name
        and name.lower() not in _RESERVED
        and [t.token_type for t in sqlglot.tokenize(name, dialect=dialect)] == [TokenType.VAR]
    )
    return name if is_plain else str(exp.to_identifier(name, quoted=True).sql(dialect=dialect))
