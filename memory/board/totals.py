"""Totals over all incidents there ever were, kept with each transition: no figure reads them all.

Unlike counters they go down as well: an incident that is opened again is final no more. They are rows, so they are the
same on every replica and outlive what they count.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from memory.connection.database import Transaction
from memory.records import Resolution

DISMISSED: Final = (Resolution.FALSE_POSITIVE, Resolution.DUPLICATE)


@dataclass(frozen=True, slots=True)
class Totals:
    """Incidents of all time, false positives and duplicates left out.

    Attributes:
        opened: all of them.
        escalated: of these, handed to a human at least once.
        final: over now.
        auto: of these, resolved by the swarm alone.
    """

    opened: int = 0
    escalated: int = 0
    final: int = 0
    auto: int = 0


async def opened(tx: Transaction) -> None:
    """A new incident."""
    await _add(tx, Totals(opened=1))


async def escalated(tx: Transaction, incident_id: int) -> None:
    """An incident was handed over just now; only the first time counts, and not that of a dismissed one."""
    row = await tx.one("handed_over", id=incident_id)
    if row is not None and row["number"] == 1 and row["resolution"] not in DISMISSED:
        await _add(tx, Totals(escalated=1))


async def ended(tx: Transaction, incident_id: int, resolution: Resolution, *, by: int) -> None:
    """An incident has ended so (`by` of 1), or has done so and is opened again (-1)."""
    if resolution not in DISMISSED:
        await _add(tx, Totals(final=by, auto=by * (resolution is Resolution.AUTO)))
        return
    row = await tx.one("handed_over", id=incident_id)
    is_escalated = row is not None and row["number"] > 0
    await _add(tx, Totals(opened=-by, escalated=-by * is_escalated))


async def read(tx: Transaction) -> Totals:
    """As they are now."""
    row = await tx.one("incident_totals")
    return Totals(**{name: int(value) for name, value in row.items()}) if row else Totals()


async def _add(tx: Transaction, change: Totals) -> None:
    await tx.run(
        "add_to_incident_totals",
        opened=change.opened,
        escalated=change.escalated,
        final=change.final,
        auto=change.auto,
    )
