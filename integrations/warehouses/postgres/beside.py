"""Work beside the event loop: the server is asked for more while what it said before is taken in."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from types import TracebackType
from typing import ParamSpec, Self, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class Beside:
    """Pieces of work, each begun when the one before is done.

    A context that is left when all is done or, where something goes wrong in it, when nothing runs any more.
    """

    def __init__(self) -> None:
        self._last: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Nothing runs yet."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Wait for what was put; raise what went wrong in it."""
        if kind is not None and self._last is not None:
            self._last.cancel()
            await asyncio.gather(self._last, return_exceptions=True)
        else:
            await self.done()

    def put(self, work: Callable[P, Awaitable[None]], *given: P.args, **named: P.kwargs) -> None:
        """One piece more."""
        self._last = asyncio.create_task(_follow(self._last, partial(work, *given, **named)))

    async def done(self) -> None:
        """Wait for everything that was put."""
        if self._last is not None:
            await self._last


async def _follow(before: asyncio.Task[None] | None, work: Callable[[], Awaitable[None]]) -> None:
    if before is not None:
        await before
    await work()


async def in_a_thread(make: Callable[P, T], *given: P.args, **named: P.kwargs) -> T:
    """What `make` gives, made beside the event loop and without the collector."""
    with uncollected():
        return await asyncio.to_thread(make, *given, **named)


@contextmanager
def uncollected() -> Iterator[None]:
    """Make many things that stay, without the collector; for what takes a moment, and waits for nobody.

    It would go over hundreds of thousands of them again and again, which holds up every thread. What was made in the
    meantime is put to what is old already, where it would come to be, without going over it.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if not gc.get_freeze_count():  # somebody else's frozen things are left alone
            gc.freeze()
            gc.unfreeze()
        if was_on:
            gc.enable()
