"""Merged pull requests as announcements: what their description names is expected for a while.

The description is written by others and is data: it may name assets of configured sources, exactly and one a line
(`planned-change: warehouse://shop/raw.orders`), and nothing else. How long is the configuration's to say.
"""

from __future__ import annotations

import glob
import hashlib
import hmac
import json
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from config.assets import Asset
from config.errors import SourceError, UsageError
from config.settings import Settings
from dataswarm.auth import ForbiddenError, UnknownCallerError
from dataswarm.drifting.announcing import Announcement, announce
from dataswarm.views import Json
from memory.connection.database import Database

LABEL: Final = "schema-change"
HOURS: Final = 24.0
MOST_HOURS: Final = 7 * 24.0
MOST_LINES: Final = 50
KIND: Final = "schema.*"
_LINE: Final = re.compile(r"^[ \t>*-]*planned-change:[ \t]*`?([^\s`]{1,600})`?[ \t]*$", re.IGNORECASE | re.MULTILINE)
_MERGED: Final = ("closed", "merge")


@dataclass(frozen=True, slots=True)
class Hook:
    """How the hook is configured: `secret` signs what comes in, `label` marks requests that plan something."""

    secret: str
    label: str = LABEL
    hours: float = HOURS


@dataclass(frozen=True, slots=True)
class Merged:
    """A merged request: where it is, what it is called, who merged it, and what was written in it."""

    url: str
    name: str
    by: str
    labels: frozenset[str]
    description: str


def hook(settings: Settings) -> Hook:
    """The hook's configuration.

    Raises:
        ForbiddenError: none is configured, so nothing can be believed.
    """
    said: Any = getattr(settings.http, "pull_requests", None)
    secret = said.secret.get_secret_value() if said is not None and said.secret is not None else ""
    if not secret:
        raise ForbiddenError(
            "this door takes no pull requests", hint="configure http.pull_requests.secret, the same as at the sender"
        )
    return Hook(secret, str(said.label), min(float(said.hours), MOST_HOURS))


def verify(secret: str, headers: Mapping[str, str], body: bytes) -> None:
    """Did the body come from whom we share the secret with? GitHub signs it, GitLab sends a token along.

    Raises:
        UnknownCallerError: it cannot be proven.
    """
    signature, token = headers.get("x-hub-signature-256", ""), headers.get("x-gitlab-token", "")
    expected = "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    is_signed = bool(signature) and hmac.compare_digest(expected.encode(), signature.encode())
    is_known = bool(token) and hmac.compare_digest(secret.encode(), token.encode())
    if not (is_signed or is_known):
        raise UnknownCallerError(
            "the signature is missing or another one",
            hint="set the same secret at the sender: GitHub's webhook secret, GitLab's secret token",
        )


def merged(body: bytes) -> Merged | None:
    """The merged request a payload tells of; None for every other event (opened, closed unmerged, a ping).

    Raises:
        UsageError: it is no JSON object.
        SourceError: it is of a shape unknown here.
    """
    try:
        payload = json.loads(body)
    except (ValueError, RecursionError):
        raise UsageError("the body is no JSON") from None
    if not isinstance(payload, dict):
        raise UsageError("the body is no JSON object")
    try:
        if isinstance(payload.get("pull_request"), dict):
            return _github(payload)
        if payload.get("object_kind") == "merge_request":
            return _gitlab(payload)
    except (KeyError, TypeError, AttributeError) as error:
        raise SourceError(f"the payload is of another shape: {type(error).__name__}") from None
    return None


def _github(payload: Mapping[str, Any]) -> Merged | None:
    request = payload["pull_request"]
    if payload.get("action") not in _MERGED or not request.get("merged"):
        return None
    return Merged(
        url=_plain(request["html_url"]),
        name=_plain(f"{payload['repository']['full_name']}#{request['number']}: {request['title']}"),
        by=_plain((request.get("merged_by") or payload.get("sender") or {}).get("login") or "a pull request"),
        labels=frozenset(str(label["name"]) for label in request.get("labels") or ()),
        description=str(request.get("body") or ""),
    )


def _gitlab(payload: Mapping[str, Any]) -> Merged | None:
    request = payload["object_attributes"]
    if request.get("action") not in _MERGED or request.get("state") != "merged":
        return None
    labels = payload.get("labels") or request.get("labels") or ()
    return Merged(
        url=_plain(request["url"]),
        name=_plain(f"{payload['project']['path_with_namespace']}!{request['iid']}: {request['title']}"),
        by=_plain((payload.get("user") or {}).get("username") or "a merge request"),
        labels=frozenset(str(label["title"]) for label in labels),
        description=str(request.get("description") or ""),
    )


def _plain(text: Any) -> str:
    return " ".join("".join(c if c.isprintable() else " " for c in str(text)).split())[:200]


def named(found: Merged, configured: Hook, sources: Collection[str]) -> Iterator[Announcement | str]:
    """What a merged request announces, line by line; a text says why a line is passed over."""
    for number, line in enumerate(_LINE.finditer(found.description.replace("\r\n", "\n"))):
        if number >= MOST_LINES:
            yield f"more than {MOST_LINES} lines; the rest is passed over"
            return
        try:
            asset = Asset.parse(line[1])
        except UsageError as error:
            yield error.message
            continue
        if asset.source not in sources:
            yield f"{asset}: no source here is called {asset.source!r}"
        elif not asset.path or any(c in line[1] for c in "*?["):
            yield f"{asset}: only a table or column by its name is taken from a description, no pattern"
        else:
            yield Announcement(
                pattern=glob.escape(str(asset)),
                kind=KIND,
                seconds=configured.hours * 3600,
                reason=found.name,
                by=found.by,
                key=found.url,
            )


async def receive(
    database: Database, settings: Settings, headers: Mapping[str, str], body: bytes, *, now: datetime
) -> Json:
    """Take a webhook in. Keys: announced (each with `is_new`), passed_over (why, line by line), why (nothing at all).

    Raises:
        ForbiddenError: no secret is configured.
        UnknownCallerError: the signature does not fit.
        UsageError, SourceError: the payload cannot be read.
    """
    configured = hook(settings)
    verify(configured.secret, headers, body)
    found = merged(body)
    if found is None:
        return {"announced": [], "passed_over": [], "why": "it tells of no merge"}
    if configured.label not in found.labels:
        return {"announced": [], "passed_over": [], "why": f"it has no label {configured.label!r}"}
    lines = list(named(found, configured, frozenset(settings.sources)))
    planned = [one for one in lines if isinstance(one, Announcement)]
    done = await announce(database, planned, by=found.by, now=now) if planned else []
    passed = [one for one in lines if isinstance(one, str)]
    why = "" if lines else "its description has no line `planned-change: warehouse://…`"
    return {"announced": done, "passed_over": passed, "why": why}
