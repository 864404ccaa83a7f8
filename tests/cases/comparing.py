"""Comparing what an agent answered with what a case expects."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import Any

from config.assets import Asset
from memory.records import Reference


def plain(value: Any) -> Any:
    """Verdicts and records as what YAML can say."""
    if hasattr(value, "_fields"):
        return {name: plain(getattr(value, name)) for name in value._fields}
    for kind, turn in _TURNS.items():
        if isinstance(value, kind):
            return turn(value)
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in fields(value)}
    return value


_TURNS: Mapping[Any, Callable[[Any], Any]] = {
    Asset: str,
    Reference: str,
    Enum: lambda value: value.value,
    timedelta: lambda value: value.total_seconds(),
    datetime: lambda value: value.isoformat(),
    Mapping: lambda value: {str(k): plain(v) for k, v in value.items()},
    (list, tuple, set, frozenset): lambda value: [plain(v) for v in value],
}


def misfits(expected: Any, found: Any, where: str = "") -> list[str]:
    """Where `found` differs from `expected`.

    Mappings may hold more than expected; `~` (null) says that a key is absent or null. Special mappings:
    `{at_most: x}`, `{at_least: x}`, `{contains: text}`, `{any_order: […]}`.
    """
    if isinstance(expected, Mapping):
        return (
            _special(expected, found, where)
            if len(expected) == 1 and set(expected) <= _SPECIAL
            else [
                line
                for key, value in expected.items()
                for line in misfits(value, found.get(key) if isinstance(found, Mapping) else None, f"{where}.{key}")
            ]
        )
    if isinstance(expected, list):
        if not isinstance(found, list) or len(found) != len(expected):
            return [f"{where}: expected {expected}, found {found}"]
        return [
            line
            for n, (e, f) in enumerate(zip(expected, found, strict=True))
            for line in misfits(e, f, f"{where}[{n}]")
        ]
    return [] if expected == found else [f"{where}: expected {expected!r}, found {found!r}"]


_SPECIAL = {"at_most", "at_least", "contains", "any_order"}


def _special(expected: Mapping[str, Any], found: Any, where: str) -> list[str]:
    ((test, value),) = expected.items()
    if found is None:
        holds = False
    elif test == "at_most":
        holds = found <= value
    elif test == "at_least":
        holds = found >= value
    elif test == "contains":
        holds = value in str(found)
    else:
        holds = sorted(map(repr, found)) == sorted(map(repr, value))
    return [] if holds else [f"{where}: expected {test} {value!r}, found {found!r}"]


def unmatched(expected: Sequence[Any], found: Sequence[Any]) -> str:
    """Pair every expected item with a found one, in any order; what is left over, as text (empty: all is well)."""
    left = list(found)
    problems: list[str] = []
    for item in expected:
        best = min(left, key=lambda f: len(misfits(item, f)), default=None)
        if best is None:
            problems.append(f"missing: {item}")
        elif lines := misfits(item, best):
            problems.append(f"missing: {item}\n    nearest: {best}\n    " + "\n    ".join(lines))
        else:
            left.remove(best)
    problems.extend(f"unexpected: {item}" for item in left)
    return "\n".join(problems)
