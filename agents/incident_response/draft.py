"""The blackboard as this batch's verdicts will leave it, so that a batch ends as its events one by one would."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import count
from typing import Final

from agents.context import Context
from agents.diagnoses import run_of
from agents.verdicts import Act, Escalate, Move, Note, Open, Verdict
from memory.records import Decision, Incident, IncidentState, Payload, Reference, Remediation, RemediationState

UNDER_WAY: Final = (RemediationState.PROPOSED, RemediationState.APPROVED, RemediationState.APPLIED)


@dataclass(slots=True)
class Draft:
    """What is read through the context, with what was said since laid over it.

    An incident opened in this batch has no id yet: it has a negative one here and is named by its fingerprint.
    """

    context: Context
    said: list[Verdict] = field(default_factory=list)
    _incidents: dict[str, Incident] | None = None
    _acting: dict[str, set[str]] = field(default_factory=dict)
    _diagnoses: Sequence[Decision] | None = None
    _unborn: Iterator[int] = field(default_factory=lambda: count(-1, -1))

    # --- reading ---------------------------------------------------------------------------------------------------

    async def open_incidents(self) -> list[Incident]:
        """All that are open, oldest first."""
        if self._incidents is None:
            found = sorted(await self.context.open_incidents(), key=lambda i: i.id)
            self._incidents = {i.fingerprint: i for i in found}
        return [i for i in self._incidents.values() if i.state.is_open]

    async def incident(self, key: int | str) -> Incident | None:
        """The open incident with that id or fingerprint."""
        for incident in await self.open_incidents():
            if key in (incident.id, incident.fingerprint):
                return incident
        return None

    async def remediations(self, incident: Incident) -> Sequence[Remediation]:
        """Runs of playbooks on an incident since it was opened (again), oldest first."""
        if incident.id < 0:
            return ()
        since = _moment(incident.details.get("since"))
        found = await self.context.remediations(incident.id)
        return [r for r in found if since is None or r.at >= since]

    async def is_busy(self, incident: Incident) -> bool:
        """Is a remedy under way, or chosen in this batch?"""
        if self._acting.get(incident.fingerprint):
            return True
        # What was proposed before a human took over is theirs to answer.
        states = UNDER_WAY[1:] if incident.state is IncidentState.ESCALATED else UNDER_WAY
        return any(r.state in states for r in await self.remediations(incident))

    async def diagnoses(self) -> Sequence[Decision]:
        """Diagnoses that nothing superseded, newest first."""
        if self._diagnoses is None:
            self._diagnoses = [d for d in await self.context.decisions(kind="diagnosis") if d.superseded_by is None]
        return self._diagnoses

    async def diagnoses_of(self, incident: Incident) -> Sequence[Decision]:
        """The live ones of the newest run that belong to an incident, the surest first."""
        wanted = {incident.details.get("diagnosis_id")}
        if incident.id > 0:
            wanted |= {m.id for m in await self.context.members(incident.id) if m.noun == "decision"}
        mine = [d for d in await self.diagnoses() if d.id in wanted or (d.supersedes or 0) in wanted]
        newest = run_of(max(mine, key=lambda d: d.id)) if mine else ""
        return sorted((d for d in mine if run_of(d) == newest), key=lambda d: (-d.confidence, d.id))

    # --- saying ----------------------------------------------------------------------------------------------------

    async def say(self, *verdicts: Verdict) -> None:
        """Answer, and go on as if it were written."""
        for verdict in verdicts:
            self.said.append(verdict)
            await self._lay(verdict)

    async def _lay(self, verdict: Verdict) -> None:
        if isinstance(verdict, Open):
            await self._open(verdict)
        elif isinstance(verdict, Move):
            await self._change(verdict.incident, verdict.details, verdict.after)
        elif isinstance(verdict, Note):
            await self._change(verdict.incident, verdict.details)
        elif isinstance(verdict, Escalate):
            await self._change(verdict.incident, None, IncidentState.ESCALATED)
        elif isinstance(verdict, Act):
            incident = await self.incident(verdict.incident)
            if incident is not None:
                self._acting.setdefault(incident.fingerprint, set()).add(verdict.playbook)

    async def _open(self, verdict: Open) -> None:
        known = await self.incident(verdict.fingerprint)
        incidents = self._incidents
        assert incidents is not None  # noqa: S101 - read just above
        if known is not None:
            incidents[verdict.fingerprint] = replace(known, details={**verdict.details, **known.details})
            return
        now = self.context.now
        incidents[verdict.fingerprint] = Incident(
            id=next(self._unborn),
            fingerprint=verdict.fingerprint,
            title=verdict.title,
            kind=verdict.kind,
            severity=verdict.severity,
            state=IncidentState.OPEN,
            subject=verdict.subject,
            owner=verdict.owner,
            opened_at=now,
            started_at=verdict.started_at,
            first_clean_at=None,
            ended_at=None,
            resolution=None,
            details=dict(verdict.details),
            version=1,
        )

    async def _change(self, key: int | str, details: Payload | None, state: IncidentState | None = None) -> None:
        incident = await self.incident(key)
        if incident is None or self._incidents is None:
            return
        merged: Mapping[str, object] = {**incident.details, **(details or {})}
        self._incidents[incident.fingerprint] = replace(incident, details=merged, state=state or incident.state)


def _moment(said: object) -> datetime | None:
    return datetime.fromisoformat(said) if isinstance(said, str) and said else None


def name_of(incident: Incident) -> int | str:
    """How verdicts name an incident: by id, or by fingerprint while it has none."""
    return incident.id if incident.id > 0 else incident.fingerprint


def reference(decision: Decision) -> Reference:
    """A diagnosis as evidence."""
    return Reference("decision", decision.id)
