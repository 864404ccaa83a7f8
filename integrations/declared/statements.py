"""A script cut into its statements, each with its number and the line it begins on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sqlglot.errors import SqlglotError
from sqlglot.tokenizer_core import Token, TokenType

from config.errors import UsageError
from integrations.lineage.naming import Naming

_MOST_WORDS = 6
_PACKED = 2  # the command, and all that follows it
_WITH_BODY = frozenset({"TRIGGER", "PROCEDURE", "FUNCTION"})


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement. `words` are its first words in capitals, by which one tells what it is."""

    number: int
    line: int
    text: str
    tokens: tuple[Token, ...]
    words: tuple[str, ...]

    @property
    def where(self) -> str:
        """`statement 3, line 14`."""
        return f"statement {self.number}, line {self.line}"

    def wrong(self, why: str, *, hint: str = "") -> UsageError:
        """An error that names the place."""
        return UsageError(f"{self.where}: {why}", hint=hint)


def split(text: str, naming: Naming) -> list[Statement]:
    """The statements of a script, those of a body (`BEGIN … END`) kept together with their head.

    Raises:
        UsageError: a quote or a comment is not closed; names the line.
    """
    plain = "\n".join("" if line.lstrip().startswith("\\") else line for line in text.splitlines())  # psql's own words
    try:
        tokens = naming.dialect.tokenize(plain)
    except (SqlglotError, RecursionError):
        line = _unclosed(plain, naming)
        raise UsageError(f"statement 1, line {line}: a quote or a comment is not closed") from None
    found: list[Statement] = []
    line, counted = 1, 0  # counted on, for a token's own line is that of its end
    for number, chunk in enumerate(_chunks(tokens), 1):
        cut = plain[chunk[0].start : chunk[-1].end + 1]
        tokens_ = _unpacked(chunk, naming)
        words = tuple(t.text.upper() for t in tokens_[:_MOST_WORDS])
        line += plain.count("\n", counted, chunk[0].start)
        counted = chunk[0].start
        found.append(Statement(number, line, cut, tuple(tokens_), words))
    return found


def _unpacked(chunk: list[Token], naming: Naming) -> list[Token]:
    """The words of a command that the dialect's tokenizer hands over as one text."""
    if len(chunk) != _PACKED or chunk[0].token_type not in (TokenType.COMMAND, TokenType.RENAME):
        return chunk
    try:
        return [chunk[0], *naming.dialect.tokenize(chunk[1].text)]
    except SqlglotError:
        return chunk


def _chunks(tokens: list[Token]) -> Iterator[list[Token]]:
    chunk: list[Token] = []
    for token in tokens:
        if token.token_type is not TokenType.SEMICOLON:
            chunk.append(token)
        elif chunk and not _is_open(chunk):
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _is_open(chunk: list[Token]) -> bool:
    """Is a body begun and not yet ended?"""
    head = {t.text.upper() for t in chunk[:_MOST_WORDS]}
    if chunk[0].text.upper() != "CREATE" or not head & _WITH_BODY:
        return False
    depth = 0
    for token in chunk:
        word = token.text.upper() if token.token_type is not TokenType.STRING else ""
        if word in ("BEGIN", "CASE"):
            depth += 1
        elif word == "END":
            depth -= 1
    return depth > 0


def _unclosed(text: str, naming: Naming) -> int:
    """The line up to which the script can be cut into words."""
    lines = text.splitlines()
    low, high = 0, len(lines)
    while low < high:  # what is closed at a line need not be closed at an earlier one: near enough to look there
        middle = (low + high + 1) // 2
        try:
            naming.dialect.tokenize("\n".join(lines[:middle]))
            low = middle
        except (SqlglotError, RecursionError):
            high = middle - 1
    return min(low + 1, max(len(lines), 1))
