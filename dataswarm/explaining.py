"""What would happen because of an observation: who would react, what they would say, what policy would let through.

Agents are really asked: considering writes nothing. Acting is not: a playbook's plan is known only once its check has
looked outside, so what policy says here is what it says of the playbook on the diagnosed asset.
"""

from __future__ import annotations

import fnmatch
import inspect
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from datetime import datetime, timedelta
from typing import Any

from agents import policy
from agents.base import Agent, Scope, Watch
from agents.context import Happening, Remedy
from agents.diagnoses import fingerprint_of, title_of
from agents.playbook import Playbook
from agents.policy import Request, Standing
from agents.runtime.swarm import CLEARANCES
from agents.runtime.window import Window
from agents.verdicts import Diagnose, Verdict
from config.assets import Asset
from config.errors import SwarmError
from config.settings import Settings
from dataswarm.members import Installed
from dataswarm.views import Json, plain, source_of
from memory import clock
from memory.board import controls, incidents, ledger, lineage, standing
from memory.connection.database import Database
from memory.records import Decision, DecisionKind, Event, Observation, Reference

HOUR = timedelta(hours=1)
_GATES = {
    "act": "would be run",
    "propose": "would be proposed to a human",
    "observe": "would only be written down (would have)",
    "refuse": "would not be run",
}


async def explain(database: Database, settings: Settings, found: Installed, observation_id: int) -> Json | None:
    """What the swarm would make of an observation, with nothing done; None where there is no such observation.

    Keys: source, observation, restraints (silences and planned changes over it), reactions (for each installed
    agent: would it react, why or why not, what it would say), diagnoses (standing ones that rest on it, and ones an
    agent would make now; with the remedies and policy's answer, stage by stage).
    """
    async with database.transaction(durable=False) as tx:
        seen = await ledger.observation(tx, observation_id)
    if seen is None:
        return None
    asked = _Question(database, settings, found, await clock.now(database))
    reactions, proposed = await asked.reactions(seen)
    return {
        "source": source_of(settings),
        "observation": plain(seen),
        "restraints": await asked.restraints(seen),
        "reactions": reactions,
        "diagnoses": [*await asked.standing_diagnoses(seen), *[await asked.foreseen(v) for v in proposed]],
    }


def made(mind: type[Agent], settings: Settings) -> Agent:
    """An agent as configured; it is asked, not run."""
    return mind(mind.Options.model_validate(dict(settings.agent(mind.name).options)))


def enabled_playbooks(settings: Settings, found: Installed) -> Mapping[str, Playbook]:
    """The playbooks that may be used here."""
    return {
        name: cls(cls.Options.model_validate(dict(settings.playbook(name).options)))
        for name, cls in found.playbooks.items()
        if settings.playbook(name).enabled
    }


def pipelines_of(mind: type[Agent], settings: Settings, found: Installed) -> frozenset[str]:
    """The configured sources an agent looks after, by what their integrations offer: none is opened."""
    return frozenset(
        name
        for name, spec in settings.sources.items()
        if spec.enabled
        and (kind := found.integrations.get(spec.kind)) is not None
        and any(_follows(kind, protocol) for protocol in mind.senses)
    )


class _Question:
    """One explanation: what is asked of memory, of agents and of policy."""

    def __init__(self, database: Database, settings: Settings, found: Installed, now: datetime) -> None:
        self.database = database
        self.settings = settings
        self.found = found
        self.now = now
        self.playbooks = enabled_playbooks(settings, found)

    def window(self, agent: str) -> Window:
        clearance = CLEARANCES[self.settings.agent(agent).clearance]
        return Window(
            self.database,
            clearance=clearance,
            settings=lambda: self.settings,
            playbooks=lambda: self.playbooks,
            now=self.now,
        )

    async def restraints(self, seen: Observation) -> list[str]:
        """What humans or remedies announced that covers it."""
        async with self.database.transaction(durable=False) as tx:
            muted = [s for s in await controls.silences(tx) if seen.subject.matches(s.pattern)]
            announced = [
                c
                for c in await controls.planned(tx)
                if seen.subject.matches(c.pattern) and fnmatch.fnmatchcase(seen.kind, c.kind)
            ]
        return [
            *(f"silenced by {s.by} until {s.ends_at.isoformat()}: {s.reason or s.pattern}" for s in muted),
            *(f"announced by {c.by} until {c.ends_at.isoformat()}: {c.reason or c.kind}" for c in announced),
        ]

    async def reactions(self, seen: Observation) -> tuple[list[Json], list[Diagnose]]:
        """For each installed agent, and the diagnoses some would make at once."""
        told: list[Json] = []
        proposed: list[Diagnose] = []
        for name, mind in sorted(self.found.agents.items()):
            why_not = await self.why_not(mind, seen)
            reaction: Json = {"agent": name, "reacts": not why_not, "why": why_not or "it watches this", "says": []}
            if not why_not:
                verdicts, problem = await self.ask(name, mind, seen)
                reaction["says"] = [summary(v) for v in verdicts]
                reaction["why"] = problem or reaction["why"]
                proposed += [v for v in verdicts if isinstance(v, Diagnose)]
            told.append(reaction)
        return told, proposed

    async def why_not(self, mind: type[Agent], seen: Observation) -> str:
        """Why an agent would not be woken; empty where it would."""
        if not self.settings.agent(mind.name).enabled:
            return f"it is disabled (agents.{mind.name}.enabled)"
        topic = f"observation.{seen.kind}"
        heard = [w for w in mind.watches if any(fnmatch.fnmatchcase(topic, t) for t in w.topics)]
        if not heard:
            return f"it does not watch {topic}"
        shared = self.settings.memory.shared_importance
        if seen.importance < shared:
            return f"an importance of {seen.importance:g} wakes nobody (from memory.shared_importance = {shared:g} on)"
        reasons = [await self.out_of_scope(mind, watch, seen.subject) for watch in heard]
        return "" if "" in reasons else reasons[0]

    async def out_of_scope(self, mind: type[Agent], watch: Watch, subject: Asset) -> str:
        if not subject.matches(watch.pattern):
            return f"it watches {watch.pattern} alone"
        if watch.scope is Scope.EVERYTHING:
            return ""
        pipelines = pipelines_of(mind, self.settings, self.found)
        async with self.database.transaction(durable=False) as tx:
            below = {asset.source for asset in await lineage.downstream(tx, subject.whole)}
        return "" if below & pipelines else "no pipeline it looks after reads this"

    async def ask(self, name: str, mind: type[Agent], seen: Observation) -> tuple[Sequence[Verdict], str]:
        """What an agent would answer, and why it could not where it could not."""
        agent = made(mind, self.settings)
        pointer = Reference("observation", seen.id)
        event = Event(0, 0, seen.at, f"observation.{seen.kind}", seen.subject, pointer)
        try:
            return await agent.consider([Happening(event, seen)], self.window(name)), ""
        except SwarmError as error:
            return (), f"it watches this, and could not answer: {error.message}"
        except Exception as error:  # noqa: BLE001 - somebody else's agent may raise anything; that is worth knowing
            return (), f"it watches this, and stumbled over it: {type(error).__name__}"

    async def standing_diagnoses(self, seen: Observation) -> list[Json]:
        """Diagnoses that rest on this observation, nothing having superseded them."""
        pointer = Reference("observation", seen.id)
        async with self.database.transaction(durable=False) as tx:
            known = await ledger.decisions(tx, kind=DecisionKind.DIAGNOSIS.value, since=seen.at, limit=500)
            mine = [d for d in known if pointer in d.evidence]
        return [await self.diagnosed(d) for d in mine]

    async def diagnosed(self, diagnosis: Decision) -> Json:
        async with self.database.transaction(durable=False) as tx:
            incident = await incidents.by_fingerprint(tx, fingerprint_of(diagnosis))
        origin = str(diagnosis.payload.get("origin", "rules"))
        return {
            "diagnosis_id": diagnosis.id,
            "title": title_of(diagnosis),
            "cause": diagnosis.cause,
            "subject": str(diagnosis.subject),
            "confidence": diagnosis.confidence,
            "incident_id": incident.id if incident else None,
            "remedies": await self.remedies(
                diagnosis.cause, diagnosis.subject, origin, incident.id if incident else None
            ),
        }

    async def foreseen(self, verdict: Diagnose) -> Json:
        """A diagnosis an agent would make now."""
        origin = str(verdict.payload.get("origin", "rules"))
        return {
            "diagnosis_id": None,
            "title": verdict.title,
            "cause": verdict.cause,
            "subject": str(verdict.subject),
            "confidence": verdict.confidence,
            "incident_id": None,
            "remedies": await self.remedies(verdict.cause, verdict.subject, origin, None),
        }

    async def remedies(self, cause: str, subject: Asset, origin: str, incident_id: int | None) -> list[Json]:
        """Enabled playbooks for a cause, best first, each with policy's answer."""
        hands = [n for n, m in self.found.agents.items() if any(c.kind == "remediate" for c in m.acts)]
        agent = hands[0] if hands else ""
        rows = await self.standing(subject, incident_id)
        known = await self.window(agent).remedies(cause)
        return [self.remedy(agent, card, subject, origin, rows) for card in known]

    def remedy(self, agent: str, card: Remedy, subject: Asset, origin: str, rows: Standing) -> Json:
        playbook = self.playbooks[card.name]
        request = Request(
            agent=agent,
            playbook=card.name,
            subject=subject,
            moves_data=playbook.moves_data,
            effect_class=playbook.effect_class,
            environment=self.settings.runtime.environment,
            origin=origin,
        )
        permit = policy.decide(request, self.settings, rows, self.now)
        return {
            **asdict(card),
            "gate": permit.gate.value,
            "stage": permit.stage,
            "reason": permit.reason,
            "trail": list(permit.trail),
            "would": _GATES[permit.gate.value],
        }

    async def standing(self, subject: Asset, incident_id: int | None) -> Standing:
        """What the rows say right now, as the gate reads them."""
        async with self.database.transaction(durable=False) as tx:
            everywhere, here = await standing.applied_within(tx, HOUR, subject)
            return Standing(
                kill_switch=await controls.kill_switch(tx),
                caps=[(cap.scope, cap.autonomy) for cap in await controls.caps(tx)],
                silenced=any(subject.matches(s.pattern) for s in await controls.silences(tx)),
                remedies_last_hour=everywhere,
                remedies_on_asset_last_hour=here,
                failed_on_incident=0 if incident_id is None else await standing.failed_on(tx, incident_id),
            )


def _follows(kind: type[Any], protocol: type[Any]) -> bool:
    """Has a class what a protocol asks for? Asked of the class, for nothing is opened here."""
    wanted = [n for n, member in vars(protocol).items() if inspect.isfunction(member) and not n.startswith("_")]
    return all(hasattr(kind, name) for name in wanted)


def summary(verdict: Verdict) -> str:
    """A verdict in a line: what it is, and what it is about."""
    told: dict[str, Any] = {}
    for name in ("title", "cause", "playbook", "reason", "key", "subject", "task", "observation"):
        if name in {f.name for f in fields(verdict)}:
            told[name] = getattr(verdict, name)
    task, observation = told.pop("task", None), told.pop("observation", None)
    if task is not None:
        told |= {"task": task.kind, "subject": task.subject}
    if observation is not None:
        told |= {"kind": observation.kind, "subject": observation.subject}
    said = ", ".join(f"{name} {value}" for name, value in told.items() if value)
    return f"{type(verdict).__name__}: {said}"
