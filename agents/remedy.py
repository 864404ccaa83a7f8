"""The one driver that runs a playbook: check, gate, apply, verify, undo.

Each phase leaves its mark (the remediation's state, a journaled step, an effect), so a task that another worker takes
up goes on after the last finished one. What it answers at the end depends on what is written alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Final

from pydantic import TypeAdapter

from agents import invariants
from agents.diagnoses import are_rivals
from agents.playbook import Bench, Case, Gate, Permit, Plan, Playbook, Unfit, Verification
from agents.verdicts import Ask, Escalate, Learn, Move, Verdict, Wait
from config.errors import ConflictError, LeaseLostError, PermanentError, PolicyError, SwarmError, UsageError
from memory.records import IncidentState, Payload, RemediationState

_OVER: Final = (RemediationState.FAILED, RemediationState.REFUSED, RemediationState.UNDONE)
_PLAN: Final = TypeAdapter(Plan)


@dataclass(frozen=True, slots=True)
class Checked:
    """What a check said: a plan, or the reason why there is none."""

    plan: Plan | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Applied:
    """How applying ended: `applied`, `conflict` (the ground moved), `failed`, or `forbidden` (policy said no)."""

    outcome: str
    result: Payload = field(default_factory=dict)
    reason: str = ""


async def carry_out(remediation_id: int, bench: Bench) -> Sequence[Verdict]:
    """Run a remediation from where it stands to where it goes next.

    Raises:
        LeaseLostError: somebody else has the task now.
        TransientError: try again later; nothing done so far is lost.
        PermanentError: it cannot be driven any further without a human.
    """
    case = await bench.case(remediation_id)
    state = case.remediation.state
    if state in _OVER:
        return _told(case)
    if state is RemediationState.VERIFIED:
        return await _soaking(case, bench)
    playbook = bench.playbook(case.remediation.playbook)
    if state is RemediationState.APPLIED:
        if playbook is None:
            raise PermanentError(f"{case.remediation.playbook} was applied and is no longer enabled to be verified")
        return await _settle(case, playbook, _plan_of(case), bench)
    return await _begin(case, playbook, bench)


async def _begin(case: Case, playbook: Playbook | None, bench: Bench) -> Sequence[Verdict]:
    """From proposed or approved: check, ask policy, apply."""
    is_new = case.remediation.state is RemediationState.PROPOSED
    if playbook is None:
        return await _fail(case, bench, {"reason": f"{case.remediation.playbook} is not enabled here", "unfit": True})
    if is_new and not case.incident.state.is_open:
        return await _fail(case, bench, {"reason": "the incident was over before it began", "unfit": True})
    if is_new and (stale := await _overtaken(case, bench)):
        return await _fail(case, bench, stale)
    checked = await _check(case, playbook, bench, "check")
    if checked.plan is None:
        return await _fail(case, bench, {"reason": f"unfit: {checked.reason}", "unfit": True})
    if is_new:
        permit = await _gate(case, checked.plan, bench)
        if permit.gate is not Gate.ACT:
            return await _held_back(case, checked.plan, permit, bench)
        case = await bench.advance(case, RemediationState.APPROVED, plan=checked.plan)
    return await _perform(case, playbook, checked.plan, bench)


async def _overtaken(case: Case, bench: Bench) -> Payload:
    """Has the diagnosis been superseded, or contradicted, since the remedy was chosen?"""
    if case.diagnosis.superseded_by is not None:
        return {"reason": "a newer diagnosis stands in the place of this one", "unfit": True, "stale": True}
    standing = await bench.context.decisions(kind="diagnosis")
    rivals = sorted({d.cause for d in standing if d.superseded_by is None and are_rivals(case.diagnosis, d)})
    if not rivals:
        return {}
    reason = f"rival_diagnoses: {case.diagnosis.cause} or {' or '.join(rivals)}; nothing is done until it is decided"
    return {"reason": reason, "unfit": True, "stale": True, "escalate": reason}


async def _check(case: Case, playbook: Playbook, bench: Bench, step: str) -> Checked:
    async def produce() -> Checked:
        try:
            found = await playbook.check(case, bench)
        except (PermanentError, UsageError) as error:
            return Checked(reason=error.message)
        return Checked(reason=found.reason) if isinstance(found, Unfit) else Checked(found)

    return await bench.step(step, produce, Checked)


async def _gate(case: Case, plan: Plan, bench: Bench) -> Permit:
    permit = await bench.gate(case, plan)
    shown = case.remediation.plan.get("preview")
    if permit.gate is Gate.ACT and shown is not None and shown != plan.preview:
        return Permit(Gate.PROPOSE, "preview", "the plan is another now than the one that was shown", permit.trail)
    return permit


async def _held_back(case: Case, plan: Plan, permit: Permit, bench: Bench) -> Sequence[Verdict]:
    """Policy lets it not act: ask, or leave a record of what would have been done."""
    if permit.gate is Gate.PROPOSE:
        case = await bench.advance(case, RemediationState.PROPOSED, plan=plan)
        question = (
            f"{plan.summary}\nWhy you are asked: {permit.reason} ({permit.stage}).\n\n{plan.preview}\n\n"
            f"To take it back: {plan.undo_hint or 'dataswarm undo'}"
        )
        asked = Ask(case.remediation.id, question)
        if case.incident.state is IncidentState.AWAITING_APPROVAL:
            return [asked]
        waits = IncidentState.AWAITING_APPROVAL
        return [asked, Move(case.incident.id, case.incident.state, waits, f"asked: {permit.reason}")]
    result = {
        "gate": permit.gate.value,
        "stage": permit.stage,
        "reason": permit.reason,
        "trail": list(permit.trail),
        "would_have": {"summary": plan.summary, "preview": plan.preview, "playbook": case.remediation.playbook},
    }
    case = await bench.advance(case, RemediationState.REFUSED, plan=plan, result=result)
    return _told(case)


async def _perform(case: Case, playbook: Playbook, plan: Plan, bench: Bench) -> Sequence[Verdict]:
    """Apply; where the ground moved meanwhile, once more on the new ground if the plan is the same there."""
    case = await bench.move(case, IncidentState.MITIGATING, plan.summary)
    await _announce(case, plan, bench)
    applied = await _apply(case, playbook, plan, bench, "apply")
    if applied.outcome == "conflict":
        again = await _check(case, playbook, bench, "check again")
        if again.plan is not None and (again.plan.preview, again.plan.blast) == (plan.preview, plan.blast):
            plan = again.plan
            applied = await _apply(case, playbook, plan, bench, "apply again")
    if applied.outcome != "applied":
        return await _stumbled(case, playbook, plan, applied, bench)
    case = await bench.advance(case, RemediationState.APPLIED, plan=plan, result=applied.result)
    return await _settle(case, playbook, plan, bench)


async def _announce(case: Case, plan: Plan, bench: Bench) -> None:
    async def produce() -> bool:
        await bench.announce(case, plan)
        return True

    await bench.step("announce", produce, bool)


async def _settle(case: Case, playbook: Playbook, plan: Plan, bench: Bench) -> Sequence[Verdict]:
    """Verify what was applied, and take back what did not help."""
    verification = await bench.step("verify", partial(_verify, case, playbook, plan, bench), Verification)
    result = {**case.remediation.result, "measured": verification.measured, "reason": verification.reason}
    if verification.clean:
        case = await bench.advance(case, RemediationState.VERIFIED, result=result)
        return await _soaking(case, bench)
    problem = await _taken_back(case, playbook, plan, bench)
    if problem:
        return await _fail(case, bench, {**result, "escalate": f"not_undone: {problem}"})
    await _look_further(case, bench, f"taken back: {verification.reason}")
    return _told(await bench.advance(case, RemediationState.UNDONE, result=result))


async def _look_further(case: Case, bench: Bench, reason: str) -> None:
    """Back to investigating, before the remediation's end is told, so that whoever hears of it may choose the next."""
    now = await bench.case(case.remediation.id)
    if now.incident.state is IncidentState.MITIGATING:
        await bench.move(now, IncidentState.INVESTIGATING, reason[:500])


async def _apply(case: Case, playbook: Playbook, plan: Plan, bench: Bench, step: str) -> Applied:
    async def produce() -> Applied:
        try:
            return Applied("applied", dict(await playbook.apply(case, plan, bench)))
        except LeaseLostError:
            raise
        except ConflictError as error:
            return Applied("conflict", reason=error.message)
        except PolicyError as error:
            return Applied("forbidden", reason=error.message)
        except (PermanentError, UsageError) as error:
            return Applied("failed", reason=error.message)

    return await bench.step(step, produce, Applied)


async def _verify(case: Case, playbook: Playbook, plan: Plan, bench: Bench) -> Verification:
    """The playbook's own measurement, and then what must hold whatever it says."""
    signal = await playbook.verify(case, plan, case.remediation.result, bench)
    if not signal.clean:
        return signal
    held = await invariants.hold(case, plan, bench)
    measured = {"signal": dict(signal.measured), "invariants": dict(held.measured)}
    return Verification(held.clean, measured, held.reason)


async def _stumbled(case: Case, playbook: Playbook, plan: Plan, applied: Applied, bench: Bench) -> Sequence[Verdict]:
    """Applying did not come to its end. Under a policy's no nothing more is touched, not even to take back."""
    done = [e.step for e in await bench.undoable(case)]
    result: dict[str, object] = {"reason": applied.reason, "outcome": applied.outcome, "done": done}
    if applied.outcome == "forbidden":
        result["escalate"] = f"forbidden: {applied.reason}"
    elif done and (problem := await _taken_back(case, playbook, plan, bench)):
        result["escalate"] = f"half_applied: {applied.reason}; taking it back failed: {problem}"
    else:
        await _look_further(case, bench, f"did not apply: {applied.reason}")
    return await _fail(case, bench, result)


async def _taken_back(case: Case, playbook: Playbook, plan: Plan, bench: Bench) -> str:
    """Undo; why it could not be, or nothing."""
    try:
        await playbook.undo(case, plan, bench)
    except LeaseLostError:
        raise
    except SwarmError as error:
        if error.retryable:
            raise
        return error.message
    await bench.mark_undone(case)
    return ""


async def _fail(case: Case, bench: Bench, result: Payload) -> Sequence[Verdict]:
    return _told(await bench.advance(case, RemediationState.FAILED, result=result))


def _told(case: Case) -> Sequence[Verdict]:
    """What there is to say of a remediation that is over, from what is written about it alone."""
    remediation = case.remediation
    result = remediation.result
    reason = str(result.get("reason", ""))
    verdicts: list[Verdict] = []
    if remediation.state is not RemediationState.REFUSED and not result.get("unfit"):
        circumstances = {"remediation": remediation.id, "state": remediation.state.value, "reason": reason[:500]}
        text = f"{remediation.playbook} did not help: {reason}"[:1000]
        cause, subject = case.diagnosis.cause, case.diagnosis.subject
        verdicts.append(Learn("failure", remediation.playbook, cause, subject, text, circumstances))
    if escalate := result.get("escalate"):
        packet = {
            "remediation": remediation.id,
            "playbook": remediation.playbook,
            "plan": remediation.plan.get("summary", ""),
            "diff": remediation.plan.get("preview", ""),
            "done": result.get("done", []),
            "rollback": [f"dataswarm undo {remediation.id}", str(remediation.plan.get("undo_hint", ""))],
            "questions": ["Is what was done so far to stay, or to be taken back by hand?"],
        }
        verdicts.append(Escalate(case.incident.id, str(escalate)[:1000], packet))
    return verdicts


async def _soaking(case: Case, bench: Bench) -> Sequence[Verdict]:
    """Verified: now it must stay clean."""
    remediation = case.remediation
    clean_at = remediation.ended_at or bench.context.now
    applied_at = remediation.applied_at or clean_at
    details = {
        "applied_at": applied_at.isoformat(),
        "remedied_by": remediation.playbook,
        "remediation_id": remediation.id,
        "clean_runs": [],
    }
    reason = f"{remediation.playbook}: the signal is clean and the invariants hold"
    verdicts: list[Verdict] = [
        Move(case.incident.id, case.incident.state, IncidentState.VERIFYING, reason, details, first_clean_at=clean_at)
    ]
    if int(await bench.context.setting("soak_cycles")) < 1:
        delay = timedelta(minutes=float(await bench.context.setting("soak_minutes")))
        payload = {"incident": case.incident.id, "why": "soak"}
        verdicts.append(Wait(f"soak|{case.incident.id}", delay, case.incident.subject, payload))
    return verdicts


async def take_back(remediation_id: int, bench: Bench) -> Sequence[Verdict]:
    """Undo a remediation because a human asked for it, and hand the incident to them.

    Raises:
        PermanentError: it was never applied, or its playbook is not enabled here, or it cannot be taken back.
    """
    case = await bench.case(remediation_id)
    remediation = case.remediation
    if remediation.state is not RemediationState.UNDONE:
        if remediation.state in (RemediationState.PROPOSED, RemediationState.APPROVED, RemediationState.REFUSED):
            raise PermanentError(f"remediation {remediation.id} is {remediation.state}: there is nothing to take back")
        playbook = bench.playbook(remediation.playbook)
        if playbook is None:
            raise PermanentError(f"{remediation.playbook} is not enabled here, so it cannot take itself back")
        plan = _plan_of(case)
        await bench.announce(case, plan)
        await playbook.undo(case, plan, bench)
        await bench.mark_undone(case)
        result = {**remediation.result, "by_request": True}
        case = await bench.advance(case, RemediationState.UNDONE, result=result)
    elif not remediation.result.get("by_request"):
        return ()  # the driver took it back by itself before
    return _returned(case)


def _returned(case: Case) -> Sequence[Verdict]:
    incident, remediation = case.incident, case.remediation
    reason = f"taken_back: a human had {remediation.playbook} taken back"
    packet = {
        "remediation": remediation.id,
        "plan": remediation.plan.get("summary", ""),
        "questions": ["What is to be done instead?"],
    }
    handed = Escalate(incident.id, reason, packet)
    if incident.state is IncidentState.CLOSED:
        return ()
    if incident.state is IncidentState.RESOLVED:
        return [Move(incident.id, incident.state, IncidentState.OPEN, reason), handed]
    return [handed]


def _plan_of(case: Case) -> Plan:
    """The plan as it was stored when it was approved; PermanentError where there is none."""
    stored = {k: v for k, v in case.remediation.plan.items() if k != "diagnosis_id"}
    if "summary" not in stored:
        raise PermanentError(f"remediation {case.remediation.id} has no plan to go by")
    return _PLAN.validate_python(stored)
