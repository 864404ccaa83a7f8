"""A past range of the bus, told again to one agent: what it would say today. JSON values; nothing is written."""

from __future__ import annotations

from datetime import datetime

from agents.runtime import replaying
from agents.runtime.considering import BATCH
from agents.runtime.replaying import AS_OF_NOW, Answer
from agents.runtime.swarm import CLEARANCES
from agents.verdicts import Verdict
from config.draft import nearest
from config.errors import UsageError
from config.settings import Settings
from dataswarm.explaining import enabled_playbooks, made, pipelines_of, summary
from dataswarm.listings import event
from dataswarm.members import Installed
from dataswarm.views import Json, plain, source_of
from memory.database import Database


async def replay(
    database: Database,
    settings: Settings,
    found: Installed,
    agent: str,
    *,
    since: datetime,
    until: datetime,
    batch: int = BATCH,
) -> Json:
    """What an agent would say to a range of events.

    Keys: source, agent, is_enabled, since, until, kept_since (None: no event is kept), read, told, is_cut, as_of_now
    (what was looked at as it is now), answers: each with events, verdicts, consulted, problem.

    Raises:
        UsageError: no agent is called so, or the range is empty.
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
    )
    return {
        "source": source_of(settings),
        "agent": agent,
        "is_enabled": settings.agent(agent).enabled,
        "since": told.since.isoformat(),
        "until": told.until.isoformat(),
        "kept_since": plain(told.kept_since),
        "read": told.read,
        "told": sum(len(answer.events) for answer in told.answers),
        "is_cut": told.is_cut,
        "as_of_now": list(AS_OF_NOW),
        "answers": [_answer(answer) for answer in told.answers],
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
