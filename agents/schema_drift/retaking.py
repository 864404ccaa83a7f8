"""Taking the baseline anew because somebody asked for it: what is there now counts as known, and nothing is open.

The wish is a fact on the source, by whoever asked, with the reason; its version tells whether it was fulfilled.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from agents.context import Context
from agents.schema_drift.baseline import Head
from agents.schema_drift.telling import RETAKEN
from config.assets import Asset
from memory.records import JSON, Fact, NewObservation, Severity

WISH: Final = "drift.retake"
"""The fact, about a whole source, that its baseline is to be taken anew: how often that was asked for so far."""
_IMPORTANCE: Final = 0.3


async def wish(context: Context, source: str) -> Fact | None:
    """The newest wish about a source; None where nobody ever had one."""
    return await context.fact(Asset("warehouse", source), WISH)


def is_new(asked: Fact | None, head: Head) -> bool:
    """Was it not fulfilled so far?"""
    return asked is not None and asked.version > head.retaken


def part(asked: Fact) -> JSON:
    """Who had it taken anew, and why, as it is kept with the revision."""
    return {"by": asked.agent, "reason": asked.reason, "wish": asked.version}


def note(asked: Fact) -> str:
    """What the revision is about."""
    return f"retaken by {asked.agent}: {asked.reason}"


def told(source: str, asked: Fact, head: Head, tables: int) -> Sequence[NewObservation]:
    """That it was taken anew, by whom and why, and which changes are not waited for any more."""
    payload: dict[str, JSON] = {
        "change": f"retaken|v{asked.version}",
        "by": asked.agent,
        "reason": asked.reason,
        "tables": tables,
        "closed": [o.key for o in head.open if not o.is_addition],
    }
    subject = Asset("warehouse", source)
    return [NewObservation(RETAKEN, subject, Severity.INFO, payload, _IMPORTANCE, key=str(payload["change"]))]
