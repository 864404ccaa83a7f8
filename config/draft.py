"""The configuration before it is checked: plain values, where each came from, what was wrong on the way."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from config.errors import Problem
from config.masking import mask, scrub

KeyPath = tuple[str | int, ...]


@dataclass(slots=True)
class Draft:
    """Values gathered from file, secret files and environment, lowest precedence first.

    Attributes:
        name: what stands in `where` for a value whose origin is unknown: the file's name.
        data: nested mappings, sequences and scalars.
        origins: path → `file:line`, or the variable's or secret file's name.
        problems: found so far.
        secrets: values that must not appear in any message.
        faulty: paths whose value could not be had; what follows from its absence is not reported as well.
        referenced: names of the variables the file refers to, comments included.
    """

    name: str
    data: dict[str, Any] = field(default_factory=dict)
    origins: dict[KeyPath, str] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    secrets: set[str] = field(default_factory=set)
    faulty: set[KeyPath] = field(default_factory=set)
    referenced: set[str] = field(default_factory=set)

    def put(self, path: KeyPath, value: Any, where: str) -> None:
        """Set a value, making the mappings that lead to it; left alone where something else is in the way."""
        inner = self.data
        for depth, step in enumerate(path[:-1], 1):
            deeper = inner.get(str(step))
            if deeper is None:
                deeper = inner[str(step)] = {}
                self.origins[path[:depth]] = where
            if not isinstance(deeper, dict):
                return  # of the wrong type: reported where it was written
            inner = deeper
        inner[str(path[-1])] = value
        self.origins = {p: w for p, w in self.origins.items() if p[: len(path)] != path}
        self.origins[path] = where
        self.faulty = {p for p in self.faulty if p[: len(path)] != path}

    def at(self, path: KeyPath) -> Any:
        """The value at a path, None where there is none."""
        value: Any = self.data
        for step in path:
            if isinstance(value, dict):
                value = value.get(str(step))
            elif isinstance(value, list) and isinstance(step, int) and step < len(value):
                value = value[step]
            else:
                return None
        return value

    def where(self, path: KeyPath) -> str:
        """Where a value was written, or the nearest thing around it that was."""
        for length in range(len(path), 0, -1):
            if path[:length] in self.origins:
                return self.origins[path[:length]]
        return self.name

    def is_faulty(self, path: KeyPath) -> bool:
        """Has it been reported already that the value at a path, or one around it, could not be had?"""
        return any(path[:length] in self.faulty for length in range(len(path) + 1))

    def complain(self, where: str, message: str, suggestion: str = "") -> None:
        """Note a problem; the message loses every secret known here. The same problem is noted once."""
        problem = Problem(mask(where), scrub(message, self.secrets), suggestion)
        if problem not in self.problems:
            self.problems.append(problem)


def nearest(name: str, known: Iterable[str]) -> str:
    """The known name that was probably meant, empty where none is near; case, dashes and underscores count little."""
    plain = {_plain(candidate): candidate for candidate in known}
    if _plain(name) in plain:
        return plain[_plain(name)]
    # 0.5 keeps a two-letter key with one letter wrong within reach.
    close = difflib.get_close_matches(_plain(name), plain, n=1, cutoff=0.5)
    return plain[close[0]] if close else ""


def match(name: str, known: Iterable[str]) -> list[str]:
    """The known names that an environment variable's segment stands for: itself, else those equal but for dashes."""
    candidates = list(known)
    if name in candidates:
        return [name]
    return sorted({c for c in candidates if _plain(c) == _plain(name)})


def dotted(path: KeyPath) -> str:
    """A path as people write it: `sources.shop.url`, `policy.assets[1].pattern`."""
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    return text.removeprefix(".")


def _plain(name: str) -> str:
    return name.lower().replace("-", "_").replace("__", "_")
