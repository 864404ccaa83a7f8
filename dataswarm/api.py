"""The door over HTTP: what the swarm knows as JSON, what humans may do to it, and what watches it.

Every answer says whether it is live or demo: the header `X-Dataswarm-Source`, and `source` in every JSON object.
Errors of the tree become `{"error": code, "message", "hint"}` with a fitting status.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Annotated, Any

import structlog
from fastapi import APIRouter, Depends, FastAPI, Header, Path, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response, StreamingResponse
from fastapi.staticfiles import StaticFiles
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException

from config.errors import SwarmError
from config.settings import Settings
from dataswarm import console, memory_routes, operations, views
from dataswarm.auth import Caller
from dataswarm.drifting import announcing, pull_requests
from dataswarm.drifting.announcing import Announcement
from dataswarm.gate import SOURCE_HEADER, Gate, MissingError, problem, refusal
from dataswarm.metrics import Metrics
from dataswarm.tailing import Tail
from memory import clock
from memory.board import incidents, remediations
from memory.bus.listener import Listener
from memory.connection.database import Database

log = structlog.get_logger(__name__)
Json = dict[str, Any]
HOOK = "/hooks/pull-request"


@dataclass(slots=True)
class Doors:
    """What the routes stand on.

    Attributes:
        database: the blackboard.
        settings: as they are now.
        health: `{"ready": bool, "checks": {name: bool}}`.
        metrics: what `/metrics` shows.
        version: of the project.
        listener: wakes live tails where this process runs a swarm.
        stopping: set when the process stops; ends live tails.
    """

    database: Database
    settings: Callable[[], Settings]
    health: Callable[[], Awaitable[Json]]
    metrics: Metrics
    version: str
    listener: Callable[[], Listener | None] = lambda: None
    stopping: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def source(self) -> str:
        """`live` or `demo`."""
        return views.source_of(self.settings())


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")

    by: str = Field(default="", max_length=100)


class Deed(_Body):
    """`by` counts only where no token proves a name."""

    reason: str = Field(default="", max_length=2000)


class Muting(Deed):
    """An asset or pattern, and for how many seconds."""

    pattern: str = Field(min_length=1, max_length=1000)
    seconds: float


class Planning(Deed):
    """An asset or pattern, over which kinds of observations, from when (now) and for how many seconds."""

    pattern: str = Field(min_length=1, max_length=1000)
    seconds: float
    kind: str = Field(default="*", min_length=1, max_length=200)
    starts_at: AwareDatetime | None = None


class Switching(Deed):
    """On or off."""

    on: bool


def _doors(request: Request) -> Doors:
    doors: Doors = request.app.state.doors
    return doors


def _caller(request: Request) -> Caller:
    caller: Caller = request.state.caller
    return caller


Open = Annotated[Doors, Depends(_doors)]
Who = Annotated[Caller, Depends(_caller)]
Id = Annotated[int, Path(ge=1, lt=2**63)]
router = APIRouter()


def create(app_state: Doors) -> FastAPI:
    """The application, ready to be served."""
    app = FastAPI(
        title="dataswarm",
        version=app_state.version,
        docs_url=None,  # that page would load assets from elsewhere; the schema stays
        redoc_url=None,
        openapi_url="/api/openapi.json",
    )
    app.state.doors = app_state
    app.state.tail = Tail(app_state.database, app_state.listener, app_state.stopping, app_state.source)
    app.include_router(router)
    app.include_router(memory_routes.router)
    app.include_router(console.router)
    app.mount("/static", StaticFiles(directory=console.STATIC), name="static")
    app.add_middleware(Gate, settings=app_state.settings)
    app.add_exception_handler(SwarmError, _told)
    app.add_exception_handler(RequestValidationError, _malformed)
    app.add_exception_handler(HTTPException, _no_route)
    app.add_exception_handler(Exception, _bug)
    return app


@router.api_route("/healthz", methods=["GET", "HEAD"], include_in_schema=False)
async def healthz(doors: Open) -> Json:
    """Is the process alive? That its loop came round to answer is the proof."""
    return {"source": doors.source, "alive": True}


@router.api_route("/readyz", methods=["GET", "HEAD"], include_in_schema=False)
async def readyz(doors: Open) -> JSONResponse:
    """Can it do its work: database reachable, loops running, configuration accepted? 503 where not."""
    health = await doors.health()
    return JSONResponse({"source": doors.source, **health}, 200 if health["ready"] else 503)


@router.get("/metrics")
async def metrics(doors: Open, accept: Annotated[str, Header()] = "") -> Response:
    """For Prometheus; touches no database."""
    page, content_type = doors.metrics.render(accept)
    return Response(page, headers={"Content-Type": content_type})


@router.get("/api/status")
async def status(doors: Open) -> Json:
    """How the swarm stands."""
    return {**await views.status(doors.database, doors.settings()), "version": doors.version}


@router.get("/api/incidents")
async def incident_list(
    doors: Open,
    *,
    everything: Annotated[bool, Query(alias="all")] = False,
    limit: Annotated[int, Query(ge=1, le=1000)] = 200,
) -> Json:
    """Incidents in a line each, newest first; `?all=1` with those of the past."""
    found = await views.incident_list(doors.database, everything=everything, limit=limit)
    return {"source": doors.source, "incidents": found}


@router.get("/api/incidents/{incident_id}")
async def incident(doors: Open, incident_id: Id) -> Json:
    """Everything known about one."""
    found = await views.incident(doors.database, incident_id)
    if found is None:
        raise await _no_incident(doors, incident_id)
    return {"source": doors.source, **found}


@router.get("/events")
async def events(
    request: Request,
    *,
    newest: Annotated[int, Query(ge=0, le=200)] = 20,
    last_event_id: Annotated[str, Header(max_length=4000)] = "",
) -> StreamingResponse:
    """The live tail of the bus, as server-sent events."""
    tail: Tail = request.app.state.tail
    first, cursor = await tail.begin(last_event_id, newest)
    return StreamingResponse(tail.stream(first, cursor), media_type="text/event-stream")


@router.post("/api/incidents/{incident_id}/ack")
async def acknowledge(doors: Open, who: Who, incident_id: Id, deed: Deed) -> Json:
    """Somebody looks after it."""
    await _must_be(doors, incident_id)
    by = _name(who, deed, "acknowledge", incident=incident_id)
    return _done(doors, await operations.acknowledge(doors.database, incident_id, by=by))


@router.post("/api/incidents/{incident_id}/close")
async def close(doors: Open, who: Who, incident_id: Id, deed: Deed) -> Json:
    """End it by hand, with a reason."""
    await _must_be(doors, incident_id)
    by = _name(who, deed, "close", incident=incident_id)
    return _done(doors, await operations.close(doors.database, incident_id, deed.reason, by=by))


@router.post("/api/incidents/{incident_id}/false-positive")
async def false_positive(doors: Open, who: Who, incident_id: Id, deed: Deed) -> Json:
    """It was none."""
    await _must_be(doors, incident_id)
    by = _name(who, deed, "false_positive", incident=incident_id)
    return _done(doors, await operations.false_positive(doors.database, incident_id, deed.reason, by=by))


@router.post("/api/incidents/{incident_id}/approve")
async def approve(doors: Open, who: Who, incident_id: Id, deed: Deed) -> Json:
    """Let the remedy run that waits for it."""
    await _must_be(doors, incident_id)
    by = _name(who, deed, "approve", incident=incident_id)
    return _done(doors, await operations.approve(doors.database, incident_id, by=by))


@router.post("/api/incidents/{incident_id}/deny")
async def deny(doors: Open, who: Who, incident_id: Id, deed: Deed) -> Json:
    """Do not."""
    await _must_be(doors, incident_id)
    by = _name(who, deed, "deny", incident=incident_id)
    return _done(doors, await operations.deny(doors.database, incident_id, deed.reason, by=by))


@router.post("/api/remediations/{remediation_id}/undo")
async def undo(doors: Open, who: Who, remediation_id: Id, deed: Deed) -> Json:
    """Take a remedy back."""
    async with doors.database.transaction(durable=False) as tx:
        if await remediations.get(tx, remediation_id) is None:
            raise MissingError(f"there is no remediation {remediation_id}", hint="incidents list their remedies")
    by = _name(who, deed, "undo", remediation=remediation_id)
    return _done(doors, await operations.undo(doors.database, remediation_id, by=by))


@router.post("/api/silences")
async def silence(doors: Open, who: Who, deed: Muting) -> Json:
    """Mute assets for a while."""
    by = _name(who, deed, "silence", pattern=deed.pattern)
    return _done(doors, await operations.silence(doors.database, deed.pattern, deed.seconds, deed.reason, by=by))


@router.post("/api/planned-changes")
async def plan_change(doors: Open, who: Who, deed: Planning) -> Json:
    """Announce a change; the same one again changes nothing."""
    by = _name(who, deed, "plan_change", pattern=deed.pattern)
    planned = Announcement(deed.pattern, deed.kind, deed.starts_at, deed.seconds, reason=deed.reason, by=by)
    now = await clock.now(doors.database)
    [done] = await announcing.announce(doors.database, [planned], by=by, now=now)
    return _done(doors, done)


@router.post(HOOK, include_in_schema=False)
async def pull_request(doors: Open, request: Request) -> Json:
    """A merged pull request announces what its description names; its signature says who sent it."""
    now = await clock.now(doors.database)
    settings, body = doors.settings(), await request.body()
    done = await pull_requests.receive(doors.database, settings, request.headers, body, now=now)
    log.info("hook.taken", announced=len(done["announced"]), passed_over=len(done["passed_over"]), why=done["why"])
    return _done(doors, done)


@router.post("/api/kill-switch")
async def kill_switch(doors: Open, who: Who, deed: Switching) -> Json:
    """Forbid, or allow again, every write outside."""
    by = _name(who, deed, "kill_switch", on=deed.on)
    return _done(doors, await operations.kill_switch(doors.database, deed.on, deed.reason, by=by))


def _name(who: Caller, deed: _Body, what: str, **about: Any) -> str:
    """Whose deed it is: a token's name is proven; without tokens, whoever sits at this machine says."""
    by = who.name if who.is_named else (deed.by.strip() or who.name)
    log.info("deed.asked", deed=what, by=by, **about)
    return by


def _done(doors: Doors, result: Json) -> Json:
    return {"source": doors.source, **result}


async def _must_be(doors: Doors, incident_id: int) -> None:
    async with doors.database.transaction(durable=False) as tx:
        if await incidents.get(tx, incident_id) is not None:
            return
    raise await _no_incident(doors, incident_id)


async def _no_incident(doors: Doors, incident_id: int) -> MissingError:
    found = await operations.unknown_incident(doors.database, incident_id)
    return MissingError(found.message, hint=found.hint)


async def _told(request: Request, error: Exception) -> Response:
    assert isinstance(error, SwarmError)  # noqa: S101 - registered for it alone
    return refusal(error, _doors(request).source)


async def _malformed(request: Request, error: Exception) -> Response:
    """What was wrong and where; the values are not repeated."""
    assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for it alone
    said = [f"{'.'.join(str(part) for part in e['loc'])}: {e['msg']}" for e in error.errors()]
    return problem(422, "usage", "; ".join(said), "see /api/openapi.json", {SOURCE_HEADER: _doors(request).source})


async def _no_route(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for it alone
    code = "not_found" if error.status_code == 404 else "usage"  # noqa: PLR2004 - a status is its own name
    headers = {**(error.headers or {}), SOURCE_HEADER: _doors(request).source}
    return problem(error.status_code, code, str(error.detail), "see /api/openapi.json", dict(headers))


async def _bug(request: Request, error: Exception) -> Response:
    """Nobody meant this one: the server logs it with its traceback, the answer quotes nothing of it."""
    log.error("http.bug", path=request.url.path, problem=type(error).__name__)
    hint = "the log of this process has the details"
    return problem(500, "internal", "something went wrong here", hint, {SOURCE_HEADER: _doors(request).source})
