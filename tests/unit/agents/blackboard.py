"""A blackboard and a bench made of lists: the shape of the real ones, without a database.

`Board` answers as the agents' window does and takes verdicts as the runtime does. `BoardBench` journals steps and
intends effects in dictionaries that outlive it, so a test can cut a task short and resume it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from pydantic import TypeAdapter

from agents.base import Agent
from agents.context import Happening, Remedy
from agents.playbook import Case, Gate, Permit, Plan, Playbook, Probe
from agents.verdicts import Act, Ask, Escalate, Ignore, Learn, Move, Note, Open, Resume, Verdict, Wait
from config.assets import Asset
from config.errors import PermanentError, PolicyError, SwarmError
from integrations.base import Integration
from memory.board import transitions
from memory.records import (
    JSON,
    Approval,
    ApprovalState,
    Decision,
    DecisionKind,
    Effect,
    EffectClass,
    Escalation,
    EscalationState,
    Event,
    Fact,
    Incident,
    IncidentState,
    Observation,
    Payload,
    PlannedChange,
    Reference,
    Remediation,
    RemediationState,
    Resolution,
    Sensitivity,
    Severity,
    Task,
    TaskState,
)

T = TypeVar("T")
START = datetime(2026, 11, 2, 8, 0, tzinfo=UTC)
R = RemediationState
NODE = "test.shop.unique_stg_orders_order_id"
MART = "model.shop.fct_orders"


@dataclass
class Board:
    """Rows of everything, and the verdicts that were written."""

    now: datetime = START
    decided: list[Decision] = field(default_factory=list)
    observed: list[Observation] = field(default_factory=list)
    incidents: dict[int, Incident] = field(default_factory=dict)
    membership: dict[int, list[Reference]] = field(default_factory=dict)
    runs: dict[int, Remediation] = field(default_factory=dict)
    approvals: list[Approval] = field(default_factory=list)
    handed: list[Escalation] = field(default_factory=list)
    facts: dict[tuple[Asset, str], JSON] = field(default_factory=dict)
    edges: list[tuple[Asset, Asset]] = field(default_factory=list)
    cards: dict[str, list[Remedy]] = field(default_factory=dict)
    silences: list[str] = field(default_factory=list)
    settings: dict[str, JSON] = field(
        default_factory=lambda: {"soak_cycles": 2, "soak_minutes": 10, "breaker_after": 2, "demo": False}
    )
    learned: list[Learn] = field(default_factory=list)
    timers: dict[str, Wait] = field(default_factory=dict)
    ignored: list[Ignore] = field(default_factory=list)
    queued: list[int] = field(default_factory=list)
    events: list[Happening] = field(default_factory=list)
    _next: int = 0

    def number(self) -> int:
        """An id nobody had."""
        self._next += 1
        return self._next

    def pass_time(self, **span: float) -> None:
        """Let the server's clock go on."""
        self.now += timedelta(**span)

    # --- what a context answers ------------------------------------------------------------------------------------

    async def observations(
        self,
        *,
        kinds: Sequence[str] = ("*",),
        subjects: Sequence[Asset] | None = None,
        since: timedelta | None = None,
    ) -> Sequence[Observation]:
        """All of them."""
        return self.observed[::-1]

    async def decisions(
        self, *, kind: str | None = None, incident_id: int | None = None, since: timedelta | None = None
    ) -> Sequence[Decision]:
        """Live ones of a kind, newest first."""
        return [d for d in self.decided[::-1] if d.superseded_by is None and kind in (None, d.kind)]

    async def incident(self, key: int | str) -> Incident | None:
        """By id, or open by fingerprint."""
        if isinstance(key, int):
            return self.incidents.get(key)
        return next((i for i in self.incidents.values() if i.fingerprint == key and i.state.is_open), None)

    async def open_incidents(self) -> Sequence[Incident]:
        """Newest first, as memory lists them."""
        return [i for i in reversed(self.incidents.values()) if i.state.is_open]

    async def members(self, incident_id: int) -> Sequence[Reference]:
        """Of one incident."""
        return self.membership.get(incident_id, [])

    async def remediations(self, incident_id: int) -> Sequence[Remediation]:
        """Oldest first."""
        return [r for r in self.runs.values() if r.incident_id == incident_id]

    async def escalations(self, incident_id: int) -> Sequence[Escalation]:
        """Oldest first."""
        return [e for e in self.handed if e.incident_id == incident_id]

    def _reach(self, asset: Asset, *, down: bool) -> frozenset[Asset]:
        found: set[Asset] = set()
        wave = {asset}
        while wave:
            wave = {(b if down else a) for a, b in self.edges if (a if down else b) in wave} - found
            found |= wave
        return frozenset(found)

    async def upstream(self, asset: Asset) -> frozenset[Asset]:
        """Through the edges."""
        return self._reach(asset, down=False)

    async def downstream(self, asset: Asset) -> frozenset[Asset]:
        """Through the edges."""
        return self._reach(asset, down=True)

    async def is_read(self, source: Asset) -> bool:
        """Through the edges."""
        return any((up.scheme, up.source) == (source.scheme, source.source) for up, _ in self.edges)

    async def parts(self, names: Collection[str] | None = None, *, prefix: str = "") -> Mapping[str, JSON]:
        """None: nothing is sensed here."""
        return {}

    async def columns(self, source: str, tables: Collection[str]) -> Mapping[str, Sequence[str]]:
        """Nothing is known of any."""
        return {}

    async def part_hashes(self) -> Mapping[str, str]:
        """None."""
        return {}

    async def fact(self, subject: Asset, predicate: str) -> Fact | None:
        """What was put there."""
        if (subject, predicate) not in self.facts:
            return None
        stored = self.facts[subject, predicate]
        return Fact(subject, predicate, stored, 1, "pipeline-health", 1.0, Sensitivity.INTERNAL, "", self.now)

    async def planned_changes(self) -> Sequence[PlannedChange]:
        """None."""
        return ()

    async def silenced(self, asset: Asset) -> bool:
        """By pattern."""
        return any(asset.matches(p) for p in self.silences)

    async def success_rate(self, playbook: str, cause: str) -> tuple[int, int]:
        """Nobody knows."""
        return 0, 0

    async def remedies(self, cause: str, *, about: Asset | None = None) -> Sequence[Remedy]:
        """The cards of a cause."""
        return self.cards.get(cause, [])

    async def setting(self, name: str) -> JSON:
        """One of the figures."""
        return self.settings[name]

    # --- what others write -----------------------------------------------------------------------------------------

    def happen(self, topic: str, subject: Asset, noun: str, record: Any, row: int = 0) -> Happening:
        """Put an event on the bus."""
        number = self.number()
        event = Event(number, number, self.now, topic, subject, Reference(noun, row or number))
        happening = Happening(event, record)
        self.events.append(happening)
        return happening

    def diagnose(self, cause: str = "column_renamed", **given: Any) -> Decision:
        """Somebody's diagnosis, with its event."""
        subject = given.pop("subject", Asset("warehouse", "wh", "raw.orders", "customer_id"))
        columns = {"agent", "confidence", "supersedes", "alternatives", "rationale"}
        known = {k: given.pop(k) for k in columns & set(given)}
        payload = {
            "pipeline": "shop",
            "warehouse": "wh",
            "run": "r1",
            "nodes": [NODE],
            "skipped": [MART],
            "fingerprint": f"shop|{subject.whole}",
            **given,
        }
        made = Decision(
            id=self.number(),
            at=self.now,
            agent=known.get("agent", "pipeline-health"),
            kind=DecisionKind.DIAGNOSIS,
            subject=subject,
            rationale=known.get("rationale", "the message and the drift agree"),
            cause=cause,
            confidence=known.get("confidence", 0.95),
            payload=payload,
            evidence=(),
            alternatives=known.get("alternatives", ()),
            transcript=(),
            incident_id=None,
            supersedes=known.get("supersedes"),
            superseded_by=None,
            sensitivity=Sensitivity.INTERNAL,
        )
        self.decided = [replace(d, superseded_by=made.id) if d.id == made.supersedes else d for d in self.decided]
        self.decided.append(made)
        self.happen("decision.diagnosis", subject, "decision", made, made.id)
        return made

    def run(self, kind: str = "passed", run: str = "r2", nodes: Sequence[str] = (), pipeline: str = "shop") -> None:
        """A run of the team as pipeline-health tells of it."""
        payload: dict[str, Any] = {"run": run, "finished_at": self.now.isoformat(), "nodes": 9}
        if kind == "failed":
            payload |= {"nodes": [{"id": n, "outcome": "fail"} for n in nodes], "skipped": []}
        subject = Asset("dbt", pipeline)
        number = self.number()
        severity = Severity.INFO if kind == "passed" else Severity.ERROR
        seen = Observation(
            number, self.now, "pipeline-health", f"pipeline.{kind}", subject, severity, 0.5, Sensitivity.INTERNAL,
            payload, (), str(number),
        )  # fmt: skip
        self.observed.append(seen)
        self.happen(f"observation.pipeline.{kind}", subject, "observation", seen, number)

    def answer(self, approval: Approval, state: ApprovalState, by: str = "ada") -> None:
        """A human's answer."""
        told = replace(approval, state=state, answered_by="" if state is ApprovalState.EXPIRED else by)
        self.approvals = [told if a.id == approval.id else a for a in self.approvals]
        self.happen(f"approval.{state.value}", Asset("dbt", "shop"), "approval", told, told.id)

    # --- what the runtime does with verdicts -----------------------------------------------------------------------

    def write(self, verdicts: Sequence[Verdict]) -> None:
        """Turn verdicts into rows."""
        turns: Mapping[type[Any], Callable[[Any], None]] = {
            Open: self._open,
            Move: self._move,
            Note: self._note,
            Act: self._act,
            Resume: lambda v: self.queued.append(v.remediation_id),
            Ask: self._ask,
            Escalate: self._escalate,
            Wait: lambda v: self.timers.update({v.key: v}),
            Learn: self.learned.append,
            Ignore: self.ignored.append,
        }
        for verdict in verdicts:
            turns[type(verdict)](verdict)

    def _move(self, v: Move) -> None:
        incident = self._named(v.incident)
        if incident.state is v.before:
            self.move(incident.id, v.after, v.details, v.resolution, v.first_clean_at)

    def _note(self, v: Note) -> None:
        incident = self._named(v.incident)
        self.incidents[incident.id] = replace(incident, details={**incident.details, **v.details})

    def _named(self, key: int | str) -> Incident:
        if isinstance(key, int):
            return self.incidents[key]
        return next(i for i in self.incidents.values() if i.fingerprint == key and i.state.is_open)

    def _open(self, v: Open) -> None:
        open_one = next(
            (i for i in self.incidents.values() if i.fingerprint == v.fingerprint and i.state.is_open), None
        )
        ended = next((i for i in self.incidents.values() if i.fingerprint == v.fingerprint), None)
        if open_one is not None:
            made = replace(open_one, details={**v.details, **open_one.details})
        elif ended is not None:
            details = {**ended.details, **v.details}
            made = replace(ended, state=IncidentState.OPEN, details=details, resolution=None, first_clean_at=None)
        else:
            made = Incident(
                self.number(), v.fingerprint, v.title, v.kind, v.severity, IncidentState.OPEN, v.subject, v.owner,
                self.now, v.started_at, None, None, None, v.details, 1,
            )  # fmt: skip
        self.incidents[made.id] = made
        known = self.membership.setdefault(made.id, [])
        known += [m for m in v.members if m not in known]

    def move(
        self,
        incident_id: int,
        after: IncidentState,
        details: Payload | None = None,
        resolution: Resolution | None = None,
        first_clean_at: datetime | None = None,
    ) -> Incident:
        """Take an incident to another state, legally."""
        incident = self.incidents[incident_id]
        assert after in transitions.INCIDENT[incident.state], f"{incident.state} → {after}"
        assert (resolution is not None) == (not after.is_open)
        starts_anew = after in (IncidentState.OPEN, IncidentState.INVESTIGATING, IncidentState.MITIGATING)
        clean_at = None if starts_anew else first_clean_at or incident.first_clean_at
        if resolution is Resolution.AUTO:
            assert clean_at is not None
            assert any(r.state is R.VERIFIED for r in self.runs.values() if r.incident_id == incident_id)
            assert not any(a.answered_by for a in self.approvals if a.incident_id == incident_id)
        self.incidents[incident_id] = replace(
            incident,
            state=after,
            details={**incident.details, **(details or {})},
            resolution=resolution,
            first_clean_at=clean_at,
        )
        return self.incidents[incident_id]

    def _act(self, v: Act) -> None:
        incident = self._named(v.incident)
        number = self.number()
        self.runs[number] = Remediation(
            number, incident.id, number, v.playbook, R.PROPOSED, v.subject, {"diagnosis_id": v.diagnosis_id}, {}, {},
            self.now, None, None,
        )  # fmt: skip
        self.queued.append(number)

    def _ask(self, v: Ask) -> None:
        run = self.runs[v.remediation_id]
        assert run.state is R.PROPOSED
        until = self.now + timedelta(hours=4)
        self.approvals.append(
            Approval(
                self.number(), run.id, run.incident_id, ApprovalState.PENDING, v.question, self.now, until, "", None
            )
        )

    def _escalate(self, v: Escalate) -> None:
        incident = self._named(v.incident)
        if incident.state is IncidentState.ESCALATED or not incident.state.is_open:
            return
        if v.before is not None and v.before is not incident.state:
            return
        self.move(incident.id, IncidentState.ESCALATED)
        self.handed.append(
            Escalation(self.number(), incident.id, EscalationState.PENDING, v.reason, v.packet, self.now, "")
        )

    def advance(
        self, run_id: int, after: RemediationState, plan: Payload | None, result: Payload | None
    ) -> Remediation:
        """Take a remediation to another state, legally, with its event."""
        run = self.runs[run_id]
        assert after in transitions.REMEDIATION[run.state], f"{run.state} → {after}"
        is_over = after in (R.VERIFIED, R.UNDONE, R.FAILED, R.REFUSED)
        self.runs[run_id] = replace(
            run,
            state=after,
            plan=run.plan if plan is None else TypeAdapter(Any).validate_json(TypeAdapter(Any).dump_json(plan)),
            result=run.result if result is None else TypeAdapter(Any).validate_json(TypeAdapter(Any).dump_json(result)),
            applied_at=self.now if after is R.APPLIED else run.applied_at,
            ended_at=self.now if is_over else run.ended_at,
        )
        if after is not run.state:
            self.happen(f"remediation.{after.value}", run.subject, "remediation", self.runs[run_id], run_id)
        return self.runs[run_id]

    # --- the loops -------------------------------------------------------------------------------------------------

    async def consider(self, agent: Agent, *, one_by_one: bool = False) -> list[Verdict]:
        """Let an agent answer what has happened since; its answers are written."""
        said: list[Verdict] = []
        watched = {t for w in agent.watches for t in w.topics} | {"timer.due"}
        pending = [h for h in self.events if h.event.topic in watched]
        self.events.clear()
        for batch in [[h] for h in pending] if one_by_one else [pending] if pending else []:
            verdicts = await agent.consider(batch, self)
            self.write(verdicts)
            said += verdicts
        return said

    def ring(self, key: str) -> None:
        """A timer comes due."""
        wait = self.timers.pop(key)
        self.happen("timer.due", wait.subject, "timer", wait.payload)


class Crash(Exception):  # noqa: N818 - a cut, not an error
    """The worker was killed here."""


@dataclass
class BoardBench:
    """A bench over the board. Hand `journal` and `effects` to the next one to resume."""

    board: Board
    sources: Mapping[str, Integration] = field(default_factory=dict)
    playbooks: Mapping[str, Playbook] = field(default_factory=dict)
    permit: Permit = field(default_factory=lambda: Permit(Gate.ACT, "all", "every stage allows it"))
    journal: dict[str, bytes] = field(default_factory=dict)
    effects: dict[str, Effect] = field(default_factory=dict)
    announced: list[Plan] = field(default_factory=list)
    gated: int = 0
    kill_switch: str = ""
    crash_before: str = ""  # the mark before which the worker dies
    marks: list[str] = field(default_factory=list)
    remediation_id: int = 0
    reasoner: None = None

    @property
    def context(self) -> Board:
        """The board."""
        return self.board

    @property
    def task(self) -> Task:
        """A task of incident-response."""
        return Task(
            7, "incident-response", "remediate", Asset("dbt", "shop"), {"remediation_id": self.remediation_id}, 0,
            TaskState.LEASED, 1, 5, 900.0, self.board.now,
        )  # fmt: skip

    def _mark(self, name: str) -> None:
        if name == self.crash_before:
            raise Crash(name)
        self.marks.append(name)

    async def case(self, remediation_id: int) -> Case:
        """Read now."""
        self.remediation_id = remediation_id
        run = self.board.runs[remediation_id]
        diagnosis = next(d for d in self.board.decided if d.id == run.plan["diagnosis_id"])
        return Case(self.board.incidents[run.incident_id], diagnosis, run)

    def playbook(self, name: str) -> Playbook | None:
        """One of those given."""
        return self.playbooks.get(name)

    async def gate(self, case: Case, plan: Plan) -> Permit:
        """The permit given; a human's yes lifts propose."""
        self.gated += 1
        is_approved = any(
            a.remediation_id == case.remediation.id and a.state is ApprovalState.APPROVED for a in self.board.approvals
        )
        if self.permit.gate is Gate.PROPOSE and is_approved:
            return replace(self.permit, gate=Gate.ACT)
        return self.permit

    async def announce(self, case: Case, plan: Plan) -> None:
        """Kept."""
        self.announced.append(plan)

    async def advance(
        self, case: Case, after: RemediationState, *, plan: Plan | None = None, result: Payload | None = None
    ) -> Case:
        """Through the board."""
        self._mark(f"advance {after.value}")
        stored = None if plan is None else {**asdict(plan), "diagnosis_id": case.diagnosis.id}
        return replace(case, remediation=self.board.advance(case.remediation.id, after, stored, result))

    async def move(self, case: Case, after: IncidentState, reason: str, details: Payload | None = None) -> Case:
        """Through the board; where it is there already, it stays."""
        self._mark(f"move {after.value}")
        incident = self.board.incidents[case.incident.id]
        if incident.state is not after:
            incident = self.board.move(incident.id, after, details)
        return replace(case, incident=incident)

    async def undoable(self, case: Case) -> Sequence[Effect]:
        """Done, with an inverse, newest first."""
        return [e for e in reversed(self.effects.values()) if e.state == "done" and e.inverse]

    async def mark_undone(self, case: Case) -> None:
        """Taken back."""
        for step, effect in self.effects.items():
            if effect.state == "done" and effect.inverse:
                self.effects[step] = replace(effect, state="undone")

    async def step(self, name: str, produce: Callable[[], Awaitable[T]], shape: type[T]) -> T:
        """Once; the result goes through JSON, as in the real journal."""
        adapter = TypeAdapter(shape)
        if name not in self.journal:
            made = await produce()
            self._mark(f"step {name}")
            self.journal[name] = adapter.dump_json(made)
        return adapter.validate_json(self.journal[name])

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
        """Intended, allowed, done, settled; probed where the outcome is unknown."""
        known = self.effects.get(step)
        if known is not None and known.state == "done":
            return dict(known.result)
        if known is not None and known.state != "intended":
            raise PermanentError(f"{step} was {known.state} before and is not tried again")
        made = known or Effect(
            self.board.number(), 7, self.remediation_id, step, target, intent, inverse, effect_class, "intended", None,
            self.board.now,
        )  # fmt: skip
        assert made.intent == intent, "a step intends the same thing when it is resumed"
        self.effects[step] = made
        if known is not None:
            found = await probe() if probe is not None else Probe.UNKNOWN
            if found is Probe.UNKNOWN and effect_class is not EffectClass.IDEMPOTENT:
                raise PermanentError("outcome unknown")
            if found is Probe.DONE:
                self.effects[step] = replace(made, state="done", result={"probed": True})
                return {"probed": True}
        if self.kill_switch:
            self.effects[step] = replace(made, state="refused")
            raise PolicyError(f"the kill switch is on: {self.kill_switch}")
        self._mark(f"do {step}")
        try:
            result = await do()
        except SwarmError:
            self.effects[step] = replace(made, state="failed")
            raise
        self._mark(f"settle {step}")
        self.effects[step] = replace(made, state="done", result=dict(result))
        return dict(result)
