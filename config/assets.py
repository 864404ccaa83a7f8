"""The stable references by which everything watched is named.

An asset reads `scheme://source/path#part`: `warehouse://shop/raw.orders#customer_id`,
`dbt://shop/model.shop.stg_orders`. Every room speaks of the same things, so the type stands on the ground floor.
Path and part are percent-encoded where they hold `#`, `%` or a control character, so any name survives.
"""

from __future__ import annotations

import fnmatch
import re
from dataclasses import dataclass, replace
from functools import lru_cache
from urllib.parse import quote, unquote

from config.errors import UsageError

_REFERENCE = re.compile(
    r"^(?P<scheme>[a-z][a-z0-9_]*)://(?P<source>[A-Za-z0-9_.-]+)(?:/(?P<path>[^#]*))?(?:#(?P<part>.*))?$"
)
_KEEP = "".join(chr(c) for c in range(33, 127) if chr(c) not in "#%") + " "
LONGEST = 600


@dataclass(frozen=True, slots=True, order=True)
class Asset:
    """Anything watched, by a stable reference.

    Attributes:
        scheme: the kind of thing that holds it: `warehouse`, `dbt`, `git`, …
        source: the configured name of the source.
        path: what it is inside the source: `raw.orders`; empty for the source itself.
        part: a part of it: a column's name; empty for the whole.
    """

    scheme: str
    source: str
    path: str = ""
    part: str = ""

    @classmethod
    def parse(cls, reference: str) -> Asset:
        """Read a reference; raises UsageError naming what is wrong."""
        return _parsed(reference)

    def __str__(self) -> str:
        return _written(self.scheme, self.source, self.path, self.part)

    @property
    def whole(self) -> Asset:
        """The asset this one is a part of (itself where it is whole)."""
        return replace(self, part="") if self.part else self

    def column(self, name: str) -> Asset:
        """The part of this asset called `name`."""
        return replace(self, part=name)

    def matches(self, pattern: str) -> bool:
        """Does a shell pattern over the reference cover this asset, or the whole it belongs to?"""
        return fnmatch.fnmatchcase(str(self), pattern) or fnmatch.fnmatchcase(str(self.whole), pattern)


# Rows that are read or written by the thousand name the same few assets.
@lru_cache(4096)
def _written(scheme: str, source: str, path: str, part: str) -> str:
    text = f"{scheme}://{source}"
    if path or part:
        text += "/" + quote(path, safe=_KEEP)
    if part:
        text += "#" + quote(part, safe=_KEEP)
    return text


@lru_cache(4096)
def _parsed(reference: str) -> Asset:
    match = _REFERENCE.match(reference) if len(reference) <= LONGEST else None
    if match is None:
        raise UsageError(
            f"not an asset reference: {reference[:80]!r}",
            hint="write scheme://source/path#part, for example warehouse://shop/raw.orders#customer_id",
        )
    return Asset(match["scheme"], match["source"], unquote(match["path"] or ""), unquote(match["part"] or ""))
