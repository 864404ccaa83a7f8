"""The one LISTEN of a process, fanned out inside it.

A hint says that there is a new row somewhere; who waits looks for itself. After every (re)connect all are woken, for
what was notified meanwhile is gone: LISTEN first, then catch up, then live. An echo proves that NOTIFY really comes
through; behind a transaction pooler it does not, and everything falls back to the idle poll, which loses nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Callable
from uuid import uuid4

import psycopg
from psycopg import sql

from memory.connection import statements
from memory.connection.hints import CHANNEL
from memory.connection.translation import translate

_log = logging.getLogger(__name__)
FIRST_PAUSE_SECONDS = 0.05
LONGEST_PAUSE_SECONDS = 5.0
ECHO_WAIT_SECONDS = 2.0
_KEEPALIVE = {"keepalives": 1, "keepalives_idle": 10, "keepalives_interval": 3, "keepalives_count": 3}


class Wake:
    """One waiter on the listener; wakes for hints that begin with `prefix`, and after every reconnect."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self._event = asyncio.Event()

    def set(self) -> None:
        """Wake whoever waits; kept until the next wait where nobody does."""
        self._event.set()

    async def wait(self, timeout: float) -> bool:  # noqa: ASYNC109 - the contract; a time-out is an answer here
        """Wait for a hint, at most `timeout` seconds. True: there was one. False: time to poll."""
        try:
            async with asyncio.timeout(timeout):
                await self._event.wait()
        except TimeoutError:
            return False
        self._event.clear()
        return True


class _Call(Wake):
    """Not a waiter but something to be done."""

    def __init__(self, prefix: str, action: Callable[[], None]) -> None:
        super().__init__(prefix)
        self._action = action

    def set(self) -> None:
        """Do it."""
        self._action()


class Listener:
    """LISTEN on one connection of its own.

    Args:
        url: a direct address; a transaction pooler swallows notifications.
        channel: which channel.
        echo_seconds: after so long without any notification, an echo is sent and waited for.

    Attributes:
        connected: do notifications come through right now?
        gaps: how often the connection was lost, or an echo did not come.
        catch_ups: how often, after a gap, everybody was woken to look for what had been missed.
        received: notifications seen.
    """

    def __init__(self, url: str, *, channel: str = CHANNEL, echo_seconds: float = 5.0) -> None:
        self._url = url
        self._channel = channel
        self._echo_channel = f"{channel}_{uuid4().hex}"
        self._echo_seconds = echo_seconds
        self._wakes: list[Wake] = []
        self._task: asyncio.Task[None] | None = None
        self._ready = asyncio.Event()
        self._told = False
        self.connected = False
        self.gaps = 0
        self.catch_ups = 0
        self.received = 0

    def subscribe(self, prefix: str = "") -> Wake:
        """A waiter for hints that begin with `prefix` (`event`, `task:<agent>`)."""
        wake = Wake(prefix)
        self._wakes.append(wake)
        return wake

    def call(self, prefix: str, action: Callable[[], None]) -> Wake:
        """Call this, which must return at once, for hints that begin with `prefix` and after every reconnect.

        What comes back is only good for `unsubscribe`.
        """
        wake = _Call(prefix, action)
        self._wakes.append(wake)
        return wake

    def unsubscribe(self, wake: Wake) -> None:
        """Take a waiter out."""
        self._wakes.remove(wake)

    async def start(self) -> None:
        """Begin, and wait for the first proof that NOTIFY comes through, at most ten seconds.

        A server that is away is no error here: it goes on trying, and the polls do the work.
        """
        self._task = asyncio.create_task(self._run(), name="dataswarm-listener")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(10):
                await self._ready.wait()

    async def close(self) -> None:
        """Stop listening."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def comes_through(self) -> bool:
        """Is an echo heard on a fresh connection? False behind a transaction pooler; for an examination, no waiter.

        Raises:
            TransientError, SetupError: nothing answers at the address.
        """
        try:
            async with await self._connect() as connection:
                await self._subscribe(connection)
                await self._echo(connection)
        except TimeoutError:
            return False
        except psycopg.Error as error:
            raise translate(error) from None
        return True

    async def _run(self) -> None:
        pause = FIRST_PAUSE_SECONDS
        while True:
            try:
                await self._listen()
            except (psycopg.Error, OSError, TimeoutError) as error:
                if self.connected:
                    pause = FIRST_PAUSE_SECONDS
                self.connected = False
                self.gaps += 1
                self._tell(error)
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - jitter
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)

    def _tell(self, error: BaseException) -> None:
        if isinstance(error, TimeoutError):
            if not self._told:
                _log.warning(
                    "NOTIFY does not come through: the swarm works by polling, slower but complete; "
                    "set database.listen_url to a direct address, not a transaction pooler"
                )
            self._told = True
        else:
            _log.info("the listener lost its connection and tries again", extra={"error": type(error).__name__})

    async def _listen(self) -> None:
        async with await self._connect() as connection:
            await self._subscribe(connection)
            async with await self._connect() as other:
                await self._echo(connection, other)
            self.connected, self._told = True, False
            self.catch_ups += self._ready.is_set() or self.gaps > 0
            self._ready.set()
            self._wake_all("")
            while True:
                heard = False
                async for notification in connection.notifies(timeout=self._echo_seconds):
                    heard = True
                    self._dispatch(notification)
                if not heard:
                    await self._echo(connection)

    async def _connect(self) -> psycopg.AsyncConnection[object]:
        return await psycopg.AsyncConnection.connect(
            self._url,
            autocommit=True,
            connect_timeout=10,
            application_name="dataswarm/listener",
            prepare_threshold=None,
            **_KEEPALIVE,  # type: ignore[arg-type]
        )

    async def _subscribe(self, connection: psycopg.AsyncConnection[object]) -> None:
        template = sql.SQL(statements.load("session")["listen"])
        for channel in (self._channel, self._echo_channel):
            await connection.execute(template.format(channel=sql.Identifier(channel)))

    async def _echo(
        self, connection: psycopg.AsyncConnection[object], sender: psycopg.AsyncConnection[object] | None = None
    ) -> None:
        """Send a notification to ourselves and wait for it; TimeoutError when it does not come.

        The first one goes through another session: who notifies itself is answered even through a pooler that keeps
        everybody else's notifications from it.
        """
        await (sender or connection).execute(
            statements.load("session")["notify"], {"channel": self._echo_channel, "payloads": ["echo"]}
        )
        now = asyncio.get_running_loop().time
        end, came = now() + ECHO_WAIT_SECONDS, False
        while not came and now() < end:
            # All that comes together is taken: what is left behind the echo would be lost.
            heard = [one async for one in connection.notifies(timeout=max(end - now(), 0.0), stop_after=1)]
            for notification in heard:
                self._dispatch(notification)
            came = any(notification.channel == self._echo_channel for notification in heard)
        if not came:
            raise TimeoutError("the echo did not come back")

    def _dispatch(self, notification: psycopg.Notify) -> None:
        if notification.channel == self._channel:
            self.received += 1
            self._wake_all(notification.payload)

    def _wake_all(self, payload: str) -> None:
        """An empty payload (a reconnect) wakes everyone."""
        for wake in self._wakes:
            if not payload or payload.startswith(wake.prefix):
                wake.set()
