"""What is told of a run of the demo: read from the blackboard, shown by the screen, written as JSON at the end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from dataswarm.demo.cycle import CycleReport
from dataswarm.demo.faults.catalogue import Fault
from memory import clock
from memory.board import escalations, incidents, ledger, remediations
from memory.connection.database import Database
from memory.members import presence
from memory.queue import tasks
from memory.records import Decision, Escalation, Incident, Observation, Presence, Remediation, Transition

CHANGES = ("schema.column_*",)
RAW = "raw."


@dataclass(frozen=True, slots=True)
class Seen:
    """The blackboard at one moment, by the server's clock.

    `incident` is the one the story is about: the first opened after the fault. `noted` are changes of raw columns.
    """

    at: datetime | None = None
    agents: Sequence[Presence] = ()
    depth: Sequence[Mapping[str, Any]] = ()
    ratio: Mapping[str, Any] = field(default_factory=dict)
    incidents: Sequence[Incident] = ()
    timeline: Sequence[Transition] = ()
    decisions: Sequence[Decision] = ()
    remediations: Sequence[Remediation] = ()
    escalations: Sequence[Escalation] = ()
    noted: Sequence[Observation] = ()

    @property
    def incident(self) -> Incident | None:
        """The first incident; None while there is none."""
        return min(self.incidents, key=lambda i: i.id, default=None)


async def look(database: Database) -> Seen:
    """Read it once, in one transaction."""
    at = await clock.now(database)
    async with database.transaction(durable=False) as tx:
        found = await incidents.list_(tx, open_only=False, limit=20)
        first = min(found, key=lambda i: i.id, default=None)
        return Seen(
            at=at,
            agents=await presence.all(tx),
            depth=await tasks.depth(tx),
            ratio=dict(await incidents.ratio(tx, None)),
            incidents=found,
            timeline=[] if first is None else await incidents.timeline(tx, first.id),
            decisions=await ledger.decisions(tx, limit=50),
            remediations=[] if first is None else await remediations.of_incident(tx, first.id),
            escalations=[] if first is None else await escalations.escalations(tx, first.id),
            # What the models are built into comes and goes with every build; the fault is in what was loaded.
            noted=[o for o in await ledger.observations(tx, kinds=CHANGES) if o.subject.path.startswith(RAW)],
        )


@dataclass(slots=True)
class Story:
    """A run of the demo as it goes on.

    `config` is the swarm's file; `is_live`: the swarm still runs now; `is_kept`: its world outlives the run.
    """

    fault: Fault
    seed: int
    way: str
    is_kept: bool = False
    config: Path | None = None
    address: str = ""
    phase: str = "getting ready"
    told: list[tuple[float, str]] = field(default_factory=list)  # seconds since the start, sentence
    seen: Seen = field(default_factory=Seen)
    injected: Mapping[str, Any] = field(default_factory=dict)
    broken_at: datetime | None = None
    failed_at: datetime | None = None
    cycles: list[CycleReport] = field(default_factory=list)
    grade: Mapping[str, Any] = field(default_factory=dict)
    problem: str = ""
    is_live: bool = False
    is_shown: bool = False  # was the proof printed already?

    @property
    def is_escalated(self) -> bool:
        """Was the incident handed to a human?"""
        return bool(self.seen.escalations)

    @property
    def is_right(self) -> bool:
        """Did it end as this fault must, and do the marts agree with the judge?"""
        if self.problem or not self.grade.get("is_held"):
            return False
        incident = self.seen.incident
        if self.fault.ending == "none":
            return incident is None and bool(self.seen.noted)
        if self.fault.ending == "escalate":
            return self.is_escalated and not any(r.applied_at for r in self.seen.remediations)
        return incident is not None and incident.resolution is not None and incident.resolution.value == "auto"

    def seconds_to(self, moment: datetime | None) -> float | None:
        """Seconds from the fault to a moment; None where either is missing."""
        if moment is None or self.broken_at is None:
            return None
        return round((moment - self.broken_at).total_seconds(), 2)

    def as_json(self) -> dict[str, Any]:
        """What `--json` writes."""
        incident = self.seen.incident
        diagnoses = [d for d in self.seen.decisions if d.kind.value == "diagnosis"]
        return {
            "source": "demo",
            "fault": self.fault.name,
            "way": self.way,
            "seed": self.seed,
            "expected": self.fault.ending,
            "injected": dict(self.injected),
            "incident": None
            if incident is None
            else {
                "id": incident.id,
                "title": incident.title,
                "state": incident.state.value,
                "resolution": incident.resolution.value if incident.resolution else None,
            },
            "incidents": len(self.seen.incidents),
            "noted": [{"kind": o.kind, "subject": str(o.subject)} for o in self.seen.noted],
            "diagnosis": None
            if not diagnoses
            else {
                "cause": diagnoses[0].cause,
                "subject": str(diagnoses[0].subject),
                "confidence": diagnoses[0].confidence,
                "rationale": diagnoses[0].rationale,
            },
            "remedies": [
                {"id": r.id, "playbook": r.playbook, "state": r.state.value, "summary": r.plan.get("summary", "")}
                for r in self.seen.remediations
            ],
            "ending": self.ending,
            "seconds_to_detect": self.seconds_to(incident.opened_at if incident else None),
            "seconds_to_resolve": self.seconds_to(incident.first_clean_at if incident else None),
            "comparison": dict(self.grade),
            "ratio": self.seen.ratio.get("ratio"),
            "right": self.is_right,
            "problem": self.problem,
        }

    @property
    def ending(self) -> str:
        """`verified`, `escalated`, `quiet` (no incident) or `unfinished`."""
        incident = self.seen.incident
        if incident is None:
            return "quiet"
        if incident.resolution is not None:
            return "verified"
        return "escalated" if self.is_escalated else "unfinished"
