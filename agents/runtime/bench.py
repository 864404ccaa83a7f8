"""What a running task has at hand, over the real blackboard: journaled steps, intended effects, the policy gate."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import TypeVar

import structlog

from agents import reasoning
from agents.playbook import Case, Gate, Permit, Plan, Playbook, Probe, Reasoner
from agents.policy import Request, Standing, decide
from agents.runtime.window import Window
from config.assets import Asset
from config.errors import PermanentError, PolicyError, SwarmError
from config.settings import Settings
from integrations.base import Integration
from memory.access import AccessLog
from memory.beliefs.cache import FactCache
from memory.board import controls, incidents, ledger, remediations, standing
from memory.connection.database import Database
from memory.queue import effects, tasks
from memory.queue.effects import Settled
from memory.queue.journal import Journal
from memory.records import (
    DecisionKind,
    Effect,
    EffectClass,
    IncidentState,
    NewDecision,
    Payload,
    Reference,
    RemediationState,
    Sensitivity,
    Task,
)

log = structlog.get_logger(__name__)
T = TypeVar("T")
EXPECTED_SECONDS = 900.0


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What all tasks of an agent share: open sources, playbooks, the model's door, the settings as they are now.

    `facts` is the process's cache of facts; None reads each from the database. `agent` is whose surroundings these are;
    None sees the private observations of all. `accesses` is where what it is shown is noted; None notes nothing.
    """

    database: Database
    sources: Callable[[], Mapping[str, Integration]]
    playbooks: Callable[[], Mapping[str, Playbook]]
    settings: Callable[[], Settings]
    reasoner: Reasoner | None = None
    clearance: Sensitivity = Sensitivity.INTERNAL
    facts: FactCache | None = None
    agent: str | None = None
    accesses: AccessLog | None = None

    def window(self, now: datetime) -> Window:
        """The agent's read-only window for one batch or task that begins `now`, by the server's time."""
        return Window(
            self.database,
            clearance=self.clearance,
            settings=self.settings,
            playbooks=self.playbooks,
            now=now,
            facts=self.facts,
            agent=self.agent,
            accesses=self.accesses,
        )


class TaskBench:
    """Bench for one leased task. Everything it writes is fenced by the task's lease."""

    def __init__(self, around: Surroundings, task: Task, window: Window) -> None:
        self._around = around
        self._task = task
        self._window = window
        self._journal = Journal(around.database, task, around.clearance)
        self._permits: dict[int, Request] = {}
        self._remediation_id: int | None = None

    @property
    def context(self) -> Window:
        """The read-only window."""
        return self._window

    @property
    def sources(self) -> Mapping[str, Integration]:
        """The open integrations by name."""
        return self._around.sources()

    @property
    def task(self) -> Task:
        """The task being performed."""
        return self._task

    @property
    def reasoner(self) -> Reasoner | None:
        """The door to a model, with this task's journal behind it."""
        return reasoning.within(self._around.reasoner, self._journal)

    def playbook(self, name: str) -> Playbook | None:
        """A playbook enabled here."""
        return self._around.playbooks().get(name)

    async def step(self, name: str, produce: Callable[[], Awaitable[T]], shape: type[T]) -> T:
        """Run once, remember the result."""
        return await self._journal.step(name, produce, shape)

    async def case(self, remediation_id: int) -> Case:
        """What a remediation works on, read now. PermanentError where a part of it is gone."""
        async with self._around.database.transaction(clearance=self._around.clearance) as tx:
            remediation = await remediations.get(tx, remediation_id)
            if remediation is None:
                raise PermanentError(f"remediation {remediation_id} is not there")
            incident = await incidents.get(tx, remediation.incident_id)
            diagnosis = await ledger.decision(tx, int(remediation.plan["diagnosis_id"]))
        if incident is None or diagnosis is None:
            raise PermanentError(f"remediation {remediation_id} has lost its incident or its diagnosis")
        self._remediation_id = remediation_id
        return Case(incident, diagnosis, remediation)

    async def gate(self, case: Case, plan: Plan) -> Permit:
        """Ask policy now that the plan is known; record what it said."""
        request = await self._request(case, plan)
        permit = await self._permit(request, case)
        self._permits[case.remediation.id] = request
        async with self._around.database.transaction(clearance=self._around.clearance) as tx:
            await ledger.decide(
                tx,
                self._task.agent,
                NewDecision(
                    kind=DecisionKind.POLICY,
                    subject=case.remediation.subject,
                    rationale=f"{permit.gate.value}: {permit.reason}",
                    cause=permit.stage,
                    payload={"trail": list(permit.trail), "summary": plan.summary, "approved_by": request.approved_by},
                    evidence=(Reference("remediation", case.remediation.id),),
                    incident_id=case.incident.id,
                    key=f"policy|{self._task.id}|{case.remediation.id}",
                ),
            )
        return permit

    async def announce(self, case: Case, plan: Plan) -> None:
        """Register the expected changes as planned, for a while."""
        async with self._around.database.transaction(clearance=self._around.clearance) as tx:
            await tasks.fence(tx, self._task)
            for expected in plan.expects:
                await controls.plan_change(
                    tx,
                    expected.pattern,
                    expected.kind,
                    f"dataswarm/{self._task.agent}",
                    plan.summary,
                    starts_at=None,
                    seconds=EXPECTED_SECONDS,
                    remediation_id=case.remediation.id,
                )

    async def advance(
        self,
        case: Case,
        after: RemediationState,
        *,
        plan: Plan | None = None,
        result: Payload | None = None,
    ) -> Case:
        """Take the remediation to its next state, fenced; where it is there already (a resume), it stays."""
        stored: dict[str, object] | None = None
        if plan is not None:
            stored = {**asdict(plan), "diagnosis_id": case.diagnosis.id}
        async with self._around.database.transaction(clearance=self._around.clearance) as tx:
            await tasks.fence(tx, self._task)
            now = await remediations.get(tx, case.remediation.id)
            before = now.state if now is not None else case.remediation.state
            moved = await remediations.move(
                tx,
                case.remediation.id,
                before=[before],
                after=after,
                plan=stored,
                result=result,
            )
        return replace(case, remediation=moved)

    async def move(self, case: Case, after: IncidentState, reason: str, details: Payload | None = None) -> Case:
        """Take the incident to another state, fenced; where it is there already (a resume), it stays."""
        async with self._around.database.transaction(clearance=self._around.clearance) as tx:
            await tasks.fence(tx, self._task)
            incident = await incidents.get(tx, case.incident.id)
            if incident is None:
                raise PermanentError(f"incident {case.incident.id} is not there")
            if incident.state is not after:
                incident = await incidents.move(
                    tx,
                    incident.id,
                    before=incident.state,
                    after=after,
                    by=self._task.agent,
                    reason=reason,
                    details=details,
                )
        return replace(case, incident=incident)

    async def undoable(self, case: Case) -> Sequence[Effect]:
        """Effects of this remediation that were done and not undone, newest first."""
        async with self._around.database.transaction(clearance=self._around.clearance) as tx:
            done = await effects.of_remediation(tx, case.remediation.id)
        return sorted((e for e in done if e.state == "done" and e.inverse), key=lambda e: -e.id)

    async def mark_undone(self, case: Case) -> None:
        """Record that the effects of this remediation have been taken back, fenced."""
        async with self._around.database.transaction(clearance=self._around.clearance) as tx:
            await tasks.fence(tx, self._task)
            for done in await effects.of_remediation(tx, case.remediation.id):
                if done.state == "done" and done.inverse:
                    await effects.mark_undone(tx, done.id)

    async def effect(
        self,
        step: str,
        *,
        target: Asset,
        intent: Payload,
        inverse: Payload,
        effect_class: EffectClass,
        do: Callable[[], Awaitable[Payload]],
        probe: Callable[[], Awaitable[Probe]] | None = None,
    ) -> Payload:
        """Change something outside, once: intent first, then policy and lease again, then the deed, then its result."""
        async with self._around.database.transaction(clearance=self._around.clearance) as tx:
            resumed = step in {known.step for known in await effects.of_task(tx, self._task.id)}
            effect = await effects.intend(
                tx,
                self._task,
                step=step,
                target=target,
                intent=intent,
                inverse=inverse,
                effect_class=effect_class,
                remediation_id=self._remediation_id,
            )
        if effect.state == "done":
            return dict(effect.result or {})
        if effect.state != "intended":
            raise PermanentError(f"{step} on {target} was {effect.state} before and is not tried again")
        if resumed and await self._happened(effect, probe):
            return await self._settle(effect, "done", {"probed": True})
        await self._still_allowed(effect)
        try:
            result = await do()
        except SwarmError as error:
            if not error.retryable:
                await self._settle(effect, "failed", {"error": error.code, "message": error.message})
            raise
        return await self._settle(effect, "done", result)

    async def _happened(self, effect: Effect, probe: Callable[[], Awaitable[Probe]] | None) -> bool:
        found = await probe() if probe is not None else Probe.UNKNOWN
        if found is Probe.UNKNOWN and effect.effect_class is not EffectClass.IDEMPOTENT:
            raise PermanentError(
                f"effect {effect.id} ({effect.step} on {effect.target}) was begun and its outcome is unknown",
                hint="look at the target, then undo or repeat it by hand; it is not repeated blindly",
            )
        return found is Probe.DONE

    async def _still_allowed(self, effect: Effect) -> None:
        """The kill switch and the lease, read right before the outside is touched."""
        async with self._around.database.transaction(clearance=self._around.clearance) as tx:
            reason = await controls.kill_switch(tx)
            # The lease last: whoever was asleep while the switch was read finds its token refused.
            await tasks.fence(tx, self._task)
        if reason is not None:
            await self._settle(effect, "refused", {"kill_switch": reason})
            raise PolicyError(f"the kill switch is on: {reason}")

    async def _settle(self, effect: Effect, state: Settled, result: Payload) -> Payload:
        async with self._around.database.transaction(clearance=self._around.clearance) as tx:
            await effects.settle(tx, self._task, effect.id, state, dict(result))
        return dict(result)

    async def _request(self, case: Case, plan: Plan) -> Request:
        playbook = self.playbook(case.remediation.playbook)
        async with self._around.database.transaction(clearance=self._around.clearance) as tx:
            approved_by = await standing.approved_by(tx, case.remediation.id)
        return Request(
            agent=self._task.agent,
            playbook=case.remediation.playbook,
            subject=case.remediation.subject,
            assets=tuple(Asset.parse(a) for a in plan.blast.assets),
            moves_data=bool(playbook and playbook.moves_data),
            effect_class=playbook.effect_class if playbook else EffectClass.NOT_INVERTIBLE,
            environment=self._around.settings().runtime.environment,
            origin=str(case.diagnosis.payload.get("origin", "rules")),
            share=plan.blast.share,
            approved_by=approved_by,
        )

    async def _permit(self, request: Request, case: Case) -> Permit:
        try:
            async with self._around.database.transaction(clearance=self._around.clearance) as tx:
                everywhere, here = await standing.applied_within(tx, timedelta(hours=1), request.subject)
                rows = Standing(
                    kill_switch=await controls.kill_switch(tx),
                    caps=[(cap.scope, cap.autonomy) for cap in await controls.caps(tx)],
                    silenced=any(request.subject.matches(s.pattern) for s in await controls.silences(tx)),
                    remedies_last_hour=everywhere,
                    remedies_on_asset_last_hour=here,
                    failed_on_incident=await standing.failed_on(tx, case.incident.id),
                )
        except SwarmError as error:
            log.warning("policy.unreadable", problem=error.message)
            rows = Standing(readable=False)
        return decide(request, self._around.settings(), rows, self._window.now)


__all__ = ["Gate", "Surroundings", "TaskBench"]
