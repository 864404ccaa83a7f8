"""A past range of the bus told to one agent again, to see what it would say: nothing is written, nothing is done.

The agent is given the events it would have been given, in the order of their publishing, in batches as its loop makes
them, and the time of each batch's last event. Of observations and decisions it sees those that were there by then.
Everything else is *as it is now*, in one READ ONLY transaction: incidents, facts, lineage, silences and the rows that
events point to. So the same range gives the same answer twice. What it says to one batch is not there when it is asked
the next. One event a batch comes nearest to what happened; in a large one, what came later has explained the rest.

Facts may be those of a branch: so a corrected belief is tried out before it is merged.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

from agents.base import Agent
from agents.context import Happening
from agents.playbook import Playbook
from agents.runtime.concerning import concerns, heard
from agents.runtime.considering import BATCH
from agents.runtime.rows import row_of
from agents.runtime.window import MOST as SHOWN
from agents.runtime.window import Window
from agents.verdicts import Verdict
from config.assets import Asset
from config.draft import nearest
from config.errors import SwarmError, UsageError
from config.settings import Settings
from memory import bus
from memory.beliefs import branches, knowledge
from memory.board import ledger
from memory.connection import reading
from memory.connection.database import Database, Transaction
from memory.records import Decision, Event, Fact, Observation, Reference, Sensitivity

MOST = 10_000
PAGE = 1000
AS_OF_NOW = (
    "incidents, facts, lineage, silences and planned changes",
    "which decisions have been superseded since, and which observations retention has left",
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
        branch: whose facts it was shown.
        kept_since: when the oldest event that is kept was published; what was before cannot be told.
    """

    agent: str
    since: datetime
    until: datetime
    read: int
    is_cut: bool
    kept_since: datetime | None
    answers: tuple[Answer, ...]
    branch: str = knowledge.MAIN


class _StillWindow(Window):
    """The window, but every question goes to the one transaction that can only read.

    Facts are a branch's, and what was written down after the batch's time is not shown.
    """

    def __init__(
        self,
        tx: Transaction,
        database: Database,
        *,
        clearance: Sensitivity,
        settings: Callable[[], Settings],
        playbooks: Callable[[], Mapping[str, Playbook]],
        now: datetime,
        branch: str,
        agent: str,
    ) -> None:
        super().__init__(database, clearance=clearance, settings=settings, playbooks=playbooks, now=now, agent=agent)
        self._tx = tx
        self._branch = branch

    @asynccontextmanager
    async def _reading(self) -> AsyncIterator[Transaction]:
        yield self._tx

    async def observations(
        self,
        *,
        kinds: Sequence[str] = ("*",),
        subjects: Sequence[Asset] | None = None,
        since: timedelta | None = None,
    ) -> Sequence[Observation]:
        """Observations of before the batch, newest first; at most 500."""
        begin = None if since is None else self._now - since
        found = await ledger.observations(
            self._tx, kinds=kinds, subjects=subjects, since=begin, until=self._now, limit=SHOWN, **self._private()
        )
        return self._seen("observation", found)

    async def decisions(
        self, *, kind: str | None = None, incident_id: int | None = None, since: timedelta | None = None
    ) -> Sequence[Decision]:
        """Decisions of before the batch that nothing superseded, newest first; at most 500."""
        begin = None if since is None else self._now - since
        found = await ledger.decisions(
            self._tx, kind=kind, incident_id=incident_id, since=begin, until=self._now, limit=SHOWN
        )
        return self._seen("decision", found)

    async def fact(self, subject: Asset, predicate: str) -> Fact | None:
        """What the branch holds to be true."""
        return await knowledge.fact(self._tx, subject, predicate, branch=self._branch)


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
    branch: str = knowledge.MAIN,
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
        branch: whose facts it is shown; a closed one can still be read.

    Raises:
        UsageError: the range is empty or upside down, the batch is below 1, or there is no such branch.
        TransientError: the database is away.
    """
    if until <= since:
        raise UsageError("a range begins before it ends", hint="--since 2h, or --since 2026-11-20T08:00 --until …")
    if batch < 1:
        raise UsageError(f"a batch has at least one event, not {batch}")
    async with reading.still(database, clearance) as tx:
        await _known(tx, branch)
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
                branch=branch,
                agent=agent.name,
            )
            answers.append(await _answer(tx, agent, told, window))
        return Replay(agent.name, since, until, len(events), is_cut, await bus.oldest(tx), tuple(answers), branch)


async def _known(tx: Transaction, branch: str) -> None:
    names = [one.name for one in await branches.branches(tx)]
    if branch not in names:
        meant = nearest(branch, names)
        listed = f"did you mean {meant!r}?" if meant else f"there are {', '.join(names[:20])}"
        raise UsageError(f"there is no branch {branch[:100]!r}", hint=listed)


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
