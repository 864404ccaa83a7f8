"""What humans do: each deed changes what it says, is heard on the bus, and leaves the rest alone."""

from __future__ import annotations

import pytest

from config.errors import ConflictError, UsageError
from dataswarm import operations
from memory import bus
from memory.board import approvals, controls, incidents, remediations
from memory.connection.database import Database
from memory.queue import tasks
from memory.records import ApprovalState, IncidentState, RemediationState, Resolution
from tests.unit.dataswarm.program import advance, an_incident, asking, handed_over, remedied


async def topics(db: Database) -> list[str]:
    """What was published, in order."""
    async with db.transaction() as tx:
        return [event.topic for event in await bus.tail(tx, limit=100)]


async def test_an_approval_is_heard(db: Database) -> None:
    """The event that makes the responder resume; the remedy waits for it as proposed."""
    told = await asking(db)
    await operations.approve(db, told.incident, by="maria")
    assert (await topics(db))[-1] == "approval.approved"
    async with db.transaction() as tx:
        remedy = await remediations.get(tx, told.remediation)
        assert remedy is not None
        assert remedy.state is RemediationState.PROPOSED


async def test_a_denial_puts_the_remedy_away(db: Database) -> None:
    """First the answer is told, then the end of the remedy, marked as a human's wish."""
    told = await asking(db)
    await operations.deny(db, told.incident, "not now", by="maria")
    assert (await topics(db))[-2:] == ["approval.denied", "remediation.refused"]
    async with db.transaction() as tx:
        remedy = await remediations.get(tx, told.remediation)
        incident = await incidents.get(tx, told.incident)
    assert remedy is not None
    assert incident is not None
    assert remedy.result["by_request"] is True
    assert incident.details["denied_reason"] == "not now"


async def test_closing_withdraws_the_question(db: Database) -> None:
    """Nobody may approve a remedy of an incident that is over."""
    told = await asking(db)
    await operations.close(db, told.incident, "I did it", by="maria")
    with pytest.raises(UsageError, match="nothing about incident"):
        await operations.approve(db, told.incident, by="jo")
    async with db.transaction() as tx:
        incident = await incidents.get(tx, told.incident)
        remedy = await remediations.get(tx, told.remediation)
        assert await approvals.pending(tx) == []
    assert incident is not None
    assert remedy is not None
    assert (incident.state, incident.resolution) == (IncidentState.CLOSED, Resolution.HUMAN)
    assert remedy.state is RemediationState.REFUSED


async def test_a_resolved_incident_is_put_away_as_it_ended(db: Database) -> None:
    """Closing keeps the resolution; it is no false positive any more."""
    told = await handed_over(db)
    async with db.transaction() as tx:
        await incidents.move(
            tx,
            told.incident,
            before=IncidentState.ESCALATED,
            after=IncidentState.RESOLVED,
            by="incident-response",
            reason="clean",
            resolution=Resolution.SELF_HEALED,
        )
    with pytest.raises(UsageError, match=r"resolved \(self_healed\) already"):
        await operations.false_positive(db, told.incident, "was none", by="maria")
    done = await operations.close(db, told.incident, "seen", by="maria")
    assert done == {"incident_id": told.incident, "state": "closed", "resolution": "self_healed"}


async def test_acknowledging_what_is_over(db: Database) -> None:
    """Is refused."""
    told = await an_incident(db)
    await operations.close(db, told.incident, "done", by="maria")
    with pytest.raises(UsageError, match="closed already"):
        await operations.acknowledge(db, told.incident, by="maria")


async def test_an_expired_question_cannot_be_answered(db: Database) -> None:
    """What expired is not pending; the next answer is refused in words."""
    told = await asking(db)
    async with db.transaction() as tx:
        [asked] = await approvals.pending(tx)
    later = asked.expires_at
    db.clock = lambda: later
    with pytest.raises(UsageError, match="nothing about incident"):
        await operations.approve(db, told.incident, by="maria")


async def test_two_answers_race(db: Database) -> None:
    """The second finds nothing to answer."""
    told = await asking(db)
    await operations.approve(db, told.incident, by="maria")
    with pytest.raises(UsageError):
        await operations.deny(db, told.incident, by="jo")
    async with db.transaction() as tx:
        assert (await approvals.get(tx, 1)) is not None
        found = await approvals.get(tx, 1)
    assert found is not None
    assert (found.state, found.answered_by) == (ApprovalState.APPROVED, "maria")


async def test_undo_is_a_task_alone_on_its_subject(db: Database) -> None:
    """For the responder, exclusive on the whole asset as the remedy was; once."""
    told = await remedied(db)
    done = await operations.undo(db, told.remediation, by="maria")
    async with db.transaction() as tx:
        task = await tasks.get(tx, done["task_id"])
    assert task is not None
    assert (task.agent, task.kind, task.subject.part) == ("incident-response", "undo", "")
    assert task.payload == {"remediation_id": told.remediation, "by": "maria"}
    assert task.incident_id == told.incident
    with pytest.raises(ConflictError):
        await operations.undo(db, told.remediation, by="jo")
    await advance(db, told.remediation, (RemediationState.UNDONE,))
    with pytest.raises(UsageError, match="taken back already"):
        await operations.undo(db, told.remediation, by="jo")


async def test_restraints_name_who_and_why(db: Database) -> None:
    """Silence, planned change, cap and switch, each with a name."""
    await operations.silence(db, "warehouse://shop/raw.*", 60, "noise", by="maria")
    await operations.plan_change(db, "warehouse://shop/raw.*", "schema.*", 60, "release", by="maria")
    await operations.cap(db, "agent:schema-drift", "observe", "young", by="maria")
    await operations.kill_switch(db, True, "audit", by="maria")
    async with db.transaction() as tx:
        assert [(s.by, s.reason) for s in await controls.silences(tx)] == [("maria", "noise")]
        assert [(c.by, c.kind) for c in await controls.planned(tx)] == [("maria", "schema.*")]
        assert [(c.scope, c.by) for c in await controls.caps(tx)] == [("agent:schema-drift", "maria")]
        assert await controls.kill_switch(tx) == "audit"
    await operations.kill_switch(db, False, by="maria")
    async with db.transaction() as tx:
        assert await controls.kill_switch(tx) is None


async def test_nobody_is_no_name(db: Database) -> None:
    """A deed without a doer is refused."""
    with pytest.raises(UsageError):
        await operations.silence(db, "warehouse://shop/raw.*", 60, by="")
    with pytest.raises(UsageError):
        await operations.kill_switch(db, True, "audit", by="")
