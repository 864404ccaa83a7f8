"""Before any route: who asks, may they, and what every answer carries. Plain ASGI, so that streams stay streams."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from config.errors import SwarmError, UsageError
from config.settings import Settings
from dataswarm.auth import SAFE, ForbiddenError, UnknownCallerError, admit, permit
from dataswarm.views import source_of

SOURCE_HEADER = "X-Dataswarm-Source"
OPEN_TO_ALL = frozenset({"/healthz", "/readyz"})  # probes carry no token; the answers say yes or no, nothing else
LARGEST_BODY = 64 * 1024
SIGNED = frozenset({"/hooks/pull-request"})  # proven by a signature over the body, which the route itself checks
LARGEST_SIGNED = 1024 * 1024
# Everything comes from here and nothing inline runs: text out of data that slipped through would still do nothing.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_ALWAYS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


class TooLargeError(UsageError):
    """More than any request here needs."""

    code = "too_large"


class MissingError(UsageError):
    """There is nothing there."""

    code = "not_found"


STATUS: dict[str, int] = {
    "unauthorized": 401,
    "forbidden": 403,
    "policy": 403,
    "not_found": 404,
    "conflict": 409,
    "lease_lost": 409,
    "too_large": 413,
    "usage": 400,
    "config": 500,  # the server's, not the caller's
    "setup": 500,
    "transient": 503,
    "source": 502,
}


def refusal(error: SwarmError, source: str) -> JSONResponse:
    """An error of the tree as an answer."""
    status = STATUS.get(error.code, 500)
    headers = {SOURCE_HEADER: source}
    if status == STATUS["unauthorized"]:
        headers["WWW-Authenticate"] = 'Basic realm="dataswarm", charset="UTF-8"'
    if error.retryable:
        headers["Retry-After"] = "2"
    return problem(status, error.code, error.message, error.hint, headers)


def problem(status: int, code: str, message: str, hint: str, headers: dict[str, str]) -> JSONResponse:
    """The one shape of every error."""
    body = {"error": code, "message": message, "hint": hint, "source": headers[SOURCE_HEADER]}
    return JSONResponse(body, status, headers)


class Gate:
    """Admits, permits, and marks answers. Leaves the caller in the request's state.

    Args:
        app: what stands behind.
        settings: as they are now; changed tokens take effect at once.
    """

    def __init__(self, app: ASGIApp, *, settings: Callable[[], Settings]) -> None:
        self._app = app
        self._settings = settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        settings = self._settings()
        source = source_of(settings)

        async def marked(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers[SOURCE_HEADER] = source
                for name, value in _ALWAYS.items():
                    headers.setdefault(name, value)
            await send(message)

        answer = self._refuse(scope, settings, source)
        await (answer or self._app)(scope, receive, marked)

    def _refuse(self, scope: Scope, settings: Settings, source: str) -> Response | None:
        """An answer where the request goes no further; None, and the caller noted, where it does."""
        if scope["path"] in OPEN_TO_ALL and scope["method"] in SAFE:
            return None
        headers: dict[str, str] = {}
        for name, value in Headers(scope=scope).items():
            headers.setdefault(name, value)
        if scope["path"] in SIGNED and scope["method"] == "POST":
            try:
                _check_size(headers, LARGEST_SIGNED)
            except TooLargeError as error:
                return refusal(error, source)
            return None
        peer: Any = scope.get("client")
        try:
            caller = admit(settings.http.tokens, peer[0] if peer else None, headers)
            permit(caller, scope["method"], headers)
            if scope["method"] not in SAFE:
                _check_size(headers)
        except (UnknownCallerError, ForbiddenError, TooLargeError) as error:
            return refusal(error, source)
        scope.setdefault("state", {})["caller"] = caller
        return None


def _check_size(headers: dict[str, str], largest: int = LARGEST_BODY) -> None:
    length = headers.get("content-length", "")
    if not length.isdecimal() or int(length) > largest:
        raise TooLargeError(
            f"the body's length is not given, or over {largest // 1024} KiB",
            hint="send Content-Length; no request here is that long",
        )
