"""How a dialect spells: its name, how it folds identifiers, how a path is written."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from sqlglot import exp
from sqlglot.dialects.dialect import Dialect, Dialects, NormalizationStrategy
from sqlglot.dialects.mysql import MySQL

from config.errors import UsageError

Key = str
Path = tuple[str, ...]

_MEANT: Final = {
    "postgresql": "postgres",
    "pg": "postgres",
    "mssql": "tsql",
    "sqlserver": "tsql",
    "mariadb": "mysql",
    "sqlite3": "sqlite",
    "sparksql": "spark",
    "bq": "bigquery",
}


class Naming:
    """The spelling of one dialect.

    A *key* is what two spellings of one name have in common: `Total` and `total` in PostgreSQL, `"Total"` is another.
    Where case does not matter at all, a name that no schema spells is shown in small letters.
    """

    __slots__ = ("_columns", "_tables", "dialect", "folds_up", "name")

    def __init__(self, dialect: str) -> None:
        name = dialect_name(dialect)
        self.name = name
        self.dialect: Dialect = Dialect.get_or_raise(name)
        strategy = self.dialect.normalization_strategy
        insensitive, sensitive = NormalizationStrategy.CASE_INSENSITIVE, NormalizationStrategy.CASE_SENSITIVE
        self._columns = insensitive if isinstance(self.dialect, MySQL) else strategy
        self._tables = sensitive if name == "bigquery" else strategy
        self.folds_up = strategy is NormalizationStrategy.UPPERCASE

    def column(self, name: str, *, quoted: bool = False) -> Key:
        """The key of a column's name, or of an alias of a table."""
        return _fold(name, self._columns, quoted=quoted)

    def table(self, name: str, *, quoted: bool = False) -> Key:
        """The key of one part of a table's path."""
        return _fold(name, self._tables, quoted=quoted)

    def of(self, identifier: exp.Expr | str | None) -> Key:
        """The key of an identifier that names a column or an alias; empty for nothing."""
        if isinstance(identifier, exp.Identifier):
            return _fold(identifier.this, self._columns, quoted=bool(identifier.args.get("quoted")))
        if identifier is None:
            return ""
        return self.column(identifier if isinstance(identifier, str) else identifier.name)

    def parts(self, table: exp.Table) -> Path:
        """The keys of a table's path, outermost first."""
        return tuple(_fold(p.name, self._tables, quoted=bool(p.args.get("quoted"))) for p in table.parts)


def _fold(name: str, strategy: NormalizationStrategy, *, quoted: bool) -> str:
    if strategy is NormalizationStrategy.CASE_SENSITIVE:
        return name
    if strategy is NormalizationStrategy.LOWERCASE:
        return name if quoted else name.lower()
    if strategy is NormalizationStrategy.UPPERCASE:
        return name if quoted else name.upper()
    return name.upper() if strategy is NormalizationStrategy.CASE_INSENSITIVE_UPPERCASE else name.lower()


@lru_cache(maxsize=64)
def naming(dialect: str) -> Naming:
    """The spelling of a dialect, made once; raises UsageError with the nearest names for an unknown one."""
    return Naming(dialect)


def dialect_name(given: str) -> str:
    """The dialect as sqlglot calls it; raises UsageError with the nearest names for an unknown one."""
    name = given.strip().lower()
    name = _MEANT.get(name, name)
    known = sorted(d.value for d in Dialects if d.value)
    if name in known:
        return name
    near = difflib.get_close_matches(name, known, n=3)
    hint = f"did you mean {' or '.join(near)}?" if near else f"known are {', '.join(known)}"
    raise UsageError(f"unknown SQL dialect {given!r}", hint=hint)


def split_path(text: str) -> Path:
    """The parts of `schema.table`; a part that holds a dot or a quote is written in double quotes."""
    parts, part, is_inside, position = [], "", False, 0
    while position < len(text):
        letter = text[position]
        if letter == '"' and is_inside and text[position + 1 : position + 2] == '"':
            part += letter
            position += 1
        elif letter == '"' and (is_inside or (not part and text.count('"', position) > 1)):
            is_inside = not is_inside
        elif letter == "." and not is_inside:
            parts.append(part)
            part = ""
        else:
            part += letter
        position += 1
    return (*parts, part)


def join_path(parts: Sequence[str]) -> str:
    """The other way round."""
    return ".".join('"' + p.replace('"', '""') + '"' if "." in p or '"' in p else p for p in parts)
