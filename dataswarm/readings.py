"""From rows of the blackboard to families of samples: what every replica shows alike."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from prometheus_client.core import Metric

from memory import clock, measures
from memory.board import controls
from memory.connection.database import Database
from memory.measures import Histogram, Measures
from memory.measuring.histograms import BOUNDS, HISTOGRAMS
from memory.members import presence
from memory.queue import tasks
from memory.server.health import KINDS, Health, Trouble, health

# What has no labels stands at 0 from the beginning: a first increment must be an increase, not a new series.
ZEROS = ("dataswarm_incidents_reopened_total", "dataswarm_rework_total")
SKIPPED = "dataswarm_events_skipped_total"
MEANINGS: Mapping[str, str] = {
    "dataswarm_incidents_opened_total": "Incidents opened, over all replicas and all time.",
    "dataswarm_incidents_resolved_total": "Incidents ended, by how (auto, human, self_healed, …).",
    "dataswarm_incidents_reopened_total": "Incidents that came back after they had ended.",
    "dataswarm_incidents_open": "Incidents that are somebody's business now.",
    "dataswarm_incident_auto_resolution_ratio": "Auto-resolved of all incidents with a final outcome; none, no sample.",
    "dataswarm_incident_detect_seconds": "From the fault to the opening of its incident.",
    "dataswarm_incident_resolve_seconds": "From the fault to the first clean measurement.",
    "dataswarm_remediations_total": "Remedies by playbook and outcome: verified, undone, failed, refused.",
    "dataswarm_rework_total": "Incidents reopened, and second remedies.",
    "dataswarm_rework_ratio": "Rework of all incidents opened, ever; none opened, no sample.",
    "dataswarm_escalations_total": "Incidents handed to a human, by reason.",
    "dataswarm_escalation_ratio": "Escalated of all incidents opened in the window; none, no sample.",
    "dataswarm_tasks": "Tasks that are not finished, and dead letters (state failed).",
    "dataswarm_task_oldest_seconds": "How long the oldest task that could run has been waiting.",
    "dataswarm_bus_lag_events": "Events an agent hears of and has not considered yet, up to 1,000.",
    "dataswarm_events_skipped_total": "Events that retention dropped before an agent had read them.",
    "dataswarm_agent_up": "Does a process hold this agent's lease?",
    "dataswarm_agent_wanted": "Does a process that reported within a day have this agent enabled?",
    "dataswarm_agent_heartbeat_age_seconds": "Since the agent's holder last renewed its lease.",
    "dataswarm_processes": "Replicas that report in time, by the fingerprint of their configuration.",
    "dataswarm_processes_silent": "Replicas that stopped reporting without leaving.",
    "dataswarm_partition_horizon_seconds": "How far ahead a table's partitions are made.",
    "dataswarm_pinned_xmin_age_seconds": "How long somebody has kept old rows from being cleared, as far as is known.",
    "dataswarm_pinned_xmin_age_transactions": "Transactions begun since, while somebody keeps old rows.",
    "dataswarm_table_dead_rows": "Rows of a hot table that wait to be cleared.",
    "dataswarm_table_bytes": "Size of a hot table with its indexes.",
    "dataswarm_kill_switch_on": "Is everything outside forbidden by a human?",
    "dataswarm_approvals_pending": "Proposals that wait for a human's answer.",
    "dataswarm_escalations_pending": "Escalations nobody has acknowledged.",
    "dataswarm_silences_active": "Assets muted by a human.",
    "dataswarm_conflicts_total": "Races lost honestly.",
    "dataswarm_task_failures_total": "Attempts of tasks that failed, by the error's code.",
    "dataswarm_events_set_aside_total": "Events an agent could not take in and passed over.",
    "dataswarm_embeddings_pending": "Rows without their embedding yet.",
    "dataswarm_embeddings_failing": "Rows whose embedding failed and is tried again.",
    "dataswarm_embedding_oldest_pending_seconds": "How long the oldest row has waited for its embedding.",
}
DAY_SECONDS = 86400.0
SILENT_SECONDS = 120.0  # four missed reports


@dataclass(frozen=True, slots=True)
class Readings:
    """What the rows say at one moment: totals, which stay true while the database is away, and states, which do not.

    `troubles`: what is wrong with the database itself.
    """

    totals: tuple[Metric, ...]
    states: tuple[Metric, ...]
    troubles: tuple[Trouble, ...] = ()


async def read(database: Database) -> Readings:
    """Count everything once.

    Raises:
        TransientError: the database is away.
    """
    now = await clock.now(database)
    async with database.transaction(durable=False) as tx:
        counted = await measures.snapshot(tx)
        depth = await tasks.depth(tx)
        agents = await presence.all(tx)
        replicas = await presence.processes(tx)
        database_health = await health(tx)
        switch = await controls.kill_switch(tx)
    states = Families("gauge")
    for sample in counted.gauges:
        states.add(sample.name, sample.labels, sample.value)
    _rework(states, counted)
    _tasks(states, depth)
    wanted = {name for replica in replicas for name in replica.agents}
    for agent in agents:
        labels = {"agent": agent.agent}
        states.add("dataswarm_bus_lag_events", labels, agent.lag)
        states.add("dataswarm_agent_wanted", labels, agent.enabled and agent.agent in wanted)
        is_held = agent.holder is not None and agent.lease_until is not None and agent.lease_until > now
        states.add("dataswarm_agent_up", labels, is_held)
        if agent.beat_at is not None:
            age = max(0.0, (now - agent.beat_at).total_seconds())
            states.add("dataswarm_agent_heartbeat_age_seconds", labels, age)
    _replicas(states, replicas)
    _health(states, database_health)
    states.add("dataswarm_kill_switch_on", {}, switch is not None)
    totals = _totals(counted, [agent.agent for agent in agents])
    return Readings(totals, states.all(), tuple(database_health.troubles))


def _rework(states: Families, counted: Measures) -> None:
    """How often an incident had to be worked on again, over all of them; both figures are totals of all replicas."""
    totals: dict[str, float] = {}
    for total in counted.counters:
        totals[total.name] = totals.get(total.name, 0.0) + total.value
    if opened := totals.get("dataswarm_incidents_opened_total"):
        states.add("dataswarm_rework_ratio", {"window": "all"}, totals.get("dataswarm_rework_total", 0.0) / opened)


def _health(states: Families, found: Health) -> None:
    """A pin of each kind, 0 where there is none: an alert must see it go."""
    for kind in KINDS:
        pin = found.oldest(kind)
        states.add("dataswarm_pinned_xmin_age_transactions", {"kind": kind}, pin.transactions if pin else 0)
        states.add("dataswarm_pinned_xmin_age_seconds", {"kind": kind}, (pin.seconds or 0.0) if pin else 0.0)
    for table in found.tables:
        states.add("dataswarm_table_dead_rows", {"table": table.name}, table.dead)
        states.add("dataswarm_table_bytes", {"table": table.name}, table.bytes)
    for name, days in found.horizon.items():
        states.add("dataswarm_partition_horizon_seconds", {"table": name}, days * DAY_SECONDS)


class Families:
    """Samples gathered by name, each name once however its series come in."""

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._found: dict[str, Metric] = {}

    def add(self, name: str, labels: Mapping[str, str], value: float) -> None:
        """One more series."""
        family = name.removesuffix("_total") if self._kind == "counter" else name
        if family not in self._found:
            self._found[family] = Metric(family, MEANINGS.get(name, "Counted from rows of the blackboard."), self._kind)
        self._found[family].add_sample(name, dict(labels), float(value))

    def all(self) -> tuple[Metric, ...]:
        """Every family."""
        return tuple(self._found.values())


def _totals(counted: Measures, agents: Iterable[str]) -> tuple[Metric, ...]:
    totals = Families("counter")
    for total in counted.counters:
        totals.add(total.name, total.labels, total.value)
    there = {total.name for total in counted.counters}
    for name in ZEROS:
        if name not in there:
            totals.add(name, {}, 0.0)
    told = {total.labels.get("agent") for total in counted.counters if total.name == SKIPPED}
    for agent in agents:
        if agent not in told:
            totals.add(SKIPPED, {"agent": agent}, 0.0)
    measured = {found.name: found for found in counted.histograms}
    return (*totals.all(), *(_histogram(measured.get(name) or _nothing(name)) for name in HISTOGRAMS))


def _nothing(name: str) -> Histogram:
    return Histogram(name, {}, dict.fromkeys((*BOUNDS, "+Inf"), 0.0), 0.0, 0.0)


def _histogram(found: Histogram) -> Metric:
    family = Metric(found.name, MEANINGS.get(found.name, "Measured by the swarm."), "histogram")
    for bound, reached in found.buckets.items():
        le = bound if bound == "+Inf" else str(float(bound))
        family.add_sample(f"{found.name}_bucket", {**found.labels, "le": le}, reached)
    family.add_sample(f"{found.name}_count", dict(found.labels), found.count)
    family.add_sample(f"{found.name}_sum", dict(found.labels), found.sum)
    return family


def _tasks(states: Families, depth: Iterable[Mapping[str, object]]) -> None:
    """By kind and state over all agents; the wait is that of tasks that could run and do not."""
    number: dict[tuple[str, str], float] = {}
    oldest: dict[str, float] = {}
    for row in depth:
        kind, state = str(row["kind"]), str(row["state"])
        number[kind, state] = number.get((kind, state), 0.0) + float(str(row["count"]))
        if state == "ready":
            oldest[kind] = max(oldest.get(kind, 0.0), float(str(row["oldest_seconds"])))
    for (kind, state), count in number.items():
        states.add("dataswarm_tasks", {"kind": kind, "state": state}, count)
    for kind, seconds in oldest.items():
        states.add("dataswarm_task_oldest_seconds", {"kind": kind}, seconds)


def _replicas(states: Families, replicas: Iterable[presence.Process]) -> None:
    by_config: dict[str, int] = {}
    silent = 0
    for replica in replicas:
        if replica.silent_seconds > SILENT_SECONDS:
            silent += 1
        else:
            by_config[replica.config_fingerprint] = by_config.get(replica.config_fingerprint, 0) + 1
    for fingerprint, number in by_config.items():
        states.add("dataswarm_processes", {"config": fingerprint}, number)
    states.add("dataswarm_processes_silent", {}, silent)
