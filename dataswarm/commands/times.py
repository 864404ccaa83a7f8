"""Points in time as people write them: `2h` (ago), `2026-11-20T08:00`, `2026-11-20 08:00+01:00`."""

from __future__ import annotations

from datetime import datetime, timedelta

from config.errors import UsageError
from dataswarm.commands.lengths import seconds


def point(text: str, now: datetime) -> datetime:
    """A time: so long before `now`, or written out; without a zone it is the reader's own.

    Raises:
        UsageError: it is neither.
    """
    try:
        written = datetime.fromisoformat(text.strip())
    except ValueError:
        try:
            return now - timedelta(seconds=seconds(text))
        except (UsageError, OverflowError):
            raise UsageError(
                f"not a time: {text[:40]!r}", hint="write how long ago (30m, 2h, 1d) or 2026-11-20T08:00"
            ) from None
    return written if written.tzinfo is not None else written.astimezone()
