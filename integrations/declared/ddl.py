"""DDL as a catalog: a script is read statement by statement, as an engine would; what is there at its end is told."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from sqlglot import ErrorLevel, exp
from sqlglot.errors import SqlglotError

from config.errors import UsageError
from integrations.base import Catalog
from integrations.declared import altering, creating, modifying, renaming, wording
from integrations.declared.attributes import without_attributes
from integrations.declared.draft import NEVER, Draft
from integrations.declared.spelling import Spelling
from integrations.declared.statements import Statement, split
from integrations.lineage.naming import naming

_READ: Final = frozenset({"CREATE", "ALTER", "DROP", "COMMENT", "RENAME", "EXCHANGE"})
_KINDS: Final = (
    "TABLE",
    "TABLES",
    "VIEW",
    "INDEX",
    "TYPE",
    "SEQUENCE",
    "SCHEMA",
    "COLUMN",
)
_BETWEEN: Final = frozenset(
    {"OR", "REPLACE", "TEMP", "TEMPORARY", "TRANSIENT", "UNLOGGED", "GLOBAL", "LOCAL", "EXTERNAL", "FOREIGN"}
    | {"MATERIALIZED", "UNIQUE", "CLUSTERED", "NONCLUSTERED", "FULLTEXT", "RECURSIVE", "IF", "NOT", "EXISTS", "ON"}
    | {"VOLATILE", "HYBRID", "DYNAMIC", "ICEBERG", "SECURE", "BITMAP", "CONCURRENTLY", "ALTER", "SNAPSHOT", "SHARDED"}
    | {"FORCE", "NO", "EDITIONABLE", "NONEDITIONABLE"}
)
# What the parser does not know, and what says nothing of the structure.
_TRAILING: Final = re.compile(r"\)\s*(?:(?:WITHOUT\s+ROWID|STRICT)\s*,?\s*)+$", re.IGNORECASE)
_CHECK: Final = re.compile(r"\bADD\s+CHECK\b", re.IGNORECASE)
_OR_ALTER: Final = re.compile(r"^(CREATE)\s+OR\s+ALTER\b", re.IGNORECASE)
_ADD_MANY: Final = re.compile(r"\bADD\s+COLUMN\s*\(", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Declared:
    """What a script declares.

    Attributes:
        catalog: tables, types and sequences as they are at its end.
        statements: how many there were.
        passed_over: what is no DDL, or says nothing of structure, and how often: `insert`, `create function`.
    """

    catalog: Catalog
    statements: int
    passed_over: Mapping[str, int] = field(default_factory=dict)


def read_ddl(text: str, dialect: str, *, default_schema: str = "", taken_at: datetime = NEVER) -> Catalog:
    """The catalog that a DDL script leaves behind; see `read_scripts`."""
    return read_scripts({"": text}, dialect, default_schema=default_schema, taken_at=taken_at).catalog


def read_scripts(
    texts: Mapping[str, str], dialect: str, *, default_schema: str = "", taken_at: datetime = NEVER
) -> Declared:
    """Read DDL scripts as an engine would, one after the other, from nothing.

    Args:
        texts: by the names of their files; the statements of each are separated by semicolons.
        dialect: as sqlglot calls it.
        default_schema: what unqualified names belong to; left out: the engine's own (`public`, `main`, …).
        taken_at: what the catalog says of its time.

    Raises:
        UsageError: an unknown dialect, or a statement that cannot be read or contradicts those before it; names the
            file, the statement's number and the line.
    """
    spelling = Spelling(naming(dialect), default_schema)
    draft = Draft()
    passed: Counter[str] = Counter()
    count = 0
    for name, text in texts.items():
        try:
            statements = split(text, spelling.naming)
            for said in statements:
                _read(draft, spelling, said, passed)
        except UsageError as error:
            raise UsageError(f"{name}, {error.message}" if name else error.message, hint=error.hint) from None
        count += len(statements)
    return Declared(draft.freeze(taken_at), count, dict(passed))


def _read(draft: Draft, spelling: Spelling, said: Statement, passed: Counter[str]) -> None:
    what = _kind(said)
    if renaming.take(draft, spelling, said):
        return
    if said.words[0] == "USE" or said.words[:2] == ("SET", "SEARCH_PATH"):
        _use(spelling, said)
    elif not what and not _selects_into(draft, spelling, said):
        passed[_words(said)] += 1
    elif what and not _take(draft, spelling, said, what):
        raise said.wrong(
            f"this {' '.join(said.words[:2])} cannot be read", hint=f"is it {spelling.dialect}? Give --dialect"
        )


def _kind(said: Statement) -> str:
    """Which kind of thing a statement of DDL is about; empty for everything that is not read here."""
    if said.words[0] not in _READ:
        return ""
    for word in " ".join(said.words[1:]).split():  # some words are one to a tokenizer: NONCLUSTERED INDEX
        if word in _KINDS:
            return word
        if word not in _BETWEEN:
            return ""
    return ""


def _selects_into(draft: Draft, spelling: Spelling, said: Statement) -> bool:
    if said.words[0] not in ("SELECT", "WITH") or all(t.text.upper() != "INTO" for t in said.tokens):
        return False
    tree = _parsed(spelling, said.text)
    return isinstance(tree, exp.Select) and creating.select_into(draft, spelling, said, tree)


def _words(said: Statement) -> str:
    """What a statement passed over is called: its verb, and for DDL what it is about."""
    verb = said.words[0].lower()
    if said.words[0] not in _READ:
        return verb
    about = next((w for w in said.words[1:] if w not in _BETWEEN), "")
    return f"{verb} {about.lower()}".strip()


def _use(spelling: Spelling, said: Statement) -> None:
    """`USE shop`, `USE SCHEMA shop`, `SET search_path TO shop, public`: the first named is the default from here."""
    past = ("USE", "SCHEMA", "SET", "SEARCH_PATH", "TO", "=")
    if said.words[:2] in (("USE", "ROLE"), ("USE", "WAREHOUSE"), ("USE", "DATABASE"), ("USE", "CATALOG")):
        return
    named = [t for t in said.tokens if t.text.upper() not in past]
    if named and named[0].text:
        spelling.default_schema = named[-1].text if said.words[0] == "USE" else named[0].text


def _take(draft: Draft, spelling: Spelling, said: Statement, what: str) -> bool:
    if modifying.take(draft, spelling, said):
        return True
    tree = _parse(spelling, said)
    if isinstance(tree, exp.Create) and what in creating.MODELLED:
        creating.create(draft, spelling, said, tree)
    elif isinstance(tree, exp.Alter):
        altering.alter(draft, spelling, said, tree)
    elif isinstance(tree, exp.Drop):
        altering.drop(draft, spelling, said, tree)
    elif isinstance(tree, exp.Comment):
        altering.comment(draft, spelling, said, tree)
    elif said.words[:2] != ("CREATE", "SCHEMA"):
        return wording.take(draft, spelling, said)
    return True


def _parse(spelling: Spelling, said: Statement) -> exp.Expr | None:
    """The statement's tree, None where the parser does not read it; raises where it is not SQL at all."""
    text = _ADD_MANY.sub("ADD (", _TRAILING.sub(")", said.text))
    if _CHECK.search(text):
        text = _CHECK.sub(f'ADD CONSTRAINT "{_last_of_path(said)}_check" CHECK', text)
    if text != said.text and (tree := _parsed(spelling, text)) is not None:
        return tree
    tree = _parsed(spelling, said.text)
    if tree is not None:
        return tree
    plain = _OR_ALTER.sub(r"\1 OR REPLACE", without_attributes(said, spelling.dialect))
    return _parsed(spelling, plain) if plain != said.text else None


def _last_of_path(said: Statement) -> str:
    """The name of the table a statement alters, its schema left out."""
    path = [t.text for t in said.tokens[2:] if t.text.upper() not in ("IF", "EXISTS", "ONLY")]
    place = 0
    while path[place + 1 : place + 2] == ["."]:
        place += 2
    return path[place] if path else "table"


def _parsed(spelling: Spelling, text: str) -> exp.Expr | None:
    try:
        trees = spelling.naming.dialect.parser(error_level=ErrorLevel.IMMEDIATE).parse(
            spelling.naming.dialect.tokenize(text), text
        )
    except (SqlglotError, RecursionError):
        return None
    tree = trees[0] if trees else None
    return None if isinstance(tree, exp.Command) else tree
