"""The same SQL text under its many spellings: defaults, checks, expressions, definitions.

Texts come from the engine, which writes them anew: with casts a newer version adds, in other brackets, with names that
were changed since. Two texts are alike where only that differs.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from functools import lru_cache
from typing import Final

Renames = Collection[tuple[str, str]]
"""Names that changed in the meantime, before and after."""

_TOKEN: Final = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|`[^`]*`|\d+(?:\.\d+)?|[^\W\d]\w*|::|--[^\n]*|\S")
_TYPE_WORDS: Final = frozenset({"varying", "precision", "with", "without", "time", "zone"})
_TEXT_CASTS: Final = frozenset({"text", "character", "varchar", "bpchar", "name"})
_LITERAL: Final = re.compile(r"^('|\d)|^(null|true|false)$")
_PLAIN: Final = re.compile(r"^[\w$]+$")


def is_alike(before: str, after: str, renames: Renames = ()) -> bool:
    """Do two expressions say the same?"""
    return before == after or _agree(words(before), words(after), renames)


def is_same_value(before: str, after: str) -> bool:
    """Do two defaults say the same, though one is written as text (`'0'`) and the other as what it is (`0`)?"""
    return [w.strip("'") for w in words(before)] == [w.strip("'") for w in words(after)]


def is_same_query(before: str, after: str, renames: Renames = ()) -> bool:
    """Do two queries say the same, names that changed beneath them apart?

    Whoever renames a column beneath a view makes the engine write `new as old` into it; the view gives what it gave.
    """
    if before == after or _bare(before) == _bare(after):
        return True
    return bool(renames) and _agree(_unaliased(before), _unaliased(after), renames)


@lru_cache(maxsize=8_192)
def words(text: str) -> tuple[str, ...]:
    """An expression in its parts, without casts that change nothing and without needless brackets."""
    tokens = _uncast(list(_spelled(text)))
    return tuple(_flat(_unwrapped(_nested(iter(tokens)))))


def mentions(text: str, names: Collection[str]) -> frozenset[str]:
    """Those of the names that stand in an expression."""
    found = set(_spelled(text))
    return frozenset(name for name in names if name in found or name.lower() in found)


def _agree(before: tuple[str, ...], after: tuple[str, ...], renames: Renames) -> bool:
    if len(before) != len(after):
        return False
    changed = {(_folded(one), _folded(other)) for one, other in renames}
    return all(b == a or (b.lower(), a.lower()) in changed for b, a in zip(before, after, strict=True))


def _folded(name: str) -> str:
    return name.lower()


def _spelled(text: str) -> Iterator[str]:
    """Tokens: words in small letters, quoted names as they are named."""
    for token in _TOKEN.findall(text):
        if token.startswith("--"):
            continue
        if token[0] in '"`':
            yield token[1:-1].replace('""', '"')
        elif token[0] == "'":
            yield token
        else:
            yield token.lower()


@lru_cache(maxsize=1_024)
def _bare(text: str) -> tuple[str, ...]:
    tokens = tuple(_spelled(text))
    return tokens[:-1] if tokens[-1:] == (";",) else tokens


def _unaliased(text: str) -> tuple[str, ...]:
    tokens, kept, skip = _bare(text), [], False
    for token in tokens:
        if skip:
            skip = False
        elif token == "as":  # noqa: S105 - a word of SQL
            skip = True
        else:
            kept.append(token)
    return tuple(kept)


# --- casts and brackets ------------------------------------------------------------------------------------------


def _uncast(tokens: list[str]) -> list[str]:
    """Without casts of literals, without casts to text, and without the name of a sequence (made anew, it changes)."""
    kept: list[str] = []
    place = 0
    while place < len(tokens):
        token = tokens[place]
        if token == "::":  # noqa: S105 - a cast
            end = _end_of_type(tokens, place + 1)
            if not (_is_literal(kept) or (tokens[place + 1 : place + 2] and tokens[place + 1] in _TEXT_CASTS)):
                kept += tokens[place:end]
            place = end
        elif token == "cast" and (end := _literal_cast(tokens, place)):  # noqa: S105 - a word of SQL
            kept.append(tokens[place + 2])
            place = end
        elif token == "nextval" and "(" in tokens[place + 1 : place + 2]:  # noqa: S105 - a function
            kept.append(token)
            place = _closing(tokens, place + 1) + 1
        else:
            kept.append(token)
            place += 1
    return kept


def _is_literal(kept: list[str]) -> bool:
    """Does what was read so far end with a literal, perhaps in brackets?"""
    place = len(kept) - 1
    while place >= 0 and kept[place] == ")":
        place -= 1
    closing = len(kept) - 1 - place
    return place >= closing and bool(_LITERAL.match(kept[place])) and kept[place - closing : place] == ["("] * closing


def _literal_cast(tokens: list[str], place: int) -> int:
    """Where `cast(<literal> as type)` ends; 0 where it is another cast."""
    if tokens[place + 1 : place + 2] != ["("] or tokens[place + 3 : place + 4] != ["as"]:
        return 0
    return _closing(tokens, place + 1) + 1 if _LITERAL.match(tokens[place + 2]) else 0


def _closing(tokens: list[str], place: int) -> int:
    depth = 0
    for number in range(place, len(tokens)):
        depth += (tokens[number] == "(") - (tokens[number] == ")")
        if depth == 0:
            return number
    return len(tokens) - 1


def _end_of_type(tokens: list[str], place: int) -> int:
    """After the type that begins at `place`: `character varying(3)[]`, `raw.mood`, `timestamp with time zone`."""
    place += 1
    while place < len(tokens):
        if tokens[place] == ".":
            place += 2
        elif tokens[place] in _TYPE_WORDS:
            place += 1
        elif tokens[place] == "(" and all(t.isdigit() or t == "," for t in tokens[place + 1 : _closing(tokens, place)]):
            place = _closing(tokens, place) + 1
        elif tokens[place : place + 2] == ["[", "]"]:
            place += 2
        else:
            break
    return place


_Nest = list["str | _Nest"]


def _nested(tokens: Iterator[str]) -> _Nest:
    found: _Nest = []
    for token in tokens:
        if token == "(":  # noqa: S105 - a bracket
            found.append(_nested(tokens))
        elif token == ")":  # noqa: S105 - a bracket
            break
        else:
            found.append(token)
    return found


def _unwrapped(found: _Nest) -> _Nest:
    """Without brackets around brackets, around one word, and around the whole."""
    while len(found) == 1 and isinstance(found[0], list):
        found = found[0]
    kept: _Nest = []
    for part in found:
        if isinstance(part, str):
            kept.append(part)
            continue
        inner = _unwrapped(part)
        before = kept[-1] if kept else ""
        is_call = isinstance(before, str) and bool(_PLAIN.match(before)) and not before.isdigit()
        if len(inner) == 1 and not is_call:
            kept += inner
        else:
            kept.append(inner)
    return kept


def _flat(found: _Nest) -> Iterator[str]:
    for part in found:
        if isinstance(part, str):
            yield part
        else:
            yield "("
            yield from _flat(part)
            yield ")"
