"""The console: two pages made on the server, kept fresh by the live tail. Works without scripts, but for its buttons.

Everything shown is text: the templates escape it, whatever somebody named a column.
"""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from dataswarm import views

STATIC = Path(__file__).parent / "static"
MINUTE, HOUR, DAY = 60, 3600, 86400
router = APIRouter(include_in_schema=False)


@router.get("/", response_class=HTMLResponse)
async def home(request: Request, *, everything: Annotated[bool, Query(alias="all")] = False) -> HTMLResponse:
    """How the swarm stands, and its incidents."""
    doors = request.app.state.doors
    status = await views.status(doors.database, doors.settings())
    found = await views.incident_list(doors.database, everything=everything, limit=100)
    return _page(request, "home.html", status=status, incidents=found, everything=everything)


@router.get("/incidents/{incident_id}", response_class=HTMLResponse)
async def incident(request: Request, incident_id: int) -> HTMLResponse:
    """Everything about one incident."""
    doors = request.app.state.doors
    found = await views.incident(doors.database, incident_id) if 0 < incident_id < 2**63 else None
    if found is None:
        return _page(request, "missing.html", 404, incident_id=incident_id)
    return _page(request, "incident.html", incident=found)


def moment(value: str | datetime | None) -> str:
    """A time to the second, in UTC's clothes as it was stored."""
    if not value:
        return ""
    return str(value).replace("T", " ")[:19]


def length(seconds: float | None) -> str:
    """A length of time in its two largest units."""
    if seconds is None:
        return ""
    if seconds < MINUTE:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"  # noqa: PLR2004 - one digit
    if seconds < HOUR:
        return f"{int(seconds // MINUTE)} min {int(seconds % MINUTE)} s"
    if seconds < DAY:
        return f"{int(seconds // HOUR)} h {int(seconds % HOUR // MINUTE)} min"
    return f"{int(seconds // DAY)} d {int(seconds % DAY // HOUR)} h"


def between(start: str | None, end: str | None) -> str:
    """The length of time between two moments, empty where one is open."""
    if not start or not end:
        return ""
    return length(max(0.0, (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds()))


def pretty(value: Any) -> str:
    """A JSON value, indented."""
    return json.dumps(value, indent=2, ensure_ascii=False, default=str)


def _environment() -> Environment:
    made = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(moment=moment, length_of=length, pretty=pretty)
    made.globals.update(between=between)
    return made


_TEMPLATES = _environment()


def _page(request: Request, template: str, status_code: int = 200, **shown: Any) -> HTMLResponse:
    doors = request.app.state.doors
    html = _TEMPLATES.get_template(template).render(
        source=doors.source,
        version=doors.version,
        may_act=request.state.caller.role == "operator",
        caller=request.state.caller.name,
        **shown,
    )
    return HTMLResponse(html, status_code)
