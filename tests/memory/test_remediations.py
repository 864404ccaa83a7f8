"""Remedies, questions to humans, hand-overs: each step from an expected state, each told and counted."""

from __future__ import annotations

import asyncio

import pytest

from config.errors import ConflictError, UsageError
from memory.board import approvals, escalations, remediations
from memory.bus import now_cursor, read
from memory.connection.database import Database
from memory.records import ApprovalState, EscalationState, RemediationState
from tests.memory.conftest import Clock
from tests.memory.stage import advanced, counted, opened, proposed

R = RemediationState


async def test_the_life_of_a_remedy(db: Database) -> None:
    """From proposed to verified, with what became known on the way, told at each step."""
    async with db.transaction() as tx:
        start = await now_cursor(tx)
    async with db.transaction() as tx:
        remedy = await proposed(tx, await opened(tx))
        kept = await remediations.move(tx, remedy.id, before=[R.PROPOSED], after=R.PROPOSED, plan={"diff": "+b"})
        await remediations.move(tx, remedy.id, before=[R.PROPOSED], after=R.APPROVED)
        await remediations.move(tx, remedy.id, before=[R.APPROVED], after=R.APPLIED, inverse={"revert": "abc"})
        done = await remediations.move(tx, remedy.id, before=[R.APPLIED], after=R.VERIFIED, result={"rows": 3})
        assert await remediations.get(tx, remedy.id) == done
        assert await remediations.of_incident(tx, remedy.incident_id) == [done]
        assert await remediations.list_(tx, states=[R.VERIFIED]) == [done]
        assert await counted(tx, "dataswarm_remediations_total", playbook="patch-model", outcome="verified") == 1
        assert await counted(tx, "dataswarm_rework_total") == 0
    async with db.transaction() as tx:
        events, _ = await read(tx, start, topics=["remediation.*"], agent="me")
    assert [event.topic for event in events] == [
        f"remediation.{s}" for s in ("proposed", "approved", "applied", "verified")
    ]
    assert kept.plan == {"diff": "+b"}
    assert (done.plan, done.inverse, done.result) == ({"diff": "+b"}, {"revert": "abc"}, {"rows": 3})
    assert done.applied_at is not None
    assert done.ended_at is not None


async def test_nothing_is_applied_that_was_not_approved(db: Database) -> None:
    """An illegal step, a state that moved on, and an unknown remedy are each refused."""
    async with db.transaction() as tx:
        remedy = await proposed(tx, await opened(tx))
        with pytest.raises(UsageError, match="does not go from proposed to applied"):
            await remediations.move(tx, remedy.id, before=[R.PROPOSED], after=R.APPLIED)
        with pytest.raises(UsageError, match="nowhere"):
            await remediations.move(tx, remedy.id, before=[], after=R.APPLIED)
        await remediations.move(tx, remedy.id, before=[R.PROPOSED], after=R.REFUSED)
        with pytest.raises(ConflictError, match="is refused, not proposed"):
            await remediations.move(tx, remedy.id, before=[R.PROPOSED], after=R.APPROVED)
        with pytest.raises(UsageError, match="there is no remediation"):
            await remediations.move(tx, 10**9, before=[R.PROPOSED], after=R.APPROVED)


async def test_one_remedy_of_an_incident_is_under_way(db: Database) -> None:
    """Rivals may be proposed side by side; while one is approved or applied the other must wait."""
    async with db.transaction() as tx:
        incident = await opened(tx)
        first, second = await proposed(tx, incident), await proposed(tx, incident, "compatibility-view")
        applied = await advanced(tx, first, R.APPROVED, R.APPLIED)
    with pytest.raises(ConflictError, match="remediations_under_way"):
        async with db.transaction() as tx:
            await advanced(tx, second, R.APPROVED)
    async with db.transaction() as tx:
        await advanced(tx, applied, R.UNDONE)
        await advanced(tx, second, R.APPROVED, R.APPLIED)
        assert await counted(tx, "dataswarm_rework_total") == 1
        assert await counted(tx, "dataswarm_remediations_total", outcome="undone") == 1


async def test_a_question_is_answered_once(db: Database) -> None:
    """Of two humans who answer at once the first counts, and the second learns who it was."""
    async with db.transaction() as tx:
        start = await now_cursor(tx)
    async with db.transaction() as tx:
        remedy = await proposed(tx, await opened(tx))
        approval = await approvals.ask(tx, remedy, "may I?", 600)
        assert await approvals.ask(tx, remedy, "may I, please?", 600) == approval
        assert await approvals.pending(tx) == [approval]

    async def answer(by: str) -> str:
        try:
            async with db.transaction() as tx:
                return (await approvals.answer(tx, approval.id, approved=by == "ann", by=by)).answered_by
        except ConflictError as error:
            return error.message

    answers = await asyncio.gather(answer("ann"), answer("bob"))
    winner = next(name for name in answers if name in ("ann", "bob"))
    state = ApprovalState.APPROVED if winner == "ann" else ApprovalState.DENIED
    assert f"approval {approval.id} is {state} by {winner} already" in answers
    async with db.transaction() as tx:
        found = await approvals.get(tx, approval.id)
        events, _ = await read(tx, start, topics=["approval.*"], agent="me")
        assert await approvals.pending(tx) == []
    assert found is not None
    assert (found.state, found.answered_by) == (state, winner)
    assert [(event.topic, event.agent) for event in events] == [("approval.pending", ""), (f"approval.{state}", "")]


async def test_a_question_expires(db: Database, clock: Clock) -> None:
    """After its time nobody can answer, and the expiry is told once."""
    async with db.transaction() as tx:
        start = await now_cursor(tx)
        remedy = await proposed(tx, await opened(tx))
        approval = await approvals.ask(tx, remedy, "may I?", 60)
        assert await approvals.expire(tx) == []
    clock.forward(61)
    async with db.transaction() as tx:
        assert await approvals.pending(tx) == []
        with pytest.raises(ConflictError, match="expired already"):
            await approvals.answer(tx, approval.id, approved=True, by="ann")
        assert [gone.id for gone in await approvals.expire(tx)] == [approval.id]
        assert await approvals.expire(tx) == []
        again = await approvals.ask(tx, remedy, "may I now?", 60)
        assert again.id != approval.id
    async with db.transaction() as tx:
        events, _ = await read(tx, start, topics=["approval.expired"], agent="me")
    assert len(events) == 1


async def test_questions_that_make_no_sense(db: Database) -> None:
    """Nobody named, no time, a remedy that is not proposed, a question that was never asked."""
    async with db.transaction() as tx:
        remedy = await proposed(tx, await opened(tx))
        approval = await approvals.ask(tx, remedy, "may I?", 60)
        with pytest.raises(UsageError, match="by is empty"):
            await approvals.answer(tx, approval.id, approved=True, by=" ")
        with pytest.raises(UsageError, match="there is no approval"):
            await approvals.answer(tx, 10**9, approved=True, by="ann")
        with pytest.raises(UsageError, match="expires_seconds"):
            await approvals.ask(tx, remedy, "may I?", 0)
        approved = await advanced(tx, remedy, R.APPROVED)
        with pytest.raises(UsageError, match="nothing to ask about"):
            await approvals.ask(tx, approved, "may I?", 60)


async def test_an_incident_is_handed_over(db: Database) -> None:
    """The packet survives; it is acknowledged, then answered, once; it is counted by the reason's leading word."""
    async with db.transaction() as tx:
        incident = await opened(tx)
        start = await now_cursor(tx)
        packet = {"hypotheses": [{"cause": "dropped", "for": ["observation:1"]}], "tried": []}
        handed = await escalations.escalate(tx, incident.id, "no_playbook: nothing treats a dropped column", packet)
        assert await escalations.escalations(tx, incident.id) == [handed]
        assert await escalations.escalations(tx, None) == [handed]
        taken = await escalations.answer_escalation(tx, handed.id, EscalationState.ACKNOWLEDGED, "ann")
        answered = await escalations.answer_escalation(tx, handed.id, EscalationState.ANSWERED, "ann")
        with pytest.raises(ConflictError, match="is answered already"):
            await escalations.answer_escalation(tx, handed.id, EscalationState.ACKNOWLEDGED, "bob")
        with pytest.raises(UsageError, match="not answered by being pending"):
            await escalations.answer_escalation(tx, handed.id, EscalationState.PENDING, "bob")
        with pytest.raises(UsageError, match="there is no incident"):
            await escalations.escalate(tx, 10**9, "x", {})
        assert await counted(tx, "dataswarm_escalations_total", reason="no_playbook") == 1
    async with db.transaction() as tx:
        events, _ = await read(tx, start, topics=["escalation.*"], agent="me")
    assert handed.packet == packet
    assert (taken.state, answered.answered_by) == (EscalationState.ACKNOWLEDGED, "ann")
    assert [event.topic.partition(".")[2] for event in events] == ["pending", "acknowledged", "answered"]


def test_a_reason_makes_few_labels() -> None:
    """A sentence does not become a metric's label."""
    assert escalations.label("breaker") == "breaker"
    assert escalations.label("no_playbook: because of x") == "no_playbook"
    assert escalations.label("Nothing worked on raw.orders") == "other"
