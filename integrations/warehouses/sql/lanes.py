"""Blocking work in threads of its own: never more than so many at once, and none waited for longer than agreed.

A thread cannot be ended from outside, so what it waits for is: its connection is severed. Should even that not wake
it, its lane stays taken until it does; only this source runs out of lanes then, and says so, and no other waits. The
threads are daemons, for a source that hangs must not hold the process at its end either.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import TypeVar, cast

from config.errors import TransientError

Result = TypeVar("Result")


class Cut:
    """How to end, from another thread, what one is waiting for."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ways: list[Callable[[], object]] = []
        self._is_made = False

    @property
    def is_made(self) -> bool:
        """Has the one who waited given up?"""
        return self._is_made

    def by(self, way: Callable[[], object]) -> None:
        """Add a way to end the wait; taken at once where the cut was made already."""
        with self._lock:
            if not self._is_made:
                self._ways.append(way)
                return
        way()

    def make(self) -> None:
        """Take every way that was given."""
        with self._lock:
            self._is_made = True
            ways, self._ways = self._ways, []
        for way in ways:
            with contextlib.suppress(Exception):
                way()


class Lanes:
    """So many threads for one source.

    Args:
        source: the configured name, for messages.
        lanes: how many at once.
        seconds: after this long the caller is let go, and the work is cut.
    """

    def __init__(self, source: str, *, lanes: int, seconds: float) -> None:
        self.source = source
        self.seconds = seconds
        self._gate = asyncio.Semaphore(lanes)

    async def run(self, work: Callable[[Cut], Result]) -> Result:
        """What `work` returns or raises; TransientError after the time agreed, waiting for a lane included."""
        try:
            async with asyncio.timeout(self.seconds):
                await self._gate.acquire()
        except TimeoutError:
            raise self._late("all its connections are busy or stuck") from None
        cut = Cut()
        done = self._start(work, cut)
        try:
            async with asyncio.timeout(self.seconds):
                return await asyncio.shield(done)
        except TimeoutError:
            raise self._late("it gave no answer") from None
        finally:
            if not done.done():
                # Severing may itself wait for the network.
                threading.Thread(target=cut.make, daemon=True).start()

    def _start(self, work: Callable[[Cut], Result], cut: Cut) -> asyncio.Future[Result]:
        loop = asyncio.get_running_loop()
        done: asyncio.Future[Result] = loop.create_future()
        # Nobody may be there any more to take an error.
        done.add_done_callback(lambda future: future.cancelled() or future.exception())

        def finish(result: Result | None, error: BaseException | None) -> None:
            self._gate.release()
            if done.done():
                return
            if error is not None:
                done.set_exception(error)
            else:
                done.set_result(cast("Result", result))

        def carry() -> None:
            result: Result | None = None
            failure: BaseException | None = None
            try:
                result = work(cut)
            except BaseException as error:  # noqa: BLE001 - whatever it is, it belongs to the caller
                failure = error
            # A loop that is closed has no caller left.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(finish, result, failure)

        threading.Thread(target=carry, name=f"warehouse {self.source}", daemon=True).start()
        return done

    def _late(self, why: str) -> TransientError:
        return TransientError(
            f"warehouse {self.source}: given up after {self.seconds:g} s, for {why}",
            hint="is the server well? Raise statement_timeout_seconds of this source, or look at less",
        )
