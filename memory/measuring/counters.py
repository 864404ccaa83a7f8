"""Counters of transitions: written with the transition, never decreasing, alive past every retention."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from config.errors import UsageError
from memory.connection.database import Transaction


@dataclass(frozen=True, slots=True)
class Count:
    """One series: a metric's name, its labels, its total over all replicas and all time."""

    name: str
    labels: Mapping[str, str]
    value: float


async def count(tx: Transaction, name: str, labels: Mapping[str, str], by: float = 1) -> None:
    """Add to a counter in this transaction, so that a transition and its count are one.

    Raises:
        UsageError: `by` is negative.
    """
    if by < 0:
        raise UsageError(f"a counter never decreases: {name} by {by}")
    await tx.run("count_up", name=name, labels=dict(labels), by=float(by))


async def all(tx: Transaction) -> list[Count]:  # noqa: A001 - reads as counters.all(tx)
    """Every counter."""
    return [Count(row["name"], row["labels"], row["value"]) for row in await tx.all("counter_totals")]
