"""How values cross between the swarm and its rows: JSON checked on the way in, references, patterns, words.

What cannot be stored is refused here, with the field's name and never its value, before anything is written.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any

from config.assets import Asset
from config.errors import UsageError
from memory.records import JSON, Reference

LARGEST = 10_000_000  # characters of one JSON value: a note of 10 MB is a mistake, not a note
_ESCAPED_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")  # json escapes a NUL this way; an escaped backslash is none
_CLASS = re.compile(r"\[(!?)([^\]\\]+)\]")


def text(value: str, field: str, *, required: bool = False, longest: int = LARGEST) -> str:
    """A text as it may be stored.

    Raises:
        UsageError: empty though required, too long, or holding what PostgreSQL cannot store (NUL, half a surrogate).
    """
    if required and not value.strip():
        raise UsageError(f"{field} is empty")
    if len(value) > longest:
        raise UsageError(f"{field} has {len(value)} characters, at most {longest} may be stored")
    if "\0" in value:
        raise UsageError(f"{field} holds a NUL character, which cannot be stored")
    if value.isascii():
        return value
    try:
        value.encode()
    except UnicodeEncodeError:
        raise UsageError(f"{field} holds half of a character (a lone surrogate), which cannot be stored") from None
    return value


WILD = "*?["
"""What a shell pattern is known by."""

_EMPTY: dict[type, str] = {list: "[]", tuple: "[]", dict: "{}"}  # most rows have no evidence


def dumped(value: JSON, field: str) -> str:
    """A JSON value as text, its keys sorted, so that equal values give equal texts.

    Raises:
        UsageError: not JSON, too large, or holding a NUL, a NaN or an infinity; the message names the field.
    """
    if type(value) in _EMPTY and not value:
        return _EMPTY[type(value)]
    try:
        written = _ENCODER.encode(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise UsageError(
            f"{field} is not JSON: {type(error).__name__}",
            hint="use str, int, float, bool, None, lists and dicts with str keys",
        ) from None
    if "\\u0000" in written and _ESCAPED_NUL.search(written):
        raise UsageError(f"{field} holds a NUL character, which cannot be stored")
    return text(written, field)


def _plain(value: Any) -> Any:
    """Mappings and tuples that json does not know by itself."""
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Sequence) and not isinstance(value, bytes):
        return list(value)
    raise TypeError(type(value).__name__)


_ENCODER = json.JSONEncoder(sort_keys=True, ensure_ascii=False, allow_nan=False, default=_plain)


def share(value: float, field: str) -> float:
    """A figure from 0 to 1.

    Raises:
        UsageError: it is not.
    """
    if not 0 <= value <= 1:
        raise UsageError(f"{field} is from 0 to 1, this is {value}")
    return float(value)


def seconds(value: float | timedelta, field: str) -> float:
    """A length of time in seconds, more than none and at most ten years.

    Raises:
        UsageError: it is not.
    """
    length = value.total_seconds() if isinstance(value, timedelta) else float(value)
    if not 0 < length <= 10 * 366 * 86400:
        raise UsageError(f"{field} must be more than 0 seconds and at most ten years")
    return length


def digest(*parts: str) -> str:
    """A hash over texts; their borders count."""
    return hashlib.sha256(b"".join(b"%d:%b" % (len(part), part) for part in map(str.encode, parts))).hexdigest()


def references(given: Iterable[Reference]) -> list[str]:
    """Evidence as it is stored: `observation:12`."""
    return [str(reference) for reference in given]


def read_references(stored: Sequence[str]) -> tuple[Reference, ...]:
    """Evidence as it was stored."""
    return tuple(Reference(noun, int(number)) for noun, _, number in (item.rpartition(":") for item in stored))


def regex(patterns: Iterable[str]) -> str | None:
    """Shell patterns as one anchored regular expression of PostgreSQL; None where one of them covers everything."""
    each = list(patterns)
    if "*" in each:
        return None
    return "^(?:" + "|".join("".join(_translated(pattern)) for pattern in each) + ")$"


def _translated(pattern: str) -> Iterator[str]:
    place = 0
    while place < len(pattern):
        found = _CLASS.match(pattern, place)
        if found is not None:
            yield f"[{'^' if found[1] else ''}{found[2].replace('^', chr(92) + '^').replace('[', chr(92) + '[')}]"
            place = found.end()
            continue
        character = pattern[place]
        yield {"*": ".*", "?": "."}.get(character) or re.escape(character)
        place += 1


def covering(subject: Asset | str | None) -> str | None:
    """What matches an asset with its parts, or a shell pattern over references; None: everything."""
    if subject is None:
        return None
    if isinstance(subject, str):
        return regex([subject])
    reference = str(subject)
    bare = f"{reference}/" if not subject.path else reference
    return f"^(?:{re.escape(reference)}|{re.escape(bare)}#.*)$" if not subject.part else f"^{re.escape(reference)}$"


def beginning(pattern: str) -> str:
    """What everything that matches a shell pattern begins with."""
    return pattern[: min((pattern.find(wild) for wild in WILD if wild in pattern), default=len(pattern))]


def words(*values: JSON) -> str:
    """The words of any JSON, keys included: what makes a row findable."""
    pieces: list[str] = []
    for value in values:
        _gather(value, pieces)
    return " ".join(filter(None, pieces))


def _gather(value: JSON, pieces: list[str]) -> None:
    if isinstance(value, str):
        pieces.append(value)
    elif isinstance(value, bool) or value is None:
        return
    elif isinstance(value, int | float):
        pieces.append(str(value))
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            pieces.append(str(key))
            _gather(inner, pieces)
    else:
        for inner in value:
            _gather(inner, pieces)
