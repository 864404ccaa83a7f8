"""How the harness speaks with a contender: one JSON object a line, in on stdin, out on stdout.

Standard library alone, for each peer runs in an environment of its own. Every contender is asked the same questions:

    install                       make its schema in the database it was given
    single count                  so many enqueues, each awaited before the next; → seconds
    batch count, size             so many in batches; → seconds
    fill count, size              the same, unmeasured: something to drain
    drain count, flavour          work off so many that lie there; → seconds, first handler to last durable completion
    work                          a worker that waits for tasks; answers when it is listening
    send count, gap               enqueue one at a time, `gap` seconds apart on average; → when each was about to be
    picked count                  wait until so many were picked up; → when each handler's first line ran
    hold                          a worker whose handler never ends; answers when the handler has begun
    age count                     leave so many finished tasks behind, as a long-lived installation has

Times are nanoseconds of the system's monotonic clock, the same for all processes of one machine.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from typing import Any, Final

PAYLOAD: Final = "a task of an ordinary size, forty characters"
POLL_SECONDS: Final = 0.004
WARM: Final = 50  # enqueued and not counted: connections, plans, caches
now_ns = time.monotonic_ns


class Tally:
    """What the handlers saw.

    Attributes:
        times: when the first line of the handler ran, by the task's number (the first time counts).
        count: handlers begun.
    """

    def __init__(self) -> None:
        self.times: dict[int, int] = {}
        self.count = 0
        self.first_ns = 0
        self._waiting: list[tuple[int, asyncio.Event]] = []
        self._loop: asyncio.AbstractEventLoop | None = None

    def seen(self, number: int) -> None:
        """The handler's first line; safe from any thread."""
        at = now_ns()
        if not self.count:
            self.first_ns = at
        self.count += 1
        self.times.setdefault(number, at)
        if self._waiting and self.count >= self._waiting[0][0]:
            event = self._waiting.pop(0)[1]
            if self._loop is not None:
                self._loop.call_soon_threadsafe(event.set)

    async def reach(self, count: int) -> None:
        """Wait until so many handlers have begun."""
        self._loop = asyncio.get_running_loop()
        event = asyncio.Event()
        self._waiting.append((count, event))
        if self.count >= count:
            return
        await event.wait()


class Contender(ABC):
    """One queue, at its best documented settings. `url` is its own empty (or installed) database."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.tally = Tally()
        self.holding = False

    @abstractmethod
    async def install(self) -> None:
        """Make the schema."""

    @abstractmethod
    async def open(self) -> None:
        """Connect, ready to enqueue."""

    @abstractmethod
    async def put(self, number: int) -> None:
        """Enqueue one task and wait until it is durable."""

    @abstractmethod
    async def put_many(self, first: int, count: int) -> None:
        """Enqueue `count` tasks numbered from `first` in the quickest documented way; durable on return."""

    @abstractmethod
    async def remaining(self) -> int:
        """Tasks whose completion is not durable yet."""

    @abstractmethod
    async def start(self) -> None:
        """Start a worker in this process; its handler calls `tally.seen` and then `await self.linger()`."""

    async def start_draining(self) -> None:
        """Start a worker tuned for throughput where that differs."""
        await self.start()

    async def more(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Questions that only some can answer."""
        raise NotImplementedError(asked["do"])

    async def age(self, count: int) -> None:
        """Leave finished tasks behind; by working them off unless there is a quicker true way."""
        await self.put_many(0, count)
        await self.drained(count)

    async def linger(self) -> None:
        """What a handler does after its first line: nothing, or never end."""
        if self.holding:
            await asyncio.Event().wait()

    async def drained(self, count: int) -> int:
        """Work off what lies there; nanoseconds from the first handler to the last durable completion."""
        self.tally.count, self.tally.times = 0, {}
        await self.start_draining()
        await self.tally.reach(count)
        while await self.remaining():  # noqa: ASYNC110 - durable is what the database says
            await asyncio.sleep(POLL_SECONDS)
        return now_ns() - self.tally.first_ns


Asked = dict[str, Any]
Answer = Callable[[Contender, Asked], Awaitable[dict[str, Any]]]


async def _install(contender: Contender, _: Asked) -> dict[str, Any]:
    await contender.install()
    return {}


async def _open(contender: Contender, _: Asked) -> dict[str, Any]:
    await contender.open()
    return {}


async def _single(contender: Contender, asked: Asked) -> dict[str, Any]:
    for number in range(WARM):
        await contender.put(number)
    began = now_ns()
    for number in range(asked["count"]):
        await contender.put(number)
    return {"seconds": (now_ns() - began) / 1e9}


async def _fill(contender: Contender, asked: Asked) -> dict[str, Any]:
    for first in range(0, asked["count"], asked["size"]):
        await contender.put_many(first, min(asked["size"], asked["count"] - first))
    return {}


async def _batch(contender: Contender, asked: Asked) -> dict[str, Any]:
    await contender.put_many(0, WARM)
    began = now_ns()
    await _fill(contender, asked)
    return {"seconds": (now_ns() - began) / 1e9}


async def _drain(contender: Contender, asked: Asked) -> dict[str, Any]:
    return {"seconds": await contender.drained(asked["count"]) / 1e9, "handled": contender.tally.count}


async def _work(contender: Contender, _: Asked) -> dict[str, Any]:
    await contender.start()
    return {}


async def _hold(contender: Contender, _: Asked) -> dict[str, Any]:
    contender.holding = True
    await contender.start()
    await contender.tally.reach(1)
    return {"at": contender.tally.first_ns}


async def _send(contender: Contender, asked: Asked) -> dict[str, Any]:
    """One at a time; the gaps are spread, so that no one's polling falls into step with them."""
    times = {}
    chance = random.Random(asked["count"])
    for number in range(asked["count"]):
        await asyncio.sleep(asked["gap"] * chance.uniform(0.5, 1.5))
        times[number] = now_ns()
        await contender.put(number)
    return {"times": times}


async def _picked(contender: Contender, asked: Asked) -> dict[str, Any]:
    await contender.tally.reach(asked["count"])
    return {"times": contender.tally.times}


async def _age(contender: Contender, asked: Asked) -> dict[str, Any]:
    await contender.age(asked["count"])
    return {}


ANSWERS: dict[str, Answer] = {
    "install": _install,
    "open": _open,
    "single": _single,
    "batch": _batch,
    "fill": _fill,
    "drain": _drain,
    "work": _work,
    "hold": _hold,
    "send": _send,
    "picked": _picked,
    "age": _age,
}


async def _answer(contender: Contender, asked: Asked) -> dict[str, Any]:
    """Do what is asked."""
    answer = ANSWERS.get(asked["do"])
    return await (answer(contender, asked) if answer else contender.more(asked))


async def _serve(contender: Contender) -> None:
    lines: asyncio.Queue[str] = asyncio.Queue()
    loop = asyncio.get_running_loop()
    loop.run_in_executor(None, _read, loop, lines)
    while line := await lines.get():
        try:
            answer = await _answer(contender, json.loads(line))
        except Exception as error:  # noqa: BLE001 - the harness tells what happened, and goes on without this one
            answer = {"error": f"{type(error).__name__}: {error}"}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


def _read(loop: asyncio.AbstractEventLoop, lines: asyncio.Queue[str]) -> None:
    while line := sys.stdin.readline():
        loop.call_soon_threadsafe(lines.put_nowait, line)
    loop.call_soon_threadsafe(lines.put_nowait, "")


def main(contender: type[Contender], runner: Any = asyncio.run) -> None:
    """Answer until stdin ends. The process then ends at once: what its worker still does is nobody's business."""
    import os  # noqa: PLC0415 - only to leave

    async def serve() -> None:
        await _serve(contender(sys.argv[1]))
        os._exit(0)

    runner(serve())
