"""The agent: what wakes it, and which page of the book answers."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import ClassVar

from pydantic import BaseModel, ConfigDict, Field

from agents.base import Agent, Capability, Watch
from agents.context import Context, Happening
from agents.incident_response.draft import Draft, name_of
from agents.incident_response.soak import Soak
from agents.incident_response.triage import Triage
from agents.playbook import Bench, Gate
from agents.remedy import carry_out, take_back
from agents.verdicts import Note, Resume, Verdict
from config.errors import PermanentError
from memory.records import Approval, ApprovalState, Decision, Observation, Remediation, RemediationState, Task


class IncidentResponseOptions(BaseModel):
    """Settings of incident-response.

    Attributes:
        min_confidence: a diagnosis below it goes to a human (0 to 1).
        storm_limit: when so many incidents of one pipeline opened within a minute, the next joins one of them.
        self_heal_cycles: clean runs after which an incident nobody remedied is over.
        rework_seconds: how long a fresh diagnosis is waited for when the signal came back after a remedy.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    min_confidence: float = Field(default=0.5, ge=0, le=1)
    storm_limit: int = Field(default=10, ge=1)
    self_heal_cycles: int = Field(default=2, ge=1)
    rework_seconds: float = Field(default=120, ge=0)


class IncidentResponse(Agent):
    """One root, one incident; a remedy by the book, or a human with everything known."""

    name: ClassVar[str] = "incident-response"
    watches: ClassVar[tuple[Watch, ...]] = (
        Watch(
            (
                "decision.diagnosis",
                "observation.pipeline.passed",
                "observation.pipeline.failed",
                "remediation.failed",
                "remediation.undone",
                "remediation.refused",
                "approval.approved",
                "approval.denied",
                "approval.expired",
            )
        ),
    )
    acts: ClassVar[tuple[Capability, ...]] = (
        Capability(
            "remediate",
            "Run a playbook on an incident, as far as policy lets it.",
            {"remediation_id": "integer"},
            cost="costly",
            on_request=False,
        ),
        Capability(
            "undo",
            "Take an applied remediation back.",
            {"remediation_id": "integer"},
            cost="costly",
            on_request=False,
        ),
    )
    Options: ClassVar[type[BaseModel]] = IncidentResponseOptions

    def __init__(self, options: BaseModel | None = None) -> None:
        super().__init__(options)
        self._triage = Triage(self.options.min_confidence, self.options.storm_limit)
        self._soak = Soak(self._triage, self.options.self_heal_cycles, timedelta(seconds=self.options.rework_seconds))

    async def consider(self, happenings: Sequence[Happening], context: Context) -> Sequence[Verdict]:
        """One by one, each seeing what the ones before it led to."""
        draft = Draft(context)
        for happening in happenings:
            await self._one(happening, draft)
        return draft.said

    async def _one(self, happening: Happening, draft: Draft) -> None:
        record, topic = happening.record, happening.event.topic
        if isinstance(record, Decision):
            await self._triage.diagnosed(record, draft)
        elif isinstance(record, Observation):
            if record.kind == "pipeline.passed":
                await self._soak.passed(record, draft)
            elif record.kind == "pipeline.failed":
                await self._soak.failed(record, draft)
        elif isinstance(record, Remediation):
            await self._ended(record, draft)
        elif isinstance(record, Approval):
            await self._answered(record, draft)
        elif topic == "timer.due":
            await self._soak.due(record, draft)

    async def _ended(self, remediation: Remediation, draft: Draft) -> None:
        """A remedy is over without having helped: the next one, or a human; in observe mode, only a record."""
        incident = await draft.incident(remediation.incident_id)
        result = remediation.result
        if incident is None or result.get("by_request") or result.get("escalate"):
            return  # over, or handed to a human already by whoever drove it
        if remediation.state is RemediationState.REFUSED and result.get("gate") == Gate.OBSERVE.value:
            await draft.say(Note(name_of(incident), {"would_have": result.get("would_have") or True}))
            return
        if remediation.state is RemediationState.REFUSED:
            standing = await draft.diagnoses_of(incident)
            if standing:
                reason = f"refused: {result.get('stage', 'policy')}: {result.get('reason', '')}"
                await self._triage.escalate(incident, standing[0], reason, draft)
            return
        await self._triage.look_further(incident, draft)

    async def _answered(self, approval: Approval, draft: Draft) -> None:
        """A human said yes, no, or nothing in time."""
        incident = await draft.incident(approval.incident_id)
        if incident is None:
            return
        if approval.state is ApprovalState.APPROVED:
            await draft.say(
                Note(name_of(incident), {"approved_by": approval.answered_by}),
                Resume(approval.remediation_id, approval.answered_by),
            )
            return
        denied = approval.state is ApprovalState.DENIED
        if denied:
            await draft.say(Note(name_of(incident), {"denied_by": approval.answered_by}))
        standing = await draft.diagnoses_of(incident)
        if standing:
            reason = f"denied: {approval.answered_by} said no" if denied else "expired: nobody answered in time"
            await self._triage.escalate(incident, standing[0], reason, draft)

    async def act(self, task: Task, bench: Bench) -> Sequence[Verdict]:
        """Drive a remediation; PermanentError for a task that names none."""
        remediation_id = task.payload.get("remediation_id")
        if not isinstance(remediation_id, int):
            raise PermanentError(f"task {task.id} names no remediation")
        if task.kind == "undo":
            return await take_back(remediation_id, bench)
        return await carry_out(remediation_id, bench)
