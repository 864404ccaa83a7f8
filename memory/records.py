"""The nouns of the blackboard; which states may follow which stands in `transitions.py`.

`New…` types are what a caller hands in; the others are what memory hands back. All are immutable. Payloads are
JSON: str, int, float, bool, None, lists and string-keyed dicts, nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum, StrEnum
from typing import Any, NamedTuple, TypeAlias
from uuid import UUID

from config.assets import Asset

JSON: TypeAlias = Any
Payload: TypeAlias = Mapping[str, JSON]


class Severity(StrEnum):
    """How bad an observation or incident is; `rank` orders them."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        """0 (info) to 3 (critical)."""
        return list(type(self)).index(self)


class Sensitivity(IntEnum):
    """Who may read an item: an agent reads what is at or below its clearance."""

    PUBLIC = 0
    INTERNAL = 1
    CONFIDENTIAL = 2


@dataclass(frozen=True, slots=True)
class Reference:
    """A pointer to a row that serves as evidence: its noun (`observation`, `decision`, `task`, …) and id."""

    noun: str
    id: int

    def __str__(self) -> str:
        return f"{self.noun}:{self.id}"


@dataclass(frozen=True, slots=True)
class NewObservation:
    """What an agent saw, before it is recorded.

    `key` makes it recorded once: the same key from the same agent is the same finding. `importance` is 0 to 1;
    a low one stays out of what wakes others.
    """

    kind: str
    subject: Asset
    severity: Severity = Severity.INFO
    payload: Payload = field(default_factory=dict)
    importance: float = 0.5
    sensitivity: Sensitivity = Sensitivity.INTERNAL
    evidence: tuple[Reference, ...] = ()
    key: str | None = None


@dataclass(frozen=True, slots=True)
class Observation:
    """An immutable fact an agent saw."""

    id: int
    at: datetime
    agent: str
    kind: str
    subject: Asset
    severity: Severity
    importance: float
    sensitivity: Sensitivity
    payload: Payload
    evidence: tuple[Reference, ...]
    content_hash: str


class DecisionKind(StrEnum):
    """What was decided."""

    DIAGNOSIS = "diagnosis"
    REMEDY = "remedy"
    ASK = "ask"
    ESCALATION = "escalation"
    WAIT = "wait"
    IGNORE = "ignore"
    POLICY = "policy"
    RESOLUTION = "resolution"


@dataclass(frozen=True, slots=True)
class NewDecision:
    """A choice, before it is recorded. `cause` is the cause class of a diagnosis; `alternatives` what lost."""

    kind: DecisionKind
    subject: Asset
    rationale: str
    cause: str = ""
    confidence: float = 1.0
    payload: Payload = field(default_factory=dict)
    evidence: tuple[Reference, ...] = ()
    alternatives: tuple[Payload, ...] = ()
    transcript: tuple[Payload, ...] = ()
    incident_id: int | None = None
    supersedes: int | None = None
    sensitivity: Sensitivity = Sensitivity.INTERNAL
    key: str | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """A recorded choice with its reasons."""

    id: int
    at: datetime
    agent: str
    kind: DecisionKind
    subject: Asset
    rationale: str
    cause: str
    confidence: float
    payload: Payload
    evidence: tuple[Reference, ...]
    alternatives: tuple[Payload, ...]
    transcript: tuple[Payload, ...]
    incident_id: int | None
    supersedes: int | None
    superseded_by: int | None
    sensitivity: Sensitivity


@dataclass(frozen=True, slots=True)
class Event:
    """A pointer on the bus: something was recorded, answered, finished, due. It names the row and has no body.

    Topics: `observation.<kind>`, `decision.<kind>`, `task.<state>`, `timer.due`, `approval.<state>`,
    `incident.<state>`, `remediation.<state>`, `escalation.<state>`.
    """

    id: int
    xid: int
    at: datetime
    topic: str
    subject: Asset
    reference: Reference
    agent: str = ""  # addressed to this agent alone; empty: to whoever watches


class TaskState(StrEnum):
    """Where a task is. `ready` and `leased` live in the claim's table; what cannot run now is elsewhere."""

    READY = "ready"
    LEASED = "leased"
    SCHEDULED = "scheduled"
    PARKED = "parked"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class NewTask:
    """A unit of work for an agent.

    Attributes:
        agent: whose work it is; any replica that runs this agent may claim it.
        kind: what to do: `sense`, `act`, or a kind of the agent's own.
        subject: what it is about; at most one running task per `exclusive` subject.
        key: at most one living task per key; `key_outlives` keeps it for ever (a slot, say).
        delay_seconds: run no sooner than this from now, in seconds of the server's clock.
        deadline_seconds: a running attempt is cancelled after this long. `max_attempts` of None: as its kind says.
    """

    agent: str
    kind: str
    subject: Asset
    payload: Payload = field(default_factory=dict)
    priority: int = 0
    key: str | None = None
    key_outlives: bool = False
    exclusive: bool = False
    delay_seconds: float = 0.0
    max_attempts: int | None = None
    deadline_seconds: float = 900.0
    incident_id: int | None = None


class Task(NamedTuple):
    """A unit of work as claimed or listed. `token` is set while it is leased by the reader.

    A tuple, for thousands are made a second, and a frozen dataclass takes six times as long to make.
    """

    id: int
    agent: str
    kind: str
    subject: Asset
    payload: Payload
    priority: int
    state: TaskState
    attempt: int
    max_attempts: int
    deadline_seconds: float
    created_at: datetime
    key: str | None = None
    token: UUID | None = None
    worker: UUID | None = None
    lease_until: datetime | None = None
    incident_id: int | None = None
    result: JSON = None
    error: str = ""


class EffectClass(StrEnum):
    """How an outside change can be taken back or repeated."""

    INVERTIBLE = "invertible"
    IDEMPOTENT = "idempotent"
    NOT_INVERTIBLE = "not_invertible"


@dataclass(frozen=True, slots=True)
class Effect:
    """One change outside: what was intended, how to undo it, what came of it.

    `state`: intended | done | undone | failed | refused.
    """

    id: int
    task_id: int
    remediation_id: int | None
    step: str
    target: Asset
    intent: Payload
    inverse: Payload
    effect_class: EffectClass
    state: str
    result: JSON
    at: datetime


class IncidentState(StrEnum):
    """The life of an incident."""

    OPEN = "open"
    INVESTIGATING = "investigating"
    AWAITING_APPROVAL = "awaiting_approval"
    MITIGATING = "mitigating"
    VERIFYING = "verifying"
    RESOLVED = "resolved"
    ESCALATED = "escalated"
    CLOSED = "closed"

    @property
    def is_open(self) -> bool:
        """Is it still somebody's business?"""
        return self not in (IncidentState.RESOLVED, IncidentState.CLOSED)


class Resolution(StrEnum):
    """How an incident ended. `auto`: remedied by an agent, no human answer, verified, clean through the soak."""

    AUTO = "auto"
    HUMAN = "human"
    SELF_HEALED = "self_healed"
    FALSE_POSITIVE = "false_positive"
    DUPLICATE = "duplicate"


@dataclass(frozen=True, slots=True)
class Incident:
    """Observations with one root. `details` holds what the responder keeps about it (soak count, tried playbooks)."""

    id: int
    fingerprint: str
    title: str
    kind: str
    severity: Severity
    state: IncidentState
    subject: Asset
    owner: str
    opened_at: datetime
    started_at: datetime
    first_clean_at: datetime | None
    ended_at: datetime | None
    resolution: Resolution | None
    details: Payload
    version: int


@dataclass(frozen=True, slots=True)
class Transition:
    """One change of an incident's state; append-only, and the incident's timeline."""

    at: datetime
    incident_id: int
    before: IncidentState | None
    after: IncidentState
    by: str
    reason: str


class RemediationState(StrEnum):
    """The life of one run of a playbook."""

    PROPOSED = "proposed"
    APPROVED = "approved"
    APPLIED = "applied"
    VERIFIED = "verified"
    UNDONE = "undone"
    FAILED = "failed"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Remediation:
    """One run of a playbook on an incident.

    `plan` is what the playbook's check settled on (diff, dry run, blast radius); `inverse` how to take it back.
    """

    id: int
    incident_id: int
    decision_id: int
    playbook: str
    state: RemediationState
    subject: Asset
    plan: Payload
    inverse: Payload
    result: Payload
    at: datetime
    applied_at: datetime | None
    ended_at: datetime | None


class ApprovalState(StrEnum):
    """A human's answer to a proposal."""

    PENDING = "pending"
    APPROVED = "approved"
    DENIED = "denied"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class Approval:
    """A question to a human: may this remediation run?"""

    id: int
    remediation_id: int
    incident_id: int
    state: ApprovalState
    question: str
    asked_at: datetime
    expires_at: datetime
    answered_by: str
    answered_at: datetime | None


class EscalationState(StrEnum):
    """What became of handing an incident to a human."""

    PENDING = "pending"
    ACKNOWLEDGED = "acknowledged"
    ANSWERED = "answered"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class Escalation:
    """An incident handed to a human with everything known (`packet`)."""

    id: int
    incident_id: int
    state: EscalationState
    reason: str
    packet: Payload
    at: datetime
    answered_by: str


@dataclass(frozen=True, slots=True)
class Fact:
    """One version of what is held to be true: subject, predicate, object; `reason` says why it was changed."""

    subject: Asset
    predicate: str
    object: JSON
    version: int
    agent: str
    confidence: float
    sensitivity: Sensitivity
    source: str
    valid_from: datetime
    retracted: bool = False
    evidence: tuple[Reference, ...] = ()
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Learning:
    """What worked or failed: `signal` is success | failure | pattern | recommendation."""

    id: int
    at: datetime
    agent: str
    signal: str
    playbook: str
    cause: str
    subject: Asset
    text: str
    circumstances: Payload


@dataclass(frozen=True, slots=True)
class PlannedChange:
    """A change announced beforehand, by a human or by a remedy, that drift and health close as explained.

    `kind` is a pattern over observation kinds, `pattern` a pattern over asset references.
    """

    id: int
    pattern: str
    kind: str
    by: str
    reason: str
    starts_at: datetime
    ends_at: datetime
    remediation_id: int | None = None


@dataclass(frozen=True, slots=True)
class Silence:
    """An asset muted by a human until a time."""

    id: int
    pattern: str
    by: str
    reason: str
    ends_at: datetime


@dataclass(frozen=True, slots=True)
class Edge:
    """Lineage: `downstream` is made from `upstream`. Columns are parts of the assets."""

    upstream: Asset
    downstream: Asset
    kind: str = "table"


@dataclass(frozen=True, slots=True)
class Baseline:
    """What an agent knew of a source after its last look; replaced by compare-and-swap on `version`."""

    agent: str
    source: str
    version: int
    value: JSON


@dataclass(frozen=True, slots=True)
class Presence:
    """One agent's lease and health as all replicas see it."""

    agent: str
    holder: UUID | None
    host: str
    process: str
    lease_until: datetime | None
    beat_at: datetime | None
    lag: int
    enabled: bool
    capabilities: Sequence[Payload] = ()
