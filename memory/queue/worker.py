"""A worker: claims tasks, performs them, finishes them, and loses none when it stops, hangs or dies.

Claiming, performing and finishing overlap: while handlers run, the next tasks are claimed on one connection and what is
finished is written on another, many at once. Runners are tasks that live as long as the worker: a handler that does not
wait for anything costs no task of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final, Literal
from uuid import UUID

from config.errors import LeaseLostError, SwarmError, TransientError
from memory.bus import Wake
from memory.connection.database import Database
from memory.measuring.figures import Spread
from memory.queue import claiming, kinds, tasks
from memory.queue.finishing import Finishing
from memory.queue.heartbeat import Heartbeat
from memory.queue.new_tasks import LARGEST, encode
from memory.records import Task

_log = logging.getLogger(__name__)


class _Ended(Enum):
    FINISHED = "finished"


Finished = Literal[_Ended.FINISHED]
FINISHED: Final = _Ended.FINISHED
Perform = Callable[[Task], Awaitable[Any]]  # the result as JSON, or FINISHED
Performs = Mapping[str, Perform]
Failed = Callable[[Task, Exception], Awaitable[Finished | None]]

HEAL_SECONDS = 0.5  # how often an idle worker looks for leases that expired
SLOW_SECONDS = 0.1  # a task that waits so long in here was claimed too far ahead
STALE_SECONDS = 1.0  # and one that waits so long goes back, for somebody with free hands
LAST_SECONDS = 5.0  # cancelled handlers get so long to clean up
RETRY_SECONDS = 0.2
PROMOTE_APART_SECONDS = 0.02
LOOK_SECONDS = 0.2  # while there is work a hint is not taken for one about what is due, but looked at so often
IN_A_ROW = 64


@dataclass(slots=True)
class Running:
    """A task being performed: since when (loop's clock), until when it may, and why it was told to stop."""

    task: Task
    runner: asyncio.Task[None]
    since: float
    until: float
    why: str = ""


class Worker:
    """Performs the tasks of some agents until it is told to stop.

    Args:
        db: the swarm's database.
        perform: by agent, what performs a task: it returns the result, which is written with others' in one statement,
            or FINISHED when it ended its task itself, in a transaction of its own.
        worker: who we are, as leases say.
        wake: set when there may be something to do: `listener.subscribe("task")`.
        heartbeat: renews the leases of what is claimed; without one a handler must end within the lease. Whoever makes
            it starts and stops it, and has its `on_lost` call `lose`.
        concurrency: how many tasks run at once.
        ahead: how many more may be claimed before a runner is free. Reached only while tasks are quick.
        lease_seconds: how long a claim holds without a renewal.
        poll_seconds: how often to look when no hint comes, at most every half second while idle (leases expire).
        failed: told of each failure first. It returns FINISHED when it wrote the ending itself; otherwise the worker
            backs off as the kind says, or buries what is not to be tried again.

    Attributes:
        running: what is performed now, by id.
        started, finished, retried, buried, lost: how many; lost ones lost their lease.
        claim_seconds: how long claims took.
        pickup_seconds: from being ready (the server's clock) to the first line of the handler.
    """

    def __init__(
        self,
        db: Database,
        perform: Performs | Callable[[], Performs],
        *,
        worker: UUID,
        wake: Wake,
        heartbeat: Heartbeat | None = None,
        concurrency: int = 16,
        ahead: int = 300,
        lease_seconds: float = 15.0,
        poll_seconds: float = 2.0,
        failed: Failed | None = None,
    ) -> None:
        self._db = db
        self._performs: Callable[[], Performs] = perform if callable(perform) else lambda: perform
        self._worker = worker
        self._wake = wake
        self._heartbeat = heartbeat
        self._concurrency = concurrency
        self._ahead = ahead
        self._lease = lease_seconds
        self._poll = poll_seconds
        self._failed = failed
        self._finishing = Finishing(db, self._settled, self._spoilt, wake.set)
        self._ready: deque[tuple[Task, float, float]] = deque()  # with when it came, and how long it had waited
        self._idle: deque[asyncio.Future[None]] = deque()
        self._room = asyncio.Event()
        self._due = asyncio.Event()
        self._reach = 0
        self._overdue: asyncio.TimerHandle | None = None
        self._soonest = 0.0
        self._looked = 0.0  # when for what is due, the last time
        self._stopping = False
        self._is_waiting = False
        self.running: dict[int, Running] = {}
        self.started = 0
        self.retried = 0
        self.buried = 0
        self.lost = 0
        self.finished = 0
        self.claim_seconds = Spread()
        self.pickup_seconds = Spread()

    def lose(self, task_id: int) -> None:
        """The lease of a task is gone: stop working on it."""
        self.lost += 1
        self._tell(task_id, "lost")

    async def run(self, stop: asyncio.Event, drain_seconds: float = 30.0) -> None:
        """Until told to stop; then finish what runs within the deadline, and hand back the rest.

        Raises:
            Exception: a bug ended one of its loops; what ran was handed back.
        """
        self._stopping = False
        runners = [asyncio.create_task(self._run_tasks(), name=f"runner-{n}") for n in range(self._concurrency)]
        claiming_ = asyncio.create_task(self._claim_tasks(), name="claiming")
        others = [
            asyncio.create_task(self._promote_tasks(), name="promoting"),
            asyncio.create_task(self._return_stale(), name="returning"),
            asyncio.create_task(self._finishing.admit(), name="admitting"),
        ]
        finishing = asyncio.create_task(self._finishing.run(), name="finishing")
        told = asyncio.create_task(stop.wait())
        loops = [*runners, claiming_, *others, finishing]
        try:
            await asyncio.wait([told, *loops], return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            drain_seconds = 0.0
            raise
        finally:
            told.cancel()
            self._stopping = True
            if self._is_waiting:
                claiming_.cancel()
            for loop in others:
                loop.cancel()
            await asyncio.shield(self._drain(claiming_, drain_seconds))
            await self._finishing.land()
            finishing.cancel()
            for runner in runners:
                runner.cancel()
            ended = await asyncio.gather(*loops, told, return_exceptions=True)
            if self._overdue is not None:
                self._overdue.cancel()
        for outcome in ended:
            if isinstance(outcome, Exception):
                raise outcome

    # Claiming

    async def _claim_tasks(self) -> None:
        loop = asyncio.get_running_loop()
        while not self._stopping:
            limit = self._wanted()
            if limit <= 0:
                self._room.clear()
                await self._interruptibly(self._room.wait())
                continue
            start = loop.time()
            try:
                found = await claiming.claim(
                    self._db,
                    list(self._performs()),
                    limit=limit,
                    worker=self._worker,
                    lease_seconds=self._lease,
                )
                now = loop.time()
                self.claim_seconds.observe(now - start)
                self._take(found, now)
                await tasks.bury(self._db, found.exhausted)
            except SwarmError as error:
                _log.warning("a claim failed and is tried again", extra={"problem": error.message})
                await self._interruptibly(asyncio.sleep(min(RETRY_SECONDS, self._poll)))
                continue
            if len(found.tasks) < limit:
                if not found.tasks or now - self._looked > LOOK_SECONDS:
                    self._due.set()  # told, and nothing there: it may be about what is due later
                await self._interruptibly(self._wake.wait(min(self._poll, HEAL_SECONDS)))

    async def _interruptibly(self, wait: Awaitable[object]) -> None:
        """Wait where stopping may cut it short: with no claim under way, whose tasks would be forgotten."""
        self._is_waiting = True
        try:
            await wait
        finally:
            self._is_waiting = False

    def _wanted(self) -> int:
        """How many to claim now; 0 while there is enough."""
        waiting = len(self._ready)
        if self._finishing.waiting > 4 * (self._ahead + self._concurrency):
            return 0
        free = self._concurrency - len(self.running)
        if waiting > max(free, 0) + self._reach // 2:
            return 0
        return free + self._reach - waiting

    def _take(self, found: claiming.Claimed, now: float) -> None:
        if self._heartbeat is not None and found.tasks:
            self._heartbeat.hold(found.tasks)
        if not self._ready and not self._stopping and len(found.tasks) >= self._concurrency - len(self.running):
            self._reach = min(self._ahead, max(self._concurrency, self._reach * 2))  # they would run dry
        self._ready.extend(zip(found.tasks, [now] * len(found.tasks), found.waits, strict=False))
        for _ in range(min(len(self._idle), len(found.tasks))):
            waiter = self._idle.popleft()
            if not waiter.done():
                waiter.set_result(None)

    async def _promote_tasks(self) -> None:
        while True:
            due: float | None = None
            self._looked = asyncio.get_running_loop().time()
            try:
                due = await tasks.promote(self._db)
            except SwarmError as error:
                _log.warning("promoting failed and is tried again", extra={"problem": error.message})
            wait = self._poll if due is None else min(self._poll, max(due, PROMOTE_APART_SECONDS))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._due.wait()
                    await asyncio.sleep(PROMOTE_APART_SECONDS)
            self._due.clear()

    async def _return_stale(self) -> None:
        """What waits in here too long goes back, for somebody with free hands."""
        loop = asyncio.get_running_loop()
        most = min(STALE_SECONDS, self._lease / 2)
        while True:
            await asyncio.sleep(most / 2)
            stale = []
            while self._ready and self._ready[0][1] < loop.time() - most:
                stale.append(self._ready.popleft()[0])
            if stale:
                self._reach = 0
                await self._give_back(stale)

    async def _give_back(self, given: list[Task]) -> None:
        if not given:
            return
        if self._heartbeat is not None:
            self._heartbeat.forget(*(task.id for task in given))
        try:
            async with self._db.transaction(durable=False) as tx:
                await tasks.give_back(tx, given)
        except SwarmError as error:
            _log.warning("tasks could not be handed back; their leases run out", extra={"problem": error.message})

    # Performing

    async def _run_tasks(self) -> None:
        loop = asyncio.get_running_loop()
        me = asyncio.current_task()
        assert me is not None  # noqa: S101 - this is a coroutine of a task
        while not self._stopping:
            while self._ready and not self._stopping:
                task, came, waited = self._ready.popleft()
                now = loop.time()
                if now - came > SLOW_SECONDS:
                    self._reach = 0
                elif len(self._ready) <= self._reach // 2:
                    self._room.set()
                self.pickup_seconds.observe(max(0.0, waited + now - came))
                await self._perform(task, Running(task, me, now, now + task.deadline_seconds))
                self._room.set()
                if not self.started % IN_A_ROW:
                    await asyncio.sleep(0)  # handlers that never wait must not hold up claiming and finishing
            waiter: asyncio.Future[None] = loop.create_future()
            self._idle.append(waiter)
            await waiter

    async def _perform(self, task: Task, running: Running) -> None:
        perform = self._performs().get(task.agent)
        if perform is None:  # switched off since it was claimed
            await self._give_back([task])
            return
        self.running[task.id] = running
        self.started += 1
        if self._heartbeat is not None:
            self._heartbeat.begin(task.id)
        if self._overdue is None or running.until < self._soonest:
            self._watch_until(running.until)
        try:
            self._end(task, await perform(task))
        except asyncio.CancelledError:
            if not running.why:
                await asyncio.shield(self._give_back([task]))
                raise
            _come_back(running)
            await self._stopped(task, running.why)
        except LeaseLostError:
            running.why = "lost"
            await self._stopped(task, "lost")
        except Exception as error:  # noqa: BLE001 - whatever a handler raises ends its task, not the worker
            running.why = "failing"  # nothing interrupts the writing of it
            await self._failure(task, error)
        finally:
            self.running.pop(task.id, None)
            _come_back(running)

    def _end(self, task: Task, result: object) -> None:
        if result is FINISHED:
            self._forget(task)
            self.finished += 1
        else:
            self._finishing.add(task, None if result is None else encode(result, "result", LARGEST))

    async def _stopped(self, task: Task, why: str) -> None:
        if why == "deadline":
            error = TransientError(f"took longer than its deadline of {task.deadline_seconds:g} s")
            await self._failure(task, error)
        elif why == "draining":
            await self._give_back([task])
        else:
            self._forget(task)
            _log.info("the lease of a task was lost", extra={"task": task.id, "kind": task.kind})

    def _tell(self, task_id: int, why: str) -> None:
        running = self.running.get(task_id)
        if running is not None and not running.why:
            running.why = why
            running.runner.cancel(why)

    def _watch_until(self, until: float) -> None:
        if self._overdue is not None:
            self._overdue.cancel()
        self._soonest = until
        self._overdue = asyncio.get_running_loop().call_at(until, self._end_overdue)

    def _end_overdue(self) -> None:
        self._overdue = None
        now = asyncio.get_running_loop().time()
        for running in list(self.running.values()):
            if running.until <= now:
                self._tell(running.task.id, "deadline")
        left = [running.until for running in self.running.values() if not running.why]
        if left:
            self._watch_until(min(left))

    # Ending

    def _settled(self, done: list[Task], lost: list[Task]) -> None:
        """Results were written; those of lost tasks were not."""
        self.finished += len(done)
        self.lost += len(lost)
        if self._heartbeat is not None:
            self._heartbeat.forget(*(task.id for task in done), *(task.id for task in lost))
        self._room.set()

    async def _spoilt(self, task: Task, error: Exception) -> None:
        """A result could not be written."""
        await self._failure(task, error)

    async def _failure(self, task: Task, error: Exception) -> None:
        """Back off, or bury: by the kind, after the callback had its say."""
        try:
            if self._failed is not None and await self._failed(task, error) is FINISHED:
                self._forget(task)
                return
            is_known = isinstance(error, SwarmError)
            text = f"{error.code}: {error.message}" if isinstance(error, SwarmError) else f"bug: {type(error).__name__}"
            again = (not is_known or getattr(error, "retryable", False)) and task.attempt < task.max_attempts
            wait = kinds.remembered(self._db).kinds.get((task.agent, task.kind), _ANY).wait(task.attempt)
            async with self._db.transaction() as tx:
                await tasks.fail(tx, task, text, retry_in=wait if again else None)
            self.count_failure(again=again)
        except LeaseLostError:
            _log.info("the lease of a task was lost", extra={"task": task.id, "kind": task.kind})
        except SwarmError as problem:
            _log.warning("a failure could not be written; the lease runs out", extra={"problem": problem.message})
        self._forget(task)

    def count_failure(self, *, again: bool) -> None:
        """Count a failure that was written: to be tried again, or for good."""
        if again:
            self.retried += 1
        else:
            self.buried += 1

    def _forget(self, task: Task) -> None:
        if self._heartbeat is not None:
            self._heartbeat.forget(task.id)

    async def _drain(self, claimer: asyncio.Task[None], seconds: float) -> None:
        await asyncio.wait([claimer], timeout=LAST_SECONDS)
        given = [task for task, _, _ in self._ready]
        self._ready.clear()
        await self._give_back(given)
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        if self.running:
            _log.info("the worker is draining", extra={"tasks": len(self.running)})
        while self.running and loop.time() < until:
            self._room.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(until - loop.time()):
                    await self._room.wait()
        for task_id in list(self.running):
            self._tell(task_id, "draining")
        until = loop.time() + LAST_SECONDS
        while self.running and loop.time() < until:
            self._room.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(until - loop.time()):
                    await self._room.wait()


_ANY = kinds.Kind("", "")


def _come_back(running: Running) -> None:
    """A runner that was told to stop its task goes on with the next."""
    if running.why:
        while running.runner.cancelling():
            running.runner.uncancel()
