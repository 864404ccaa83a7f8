"""Names as DuckDB reads them, and the hash of what a look brought."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import replace

from config.errors import UsageError
from integrations.base import Enumeration, NumberSequence, Table


def quoted(*names: str) -> str:
    """A dotted, quoted identifier; UsageError for a name that can be none."""
    if not names or any(not name or "\0" in name for name in names):
        raise UsageError("an identifier cannot be empty or hold a zero byte")
    return ".".join('"' + name.replace('"', '""') + '"' for name in names)


def literal(text: str) -> str:
    """A text as a constant in SQL, for the places that take no parameter."""
    return "'" + text.replace("'", "''") + "'"


def pattern(path: str) -> str:
    """The pattern that matches this path alone: DuckDB takes every path of a file for a pattern."""
    return "".join(f"[{c}]" if c in "*?[" else c for c in path)


def splits(path: str) -> Iterator[tuple[str, str]]:
    """Every way to read `schema.name`, for either may hold a dot itself."""
    for place, character in enumerate(path):
        if character == ".":
            yield path[:place], path[place + 1 :]


def fingerprint(
    tables: Sequence[Table],
    enumerations: Sequence[Enumeration] = (),
    sequences: Sequence[NumberSequence] = (),
) -> str:
    """A hash of everything but the row estimates."""
    digest = hashlib.sha256()
    for table in tables:
        digest.update(repr(replace(table, rows=-1)).encode())
    digest.update(repr((tuple(enumerations), tuple(sequences))).encode())
    return digest.hexdigest()
