"""Working on tasks: claim, perform, write verdicts and completion in one transaction; failures back off or escalate."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from uuid import UUID

import structlog

from agents.base import Agent
from agents.runtime.bench import Surroundings, TaskBench
from agents.runtime.sensing import sense
from agents.runtime.window import Window
from agents.runtime.writing import NOTIFIER, Outgoing, Writing
from agents.verdicts import Escalate, Verdict
from config.errors import ConflictError, LeaseLostError, PermanentError, SwarmError, TransientError
from memory import clock, counters, tasks
from memory.bus import Wake
from memory.heartbeat import Heartbeat
from memory.records import Task

log = structlog.get_logger(__name__)
LONGEST_BACKOFF = 300.0
Deliver = Callable[[Task], Awaitable[None]]


def backoff(attempt: int, *, base: float = 1.0, longest: float = LONGEST_BACKOFF) -> float:
    """Seconds before the next attempt: doubling, with full jitter above half, so that herds spread."""
    most = min(longest, base * 2.0 ** (attempt - 1))
    return float(most * (0.5 + random.random() / 2))  # noqa: S311 - jitter, not a secret


@dataclass(slots=True)
class Workshop:
    """The workers of one process.

    Attributes:
        workers: how many tasks run at once.
        deliver: hands a `notify` task to its channel.
        running: what is being worked on, by task id.
    """

    agents: Callable[[], Mapping[str, Agent]]
    around: Callable[[str], Surroundings]
    outgoing: Callable[[], Outgoing]
    deliver: Deliver
    wake: Wake
    worker: UUID
    heartbeat: Heartbeat
    workers: int
    lease_seconds: float
    poll_seconds: float
    running: dict[int, asyncio.Task[None]] = field(default_factory=dict)
    lost: int = 0

    async def run(self, stop: asyncio.Event, drain_seconds: float) -> None:
        """Until told to stop; then finish within the deadline, or hand back."""
        base = self.around(NOTIFIER)
        while not stop.is_set():
            try:
                due = await tasks.promote(base.database)
                free = self.workers - len(self.running)
                claimed: Sequence[Task] = []
                if free > 0:
                    claimed = await tasks.claim(
                        base.database,
                        [*self.agents(), NOTIFIER],
                        limit=free,
                        worker=self.worker,
                        lease_seconds=self.lease_seconds,
                    )
                for task in claimed:
                    self._start(task)
            except SwarmError as error:
                log.warning("worker.turn_failed", problem=error.message)
                due, claimed = None, []
            if not claimed or len(self.running) >= self.workers:
                await self._pause(stop, min(self.poll_seconds, due if due is not None else self.poll_seconds))
        await self._drain(drain_seconds)

    def lose(self, task_id: int) -> None:
        """The lease of a task is gone: stop working on it."""
        running = self.running.get(task_id)
        if running is not None:
            self.lost += 1
            running.cancel("the lease was lost")

    def _start(self, task: Task) -> None:
        self.heartbeat.watch(task)
        job = asyncio.create_task(self._perform(task), name=f"task-{task.id}")
        self.running[task.id] = job
        job.add_done_callback(lambda _: self._finished(task.id))

    def _finished(self, task_id: int) -> None:
        self.running.pop(task_id, None)
        self.heartbeat.forget(task_id)
        self.wake.set()

    async def _pause(self, stop: asyncio.Event, seconds: float) -> None:
        stopping = asyncio.ensure_future(stop.wait())
        waking = asyncio.ensure_future(self.wake.wait(max(seconds, 0.005)))
        _, pending = await asyncio.wait({stopping, waking}, return_when=asyncio.FIRST_COMPLETED)
        for waiting in pending:
            waiting.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await waiting

    async def _drain(self, seconds: float) -> None:
        jobs = list(self.running.values())
        if not jobs:
            return
        log.info("worker.draining", tasks=len(jobs))
        _, late = await asyncio.wait(jobs, timeout=seconds)
        for job in late:
            job.cancel("draining")
        if late:
            await asyncio.wait(late, timeout=5)

    async def _perform(self, task: Task) -> None:
        around = self.around(task.agent)
        try:
            async with asyncio.timeout(task.deadline_seconds):
                await self._work(task, around)
        except asyncio.CancelledError:
            log.info("task.cancelled", task=task.id, kind=task.kind)
            await asyncio.shield(self._give_back(task, around))
        except LeaseLostError:
            log.info("task.lease_lost", task=task.id, kind=task.kind)
        except TimeoutError:
            error = TransientError(f"took longer than its deadline of {task.deadline_seconds:g} s")
            await self._failed(task, around, error)
        except Exception as error:  # noqa: BLE001 - whatever an agent raises ends its task, not the process
            await self._failed(task, around, error)

    async def _work(self, task: Task, around: Surroundings) -> None:
        if task.agent == NOTIFIER:
            await self.deliver(task)
            async with around.database.transaction(clearance=around.clearance) as tx:
                await tasks.succeed(tx, task, None)
            return
        agent = self.agents()[task.agent]
        window = Window(
            around.database,
            clearance=around.clearance,
            settings=around.settings,
            playbooks=around.playbooks,
            now=await clock.now(around.database),
        )
        if task.kind == "sense":
            await sense(agent, task, around, window)
            return
        verdicts = await agent.act(task, TaskBench(around, task, window))
        await self._finish(task, around, window, verdicts)

    async def _finish(self, task: Task, around: Surroundings, window: Window, verdicts: Sequence[Verdict]) -> None:
        async with around.database.transaction(clearance=around.clearance) as tx:
            await tasks.succeed(tx, task, {"verdicts": [type(v).__name__ for v in verdicts]})
            writing = Writing(tx, task.agent, self.outgoing(), window.now, tuple(window.consulted))
            await writing.write(verdicts)

    async def _give_back(self, task: Task, around: Surroundings) -> None:
        with contextlib.suppress(SwarmError):
            async with around.database.transaction(clearance=around.clearance) as tx:
                await tasks.give_back(tx, [task])

    async def _failed(self, task: Task, around: Surroundings, error: Exception) -> None:
        """Retryable: back off. Otherwise, or when the attempts are used up: a dead letter, and a human is told."""
        retryable = isinstance(error, (TransientError, ConflictError)) or (
            isinstance(error, SwarmError) and error.retryable
        )
        again = retryable and task.attempt < task.max_attempts
        code = error.code if isinstance(error, SwarmError) else "bug"
        text = error.message if isinstance(error, SwarmError) else f"{type(error).__name__} in {task.agent}"
        if isinstance(error, SwarmError):
            log.warning("task.failed", problem=text, task=task.id, kind=task.kind, again=again)
        else:
            log.error("task.crashed", task=task.id, kind=task.kind, exc_info=error)
        try:
            now = await clock.now(around.database)
            async with around.database.transaction(clearance=around.clearance) as tx:
                await tasks.fail(tx, task, f"{code}: {text}", retry_in=backoff(task.attempt) if again else None)
                await counters.count(tx, "dataswarm_task_failures_total", {"kind": task.kind, "error": code})
                if not again and task.incident_id is not None and task.kind != "notify":
                    writing = Writing(tx, task.agent, self.outgoing(), now)
                    reason = f"{task.kind} failed for good: {text}"
                    await writing.write([Escalate(task.incident_id, reason, {"task": task.id, "error": code})])
        except LeaseLostError:
            log.info("task.lease_lost", task=task.id, kind=task.kind)
        except PermanentError as problem:
            log.warning("task.failure_unwritten", problem=problem.message, task=task.id)
        except SwarmError as problem:
            log.warning("task.failure_unwritten", problem=problem.message, task=task.id)
