"""Baselines: what an agent knew of a source after its last look, replaced only by who has read the last one."""

from __future__ import annotations

from config.errors import ConflictError
from memory import forms
from memory.connection.database import Transaction
from memory.records import JSON, Baseline


async def get(tx: Transaction, agent: str, source: str) -> Baseline | None:
    """The baseline, or None before the first look."""
    row = await tx.one("baseline", agent=agent, source=source)
    return Baseline(**row) if row else None


async def swap(tx: Transaction, agent: str, source: str, value: JSON, expected: int) -> Baseline:
    """Replace the baseline of version `expected` (0: there is none yet).

    Raises:
        ConflictError: another look was faster; names both versions.
        UsageError: the value is not JSON.
    """
    row = await tx.one(
        "swap_baseline" if expected else "first_baseline",
        agent=agent,
        source=source,
        value=forms.dumped(value, "baseline"),
        **({"expected": expected} if expected else {}),
    )
    if row is not None:
        return Baseline(**row)
    found = await get(tx, agent, source)
    version = found.version if found else 0
    raise ConflictError(f"the baseline of {agent} on {source} has version {version}, not {expected}")
