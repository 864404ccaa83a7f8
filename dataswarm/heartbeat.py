"""The dead man's switch: an address called while all is well, so that silence raises the alarm somewhere else."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

import httpx
import structlog

from config.sections import RuntimeSettings

log = structlog.get_logger(__name__)
TIMEOUT_SECONDS = 10.0


async def beat(
    runtime: Callable[[], RuntimeSettings], is_ready: Callable[[], Awaitable[bool]], stop: asyncio.Event
) -> None:
    """Call the configured address every so often while ready, until `stop`; a failed call is said, never raised.

    Args:
        runtime: the settings as they are now; a changed address takes effect at the next beat.
        is_ready: is this process well? Not ready, nothing is called: that is the signal.
        stop: ends it.
    """
    async with httpx.AsyncClient(timeout=TIMEOUT_SECONDS, follow_redirects=True) as client:
        while not stop.is_set():
            settings = runtime()
            if settings.heartbeat_url is not None:
                if await is_ready():
                    await _call(client, settings.heartbeat_url.get_secret_value())
                else:
                    log.warning("heartbeat.withheld", why="this process is not ready")
            with suppress(TimeoutError):
                async with asyncio.timeout(settings.heartbeat_seconds):
                    await stop.wait()


async def _call(client: httpx.AsyncClient, url: str) -> None:
    """The address is a secret (whoever has it can keep the alarm quiet): no message may quote it."""
    try:
        answer = await client.get(url)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        log.warning("heartbeat.failed", problem=type(error).__name__)
        return
    if answer.is_error:
        log.warning("heartbeat.failed", problem=f"the other side answered {answer.status_code}")
