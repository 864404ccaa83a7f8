"""What incident-response makes of what it is told, on a blackboard of lists."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.context import Remedy
from agents.incident_response import IncidentResponse, IncidentResponseOptions
from agents.verdicts import Act, Escalate, Ignore, Move, Note, Open, Resume, Verdict, Wait
from config.assets import Asset
from memory.records import (
    Approval,
    ApprovalState,
    EscalationState,
    Incident,
    IncidentState,
    Payload,
    Remediation,
    RemediationState,
    Resolution,
    Severity,
)
from tests.unit.agents.blackboard import MART, NODE, Board

ORDERS = Asset("warehouse", "wh", "raw.orders")
R = RemediationState


@pytest.fixture
def board() -> Board:
    """A board with two remedies for renames of tables and one for those of columns."""
    made = Board()
    made.cards = {
        "column_renamed": [Remedy("patch-model", 20, 3, 4)],
        "table_renamed": [Remedy("patch-model", 20), Remedy("compatibility-view", 40)],
        "duplicate_rows": [Remedy("quarantine-rows", 30)],
        "transient": [Remedy("rerun-failed", 10)],
    }
    return made


@pytest.fixture
def agent() -> IncidentResponse:
    """With its defaults."""
    return IncidentResponse()


def only(board: Board) -> Incident:
    """The one incident there is."""
    (incident,) = board.incidents.values()
    return incident


def run_of(board: Board) -> Remediation:
    """The newest run of a playbook."""
    return list(board.runs.values())[-1]


def verify(board: Board) -> None:
    """Let the driver have finished well: verified, and the incident soaking."""
    run = run_of(board)
    board.move(run.incident_id, IncidentState.MITIGATING)
    for state in (R.APPROVED, R.APPLIED, R.VERIFIED):
        board.advance(run.id, state, None, None)
    details = {"applied_at": board.now.isoformat(), "clean_runs": [], "remedied_by": run.playbook}
    board.move(run.incident_id, IncidentState.VERIFYING, details, None, board.now)


def fail(board: Board, state: R = R.FAILED, result: Payload | None = None) -> None:
    """Let the driver have ended badly."""
    board.advance(run_of(board).id, state, None, result or {"reason": "it did not help"})


def kinds(said: list[Verdict]) -> list[str]:
    """Names of verdicts."""
    return [type(v).__name__ for v in said]


# --- opening, joining, choosing ------------------------------------------------------------------------------------


async def test_a_diagnosis_opens_and_acts(board: Board, agent: IncidentResponse) -> None:
    """One incident with what later pages need, and the best remedy with what lost."""
    board.cards["column_renamed"].append(Remedy("other", 90, 0, 1))
    diagnosis = board.diagnose(title="customer_id is buyer_id now", owner="ingestion@shop", severity="critical")
    said = await board.consider(agent)
    assert kinds(said) == ["Open", "Note", "Act"]
    incident = only(board)
    assert (incident.state, incident.severity) == (IncidentState.OPEN, Severity.CRITICAL)
    assert (incident.title, incident.owner) == ("customer_id is buyer_id now", "ingestion@shop")
    assert incident.fingerprint == f"shop|{ORDERS}"
    assert incident.details["nodes"] == [NODE]
    assert incident.details["diagnosis_id"] == diagnosis.id
    act = said[-1]
    assert isinstance(act, Act)
    assert (act.playbook, act.diagnosis_id, act.subject) == ("patch-model", diagnosis.id, diagnosis.subject)
    assert act.alternatives == ({"playbook": "other", "successes": 0, "tries": 1},)
    assert "3 of 4" in act.rationale


async def test_asked_again_it_says_nothing_new(board: Board, agent: IncidentResponse) -> None:
    """The same event considered again, with the first answer written, starts no second remedy."""
    diagnosis = board.diagnose()
    await board.consider(agent)
    board.happen("decision.diagnosis", diagnosis.subject, "decision", diagnosis, diagnosis.id)
    assert "Act" not in kinds(await board.consider(agent))
    assert len(board.runs) == len(board.incidents) == 1


async def test_without_a_fingerprint_the_root_groups(board: Board, agent: IncidentResponse) -> None:
    """The fingerprint is made from pipeline and root; for a transient from the first failed node."""
    board.diagnose(fingerprint="")
    board.diagnose("transient", fingerprint="", nodes=["model.shop.x"], run="r9", confidence=0.8)
    await board.consider(agent)
    assert {i.fingerprint for i in board.incidents.values()} == {f"shop|{ORDERS}", "shop|model.shop.x"}


async def test_overlapping_nodes_join(board: Board, agent: IncidentResponse) -> None:
    """Another root of the same failing node joins the open incident; another pipeline's does not."""
    board.diagnose()
    board.diagnose(
        "column_retyped", subject=Asset("warehouse", "wh", "raw.customers", "id"), nodes=[NODE, MART], confidence=0.7
    )
    board.diagnose(pipeline="other", subject=Asset("warehouse", "wh", "raw.x"), run="q")
    await board.consider(agent)
    first, second = board.incidents.values()
    assert first.details["nodes"] == [NODE, MART]
    assert len(board.membership[first.id]) == 2
    assert second.details["pipeline"] == "other"


async def test_a_superseded_diagnosis_is_passed_over(board: Board, agent: IncidentResponse) -> None:
    """By the time it is read something better was said."""
    old = board.diagnose("unknown", confidence=0.2)
    board.events.clear()
    new = board.diagnose(supersedes=old.id)
    board.happen("decision.diagnosis", old.subject, "decision", board.decided[0], old.id)
    await board.consider(agent)
    assert only(board).details["diagnosis_id"] == new.id
    assert run_of(board).plan["diagnosis_id"] == new.id


async def test_a_silenced_asset_is_left_alone(board: Board, agent: IncidentResponse) -> None:
    """Recorded, nothing opened."""
    board.silences = ["warehouse://wh/raw.orders*"]
    diagnosis = board.diagnose()
    (said,) = await board.consider(agent)
    assert isinstance(said, Ignore)
    assert said.key == f"silenced|{diagnosis.id}"
    assert not board.incidents


async def test_no_playbook_escalates(board: Board, agent: IncidentResponse) -> None:
    """A dropped column goes to a human with everything known."""
    column = Asset("warehouse", "wh", "raw.orders", "customer_id")
    mart, exposure = Asset("dbt", "shop", MART), Asset("dbt", "shop", "exposure.shop.board")
    staging = Asset("dbt", "shop", "model.shop.stg_orders")
    board.edges = [(ORDERS, staging), (staging, mart), (mart, exposure)]
    board.facts[exposure, "owner"] = "sales-ops@shop"
    diagnosis = board.diagnose(
        "column_dropped", table="raw.orders", column="customer_id", alternatives=({"cause": "x", "reason": "no sign"},)
    )
    said = await board.consider(agent)
    assert kinds(said) == ["Open", "Escalate"]
    (handed,) = board.handed
    packet = handed.packet
    assert handed.reason.startswith("no_playbook: ")
    assert packet["summary"] == "customer_id was dropped from raw.orders"
    assert packet["hypotheses"][0]["decision"] == diagnosis.id
    assert packet["hypotheses"][0]["against"] == ["no sign"]
    assert packet["impact"]["marts"] == [str(mart)]
    assert packet["impact"]["exposures"] == [str(exposure)]
    assert packet["impact"]["owners"] == {str(exposure): "sales-ops@shop"}
    assert packet["commands"][-1] == "dbt build --select unique_stg_orders_order_id"
    assert packet["rollback"]
    assert any("producer" in question for question in packet["questions"])
    assert str(column) == packet["hypotheses"][0]["subject"]


async def test_an_unsure_diagnosis_escalates(board: Board, agent: IncidentResponse) -> None:
    """Below the floor nothing is done; the floor is a setting."""
    board.diagnose(confidence=0.49)
    await board.consider(agent)
    assert board.handed[0].reason.startswith("unsure: ")
    assert not board.runs
    bolder = Board(cards=board.cards)
    bolder.diagnose(confidence=0.49)
    await bolder.consider(IncidentResponse(IncidentResponseOptions(min_confidence=0.4)))
    assert bolder.runs


async def test_an_escalated_incident_is_not_escalated_again(board: Board, agent: IncidentResponse) -> None:
    """Every run fails and is diagnosed anew; the human is called once."""
    for run in ("r1", "r2", "r3"):
        board.diagnose("column_dropped", run=run)
        await board.consider(agent)
    assert len(board.handed) == len(board.incidents) == 1


async def test_better_knowledge_takes_it_back_from_the_human(board: Board, agent: IncidentResponse) -> None:
    """Escalated as unknown, then really explained, and nobody has taken it up: the swarm goes on."""
    board.diagnose("unknown", confidence=0.2)
    await board.consider(agent)
    board.diagnose("column_renamed", run="r2")
    await board.consider(agent)
    assert only(board).state is IncidentState.INVESTIGATING
    assert run_of(board).playbook == "patch-model"


async def test_what_a_human_has_taken_up_is_theirs(board: Board, agent: IncidentResponse) -> None:
    """Acknowledged: the swarm keeps its hands off."""
    board.diagnose("unknown", confidence=0.2)
    await board.consider(agent)
    board.handed = [replace(e, state=EscalationState.ACKNOWLEDGED) for e in board.handed]
    board.diagnose("column_renamed", run="r2")
    await board.consider(agent)
    assert only(board).state is IncidentState.ESCALATED
    assert not board.runs


# --- rivals --------------------------------------------------------------------------------------------------------


async def test_rivals_block_acting(board: Board, agent: IncidentResponse) -> None:
    """Two agents, two causes, one failure: both stand in the packet, nothing is done."""
    board.diagnose()
    board.diagnose("column_retyped", agent="another", confidence=0.6)
    await board.consider(agent)
    assert not board.runs
    (handed,) = board.handed
    assert handed.reason.startswith("rival_diagnoses: column_renamed or column_retyped")
    assert [h["cause"] for h in handed.packet["hypotheses"]] == ["column_renamed", "column_retyped"]
    assert handed.packet["hypotheses"][0]["against"]
    assert handed.packet["questions"][0] == "Which of the hypotheses holds?"


@pytest.mark.parametrize(
    ("other", "is_blocked"),
    [
        ({"agent": "another", "confidence": 0.2}, True),
        ({"confidence": 0.95}, True),
        ({"confidence": 0.7}, False),
        ({"agent": "another", "run": "r0"}, False),
        ({"agent": "another", "pipeline": "elsewhere"}, False),
        ({"agent": "another", "nodes": ["model.shop.x"], "fingerprint": "shop|elsewhere"}, False),
        ({"agent": "another", "nodes": [NODE], "fingerprint": "shop|elsewhere"}, True),
    ],
)
async def test_what_makes_a_rival(
    board: Board, agent: IncidentResponse, other: dict[str, object], is_blocked: bool
) -> None:
    """Another cause for the same failure of the same run, by another agent or with the same confidence."""
    board.diagnose("column_retyped", **other)
    board.events.clear()
    board.diagnose()
    await board.consider(agent)
    assert bool(board.handed) is is_blocked
    assert bool(board.runs) is not is_blocked


async def test_not_knowing_is_no_rival(board: Board, agent: IncidentResponse) -> None:
    """An agent that abstains does not block the one that knows."""
    board.diagnose("unknown", agent="another", confidence=0.1)
    board.events.clear()
    board.diagnose()
    await board.consider(agent)
    assert board.runs
    assert not board.handed


async def test_a_decided_rivalry_is_acted_upon(board: Board, agent: IncidentResponse) -> None:
    """One is superseded by what agrees with the other: now there is one explanation."""
    rival = board.diagnose("column_retyped", agent="another")
    board.diagnose()
    await board.consider(agent)
    assert board.handed
    board.diagnose(supersedes=rival.id, agent="another")
    await board.consider(agent)
    assert run_of(board).playbook == "patch-model"


# --- storms --------------------------------------------------------------------------------------------------------


async def test_a_storm_opens_ten_not_hundreds(board: Board, agent: IncidentResponse) -> None:
    """The eleventh of a minute joins the first; a minute later there is room again."""
    for number in range(25):
        board.diagnose(subject=Asset("warehouse", "wh", f"raw.t{number}"), nodes=[f"model.shop.m{number}"], run="s")
    await board.consider(agent)
    assert len(board.incidents) == 10
    first = next(iter(board.incidents.values()))
    assert first.details["storm"] == 15
    assert len(board.runs) == 10
    board.pass_time(minutes=2)
    board.diagnose(subject=Asset("warehouse", "wh", "raw.late"), nodes=["model.shop.late"], run="s")
    await board.consider(agent)
    assert len(board.incidents) == 11


# --- what became of remedies ---------------------------------------------------------------------------------------


async def test_the_next_remedy(board: Board, agent: IncidentResponse) -> None:
    """One that does not fit is followed by the next, then by a human, each tried once."""
    board.diagnose("table_renamed", subject=ORDERS)
    await board.consider(agent)
    fail(board, result={"unfit": True, "reason": "unfit: not certain"})
    await board.consider(agent)
    assert [r.playbook for r in board.runs.values()] == ["patch-model", "compatibility-view"]
    fail(board, result={"unfit": True, "reason": "unfit: taken"})
    await board.consider(agent)
    assert board.handed[0].reason.startswith("exhausted: compatibility-view, patch-model")
    assert len(board.runs) == 2


async def test_the_breaker(board: Board, agent: IncidentResponse) -> None:
    """After so many remedies that did not help, nothing more is tried, though there is more."""
    board.cards["table_renamed"].append(Remedy("third", 60))
    board.diagnose("table_renamed", subject=ORDERS)
    for _ in range(2):
        await board.consider(agent)
        for state in (R.APPROVED, R.APPLIED):
            board.advance(run_of(board).id, state, None, None)
        fail(board, R.UNDONE)
    await board.consider(agent)
    assert board.handed[0].reason.startswith("breaker: 2 remedies")
    assert len(board.runs) == 2


async def test_observe_mode_leaves_a_record(board: Board, agent: IncidentResponse) -> None:
    """The incident stays open with what would have been done; nothing more is tried for that cause."""
    board.diagnose("table_renamed", subject=ORDERS)
    await board.consider(agent)
    fail(board, R.REFUSED, {"gate": "observe", "would_have": {"summary": "Patch it."}})
    board.diagnose("table_renamed", subject=ORDERS, run="r2")
    await board.consider(agent)
    incident = only(board)
    assert incident.state is IncidentState.OPEN
    assert incident.details["would_have"] == {"summary": "Patch it."}
    assert len(board.runs) == 1
    assert not board.handed


async def test_a_refusal_by_policy_escalates_once(board: Board, agent: IncidentResponse) -> None:
    """The stage that said no is named."""
    board.diagnose()
    await board.consider(agent)
    fail(board, R.REFUSED, {"gate": "refuse", "stage": "budget", "reason": "exhausted"})
    event = board.events[-1]
    await board.consider(agent)
    board.events.append(event)
    await board.consider(agent)
    (handed,) = board.handed
    assert handed.reason == "refused: budget: exhausted"


async def test_what_the_driver_handed_over_is_not_handed_over_again(board: Board, agent: IncidentResponse) -> None:
    """`escalate` and `by_request` in the result mean that the task's own verdicts have seen to it."""
    board.diagnose()
    await board.consider(agent)
    fail(board, result={"escalate": "half_applied: x"})
    assert not await board.consider(agent)


async def test_a_stale_remedy_gives_way_to_the_newer_diagnosis(board: Board, agent: IncidentResponse) -> None:
    """Superseded between choosing and doing: the newer diagnosis gets its own try."""
    old = board.diagnose()
    await board.consider(agent)
    new = board.diagnose(supersedes=old.id, confidence=0.9)
    await board.consider(agent)
    assert len(board.runs) == 1
    fail(board, result={"unfit": True, "stale": True, "reason": "superseded"})
    await board.consider(agent)
    assert run_of(board).plan["diagnosis_id"] == new.id
    assert not board.handed


# --- answers -------------------------------------------------------------------------------------------------------


def asked(board: Board) -> Approval:
    """A question about the newest run."""
    run = run_of(board)
    board.move(run.incident_id, IncidentState.AWAITING_APPROVAL)
    made = Approval(
        board.number(), run.id, run.incident_id, ApprovalState.PENDING, "May I?", board.now, board.now, "", None
    )
    board.approvals.append(made)
    return made


async def test_a_yes_resumes(board: Board, agent: IncidentResponse) -> None:
    """And is remembered, for the ratio."""
    board.diagnose()
    await board.consider(agent)
    board.answer(asked(board), ApprovalState.APPROVED)
    said = await board.consider(agent)
    assert said[-1] == Resume(run_of(board).id, "ada")
    assert only(board).details["approved_by"] == "ada"


@pytest.mark.parametrize(
    ("state", "reason"), [(ApprovalState.DENIED, "denied: ada"), (ApprovalState.EXPIRED, "expired:")]
)
async def test_a_no_or_silence_escalates(
    board: Board, agent: IncidentResponse, state: ApprovalState, reason: str
) -> None:
    """It is a human's from then on."""
    board.diagnose()
    await board.consider(agent)
    board.answer(asked(board), state)
    await board.consider(agent)
    assert only(board).state is IncidentState.ESCALATED
    assert board.handed[0].reason.startswith(reason)


async def test_an_answer_after_the_end_changes_nothing(board: Board, agent: IncidentResponse) -> None:
    """The incident healed by itself meanwhile."""
    board.diagnose()
    await board.consider(agent)
    question = asked(board)
    for run in ("r2", "r3"):
        board.pass_time(minutes=5)
        board.run(run=run)
    await board.consider(agent)
    assert only(board).resolution is Resolution.SELF_HEALED
    board.answer(question, ApprovalState.APPROVED)
    assert not await board.consider(agent)


# --- soaking -------------------------------------------------------------------------------------------------------


async def remedied(board: Board, agent: IncidentResponse) -> None:
    """An incident in its soak."""
    board.diagnose()
    await board.consider(agent)
    board.pass_time(minutes=1)
    verify(board)
    board.events.clear()


async def test_clean_through_the_soak(board: Board, agent: IncidentResponse) -> None:
    """Two clean runs and ten minutes: resolved by the swarm, and learned from."""
    await remedied(board, agent)
    for run in ("r2", "r3"):
        board.pass_time(minutes=6)
        board.run(run=run)
        await board.consider(agent)
    incident = only(board)
    assert (incident.state, incident.resolution) == (IncidentState.RESOLVED, Resolution.AUTO)
    (learned,) = board.learned
    assert (learned.signal, learned.playbook, learned.cause) == ("success", "patch-model", "column_renamed")


async def test_runs_without_minutes_wait(board: Board, agent: IncidentResponse) -> None:
    """The timer brings it back for exactly what is lacking; then it is over."""
    await remedied(board, agent)
    for run in ("r2", "r3"):
        board.pass_time(minutes=2)
        board.run(run=run)
        await board.consider(agent)
    incident = only(board)
    assert incident.state is IncidentState.VERIFYING
    assert board.timers[f"soak|{incident.id}"].delay.total_seconds() == 360
    board.pass_time(minutes=6)
    board.ring(f"soak|{incident.id}")
    await board.consider(agent)
    assert only(board).resolution is Resolution.AUTO


async def test_minutes_without_runs_do_not_count(board: Board, agent: IncidentResponse) -> None:
    """A run from before the remedy, a run told twice, another pipeline's run: none of them counts."""
    await remedied(board, agent)
    board.pass_time(minutes=-1)
    board.run(run="before")
    board.pass_time(minutes=60)
    board.run(run="r2", pipeline="other")
    board.run(run="r3")
    board.run(run="r3")
    await board.consider(agent)
    assert only(board).details["clean_runs"] == ["r3"]
    assert only(board).state is IncidentState.VERIFYING


async def test_a_human_in_it_makes_it_human(board: Board, agent: IncidentResponse) -> None:
    """Approved by a human, then remedied: resolved, but not by the swarm alone."""
    board.diagnose()
    await board.consider(agent)
    board.answer(asked(board), ApprovalState.APPROVED)
    await board.consider(agent)
    board.pass_time(minutes=1)
    verify(board)
    for run in ("r2", "r3"):
        board.pass_time(minutes=6)
        board.run(run=run)
    await board.consider(agent)
    assert only(board).resolution is Resolution.HUMAN


async def test_unremedied_and_clean_again(board: Board, agent: IncidentResponse) -> None:
    """Escalated and clean twice: a human did it. One clean run is not enough, and a failure starts the count anew."""
    board.diagnose("column_dropped")
    await board.consider(agent)
    board.pass_time(minutes=1)
    for kind, run in (("passed", "r2"), ("failed", "r3"), ("passed", "r4")):
        board.run(kind, run, [NODE])
        board.pass_time(minutes=1)
    await board.consider(agent)
    assert only(board).state is IncidentState.ESCALATED
    board.run(run="r5")
    await board.consider(agent)
    assert only(board).resolution is Resolution.HUMAN


async def test_the_signal_comes_back(board: Board, agent: IncidentResponse) -> None:
    """Back to work; the run's own diagnosis gets the next remedy."""
    board.diagnose("table_renamed", subject=ORDERS)
    await board.consider(agent)
    board.pass_time(minutes=1)
    verify(board)
    board.events.clear()
    board.pass_time(minutes=5)
    board.run("failed", "r2", [NODE])
    said = await board.consider(agent)
    assert kinds(said) == ["Move", "Wait"]
    incident = only(board)
    assert incident.state is IncidentState.INVESTIGATING
    assert incident.details["rework"] == 1
    board.diagnose("table_renamed", subject=ORDERS, run="r2")
    await board.consider(agent)
    assert run_of(board).playbook == "compatibility-view"


async def test_the_signal_comes_back_and_nobody_explains(board: Board, agent: IncidentResponse) -> None:
    """The timer sees to it that what is known decides: here nothing is left but a human."""
    await remedied(board, agent)
    board.pass_time(minutes=5)
    board.run("failed", "r2", [NODE])
    await board.consider(agent)
    board.ring(f"rework|{only(board).id}")
    await board.consider(agent)
    assert board.handed[0].reason.startswith("exhausted: patch-model")


async def test_another_failure_does_not_end_the_peace(board: Board, agent: IncidentResponse) -> None:
    """Other nodes, or a run from before the remedy: the soak goes on."""
    await remedied(board, agent)
    board.run("failed", "r1b", [NODE])
    board.pass_time(minutes=5)
    board.run("failed", "r2", ["model.shop.other"])
    assert not await board.consider(agent)
    assert only(board).state is IncidentState.VERIFYING


async def test_a_recurrence_may_use_the_same_remedy(board: Board, agent: IncidentResponse) -> None:
    """Reopened: what helped in its former life is tried again."""
    await remedied(board, agent)
    for run in ("r2", "r3"):
        board.pass_time(minutes=6)
        board.run(run=run)
    await board.consider(agent)
    board.pass_time(minutes=6)
    board.diagnose(run="r4")
    await board.consider(agent)
    assert only(board).state is IncidentState.OPEN
    assert [r.playbook for r in board.runs.values()] == ["patch-model", "patch-model"]


async def test_an_event_without_its_row(board: Board, agent: IncidentResponse) -> None:
    """Retention dropped it: nothing to answer."""
    board.happen("decision.diagnosis", ORDERS, "decision", None)
    board.happen("timer.due", ORDERS, "timer", {"incident": 99, "why": "soak"})
    board.happen("timer.due", ORDERS, "timer", None)
    assert not await board.consider(agent)


# --- a batch, or one by one ----------------------------------------------------------------------------------------

Happens = Callable[[Board], None]
STORY: st.SearchStrategy[Happens] = st.sampled_from(
    [
        lambda b: b.diagnose(),
        lambda b: b.diagnose("column_dropped", run="r2"),
        lambda b: b.diagnose("table_renamed", subject=ORDERS, run="r2", nodes=[MART]),
        lambda b: b.diagnose("column_retyped", agent="another"),
        lambda b: b.diagnose("transient", subject=Asset("dbt", "shop"), nodes=["model.shop.z"], fingerprint=""),
        lambda b: b.run(run=f"p{b.number()}"),
        lambda b: b.run("failed", f"f{b.number()}", [NODE]),
        lambda b: b.run("failed", f"f{b.number()}", [MART, "model.shop.z"]),
        lambda b: b.pass_time(minutes=4),
    ]
)


def shape(board: Board) -> object:
    """What matters of a board, whatever the numbers."""
    volatile = {"diagnosis_id", "since", "applied_at"}
    return (
        [
            (i.fingerprint, i.state, i.resolution, {k: v for k, v in i.details.items() if k not in volatile})
            for i in board.incidents.values()
        ],
        [(r.playbook, r.state, str(r.subject)) for r in board.runs.values()],
        [e.reason for e in board.handed],
        [(x.signal, x.playbook) for x in board.learned],
    )


@settings(max_examples=150, deadline=None)
@given(before=st.lists(STORY, max_size=3), is_remedied=st.booleans(), story=st.lists(STORY, min_size=2, max_size=9))
async def test_a_batch_ends_as_its_events_one_by_one(
    before: list[Happens], is_remedied: bool, story: list[Happens]
) -> None:
    """Whatever happened, considered together or singly, the same incidents, remedies and hand-overs stand."""
    ends = []
    for one_by_one in (False, True):
        board, agent = Board(), IncidentResponse()
        board.settings["soak_minutes"] = 0
        board.cards = {
            "column_renamed": [Remedy("patch-model", 20)],
            "table_renamed": [Remedy("patch-model", 20), Remedy("compatibility-view", 40)],
            "transient": [Remedy("rerun-failed", 10)],
        }
        for step in before:
            step(board)
        await board.consider(agent)
        if is_remedied and board.runs and board.incidents[run_of(board).incident_id].state is IncidentState.OPEN:
            verify(board)
        board.events.clear()
        for step in story:
            step(board)
        await board.consider(agent, one_by_one=one_by_one)
        ends.append(shape(board))
    assert ends[0] == ends[1]


def test_every_verdict_is_one_the_runtime_takes() -> None:
    """The names used here are those of the contract."""
    assert {Act, Escalate, Ignore, Move, Note, Open, Resume, Wait} <= set(Verdict.__args__)
