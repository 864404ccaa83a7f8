"""Renames in words of their own: T-SQL's `sp_rename` and `ALTER SCHEMA … TRANSFER`, Oracle's `RENAME a TO b`."""

from __future__ import annotations

from dataclasses import replace

from sqlglot import exp
from sqlglot.errors import SqlglotError

from config.errors import UsageError
from integrations.declared.altering import Altering
from integrations.declared.creating import missing
from integrations.declared.draft import Draft, DraftTable
from integrations.declared.spelling import Spelling
from integrations.declared.statements import Statement
from integrations.declared.words import Words

_TSQL = ("tsql", "fabric")
_HINT = "write sp_rename 'schema.table.column', 'name', 'COLUMN', or what it does"
_MOST_PARTS = 3


def take(draft: Draft, spelling: Spelling, said: Statement) -> bool:
    """Take a rename; False where the statement is none of these."""
    words = Words(said, spelling)
    if spelling.dialect in _TSQL:
        if words.take("ALTER", "SCHEMA"):
            return _transfer(draft, words)
        if not words.take("EXEC"):
            words.take("EXECUTE")
        words.take("SYS", ".")
        if words.take("SP_RENAME"):
            _sp_rename(draft, words)
            return True
    if spelling.dialect == "oracle" and words.take("RENAME") and words.peek() not in ("TABLE", "TABLES"):
        before = words.path()
        words.need("TO")
        change = _table(draft, words, before)
        change.move(change.table.schema, spelling.name(words.name()))
        return True
    return False


def _transfer(draft: Draft, words: Words) -> bool:
    schema = words.spelling.name(words.name())
    if not words.take("TRANSFER"):
        return False
    if words.take("OBJECT"):
        words.need(":")
        words.take(":")
    change = _table(draft, words, words.path())
    change.move(schema, change.table.name)
    return True


def _sp_rename(draft: Draft, words: Words) -> None:
    given = [_argument(part) for part in words.parts()]
    if not 1 < len(given) <= 3 or any(value is None for value in given):  # noqa: PLR2004 - what, name, of which kind
        raise words.said.wrong("this rename cannot be read", hint=_HINT)
    what, name, kind = (*(str(value) for value in given), "")[:3]
    path = _path(what, words)
    if kind.upper() == "COLUMN":
        if len(path) < 2:  # noqa: PLR2004 - a table and its column
            raise words.said.wrong("this rename names no table", hint=_HINT)
        _table(draft, words, _named(path[:-1])).rename(path[-1], name)
    elif kind.upper() == "INDEX":
        _index(_table(draft, words, _named(path[:-1])), path[-1], name)
    elif kind.upper() in ("", "OBJECT"):
        _object(draft, words, path, name)
    elif kind.upper() not in ("USERDATATYPE", "STATISTICS", "DATABASE"):
        raise words.said.wrong("this rename cannot be read", hint=_HINT)


def _argument(words: Words) -> str | None:
    """`'name'`, `N'name'` or `@objname = N'name'`; None for a variable."""
    if words.take("@"):
        words.name()
        if not words.take("="):
            return None
    try:
        text = words.literal()
    except UsageError:
        return None
    return None if words else text


def _path(text: str, words: Words) -> list[str]:
    """The parts of a name as `sp_rename` takes it, at most schema, table and column."""
    try:
        tokens = words.spelling.naming.dialect.tokenize(text)
    except SqlglotError:
        tokens = []
    parts = [t.text for t in tokens if t.text != "."]
    if not parts or len(tokens) != 2 * len(parts) - 1:
        raise words.said.wrong("the name in this rename cannot be read", hint=_HINT)
    return parts[-_MOST_PARTS:]


def _named(path: list[str]) -> exp.Table:
    identifiers = [exp.to_identifier(part, quoted=True) for part in path]
    return exp.Table(this=identifiers[-1], db=identifiers[-2] if len(identifiers) > 1 else None)


def _table(draft: Draft, words: Words, named: exp.Table) -> Altering:
    key = words.spelling.key(named)
    if key not in draft.tables:
        raise missing(draft, words.spelling.shown(named), words.said)
    return Altering(draft, words.spelling, words.said, key)


def _index(change: Altering, before: str, after: str) -> None:
    indexes = change.table.indexes
    found = next((place for place, i in enumerate(indexes) if i.name.lower() == before.lower()), None)
    if found is not None:
        indexes[found] = replace(indexes[found], name=after)
    elif not _constraint(change.table, before, after):
        raise change.none("index", before)


def _object(draft: Draft, words: Words, path: list[str], name: str) -> None:
    """A table, or a key or check, whose names are the schema's."""
    key = words.spelling.key(_named(path))
    if key in draft.tables:
        change = Altering(draft, words.spelling, words.said, key)
        change.move(change.table.schema, name)
    elif not any(_constraint(table, path[-1], name) for table in draft.tables.values()):
        raise missing(draft, words.spelling.shown(_named(path)), words.said)


def _constraint(table: DraftTable, before: str, after: str) -> bool:
    found = next((place for place, c in enumerate(table.constraints) if c.name.lower() == before.lower()), None)
    if found is not None:
        table.constraints[found] = replace(table.constraints[found], name=after)
    return found is not None
