"""How alike two names are, by their parts and common ways to shorten them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from functools import lru_cache

_PARTS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+|[^\W\d_a-zA-Z]+")
_SHORTEST = 2
_PREFIX = 3
_COMMON_WEIGHT = 0.25
SUPPORT = 0.5
"""From this affinity on, names speak for a pair."""


@lru_cache(maxsize=65_536)
def tokens(name: str) -> tuple[str, ...]:
    """A name's parts in lower case: `customerId_2` → customer, id, 2."""
    return tuple(part.lower() for part in _PARTS.findall(name))


def common(names: Iterable[str]) -> frozenset[str]:
    """Parts that stand in several of the names, and so tell little (`id`, `cents`)."""
    counts = Counter(token for name in names for token in set(tokens(name)))
    return frozenset(token for token, count in counts.items() if count > 1)


def affinity(one: str, other: str, commonplace: frozenset[str] = frozenset()) -> float:
    """0 (nothing in common) to 1 (the same parts); commonplace parts weigh a quarter."""
    left, right = list(dict.fromkeys(tokens(one))), list(dict.fromkeys(tokens(other)))
    if not left or not right:
        return 0.0

    def weight(token: str) -> float:
        return _COMMON_WEIGHT if token in commonplace else 1.0

    shared = 0.0
    unmatched = list(right)
    for token in left:
        found = next((o for o in unmatched if o == token), None) or next((o for o in unmatched if akin(token, o)), None)
        if found is not None:
            unmatched.remove(found)
            shared += min(weight(token), weight(found))
    smaller = min(sum(map(weight, left)), sum(map(weight, right)))
    larger = max(sum(map(weight, left)), sum(map(weight, right)))
    # Half by the shorter name, which a longer one may spell out (`email` → `email_address`).
    return 0.5 * shared / smaller + 0.5 * shared / larger


def akin(one: str, other: str) -> bool:
    """Is one part the other shortened: a beginning of it (`cust`), or its consonants (`qty`, `amt`)?

    `lat` and `lag` are not: neither is the other shortened.
    """
    short, long = sorted((one, other), key=len)
    if len(short) < _SHORTEST or short[0] != long[0] or short.isdigit() or len(short) == len(long):
        return False
    if long.startswith(short):
        return len(short) >= _PREFIX or len(long) - len(short) == 1
    return len(short) <= 0.7 * len(long) and not set(short[1:]) & set("aeiou") and _is_within(short, long)


def _is_within(short: str, long: str) -> bool:
    letters = iter(long)
    return all(letter in letters for letter in short)
