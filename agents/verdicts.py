"""What an agent may answer. The runtime turns each into rows; the agent writes nothing itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from config.assets import Asset
from memory.records import (
    JSON,
    Edge,
    IncidentState,
    NewObservation,
    NewTask,
    Payload,
    Reference,
    Resolution,
    Severity,
)


@dataclass(frozen=True, slots=True)
class Sensed:
    """What a look at a source gave. All of it is written together, the baseline by compare-and-swap.

    `edges` replaces the lineage known of the source (None: nothing new); `facts` are asserted as
    (subject, predicate, object). `parts` are the parts of the baseline that changed (None: gone), so that a large one
    need not be written whole; what the names may begin with says `memory.board.baselines`. `note` tells humans what
    the new revision is about.
    """

    observations: Sequence[NewObservation] = ()
    baseline: JSON = None
    edges: Sequence[Edge] | None = None
    facts: Sequence[tuple[Asset, str, JSON]] = ()
    parts: Mapping[str, JSON | None] = field(default_factory=dict)
    note: str = ""


@dataclass(frozen=True, slots=True)
class Record:
    """Write down something seen while considering or acting."""

    observation: NewObservation


@dataclass(frozen=True, slots=True)
class Assert:
    """Hold something to be true from now on: a fact's new version."""

    subject: Asset
    predicate: str
    object: JSON


@dataclass(frozen=True, slots=True)
class Diagnose:
    """Say what is wrong and why.

    `fingerprint` groups symptoms with one root into one incident; `cause` is a cause class playbooks know;
    `key` makes it said once. `payload` carries what a remedy needs (typed by the cause class).
    """

    subject: Asset
    cause: str
    fingerprint: str
    title: str
    rationale: str
    confidence: float
    severity: Severity = Severity.ERROR
    payload: Payload = field(default_factory=dict)
    evidence: tuple[Reference, ...] = ()
    alternatives: tuple[Payload, ...] = ()
    transcript: tuple[Payload, ...] = ()
    supersedes: int | None = None
    key: str | None = None


@dataclass(frozen=True, slots=True)
class Open:
    """Open an incident, or join the open one with this fingerprint."""

    fingerprint: str
    title: str
    kind: str
    severity: Severity
    subject: Asset
    started_at: datetime
    reason: str
    owner: str = ""
    members: tuple[Reference, ...] = ()
    details: Payload = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Move:
    """Take an incident from one state to another; a race lost is counted and let go. `incident`: id or fingerprint."""

    incident: int | str
    before: IncidentState
    after: IncidentState
    reason: str
    details: Payload | None = None
    first_clean_at: datetime | None = None
    resolution: Resolution | None = None


@dataclass(frozen=True, slots=True)
class Note:
    """Merge into what is kept about an incident, without changing its state."""

    incident: int | str
    details: Payload


@dataclass(frozen=True, slots=True)
class Act:
    """Run a playbook on an incident: becomes a remediation and a task; policy decides when its plan is known."""

    incident: int | str
    diagnosis_id: int
    playbook: str
    subject: Asset
    rationale: str
    alternatives: tuple[Payload, ...] = ()
    evidence: tuple[Reference, ...] = ()


@dataclass(frozen=True, slots=True)
class Resume:
    """Take up a remediation again (a human approved it). `approved_by` names the human."""

    remediation_id: int
    approved_by: str


@dataclass(frozen=True, slots=True)
class Ask:
    """Ask humans whether a proposed remediation may run."""

    remediation_id: int
    question: str


@dataclass(frozen=True, slots=True)
class Escalate:
    """Hand an incident to a human with everything known. The runtime adds the timeline and what was tried."""

    incident: int | str
    reason: str
    packet: Payload
    before: IncidentState | None = None


@dataclass(frozen=True, slots=True)
class Begin:
    """Put a task on the queue (an investigation, say)."""

    task: NewTask


@dataclass(frozen=True, slots=True)
class Wait:
    """Come back later: a timer that returns as `timer.due`, addressed to this agent. One timer a key."""

    key: str
    delay: timedelta
    subject: Asset
    payload: Payload = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Learn:
    """Remember what worked or failed; `signal` is success, failure, pattern or recommendation.

    With `to`, the named agents are told of it by an event `learning.<signal>`, which reaches those that watch it.
    """

    signal: str
    playbook: str
    cause: str
    subject: Asset
    text: str
    circumstances: Payload = field(default_factory=dict)
    to: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Ignore:
    """Nothing to do, on purpose; recorded when `reason` is worth keeping."""

    subject: Asset
    reason: str
    evidence: tuple[Reference, ...] = ()
    key: str | None = None


Verdict = (
    Record | Assert | Diagnose | Open | Move | Note | Act | Resume | Ask | Escalate | Begin | Wait | Learn | Ignore
)
