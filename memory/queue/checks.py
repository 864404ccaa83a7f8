"""What a field of a task or kind may hold; each refusal names the field."""

from __future__ import annotations

import math

from config.errors import UsageError

LONGEST_NAME = 200
LONGEST_SECONDS = 10 * 365 * 86400.0


def name(value: object, field: str) -> None:
    """Refuse what is no name: 1 to 200 printable characters."""
    if not isinstance(value, str) or not value or len(value) > LONGEST_NAME or not value.isprintable():
        raise UsageError(f"{field} must be 1 to {LONGEST_NAME} printable characters")


def whole(value: object, field: str, least: int, most: int) -> None:
    """Refuse what is no whole number within these bounds."""
    if not isinstance(value, int) or not least <= value <= most:
        raise UsageError(f"{field} must be a whole number from {least} to {most}, not {value!r}")


def seconds(value: object, field: str, least: float) -> None:
    """Refuse what is no length of time from `least` to ten years."""
    if not isinstance(value, int | float) or not math.isfinite(value) or not least <= value <= LONGEST_SECONDS:
        raise UsageError(f"{field} must be seconds from {least:g} to {LONGEST_SECONDS:g}, not {value!r}")
