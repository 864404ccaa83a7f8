"""What the team's own runs say afterwards: clean ones count towards the end, a failing one ends the peace."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from agents.diagnoses import texts
from agents.incident_response.draft import Draft, name_of
from agents.incident_response.triage import Triage
from agents.verdicts import Learn, Move, Note, Wait
from memory.records import (
    EscalationState,
    Incident,
    IncidentState,
    Observation,
    Payload,
    Remediation,
    RemediationState,
    Resolution,
)

_HEALABLE = (
    IncidentState.OPEN,
    IncidentState.INVESTIGATING,
    IncidentState.AWAITING_APPROVAL,
    IncidentState.ESCALATED,
)
_KEPT = 20  # clean runs remembered


@dataclass(frozen=True, slots=True)
class Soak:
    """Rules of patience.

    Attributes:
        self_heal_cycles: clean runs after which an incident nobody remedied is over.
        rework: how long a fresh diagnosis is waited for when the signal came back after a remedy.
    """

    triage: Triage
    self_heal_cycles: int
    rework: timedelta

    async def passed(self, run: Observation, draft: Draft) -> None:
        """A run of the team was clean."""
        for incident in await _of_pipeline(run, draft):
            counted = await self._count(incident, run, draft)
            if counted is not None:
                await self.settle(counted, draft)

    async def _count(self, incident: Incident, run: Observation, draft: Draft) -> Incident | None:
        """Add a clean run that began to matter after the remedy (or after the incident opened)."""
        since = _moment(incident.details.get("applied_at")) or incident.opened_at
        seen = texts(incident.details.get("clean_runs"))
        run_id = str(run.payload.get("run", ""))
        if incident.state is IncidentState.MITIGATING or run_id in seen or _ended(run) <= since:
            return None
        ran = run.payload.get("ran")
        if ran is not None and not {*texts(incident.details.get("nodes"))} <= {*texts(ran)}:
            return None  # clean, and silent about what failed
        await draft.say(Note(name_of(incident), {"clean_runs": [*seen, run_id][-_KEPT:]}))
        return await draft.incident(incident.fingerprint)

    async def failed(self, run: Observation, draft: Draft) -> None:
        """A run of the team failed: what was clean in a row no longer is; after a remedy it did not hold."""
        bad = {str(n.get("id")) for n in run.payload.get("nodes") or () if isinstance(n, dict)}
        for incident in await _of_pipeline(run, draft):
            mine = {*texts(incident.details.get("nodes")), *texts(incident.details.get("skipped"))}
            if not bad & mine:
                continue
            applied = _moment(incident.details.get("applied_at"))
            if incident.state is IncidentState.VERIFYING and (applied is None or _ended(run) > applied):
                await self._rework(incident, run, draft)
            elif texts(incident.details.get("clean_runs")):
                await draft.say(Note(name_of(incident), {"clean_runs": []}))

    async def _rework(self, incident: Incident, run: Observation, draft: Draft) -> None:
        """The signal came back. The run's own diagnosis decides what is next; without one, what is known does."""
        remedy = incident.details.get("remedied_by") or "the remedy"
        details: Payload = {
            "clean_runs": [],
            "applied_at": None,
            "rework": int(incident.details.get("rework", 0)) + 1,
            "reworked_run": str(run.payload.get("run", "")),
        }
        reason = f"the signal came back after {remedy}"
        await draft.say(
            Move(name_of(incident), incident.state, IncidentState.INVESTIGATING, reason, details),
            Wait(f"rework|{incident.id}", self.rework, incident.subject, {"incident": incident.id, "why": "rework"}),
        )

    async def due(self, payload: object, draft: Draft) -> None:
        """A timer of this agent came back."""
        if not isinstance(payload, dict) or not isinstance(payload.get("incident"), int):
            return
        incident = await draft.incident(payload["incident"])
        if incident is None:
            return
        if payload.get("why") == "rework":
            if incident.state is IncidentState.INVESTIGATING:
                await self.triage.look_further(incident, draft)
        else:
            await self.settle(incident, draft)

    async def settle(self, incident: Incident, draft: Draft) -> None:
        """Close an incident whose soak is over; set a timer where only minutes are lacking."""
        clean = len(texts(incident.details.get("clean_runs")))
        if incident.state is IncidentState.VERIFYING:
            await self._soaked(incident, clean, draft)
        elif (
            incident.state in _HEALABLE
            and clean >= self.self_heal_cycles
            and not await self._is_running(incident, draft)
        ):
            was_escalated = incident.state is IncidentState.ESCALATED
            how = Resolution.HUMAN if was_escalated else Resolution.SELF_HEALED
            reason = f"{_counted(clean, 'clean run')} in a row without a remedy of the swarm"
            await draft.say(Move(name_of(incident), incident.state, IncidentState.RESOLVED, reason, resolution=how))

    async def _is_running(self, incident: Incident, draft: Draft) -> bool:
        """Is a remedy being applied just now? One that waits for an answer is not."""
        states = (RemediationState.APPROVED, RemediationState.APPLIED)
        return any(r.state in states for r in await draft.remediations(incident))

    async def _soaked(self, incident: Incident, clean: int, draft: Draft) -> None:
        context = draft.context
        applied = _moment(incident.details.get("applied_at"))
        if applied is None or clean < int(await context.setting("soak_cycles")):
            return
        lacking = applied + timedelta(minutes=float(await context.setting("soak_minutes"))) - context.now
        if lacking > timedelta(0):
            payload = {"incident": incident.id, "why": "soak"}
            await draft.say(Wait(f"soak|{incident.id}", lacking, incident.subject, payload))
            return
        remedy = await self._remedy(incident, draft)
        how = Resolution.HUMAN if remedy is None or await self._human(incident, draft) else Resolution.AUTO
        since = applied.isoformat(timespec="seconds")
        reason = f"clean through the soak: {_counted(clean, 'run')} of the team since {since}"
        await draft.say(Move(name_of(incident), incident.state, IncidentState.RESOLVED, reason, resolution=how))
        if remedy is not None:
            circumstances = {"remediation": remedy.id, "resolution": how.value, "clean_runs": clean}
            text = f"{remedy.playbook} settled {incident.title}"[:1000]
            cause = str(incident.details.get("cause", incident.kind))
            await draft.say(Learn("success", remedy.playbook, cause, remedy.subject, text, circumstances))

    async def _remedy(self, incident: Incident, draft: Draft) -> Remediation | None:
        """The remedy that is verified, the last of them."""
        verified = [r for r in await draft.remediations(incident) if r.state is RemediationState.VERIFIED]
        return verified[-1] if verified else None

    async def _human(self, incident: Incident, draft: Draft) -> bool:
        """Did a human have a say in it?"""
        if incident.details.get("approved_by") or incident.details.get("denied_by"):
            return True
        return any(e.state is EscalationState.ANSWERED for e in await draft.context.escalations(incident.id))


async def _of_pipeline(run: Observation, draft: Draft) -> list[Incident]:
    return [i for i in await draft.open_incidents() if i.details.get("pipeline") == run.subject.source]


def _counted(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _moment(said: object) -> datetime | None:
    try:
        found = datetime.fromisoformat(said) if isinstance(said, str) else None
    except ValueError:
        return None
    return found if found is not None and found.tzinfo else None


def _ended(run: Observation) -> datetime:
    """When the run ended, as it says itself; else when it was seen."""
    return _moment(run.payload.get("finished_at")) or run.at
