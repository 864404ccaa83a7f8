"""What stands in a CREATE statement of SQLite and in none of its pragmas.

SQLite keeps the text of every definition, and checks, generated expressions, collations and the names of constraints
nowhere else. It is read by its tokens; the statement is known to be valid, for SQLite has accepted it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

_TOKEN = re.compile(
    r"""(?P<space>\s+|--[^\n]*(?:\n|$)|/\*.*?(?:\*/|$))
      | (?P<string>'(?:[^']|'')*')
      | (?P<name>"(?:[^"]|"")*"|`(?:[^`]|``)*`|\[[^\]]*\])
      | (?P<word>[^\W\d][\w$]*)
      | (?P<other>.)""",
    re.VERBOSE | re.DOTALL,
)
_OF_TABLE = frozenset({"constraint", "primary", "unique", "check", "foreign"})


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of a statement: `word` in lower case if it may be a keyword, else empty; where it stands."""

    text: str
    word: str
    start: int
    end: int

    @property
    def name(self) -> str:
        """The identifier it is, out of its quotes."""
        quote = self.text[:1]
        if quote in ("'", '"', "`"):
            return self.text[1:-1].replace(quote * 2, quote)
        return self.text[1:-1] if quote == "[" else self.text


@dataclass(slots=True)
class Definition:
    """What a CREATE TABLE says beyond the pragmas, columns by their names in lower case.

    Attributes:
        generated: the expression of a generated column.
        collations: the collation a column is declared with.
        checks: name (empty where it has none), column (empty for one of the table) and condition.
        names: of constraints that have one, by kind and columns.
    """

    generated: dict[str, str] = field(default_factory=dict)
    collations: dict[str, str] = field(default_factory=dict)
    checks: list[tuple[str, str, str]] = field(default_factory=list)
    names: dict[tuple[str, tuple[str, ...]], str] = field(default_factory=dict)


def read_table(sql: str) -> Definition:
    """What a CREATE TABLE says."""
    found = Definition()
    tokens = _tokens(sql)
    opening = next((i for i, t in enumerate(tokens) if t.text == "("), None)
    if opening is None:
        return found
    inside = tokens[opening + 1 : _closing(tokens, opening)]
    for item in _items(inside):
        _Item(item, found).read()
    return found


def read_index(sql: str) -> tuple[tuple[str, ...], str]:
    """The columns and expressions of a CREATE INDEX, and all of it but the names of the index and its table."""
    tokens = _tokens(sql)
    opening = next((i for i, t in enumerate(tokens) if t.text == "("), None)
    if opening is None:
        return (), ""
    end = _closing(tokens, opening)
    parts = []
    for item in _items(tokens[opening + 1 : end]):
        kept = list(item)
        while len(kept) > 1 and kept[-1].word in ("asc", "desc"):
            kept.pop()
        if len(kept) > 2 and kept[-2].word == "collate":  # noqa: PLR2004 - the word and the name behind it
            del kept[-2:]
        parts.append(kept[0].name if len(kept) == 1 else _said(kept))
    return tuple(parts), _said(tokens[opening:])


def read_view(sql: str) -> str:
    """The query of a CREATE VIEW."""
    tokens = _tokens(sql)
    depth = 0
    for place, token in enumerate(tokens):
        depth += (token.text == "(") - (token.text == ")")
        if depth == 0 and token.word == "as":
            return _said(tokens[place + 1 :])
    return sql


class _Item:
    """One item between the commas of a CREATE TABLE: a column with its constraints, or constraints of the table."""

    def __init__(self, tokens: Sequence[Token], found: Definition) -> None:
        self._tokens = tokens
        self._found = found
        is_column = tokens[0].word not in _OF_TABLE
        self._column = tokens[0].name.lower() if is_column else ""
        self._place = 1 if is_column else 0
        self._name = ""

    def read(self) -> None:
        while self._place < len(self._tokens):
            token = self._tokens[self._place]
            if token.word == "constraint" and self._place + 1 < len(self._tokens):
                self._name = self._tokens[self._place + 1].name
                self._place += 2
                continue
            self._take(token)
            # What is in brackets and belongs to no constraint of ours (a type's length, a default) is passed over.
            self._place = self._after_brackets() if token.text == "(" else self._place + 1

    def _take(self, token: Token) -> None:
        if token.word == "check":
            self._found.checks.append((self._spend(), self._column, self._bracketed()))
        elif token.word == "as" and self._column:
            self._found.generated[self._column] = self._bracketed()
        elif token.word == "collate" and self._column and self._place + 1 < len(self._tokens):
            self._found.collations[self._column] = self._tokens[self._place + 1].name
        elif token.word in ("primary", "unique", "foreign", "references"):
            self._keep_name(token.word)

    def _keep_name(self, word: str) -> None:
        if word == "references" and not self._column:
            return  # the name went with FOREIGN KEY
        kind = "foreign" if word == "references" else word
        columns = (self._column,) if self._column else self._listed()
        name = self._spend()
        if name:
            self._found.names.setdefault((kind, columns), name)

    def _listed(self) -> tuple[str, ...]:
        opening = self._next_bracket()
        if opening is None:
            return ()
        inside = self._tokens[opening + 1 : _closing(self._tokens, opening)]
        return tuple(item[0].name.lower() for item in _items(inside))

    def _bracketed(self) -> str:
        opening = self._next_bracket()
        if opening is None:
            return ""
        return _said(self._tokens[opening + 1 : _closing(self._tokens, opening)])

    def _next_bracket(self) -> int | None:
        return next((i for i in range(self._place, len(self._tokens)) if self._tokens[i].text == "("), None)

    def _after_brackets(self) -> int:
        return _closing(self._tokens, self._place) + 1

    def _spend(self) -> str:
        name, self._name = self._name, ""
        return name


def _tokens(sql: str) -> list[Token]:
    found = []
    for match in _TOKEN.finditer(sql):
        if match.lastgroup != "space":
            word = match[0].lower() if match.lastgroup == "word" else ""
            found.append(Token(match[0], word, match.start(), match.end()))
    return found


def _closing(tokens: Sequence[Token], opening: int) -> int:
    """Where the bracket that opens there is closed; the end where it is not."""
    depth = 0
    for place in range(opening, len(tokens)):
        depth += (tokens[place].text == "(") - (tokens[place].text == ")")
        if depth == 0:
            return place
    return len(tokens)


def _items(tokens: Sequence[Token]) -> Iterator[Sequence[Token]]:
    depth, begun = 0, 0
    for place, token in enumerate(tokens):
        depth += (token.text == "(") - (token.text == ")")
        if depth == 0 and token.text == ",":
            if place > begun:
                yield tokens[begun:place]
            begun = place + 1
    if len(tokens) > begun:
        yield tokens[begun:]


def _said(tokens: Sequence[Token]) -> str:
    """The text of some tokens, with one space wherever there was any, comments left out."""
    parts = []
    for before, token in zip([None, *tokens], tokens, strict=False):
        parts.append((" " if before is not None and before.end < token.start else "") + token.text)
    return "".join(parts)
