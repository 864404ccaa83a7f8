"""Which schemas of a warehouse are looked at: shell patterns, and what belongs to the swarm itself."""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence


def covers(name: str, patterns: Sequence[str]) -> bool:
    """Does one of the shell patterns fit a name, upper and lower case apart?"""
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def outright(patterns: Sequence[str]) -> tuple[str, ...]:
    """The patterns that are plain names, without a wildcard."""
    return tuple(p for p in patterns if not any(c in p for c in "*?["))


def is_own(schema: str, *, scratch: str, owned: str) -> bool:
    """Does a schema belong to the swarm: what it tries things in (and what dbt names after it), or where it builds?"""
    return schema in (scratch, owned) or schema.startswith(f"{scratch}_")
