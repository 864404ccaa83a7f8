"""What policy reads before it lets a remedy through: approvals, and how much was done lately."""

from __future__ import annotations

from datetime import timedelta

from config.assets import Asset
from memory.connection.database import Transaction


async def approved_by(tx: Transaction, remediation_id: int) -> str:
    """Who approved this remediation; empty where nobody has."""
    row = await tx.one("approved_by", remediation_id=remediation_id)
    return str(row["answered_by"]) if row else ""


async def applied_within(tx: Transaction, span: timedelta, subject: Asset) -> tuple[int, int]:
    """Remedies applied lately: everywhere, and on this very subject."""
    [row] = await tx.all("remedies_applied", seconds=span.total_seconds(), subject=str(subject))
    return int(row["everywhere"]), int(row["on_subject"])


async def failed_on(tx: Transaction, incident_id: int) -> int:
    """Remedies of an incident that failed or were taken back."""
    [row] = await tx.all("remedies_failed_on", incident_id=incident_id)
    return int(row["failed"])
