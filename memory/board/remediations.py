"""Remediations: the life of one run of a playbook, each step from an expected state and told on the bus."""

from __future__ import annotations

from collections.abc import Sequence

from config.assets import Asset
from config.errors import ConflictError, UsageError
from memory import forms
from memory.board import transitions
from memory.bus import publish
from memory.connection.database import Transaction
from memory.measuring.counters import count
from memory.records import Payload, Reference, Remediation, RemediationState


async def propose(
    tx: Transaction, *, incident_id: int, decision_id: int, playbook: str, subject: Asset, plan: Payload
) -> Remediation:
    """Write down that a playbook is to be run; publishes `remediation.proposed`.

    Raises:
        UsageError: a field that cannot be stored.
    """
    row = await tx.one(
        "propose_remediation",
        incident_id=incident_id,
        decision_id=decision_id,
        playbook=forms.text(playbook, "playbook", required=True),
        subject=str(subject),
        plan=forms.dumped(plan, "plan"),
    )
    assert row is not None  # noqa: S101 - INSERT … RETURNING without a condition has one row
    remediation = _remediation(row)
    await _tell(tx, remediation)
    return remediation


async def _tell(tx: Transaction, remediation: Remediation) -> None:
    topic = f"remediation.{remediation.state.value}"
    await publish(tx, topic, remediation.subject, Reference("remediation", remediation.id))


async def move(
    tx: Transaction,
    id: int,  # noqa: A002 - the column's name
    *,
    before: Sequence[RemediationState],
    after: RemediationState,
    plan: Payload | None = None,
    inverse: Payload | None = None,
    result: Payload | None = None,
) -> Remediation:
    """Take a remediation from one of the states `before` to `after`; what is given replaces what was kept.

    Raises:
        ConflictError: it is in another state, or another remedy of its incident is under way.
        UsageError: no such remediation, or an illegal transition.
    """
    illegal = [state.value for state in before if after not in transitions.REMEDIATION[state]]
    if illegal or not before:
        raise UsageError(f"a remediation does not go from {', '.join(illegal) or 'nowhere'} to {after}")
    found = await tx.one("lock_remediation", id=id)
    if found is None:
        raise UsageError(f"there is no remediation {id}")
    if found["state"] not in before:
        raise ConflictError(f"remediation {id} is {found['state']}, not {' or '.join(before)}")
    row = await tx.one(
        "move_remediation",
        id=id,
        after=after.value,
        plan=None if plan is None else forms.dumped(plan, "plan"),
        inverse=None if inverse is None else forms.dumped(inverse, "inverse"),
        result=None if result is None else forms.dumped(result, "result"),
    )
    assert row is not None  # noqa: S101 - the row is locked by us
    remediation = _remediation(row)
    if found["state"] != after:
        await _count(tx, remediation)
        await _tell(tx, remediation)
    return remediation


async def _count(tx: Transaction, remediation: Remediation) -> None:
    if remediation.state in transitions.OUTCOMES:
        labels = {"playbook": remediation.playbook, "outcome": remediation.state.value}
        await count(tx, "dataswarm_remediations_total", labels)
    if remediation.state is RemediationState.APPLIED:
        row = await tx.one("remedies_applied_before", incident_id=remediation.incident_id, id=remediation.id)
        if row and row["number"]:
            await count(tx, "dataswarm_rework_total", {})


async def get(tx: Transaction, id: int) -> Remediation | None:  # noqa: A002 - the column's name
    """One remediation, or None."""
    row = await tx.one("remediation", id=id)
    return _remediation(row) if row else None


async def of_incident(tx: Transaction, incident_id: int) -> list[Remediation]:
    """All of an incident, oldest first."""
    return [_remediation(row) for row in await tx.all("remediations_of_incident", incident_id=incident_id)]


async def list_(
    tx: Transaction, *, states: Sequence[RemediationState] | None = None, limit: int = 200
) -> list[Remediation]:
    """Remediations, newest first."""
    wanted = None if states is None else [state.value for state in states]
    return [_remediation(row) for row in await tx.all("remediations", states=wanted, limit=limit)]


def _remediation(row: Payload) -> Remediation:
    return Remediation(
        id=row["id"],
        incident_id=row["incident_id"],
        decision_id=row["decision_id"],
        playbook=row["playbook"],
        state=RemediationState(row["state"]),
        subject=Asset.parse(row["subject"]),
        plan=row["plan"],
        inverse=row["inverse"],
        result=row["result"],
        at=row["at"],
        applied_at=row["applied_at"],
        ended_at=row["ended_at"],
    )
