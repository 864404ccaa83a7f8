"""A past range of the bus, told again to one agent: what it would say today. JSON values.

Nothing is written while it is told. What it said may be kept afterwards as a rehearsal, apart from what is real, and
be compared with another one or with what was really decided.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from agents.runtime import replaying
from agents.runtime.considering import BATCH
from agents.runtime.replaying import AS_OF_NOW, Answer, Replay
from agents.runtime.swarm import CLEARANCES
from agents.verdicts import Begin, Open, Record, Verdict
from config.assets import Asset
from config.draft import nearest
from config.errors import UsageError
from config.settings import Settings
from dataswarm.explaining import enabled_playbooks, made, pipelines_of, summary
from dataswarm.listings import event
from dataswarm.members import Installed
from dataswarm.views import Json, plain, source_of
from memory.beliefs import knowledge, rehearsals
from memory.beliefs.rehearsals import Comparison, Rehearsed, Said
from memory.board import incidents, remediations
from memory.connection.database import Database, Transaction
from memory.records import Sensitivity


async def replay(
    database: Database,
    settings: Settings,
    found: Installed,
    agent: str,
    *,
    since: datetime,
    until: datetime,
    batch: int = BATCH,
    branch: str = knowledge.MAIN,
    keep_for: str | None = None,
) -> Json:
    """What an agent would say to a range of events.

    Args:
        database: the blackboard.
        settings: what the agent goes by.
        found: what is installed.
        agent: its name.
        since: the beginning, with its time zone.
        until: the end, not itself in the range.
        batch: events told at once.
        branch: whose facts it is shown.
        keep_for: keep what it said as a rehearsal, in this person's name.

    Keys: source, agent, is_enabled, branch, since, until, kept_since (None: no event is kept), read, told, is_cut,
    as_of_now (what was looked at as it is now), answers: each with events, verdicts, consulted, problem; rehearsal
    (its number, None where it was not kept) and left_out (verdicts over confidential evidence, which are not kept).

    Raises:
        UsageError: no agent is called so, there is no such branch, or the range is empty.
        TransientError: the database is away.
    """
    mind = found.agents.get(agent)
    if mind is None:
        meant = nearest(agent, tuple(found.agents))
        known = f"did you mean {meant!r}?" if meant else f"installed are {', '.join(sorted(found.agents))}"
        raise UsageError(f"no agent is called {agent!r}", hint=known)
    told = await replaying.replay(
        database,
        made(mind, settings),
        since=since,
        until=until,
        settings=settings,
        playbooks=enabled_playbooks(settings, found),
        pipelines=pipelines_of(mind, settings, found),
        clearance=CLEARANCES[settings.agent(agent).clearance],
        batch=batch,
        branch=branch,
    )
    number, left_out = await keep(database, told, by=keep_for) if keep_for is not None else (None, 0)
    return {
        "source": source_of(settings),
        "agent": agent,
        "is_enabled": settings.agent(agent).enabled,
        "branch": branch,
        "since": told.since.isoformat(),
        "until": told.until.isoformat(),
        "kept_since": plain(told.kept_since),
        "read": told.read,
        "told": sum(len(answer.events) for answer in told.answers),
        "is_cut": told.is_cut,
        "as_of_now": list(AS_OF_NOW),
        "answers": [_answer(answer) for answer in told.answers],
        "rehearsal": number,
        "left_out": left_out,
    }


def _answer(answer: Answer) -> Json:
    return {
        "events": [event(e) for e in answer.events],
        "verdicts": [_verdict(verdict) for verdict in answer.verdicts],
        "consulted": [str(reference) for reference in answer.consulted],
        "problem": answer.problem,
    }


def _verdict(verdict: Verdict) -> Json:
    shown: Json = plain(verdict)
    return {"verdict": type(verdict).__name__, "summary": summary(verdict), **shown}


async def keep(database: Database, told: Replay, *, by: str) -> tuple[int, int]:
    """Keep a replay as a rehearsal: its number, and how many verdicts over confidential evidence were left out.

    A verdict answers an event where its batch held that one alone. One that names an incident or a remediation is
    kept with the asset of that, as the decision it would have led to.
    """
    said: list[Rehearsed] = []
    left_out = 0
    async with database.transaction() as tx:
        for answer in told.answers:
            event_id = answer.events[0].id if len(answer.events) == 1 else None
            subjects = {v.fingerprint: v.subject for v in answer.verdicts if isinstance(v, Open)}
            for verdict in answer.verdicts:
                if _sensitivity(verdict) is Sensitivity.CONFIDENTIAL:
                    left_out += 1
                    continue
                said.append(
                    Rehearsed(
                        type(verdict).__name__.lower(),
                        await _subject(tx, verdict, subjects),
                        getattr(verdict, "cause", ""),
                        plain(verdict),
                        event_id,
                    )
                )
        kept = await rehearsals.record(tx, told.branch, told.agent, said, since=told.since, until=told.until, by=by)
    return kept.id, left_out


def _sensitivity(verdict: Verdict) -> Sensitivity:
    found = verdict.observation.sensitivity if isinstance(verdict, Record) else Sensitivity.INTERNAL
    return max(found, getattr(verdict, "sensitivity", Sensitivity.INTERNAL))


async def _subject(tx: Transaction, verdict: Verdict, opened: Mapping[str, Asset]) -> Asset:
    """What a verdict is about, also where it only names an incident, a remediation or a task."""
    if isinstance(verdict, Record):
        return verdict.observation.subject
    if isinstance(verdict, Begin):
        return verdict.task.subject
    own = getattr(verdict, "subject", None)
    if isinstance(own, Asset):
        return own
    named = getattr(verdict, "incident", None)
    remediation_id = getattr(verdict, "remediation_id", None)
    if remediation_id is not None:
        remediation = await remediations.get(tx, remediation_id)
        named = remediation.incident_id if remediation is not None else None
    if isinstance(named, str) and named in opened:
        return opened[named]
    incident = None
    if isinstance(named, int):
        incident = await incidents.get(tx, named)
    elif isinstance(named, str):
        incident = await incidents.by_fingerprint(tx, named)
    return incident.subject if incident is not None else Asset("incident", "unknown", str(named or "")[:200])


async def listed(database: Database, *, branch: str | None = None, agent: str | None = None, limit: int) -> list[Json]:
    """Rehearsals, the newest first."""
    async with database.transaction(durable=False) as tx:
        return [plain(one) for one in await rehearsals.list_(tx, branch=branch, agent=agent, limit=limit)]


async def shown(database: Database, number: int) -> Json:
    """One rehearsal, with what was said in it. UsageError where there is none of this number."""
    async with database.transaction(durable=False) as tx:
        kept = await rehearsals.get(tx, number)
        return {**plain(kept), "verdicts": [plain(said) for said in await rehearsals.verdicts(tx, number)]}


async def compared(database: Database, number: int, other: int | None = None) -> Json:
    """A rehearsal beside another one, or beside what was really decided.

    Keys: here, there (numbers; None: what was decided), is_same, both, only_here, only_there (each verdict with its
    subject, cause and how often).

    Raises:
        UsageError: there is none of this number, or the two are not of one agent.
    """
    async with database.transaction(durable=False) as tx:
        found: Comparison = await rehearsals.compare(tx, number, other)
    sides: dict[str, Any] = {name: _counted(getattr(found, name)) for name in ("both", "only_here", "only_there")}
    return {"here": number, "there": other, "is_same": found.is_same, **sides}


def _counted(said: Sequence[Said]) -> list[Json]:
    return [
        {"verdict": verdict, "subject": str(subject), "cause": cause, "times": times}
        for (verdict, subject, cause), times in Counter(said).items()
    ]
