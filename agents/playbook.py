"""What a remedy is, and what a running task has at hand.

A playbook's check, apply, verify and undo stand side by side. Whatever changes the outside goes through
`Bench.effect`: the intent with its inverse is committed first, and policy is asked again right before.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, ClassVar, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict

from agents.context import Context
from config.assets import Asset
from integrations.base import Integration
from memory.records import (
    Decision,
    Effect,
    EffectClass,
    Incident,
    IncidentState,
    Payload,
    Remediation,
    RemediationState,
    Task,
)

T = TypeVar("T")


class NoOptions(BaseModel):
    """For what has nothing to tune."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Probe(StrEnum):
    """What became of an effect whose outcome is unknown after a crash."""

    DONE = "done"
    NOT_DONE = "not_done"
    UNKNOWN = "unknown"


class Gate(StrEnum):
    """What policy lets a remedy do, now that its plan is known."""

    ACT = "act"
    PROPOSE = "propose"  # ask a human
    OBSERVE = "observe"  # record what would have been done
    REFUSE = "refuse"  # not even with approval


@dataclass(frozen=True, slots=True)
class Permit:
    """The gate's answer, the stage that decided it, and why. `trail` is what every stage said."""

    gate: Gate
    stage: str
    reason: str
    trail: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Proposal:
    """A model's typed proposal. It is an input to rules and policy, never an instruction."""

    cause: str
    subject: str
    confidence: float
    rationale: str
    payload: Payload
    transcript: tuple[Payload, ...] = ()


class Reasoner(Protocol):
    """One small door to a model. It may read and propose; it never writes."""

    async def propose(self, question: str, evidence: Payload, causes: Mapping[str, str]) -> Proposal | None:
        """A typed diagnosis, or None where the model abstains, fails, or runs out of budget."""


@dataclass(frozen=True, slots=True)
class Case:
    """What a playbook works on: the incident, the diagnosis it rests on, the remediation it is."""

    incident: Incident
    diagnosis: Decision
    remediation: Remediation


@dataclass(frozen=True, slots=True)
class BlastRadius:
    """What a remedy touches: assets, rows moved, their largest share of a table (0 to 1)."""

    assets: tuple[str, ...]
    rows: int = 0
    share: float = 0.0


@dataclass(frozen=True, slots=True)
class Expected:
    """A change a remedy will cause, so that the swarm knows its own hand: patterns over assets and kinds."""

    pattern: str
    kind: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What a check settled on: enough to apply, to show a human, and to take back.

    Attributes:
        summary: one sentence for humans.
        details: JSON the playbook's own steps need.
        preview: a diff, SQL, or list a human can judge.
        blast: what it touches.
        expects: changes it will cause, registered before it is applied.
        gone: rows that may be missing downstream afterwards, by asset: counts named by the evidence.
        undo_hint: how a human takes it back by hand.
    """

    summary: str
    details: Payload
    preview: str
    blast: BlastRadius
    expects: tuple[Expected, ...] = ()
    gone: Mapping[str, int] = field(default_factory=dict)
    undo_hint: str = ""


@dataclass(frozen=True, slots=True)
class Unfit:
    """The remedy does not fit this case after all, and why."""

    reason: str


@dataclass(frozen=True, slots=True)
class Verification:
    """What was measured after applying. `signal` are the failing things taken again: name → clean?"""

    clean: bool
    measured: Payload
    reason: str = ""


class Bench(Protocol):
    """What a running task has at hand. Steps are journaled; effects are intended before they are done."""

    @property
    def context(self) -> Context:
        """The read-only window on the blackboard."""

    @property
    def sources(self) -> Mapping[str, Integration]:
        """The open integrations by configured name: warehouses, orchestrators, repositories."""

    @property
    def task(self) -> Task:
        """The task being performed."""

    @property
    def reasoner(self) -> Reasoner | None:
        """The door to a model; None where none is configured."""

    async def case(self, remediation_id: int) -> Case:
        """What a remediation works on, read now."""

    def playbook(self, name: str) -> Playbook | None:
        """A playbook enabled here."""

    async def gate(self, case: Case, plan: Plan) -> Permit:
        """Ask policy, now that the plan is known; the answer is recorded as a decision."""

    async def announce(self, case: Case, plan: Plan) -> None:
        """Register the changes the plan expects, so that nobody takes them for drift."""

    async def advance(
        self,
        case: Case,
        after: RemediationState,
        *,
        plan: Plan | None = None,
        result: Payload | None = None,
    ) -> Case:
        """Take the remediation to its next state now (fenced by the task's lease); the case as it then is."""

    async def move(self, case: Case, after: IncidentState, reason: str, details: Payload | None = None) -> Case:
        """Take the incident to another state now, from the state the case holds; the case as it then is."""

    async def undoable(self, case: Case) -> Sequence[Effect]:
        """The effects of this remediation that were done and not undone, newest first."""

    async def mark_undone(self, case: Case) -> None:
        """Record that they have been taken back."""

    async def step(self, name: str, produce: Callable[[], Awaitable[T]], shape: type[T]) -> T:
        """Run once, remember the result; after a crash the remembered one is returned."""

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
        """Change something outside, once.

        The intent with its inverse is committed first; the kill switch, the lease and the permit are read right
        before `do`. On resume an unknown outcome is probed; without a probe an idempotent effect is repeated and any
        other raises PermanentError. Raises PolicyError where something has since said no.
        """


class Playbook(ABC):
    """A remedy: does it apply, check, apply, verify, undo. Side by side, so that none is forgotten.

    Attributes:
        name: dashed and unique; the name in the configuration.
        causes: cause classes it treats, best first.
        rank: lower is tried first where success rates do not decide.
        moves_data: does it move rows? Then it is propose-only unless the owner opts in per asset.
    """

    name: ClassVar[str]
    causes: ClassVar[tuple[str, ...]]
    rank: ClassVar[int] = 50
    moves_data: ClassVar[bool] = False
    effect_class: ClassVar[EffectClass] = EffectClass.INVERTIBLE
    Options: ClassVar[type[BaseModel]] = NoOptions

    def __init__(self, options: BaseModel | None = None) -> None:
        self.options: Any = options if options is not None else self.Options()

    @abstractmethod
    async def check(self, case: Case, bench: Bench) -> Plan | Unfit:
        """Read-only: does it fit, what exactly would be done, what would it touch."""

    @abstractmethod
    async def apply(self, case: Case, plan: Plan, bench: Bench) -> Payload:
        """Do it, every outside change through `bench.effect`. Returns what a human should know."""

    @abstractmethod
    async def verify(self, case: Case, plan: Plan, applied: Payload, bench: Bench) -> Verification:
        """Take the failing signal again. The caller adds the invariants of the last good profile."""

    @abstractmethod
    async def undo(self, case: Case, plan: Plan, bench: Bench) -> None:
        """Take it back, through `bench.effect` with the effects' inverses. Idempotent."""
