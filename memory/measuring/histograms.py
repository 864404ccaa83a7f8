"""Histograms kept in counter rows: written with the transition they measure, alive past every retention."""

from __future__ import annotations

from memory.connection.database import Transaction
from memory.measuring.counters import count

DETECT = "dataswarm_incident_detect_seconds"
RESOLVE = "dataswarm_incident_resolve_seconds"
HISTOGRAMS = (DETECT, RESOLVE)
# Upper bounds in seconds, as labels: from a few seconds in the demo to days in production.
BOUNDS = ("1", "5", "10", "30", "60", "120", "300", "600", "1800", "3600", "14400", "86400", "604800")


async def observe(tx: Transaction, name: str, seconds: float) -> None:
    """Add one measurement to a histogram; less than nothing (a clock of a source that is ahead) counts as 0.

    A row holds its bucket alone, not the cumulative count: one row changes for each measurement.
    """
    length = max(0.0, seconds)
    bound = next((bound for bound in BOUNDS if length <= float(bound)), "+Inf")
    await count(tx, f"{name}_bucket", {"le": bound})
    await count(tx, f"{name}_sum", {}, length)
    await count(tx, f"{name}_count", {})
