"""From a diagnosis to an incident, and from an incident to its next remedy or a human."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from agents.context import Remedy
from agents.diagnoses import (
    are_rivals,
    fingerprint_of,
    nodes_of,
    pipeline_of,
    root_of,
    run_of,
    severity_of,
    texts,
    title_of,
)
from agents.incident_response.draft import Draft, name_of, reference
from agents.incident_response.packet import owner_of, packet
from agents.verdicts import Act, Escalate, Ignore, Move, Note, Open
from memory.records import Decision, EscalationState, Incident, IncidentState, Payload, RemediationState

_STORM: Final = timedelta(minutes=1)
_ACTABLE: Final = (IncidentState.OPEN, IncidentState.INVESTIGATING, IncidentState.ESCALATED)


@dataclass(frozen=True, slots=True)
class Triage:
    """Rules of the desk.

    Attributes:
        min_confidence: a diagnosis below it is not acted upon.
        storm_limit: when so many incidents of one pipeline opened within a minute, the next joins them.
    """

    min_confidence: float
    storm_limit: int

    async def diagnosed(self, diagnosis: Decision, draft: Draft) -> None:
        """A diagnosis was written: open or join its incident, then act on it or hand it over."""
        if diagnosis.superseded_by is not None:
            return
        if await draft.context.silenced(diagnosis.subject):
            reason = f"{diagnosis.subject} is silenced"
            key = f"silenced|{diagnosis.id}"
            await draft.say(Ignore(diagnosis.subject, reason, evidence=(reference(diagnosis),), key=key))
            return
        incident = await self._incident(diagnosis, draft)
        if incident is not None:
            await self.proceed(incident, diagnosis, draft)

    async def _incident(self, diagnosis: Decision, draft: Draft) -> Incident | None:
        """Open one, or join; None where a storm swallowed it."""
        pipeline, nodes = pipeline_of(diagnosis), nodes_of(diagnosis)
        own = fingerprint_of(diagnosis)
        standing = [i for i in await draft.open_incidents() if i.details.get("pipeline") == pipeline]
        joined = next((i for i in standing if i.fingerprint == own), None) or next(
            (i for i in standing if set(nodes) & set(texts(i.details.get("nodes")))), None
        )
        stormy = None
        if joined is None:
            recent = [i for i in standing if i.opened_at > draft.context.now - _STORM]
            stormy = recent[0] if len(recent) >= self.storm_limit else None
        target = joined or stormy
        owner = str(diagnosis.payload.get("owner") or "") or await owner_of(draft.context, root_of(diagnosis))
        await draft.say(_opening(diagnosis, target.fingerprint if target else own, owner, draft.context.now))
        if stormy is not None:
            count = int(stormy.details.get("storm", 0)) + 1
            await draft.say(Note(name_of(stormy), {"storm": count}))
            return None
        if joined is not None:
            known = texts(joined.details.get("nodes"))
            fresh = [n for n in nodes if n not in known]
            if fresh:
                await draft.say(Note(name_of(joined), {"nodes": [*known, *fresh]}))
        return await draft.incident(joined.fingerprint if joined else own)

    async def proceed(self, incident: Incident, diagnosis: Decision, draft: Draft) -> None:
        """The next remedy for an incident, or a human. Nothing while one is under way."""
        if incident.state not in _ACTABLE or await draft.is_busy(incident):
            return
        rivals = [d for d in await draft.diagnoses() if are_rivals(diagnosis, d)]
        if rivals:
            causes = " or ".join(sorted({diagnosis.cause, *(r.cause for r in rivals)}))
            await self.escalate(
                incident, diagnosis, f"rival_diagnoses: {causes}; nothing is done until it is decided", draft
            )
            return
        if await self._is_in_human_hands(incident, diagnosis, draft) or _would_have(incident, diagnosis):
            return
        if diagnosis.confidence < self.min_confidence:
            reason = f"unsure: {diagnosis.cause.replace('_', ' ')} at confidence {diagnosis.confidence:.2f}"
            await self.escalate(incident, diagnosis, reason, draft)
            return
        await self._remedy(incident, diagnosis, draft)

    async def look_further(self, incident: Incident, draft: Draft) -> bool:
        """The next remedy for what is known of an incident; False where no live diagnosis is left."""
        standing = await draft.diagnoses_of(incident)
        for diagnosis in standing:
            if diagnosis.confidence >= self.min_confidence and await self._left(incident, diagnosis, draft):
                await self.proceed(incident, diagnosis, draft)
                return True
        if standing:
            await self.proceed(incident, standing[0], draft)
        return bool(standing)

    async def _tried(self, incident: Incident, diagnosis: Decision, draft: Draft) -> set[str]:
        runs = await draft.remediations(incident)
        return {r.playbook for r in runs if r.subject == diagnosis.subject and not r.result.get("stale")}

    async def _left(self, incident: Incident, diagnosis: Decision, draft: Draft) -> Sequence[Remedy]:
        tried = await self._tried(incident, diagnosis, draft)
        return [
            r for r in await draft.context.remedies(diagnosis.cause, about=diagnosis.subject) if r.name not in tried
        ]

    async def _remedy(self, incident: Incident, diagnosis: Decision, draft: Draft) -> None:
        runs = await draft.remediations(incident)
        failed = [r for r in runs if _did_fail(r.state, r.result)]
        breaker = int(await draft.context.setting("breaker_after"))
        if len(failed) >= breaker:
            helped = "1 remedy has" if len(failed) == 1 else f"{len(failed)} remedies have"
            await self.escalate(incident, diagnosis, f"breaker: {helped} not helped", draft)
            return
        tried = await self._tried(incident, diagnosis, draft)
        left = await self._left(incident, diagnosis, draft)
        if not left:
            cause = diagnosis.cause.replace("_", " ")
            reason = (
                f"exhausted: {', '.join(sorted(tried))} did not settle it"
                if tried
                else f"no_playbook: nothing treats {cause}"
            )
            await self.escalate(incident, diagnosis, reason, draft)
            return
        if incident.state is IncidentState.ESCALATED:
            reason = f"a new diagnosis can be acted upon: {diagnosis.cause}"
            await draft.say(Move(name_of(incident), incident.state, IncidentState.INVESTIGATING, reason))
        best, others = left[0], left[1:]
        await draft.say(
            Note(
                name_of(incident),
                {"diagnosis_id": diagnosis.id, "cause": diagnosis.cause, "tried": sorted({*tried, best.name})},
            ),
            Act(
                incident=name_of(incident),
                diagnosis_id=diagnosis.id,
                playbook=best.name,
                subject=diagnosis.subject,
                rationale=f"{title_of(diagnosis)}; {best.name} treats {diagnosis.cause}"
                f" and helped {best.successes} of {best.tries} times.",
                alternatives=tuple({"playbook": r.name, "successes": r.successes, "tries": r.tries} for r in others),
                evidence=(reference(diagnosis),),
            ),
        )

    async def _is_in_human_hands(self, incident: Incident, diagnosis: Decision, draft: Draft) -> bool:
        """Escalated, and either a human has taken it up, or there is nothing new to say."""
        if incident.state is not IncidentState.ESCALATED:
            return False
        if incident.id > 0:
            handed = await draft.context.escalations(incident.id)
            if any(e.state in (EscalationState.ACKNOWLEDGED, EscalationState.ANSWERED) for e in handed):
                return True
        is_known = diagnosis.cause == incident.details.get("cause") and diagnosis.supersedes is None
        return is_known or diagnosis.confidence < self.min_confidence

    async def escalate(self, incident: Incident, diagnosis: Decision, reason: str, draft: Draft) -> None:
        """Hand it to a human, once."""
        if incident.state is IncidentState.ESCALATED:
            return
        handed = await packet(draft, incident, diagnosis, reason)
        await draft.say(Escalate(name_of(incident), reason, handed))


def _opening(diagnosis: Decision, fingerprint: str, owner: str, now: datetime) -> Open:
    payload = diagnosis.payload
    details: Payload = {
        "pipeline": pipeline_of(diagnosis),
        "warehouse": str(payload.get("warehouse") or ""),
        "run": run_of(diagnosis),
        "nodes": list(nodes_of(diagnosis)),
        "skipped": list(texts(payload.get("skipped"))),
        "cause": diagnosis.cause,
        "diagnosis_id": diagnosis.id,
        "clean_runs": [],
        "applied_at": None,
        "remedied_by": None,
        "would_have": None,
        "since": now.isoformat(),
        "tried": [],
    }
    return Open(
        fingerprint=fingerprint,
        title=title_of(diagnosis),
        kind=diagnosis.cause,
        severity=severity_of(diagnosis),
        subject=diagnosis.subject,
        started_at=_started(diagnosis),
        reason=diagnosis.rationale[:500],
        owner=owner,
        members=(reference(diagnosis), *diagnosis.evidence),
        details=details,
    )


def _started(diagnosis: Decision) -> datetime:
    """When the failure began: the run's end as the diagnosis tells it, never after the diagnosis itself."""
    said = diagnosis.payload.get("started_at") or diagnosis.payload.get("finished_at")
    try:
        began = datetime.fromisoformat(said) if isinstance(said, str) else diagnosis.at
    except ValueError:
        return diagnosis.at
    return min(began, diagnosis.at) if began.tzinfo else diagnosis.at


def _did_fail(state: RemediationState, result: Payload) -> bool:
    """Was it tried for real, in vain? What did not fit was not tried."""
    is_over = state in (RemediationState.FAILED, RemediationState.UNDONE)
    return is_over and not result.get("unfit") and not result.get("by_request")


def _would_have(incident: Incident, diagnosis: Decision) -> bool:
    """Observe mode has recorded already what would have been done about this."""
    recorded = incident.details.get("would_have")
    return bool(recorded) and diagnosis.cause == incident.details.get("cause")
