"""What the blackboard looks like to a reader: plain JSON values, made for CLI, API and console alike.

Everything is read below the clearance `internal`, so what is confidential is not even fetched. Times are ISO texts of
the server's clock, lengths of time are seconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from enum import Enum
from typing import Any
from uuid import UUID

from config.assets import Asset
from config.settings import Settings
from dataswarm.coordinating import coordination
from memory import clock
from memory.board import approvals, controls, escalations, incidents, ledger, remediations
from memory.board.incidents import FailedTask
from memory.connection.database import Database, Transaction
from memory.measures import WINDOWS
from memory.members import presence
from memory.members.presence import Process, Switch
from memory.queue import effects, tasks
from memory.records import (
    Approval,
    Decision,
    DecisionKind,
    Escalation,
    EscalationState,
    Incident,
    Presence,
    Reference,
    Remediation,
    RemediationState,
)

Json = dict[str, Any]
MOST = 200
BRIDGE = "compatibility-view"
TAKING_BACK = "undo"
_HELD = (EscalationState.PENDING, EscalationState.ACKNOWLEDGED)


def source_of(settings: Settings | None) -> str:
    """`demo` or `live`, as every answer says."""
    return "demo" if settings is not None and settings.runtime.demo else "live"


def plain(value: Any) -> Any:  # noqa: PLR0911 - a line for each shape
    """Records as JSON values: what has named fields as mappings, times as ISO text, assets and ids as text."""
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Asset | UUID | Reference):
        return str(value)
    if named := getattr(value, "__dataclass_fields__", None) or getattr(value, "_fields", None):
        return {name: plain(getattr(value, name)) for name in named}
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(inner) for inner in value]
    return value


async def status(database: Database, settings: Settings | None = None) -> Json:
    """How the swarm stands.

    Keys: source, at, agents, processes, tasks, incidents (open), approvals (pending), escalations (unanswered), ratio
    (by window), kill_switch (None or its reason), caps, silences, planned_changes, compatibility_views (in force),
    coordination (what `coordinating.coordination` says of queue, bus and database).
    """
    now = await clock.now(database)
    async with database.transaction(durable=False) as tx:
        found = await incidents.list_(tx, open_only=True, limit=MOST)
        running = await presence.processes(tx)
        applied = await remediations.list_(tx, states=[RemediationState.APPLIED, RemediationState.VERIFIED], limit=MOST)
        last = await presence.last_switches(tx)
        return {
            "source": source_of(settings),
            "at": now.isoformat(),
            "agents": [_agent(agent, now, last.get(agent.agent)) for agent in await presence.all(tx)],
            "processes": _processes(running),
            "tasks": [plain(row) for row in await tasks.depth(tx)],
            "incidents": [_line(incident) for incident in found],
            "approvals": [plain(question) for question in await approvals.pending(tx)],
            "escalations": [
                _handed(e, with_packet=False) for e in await escalations.escalations(tx) if e.state in _HELD
            ],
            "ratio": {name: dict(await incidents.ratio(tx, window)) for name, window in WINDOWS.items()},
            "kill_switch": await controls.kill_switch(tx),
            "caps": [plain(asdict(cap)) for cap in await controls.caps(tx)],
            "silences": [plain(silence) for silence in await controls.silences(tx)],
            "planned_changes": [plain(change) for change in await controls.planned(tx)],
            "compatibility_views": [_bridge(r) for r in applied if r.playbook == BRIDGE],
            "coordination": await coordination(tx, running),
        }


async def incident_list(database: Database, *, everything: bool, limit: int) -> list[Json]:
    """Incidents in a line each, newest first; the open ones, or with `everything` those of the past too."""
    async with database.transaction(durable=False) as tx:
        return [_line(i) for i in await incidents.list_(tx, open_only=not everything, limit=limit)]


async def incident(database: Database, id: int) -> Json | None:  # noqa: A002 - the column's name
    """Everything known about an incident; None where there is none.

    Beside its own fields: timeline, members, diagnoses, decisions (policy's with their trail), remediations (plan,
    preview, undo_hint, effects, what policy said, what would have been done, and why it was not taken back where that
    was asked for in vain), failed_tasks (what failed for good: error, and how to try it again), approvals, escalations
    with packets.
    """
    async with database.transaction(durable=False) as tx:
        found = await incidents.get(tx, id)
        if found is None:
            return None
        decided = sorted(
            await ledger.decisions(tx, incident_id=id, live_only=False, limit=MOST), key=lambda d: (d.at, d.id)
        )
        members = await incidents.members(tx, id)
        remedies = await remediations.of_incident(tx, id)
        known = {d.id for d in decided}
        failed = await incidents.failed_tasks(tx, id)
        diagnoses = [d for d in decided if d.kind is DecisionKind.DIAGNOSIS]
        diagnoses += await _diagnoses(tx, [m for m in members if m.id not in known], remedies, known)
        return {
            **_line(found),
            "fingerprint": found.fingerprint,
            "details": plain(found.details),
            "timeline": [plain(step) for step in await incidents.timeline(tx, id)],
            "members": await _members(tx, members),
            "diagnoses": [_decided(d) for d in sorted(diagnoses, key=lambda d: (d.at, d.id))],
            "decisions": [_decided(d) for d in decided if d.kind is not DecisionKind.DIAGNOSIS],
            "remediations": [await _remedy(tx, r, decided, failed) for r in remedies],
            "failed_tasks": [_dead(task) for task in failed],
            "approvals": [plain(a) for a in await _asked(tx, id)],
            "escalations": [_handed(e, with_packet=True) for e in await escalations.escalations(tx, id)],
        }


async def observation(database: Database, id: int) -> Json | None:  # noqa: A002 - the column's name
    """One observation; None where there is none below the clearance."""
    async with database.transaction(durable=False) as tx:
        found = await ledger.observation(tx, id)
        return None if found is None else plain(found)


def _agent(agent: Presence, now: datetime, last: Switch | None) -> Json:
    """Where it is, how far behind, and, where it is switched off for all replicas, by whom, when and why."""
    age = None if agent.beat_at is None else max(0.0, (now - agent.beat_at).total_seconds())
    is_up = agent.enabled and agent.lease_until is not None and agent.lease_until > now
    return {
        "agent": agent.agent,
        "is_up": is_up,
        "enabled": agent.enabled,
        "switched_off": None if agent.enabled or last is None else plain(last),
        "holder": plain(agent.holder),
        "host": agent.host,
        "process": agent.process,
        "heartbeat_age_seconds": age,
        "lag": agent.lag,
        "capabilities": plain(agent.capabilities),
    }


def _processes(running: Sequence[Process]) -> list[Json]:
    """Replicas; those whose configuration is another than that of the one started last `differ`."""
    newest = max(running, key=lambda p: p.started_at, default=None)
    return [
        {
            **plain(process),
            "differs": newest is not None and process.config_fingerprint != newest.config_fingerprint,
        }
        for process in running
    ]


def _line(found: Incident) -> Json:
    whole: Json = plain(found)
    would = whole["details"].get("would_have")
    for name in ("details", "version", "fingerprint"):
        del whole[name]
    return {
        **whole,
        "is_open": found.state.is_open,
        "acknowledged_by": str(found.details.get("acknowledged_by") or ""),
        "would_have": would or None,
    }


def _decided(decision: Decision) -> Json:
    shown: Json = plain(decision)
    return {**shown, "is_live": decision.superseded_by is None, "origin": decision.payload.get("origin", "rules")}


def _handed(escalation: Escalation, *, with_packet: bool) -> Json:
    shown: Json = plain(escalation)
    return shown if with_packet else {key: value for key, value in shown.items() if key != "packet"}


def _bridge(remedy: Remediation) -> Json:
    return {
        "remediation_id": remedy.id,
        "incident_id": remedy.incident_id,
        "subject": str(remedy.subject),
        "summary": str(remedy.plan.get("summary", "")),
        "since": plain(remedy.applied_at),
    }


async def _diagnoses(
    tx: Transaction, members: Iterable[Reference], remedies: Iterable[Remediation], known: set[int]
) -> list[Decision]:
    """Diagnoses are written before there is an incident: they belong to it as members, or as what a remedy rests on."""
    wanted = {m.id for m in members if m.noun == "decision"}
    wanted |= {int(r.plan["diagnosis_id"]) for r in remedies if "diagnosis_id" in r.plan}
    found = [await ledger.decision(tx, number) for number in sorted(wanted - known)]
    return [d for d in found if d is not None and d.kind is DecisionKind.DIAGNOSIS]


async def _members(tx: Transaction, members: Sequence[Reference]) -> list[Json]:
    """What belongs to it, each with a line that says what it is; what is gone or above the clearance is just named."""
    shown = []
    for member in members:
        line: Json = {"noun": member.noun, "id": member.id, "kind": "", "subject": "", "at": None}
        record: Any = None
        if member.noun == "observation":
            record = await ledger.observation(tx, member.id)
        elif member.noun == "decision":
            record = await ledger.decision(tx, member.id)
        if record is not None:
            line |= {"kind": plain(record.kind), "subject": str(record.subject), "at": plain(record.at)}
        shown.append(line)
    return shown


def _dead(task: FailedTask) -> Json:
    shown: Json = plain(task)
    return {**shown, "hint": f"dataswarm tasks retry {task.id}"}


def _not_taken_back(remedy: Remediation, failed: Sequence[FailedTask]) -> Json | None:
    """The last time it was to be taken back and was not. The task says it: whatever it died of, and nothing is lost."""
    tried = [task for task in failed if (task.kind, task.remediation_id) == (TAKING_BACK, remedy.id)]
    if not tried or remedy.state is RemediationState.UNDONE:
        return None
    last = max(tried, key=lambda task: (task.at, task.id))
    return {"task_id": last.id, "at": plain(last.at), "error": last.error}


async def _remedy(
    tx: Transaction, remedy: Remediation, decided: Sequence[Decision], failed: Sequence[FailedTask]
) -> Json:
    pointer = Reference("remediation", remedy.id)
    said = [d for d in decided if d.kind is DecisionKind.POLICY and pointer in d.evidence]
    shown: Json = plain(remedy)
    return {
        **shown,
        "summary": str(remedy.plan.get("summary", "")),
        "preview": str(remedy.plan.get("preview", "")),
        "undo_hint": str(remedy.plan.get("undo_hint", "")),
        "would_have": plain(remedy.result.get("would_have")),
        "not_taken_back": _not_taken_back(remedy, failed),
        "policy": [
            {"at": plain(d.at), "said": d.rationale, "stage": d.cause, "trail": plain(d.payload.get("trail", []))}
            for d in said
        ],
        "effects": [plain(effect) for effect in await effects.of_remediation(tx, remedy.id)],
    }


async def _asked(tx: Transaction, incident_id: int) -> list[Approval]:
    return [question for question in await approvals.pending(tx) if question.incident_id == incident_id]
