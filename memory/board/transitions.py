"""Which states may follow which: of incidents, and of remediations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from memory.records import IncidentState, RemediationState

S = IncidentState
INCIDENT: Final[Mapping[IncidentState, frozenset[IncidentState]]] = {
    S.OPEN: frozenset(
        {S.INVESTIGATING, S.AWAITING_APPROVAL, S.MITIGATING, S.VERIFYING, S.RESOLVED, S.ESCALATED, S.CLOSED}
    ),
    S.INVESTIGATING: frozenset({S.AWAITING_APPROVAL, S.MITIGATING, S.VERIFYING, S.RESOLVED, S.ESCALATED, S.CLOSED}),
    S.AWAITING_APPROVAL: frozenset({S.INVESTIGATING, S.MITIGATING, S.VERIFYING, S.RESOLVED, S.ESCALATED, S.CLOSED}),
    S.MITIGATING: frozenset({S.INVESTIGATING, S.AWAITING_APPROVAL, S.VERIFYING, S.ESCALATED, S.CLOSED}),
    S.VERIFYING: frozenset({S.INVESTIGATING, S.MITIGATING, S.RESOLVED, S.ESCALATED, S.CLOSED}),
    S.ESCALATED: frozenset({S.INVESTIGATING, S.MITIGATING, S.VERIFYING, S.RESOLVED, S.CLOSED}),
    S.RESOLVED: frozenset({S.OPEN, S.CLOSED}),
    S.CLOSED: frozenset({S.OPEN}),
}
ENDED: Final = (S.RESOLVED, S.CLOSED)
del S

R = RemediationState
# Nothing is applied that was not approved, by policy or by a human. A remedy stays in its state to keep what is now
# known about it (`plan` while proposed, `result` while applied): that is told to nobody.
REMEDIATION: Final[Mapping[RemediationState, frozenset[RemediationState]]] = {
    R.PROPOSED: frozenset({R.PROPOSED, R.APPROVED, R.REFUSED, R.FAILED}),
    R.APPROVED: frozenset({R.APPROVED, R.APPLIED, R.REFUSED, R.FAILED}),
    R.APPLIED: frozenset({R.APPLIED, R.VERIFIED, R.UNDONE, R.FAILED}),
    R.VERIFIED: frozenset({R.UNDONE}),
    R.FAILED: frozenset({R.UNDONE}),
    R.UNDONE: frozenset(),
    R.REFUSED: frozenset(),
}
OUTCOMES: Final = frozenset({R.VERIFIED, R.UNDONE, R.FAILED, R.REFUSED})
del R
