"""Working on tasks: claim, perform, write verdicts and completion in one transaction; failures back off or escalate."""

from __future__ import annotations

import asyncio
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
from config.errors import ConflictError, LeaseLostError, SwarmError, TransientError
from memory import clock
from memory.bus import Wake
from memory.measuring import counters
from memory.measuring.figures import Spread
from memory.queue import kinds, tasks
from memory.queue.heartbeat import Heartbeat
from memory.queue.kinds import Kind
from memory.queue.worker import FINISHED, Finished, Perform, Running, Worker
from memory.records import Task

log = structlog.get_logger(__name__)
NOTIFY_ATTEMPTS = 8
Deliver = Callable[[Task], Awaitable[None]]


def kinds_of(agent: Agent, limits: Mapping[str, int]) -> list[Kind]:
    """What an agent can be asked to do, as it declares it: its looks, if it senses, and its capabilities.

    `limits` are the configured ones, by kind; one of a kind that the agent does not have is logged and ignored.
    """
    named = [capability.kind for capability in agent.acts]
    if agent.senses and "sense" not in named:
        named.append("sense")
    for unknown in limits.keys() - set(named):
        log.warning("limit.unknown_kind", agent=agent.name, kind=unknown, known=named)
    return [Kind(agent.name, name, max_running=limits.get(name)) for name in named]


NOTIFY = Kind(NOTIFIER, "notify", max_attempts=NOTIFY_ATTEMPTS)


@dataclass(slots=True)
class Workshop:
    """The workers of one process.

    Attributes:
        working: those of the agents for which tasks are taken on; what runs is finished for the others too.
        workers: how many tasks run at once.
        deliver: hands a `notify` task to its channel.
        worker_id: who we are, as leases say.
    """

    agents: Callable[[], Mapping[str, Agent]]
    working: Callable[[], Mapping[str, Agent]]
    around: Callable[[str], Surroundings]
    outgoing: Callable[[], Outgoing]
    deliver: Deliver
    wake: Wake
    worker_id: UUID
    heartbeat: Heartbeat
    workers: int
    lease_seconds: float
    poll_seconds: float
    worker: Worker = field(init=False)

    def __post_init__(self) -> None:
        self.worker = Worker(
            self.around(NOTIFIER).database,
            self._performs,
            worker=self.worker_id,
            wake=self.wake,
            heartbeat=self.heartbeat,
            concurrency=self.workers,
            ahead=0,  # what agents do takes its time: whoever has free hands takes it
            lease_seconds=self.lease_seconds,
            poll_seconds=self.poll_seconds,
            failed=self._failed,
        )

    @property
    def running(self) -> Mapping[int, Running]:
        """What is being worked on, by task id."""
        return self.worker.running

    @property
    def lost(self) -> int:
        """How many leases were lost."""
        return self.worker.lost

    @property
    def started(self) -> int:
        """How many tasks were begun."""
        return self.worker.started

    @property
    def finished(self) -> int:
        """How many were finished."""
        return self.worker.finished

    @property
    def retried(self) -> int:
        """How many failed and are tried again."""
        return self.worker.retried

    @property
    def claim_seconds(self) -> Spread:
        """How long claims took."""
        return self.worker.claim_seconds

    @property
    def pickup_seconds(self) -> Spread:
        """How long tasks were ready before they were begun."""
        return self.worker.pickup_seconds

    async def run(self, stop: asyncio.Event, drain_seconds: float) -> None:
        """Until told to stop; then finish within the deadline, or hand back."""
        await self.worker.run(stop, drain_seconds)

    def lose(self, task_id: int) -> None:
        """The lease of a task is gone: stop working on it."""
        self.worker.lose(task_id)

    def _performs(self) -> Mapping[str, Perform]:
        return dict.fromkeys([*self.working(), NOTIFIER], self._perform)

    async def _perform(self, task: Task) -> Finished:
        around = self.around(task.agent)
        if task.agent == NOTIFIER:
            await self.deliver(task)
            async with around.database.transaction(clearance=around.clearance) as tx:
                await tasks.succeed(tx, task, None)
        else:
            await self._work(task, around)
        return FINISHED

    async def _work(self, task: Task, around: Surroundings) -> None:
        agent = self.agents()[task.agent]
        window = around.window(await clock.now(around.database))
        if task.kind == "sense":
            await sense(agent, task, around, window)
            return
        verdicts = await agent.act(task, TaskBench(around, task, window))
        await self._finish(task, around, window, verdicts)

    async def _finish(self, task: Task, around: Surroundings, window: Window, verdicts: Sequence[Verdict]) -> None:
        async with around.database.transaction(clearance=around.clearance) as tx:
            await tasks.succeed(tx, task, {"verdicts": [type(v).__name__ for v in verdicts]})
            shared = around.settings().memory.shared_importance
            writing = Writing(tx, task.agent, self.outgoing(), window.now, tuple(window.consulted), shared)
            await writing.write(verdicts)

    async def _failed(self, task: Task, error: Exception) -> Finished:
        """Retryable: back off. Otherwise, or when the attempts are used up: a dead letter, and a human is told."""
        around = self.around(task.agent)
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
                kind = (await kinds.known(tx)).require(task.agent, task.kind)
                hint = f" → {error.hint}" if isinstance(error, SwarmError) and error.hint else ""
                wait = kind.wait(task.attempt) if again else None
                await tasks.fail(tx, task, f"{code}: {text}{hint}", retry_in=wait)
                await counters.count(tx, "dataswarm_task_failures_total", {"kind": task.kind, "error": code})
                if not again and task.incident_id is not None and task.kind != "notify":
                    writing = Writing(tx, task.agent, self.outgoing(), now)
                    reason = f"{task.kind} failed for good: {text}"
                    await writing.write([Escalate(task.incident_id, reason, {"task": task.id, "error": code})])
            self.worker.count_failure(again=again)
        except LeaseLostError:
            log.info("task.lease_lost", task=task.id, kind=task.kind)
        except SwarmError as problem:
            log.warning("task.failure_unwritten", problem=problem.message, task=task.id)
        return FINISHED
