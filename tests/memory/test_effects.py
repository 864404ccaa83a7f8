"""The intent is on disk before anything outside is touched, and what became of it is known or probed."""

from __future__ import annotations

from uuid import uuid4

import pytest

from config.assets import Asset
from config.errors import ConflictError, LeaseLostError, UsageError
from memory.connection.database import Database, Transaction
from memory.queue import effects, tasks
from memory.records import Effect, EffectClass, NewTask, Task
from tests.memory.conftest import Clock

VIEW = Asset("warehouse", "shop", "public.orders")


async def _task(db: Database) -> Task:
    async with db.transaction() as tx:
        await tasks.enqueue(tx, [NewTask("response", "act", VIEW)])
    return await _claim(db)


async def _claim(db: Database) -> Task:
    (task,) = await tasks.claim(db, ["response"], limit=1, worker=uuid4(), lease_seconds=15)
    return task


async def _intend(tx: Transaction, task: Task, sql: str = "CREATE VIEW …") -> Effect:
    return await effects.intend(
        tx,
        task,
        step="apply",
        target=VIEW,
        intent={"sql": sql},
        inverse={"sql": "DROP VIEW …"},
        effect_class=EffectClass.INVERTIBLE,
        remediation_id=7,
    )


async def test_an_effect_of_unknown_outcome_is_found_again(db: Database, clock: Clock) -> None:
    """The worker dies after the intent; who takes over gets the same row, still `intended`, and settles it."""
    task = await _task(db)
    async with db.transaction() as tx:
        first = await _intend(tx, task)
    clock.forward(16)
    task = await _claim(db)
    async with db.transaction() as tx:
        again = await _intend(tx, task)
        assert again == first
        assert again.state == "intended"
        done = await effects.settle(tx, task, again.id, "done", {"rows": 0})
        assert (done.state, done.result) == ("done", {"rows": 0})
    async with db.transaction() as tx:
        assert (await _intend(tx, task)).state == "done"
        assert await effects.of_task(tx, task.id) == await effects.of_remediation(tx, 7) == [done]


async def test_an_intent_is_the_same_after_its_way_through_json(db: Database) -> None:
    """Tuples and large floats are no other intent on resume; another number is."""
    task = await _task(db)

    async def intend(**intent: object) -> Effect:
        async with db.transaction() as tx:
            return await effects.intend(
                tx, task, step="a", target=VIEW, intent=intent, inverse={}, effect_class=EffectClass.IDEMPOTENT
            )

    first = await intend(keys=("a", ("b", 1)), share=1e22, small=0.1)
    assert await intend(keys=("a", ("b", 1)), share=1e22, small=0.1) == first
    with pytest.raises(ConflictError, match="something else"):
        await intend(keys=("a", ("b", 2)), share=1e22, small=0.1)


@pytest.mark.parametrize("field", ["intent", "inverse"])
async def test_an_intent_that_is_not_json_is_refused(db: Database, field: str) -> None:
    """Before anything is written, naming the field."""
    task = await _task(db)
    values: dict[str, dict[str, object]] = {"intent": {}, "inverse": {}, field: {"at": float("nan")}}
    with pytest.raises(UsageError, match=field):
        async with db.transaction() as tx:
            await effects.intend(
                tx,
                task,
                step="a",
                target=VIEW,
                effect_class=EffectClass.IDEMPOTENT,
                **values,  # type: ignore[arg-type]
            )
    async with db.transaction() as tx:
        assert await effects.of_task(tx, task.id) == []


async def test_a_stale_worker_intends_and_settles_nothing(db: Database, clock: Clock) -> None:
    """After takeover its token is refused before each effect."""
    stale = await _task(db)
    async with db.transaction() as tx:
        effect = await _intend(tx, stale)
    clock.forward(16)
    await _claim(db)
    with pytest.raises(LeaseLostError):
        async with db.transaction() as tx:
            await _intend(tx, stale)
    with pytest.raises(LeaseLostError):
        async with db.transaction() as tx:
            await effects.settle(tx, stale, effect.id, "done")


async def test_an_intent_waits_for_the_disk(db: Database) -> None:
    """A transaction whose commit does not wait is refused."""
    task = await _task(db)
    with pytest.raises(UsageError, match="on disk"):
        async with db.transaction(durable=False) as tx:
            await _intend(tx, task)


async def test_conflicts(db: Database) -> None:
    """Another intent under the same step, settling otherwise, undoing what was refused."""
    task = await _task(db)
    async with db.transaction() as tx:
        effect = await _intend(tx, task)
        with pytest.raises(ConflictError, match="something else"):
            await _intend(tx, task, "DROP …")
        await effects.settle(tx, task, effect.id, "refused")
        await effects.settle(tx, task, effect.id, "refused")
        with pytest.raises(ConflictError, match="is refused"):
            await effects.settle(tx, task, effect.id, "done")
        with pytest.raises(ConflictError, match="is refused"):
            await effects.mark_undone(tx, effect.id)
        with pytest.raises(ConflictError, match="does not exist"):
            await effects.mark_undone(tx, effect.id + 1)


async def test_undo_after_the_task_ended(db: Database) -> None:
    """A human's undo needs no lease."""
    task = await _task(db)
    async with db.transaction() as tx:
        effect = await _intend(tx, task)
        await effects.settle(tx, task, effect.id, "done")
        await tasks.succeed(tx, task)
    async with db.transaction() as tx:
        assert (await effects.mark_undone(tx, effect.id)).state == "undone"
