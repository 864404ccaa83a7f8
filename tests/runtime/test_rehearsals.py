"""A corrected belief is tried out on a branch: its verdicts stand apart from what was really decided."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from agents.base import Agent, Watch
from agents.context import Context, Happening
from agents.runtime.replaying import Answer, Replay
from agents.verdicts import Ask, Begin, Diagnose, Escalate, Note, Open, Record, Verdict
from config.assets import Asset
from config.errors import UsageError
from config.settings import Settings
from dataswarm import replays
from dataswarm.members import Installed
from memory.beliefs import branches, knowledge, rehearsals
from memory.beliefs.rehearsals import Said
from memory.board import incidents, ledger
from memory.connection.database import Database
from memory.records import DecisionKind, NewObservation, NewTask, Sensitivity, Severity
from tests.memory.stage import ORDERS, STARTED, opened, proposed
from tests.pace import until
from tests.runtime.toys import running
from tests.unit.dataswarm.test_replays import _everything

EVER = datetime(2000, 1, 1, tzinfo=UTC)
PAYMENTS = Asset.parse("warehouse://shop/raw.payments")
DOUBLED = "duplicate_batch"
LATE = "late_batch"


class Believer(Agent):
    """Takes twice the rows for a doubled batch, unless it believes that the table is loaded twice a day."""

    name = "believer"
    watches = (Watch(("observation.rows.*",)),)

    async def consider(self, happenings: Sequence[Happening], context: Context) -> Sequence[Verdict]:
        """A diagnosis for each, and a human for what is doubled."""
        said: list[Verdict] = []
        for happening in happenings:
            subject = happening.record.subject
            fact = await context.fact(subject, "loads.daily")
            cause = DOUBLED if fact is None or fact.object == 1 else LATE
            mark = f"rows|{subject}"
            said.append(Diagnose(subject, cause, mark, "rows", f"twice the rows: {cause}", 0.9, key=mark))
            if cause == DOUBLED:
                said.append(Open(mark, "rows", cause, Severity.ERROR, subject, STARTED, "twice the rows"))
                said.append(Escalate(mark, "nobody said what to do", {}))
        return said


async def told(db: Database, branch: str = "main", *, keep_for: str | None = "ann", until: Any = None) -> Any:
    """All that happened, told to the believer again."""
    found = Installed({"believer": Believer}, {}, {})
    end = until or datetime.now(UTC) + timedelta(hours=1)
    return await replays.replay(
        db, Settings(), found, "believer", since=EVER, until=end, branch=branch, keep_for=keep_for
    )


async def believe(db: Database, value: int, branch: str = "main") -> None:
    """How often orders are loaded a day."""
    async with db.transaction() as tx:
        await knowledge.assert_fact(tx, "ann", ORDERS, "loads.daily", value, expected=None, branch=branch)


def said(comparison: Any, side: str) -> list[tuple[str, str, str]]:
    """One side of a comparison as JSON has it."""
    return [(one["verdict"], one["subject"], one["cause"]) for one in comparison[side] for _ in range(one["times"])]


@pytest.fixture
async def decided(db: Database) -> None:
    """A swarm ran: two tables had twice the rows, and were really taken for doubled, by what was believed."""
    await believe(db, 1)
    async with running(db, agents={"believer": Believer()}):
        async with db.transaction() as tx:
            await ledger.record(tx, "a", [NewObservation("rows.doubled", table) for table in (ORDERS, PAYMENTS)])

        async def done() -> bool:
            async with db.transaction() as tx:
                return len(await ledger.decisions(tx, kind=DecisionKind.ESCALATION.value)) == 2

        await until(done)


@pytest.mark.usefixtures("decided")
async def test_a_corrected_belief_is_tried_out_and_merged(db: Database, owner_url: str) -> None:
    """On main what was really decided; on the branch otherwise, for that table alone; real rows stay as they are."""
    async with db.transaction() as tx:
        await branches.fork(tx, "what-if", by="ann")
    await believe(db, 2, "what-if")
    before = _everything(owner_url)
    as_it_was = await told(db)
    assert as_it_was["branch"] == "main"
    assert (await replays.compared(db, as_it_was["rehearsal"]))["is_same"]
    otherwise = await told(db, "what-if")
    touched = {name for name, mark in _everything(owner_url).items() if mark != before[name]}
    assert touched - {"rehearsals_id_seq"} == {"rehearsals", "rehearsed_verdicts"}

    for other in (None, as_it_was["rehearsal"]):
        found = await replays.compared(db, otherwise["rehearsal"], other)
        assert not found["is_same"]
        assert said(found, "only_here") == [("diagnose", str(ORDERS), LATE)]
        assert set(said(found, "only_there")) >= {("diagnose", str(ORDERS), DOUBLED), ("escalate", str(ORDERS), "")}
        assert ("diagnose", str(PAYMENTS), DOUBLED) in said(found, "both")
    async with db.transaction() as tx:
        assert (await branches.merge(tx, "what-if", by="ann")).is_done
    now = await told(db)
    assert (await replays.compared(db, now["rehearsal"], otherwise["rehearsal"]))["is_same"]
    listed = await replays.listed(db, limit=10)
    assert [one["branch"] for one in listed] == ["main", "what-if", "main"]
    shown = await replays.shown(db, otherwise["rehearsal"])
    assert (shown["agent"], shown["by"], shown["branch"]) == ("believer", "ann", "what-if")
    assert shown["verdicts"][0]["body"]["rationale"] == f"twice the rows: {LATE}"


@pytest.mark.usefixtures("decided")
async def test_a_dropped_branch_changes_nothing(db: Database) -> None:
    """What it led to can still be looked at, and even told again; main says what it said."""
    async with db.transaction() as tx:
        await branches.fork(tx, "what-if", by="ann")
    await believe(db, 2, "what-if")
    first = await told(db, "what-if")
    async with db.transaction() as tx:
        await branches.drop(tx, "what-if")
    again = await told(db, "what-if")
    assert (await replays.compared(db, first["rehearsal"], again["rehearsal"]))["is_same"]
    assert (await replays.compared(db, (await told(db))["rehearsal"]))["is_same"]


@pytest.mark.usefixtures("decided")
async def test_nothing_is_kept_unless_asked_for(db: Database, owner_url: str) -> None:
    """A replay on a branch writes nothing at all; an unknown branch is told with the nearest name."""
    async with db.transaction() as tx:
        await branches.fork(tx, "what-if", by="ann")
    before = _everything(owner_url)
    assert (await told(db, "what-if", keep_for=None))["rehearsal"] is None
    with pytest.raises(UsageError, match=r"no branch 'what-ifs'[\s\S]*'what-if'"):
        await told(db, "what-ifs")
    for wrong in (replays.shown(db, 99), replays.compared(db, 99)):
        with pytest.raises(UsageError, match="no rehearsal 99"):
            await wrong
    assert _everything(owner_url) == before


async def test_each_verdict_is_kept_with_what_it_is_about(db: Database) -> None:
    """Also where it names an incident, a remediation or a task; what is over confidential evidence is left out."""
    async with db.transaction() as tx:
        incident = await opened(tx)
        remedy = await proposed(tx, incident)
    hidden = NewObservation("row.sampled", PAYMENTS, payload={"v": 4711}, sensitivity=Sensitivity.CONFIDENTIAL)
    verdicts: tuple[Verdict, ...] = (
        Note(incident.id, {"a": 1}),
        Note(incident.fingerprint, {"a": 1}),
        Note("not | there", {"a": 1}),
        Note(10**9, {"a": 1}),
        Ask(remedy.id, "May it?"),
        Ask(10**9, "May it?"),
        Begin(NewTask("x", "look", PAYMENTS)),
        Record(NewObservation("x.seen", PAYMENTS)),
        Record(hidden),
    )
    until = EVER + timedelta(days=1)
    told_ = Replay("x", EVER, until, 1, is_cut=False, kept_since=None, answers=(Answer((), verdicts, ()),))
    number, left_out = await replays.keep(db, told_, by="ann")
    assert left_out == 1
    async with db.transaction() as tx:
        kept = await rehearsals.verdicts(tx, number)
        assert await incidents.get(tx, incident.id) == incident
    unknown = ["incident://unknown/not | there", "incident://unknown/1000000000", "incident://unknown"]
    whole = [str(one.subject) for one in kept]
    assert whole[:2] == [str(ORDERS)] * 2
    assert sorted(whole[2:4] + whole[5:6]) == sorted(unknown)
    assert whole[4] == str(ORDERS)
    assert whole[6:] == [str(PAYMENTS)] * 2
    assert "4711" not in str(kept)


def test_sides_are_counted() -> None:
    """The same thing said twice is one line with a number."""
    one: Said = ("wait", ORDERS, "")
    assert replays._counted([one, one, ("act", ORDERS, "")]) == [
        {"verdict": "wait", "subject": str(ORDERS), "cause": "", "times": 2},
        {"verdict": "act", "subject": str(ORDERS), "cause": "", "times": 1},
    ]
