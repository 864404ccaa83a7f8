"""What `/metrics` shows: rows of the blackboard, read in the background, and beside them this process's own state.

A scrape never touches the database. What comes from rows is equal on every replica (take `max`, not `sum`, over
instances); what is this process's own differs from one to the next.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass

import structlog
from prometheus_client import CollectorRegistry, Counter, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.core import Metric
from prometheus_client.exposition import choose_encoder

from agents.reasoning import Spent
from config.errors import SwarmError
from dataswarm.readings import Readings, read
from memory.connection.database import Database
from memory.measuring.figures import Figures, Spread
from memory.server.health import Trouble

log = structlog.get_logger(__name__)
REFRESH_SECONDS = 5.0
STALE_SECONDS = 60.0
PATIENCE = 20  # of the time between two readings, at most one twentieth is spent reading


@dataclass(frozen=True, slots=True)
class Local:
    """What only this process knows of itself.

    Attributes:
        process: its identity, as in the table of processes.
        is_ready: does `/readyz` say yes?
        is_listening: do notifications come through?
        gaps: how often they stopped coming.
        running: tasks being worked on.
        leases_lost: tasks stopped because their lease was gone.
        has_config_problem: was the changed configuration refused?
        config: fingerprint of the configuration it runs.
        figures: what it has counted of its coordination; None where nobody counts.
    """

    process: str
    is_ready: bool
    is_listening: bool
    gaps: int
    running: int
    leases_lost: int
    has_config_problem: bool
    config: str
    figures: Figures | None = None


class Metrics:
    """A registry of its own, so that several may live in one process.

    Args:
        database: where the rows are.
        version: of the project.
        source: `live` or `demo`; stands on every sample of `dataswarm_build_info`.
        local: this process's own state at a moment, None before there is any.
        clock: seconds that only grow.

    Attributes:
        local: may be set later, once there is a process to ask.
    """

    def __init__(
        self,
        database: Database,
        *,
        version: str = "",
        source: str = "live",
        local: Callable[[], Local | None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._version = version
        self._source = source
        self.local = local
        self._clock = clock
        self._readings: Readings | None = None
        self._read_at = clock()
        self._reading_seconds = 0.0
        self._told: frozenset[Trouble] = frozenset()
        self.registry = CollectorRegistry()
        for own in (ProcessCollector, PlatformCollector, GCCollector):
            own(registry=self.registry)
        self._tokens = Counter(
            "dataswarm_model_tokens",
            "Tokens this process exchanged with a model.",
            ["model", "direction"],
            registry=self.registry,
        )
        self._cost = Counter(
            "dataswarm_model_cost_dollars",
            "What this process spent on a model, where the price is known.",
            ["model"],
            registry=self.registry,
        )
        self._misses = Counter(
            "dataswarm_metrics_refresh_failures",
            "Readings of the blackboard for metrics that failed.",
            registry=self.registry,
        )
        self.registry.register(self)

    def spent(self, spent: Spent) -> None:
        """Count what a piece of reasoning cost."""
        self._tokens.labels(spent.model, "input").inc(spent.input_tokens)
        self._tokens.labels(spent.model, "output").inc(spent.output_tokens)
        if spent.cost_dollars is not None:
            self._cost.labels(spent.model).inc(spent.cost_dollars)

    async def refresh(self) -> None:
        """Read the rows; what was read before stands until it is stale.

        Raises:
            TransientError: the database is away.
        """
        begun = self._clock()
        try:
            self._readings = await read(self._database)
        except SwarmError:
            self._misses.inc()
            raise
        finally:
            self._reading_seconds = self._clock() - begun
        self._read_at = self._clock()

    async def run(self, stop: asyncio.Event, every: float = REFRESH_SECONDS) -> None:
        """Refresh until `stop`; the more a reading takes, the rarer it is."""
        is_told = False
        while not stop.is_set():
            try:
                await self.refresh()
                is_told = False
                self._tell_troubles()
            except SwarmError as error:
                if not is_told:
                    log.warning(
                        "metrics.not_read", problem=error.message, shown="states for a minute, then totals only"
                    )
                is_told = True
            with suppress(TimeoutError):
                async with asyncio.timeout(max(every, self._reading_seconds * PATIENCE)):
                    await stop.wait()

    def _tell_troubles(self) -> None:
        """Log what is wrong with the database when it begins, not with every reading."""
        now = self._readings.troubles if self._readings is not None else ()
        kinds = {trouble.kind for trouble in self._told}
        for trouble in now:
            if trouble.kind not in kinds:
                log.warning("database.trouble", trouble=trouble.kind, what=trouble.what, hint=trouble.hint)
        self._told = frozenset(now)

    def render(self, accept: str = "") -> tuple[bytes, str]:
        """The page as Prometheus asked for it, and its content type."""
        encode, content_type = choose_encoder(accept)
        return encode(self.registry), content_type

    def collect(self) -> Iterator[Metric]:
        """What was read last, and this process; called by the registry, waits for nothing."""
        age = self._clock() - self._read_at
        is_fresh = self._readings is not None and age <= STALE_SECONDS
        yield _gauge(
            "dataswarm_build_info", "Which version answers, from live or demo data.", 1, version=self._version,
            source=self._source,
        )  # fmt: skip
        yield _gauge("dataswarm_metrics_age_seconds", "Since the rows were last read.", age)
        yield _gauge("dataswarm_metrics_fresh", "Are the states below from the last minute?", is_fresh)
        if self._readings is not None:
            yield from self._readings.totals
            if is_fresh:
                yield from self._readings.states
        if (local := self.local()) is not None:
            yield from _own(local)


def _own(local: Local) -> Iterator[Metric]:
    yield _gauge(
        "dataswarm_process_info", "This process and its configuration.", 1, process=local.process, config=local.config
    )
    yield _gauge("dataswarm_ready", "Does this process say that it is ready?", local.is_ready)
    yield _gauge("dataswarm_config_problem", "Was a changed configuration refused?", local.has_config_problem)
    yield _gauge("dataswarm_listener_connected", "Do notifications come through?", local.is_listening)
    yield _gauge("dataswarm_tasks_running", "Tasks this process works on.", local.running)
    yield _counter("dataswarm_listener_gaps", "How often notifications stopped coming.", local.gaps)
    yield _counter("dataswarm_leases_lost", "Tasks stopped because their lease was gone.", local.leases_lost)
    if local.figures is not None:
        yield from _counted(local.figures)


def _counted(figures: Figures) -> Iterator[Metric]:
    yield _counter("dataswarm_listener_received", "Notifications that came in.", figures.received)
    yield _counter("dataswarm_listener_catch_ups", "How often all looked for what a gap had hidden.", figures.catch_ups)
    yield _counter("dataswarm_heartbeats", "Rounds in which leases of tasks were renewed.", figures.beats)
    yield _counter("dataswarm_agent_leases_lost", "Agents that went to another process.", figures.agent_leases_lost)
    yield _counter("dataswarm_tasks_started", "Tasks this process began.", figures.started)
    yield _counter("dataswarm_tasks_finished", "Tasks this process finished.", figures.finished)
    yield _counter("dataswarm_task_retries", "Attempts that failed and are made again.", figures.retried)
    yield _spread("dataswarm_task_claim_seconds", "How long claiming took.", figures.claim)
    yield _spread("dataswarm_task_pickup_seconds", "From a task being ready to its first line.", figures.pickup)


def _gauge(name: str, meaning: str, value: float, **labels: str) -> Metric:
    family = Metric(name, meaning, "gauge")
    family.add_sample(name, labels, float(value))
    return family


def _spread(name: str, meaning: str, found: Spread) -> Metric:
    family = Metric(name, meaning, "histogram")
    reached = 0
    for bound, count in zip((*map(str, found.bounds), "+Inf"), found.counts, strict=True):
        reached += count
        family.add_sample(f"{name}_bucket", {"le": bound}, float(reached))
    family.add_sample(f"{name}_count", {}, float(reached))
    family.add_sample(f"{name}_sum", {}, found.seconds)
    return family


def _counter(name: str, meaning: str, value: float) -> Metric:
    family = Metric(name, meaning, "counter")
    family.add_sample(f"{name}_total", {}, float(value))
    return family
