"""What humans do to the swarm: each deed is a function, shared by the command line and the API.

All take the name of who does it (`by`), which is written down. What names something that is not there gets told what
is; a race lost to the swarm or to another human is a ConflictError. Nothing here touches the outside.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any, get_args

from config.draft import nearest
from config.errors import ConflictError, UsageError
from dataswarm.views import plain
from memory.board import approvals, controls, escalations, incidents, remediations
from memory.board.controls import Autonomy
from memory.connection.database import Database, Transaction
from memory.members import presence
from memory.queue import task_lines, tasks
from memory.records import (
    Approval,
    EscalationState,
    Incident,
    IncidentState,
    NewTask,
    Remediation,
    RemediationState,
    Resolution,
    TaskState,
)

RESPONDER = "incident-response"
LONGEST_SECONDS = 365 * 86400.0
LEVELS: tuple[str, ...] = (*get_args(Autonomy), "lift")
_HELD = (EscalationState.PENDING, EscalationState.ACKNOWLEDGED)
_UNDOABLE = (RemediationState.APPLIED, RemediationState.VERIFIED, RemediationState.FAILED)
_FEW = 5

Json = dict[str, Any]


async def acknowledge(database: Database, incident_id: int, *, by: str) -> Json:
    """Say that somebody looks after an open incident; its unanswered escalations are taken up.

    Raises:
        UsageError: there is no such incident, or it is over.
    """
    async with database.transaction() as tx:
        found = await _open(tx, incident_id)
        await incidents.annotate(tx, found.id, {"acknowledged_by": by})
        for escalation in await escalations.escalations(tx, found.id):
            if escalation.state is EscalationState.PENDING:
                await escalations.answer_escalation(tx, escalation.id, EscalationState.ACKNOWLEDGED, by)
    return {"incident_id": found.id, "state": found.state.value, "acknowledged_by": by}


async def close(database: Database, incident_id: int, reason: str, *, by: str) -> Json:
    """End an incident by hand: resolved by a human where it was open, put away where it was resolved.

    Raises:
        UsageError: there is no such incident, it is closed already, or no reason is given.
        ConflictError: its state changed at this moment.
    """
    return await _end(database, incident_id, Resolution.HUMAN, reason, by)


async def false_positive(database: Database, incident_id: int, reason: str, *, by: str) -> Json:
    """End an incident that was none; it does not count for or against the swarm's ratio.

    Raises:
        UsageError: there is no such incident, it has ended already, or no reason is given.
        ConflictError: its state changed at this moment.
    """
    return await _end(database, incident_id, Resolution.FALSE_POSITIVE, reason, by)


async def _end(database: Database, incident_id: int, how: Resolution, reason: str, by: str) -> Json:
    if not reason.strip():
        raise UsageError("say why", hint='add --reason "…": it is kept with the incident')
    async with database.transaction() as tx:
        found = await _incident(tx, incident_id)
        is_put_away = found.state is IncidentState.RESOLVED and how is Resolution.HUMAN
        if not found.state.is_open and not is_put_away:
            how_it_ended = f"{found.state.value} ({found.resolution.value if found.resolution else 'no resolution'})"
            raise UsageError(f"incident {incident_id} is {how_it_ended} already")
        await _withdraw_questions(tx, found, f"incident {found.id} was closed: {reason}", by)
        for escalation in await escalations.escalations(tx, found.id):
            if escalation.state in _HELD:
                await escalations.answer_escalation(tx, escalation.id, EscalationState.ANSWERED, by)
        ended = await incidents.move(
            tx,
            found.id,
            before=found.state,
            after=IncidentState.CLOSED,
            by=by,
            reason=reason,
            details={"closed_by": by},
            resolution=None if is_put_away else how,
        )
    return {
        "incident_id": ended.id,
        "state": ended.state.value,
        "resolution": ended.resolution.value if ended.resolution else None,
    }


async def approve(database: Database, incident_id: int, *, by: str) -> Json:
    """Let the remedy run that an incident waits to have approved.

    Raises:
        UsageError: no such incident, or nothing about it waits for an answer.
        ConflictError: it was answered or expired at this moment.
    """
    async with database.transaction() as tx:
        asked = await _asked(tx, await _incident(tx, incident_id))
        answered = await approvals.answer(tx, asked.id, True, by)
    return {"incident_id": incident_id, "approval": plain(answered)}


async def deny(database: Database, incident_id: int, reason: str = "", *, by: str) -> Json:
    """Say no to the remedy that an incident waits to have approved; the incident goes to a human.

    Raises:
        UsageError: no such incident, or nothing about it waits for an answer.
        ConflictError: it was answered or expired at this moment.
    """
    async with database.transaction() as tx:
        found = await _incident(tx, incident_id)
        asked = await _asked(tx, found)
        answered = await _refuse(tx, asked, reason, by)
        if reason:
            await incidents.annotate(tx, found.id, {"denied_reason": reason})
    return {"incident_id": incident_id, "approval": plain(answered)}


async def _refuse(tx: Transaction, asked: Approval, reason: str, by: str) -> Approval:
    """Answer no, and put the remedy away: nothing is to take it up again."""
    answered = await approvals.answer(tx, asked.id, False, by)
    remedy = await remediations.get(tx, asked.remediation_id)
    if remedy is not None and remedy.state is RemediationState.PROPOSED:
        result = {"by_request": True, "stage": "approval", "reason": f"denied by {by}" + (f": {reason}" * bool(reason))}
        await remediations.move(
            tx, remedy.id, before=[RemediationState.PROPOSED], after=RemediationState.REFUSED, result=result
        )
    return answered


async def _withdraw_questions(tx: Transaction, found: Incident, reason: str, by: str) -> None:
    for asked in await approvals.pending(tx):
        if asked.incident_id == found.id:
            await _refuse(tx, asked, reason, by)


async def undo(database: Database, remediation_id: int, *, by: str) -> Json:
    """Have an applied remedy taken back: a task for the agent that applied it, alone on its subject.

    Raises:
        UsageError: there is no such remediation, nothing of it was applied, or it was taken back before.
        ConflictError: it is being taken back already.
    """
    async with database.transaction() as tx:
        found = await remediations.get(tx, remediation_id)
        if found is None:
            raise await _unknown_remediation(tx, remediation_id)
        if found.state is RemediationState.UNDONE:
            raise UsageError(f"remediation {remediation_id} was taken back already")
        if found.state not in _UNDOABLE:
            raise UsageError(
                f"remediation {remediation_id} is {found.state.value}: nothing of it was applied",
                hint="`dataswarm deny INCIDENT` refuses what waits for approval",
            )
        [task_id] = await tasks.enqueue(tx, [_taking_back(found, by)])
        if task_id is None:
            raise ConflictError(f"remediation {remediation_id} is being taken back already")
    return {"remediation_id": remediation_id, "incident_id": found.incident_id, "task_id": task_id}


def _taking_back(found: Remediation, by: str) -> NewTask:
    return NewTask(
        agent=RESPONDER,
        kind="undo",
        subject=found.subject.whole,
        payload={"remediation_id": found.id, "by": by},
        priority=20,
        key=f"undo|{found.id}",
        exclusive=True,
        incident_id=found.incident_id,
    )


async def silence(database: Database, pattern: str, seconds: float, reason: str = "", *, by: str) -> Json:
    """Mute the assets a pattern covers for a while.

    Raises:
        UsageError: not a pattern over asset references, or not a length of time.
    """
    _check_pattern(pattern)
    _check_seconds(seconds)
    async with database.transaction() as tx:
        made = await controls.silence(tx, pattern, seconds, by, reason)
    shown: Json = plain(made)
    return shown


async def plan_change(
    database: Database, pattern: str, kind: str, seconds: float, reason: str = "", *, by: str
) -> Json:
    """Announce a change that starts now, so that its signs open no incident.

    Raises:
        UsageError: not a pattern over asset references, no kind, or not a length of time.
    """
    _check_pattern(pattern)
    _check_seconds(seconds)
    async with database.transaction() as tx:
        made = await controls.plan_change(tx, pattern, kind, by, reason, starts_at=None, seconds=seconds)
    shown: Json = plain(made)
    return shown


async def kill_switch(database: Database, on: bool, reason: str = "", *, by: str) -> Json:
    """Turn the kill switch: while it is on, nothing outside is written.

    Raises:
        UsageError: it is to be turned on without a reason.
    """
    if on and not reason.strip():
        raise UsageError("say why the kill switch is to be on", hint='add --reason "…": everybody will see it')
    said = reason.strip() or f"turned off by {by}"
    async with database.transaction() as tx:
        await controls.set_kill_switch(tx, on, by, said)
    return {"kill_switch": said if on else None, "by": by}


async def cap(database: Database, scope: str, autonomy: str, reason: str = "", *, by: str) -> Json:
    """Hold a scope to a level at most, or `lift` its cap.

    - scope: all, agent:<name>, playbook:<name> or asset:<pattern>.
    - autonomy: observe, propose, act, paused, or lift.

    Raises:
        UsageError: not a scope, nothing is called so, or not a level.
    """
    if autonomy not in LEVELS:
        raise UsageError(f"not a level: {autonomy!r}", hint=_meant(autonomy, LEVELS) or f"one of {', '.join(LEVELS)}")
    kind, _, name = scope.partition(":")
    if kind == "asset":
        _check_pattern(name)
    async with database.transaction() as tx:
        if autonomy != "lift" and kind in ("agent", "playbook"):
            await _check_name(tx, kind, name)
        await controls.set_cap(tx, scope, None if autonomy == "lift" else _level(autonomy), by, reason)
    return {"scope": scope, "autonomy": None if autonomy == "lift" else autonomy, "by": by, "reason": reason}


async def _check_name(tx: Transaction, kind: str, name: str) -> None:
    """A cap on a name nobody has would hold nothing back, unseen."""
    from dataswarm.members import installed  # noqa: PLC0415 - imports all that is installed

    found = installed()
    known: set[str] = set(found.agents if kind == "agent" else found.playbooks)
    if kind == "agent":
        known |= {agent.agent for agent in await presence.all(tx)}
    if name not in known:
        raise UsageError(
            f"no {kind} is called {name!r}", hint=_meant(name, known) or f"known are {', '.join(sorted(known))}"
        )


async def unknown_incident(database: Database, incident_id: int) -> UsageError:
    """The error for an incident that is not there, naming the latest that are."""
    async with database.transaction(durable=False) as tx:
        return await _unknown_incident(tx, incident_id)


async def unknown_task(
    database: Database, task_id: int, states: Collection[TaskState] = tuple(TaskState)
) -> UsageError:
    """The error for a task that is not there, naming the latest that are in some states."""
    async with database.transaction(durable=False) as tx:
        known = _few(line.id for line in await task_lines.find(tx, states=tuple(states), limit=_FEW))
    return UsageError(
        f"there is no task {task_id}", hint=f"the latest are {known}" if known else "there is none of the kind"
    )


async def _incident(tx: Transaction, incident_id: int) -> Incident:
    found = await incidents.get(tx, incident_id)
    if found is None:
        raise await _unknown_incident(tx, incident_id)
    return found


async def _open(tx: Transaction, incident_id: int) -> Incident:
    found = await _incident(tx, incident_id)
    if not found.state.is_open:
        raise UsageError(f"incident {incident_id} is {found.state.value} already")
    return found


async def _asked(tx: Transaction, found: Incident) -> Approval:
    pending = await approvals.pending(tx)
    mine = [asked for asked in pending if asked.incident_id == found.id]
    if not mine:
        waiting = _few(asked.incident_id for asked in pending)
        raise UsageError(
            f"nothing about incident {found.id} waits for an answer (it is {found.state.value})",
            hint=f"waiting are the incidents {waiting}" if waiting else "no incident waits for an answer",
        )
    return mine[0]


async def _unknown_incident(tx: Transaction, incident_id: int) -> UsageError:
    known = _few(i.id for i in await incidents.list_(tx, limit=_FEW))
    return UsageError(
        f"there is no incident {incident_id}", hint=f"the latest are {known}" if known else "there are none yet"
    )


async def _unknown_remediation(tx: Transaction, remediation_id: int) -> UsageError:
    known = _few(r.id for r in await remediations.list_(tx, states=_UNDOABLE, limit=_FEW))
    return UsageError(
        f"there is no remediation {remediation_id}",
        hint=f"the latest that can be taken back are {known}" if known else "none has been applied yet",
    )


def _few(ids: Iterable[int]) -> str:
    return ", ".join(str(i) for i in list(dict.fromkeys(ids))[:_FEW])


def _check_pattern(pattern: str) -> None:
    if "://" not in pattern and pattern.strip() != "*":
        raise UsageError(
            f"not an asset reference or a pattern over references: {pattern[:80]!r}",
            hint="write warehouse://shop/raw.orders, or warehouse://shop/raw.* for all of them",
        )


def _check_seconds(seconds: float) -> None:
    if not 0 < seconds <= LONGEST_SECONDS:
        raise UsageError("a length of time is more than nothing and a year at most", hint="write 30m, 2h or 1d")


def _meant(given: str, known: Iterable[str]) -> str:
    found = nearest(given, tuple(known))
    return f"did you mean {found!r}?" if found else ""


def _level(given: str) -> Autonomy:
    return next(level for level in get_args(Autonomy) if level == given)
