"""Incidents: observations with one root, from opening to a measured end.

At most one is open per fingerprint. A state changes only from the expected one, along the legal transitions of
`transitions.INCIDENT`, each with its row in the timeline, its event `incident.<state>` and its count.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypedDict

from config.assets import Asset
from config.errors import ConflictError, UsageError
from memory import forms
from memory.board import totals, transitions
from memory.bus import publish
from memory.connection.database import Transaction
from memory.measuring.counters import count
from memory.measuring.histograms import DETECT, RESOLVE, observe
from memory.records import (
    Incident,
    IncidentState,
    Payload,
    Reference,
    Resolution,
    Severity,
    Transition,
)

REOPENS_WITHIN = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class FailedTask:
    """A dead letter about an incident.

    Attributes:
        at: when it failed for the last time.
        attempt: how often it was tried.
        error: code and message, and what to do next where that is known.
        remediation_id: the remedy it was to carry out or to take back; None for any other task.
    """

    id: int
    agent: str
    kind: str
    subject: Asset
    at: datetime
    attempt: int
    error: str
    remediation_id: int | None


class Ratio(TypedDict):
    """`auto` of the `final` incidents were resolved by the swarm alone; `ratio` is None where there are none."""

    auto: int
    final: int
    ratio: float | None


async def open_or_join(
    tx: Transaction,
    *,
    fingerprint: str,
    title: str,
    kind: str,
    severity: Severity,
    subject: Asset,
    owner: str,
    started_at: datetime,
    by: str,
    reason: str,
    members: Sequence[Reference],
    details: Payload,
    reopen_within: timedelta = REOPENS_WITHIN,
) -> tuple[Incident, bool]:
    """The open incident with this fingerprint, and whether this call opened it.

    One that is open already is joined: members are added, the severity only rises, the earlier start counts, and of
    `details` only what it does not hold yet. One that ended within `reopen_within` is opened again (counted as
    reopened and as rework; its start is the new one's), unless a human called it a false positive or a duplicate.
    Else a new one is opened.

    Raises:
        UsageError: a field that cannot be stored.
    """
    forms.text(fingerprint, "fingerprint", required=True, longest=2000)
    forms.text(title, "title", required=True)
    written = forms.dumped(details, "details")
    await tx.run("hold_fingerprint", fingerprint=fingerprint)
    common = {
        "fingerprint": fingerprint,
        "severity": severity.value,
        "started_at": started_at,
        "details": written,
    }
    row = await tx.one("join_incident", **common)
    if row is not None:
        await add_members(tx, row["id"], members)
        return _incident(row), False
    row = await tx.one("reopen_incident", **common, seconds=max(0.0, reopen_within.total_seconds()))
    before = row["before"] if row else None
    if row is not None:
        await _count_reopening(tx, row["id"], Resolution(row["ended"]))
    else:
        row = await tx.one(
            "open_incident",
            **common,
            title=title,
            kind=forms.text(kind, "kind", required=True),
            subject=str(subject),
            owner=forms.text(owner, "owner"),
        )
        assert row is not None  # noqa: S101 - INSERT … RETURNING without a condition has one row
        await count(tx, "dataswarm_incidents_opened_total", {"kind": kind, "severity": severity.value})
        await totals.opened(tx)
        await observe(tx, DETECT, (row["opened_at"] - row["started_at"]).total_seconds())
    incident = _incident(row)
    await add_members(tx, incident.id, members)
    await _note(tx, incident, before, by, reason)
    return incident, True


async def _count_reopening(tx: Transaction, id: int, ended: Resolution) -> None:  # noqa: A002 - the column's name
    await count(tx, "dataswarm_incidents_reopened_total", {})
    await count(tx, "dataswarm_rework_total", {})
    await totals.ended(tx, id, ended, by=-1)


async def _note(tx: Transaction, incident: Incident, before: str | None, by: str, reason: str) -> None:
    await tx.run(
        "note_transition",
        id=incident.id,
        before=before,
        after=incident.state.value,
        by=forms.text(by, "by", required=True),
        reason=forms.text(reason, "reason"),
    )
    await publish(tx, f"incident.{incident.state.value}", incident.subject, Reference("incident", incident.id))


async def get(tx: Transaction, id: int) -> Incident | None:  # noqa: A002 - the column's name
    """One incident, or None."""
    row = await tx.one("incident", id=id)
    return _incident(row) if row else None


async def by_fingerprint(tx: Transaction, fingerprint: str) -> Incident | None:
    """The open incident with this fingerprint, or None."""
    row = await tx.one("incident_by_fingerprint", fingerprint=fingerprint)
    return _incident(row) if row else None


async def list_(tx: Transaction, *, open_only: bool = False, limit: int = 200) -> list[Incident]:
    """Incidents, newest first."""
    return [_incident(row) for row in await tx.all("open_incidents" if open_only else "incidents", limit=limit)]


async def move(
    tx: Transaction,
    id: int,  # noqa: A002 - the column's name
    *,
    before: IncidentState,
    after: IncidentState,
    by: str,
    reason: str,
    details: Payload | None = None,
    first_clean_at: datetime | None = None,
    resolution: Resolution | None = None,
) -> Incident:
    """Take an incident from one state to the next.

    - details: merged into what is kept.
    - first_clean_at: when the failing signal was first measured clean; forgotten when work starts anew.
    - resolution: how it ended; needed exactly when it ends here. `auto` must be true: a verified remedy, a clean
      measurement, and no answer by a human.

    Raises:
        ConflictError: it is not in the state `before` (any more).
        UsageError: no such incident, an illegal transition, or a resolution that is missing, out of place or untrue.
    """
    if after not in transitions.INCIDENT[before]:
        raise UsageError(
            f"an incident does not go from {before} to {after}",
            hint=f"from {before} it goes to {', '.join(sorted(transitions.INCIDENT[before]))}",
        )
    written = forms.dumped(details or {}, "details")
    row = await tx.one("lock_incident", id=id)
    if row is None:
        raise UsageError(f"there is no incident {id}")
    if row["state"] != before:
        raise ConflictError(f"incident {id} is {row['state']}, not {before}")
    ends_here = after in transitions.ENDED and before not in transitions.ENDED
    if ends_here != (resolution is not None):
        raise UsageError(
            f"incident {id}: say how it ended" if ends_here else f"incident {id}: it does not end by being {after}",
            hint=f"resolution is one of {', '.join(Resolution)}, given when an incident is resolved or closed",
        )
    ended = row["resolution"]
    if resolution is Resolution.AUTO:
        await _prove_auto(tx, id, first_clean_at or row["first_clean_at"])
    row = await tx.one(
        "move_incident",
        id=id,
        before=before.value,
        after=after.value,
        details=written,
        first_clean_at=first_clean_at,
        resolution=resolution,
    )
    if row is None:
        raise ConflictError(f"incident {id} is not {before} any more")
    incident = _incident(row)
    if ends_here:
        await _count_end(tx, incident)
    elif before in transitions.ENDED and incident.state.is_open:
        await _count_reopening(tx, id, Resolution(ended))
    await _note(tx, incident, before.value, by, reason)
    return incident


async def _prove_auto(tx: Transaction, id: int, first_clean_at: datetime | None) -> None:  # noqa: A002
    """Resolved by the swarm alone means measured, remedied, and unanswered by humans."""
    row = await tx.one("why_not_auto", id=id) or {"verified": False, "answered": True}
    missing = (
        "no clean measurement is recorded"
        if first_clean_at is None
        else "no remedy of it is verified"
        if not row["verified"]
        else "a human answered"
        if row["answered"]
        else ""
    )
    if missing:
        raise UsageError(
            f"incident {id} was not resolved by the swarm alone: {missing}",
            hint="call it self_healed or human, whichever is true",
        )


async def _count_end(tx: Transaction, incident: Incident) -> None:
    assert incident.resolution is not None  # noqa: S101 - the table's CHECK holds it
    labels = {"kind": incident.kind, "resolution": incident.resolution.value}
    await count(tx, "dataswarm_incidents_resolved_total", labels)
    if incident.first_clean_at is not None:
        await observe(tx, RESOLVE, (incident.first_clean_at - incident.started_at).total_seconds())
    await totals.ended(tx, incident.id, incident.resolution, by=1)


async def annotate(
    tx: Transaction,
    id: int,  # noqa: A002 - the column's name
    details: Payload,
    expected_version: int | None = None,
) -> Incident:
    """Merge into what is kept about an incident.

    Raises:
        ConflictError: its version is another than expected.
        UsageError: no such incident.
    """
    row = await tx.one("annotate_incident", id=id, details=forms.dumped(details, "details"), expected=expected_version)
    if row is not None:
        return _incident(row)
    found = await get(tx, id)
    if found is None:
        raise UsageError(f"there is no incident {id}")
    raise ConflictError(f"incident {id} has version {found.version}, not {expected_version}")


async def add_members(tx: Transaction, id: int, members: Sequence[Reference]) -> None:  # noqa: A002
    """Add what belongs to an incident; what is there already stays."""
    if members:
        await tx.run(
            "add_incident_members",
            id=id,
            nouns=[member.noun for member in members],
            refs=[member.id for member in members],
        )


async def timeline(tx: Transaction, id: int) -> list[Transition]:  # noqa: A002 - the column's name
    """Its changes of state, oldest first."""
    return [
        Transition(
            at=row["at"],
            incident_id=row["incident_id"],
            before=IncidentState(row["before"]) if row["before"] else None,
            after=IncidentState(row["after"]),
            by=row["by"],
            reason=row["reason"],
        )
        for row in await tx.all("incident_timeline", id=id)
    ]


async def failed_tasks(tx: Transaction, id: int) -> list[FailedTask]:  # noqa: A002 - the column's name
    """What was to be done about it and failed for good, oldest first; one that is tried again is not among them."""
    return [
        FailedTask(**{**row, "subject": Asset.parse(row["subject"])}) for row in await tx.all("incident_failed", id=id)
    ]


async def members(tx: Transaction, id: int) -> list[Reference]:  # noqa: A002 - the column's name
    """What belongs to it, in the order it was added."""
    return [Reference(row["noun"], row["ref"]) for row in await tx.all("incident_members", id=id)]


async def ratio(tx: Transaction, window: timedelta | None) -> Ratio:
    """The auto-resolution ratio over incidents whose outcome became final within `window` (None: ever).

    False positives and duplicates are taken out of both sides.
    """
    if window is None:
        total = await totals.read(tx)
        auto, final = total.auto, total.final
    else:
        row = await tx.one("auto_resolution", seconds=window.total_seconds()) or {"auto": 0, "final": 0}
        auto, final = int(row["auto"]), int(row["final"])
    return {"auto": auto, "final": final, "ratio": auto / final if final else None}


def _incident(row: Payload) -> Incident:
    return Incident(
        id=row["id"],
        fingerprint=row["fingerprint"],
        title=row["title"],
        kind=row["kind"],
        severity=Severity(row["severity"]),
        state=IncidentState(row["state"]),
        subject=Asset.parse(row["subject"]),
        owner=row["owner"],
        opened_at=row["opened_at"],
        started_at=row["started_at"],
        first_clean_at=row["first_clean_at"],
        ended_at=row["ended_at"],
        resolution=Resolution(row["resolution"]) if row["resolution"] else None,
        details=row["details"],
        version=row["version"],
    )
