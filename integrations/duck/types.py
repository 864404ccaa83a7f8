"""DuckDB's names of types in the words of the house: `VARCHAR` is text, `DECIMAL(18,3)` numeric(18,3).

Nested types are written out with the same words inside: `struct(a integer, "b c" text)[]`, `map(text, integer)`.
"""

from __future__ import annotations

import re
from typing import Final

_WORDS: Final = {
    "VARCHAR": "text",
    "DECIMAL": "numeric",
    "DOUBLE": "double precision",
    "FLOAT": "real",
    "BLOB": "bytea",
    "BIT": "bit varying",
    "TIMESTAMP": "timestamp without time zone",
    "TIMESTAMP_S": "timestamp(0) without time zone",
    "TIMESTAMP_MS": "timestamp(3) without time zone",
    "TIMESTAMP_NS": "timestamp(9) without time zone",
    "TIME": "time without time zone",
    "TIME_NS": "time(9) without time zone",
}
_FIELDS: Final = frozenset({"STRUCT", "UNION"})
_NESTED: Final = frozenset({*_FIELDS, "MAP"})
_ENDS: Final = frozenset({"", "(", ")", "[", "]", ","})
_TOKEN: Final = re.compile(r"\"(?:[^\"]|\"\")*\"|'(?:[^']|'')*'|[\[\](),]|[^\s\"'(),\[\]]+")


def normalised(text: str) -> str:
    """A type as the house writes it; one that cannot be read is written small and left as it is."""
    try:
        return _Reading(text).whole()
    except IndexError:
        return text.lower()


class _Reading:
    """One pass over the text of a type."""

    def __init__(self, text: str) -> None:
        self._tokens = _TOKEN.findall(text)
        self._place = 0

    def whole(self) -> str:
        found = self._type()
        if self._place != len(self._tokens):
            raise IndexError
        return found

    def _type(self) -> str:
        words = [self._take()]
        while self._next() not in _ENDS:
            words.append(self._take())
        name = " ".join(words).upper()
        made = _WORDS.get(name, name.lower())
        if self._next() == "(":
            made += self._nested(name) if name in _NESTED else self._arguments()
        while self._next() == "[":
            made += self._take()
            while self._next() != "]":
                made += self._take()
            made += self._take()
        return made

    def _nested(self, name: str) -> str:
        members = []
        self._take()
        while True:
            # A row without names has types alone: the token after a member's first one tells.
            is_named = name in _FIELDS and self._next(1) not in ("(", ")", "[", ",")
            members.append(f"{self._take()} {self._type()}" if is_named else self._type())
            if self._take() == ")":
                return f"({', '.join(members)})"

    def _arguments(self) -> str:
        made, depth = "", 0
        while True:
            taken = self._take()
            depth += (taken == "(") - (taken == ")")
            made += taken
            if depth == 0:
                return made

    def _next(self, ahead: int = 0) -> str:
        place = self._place + ahead
        return self._tokens[place] if place < len(self._tokens) else ""

    def _take(self) -> str:
        token: str = self._tokens[self._place]
        self._place += 1
        return token
