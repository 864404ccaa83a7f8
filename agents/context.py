"""What an agent is told: what happened, and a read-only window on the blackboard."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

from config.assets import Asset
from memory.records import (
    JSON,
    Decision,
    Escalation,
    Event,
    Fact,
    Incident,
    Observation,
    PlannedChange,
    Reference,
    Remediation,
)


@dataclass(frozen=True, slots=True)
class Happening:
    """An event with the row it points to (None where retention has dropped it).

    `record` is an Observation, Decision, Incident, Remediation, Approval, Escalation, Task, Learning, or for
    `timer.due` the payload the timer was set with.
    """

    event: Event
    record: Any


@dataclass(frozen=True, slots=True)
class Remedy:
    """A playbook as agents see it when they choose: its name, rank, and how often it worked for the cause."""

    name: str
    rank: int
    successes: int = 0
    tries: int = 0


class Context(Protocol):
    """A small read-only window on the blackboard. Its answers are recorded with the decision as its evidence."""

    @property
    def now(self) -> datetime:
        """The server's time for this batch."""

    async def observations(
        self,
        *,
        kinds: Sequence[str] = ("*",),
        subjects: Sequence[Asset] | None = None,
        since: timedelta | None = None,
    ) -> Sequence[Observation]:
        """Observations, newest first; at most 500. `subjects` covers their columns too."""

    async def decisions(
        self, *, kind: str | None = None, incident_id: int | None = None, since: timedelta | None = None
    ) -> Sequence[Decision]:
        """Decisions that nothing superseded, newest first."""

    async def incident(self, key: int | str) -> Incident | None:
        """By id, or the open one with that fingerprint."""

    async def open_incidents(self) -> Sequence[Incident]:
        """All that are still somebody's business."""

    async def members(self, incident_id: int) -> Sequence[Reference]:
        """What belongs to an incident."""

    async def remediations(self, incident_id: int) -> Sequence[Remediation]:
        """Runs of playbooks on an incident, oldest first."""

    async def escalations(self, incident_id: int) -> Sequence[Escalation]:
        """Hand-overs of an incident to humans, oldest first."""

    async def upstream(self, asset: Asset) -> frozenset[Asset]:
        """Everything the asset is made from, through lineage."""

    async def downstream(self, asset: Asset) -> frozenset[Asset]:
        """Everything made from the asset."""

    async def is_read(self, source: Asset) -> bool:
        """Does lineage tell of anything made from what is in a source, by somebody else than the source itself?"""

    async def parts(self, names: Collection[str] | None = None, *, prefix: str = "") -> Mapping[str, JSON]:
        """Parts of this agent's baseline of the source being sensed: all, those named, or those that begin so."""

    async def part_hashes(self) -> Mapping[str, str]:
        """Hashes of those parts that have a past (`baselines.hash_of`): which of them changed, without reading them."""

    async def columns(self, source: str, tables: Collection[str]) -> Mapping[str, Sequence[str]]:
        """Columns of a source's tables, by path, as whoever watches its structure last knew them; of those known."""

    async def fact(self, subject: Asset, predicate: str) -> Fact | None:
        """What is held to be true now."""

    async def planned_changes(self) -> Sequence[PlannedChange]:
        """Changes announced for now."""

    async def silenced(self, asset: Asset) -> bool:
        """Has a human muted it?"""

    async def success_rate(self, playbook: str, cause: str) -> tuple[int, int]:
        """How often a remedy worked for a cause class: successes, tries."""

    async def remedies(self, cause: str, *, about: Asset | None = None) -> Sequence[Remedy]:
        """Playbooks enabled here that treat a cause class, best first (success rate, then rank).

        `about` is what is to be remedied: what was tried on the same asset counts double.
        """

    async def setting(self, name: str) -> JSON:
        """A policy figure agents go by: `soak_cycles`, `soak_minutes`, `breaker_after`, `demo`."""
