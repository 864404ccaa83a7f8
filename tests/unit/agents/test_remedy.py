"""The driver of playbooks: every way a remedy can go, and cut short at every mark and taken up again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import pytest

from agents.context import Remedy
from agents.incident_response import IncidentResponse
from agents.invariants import affected
from agents.playbook import Bench, BlastRadius, Case, Gate, Permit, Plan, Playbook, Probe, Unfit, Verification
from agents.remedy import carry_out, take_back
from agents.signals import Evidence
from agents.verdicts import Ask, Escalate, Learn, Move, Verdict, Wait
from config.assets import Asset
from config.errors import ConflictError, LeaseLostError, PermanentError, SetupError, SwarmError, TransientError
from integrations.base import Catalog, ColumnProfile, Finding, Profile, Project, Statement
from memory.records import ApprovalState, EffectClass, IncidentState, Payload, RemediationState, Resolution
from tests.unit.agents.blackboard import Board, BoardBench, Crash
from tests.unit.agents.stands import MART, STAGING, UNIQUE, Pipeline

TARGET = Asset("warehouse", "wh", "raw.orders")
FACT = Asset("warehouse", "wh", "analytics.fct_orders")
R = RemediationState


@dataclass
class World:
    """What the scripted remedy changes: applied how often, taken back how often."""

    applied: int = 0
    undone: int = 0
    is_clean: bool = True


class Scripted(Playbook):
    """A remedy whose every part does as told."""

    name: ClassVar[str] = "scripted"
    causes: ClassVar[tuple[str, ...]] = ("column_renamed",)

    def __init__(self, world: World) -> None:
        super().__init__()
        self.world = world
        self.unfit = ""
        self.check_raises: SwarmError | None = None
        self.apply_raises: list[SwarmError] = []
        self.undo_raises: SwarmError | None = None
        self.previews = ["a diff"]
        self.gone: dict[str, int] = {}

    async def check(self, case: Case, bench: Bench) -> Plan | Unfit:
        """As told."""
        if self.check_raises is not None:
            raise self.check_raises
        if self.unfit:
            return Unfit(self.unfit)
        preview = self.previews.pop(0) if len(self.previews) > 1 else self.previews[0]
        return Plan("Do it.", {"n": 1}, preview, BlastRadius((str(TARGET),)), gone=self.gone, undo_hint="by hand")

    async def apply(self, case: Case, plan: Plan, bench: Bench) -> Payload:
        """Two effects; an error between them if told."""

        async def change() -> Payload:
            self.world.applied += 1
            return {}

        async def happened() -> Probe:
            return Probe.DONE if self.world.applied > self.world.undone else Probe.NOT_DONE

        await bench.effect(
            "change", target=TARGET, intent={}, inverse={"back": True}, effect_class=EffectClass.INVERTIBLE,
            do=change, probe=happened,
        )  # fmt: skip
        if self.apply_raises:
            raise self.apply_raises.pop(0)
        return {"signal": self.world.is_clean}

    async def verify(self, case: Case, plan: Plan, applied: Payload, bench: Bench) -> Verification:
        """What applying told."""
        return Verification(bool(applied["signal"]), {"taken": "again"}, "" if applied["signal"] else "still failing")

    async def undo(self, case: Case, plan: Plan, bench: Bench) -> None:
        """Once."""
        if not await bench.undoable(case):
            return
        if self.undo_raises is not None:
            raise self.undo_raises

        async def back() -> Payload:
            self.world.undone = self.world.applied
            return {}

        await bench.effect(
            "undo: change", target=TARGET, intent={}, inverse={}, effect_class=EffectClass.IDEMPOTENT, do=back
        )


@dataclass
class Counts:
    """A warehouse that only counts."""

    profiles: dict[str, Profile] = field(default_factory=dict)
    kind: ClassVar[str] = "counts"
    Options: ClassVar[Any] = None
    name: str = "wh"

    async def open(self) -> None:
        """Nothing to open."""

    async def close(self) -> None:
        """Nothing to close."""

    async def examine(self) -> Sequence[Finding]:
        """Always well."""
        return ()

    async def catalog(self) -> Catalog:
        """Not asked here."""
        raise NotImplementedError

    async def profile(self, table: str, *, columns: Sequence[str] | None = None, sketch: int = 0) -> Profile:
        """As given."""
        if table not in self.profiles:
            raise PermanentError(f"{table} is not there")
        return self.profiles[table]

    async def query(self, sql: str, parameters: Sequence[Any] = (), *, limit: int = 1000) -> list[dict[str, Any]]:
        """Not asked here."""
        raise NotImplementedError

    async def execute(self, statements: Sequence[Statement], *, agent: str, lock: str = "") -> list[int]:
        """Not asked here."""
        raise NotImplementedError

    def quote(self, *names: str) -> str:
        """Not asked here."""
        raise NotImplementedError


@dataclass
class Stage:
    """A board with one chosen remedy, and a bench to drive it."""

    board: Board
    bench: BoardBench
    playbook: Scripted
    world: World
    warehouse: Counts
    agent: IncidentResponse

    @property
    def run(self) -> Any:
        """The remediation as it stands."""
        return self.board.runs[self.number]

    @property
    def number(self) -> int:
        """Its id."""
        return next(iter(self.board.runs))

    @property
    def incident(self) -> Any:
        """The incident as it stands."""
        return next(iter(self.board.incidents.values()))

    async def drive(self) -> Sequence[Verdict]:
        """Run the task to its end, and write what it says."""
        verdicts = await carry_out(self.number, self.bench)
        self.board.write(verdicts)
        return verdicts


def profile(rows: int, **nulls: int) -> Profile:
    """Counts."""
    return Profile(rows, {name: ColumnProfile(n) for name, n in nulls.items()})


@pytest.fixture
async def stage() -> Stage:
    """Diagnosed, chosen, and a good profile of the mart to hold."""
    board = Board()
    board.cards = {"column_renamed": [Remedy("scripted", 10)]}
    agent = IncidentResponse()
    board.diagnose(nodes=[UNIQUE], skipped=[MART])
    await board.consider(agent)
    board.facts[FACT, "profile.good"] = {"rows": 1000, "columns": {"order_id": {"nulls": 0}, "note": {"nulls": 100}}}
    world = World()
    playbook = Scripted(world)
    warehouse = Counts({"analytics.fct_orders": profile(1010, order_id=0, note=101)})
    bench = BoardBench(board, {"shop": Pipeline(), "wh": warehouse}, {"scripted": playbook})
    return Stage(board, bench, playbook, world, warehouse, agent)


def kinds(verdicts: Sequence[Verdict]) -> list[str]:
    """Names of verdicts."""
    return [type(v).__name__ for v in verdicts]


async def test_all_goes_well(stage: Stage) -> None:
    """Checked, allowed, announced, applied once, measured, and left to soak."""
    assert kinds(await stage.drive()) == ["Move"]
    assert stage.run.state is R.VERIFIED
    assert stage.incident.state is IncidentState.VERIFYING
    assert stage.incident.first_clean_at == stage.run.ended_at
    assert stage.incident.details["applied_at"] == stage.run.applied_at.isoformat()
    assert stage.incident.details["remedied_by"] == "scripted"
    assert (stage.world.applied, stage.world.undone, stage.bench.gated, len(stage.bench.announced)) == (1, 0, 1, 1)
    measured = stage.run.result["measured"]
    assert measured["invariants"]["tables"]["analytics.fct_orders"] == {"rows": 1010, "rows_good": 1000, "broken": []}
    assert measured["invariants"]["unprofiled"] == ["analytics.stg_orders"]


async def test_without_cycles_to_soak_a_timer_ends_it(stage: Stage) -> None:
    """A soak of no runs still has its minutes."""
    stage.board.settings["soak_cycles"] = 0
    said = await stage.drive()
    wait = said[-1]
    assert isinstance(wait, Wait)
    assert wait.delay.total_seconds() == 600
    stage.board.pass_time(minutes=10)
    stage.board.ring(wait.key)
    await stage.board.consider(stage.agent)
    assert stage.incident.resolution is Resolution.AUTO


async def test_unfit(stage: Stage) -> None:
    """It does not fit: nothing was asked of policy, nothing done; the next is chosen elsewhere."""
    stage.playbook.unfit = "not certain"
    assert await stage.drive() == []
    assert stage.run.state is R.FAILED
    assert stage.run.result == {"reason": "unfit: not certain", "unfit": True}
    assert stage.bench.gated == stage.world.applied == 0
    await stage.board.consider(stage.agent)
    assert stage.incident.state is IncidentState.ESCALATED


@pytest.mark.parametrize("error", [SetupError("there is no actor"), PermanentError("the diagnosis does not say")])
async def test_a_check_that_cannot_look(stage: Stage, error: SwarmError) -> None:
    """What is missing for looking makes it unfit, and says why."""
    stage.playbook.check_raises = error
    await stage.drive()
    assert stage.run.result["reason"] == f"unfit: {error.message}"


async def test_a_check_may_be_tried_again(stage: Stage) -> None:
    """The warehouse is down: the task comes back later, nothing is decided."""
    stage.playbook.check_raises = TransientError("down")
    with pytest.raises(TransientError):
        await stage.drive()
    assert stage.run.state is R.PROPOSED


async def test_a_playbook_that_is_not_enabled(stage: Stage) -> None:
    """Disabled since it was chosen."""
    stage.bench.playbooks = {}
    await stage.drive()
    assert stage.run.result["unfit"] is True


async def test_an_incident_that_is_over(stage: Stage) -> None:
    """Closed between choosing and doing: nothing is done."""
    stage.board.move(stage.incident.id, IncidentState.CLOSED, None, Resolution.FALSE_POSITIVE)
    await stage.drive()
    assert stage.run.state is R.FAILED
    assert not stage.world.applied


async def test_a_superseded_diagnosis(stage: Stage) -> None:
    """Something better is known: nothing is done on the old word."""
    old = stage.board.decided[0]
    stage.board.diagnose(supersedes=old.id)
    assert await stage.drive() == []
    assert stage.run.result["stale"] is True
    assert not stage.world.applied


async def test_a_rival_that_came_late(stage: Stage) -> None:
    """Contradicted between choosing and doing: nothing is done, a human decides."""
    stage.board.diagnose("column_retyped", agent="another", nodes=[UNIQUE])
    (said,) = await stage.drive()
    assert isinstance(said, Escalate)
    assert said.reason.startswith("rival_diagnoses: column_renamed or column_retyped")
    assert not stage.world.applied
    assert stage.incident.state is IncidentState.ESCALATED


# --- the gate ------------------------------------------------------------------------------------------------------


async def test_observe_leaves_what_it_would_have_done(stage: Stage) -> None:
    """The plan, its preview and the gate's trail; the incident stays open."""
    stage.bench.permit = Permit(Gate.OBSERVE, "autonomy", "policy says observe", ("kill-switch: no objection",))
    assert await stage.drive() == []
    assert stage.run.state is R.REFUSED
    assert stage.run.plan["preview"] == "a diff"
    assert stage.run.result["would_have"] == {"summary": "Do it.", "preview": "a diff", "playbook": "scripted"}
    assert stage.run.result["trail"]
    await stage.board.consider(stage.agent)
    assert stage.incident.state is IncidentState.OPEN
    assert stage.incident.details["would_have"]["summary"] == "Do it."
    assert not stage.world.applied


async def test_refused(stage: Stage) -> None:
    """Not even with approval: a human hears of it."""
    stage.bench.permit = Permit(Gate.REFUSE, "budget", "exhausted")
    await stage.drive()
    await stage.board.consider(stage.agent)
    assert stage.board.handed[0].reason == "refused: budget: exhausted"
    assert not stage.world.applied


async def test_propose_asks_and_a_yes_goes_on(stage: Stage) -> None:
    """The question holds the preview; after the yes another task does it."""
    stage.bench.permit = Permit(Gate.PROPOSE, "tier", "a tier-0 asset")
    said = await stage.drive()
    assert kinds(said) == ["Ask", "Move"]
    assert isinstance(said[0], Ask)
    assert "a diff" in said[0].question
    assert "a tier-0 asset (tier)" in said[0].question
    assert stage.run.state.value == "proposed"
    assert stage.incident.state is IncidentState.AWAITING_APPROVAL
    assert not stage.world.applied
    stage.board.answer(stage.board.approvals[0], ApprovalState.APPROVED)
    await stage.board.consider(stage.agent)
    stage.bench.journal = {}  # another task
    assert kinds(await stage.drive()) == ["Move"]
    assert stage.run.state is R.VERIFIED
    assert stage.incident.details["approved_by"] == "ada"


async def test_another_plan_than_the_one_approved_is_asked_about_anew(stage: Stage) -> None:
    """The world moved between question and answer: the yes was to something else."""
    stage.playbook.previews = ["a diff", "another diff"]
    stage.bench.permit = Permit(Gate.PROPOSE, "tier", "a tier-0 asset")
    await stage.drive()
    stage.board.answer(stage.board.approvals[0], ApprovalState.APPROVED)
    await stage.board.consider(stage.agent)
    stage.bench.journal = {}
    (asked,) = await stage.drive()
    assert isinstance(asked, Ask)
    assert "another diff" in asked.question
    assert not stage.world.applied


# --- what does not help --------------------------------------------------------------------------------------------


async def test_a_signal_that_stays_is_taken_back(stage: Stage) -> None:
    """Undone, back to investigating before it is told, and learned from."""
    stage.world.is_clean = False
    (learned,) = await stage.drive()
    assert isinstance(learned, Learn)
    assert (learned.signal, learned.playbook) == ("failure", "scripted")
    assert stage.run.state is R.UNDONE
    assert stage.incident.state is IncidentState.INVESTIGATING
    assert stage.world.undone == stage.world.applied == 1
    assert stage.bench.marks.index("move investigating") < stage.bench.marks.index("advance undone")
    await stage.board.consider(stage.agent)
    assert stage.board.handed[0].reason.startswith("exhausted: scripted")


@pytest.mark.parametrize(
    ("now", "reason"),
    [
        (profile(1010, note=0), "columns are missing: order_id"),
        (profile(999, order_id=0, note=0), "999 rows, where 1000 were"),
        (profile(1551, order_id=0, note=0), "at most 1550"),
        (profile(1000, order_id=6, note=0), "order_id: 6 nulls"),
        (profile(1000, order_id=0, note=131), "note: 131 nulls"),
        (None, "cannot be measured"),
    ],
)
async def test_invariants_are_not_the_playbooks(stage: Stage, now: Profile | None, reason: str) -> None:
    """The playbook is content, the last good profile is not: taken back."""
    stage.warehouse.profiles = {} if now is None else {"analytics.fct_orders": now}
    await stage.drive()
    assert stage.run.state is R.UNDONE
    assert reason in stage.run.result["reason"]
    assert stage.world.undone == 1


async def test_what_the_evidence_names_may_be_gone(stage: Stage) -> None:
    """Rows that cannot come back are missing downstream, as many as named."""
    stage.playbook.gone = {str(FACT): 3}
    stage.warehouse.profiles = {"analytics.fct_orders": profile(997, order_id=0, note=0)}
    await stage.drive()
    assert stage.run.state is R.VERIFIED


async def test_an_apply_that_fails_is_taken_back(stage: Stage) -> None:
    """What was done before the failure is undone; the remedy counts as tried."""
    stage.playbook.apply_raises = [PermanentError("the proof failed")]
    (learned,) = await stage.drive()
    assert isinstance(learned, Learn)
    assert stage.run.state is R.FAILED
    assert stage.run.result["reason"] == "the proof failed"
    assert stage.run.result["done"] == ["change"]
    assert stage.world.undone == 1
    assert stage.incident.state is IncidentState.INVESTIGATING


async def test_an_undo_that_fails_goes_to_a_human(stage: Stage) -> None:
    """Half applied: everything that was done is in the packet."""
    stage.playbook.apply_raises = [PermanentError("the build broke")]
    stage.playbook.undo_raises = PermanentError("others depend on it")
    said = await stage.drive()
    handed = said[-1]
    assert isinstance(handed, Escalate)
    assert handed.reason == "half_applied: the build broke; taking it back failed: others depend on it"
    assert handed.packet["done"] == ["change"]
    assert "by hand" in handed.packet["rollback"]
    assert stage.incident.state is IncidentState.ESCALATED
    await stage.board.consider(stage.agent)
    assert len(stage.board.handed) == 1


async def test_an_undo_that_fails_after_verifying(stage: Stage) -> None:
    """It did not help and cannot be taken back."""
    stage.world.is_clean = False
    stage.playbook.undo_raises = PermanentError("no")
    said = await stage.drive()
    assert isinstance(said[-1], Escalate)
    assert said[-1].reason == "not_undone: no"
    assert stage.run.state is R.FAILED


async def test_the_kill_switch_in_the_midst(stage: Stage) -> None:
    """Nothing more is touched, not even to take back."""
    stage.bench.kill_switch = "an audit"
    said = await stage.drive()
    assert isinstance(said[-1], Escalate)
    assert said[-1].reason == "forbidden: the kill switch is on: an audit"
    assert stage.world.applied == stage.world.undone == 0
    assert stage.incident.state is IncidentState.ESCALATED


async def test_the_ground_moves_once(stage: Stage) -> None:
    """Checked again on the new ground, and done there if the plan is the same."""
    stage.playbook.apply_raises = [ConflictError("head moved")]
    await stage.drive()
    assert stage.run.state is R.VERIFIED
    assert stage.world.applied == 1


async def test_the_ground_moves_and_the_plan_with_it(stage: Stage) -> None:
    """Another plan was not allowed: taken back, and told."""
    stage.playbook.previews = ["a diff", "another"]
    stage.playbook.apply_raises = [ConflictError("head moved")]
    await stage.drive()
    assert stage.run.state is R.FAILED
    assert stage.run.result["outcome"] == "conflict"
    assert stage.world.undone == 1


async def test_a_lost_lease_ends_it_at_once(stage: Stage) -> None:
    """Somebody else goes on; nothing is taken back here."""
    stage.playbook.apply_raises = [LeaseLostError("taken over")]
    with pytest.raises(LeaseLostError):
        await stage.drive()
    assert stage.world.undone == 0
    assert stage.run.state is R.APPROVED


async def test_a_transient_stop_is_resumed(stage: Stage) -> None:
    """The task comes back: what was done is not done again."""
    stage.playbook.apply_raises = [TransientError("cut")]
    with pytest.raises(TransientError):
        await stage.drive()
    await stage.drive()
    assert stage.run.state is R.VERIFIED
    assert (stage.world.applied, stage.bench.gated) == (1, 1)


@pytest.mark.parametrize("is_clean", [True, False])
async def test_cut_at_every_mark(stage: Stage, is_clean: bool) -> None:
    """Killed before any mark and taken up by another worker, it ends the same, each change done once."""
    stage.world.is_clean = is_clean
    twin = BoardBench(
        replace(stage.board, runs=dict(stage.board.runs), incidents=dict(stage.board.incidents), events=[]),
        stage.bench.sources,
        {"scripted": Scripted(replace(stage.world))},
    )
    expected = kinds(await carry_out(stage.number, twin))
    marks = [m for i, m in enumerate(twin.marks) if m not in twin.marks[:i]]
    assert len(marks) > 8
    for mark in marks:
        board = replace(stage.board, runs=dict(stage.board.runs), incidents=dict(stage.board.incidents), events=[])
        world = replace(stage.world)
        bench = BoardBench(board, stage.bench.sources, {"scripted": Scripted(world)}, crash_before=mark)
        with pytest.raises(Crash):
            await carry_out(stage.number, bench)
        bench.crash_before = ""
        assert kinds(await carry_out(stage.number, bench)) == expected, mark
        assert board.runs[stage.number].state is (R.VERIFIED if is_clean else R.UNDONE), mark
        assert (world.applied, world.undone) == (1, 0 if is_clean else 1), mark
        # The task's completion itself may be cut: asked once more, it says the same from what is written.
        assert kinds(await carry_out(stage.number, bench)) == expected, mark


async def test_applied_and_then_disabled(stage: Stage) -> None:
    """It cannot be verified any more, and that is not silent."""
    stage.bench.crash_before = "step verify"
    with pytest.raises(Crash):
        await stage.drive()
    stage.bench.playbooks = {}
    with pytest.raises(PermanentError, match="no longer enabled"):
        await stage.drive()


# --- taking back ---------------------------------------------------------------------------------------------------


async def test_a_human_has_it_taken_back(stage: Stage) -> None:
    """Undone, and the incident is theirs; no further remedy is tried."""
    await stage.drive()
    stage.board.write(await take_back(stage.number, stage.bench))
    assert stage.run.state is R.UNDONE
    assert stage.world.undone == 1
    assert stage.incident.state is IncidentState.ESCALATED
    await stage.board.consider(stage.agent)
    assert len(stage.board.handed) == len(stage.board.runs) == 1
    assert kinds(await take_back(stage.number, stage.bench)) == ["Escalate"]  # resumed: said again, done once
    assert stage.world.undone == 1


async def test_taken_back_after_the_end(stage: Stage) -> None:
    """A resolved incident is opened again and handed over."""
    await stage.drive()
    stage.board.move(stage.incident.id, IncidentState.RESOLVED, None, Resolution.AUTO)
    said = await take_back(stage.number, stage.bench)
    assert kinds(said) == ["Move", "Escalate"]
    assert isinstance(said[0], Move)
    assert said[0].after is IncidentState.OPEN


async def test_nothing_to_take_back(stage: Stage) -> None:
    """Never applied."""
    with pytest.raises(PermanentError, match="nothing to take back"):
        await take_back(stage.number, stage.bench)
    stage.world.is_clean = False
    await stage.drive()
    assert not await take_back(stage.number, stage.bench)


async def test_the_agent_performs_its_tasks(stage: Stage) -> None:
    """`remediate` and `undo` by the task's kind; a task that names nothing is refused."""
    stage.bench.remediation_id = stage.number
    stage.board.write(await stage.agent.act(stage.bench.task, stage.bench))
    assert stage.run.state.value == "verified"
    await stage.agent.act(stage.bench.task._replace(kind="undo"), stage.bench)
    assert stage.run.state is R.UNDONE
    with pytest.raises(PermanentError, match="names no remediation"):
        await stage.agent.act(stage.bench.task._replace(payload={}), stage.bench)


def test_what_is_measured() -> None:
    """Everything made from what failed, tests' models included; nothing beside it."""
    project = Project("shop", "wh", Pipeline().project_nodes)
    evidence = Evidence("shop", "wh", "r1", (UNIQUE,), (), {})
    assert affected(project, evidence, "raw.nowhere") == ("analytics.stg_orders", "analytics.fct_orders")
    assert affected(project, Evidence("shop", "wh", "r1", (MART,), (), {}), "x.y") == ("analytics.fct_orders",)
    assert affected(project, Evidence("shop", "wh", "r1", (), (), {}), "raw.orders")[0] == "analytics.stg_orders"
    assert STAGING in project.nodes
