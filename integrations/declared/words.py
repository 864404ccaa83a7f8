"""A statement taken word by word."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sqlglot import exp
from sqlglot.tokenizer_core import Token, TokenType

from integrations.declared.spelling import Spelling
from integrations.declared.statements import Statement


class Words:
    """A statement's words, one after the other."""

    def __init__(self, said: Statement, spelling: Spelling, left: Sequence[Token] | None = None) -> None:
        self.said = said
        self.spelling = spelling
        self._left = list(said.tokens if left is None else left)

    def __bool__(self) -> bool:
        return bool(self._left)

    def __len__(self) -> int:
        return len(self._left)

    def copy(self) -> Words:
        """The same words, to be gone through apart."""
        return Words(self.said, self.spelling, self._left)

    def ahead(self, *words: str) -> bool:
        """Do these words come next?"""
        return self.copy().take(*words)

    def past(self, *words: str) -> Words:
        """Go past these words, which are there."""
        self.need(*words)
        return self

    def peek(self) -> str:
        """The next word in capitals, empty at the end."""
        return self._left[0].text.upper() if self._left else ""

    def take(self, *words: str) -> bool:
        """Go past these words if they come next."""
        ahead = self._left[: len(words)]
        fits = len(ahead) == len(words) and all(_is(t, w) for t, w in zip(ahead, words, strict=True))
        if fits:
            del self._left[: len(words)]
        return fits

    def need(self, *words: str) -> None:
        """The same, where nothing else may come."""
        if not self.take(*words):
            raise self.said.wrong(f"{' '.join(words)} is missing or misplaced")

    def literal(self) -> str:
        """The next word as a text in quotes."""
        if self._left and self._left[0].token_type in (TokenType.STRING, TokenType.NATIONAL_STRING):
            return self._left.pop(0).text
        raise self.said.wrong("a text in quotes is missing")

    def name(self) -> exp.Identifier:
        """The next word as a name."""
        if not self._left or self._left[0].token_type is TokenType.STRING:
            raise self.said.wrong("a name is missing")
        token = self._left.pop(0)
        return exp.to_identifier(token.text, quoted=token.token_type is TokenType.IDENTIFIER)

    def path(self) -> exp.Table:
        """The next words as a path: `name` or `schema.name`."""
        parts = [self.name()]
        while self.take("."):
            parts.append(self.name())
        return exp.Table(this=parts[-1], db=parts[-2] if len(parts) > 1 else None)

    def rest(self) -> str:
        """What is left, in capitals."""
        return " ".join(t.text.upper() for t in self._left)

    def text(self) -> str:
        """What is left, as it is written."""
        start = self.said.tokens[0].start
        return self.said.text[self._left[0].start - start : self._left[-1].end + 1 - start] if self._left else ""

    def parts(self) -> list[Words]:
        """What is left, cut at its commas."""
        found: list[list[Token]] = [[]]
        for token, depth in self._deep():
            if depth == 0 and token.text == "," and token.token_type is TokenType.COMMA:
                found.append([])
            else:
                found[-1].append(token)
        return [Words(self.said, self.spelling, part) for part in found if part]

    def group(self) -> list[Words] | None:
        """What stands in the brackets just begun, cut at its commas; None where nothing closes them."""
        for place, (token, depth) in enumerate(self._deep()):
            if depth < 0 and token.token_type is TokenType.R_PAREN:
                inner = Words(self.said, self.spelling, self._left[:place])
                del self._left[: place + 1]
                return inner.parts()
        return None

    def split_place(self) -> tuple[Words, Words | None]:
        """A definition, and the `FIRST` or `AFTER a` behind it."""
        for count, word in ((1, "FIRST"), (2, "AFTER")):
            tail = self._left[-count:]
            if len(self._left) > count and _is(tail[0], word):
                return Words(self.said, self.spelling, self._left[:-count]), Words(self.said, self.spelling, tail)
        return self, None

    def split_last(self, word: str) -> tuple[Words, Words | None]:
        """What stands before and behind the last such word that stands in no brackets."""
        places = [place for place, (token, depth) in enumerate(self._deep()) if depth == 0 and _is(token, word)]
        if not places:
            return self, None
        here = places[-1]
        behind = Words(self.said, self.spelling, self._left[here + 1 :])
        return Words(self.said, self.spelling, self._left[:here]), behind

    def _deep(self) -> Iterator[tuple[Token, int]]:
        """Each token, and in how many brackets it stands, those that open or close one outside it."""
        depth = 0
        for token in self._left:
            depth -= token.token_type is TokenType.R_PAREN
            yield token, depth
            depth += token.token_type is TokenType.L_PAREN


def _is(token: Token, word: str) -> bool:
    return token.token_type is not TokenType.STRING and token.text.upper() == word
