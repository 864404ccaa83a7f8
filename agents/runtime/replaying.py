"""A past range of the bus told to one agent again, to see what it would say: nothing is written, nothing is done.

The agent is given the events it would have been given, in the order of their publishing, in batches as its loop makes
them. What it looks at is the blackboard *as it is now*, in one READ ONLY transaction: incidents, observations, facts,
lineage, silences and the rows that events point to. Only the time it is told is that of the batch's last event, so
that the same range gives the same answer twice. What it says to one batch is not there when it is asked the next.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime

from agents.base import Agent
from agents.context import Happening
from agents.playbook import Playbook
from agents.runtime.concerning import concerns, heard
from agents.runtime.considering import BATCH
from agents.runtime.rows import row_of
from agents.runtime.window import Window
from agents.verdicts import Verdict
from config.errors import SwarmError, UsageError
from config.settings import Settings
from memory import bus, reading
from memory.database import Database, Transaction
from memory.records import Event, Reference, Sensitivity

MOST = 10_000
PAGE = 1000
AS_OF_NOW = (
    "incidents, observations, decisions, facts, lineage, silences and planned changes",
    "the rows that events point to (a task may have moved on since; what retention dropped is missing)",
    "configuration, and which playbooks are enabled",
)


@dataclass(frozen=True, slots=True)
class Answer:
    """What the agent said to one batch of events; `problem` where it stumbled over it."""

    events: tuple[Event, ...]
    verdicts: tuple[Verdict, ...]
    consulted: tuple[Reference, ...]
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Replay:
    """A range told again.

    Attributes:
        read: events that may reach the agent; at most 10,000, then `is_cut`.
        kept_since: when the oldest event that is kept was published; what was before cannot be told.
    """

    agent: str
    since: datetime
    until: datetime
    read: int
    is_cut: bool
    kept_since: datetime | None
    answers: tuple[Answer, ...]


class _StillWindow(Window):
    """The window, but every question goes to the one transaction that can only read."""

    def __init__(
        self,
        tx: Transaction,
        database: Database,
        *,
        clearance: Sensitivity,
        settings: Callable[[], Settings],
        playbooks: Callable[[], Mapping[str, Playbook]],
        now: datetime,
    ) -> None:
        super().__init__(database, clearance=clearance, settings=settings, playbooks=playbooks, now=now)
        self._tx = tx

    @asynccontextmanager
    async def _reading(self) -> AsyncIterator[Transaction]:
        yield self._tx


async def replay(
    database: Database,
    agent: Agent,
    *,
    since: datetime,
    until: datetime,
    settings: Settings,
    playbooks: Mapping[str, Playbook],
    pipelines: Collection[str],
    clearance: Sensitivity,
    batch: int = BATCH,
) -> Replay:
    """Tell an agent what was published from `since` to before `until`, and collect what it says.

    Args:
        database: the blackboard; nothing is written to it.
        agent: made and configured; it is not run.
        since: the beginning, by the server's clock, with time zone.
        until: the end, not itself in the range.
        settings: the figures the agent goes by.
        playbooks: what is enabled, as the window shows it.
        pipelines: names of the sources the agent looks after.
        clearance: of the agent; what is above it is not read.
        batch: events told at once; its loop takes 200.

    Raises:
        UsageError: the range is empty or upside down, or the batch is below 1.
        TransientError: the database is away.
    """
    if until <= since:
        raise UsageError("a range begins before it ends", hint="--since 2h, or --since 2026-11-20T08:00 --until …")
    if batch < 1:
        raise UsageError(f"a batch has at least one event, not {batch}")
    async with reading.still(database, clearance) as tx:
        events, is_cut = await _events(tx, agent, since, until)
        mine = [event for event in events if await concerns(tx, agent, event, pipelines)]
        answers = []
        for start in range(0, len(mine), batch):
            told = mine[start : start + batch]
            window = _StillWindow(
                tx,
                database,
                clearance=clearance,
                settings=lambda: settings,
                playbooks=lambda: playbooks,
                now=told[-1].at,
            )
            answers.append(await _answer(tx, agent, told, window))
        return Replay(agent.name, since, until, len(events), is_cut, await bus.oldest(tx), tuple(answers))


async def _events(tx: Transaction, agent: Agent, since: datetime, until: datetime) -> tuple[list[Event], bool]:
    """What may reach the agent, and whether there was more than is told."""
    found: list[Event] = []
    while len(found) <= MOST:
        after = found[-1] if found else None
        page = await bus.between(tx, since, until, topics=heard(agent), agent=agent.name, limit=PAGE, after=after)
        found += page
        if len(page) < PAGE:
            break
    return found[:MOST], len(found) > MOST


async def _answer(tx: Transaction, agent: Agent, events: Sequence[Event], window: Window) -> Answer:
    try:
        happenings = [Happening(event, await row_of(tx, event)) for event in events]
        verdicts = await agent.consider(happenings, window)
    except SwarmError as error:
        return Answer(tuple(events), (), tuple(window.consulted), error.message)
    except Exception as error:  # noqa: BLE001 - somebody else's agent may raise anything; that is worth knowing
        return Answer(tuple(events), (), tuple(window.consulted), f"it stumbled: {type(error).__name__}")
    return Answer(tuple(events), tuple(verdicts), tuple(window.consulted))
