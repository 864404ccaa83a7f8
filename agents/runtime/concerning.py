"""Which events are for an agent: addressed to it, or watched and in scope."""

from __future__ import annotations

import fnmatch
from collections.abc import Collection

from agents.base import Agent, Scope
from config.assets import Asset
from memory.board import lineage
from memory.connection.database import Transaction
from memory.records import Event

TIMER = "timer.due"


def heard(agent: Agent) -> list[str]:
    """The topics (shell patterns) an agent is read for: what it watches, and its own timers."""
    return sorted({topic for watch in agent.watches for topic in watch.topics} | {TIMER})


async def concerns(tx: Transaction, agent: Agent, event: Event, pipelines: Collection[str]) -> bool:
    """Is the event for this agent?

    Args:
        tx: to ask lineage.
        agent: whose watches are looked at.
        event: as read from the bus.
        pipelines: names of the sources the agent looks after here; upstream scope means upstream of them.
    """
    if event.agent and event.agent != agent.name:
        return False
    if event.agent and event.topic == TIMER:
        return True
    watched = [w for w in agent.watches if any(fnmatch.fnmatchcase(event.topic, topic) for topic in w.topics)]
    for watch in watched:
        if not event.subject.matches(watch.pattern):
            continue
        if watch.scope is Scope.EVERYTHING or await _is_upstream(tx, event.subject, pipelines):
            return True
    return False


async def _is_upstream(tx: Transaction, subject: Asset, pipelines: Collection[str]) -> bool:
    """Does one of the pipelines read it, directly or through others?"""
    return any(below.source in pipelines for below in await lineage.downstream(tx, subject.whole))
