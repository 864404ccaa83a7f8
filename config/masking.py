"""Keeping secrets out of what is read by people: log lines, errors, the shown configuration.

Masking by pattern stops accidents, not intent: it knows names that look like secrets and shapes that secrets have.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

MASK = "********"
SHORTEST = 4  # a shorter value is no secret worth the words it would tear holes into

_SECRET_NAME = re.compile(
    r"(?i)(passw(?:or)?d|passphrase|pwd$|secret|token|api[_-]?key|(?:access|private|signing)[_-]?key|credential"
    r"|authori[sz]ation|cookie|dsn$)"
)
_MAYBE_NAME = re.compile(r"(?i)(?:(?:^|[_-])(?:url|uri)s?|[_-]key)$")
_NAMED = (
    r"(?:passw(?:or)?d|passphrase|pwd|secret|api[_-]?key|(?:access|private|signing)[_-]?key|credentials?"
    r"|authori[sz]ation)"
)
_VALUE = r"""(?P<value>'[^']*'|"[^"]*"|(?:(?:bearer|basic)\s+)?[^\s&,;'")\]}]+)"""
# Bounded repetitions keep these linear on hostile text.
_PATTERNS: tuple[tuple[re.Pattern[str], str], ...] = (
    # scheme://user:password@host; the last @ of the word ends it, since passwords hold @ and / unquoted
    (re.compile(r"""(://[^\s/@:'"]{0,128}):[^\s'"]{1,512}@"""), rf"\1:{MASK}@"),
    # https://token@host
    (re.compile(r"""(?i)(https?://)[^\s/@:'"]{1,512}@"""), rf"\1{MASK}@"),
    # password=…, "api_key": "…"
    (re.compile(rf"""(?i)((?:{_NAMED}|token)(?:["']\s{{0,3}}:|["']?\s{{0,3}}=)\s{{0,3}}){_VALUE}"""), rf"\1{MASK}"),
    # password: … where nothing follows; `api_key: should be a text` is prose, as is any `token:`
    (re.compile(rf"""(?im)({_NAMED}\s{{0,3}}:[^\S\n]{{0,3}}){_VALUE}(?=\s*(?:$|[,;}}\]]))"""), rf"\1{MASK}"),
    (re.compile(r"(?i)\b(bearer\s+)[\w.~+/=-]{16,}"), rf"\1{MASK}"),
    # keys that give themselves away by their beginning
    (re.compile(r"\b(?:sk-[\w-]{16,}|gh[pousr]_\w{20,}|xox[abeprs]-[\w-]{10,}|AKIA[0-9A-Z]{16})"), MASK),
    (re.compile(r"(?i)(hooks\.slack\.com/services/)[^\s'\"]+"), rf"\1{MASK}"),
)


class Veiled(str):
    """A string that came from a variable or a secret file: usable as any other, never shown.

    It marks such values inside free-form options, where no model says which of them are secret.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return repr(MASK)


def mask(text: str) -> str:
    """The text with everything that looks like a secret replaced by asterisks."""
    for pattern, replacement in _PATTERNS:
        text = pattern.sub(replacement, text)
    return text


def scrub(text: str, secrets: Iterable[str]) -> str:
    """The text masked, and without any of these values (very short ones apart)."""
    for secret in sorted((s for s in secrets if len(s) >= SHORTEST), key=len, reverse=True):
        text = text.replace(secret, MASK)
    return mask(text)


def names_secret(name: str) -> bool:
    """Does a key with this name hold a secret?"""
    return _SECRET_NAME.search(name) is not None


def may_hold_secret(name: str) -> bool:
    """The same, addresses included: they may carry a password, or be one (webhooks)."""
    return names_secret(name) or _MAYBE_NAME.search(name) is not None


def mask_value(value: Any, name: str = "", depth: int = 8) -> Any:  # noqa: PLR0911 - a line for each shape
    """The value, of JSON-like shape, with every string masked; wholly so under a name that looks like a secret.

    Numbers, booleans and None are returned as they are (`max_tokens: 50` is no secret); an object of another type
    becomes its masked representation.
    """
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, Veiled):
        return MASK
    if isinstance(value, str):
        return MASK if name and value and names_secret(name) else mask(value)
    if isinstance(value, bytes) or depth <= 0:
        return f"<{type(value).__name__}>"
    if isinstance(value, dict):
        covering = name if names_secret(name) else ""
        return {key: mask_value(inner, covering or str(key), depth - 1) for key, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [mask_value(inner, name, depth - 1) for inner in value]
    return mask(str(value))
