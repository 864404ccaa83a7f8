"""Single durable writes, grouped: calls that arrive while a commit is in flight ride the next one.

There is no timer, so a lone call pays nothing for the grouping, and a thousand at once share one commit. Each call
returns when its own row is durable.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Sequence
from functools import lru_cache
from typing import Generic, TypeVar

from config.assets import Asset
from config.errors import SwarmError, TransientError, UsageError
from memory import bus
from memory.connection.database import Database, Numbers
from memory.queue import kinds, waiting
from memory.queue.checks import name
from memory.queue.new_tasks import PARTED, Batch, text_of
from memory.queue.tasks import enqueue, settled, statement_of
from memory.records import NewTask, Reference

In = TypeVar("In")
Out = TypeVar("Out")
AT_ONCE = 1000
_TOPIC = re.compile(r"^[a-z][a-z0-9_]*(\.[a-zA-Z0-9_:-]+)+$")


class _Ride(Generic[In, Out]):
    """Collects what arrives while one flight is under way.

    Args:
        fly: writes many at once, all or nothing; the answers in order.
    """

    def __init__(self, fly: Callable[[Sequence[In]], Awaitable[Sequence[Out]]]) -> None:
        self._fly = fly
        self._waiting: list[tuple[In, asyncio.Future[Out]]] = []
        self._flight: asyncio.Task[None] | None = None

    async def join(self, item: In) -> Out:
        """Be written with the next flight."""
        answer: asyncio.Future[Out] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, answer))
        if self._flight is None or self._flight.done():
            self._flight = asyncio.create_task(self._run(), name="dataswarm-intake")
        return await answer

    async def _run(self) -> None:
        while self._waiting:
            aboard = [(item, answer) for item, answer in self._waiting[:AT_ONCE] if not answer.done()]
            del self._waiting[:AT_ONCE]
            if aboard:
                await self._carry(aboard)

    async def _carry(self, aboard: Sequence[tuple[In, asyncio.Future[Out]]]) -> None:
        try:
            answers = await self._fly([item for item, _ in aboard])
        except Exception as error:  # noqa: BLE001 - whatever it is belongs to those who wait
            if len(aboard) > 1 and isinstance(error, SwarmError) and not isinstance(error, TransientError):
                for one in aboard:  # one of them cannot be written: let it fail alone
                    await self._carry([one])
                return
            for _, answer in aboard:
                if not answer.done():
                    answer.set_exception(error)
            return
        for (_, answer), given in zip(aboard, answers, strict=True):
            if not answer.done():
                answer.set_result(given)

    async def land(self) -> None:
        """Wait for what is under way."""
        if self._flight is not None:
            await asyncio.wait([self._flight])


_NewEvent = tuple[str, str, Reference, str]  # topic, subject, reference, agent
_has_form = lru_cache(4096)(_TOPIC.match)


class Intake:
    """The door for single tasks and events of one process.

    Args:
        db: the swarm's database.
    """

    def __init__(self, db: Database) -> None:
        self._db = db
        self._tasks: _Ride[tuple[NewTask, Batch], int | None] = _Ride(self._enqueue)
        self._events: _Ride[_NewEvent, int] = _Ride(self._publish)

    async def put(self, task: NewTask) -> int | None:
        """Enqueue one task, durably; its id, or None where a living (or outliving) task has the key.

        Raises:
            UsageError: a field that cannot be, or a kind that nobody declared; nothing was written.
            TransientError: the connection broke; nobody knows whether it counted. A key makes repeating safe.
        """
        known = kinds.remembered(self._db)
        if (task.agent, task.kind) not in known.kinds:
            async with self._db.transaction(durable=False) as tx:
                known = await kinds.look(tx)
        return await self._tasks.join((task, Batch([task], known)))

    async def publish(self, topic: str, subject: Asset, reference: Reference, *, agent: str = "") -> int:
        """Record one event, durably; its id. Listeners are told right after the commit.

        Raises:
            UsageError: the topic is malformed, the subject no asset, the agent no name.
        """
        if not _has_form(topic):
            raise UsageError(f"not a topic: {topic[:80]!r}", hint="write noun.kind, for example observation.schema")
        if not isinstance(subject, Asset):
            raise UsageError(f"subject is not an asset reference but {type(subject).__name__}")
        name(reference.noun, "reference")
        if agent:
            name(agent, "agent")
        return await self._events.join((topic, text_of(subject), reference, agent))

    async def close(self) -> None:
        """Wait until all that was accepted is written."""
        await self._tasks.land()
        await self._events.land()

    async def _enqueue(self, items: Sequence[tuple[NewTask, Batch]]) -> Sequence[int | None]:
        known = kinds.remembered(self._db)
        batch = Batch.joined([batch for _, batch in items])
        if known.version is not None and all(kinds.same(batch_kind, known) for batch_kind in batch.kinds):
            rows = await self._db.once(
                statement_of(batch),
                batch.columns(known),
                hints=[waiting.hint_for(agent) for agent in dict.fromkeys(task.agent for task in batch.tasks)]
                if batch.is_plain
                else lambda rows: settled(batch, rows).hints if rows else [],
            )
            if rows:
                found = settled(batch, rows)
                if found.is_waiting:
                    await self._db.follow(waiting.admit)
                return found.ids
        async with self._db.transaction() as tx:  # somebody declared kinds since they were checked
            await kinds.look(tx)
            return await enqueue(tx, [task for task, _ in items])

    async def _publish(self, events: Sequence[_NewEvent]) -> Sequence[int]:
        rows = await self._db.once(
            "publish_events",
            {
                "topics": PARTED.join([event[0] for event in events]),
                "subjects": PARTED.join([event[1] for event in events]),
                "nouns": PARTED.join([event[2].noun for event in events]),
                "agents": PARTED.join([event[3] for event in events]),
                "reference_ids": Numbers([event[2].id for event in events]),
            },
            hints=[bus.HINT],
        )
        return [row[0] for row in rows]
