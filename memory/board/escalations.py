"""Escalations: an incident handed to a human with everything known."""

from __future__ import annotations

import re

from config.assets import Asset
from config.errors import ConflictError, UsageError
from memory import forms
from memory.board import totals
from memory.bus import publish
from memory.connection.database import Transaction
from memory.measuring.counters import count
from memory.records import Escalation, EscalationState, Payload, Reference

S = EscalationState
_BEFORE = {
    S.ACKNOWLEDGED: [S.PENDING],
    S.ANSWERED: [S.PENDING, S.ACKNOWLEDGED],
    S.EXPIRED: [S.PENDING, S.ACKNOWLEDGED],
}
del S
_LABEL = re.compile(r"^[a-z][a-z0-9_]{0,40}(?=:|$)")


def label(reason: str) -> str:
    """The metric's label of a reason: its leading word (`no_playbook: nothing treats a dropped column`), else `other`.

    A reason is free text, and a label must not have as many values as there are sentences.
    """
    found = _LABEL.match(reason)
    return found[0] if found else "other"


async def escalate(tx: Transaction, incident_id: int, reason: str, packet: Payload) -> Escalation:
    """Hand an incident over; publishes `escalation.pending` and counts it by the reason's leading word.

    Raises:
        UsageError: no such incident, or a field that cannot be stored.
    """
    row = await tx.one(
        "escalate",
        incident_id=incident_id,
        reason=forms.text(reason, "reason", required=True),
        packet=forms.dumped(packet, "packet"),
    )
    if row is None:
        raise UsageError(f"there is no incident {incident_id}")
    await count(tx, "dataswarm_escalations_total", {"reason": label(reason)})
    await totals.escalated(tx, incident_id)
    await publish(tx, "escalation.pending", Asset.parse(row["subject"]), Reference("escalation", row["id"]))
    return _escalation(row)


async def answer_escalation(tx: Transaction, id: int, state: EscalationState, by: str) -> Escalation:  # noqa: A002
    """A human acknowledges or answers it, or its time is over; publishes `escalation.<state>`.

    Raises:
        ConflictError: answered or expired already.
        UsageError: no such escalation, nobody named, or a state that is no answer.
    """
    if state not in _BEFORE:
        raise UsageError(f"an escalation is not answered by being {state}")
    row = await tx.one(
        "answer_escalation",
        id=id,
        state=state.value,
        by=forms.text(by, "by", required=True),
        before=[before.value for before in _BEFORE[state]],
    )
    if row is None:
        found = await get(tx, id)
        if found is None:
            raise UsageError(f"there is no escalation {id}")
        raise ConflictError(f"escalation {id} is {found.state} already")
    await publish(tx, f"escalation.{state.value}", Asset.parse(row["subject"]), Reference("escalation", id))
    return _escalation(row)


async def get(tx: Transaction, id: int) -> Escalation | None:  # noqa: A002 - the column's name
    """One escalation, or None."""
    row = await tx.one("escalation", id=id)
    return _escalation(row) if row else None


async def escalations(tx: Transaction, incident_id: int | None = None) -> list[Escalation]:
    """Those of an incident, or all, oldest first."""
    return [_escalation(row) for row in await tx.all("escalations", incident_id=incident_id)]


def _escalation(row: Payload) -> Escalation:
    return Escalation(
        id=row["id"],
        incident_id=row["incident_id"],
        state=EscalationState(row["state"]),
        reason=row["reason"],
        packet=row["packet"],
        at=row["at"],
        answered_by=row["answered_by"],
    )
