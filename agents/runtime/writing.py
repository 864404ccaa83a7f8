"""Verdicts become rows: one function a verdict, all in the transaction that also moves the cursor or ends the task."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import singledispatchmethod
from typing import Any

import structlog

from agents.verdicts import (
    Act,
    Ask,
    Assert,
    Begin,
    Diagnose,
    Escalate,
    Ignore,
    Learn,
    Move,
    Note,
    Open,
    Record,
    Resume,
    Verdict,
    Wait,
)
from config.assets import Asset
from config.errors import ConflictError, PermanentError
from memory.beliefs import knowledge, learnings
from memory.board import approvals, escalations, incidents, ledger, remediations
from memory.connection.database import Transaction
from memory.measuring import counters
from memory.queue import tasks, timers
from memory.records import DecisionKind, Incident, IncidentState, NewDecision, NewTask, Reference

log = structlog.get_logger(__name__)
NOTIFIER = "notifier"


@dataclass(frozen=True, slots=True)
class Outgoing:
    """Where humans are told: channel names by topic (`escalation`, `approval`, `resolved`)."""

    channels: Mapping[str, Sequence[str]] = field(default_factory=dict)
    approval_seconds: float = 4 * 3600


@dataclass(slots=True)
class Writing:
    """One batch of verdicts being written by one agent.

    `now` is the server's time when the batch began; `consulted` what the agent read to come to its verdicts: the
    evidence of every decision of the batch.
    """

    tx: Transaction
    agent: str
    outgoing: Outgoing
    now: datetime
    consulted: Iterable[Reference] = ()
    shared_importance: float = ledger.THRESHOLD
    opened: dict[str, Incident] = field(default_factory=dict)

    async def write(self, verdicts: Sequence[Verdict]) -> None:
        """Write them in their order. PermanentError where one names an incident that is not there."""
        for verdict in verdicts:
            await self._one(verdict)

    @singledispatchmethod
    async def _one(self, verdict: object) -> None:
        raise TypeError(f"{self.agent} answered with {type(verdict).__name__}, which is no verdict")

    async def _incident(self, key: int | str) -> Incident:
        if isinstance(key, str) and key in self.opened:
            return self.opened[key]
        found = await (incidents.get(self.tx, key) if isinstance(key, int) else incidents.by_fingerprint(self.tx, key))
        if found is None:
            raise PermanentError(f"{self.agent} named an incident that is not there: {key!r}")
        return found

    def _evidence(self, named: tuple[Reference, ...]) -> tuple[Reference, ...]:
        return tuple(dict.fromkeys((*named, *self.consulted)))[:200]

    @_one.register
    async def _(self, v: Record) -> None:
        await ledger.record(self.tx, self.agent, [v.observation], threshold=self.shared_importance)

    @_one.register
    async def _(self, v: Assert) -> None:
        await knowledge.assert_fact(self.tx, self.agent, v.subject, v.predicate, v.object, expected=None)

    @_one.register
    async def _(self, v: Diagnose) -> None:
        payload = {**v.payload, "fingerprint": v.fingerprint, "title": v.title, "severity": v.severity.value}
        await ledger.decide(
            self.tx,
            self.agent,
            NewDecision(
                kind=DecisionKind.DIAGNOSIS,
                subject=v.subject,
                rationale=v.rationale,
                cause=v.cause,
                confidence=v.confidence,
                payload=payload,
                evidence=self._evidence(v.evidence),
                alternatives=v.alternatives,
                transcript=v.transcript,
                supersedes=v.supersedes,
                key=v.key,
            ),
        )

    @_one.register
    async def _(self, v: Open) -> None:
        incident, _ = await incidents.open_or_join(
            self.tx,
            fingerprint=v.fingerprint,
            title=v.title,
            kind=v.kind,
            severity=v.severity,
            subject=v.subject,
            owner=v.owner,
            started_at=v.started_at,
            by=self.agent,
            reason=v.reason,
            members=v.members,
            details=v.details,
        )
        self.opened[v.fingerprint] = incident

    @_one.register
    async def _(self, v: Move) -> None:
        incident = await self._incident(v.incident)
        try:
            moved = await incidents.move(
                self.tx,
                incident.id,
                before=v.before,
                after=v.after,
                by=self.agent,
                reason=v.reason,
                details=v.details,
                first_clean_at=v.first_clean_at,
                resolution=v.resolution,
            )
        except ConflictError:
            await counters.count(self.tx, "dataswarm_conflicts_total", {"what": "incident"})
            return
        self.opened[moved.fingerprint] = moved
        if moved.state is IncidentState.RESOLVED:
            how = moved.resolution.value if moved.resolution else "resolved"
            await self.tell("resolved", moved, f"Resolved ({how}): {moved.title}", v.reason)

    @_one.register
    async def _(self, v: Note) -> None:
        incident = await self._incident(v.incident)
        self.opened[incident.fingerprint] = await incidents.annotate(
            self.tx, incident.id, v.details, expected_version=incident.version
        )

    @_one.register
    async def _(self, v: Act) -> None:
        incident = await self._incident(v.incident)
        decision_id = await ledger.decide(
            self.tx,
            self.agent,
            NewDecision(
                kind=DecisionKind.REMEDY,
                subject=v.subject,
                rationale=v.rationale,
                cause=incident.kind,
                payload={"playbook": v.playbook, "diagnosis_id": v.diagnosis_id},
                evidence=self._evidence((Reference("decision", v.diagnosis_id), *v.evidence)),
                alternatives=v.alternatives,
                incident_id=incident.id,
                key=f"act|{incident.id}|{v.playbook}|{v.diagnosis_id}",
            ),
        )
        if decision_id is None:
            return  # the same remedy for the same diagnosis was chosen before
        remediation = await remediations.propose(
            self.tx,
            incident_id=incident.id,
            decision_id=decision_id,
            playbook=v.playbook,
            subject=v.subject,
            plan={"diagnosis_id": v.diagnosis_id},
        )
        await self._remediate(remediation.id, incident.id, v.subject)

    async def _remediate(self, remediation_id: int, incident_id: int, subject: Asset) -> None:
        task = NewTask(
            agent=self.agent,
            kind="remediate",
            subject=subject.whole,
            payload={"remediation_id": remediation_id},
            priority=10,
            key=f"remediate|{remediation_id}",
            exclusive=True,
            incident_id=incident_id,
        )
        await tasks.enqueue(self.tx, [task])

    @_one.register
    async def _(self, v: Resume) -> None:
        remediation = await remediations.get(self.tx, v.remediation_id)
        if remediation is None:
            raise PermanentError(f"{self.agent} named a remediation that is not there: {v.remediation_id}")
        await self._remediate(remediation.id, remediation.incident_id, remediation.subject)

    @_one.register
    async def _(self, v: Ask) -> None:
        remediation = await remediations.get(self.tx, v.remediation_id)
        if remediation is None:
            raise PermanentError(f"{self.agent} named a remediation that is not there: {v.remediation_id}")
        incident = await self._incident(remediation.incident_id)
        approval = await approvals.ask(self.tx, remediation, v.question, self.outgoing.approval_seconds)
        await ledger.decide(
            self.tx,
            self.agent,
            NewDecision(
                kind=DecisionKind.ASK,
                subject=incident.subject,
                rationale=v.question,
                evidence=self._evidence((Reference("remediation", remediation.id),)),
                incident_id=incident.id,
                key=f"ask|{approval.id}",
            ),
        )
        await self.tell("approval", incident, f"Approval needed: {incident.title}", v.question)

    @_one.register
    async def _(self, v: Escalate) -> None:
        incident = await self._incident(v.incident)
        if incident.state is IncidentState.ESCALATED or not incident.state.is_open:
            return
        if v.before is not None and incident.state is not v.before:
            return
        await incidents.move(
            self.tx,
            incident.id,
            before=incident.state,
            after=IncidentState.ESCALATED,
            by=self.agent,
            reason=v.reason,
            details=None,
        )
        timeline = [
            {"at": t.at.isoformat(), "state": t.after.value, "by": t.by, "reason": t.reason}
            for t in await incidents.timeline(self.tx, incident.id)
        ]
        tried = [
            {"playbook": r.playbook, "state": r.state.value, "result": dict(r.result)}
            for r in await remediations.of_incident(self.tx, incident.id)
        ]
        packet = {"timeline": timeline, "tried": tried, **v.packet}
        await escalations.escalate(self.tx, incident.id, v.reason, packet)
        await ledger.decide(
            self.tx,
            self.agent,
            NewDecision(
                kind=DecisionKind.ESCALATION,
                subject=incident.subject,
                rationale=v.reason,
                evidence=self._evidence(()),
                incident_id=incident.id,
            ),
        )
        await self.tell("escalation", incident, f"Escalated: {incident.title}", v.reason)
        self.opened.pop(incident.fingerprint, None)

    @_one.register
    async def _(self, v: Begin) -> None:
        await tasks.enqueue(self.tx, [v.task])

    @_one.register
    async def _(self, v: Wait) -> None:
        await timers.set_(self.tx, self.agent, v.key, self.now + v.delay, v.payload, v.subject)

    @_one.register
    async def _(self, v: Learn) -> None:
        said: Mapping[str, Any] = {
            "signal": v.signal,
            "playbook": v.playbook,
            "cause": v.cause,
            "subject": v.subject,
            "text": v.text,
            "circumstances": v.circumstances,
        }
        if v.to:
            await learnings.share(self.tx, self.agent, to=v.to, **said)
        else:
            await knowledge.learn(self.tx, self.agent, **said)

    @_one.register
    async def _(self, v: Ignore) -> None:
        if v.key is None:
            log.debug("agent.ignored", agent=self.agent, subject=str(v.subject), reason=v.reason)
            return
        await ledger.decide(
            self.tx,
            self.agent,
            NewDecision(
                kind=DecisionKind.IGNORE,
                subject=v.subject,
                rationale=v.reason,
                evidence=self._evidence(v.evidence),
                key=v.key,
            ),
        )

    async def tell(self, topic: str, incident: Incident, title: str, body: str) -> None:
        """Put a message for humans on the queue, one task a channel, so that it is sent once and retried."""
        messages = [
            NewTask(
                agent=NOTIFIER,
                kind="notify",
                subject=incident.subject,
                payload={"channel": channel, "topic": topic, "title": title, "body": body},
                key=f"notify|{channel}|{topic}|{incident.id}|{incident.version}",
                max_attempts=8,
                deadline_seconds=60,
                incident_id=incident.id,
            )
            for channel in self.outgoing.channels.get(topic, ())
        ]
        if messages:
            await tasks.enqueue(self.tx, messages)
