"""The read-only window agents look through, over the real blackboard; it remembers what it answered."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TypedDict, TypeVar

from agents.context import Remedy
from agents.playbook import Playbook
from config.assets import Asset
from config.errors import UsageError
from config.settings import Settings
from memory.beliefs import knowledge
from memory.beliefs.cache import FactCache
from memory.board import baselines, controls, escalations, incidents, ledger, lineage, remediations
from memory.connection.database import Database, Transaction
from memory.records import (
    JSON,
    Decision,
    Escalation,
    Fact,
    Incident,
    Observation,
    PlannedChange,
    Reference,
    Remediation,
    Sensitivity,
)

MOST = 500
Row = TypeVar("Row", Observation, Decision)


class Private(TypedDict):
    """Whose private observations are shown, and from which importance on one is everybody's."""

    reader: str | None
    threshold: float


class Window:
    """Context over memory, for one batch or task of one agent.

    Each answer is read in a short transaction of its own under the agent's clearance; `consulted` collects what was
    read, and the runtime keeps it with the decision as its evidence.

    With `facts`, the process's cache, a fact may be as old as that says; who may read what is confidential goes to
    the database for each. With `agent`, the private observations of others are not shown. `sensing` names the source
    that is looked at; only then there is a baseline to read parts of.
    """

    def __init__(
        self,
        database: Database,
        *,
        clearance: Sensitivity,
        settings: Callable[[], Settings],
        playbooks: Callable[[], Mapping[str, Playbook]],
        now: datetime,
        facts: FactCache | None = None,
        agent: str | None = None,
    ) -> None:
        self._database = database
        self._clearance = clearance
        self._settings = settings
        self._playbooks = playbooks
        self._now = now
        self._agent = agent
        self._facts = facts if clearance < Sensitivity.CONFIDENTIAL else None
        self.consulted: dict[Reference, None] = {}
        self.sensing = ""

    @property
    def now(self) -> datetime:
        """The server's time when the batch began."""
        return self._now

    @asynccontextmanager
    async def _reading(self) -> AsyncIterator[Transaction]:
        async with self._database.transaction(clearance=self._clearance) as tx:
            yield tx

    def _private(self) -> Private:
        return {"reader": self._agent, "threshold": self._settings().memory.shared_importance}

    def _seen(self, noun: str, found: Sequence[Row]) -> Sequence[Row]:
        self._consulted(noun, [row.id for row in found])
        return found

    def _consulted(self, noun: str, ids: Sequence[int]) -> None:
        self.consulted.update(dict.fromkeys(Reference(noun, i) for i in ids))

    async def observations(
        self,
        *,
        kinds: Sequence[str] = ("*",),
        subjects: Sequence[Asset] | None = None,
        since: timedelta | None = None,
    ) -> Sequence[Observation]:
        """Observations, newest first; at most 500."""
        begin = None if since is None else self._now - since
        async with self._reading() as tx:
            found = await ledger.observations(
                tx, kinds=kinds, subjects=subjects, since=begin, limit=MOST, **self._private()
            )
        return self._seen("observation", found)

    async def decisions(
        self, *, kind: str | None = None, incident_id: int | None = None, since: timedelta | None = None
    ) -> Sequence[Decision]:
        """Decisions that nothing superseded, newest first."""
        async with self._reading() as tx:
            found = await ledger.decisions(
                tx,
                kind=kind,
                incident_id=incident_id,
                since=None if since is None else self._now - since,
                limit=MOST,
            )
        return self._seen("decision", found)

    async def incident(self, key: int | str) -> Incident | None:
        """By id, or the open one with that fingerprint."""
        async with self._reading() as tx:
            if isinstance(key, int):
                return await incidents.get(tx, key)
            return await incidents.by_fingerprint(tx, key)

    async def open_incidents(self) -> Sequence[Incident]:
        """All that are still somebody's business."""
        async with self._reading() as tx:
            return await incidents.list_(tx, open_only=True, limit=MOST)

    async def members(self, incident_id: int) -> Sequence[Reference]:
        """What belongs to an incident."""
        async with self._reading() as tx:
            return await incidents.members(tx, incident_id)

    async def remediations(self, incident_id: int) -> Sequence[Remediation]:
        """Runs of playbooks on an incident, oldest first."""
        async with self._reading() as tx:
            return await remediations.of_incident(tx, incident_id)

    async def escalations(self, incident_id: int) -> Sequence[Escalation]:
        """Hand-overs of an incident, oldest first."""
        async with self._reading() as tx:
            return await escalations.escalations(tx, incident_id)

    async def upstream(self, asset: Asset) -> frozenset[Asset]:
        """Everything the asset is made from."""
        async with self._reading() as tx:
            return frozenset(await lineage.upstream(tx, asset))

    async def downstream(self, asset: Asset) -> frozenset[Asset]:
        """Everything made from the asset."""
        async with self._reading() as tx:
            return frozenset(await lineage.downstream(tx, asset))

    async def is_read(self, source: Asset) -> bool:
        """Does anybody make something from what is in the source?"""
        async with self._reading() as tx:
            return await lineage.is_read(tx, source)

    async def parts(self, names: Collection[str] | None = None, *, prefix: str = "") -> Mapping[str, JSON]:
        """Parts of the baseline, in a transaction of their own: should another look replace it, this one's is refused.

        Raises:
            UsageError: nothing is being looked at.
        """
        agent, source = self._sensed()
        if names is not None and not names:
            return {}
        async with self._reading() as tx:
            return await baselines.parts(tx, agent, source, names=names, prefix=prefix)

    async def part_hashes(self) -> Mapping[str, str]:
        """Hashes of the parts that have a past.

        Raises:
            UsageError: nothing is being looked at.
        """
        agent, source = self._sensed()
        async with self._reading() as tx:
            return await baselines.hashes(tx, agent, source)

    def _sensed(self) -> tuple[str, str]:
        if self._agent is None or not self.sensing:
            raise UsageError("a baseline is read while its source is looked at, and only then")
        return self._agent, self.sensing

    async def fact(self, subject: Asset, predicate: str) -> Fact | None:
        """What is held to be true now."""
        if self._facts is not None:
            return await self._facts.fact(subject, predicate, clearance=self._clearance)
        async with self._reading() as tx:
            return await knowledge.fact(tx, subject, predicate)

    async def planned_changes(self) -> Sequence[PlannedChange]:
        """Changes announced for now."""
        async with self._reading() as tx:
            return await controls.planned(tx)

    async def silenced(self, asset: Asset) -> bool:
        """Has a human muted it?"""
        async with self._reading() as tx:
            return any(asset.matches(s.pattern) for s in await controls.silences(tx))

    async def success_rate(self, playbook: str, cause: str) -> tuple[int, int]:
        """How often a remedy worked for a cause class."""
        async with self._reading() as tx:
            return await knowledge.success_rate(tx, playbook, cause)

    async def remedies(self, cause: str) -> Sequence[Remedy]:
        """Enabled playbooks for a cause, best first.

        The order is by the rule of succession (successes + 1) / (tries + 2), so that one lucky run does not beat a
        long record; the declared rank decides among equals.
        """
        cards = [Remedy(p.name, p.rank) for p in self._playbooks().values() if cause in p.causes]
        async with self._reading() as tx:
            known = [(c, await knowledge.success_rate(tx, c.name, cause)) for c in cards]
        rated = [replace(card, successes=won, tries=tries) for card, (won, tries) in known]
        return sorted(rated, key=lambda c: (-(c.successes + 1) / (c.tries + 2), c.rank, c.name))

    async def setting(self, name: str) -> JSON:
        """A policy figure agents go by."""
        settings = self._settings()
        figures: dict[str, JSON] = {
            "soak_cycles": settings.policy.soak_cycles,
            "soak_minutes": settings.policy.soak_minutes,
            "breaker_after": settings.policy.budgets.breaker_after,
            "demo": settings.runtime.demo,
            "environment": settings.runtime.environment,
        }
        return figures[name]
