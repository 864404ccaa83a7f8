"""Incidents: one open per fingerprint, legal moves alone, an honest ratio."""

from __future__ import annotations

import asyncio
import random
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from config.errors import ConflictError, UsageError
from memory import measures
from memory.board import approvals, escalations, incidents, totals, transitions
from memory.bus import now_cursor, read
from memory.connection import statements
from memory.connection.database import Database, Transaction
from memory.records import (
    EscalationState,
    Incident,
    IncidentState,
    Reference,
    RemediationState,
    Resolution,
    Severity,
    Transition,
)
from tests.memory.conftest import Clock
from tests.memory.stage import STARTED, advanced, counted, moved, opened, proposed

S = IncidentState
R = RemediationState


async def test_opening_writes_timeline_event_count_and_detection(db: Database) -> None:
    """A new incident is told, counted, and knows its members."""
    async with db.transaction() as tx:
        start = await now_cursor(tx)
    async with db.transaction() as tx:
        incident = await opened(tx, members=[Reference("observation", 4), Reference("decision", 2)], details={"a": 1})
    async with db.transaction() as tx:
        assert await incidents.get(tx, incident.id) == incident
        assert await incidents.by_fingerprint(tx, "orders-broken") == incident
        assert await incidents.list_(tx, open_only=True, limit=10) == [incident]
        (first,) = await incidents.timeline(tx, incident.id)
        assert first == Transition(first.at, incident.id, None, S.OPEN, "incident-response", "a node failed")
        assert set(await incidents.members(tx, incident.id)) == {Reference("observation", 4), Reference("decision", 2)}
        assert await counted(tx, "dataswarm_incidents_opened_total", kind="build_failure", severity="error") == 1
        assert await counted(tx, "dataswarm_incident_detect_seconds_count") == 1
        assert await counted(tx, "dataswarm_incident_detect_seconds_bucket", le="+Inf") == 1
        events, _ = await read(tx, start, topics=["incident.*"], agent="me")
    assert [(event.topic, event.reference.id) for event in events] == [("incident.open", incident.id)]
    assert (incident.state, incident.version, incident.details) == (S.OPEN, 1, {"a": 1})


async def test_an_open_one_is_joined(db: Database) -> None:
    """The same root joins: severity only rises, what is kept is not overwritten, nothing is counted twice."""
    async with db.transaction() as tx:
        first = await opened(tx, details={"soak": 3}, members=[Reference("observation", 1)])
        joined = await opened(
            tx,
            severity=Severity.CRITICAL,
            started_at=STARTED - timedelta(hours=1),
            details={"soak": 0, "new": 1},
            members=[Reference("observation", 1), Reference("observation", 2)],
        )
        lower = await opened(tx, severity=Severity.INFO)
        assert len(await incidents.members(tx, first.id)) == 2
        assert len(await incidents.timeline(tx, first.id)) == 1
        assert await counted(tx, "dataswarm_incidents_opened_total") == 1
    assert (joined.id, joined.severity, joined.details) == (first.id, Severity.CRITICAL, {"soak": 3, "new": 1})
    assert joined.started_at == STARTED - timedelta(hours=1)
    assert lower.severity is Severity.CRITICAL


async def test_many_openers_make_one_incident(db: Database) -> None:
    """Eight replicas that see the same root at once open one incident."""

    async def open_it(number: int) -> int:
        async with db.transaction() as tx:
            return (await opened(tx, members=[Reference("observation", number)])).id

    numbers = await asyncio.gather(*(open_it(number) for number in range(8)))
    async with db.transaction() as tx:
        assert len(set(numbers)) == 1
        assert len(await incidents.members(tx, numbers[0])) == 8
        assert await counted(tx, "dataswarm_incidents_opened_total") == 1


async def test_a_move_needs_the_expected_state(db: Database) -> None:
    """A race lost says so; an illegal move and an unknown incident are the caller's mistake."""
    async with db.transaction() as tx:
        incident = await opened(tx)
        await moved(tx, incident, S.MITIGATING, details={"tried": ["patch-model"]})
        with pytest.raises(ConflictError, match="is mitigating, not open"):
            await moved(tx, incident, S.INVESTIGATING)
        with pytest.raises(UsageError, match="does not go from mitigating to resolved"):
            await incidents.move(
                tx, incident.id, before=S.MITIGATING, after=S.RESOLVED, by="me", reason="", resolution=Resolution.HUMAN
            )
        with pytest.raises(UsageError, match="there is no incident"):
            await incidents.move(tx, 10**9, before=S.OPEN, after=S.ESCALATED, by="me", reason="")
        found = await incidents.get(tx, incident.id)
    assert found is not None
    assert (found.state, found.details, found.version) == (S.MITIGATING, {"tried": ["patch-model"]}, 2)


async def test_two_movers_one_wins(db: Database) -> None:
    """Of eight that move the same incident at once, one does."""
    async with db.transaction() as tx:
        incident = await opened(tx)

    async def take(after: IncidentState) -> bool:
        try:
            async with db.transaction() as tx:
                await moved(tx, incident, after)
        except ConflictError:
            return False
        return True

    won = await asyncio.gather(*(take(S.INVESTIGATING if n % 2 else S.ESCALATED) for n in range(8)))
    assert sum(won) == 1
    async with db.transaction() as tx:
        assert len(await incidents.timeline(tx, incident.id)) == 2


async def test_an_end_needs_a_resolution(db: Database) -> None:
    """Ending says how; what does not end must not say so; a resolved one is closed without saying it again."""
    async with db.transaction() as tx:
        incident = await opened(tx)
        with pytest.raises(UsageError, match="say how it ended"):
            await moved(tx, incident, S.CLOSED)
        with pytest.raises(UsageError, match="does not end"):
            await moved(tx, incident, S.INVESTIGATING, resolution=Resolution.HUMAN)
        resolved = await moved(tx, incident, S.RESOLVED, resolution=Resolution.HUMAN)
        closed = await moved(tx, resolved, S.CLOSED)
        assert await counted(tx, "dataswarm_incidents_resolved_total", resolution="human") == 1
    assert resolved.ended_at is not None
    assert (closed.ended_at, closed.resolution) == (resolved.ended_at, Resolution.HUMAN)


async def test_auto_must_be_true(db: Database, clock: Clock) -> None:
    """Nobody calls it auto-resolved without a clean measurement, a verified remedy and the absence of human answers."""
    async with db.transaction() as tx:
        incident = await moved(tx, await opened(tx), S.VERIFYING)
        with pytest.raises(UsageError, match="no clean measurement"):
            await moved(tx, incident, S.RESOLVED, resolution=Resolution.AUTO)
        with pytest.raises(UsageError, match="no remedy of it is verified"):
            await moved(tx, incident, S.RESOLVED, resolution=Resolution.AUTO, first_clean_at=clock.now)
        remedy = await proposed(tx, incident)
        approval = await approvals.ask(tx, remedy, "may I?", 60)
        await advanced(tx, remedy, R.APPROVED, R.APPLIED, R.VERIFIED)
    with pytest.raises(UsageError, match="a human answered"):  # noqa: PT012 - the answer is rolled back with it
        async with db.transaction() as tx:
            await approvals.answer(tx, approval.id, approved=True, by="ann")
            await moved(tx, incident, S.RESOLVED, resolution=Resolution.AUTO, first_clean_at=clock.now)
    async with db.transaction() as tx:
        ended = await moved(tx, incident, S.RESOLVED, resolution=Resolution.AUTO, first_clean_at=clock.now)
        assert await counted(tx, "dataswarm_incident_resolve_seconds_count") == 1
    assert ended.resolution is Resolution.AUTO


async def test_an_answered_escalation_is_a_human_answer(db: Database, clock: Clock) -> None:
    """What a human answered was not resolved by the swarm alone."""
    async with db.transaction() as tx:
        incident = await moved(tx, await opened(tx), S.VERIFYING)
        await advanced(tx, await proposed(tx, incident), R.APPROVED, R.APPLIED, R.VERIFIED)
        handed = await escalations.escalate(tx, incident.id, "no_playbook", {})
        await escalations.answer_escalation(tx, handed.id, EscalationState.ANSWERED, "ann")
        with pytest.raises(UsageError, match="a human answered"):
            await moved(tx, incident, S.RESOLVED, resolution=Resolution.AUTO, first_clean_at=clock.now)


async def test_the_ratio_counts_final_outcomes_alone(db: Database, clock: Clock) -> None:
    """Open, false-positive and duplicate ones are in neither side; the window is by the time of the end."""
    async with db.transaction() as tx:
        assert await incidents.ratio(tx, None) == {"auto": 0, "final": 0, "ratio": None}
        assert all("ratio" not in gauge.name for gauge in (await measures.snapshot(tx)).gauges)
        await opened(tx, fingerprint="open")
        for resolution in (Resolution.FALSE_POSITIVE, Resolution.DUPLICATE, Resolution.HUMAN, Resolution.SELF_HEALED):
            await moved(tx, await opened(tx, fingerprint=resolution.value), S.RESOLVED, resolution=resolution)
    clock.forward(2 * 86400)
    async with db.transaction() as tx:
        incident = await moved(tx, await opened(tx, fingerprint="auto"), S.VERIFYING)
        await advanced(tx, await proposed(tx, incident), R.APPROVED, R.APPLIED, R.VERIFIED)
        await moved(tx, incident, S.RESOLVED, resolution=Resolution.AUTO, first_clean_at=clock.now)
        assert await incidents.ratio(tx, None) == {"auto": 1, "final": 3, "ratio": 1 / 3}
        assert await incidents.ratio(tx, timedelta(days=1)) == {"auto": 1, "final": 1, "ratio": 1.0}
        shown = await measures.snapshot(tx)
    ratios = {g.labels["window"]: g.value for g in shown.gauges if g.name == "dataswarm_incident_auto_resolution_ratio"}
    assert ratios == {"1d": 1.0, "7d": 1 / 3, "30d": 1 / 3, "all": 1 / 3}
    assert [(g.labels, g.value) for g in shown.gauges if g.name == "dataswarm_incidents_open"] == [
        ({"kind": "build_failure", "severity": "error"}, 1.0)
    ]
    resolve = next(h for h in shown.histograms if h.name == "dataswarm_incident_resolve_seconds")
    assert (resolve.count, resolve.buckets["+Inf"], resolve.buckets["1"]) == (1, 1, 0)


def counted_anew(owner_url: str) -> totals.Totals:
    """The totals by reading every incident."""
    query = """
        SELECT count(*) FILTER (WHERE counts),
               count(*) FILTER (WHERE counts AND EXISTS (
                   SELECT FROM dataswarm.escalations e WHERE e.incident_id = i.id)),
               count(*) FILTER (WHERE counts AND ended_at IS NOT NULL),
               count(*) FILTER (WHERE resolution = 'auto')
        FROM (SELECT *, coalesce(resolution, '') NOT IN ('false_positive', 'duplicate') AS counts
              FROM dataswarm.incidents) i"""
    with psycopg.connect(owner_url) as connection:
        row = connection.execute(query).fetchone()
    assert row is not None
    return totals.Totals(*row)


@pytest.mark.parametrize("seed", [1, 3])
async def test_totals_are_what_reading_all_would_give(db: Database, owner_url: str, clock: Clock, seed: int) -> None:
    """Whatever is opened, handed over, ended, dismissed and opened again, in any order."""
    dice = random.Random(seed)
    for _ in range(120):
        clock.forward(1)
        async with db.transaction() as tx:
            fingerprint = f"root {dice.randrange(12)}"
            known = {i.fingerprint: i for i in reversed(await incidents.list_(tx))}.get(fingerprint)
            if known is None or (not known.state.is_open and dice.random() < 0.4):
                await opened(tx, fingerprint=fingerprint)
            elif dice.random() < 0.3:
                await escalations.escalate(tx, known.id, "no_playbook", {})
            else:
                await step(tx, known, dice)
    async with db.transaction() as tx:
        await end_alone(tx, await opened(tx, fingerprint="surely alone"), S.RESOLVED)
        found = await totals.read(tx)
        ratio = found.auto / found.final
        assert await incidents.ratio(tx, None) == {"auto": found.auto, "final": found.final, "ratio": ratio}
        shown = {(g.name, g.labels.get("window")): g.value for g in (await measures.snapshot(tx)).gauges}
    assert found == counted_anew(owner_url)
    assert 0 < found.escalated < found.opened
    for name in ("dataswarm_incident_auto_resolution_ratio", "dataswarm_escalation_ratio"):
        assert shown[name, "all"] == shown[name, "1d"], "all of it was within a day"


async def step(tx: Transaction, known: Incident, dice: random.Random) -> None:
    """Take an incident anywhere it may go."""
    after = dice.choice(sorted(transitions.INCIDENT[known.state]))
    if after not in transitions.ENDED or known.state in transitions.ENDED:
        await moved(tx, known, after)
        return
    if dice.random() < 0.4:
        await end_alone(tx, known, after)
        return
    by_hand = (Resolution.HUMAN, Resolution.SELF_HEALED, Resolution.FALSE_POSITIVE, Resolution.DUPLICATE)
    await moved(tx, known, after, resolution=dice.choice(by_hand))


async def end_alone(tx: Transaction, incident: Incident, after: IncidentState) -> None:
    """Ended by the swarm alone, with all that this takes."""
    await advanced(tx, await proposed(tx, incident), R.APPROVED, R.APPLIED, R.VERIFIED)
    await moved(tx, incident, after, resolution=Resolution.AUTO, first_clean_at=STARTED)


async def test_an_incident_handed_over_by_many_at_once_counts_once(db: Database) -> None:
    """Eight replicas hand the same one over; the total knows one."""
    async with db.transaction() as tx:
        incident = await opened(tx)

    async def hand_over() -> None:
        async with db.transaction() as tx:
            await escalations.escalate(tx, incident.id, "no_playbook", {})

    await asyncio.gather(*(hand_over() for _ in range(8)))
    async with db.transaction() as tx:
        assert (await totals.read(tx)).escalated == 1


async def test_ratios_cost_the_same_after_a_hundred_thousand_incidents(db: Database, owner_url: str) -> None:
    """No figure of `/metrics` reads what ended before its window; over all time the totals answer."""
    async with db.transaction() as tx:
        await moved(tx, await opened(tx), S.RESOLVED, resolution=Resolution.HUMAN)
        await opened(tx, fingerprint="open")
    with psycopg.connect(owner_url, autocommit=True) as connection:
        before = blocks(connection)
        connection.execute(
            """INSERT INTO dataswarm.incidents (fingerprint, title, kind, severity, state, subject, owner, opened_at,
                                                started_at, ended_at, resolution, details)
               SELECT 'old ' || n, 'old', 'unknown', 'error', 'closed', 'warehouse://shop/raw.orders', '', at, at,
                      at, 'auto', '{}'
               FROM generate_series(1, 100000) n,
                    LATERAL (SELECT now() - interval '31 days' - n * interval '1 minute') AS t (at)"""
        )
        connection.execute("VACUUM ANALYZE dataswarm.incidents")
        after = blocks(connection)
    assert after.keys() == before.keys() == {"auto_resolution", "measure_escalation_ratio", "measure_open_incidents",
                                             "incident_totals"}  # fmt: skip
    assert max(after.values()) <= 12, (before, after)


def blocks(connection: psycopg.Connection[Any]) -> dict[str, int]:
    """How many blocks each statement behind the ratios reads, over its longest window."""
    cursor = psycopg.ClientCursor(connection)
    found = {}
    for name in ("auto_resolution", "measure_escalation_ratio", "measure_open_incidents", "incident_totals"):
        given = {"now": None, "seconds": 30 * 86400.0}
        text = "EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) " + statements.all()[name]
        [plan] = cursor.execute(text.encode(), given).fetchall()  # bytes: the statement is the house's own
        top = plan[0][0]["Plan"]
        found[name] = top["Shared Hit Blocks"] + top["Shared Read Blocks"]
    return found


async def test_what_comes_back_soon_is_reopened(db: Database, clock: Clock) -> None:
    """Within a day the same one opens again and is final no more; later, or after a false alarm, it is a new one."""
    async with db.transaction() as tx:
        first = await moved(tx, await opened(tx), S.RESOLVED, resolution=Resolution.SELF_HEALED)
    clock.forward(3600)
    async with db.transaction() as tx:
        again = await opened(tx)
        assert (again.id, again.state, again.ended_at, again.resolution) == (first.id, S.OPEN, None, None)
        assert await incidents.ratio(tx, None) == {"auto": 0, "final": 0, "ratio": None}
        assert [t.before for t in await incidents.timeline(tx, first.id)] == [None, S.OPEN, S.RESOLVED]
        assert await counted(tx, "dataswarm_incidents_reopened_total") == 1
        assert await counted(tx, "dataswarm_rework_total") == 1
        assert await counted(tx, "dataswarm_incidents_opened_total") == 1
        await moved(tx, again, S.RESOLVED, resolution=Resolution.HUMAN)
    clock.forward(25 * 3600)
    async with db.transaction() as tx:
        later = await opened(tx)
        assert later.id != first.id
        await moved(tx, later, S.CLOSED, resolution=Resolution.FALSE_POSITIVE)
        assert (await opened(tx)).id not in (first.id, later.id)


async def test_a_reopened_one_needs_a_new_proof(db: Database, clock: Clock) -> None:
    """The verified remedy of its first life does not make the second one auto-resolved."""
    async with db.transaction() as tx:
        incident = await moved(tx, await opened(tx), S.VERIFYING)
        await advanced(tx, await proposed(tx, incident), R.APPROVED, R.APPLIED, R.VERIFIED)
        await moved(tx, incident, S.RESOLVED, resolution=Resolution.AUTO, first_clean_at=clock.now)
    clock.forward(60)
    async with db.transaction() as tx:
        again = await opened(tx)
        with pytest.raises(UsageError, match="no remedy of it is verified"):
            await moved(tx, again, S.RESOLVED, resolution=Resolution.AUTO, first_clean_at=clock.now)


async def test_notes_are_merged_under_a_version(db: Database) -> None:
    """Two notes on the same version: the second is told."""
    async with db.transaction() as tx:
        incident = await opened(tx, details={"a": 1})
        noted = await incidents.annotate(tx, incident.id, {"b": 2}, incident.version)
        with pytest.raises(ConflictError, match="has version 2, not 1"):
            await incidents.annotate(tx, incident.id, {"b": 3}, incident.version)
        with pytest.raises(UsageError):
            await incidents.annotate(tx, 10**9, {})
        assert (await incidents.annotate(tx, incident.id, {"c": 3})).details == {"a": 1, "b": 2, "c": 3}
    assert noted.version == 2
