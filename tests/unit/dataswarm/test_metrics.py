"""What `/metrics` shows, from real rows."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics
from prometheus_client.parser import text_string_to_metric_families as plain_text

from agents.reasoning import Spent
from config.assets import Asset
from config.errors import SwarmError
from dataswarm import metrics as shown_by
from dataswarm.metrics import STALE_SECONDS, Local, Metrics
from memory import bus
from memory.board import controls, escalations
from memory.connection.database import Database
from memory.measuring.figures import Figures, Spread
from memory.members import presence
from memory.queue import kinds, tasks
from memory.records import NewTask, Reference, RemediationState, Sensitivity
from tests.memory.stage import advanced, opened, proposed
from tests.pace import PATIENCE

ORDERS = Asset.parse("warehouse://shop/raw.orders")


def shown(metrics: Metrics) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Every sample by name and labels."""
    page, _ = metrics.render()
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in plain_text(page.decode())
        for sample in family.samples
    }


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    """One sample, or None."""
    return shown(metrics).get((name, frozenset(labels.items())))


def names(metrics: Metrics) -> set[str]:
    """The names of all samples."""
    return {name for name, _ in shown(metrics)}


async def test_an_empty_memory_shows_no_ratio(db: Database) -> None:
    """No sample where there is nothing to divide; counters without labels and histograms begin at zero."""
    metrics = Metrics(db)
    await metrics.refresh()
    there = names(metrics)
    assert "dataswarm_incident_auto_resolution_ratio" not in there
    assert "dataswarm_escalation_ratio" not in there
    assert value(metrics, "dataswarm_rework_total") == 0
    assert value(metrics, "dataswarm_incident_detect_seconds_count") == 0
    assert value(metrics, "dataswarm_kill_switch_on") == 0
    assert value(metrics, "dataswarm_partition_horizon_seconds", table="events") is not None


async def test_rows_become_samples(db: Database) -> None:
    """Incidents, remedies, escalations, tasks, agents and controls, each under its fixed name."""
    async with db.transaction() as tx:
        incident = await opened(tx)
        remedy = await proposed(tx, incident)
        await advanced(tx, remedy, RemediationState.APPROVED, RemediationState.APPLIED, RemediationState.VERIFIED)
        await escalations.escalate(tx, incident.id, "no_playbook: nothing treats it", {})
        await kinds.declare(tx, [kinds.Kind("schema-drift", "sense"), kinds.Kind("pipeline-health", "sense")])
        await tasks.enqueue(tx, [NewTask("schema-drift", "sense", ORDERS), NewTask("pipeline-health", "sense", ORDERS)])
        await tasks.enqueue(tx, [NewTask("schema-drift", "sense", ORDERS, delay_seconds=3600)])
        await presence.enlist(tx, "schema-drift", [], Sensitivity.INTERNAL)
        await presence.enlist(tx, "pipeline-health", [], Sensitivity.INTERNAL)
        await presence.hold(tx, "schema-drift", holder=uuid4(), host="h", process="h:1", seconds=30)
        await presence.beat(tx, uuid4(), "h", 1, "1", "c0ffee", ["schema-drift", "pipeline-health"])
        await controls.set_kill_switch(tx, True, "nina", "month end")
    metrics = Metrics(db, version="1.2.3", source="demo")
    await metrics.refresh()
    expected: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {
        ("dataswarm_incidents_opened_total", (("kind", "build_failure"), ("severity", "error"))): 1,
        ("dataswarm_incidents_open", (("kind", "build_failure"), ("severity", "error"))): 1,
        ("dataswarm_remediations_total", (("outcome", "verified"), ("playbook", "patch-model"))): 1,
        ("dataswarm_escalations_total", (("reason", "no_playbook"),)): 1,
        ("dataswarm_escalations_pending", ()): 1,
        ("dataswarm_escalation_ratio", (("window", "all"),)): 1.0,
        ("dataswarm_tasks", (("kind", "sense"), ("state", "ready"))): 2,
        ("dataswarm_tasks", (("kind", "sense"), ("state", "scheduled"))): 1,
        ("dataswarm_agent_up", (("agent", "schema-drift"),)): 1,
        ("dataswarm_agent_up", (("agent", "pipeline-health"),)): 0,
        ("dataswarm_agent_wanted", (("agent", "pipeline-health"),)): 1,
        ("dataswarm_processes", (("config", "c0ffee"),)): 1,
        ("dataswarm_kill_switch_on", ()): 1,
        ("dataswarm_events_skipped_total", (("agent", "schema-drift"),)): 0,
        ("dataswarm_pinned_xmin_age_transactions", (("kind", "prepared"),)): 0,
        ("dataswarm_table_dead_rows", (("table", "keys"),)): 0,
        ("dataswarm_build_info", (("source", "demo"), ("version", "1.2.3"))): 1,
        ("dataswarm_incident_detect_seconds_count", ()): 1,
        ("dataswarm_incident_detect_seconds_bucket", (("le", "+Inf"),)): 1,
    }
    samples = shown(metrics)
    assert {k: samples.get((k[0], frozenset(k[1]))) for k in expected} == expected
    assert {"dataswarm_task_oldest_seconds", "dataswarm_bus_lag_events", "dataswarm_agent_heartbeat_age_seconds"} <= (
        names(metrics)
    )


async def test_whoever_pins_old_rows_is_a_figure_and_a_line_of_the_log(
    db: Database, owner_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of its kind, in transactions and seconds; told once while it lasts, and gone with it."""
    metrics = Metrics(db)
    told: list[str] = []
    monkeypatch.setattr(shown_by.log, "warning", lambda _, **about: told.append(about["hint"]))
    with psycopg.connect(owner_url) as forgotten:
        forgotten.execute("SELECT pg_current_xact_id()")
        async with db.transaction() as tx:
            await bus.publish(tx, "observation.x", ORDERS, Reference("observation", 1))
        db.clock = lambda: datetime.now(UTC) + timedelta(hours=1)
        await metrics.refresh()
        assert value(metrics, "dataswarm_pinned_xmin_age_seconds", kind="transaction") == pytest.approx(3600, abs=60)
        assert (value(metrics, "dataswarm_pinned_xmin_age_transactions", kind="transaction") or 0) >= 1
        metrics._tell_troubles()
        metrics._tell_troubles()
    assert sum("pg_terminate_backend" in hint for hint in told) == 1  # before midnight partitions are missed as well
    await metrics.refresh()
    assert value(metrics, "dataswarm_pinned_xmin_age_seconds", kind="transaction") == 0


async def test_two_replicas_show_the_same_rows(db: Database) -> None:
    """Counters that come from rows are equal everywhere."""
    async with db.transaction() as tx:
        await opened(tx)
    one, other = Metrics(db), Metrics(db)
    await one.refresh()
    await other.refresh()
    wanted = "dataswarm_incidents_opened_total"
    assert [v for (n, _), v in shown(one).items() if n == wanted] == [1.0]
    assert [v for (n, _), v in shown(other).items() if n == wanted] == [1.0]


async def test_a_scrape_touches_no_database(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rendering reads the last snapshot."""
    metrics = Metrics(db)
    await metrics.refresh()

    def refused(*args: Any, **more: Any) -> Any:
        raise AssertionError("a scrape went to the database")

    monkeypatch.setattr(db, "transaction", refused)
    assert b"dataswarm_kill_switch_on 0.0" in metrics.render()[0]


async def test_stale_states_go_and_totals_stay(db: Database) -> None:
    """While the memory is away, nobody claims to know how things stand; what was counted remains counted."""
    seconds = [100.0]
    metrics = Metrics(db, clock=lambda: seconds[0])
    async with db.transaction() as tx:
        await opened(tx)
    await metrics.refresh()
    assert value(metrics, "dataswarm_metrics_fresh") == 1
    seconds[0] += STALE_SECONDS + 1
    assert value(metrics, "dataswarm_metrics_fresh") == 0
    assert value(metrics, "dataswarm_metrics_age_seconds") == STALE_SECONDS + 1
    assert "dataswarm_incidents_open" not in names(metrics)
    assert "dataswarm_incidents_opened_total" in names(metrics)


async def test_before_the_first_reading_there_is_nothing_to_show(db: Database) -> None:
    """No zeros that nobody counted."""
    metrics = Metrics(db)
    assert value(metrics, "dataswarm_metrics_fresh") == 0
    assert "dataswarm_kill_switch_on" not in names(metrics)


async def test_a_failed_reading_is_counted_and_the_loop_goes_on(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """The background refresh outlives a memory that is away."""
    metrics = Metrics(db)
    stop, tries = asyncio.Event(), 0
    real = db.transaction

    def flaky(*args: Any, **more: Any) -> Any:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise _AwayError
        stop.set()
        return real(*args, **more)

    monkeypatch.setattr(db, "transaction", flaky)
    async with asyncio.timeout(PATIENCE):
        await metrics.run(stop, every=0.01)
    assert value(metrics, "dataswarm_metrics_refresh_failures_total") == 1
    assert value(metrics, "dataswarm_metrics_fresh") == 1


class _AwayError(SwarmError):
    def __init__(self) -> None:
        super().__init__("away")


def test_what_a_model_cost_is_counted_here(unused: Callable[[], Database]) -> None:
    """Tokens by direction; cost only where the price is known."""
    metrics = Metrics(unused())
    metrics.spent(Spent("m1", 100, 20, 0.5))
    metrics.spent(Spent("m1", 1, 2, None))
    metrics.spent(Spent("m2", 7, 8, None))
    assert value(metrics, "dataswarm_model_tokens_total", model="m1", direction="input") == 101
    assert value(metrics, "dataswarm_model_tokens_total", model="m1", direction="output") == 22
    assert value(metrics, "dataswarm_model_cost_dollars_total", model="m1") == 0.5
    assert value(metrics, "dataswarm_model_cost_dollars_total", model="m2") is None


def test_this_process_shows_itself(unused: Callable[[], Database]) -> None:
    """What only it knows: readiness, listening, running and lost work, a refused configuration."""
    metrics = Metrics(unused())
    metrics.local = lambda: Local("p1", True, False, 3, 2, 1, True, "c0ffee")
    assert value(metrics, "dataswarm_process_info", process="p1", config="c0ffee") == 1
    assert value(metrics, "dataswarm_ready") == 1
    assert value(metrics, "dataswarm_listener_connected") == 0
    assert value(metrics, "dataswarm_listener_gaps_total") == 3
    assert value(metrics, "dataswarm_tasks_running") == 2
    assert value(metrics, "dataswarm_leases_lost_total") == 1
    assert value(metrics, "dataswarm_config_problem") == 1


def test_what_this_process_counts_is_shown(unused: Callable[[], Database]) -> None:
    """Catch-ups, retries and the like; claim and pickup as cumulative buckets."""
    claim = Spread()
    claim.observe(0.002, 2)
    claim.observe(100.0)
    metrics = Metrics(unused())
    metrics.local = lambda: Local(
        "p1", True, True, 3, 2, 1, False, "c0ffee", Figures(catch_ups=4, retried=5, agent_leases_lost=6, claim=claim)
    )
    assert value(metrics, "dataswarm_listener_catch_ups_total") == 4
    assert value(metrics, "dataswarm_task_retries_total") == 5
    assert value(metrics, "dataswarm_agent_leases_lost_total") == 6
    assert value(metrics, "dataswarm_task_claim_seconds_bucket", le="0.001") == 0
    assert value(metrics, "dataswarm_task_claim_seconds_bucket", le="0.0025") == 2
    assert value(metrics, "dataswarm_task_claim_seconds_bucket", le="+Inf") == 3
    assert value(metrics, "dataswarm_task_claim_seconds_sum") == pytest.approx(100.004)
    assert value(metrics, "dataswarm_task_pickup_seconds_count") == 0


async def test_both_formats_can_be_read(db: Database) -> None:
    """Plain text by default, OpenMetrics where asked for; its parser is strict about histograms and counters."""
    async with db.transaction() as tx:
        await opened(tx)
    metrics = Metrics(db, version='1"2\\3\n', source="live")
    await metrics.refresh()
    page, content_type = metrics.render("application/openmetrics-text; version=1.0.0")
    assert content_type.startswith("application/openmetrics-text")
    families = {family.name: family for family in open_metrics(page.decode())}  # type: ignore[no-untyped-call]
    assert families["dataswarm_incident_detect_seconds"].type == "histogram"
    assert families["dataswarm_incidents_opened"].type == "counter"
    assert metrics.render()[1].startswith("text/plain")


@pytest.fixture
def unused() -> Callable[[], Database]:
    """A database nobody asks."""
    return lambda: Database.__new__(Database)
