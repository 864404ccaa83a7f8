"""The questions about the bus, the same for the product and for plain SQL.

publish writers, seconds, way     as many events as that many writers can, each durable before its next; → a second
flood count, writers              so many events; → when it began
pace count, gap                   one at a time; → when each was about to be published
listen agents, reads              so many agents in this process, each with its own wake-up, each reading all events
heard count                       wait until each agent has read so many; → when the last of them had each
"""

from __future__ import annotations

import asyncio
import random
from abc import abstractmethod
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from benchmarks.peers.actor import Contender, now_ns

Speak = Callable[[int], Awaitable[object]]
WARM_NS = 200_000_000  # connections and plans, not counted


class Speaker(Contender):
    """A contender that has a bus.

    Attributes:
        hearing: by agent, when it had read each event (by the event's number).
    """

    hearing: Sequence[dict[int, int]] = ()

    @abstractmethod
    async def speakers(self, writers: int, way: str) -> Sequence[Speak]:
        """For each writer, what publishes one event durably."""

    @abstractmethod
    async def attend(self, agents: int, *, reads: bool) -> None:
        """Let agents listen, each adding to its own of `hearing`; without `reads` they only wake."""

    async def more(self, asked: dict[str, Any]) -> dict[str, Any]:
        """The questions of this module."""
        match asked["do"]:
            case "publish":
                answer = await self._publish(asked["writers"], asked["seconds"], asked["way"])
            case "flood":
                answer = await self._flood(asked["count"], asked["writers"])
            case "pace":
                answer = await self._pace(asked["count"], asked["gap"])
            case "listen":
                self.hearing = [{} for _ in range(asked["agents"])]
                await self.attend(asked["agents"], reads=asked["reads"])
                answer = {}
            case "heard":
                answer = await self._heard(asked["count"])
            case _:
                answer = await super().more(asked)
        return answer

    async def _publish(self, writers: int, seconds: float, way: str) -> dict[str, Any]:
        speakers = await self.speakers(writers, way)
        done = [0] * writers

        async def write(which: int, until: int) -> None:
            while now_ns() < until:
                await speakers[which](done[which])
                done[which] += 1

        await asyncio.gather(*(write(n, now_ns() + WARM_NS) for n in range(writers)))
        done = [0] * writers
        began = now_ns()
        await asyncio.gather(*(write(n, began + int(seconds * 1e9)) for n in range(writers)))
        return {"per_second": sum(done) / ((now_ns() - began) / 1e9)}

    async def _flood(self, count: int, writers: int) -> dict[str, Any]:
        numbers = iter(range(count))

        async def write(speak: Speak) -> None:
            for number in numbers:
                await speak(number)

        speakers = await self.speakers(writers, "")
        began = now_ns()
        await asyncio.gather(*(write(speak) for speak in speakers))
        return {"began": began, "ended": now_ns()}

    async def _pace(self, count: int, gap: float) -> dict[str, Any]:
        (speak,) = await self.speakers(1, "")
        chance, times = random.Random(count), {}
        for number in range(count):
            await asyncio.sleep(gap * chance.uniform(0.5, 1.5))
            times[number] = now_ns()
            await speak(number)
        return {"times": times}

    async def _heard(self, count: int) -> dict[str, Any]:
        while any(len(heard) < count for heard in self.hearing):  # noqa: ASYNC110 - the readers are what is measured
            await asyncio.sleep(0.002)
        return {"times": {number: max(heard[number] for heard in self.hearing) for number in range(count)}}
