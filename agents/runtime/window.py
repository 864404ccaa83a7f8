"""The read-only window agents look through, over the real blackboard; it remembers what it answered."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TypedDict, TypeVar

from agents import column_edges
from agents.context import Remedy
from agents.playbook import Playbook
from config.assets import Asset
from config.errors import UsageError
from config.settings import Settings
from memory.access import AccessLog
from memory.beliefs import knowledge, learnings
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
NAMED = 3  # subjects a line of the access log names
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
    that is looked at; only then there is a baseline to read parts of. With `accesses`, what the agent was shown is
    noted there, and what it asked for: rows and facts; lineage, silences and figures of policy are nobody's.
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
        accesses: AccessLog | None = None,
    ) -> None:
        self._accesses = accesses if agent is not None else None
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

    def _seen(self, noun: str, found: Sequence[Row], asked: str = "") -> Sequence[Row]:
        ids = [row.id for row in found]
        self._consulted(noun, ids)
        self._noted(noun, ids, asked)
        return found

    def _noted(self, noun: str, ids: Iterable[int], asked: str = "") -> None:
        if self._accesses is not None:
            self._accesses.read(self._agent or "", noun, ids, asked)

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
        return self._seen("observation", found, f"observations {' '.join(kinds)}{_about(subjects)}")

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
        about = f" of incident {incident_id}" if incident_id is not None else ""
        return self._seen("decision", found, f"decisions {kind or '*'}{about}")

    async def incident(self, key: int | str) -> Incident | None:
        """By id, or the open one with that fingerprint."""
        async with self._reading() as tx:
            if isinstance(key, int):
                found = await incidents.get(tx, key)
            else:
                found = await incidents.by_fingerprint(tx, key)
        if found is not None:
            self._noted("incident", [found.id])
        return found

    async def open_incidents(self) -> Sequence[Incident]:
        """All that are still somebody's business."""
        async with self._reading() as tx:
            found = await incidents.list_(tx, open_only=True, limit=MOST)
        self._noted("incident", [incident.id for incident in found], "open incidents")
        return found

    async def members(self, incident_id: int) -> Sequence[Reference]:
        """What belongs to an incident."""
        async with self._reading() as tx:
            return await incidents.members(tx, incident_id)

    async def remediations(self, incident_id: int) -> Sequence[Remediation]:
        """Runs of playbooks on an incident, oldest first."""
        async with self._reading() as tx:
            found = await remediations.of_incident(tx, incident_id)
        self._noted("remediation", [remedy.id for remedy in found], f"remediations of incident {incident_id}")
        return found

    async def escalations(self, incident_id: int) -> Sequence[Escalation]:
        """Hand-overs of an incident, oldest first."""
        async with self._reading() as tx:
            found = await escalations.escalations(tx, incident_id)
        self._noted("escalation", [escalation.id for escalation in found], f"escalations of incident {incident_id}")
        return found

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

    async def columns(self, source: str, tables: Collection[str]) -> Mapping[str, Sequence[str]]:
        """Columns of a source's tables, as the structure's watcher last knew them."""
        names = column_edges.parts_of(tables)
        async with self._reading() as tx:
            parts = await baselines.parts(tx, column_edges.WATCHER, source, names=names) if names else {}
        return column_edges.columns_in(parts)

    def _sensed(self) -> tuple[str, str]:
        if self._agent is None or not self.sensing:
            raise UsageError("a baseline is read while its source is looked at, and only then")
        return self._agent, self.sensing

    async def fact(self, subject: Asset, predicate: str) -> Fact | None:
        """What is held to be true now."""
        if self._facts is not None:
            found = await self._facts.fact(subject, predicate, clearance=self._clearance)
        else:
            async with self._reading() as tx:
                found = await knowledge.fact(tx, subject, predicate)
        if found is not None and self._accesses is not None:
            self._accesses.believed(self._agent or "", [found])
        return found

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

    async def remedies(self, cause: str, *, about: Asset | None = None) -> Sequence[Remedy]:
        """Enabled playbooks for a cause, best first.

        The order is by the rule of succession (successes + 1) / (tries + 2), so that one lucky run does not beat a
        long record; what was tried on the same asset tells as much as twice elsewhere. The declared rank decides among
        equals.
        """
        cards = [Remedy(p.name, p.rank) for p in self._playbooks().values() if cause in p.causes]
        async with self._reading() as tx:
            rates = await learnings.rates(tx, cause, playbooks=[card.name for card in cards], subject=about)
        unknown = learnings.Rate("", 0, 0, 0, 0)
        rated = [(card, rates.get(card.name, unknown)) for card in cards]
        ordered = sorted(rated, key=lambda pair: (-pair[1].estimate, pair[0].rank, pair[0].name))
        return [replace(card, successes=rate.successes, tries=rate.tries) for card, rate in ordered]

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


def _about(subjects: Sequence[Asset] | None) -> str:
    """A few of the assets that were asked about, and how many more."""
    if subjects is None:
        return ""
    more = f" and {len(subjects) - NAMED} more" if len(subjects) > NAMED else ""
    return f" about {', '.join(map(str, subjects[:NAMED]))}{more}"
