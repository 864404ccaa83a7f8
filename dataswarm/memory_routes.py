"""Memory over HTTP: searching, one fact with its history, holding a fact by version; and switching agents.

Everything is read and written at `internal`: what is confidential is not for this door. Who asks is written down.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import structlog
from fastapi import APIRouter, Depends, Path, Query, Request
from pydantic import BaseModel, ConfigDict, Field

from config.assets import Asset
from dataswarm import asks
from dataswarm.auth import Caller
from dataswarm.gate import MissingError
from dataswarm.recalling import Searching
from dataswarm.views import plain
from memory import clock
from memory.access import AccessLog
from memory.beliefs import knowledge
from memory.members import presence

log = structlog.get_logger(__name__)
Json = dict[str, Any]
router = APIRouter()


def _doors(request: Request) -> Any:
    return request.app.state.doors


def _caller(request: Request) -> Caller:
    caller: Caller = request.state.caller
    return caller


def _searching(request: Request) -> Searching:
    """One for the application: a model that runs here is loaded once."""
    state = request.app.state
    if not hasattr(state, "searching"):
        state.searching = Searching(state.doors.database, state.doors.settings)
    found: Searching = state.searching
    return found


Open = Annotated[Any, Depends(_doors)]  # of `api.Doors`
Who = Annotated[Caller, Depends(_caller)]
Name = Annotated[str, Path(min_length=1, max_length=200)]
Branch = Annotated[str, Query(max_length=100)]


class _Body(BaseModel):
    """`by` counts only where no token proves a name."""

    model_config = ConfigDict(extra="forbid")

    by: str = Field(default="", max_length=100)
    reason: str = Field(default="", max_length=2000)


class Held(_Body):
    """What is to be held. `expected`: the version that was read; 0: none must be held; left out: whatever is there."""

    subject: str = Field(min_length=1, max_length=1000)
    predicate: str = Field(min_length=1, max_length=500)
    object: Any
    expected: int | None = Field(default=None, ge=0)
    confidence: float = Field(default=1.0, ge=0, le=1)
    branch: str = Field(default="main", max_length=100)


@router.get("/api/memory/search")
async def search(
    doors: Open,
    who: Who,
    searching: Annotated[Searching, Depends(_searching)],
    *,
    q: Annotated[str, Query(max_length=10_000)] = "",
    noun: Annotated[list[str] | None, Query()] = None,
    kind: Annotated[list[str] | None, Query()] = None,
    about: Annotated[str | None, Query(max_length=1000)] = None,
    agent: Annotated[list[str] | None, Query()] = None,
    within: Annotated[float | None, Query(gt=0, le=10 * 366 * 86400)] = None,
    branch: Branch = "main",
    limit: Annotated[int, Query(ge=1, le=1000)] = 10,
) -> Json:
    """What fits a question best; `within`: no older than so many seconds. `note` says why by words alone, where so."""
    oldest = None if within is None else await clock.now(doors.database) - timedelta(seconds=within)
    found = await searching.search(
        q,
        by=who.name,
        nouns=noun,
        kinds=kind,
        subject=about,
        since=oldest,
        agents=agent,
        branch=branch,
        limit=limit,
    )
    return {**found, "source": doors.source}


@router.get("/api/memory/fact")
async def fact(
    doors: Open,
    who: Who,
    *,
    subject: Annotated[str, Query(min_length=1, max_length=1000)],
    predicate: Annotated[str, Query(min_length=1, max_length=500)],
    at: datetime | None = None,
    branch: Branch = "main",
) -> Json:
    """What is held, now or at a time (UTC where no zone is given), and every version of it; 404 where nothing is."""
    asset = Asset.parse(subject)
    then = at.replace(tzinfo=UTC) if at is not None and at.tzinfo is None else at
    async with doors.database.transaction(durable=False) as tx:
        held = await knowledge.fact(tx, asset, predicate, branch=branch, at=then)
        if held is None:
            raise MissingError(f"nothing is held as {predicate[:100]!r} of {asset}")
        past = await knowledge.history(tx, asset, predicate, branch=branch)
    seen = AccessLog(doors.database)
    seen.believed(who.name, [held, *past], f"fact on {branch}")
    await seen.flush()
    shown: Json = plain(held)
    return {**shown, "origin": held.source, "history": [plain(one) for one in past], "source": doors.source}


@router.post("/api/memory/facts")
async def hold(doors: Open, who: Who, held: Held) -> Json:
    """Hold something to be true: the fact's next version; 409 where another version is there than was read."""
    by = _signed(who, held, "hold", subject=held.subject, predicate=held.predicate)
    async with doors.database.transaction() as tx:
        written = await knowledge.assert_fact(
            tx,
            by,
            Asset.parse(held.subject),
            held.predicate,
            held.object,
            expected=held.expected,
            confidence=held.confidence,
            source="said over HTTP",
            branch=held.branch,
            reason=held.reason,
        )
    shown: Json = plain(written)
    return {**shown, "origin": written.source, "source": doors.source}


@router.post("/api/agents/{agent}/disable")
async def disable(doors: Open, who: Who, agent: Name, why: _Body) -> Json:
    """Switch an agent off for all replicas, with a reason."""
    return await _switch(doors, who, agent, why, on=False)


@router.post("/api/agents/{agent}/enable")
async def enable(doors: Open, who: Who, agent: Name, why: _Body) -> Json:
    """Switch it on again."""
    return await _switch(doors, who, agent, why, on=True)


async def _switch(doors: Any, who: Caller, agent: str, why: _Body, *, on: bool) -> Json:
    async with doors.database.transaction(durable=False) as tx:
        if agent not in {one.agent for one in await presence.all(tx)}:
            raise MissingError(f"there is no agent {agent[:100]!r}", hint="/api/status has them")
    by = _signed(who, why, "enable" if on else "disable", agent=agent)
    done = await asks.switch(doors.database, agent, on=on, reason=why.reason, by=by)
    return {**done, "source": doors.source}


def _signed(who: Caller, deed: _Body, what: str, **about: Any) -> str:
    """Whose deed it is: a token's name is proven; without tokens, whoever sits at this machine says."""
    by = who.name if who.is_named else (deed.by.strip() or who.name)
    log.info("deed.asked", deed=what, by=by, **about)
    return by
