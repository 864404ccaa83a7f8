"""Hints that there is a new row: NOTIFY, outside the durable transaction and coalesced.

NOTIFY takes a lock on the whole server at commit, so it never rides in a transaction that waits for the disk. The
first hint goes out at once, pipelined behind the commit; what comes in the next two milliseconds goes out together
afterwards. A lost hint costs one idle poll, never an event.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

import psycopg

from config.errors import SwarmError

_log = logging.getLogger(__name__)
CHANNEL = "dataswarm"
APART_SECONDS = 0.002


class Hints:
    """The pending hints of one process.

    Args:
        send: sends payloads in a transaction of its own; a database error there is logged, the poll covers it.
    """

    def __init__(self, send: Callable[[Sequence[str]], Awaitable[None]]) -> None:
        self._send = send
        self._pending: dict[str, None] = {}
        self._resting = False
        self._task: asyncio.Task[None] | None = None

    def offer(self, payloads: Sequence[str]) -> list[str]:
        """What to send right now, with the commit; the rest is kept and sent within two milliseconds."""
        if self._resting:
            self._pending.update(dict.fromkeys(payloads))
            return []
        self._rest()
        return list(dict.fromkeys(payloads))

    def later(self, payloads: Sequence[str]) -> None:
        """Send these in a transaction of their own, now or within two milliseconds."""
        self._pending.update(dict.fromkeys(payloads))
        if not self._resting:
            self._rest()
            self._task = asyncio.get_running_loop().create_task(self.flush())

    def _rest(self) -> None:
        self._resting = True
        asyncio.get_running_loop().call_later(APART_SECONDS, self._wake)

    def _wake(self) -> None:
        self._resting = False
        if self._pending and (self._task is None or self._task.done()):
            self._task = asyncio.get_running_loop().create_task(self.flush())

    async def flush(self) -> None:
        """Send what is pending, until nothing is."""
        while self._pending:
            payloads = list(self._pending)
            self._pending.clear()
            self._resting = True
            try:
                await self._send(payloads)
            except (psycopg.Error, SwarmError) as error:  # also where no connection is free
                _log.warning("a hint could not be sent; the idle poll covers it", extra={"error": type(error).__name__})
                break
            await asyncio.sleep(APART_SECONDS)
        self._resting = False
