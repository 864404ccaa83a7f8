"""The ledger of outside effects: intent and inverse on disk before anything outside is touched, then the outcome.

On resume an effect found `intended` has an unknown outcome: it is probed, not repeated.
"""

from __future__ import annotations

import json
from typing import Literal

from config.assets import Asset
from config.errors import ConflictError, UsageError
from memory.connection.database import Transaction
from memory.queue.new_tasks import encode
from memory.queue.tasks import fence
from memory.records import JSON, Effect, EffectClass, Payload, Task

Settled = Literal["done", "failed", "refused", "undone"]
# What may follow what: an undone effect was done, or its outcome was unknown and the inverse ran.
_BEFORE: dict[str, list[str]] = {
    "done": ["intended"],
    "failed": ["intended"],
    "refused": ["intended"],
    "undone": ["intended", "done", "failed"],
}


async def intend(
    tx: Transaction,
    task: Task,
    *,
    step: str,
    target: Asset,
    intent: Payload,
    inverse: Payload,
    effect_class: EffectClass,
    remediation_id: int | None = None,
) -> Effect:
    """Record what is about to be done, under the task's lease. Commit before touching anything outside.

    The effect is known by (task, step): where it was intended before, that row comes back as it stands, and its
    state tells what to do: `intended` → probe, anything else → it is settled.

    Raises:
        LeaseLostError: the task is no longer ours; touch nothing.
        ConflictError: the same step intended something else before.
        UsageError: the transaction would not wait for the disk, or intent or inverse is not JSON.
    """
    if not tx.durable:
        raise UsageError("an intent must be on disk: open the transaction with durable=True")
    # As it comes back from the database: a tuple is a list there, and a resume must not take that for another intent.
    wanted = json.loads(encode(intent, "intent"))
    encode(inverse, "inverse")
    await fence(tx, task)
    known = await tx.one("find_effect", task_id=task.id, step=step)
    if known is not None:
        if (known["target"], known["intent"]) != (str(target), wanted):
            raise ConflictError(f"step {step} of task {task.id} intended something else before")
        return _effect(known)
    row = await tx.one(
        "intend_effect",
        task_id=task.id,
        step=step,
        remediation_id=remediation_id,
        target=target,
        intent=dict(intent),
        inverse=dict(inverse),
        effect_class=str(effect_class),
    )
    assert row is not None  # noqa: S101 - INSERT … RETURNING has one row
    return _effect(row)


async def settle(tx: Transaction, task: Task, effect_id: int, state: Settled, result: JSON = None) -> Effect:
    """Record what came of an effect, under the task's lease.

    Raises:
        LeaseLostError: the task is no longer ours.
        ConflictError: the effect is settled already, otherwise.
    """
    await fence(tx, task)
    return await _settle(tx, effect_id, state, result)


async def mark_undone(tx: Transaction, effect_id: int, result: JSON = None) -> Effect:
    """Record that the inverse of an effect was run (by its task, or by a human's `undo` later).

    Raises:
        ConflictError: there was nothing to undo.
    """
    return await _settle(tx, effect_id, "undone", result)


async def _settle(tx: Transaction, effect_id: int, state: Settled, result: JSON) -> Effect:
    text = None if result is None else encode(result, "result")
    row = await tx.one("settle_effect", id=effect_id, state=state, result=text, before=_BEFORE[state])
    if row is None:
        known = await tx.one("get_effect", id=effect_id)
        if known is not None and known["state"] == state:
            return _effect(known)
        found = f"is {known['state']}" if known else "does not exist"
        raise ConflictError(f"effect {effect_id} {found}; it cannot become {state}")
    return _effect(row)


async def of_remediation(tx: Transaction, remediation_id: int) -> list[Effect]:
    """The effects of a remediation, in the order they were intended; undo them backwards."""
    return [_effect(row) for row in await tx.all("effects_of_remediation", remediation_id=remediation_id)]


async def of_task(tx: Transaction, task_id: int) -> list[Effect]:
    """The effects of a task, in the order they were intended."""
    return [_effect(row) for row in await tx.all("effects_of_task", task_id=task_id)]


def _effect(row: Payload) -> Effect:
    return Effect(
        id=row["id"],
        task_id=row["task_id"],
        remediation_id=row["remediation_id"],
        step=row["step"],
        target=Asset.parse(row["target"]),
        intent=row["intent"],
        inverse=row["inverse"],
        effect_class=EffectClass(row["effect_class"]),
        state=row["state"],
        result=row["result"],
        at=row["at"],
    )
