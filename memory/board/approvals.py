"""Approvals: a human is asked whether a remedy may run, and answers once, in time."""

from __future__ import annotations

from config.assets import Asset
from config.errors import ConflictError, UsageError
from memory import forms
from memory.bus import publish
from memory.connection.database import Transaction
from memory.records import Approval, ApprovalState, Payload, Reference, Remediation, RemediationState


async def ask(tx: Transaction, remediation: Remediation, question: str, expires_seconds: float) -> Approval:
    """Ask; publishes `approval.pending`. While a question about this remedy is pending, that one is returned.

    Raises:
        UsageError: the remedy is not proposed, or a field cannot be stored.
    """
    if remediation.state is not RemediationState.PROPOSED:
        raise UsageError(f"remediation {remediation.id} is {remediation.state}: nothing to ask about")
    row = await tx.one(
        "ask_approval",
        remediation_id=remediation.id,
        incident_id=remediation.incident_id,
        question=forms.text(question, "question", required=True),
        seconds=forms.seconds(expires_seconds, "expires_seconds"),
    )
    if row is None:
        row = await tx.one("pending_approval", remediation_id=remediation.id)
        if row is None:
            raise ConflictError(f"the question about remediation {remediation.id} was answered just now")
        return _approval(row)
    approval = _approval(row)
    await publish(tx, "approval.pending", remediation.subject, Reference("approval", approval.id))
    return approval


async def answer(tx: Transaction, approval_id: int, approved: bool, by: str) -> Approval:
    """A human's answer; publishes `approval.approved` or `approval.denied`.

    Raises:
        ConflictError: answered or expired already.
        UsageError: no such question, or nobody named.
    """
    state = ApprovalState.APPROVED if approved else ApprovalState.DENIED
    row = await tx.one("answer_approval", id=approval_id, state=state.value, by=forms.text(by, "by", required=True))
    if row is None:
        found = await tx.one("approval", id=approval_id)
        if found is None:
            raise UsageError(f"there is no approval {approval_id}")
        answered = f"{found['state']} by {found['answered_by']}" if found["answered_by"] else "expired"
        raise ConflictError(f"approval {approval_id} is {answered} already")
    await publish(tx, f"approval.{state.value}", Asset.parse(row["subject"]), Reference("approval", approval_id))
    return _approval(row)


async def get(tx: Transaction, id: int) -> Approval | None:  # noqa: A002 - the column's name
    """One approval, or None."""
    row = await tx.one("approval", id=id)
    return _approval(row) if row else None


async def pending(tx: Transaction) -> list[Approval]:
    """What waits for an answer, the most urgent first."""
    return [_approval(row) for row in await tx.all("pending_approvals")]


async def expire(tx: Transaction) -> list[Approval]:
    """Close the questions whose time is over; publishes `approval.expired` for each."""
    rows = await tx.all("expire_approvals")
    for row in rows:
        await publish(tx, "approval.expired", Asset.parse(row["subject"]), Reference("approval", row["id"]))
    return [_approval(row) for row in rows]


def _approval(row: Payload) -> Approval:
    return Approval(
        id=row["id"],
        remediation_id=row["remediation_id"],
        incident_id=row["incident_id"],
        state=ApprovalState(row["state"]),
        question=row["question"],
        asked_at=row["asked_at"],
        expires_at=row["expires_at"],
        answered_by=row["answered_by"],
        answered_at=row["answered_at"],
    )
