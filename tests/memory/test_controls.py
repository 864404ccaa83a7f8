"""Controls: they hold when set, end when they should, and say who and why."""

from __future__ import annotations

from datetime import timedelta

import pytest

from config.errors import UsageError
from memory.board import controls
from memory.connection.database import Database
from tests.memory.conftest import Clock


async def test_the_kill_switch_holds_until_turned_off(db: Database) -> None:
    """Off by default; on with a reason; a second turn counts; nobody turns it anonymously."""
    async with db.transaction() as tx:
        assert await controls.kill_switch(tx) is None
        await controls.set_kill_switch(tx, True, "ann", "month end")
    async with db.transaction() as tx:
        assert await controls.kill_switch(tx) == "month end"
        with pytest.raises(UsageError, match="by is empty"):
            await controls.set_kill_switch(tx, False, "", "fine again")
        with pytest.raises(UsageError, match="reason is empty"):
            await controls.set_kill_switch(tx, False, "ann", "")
        await controls.set_kill_switch(tx, False, "ann", "fine again")
        assert await controls.kill_switch(tx) is None


async def test_caps_are_set_replaced_and_lifted(db: Database) -> None:
    """One cap a scope; what is no scope or no autonomy is refused."""
    async with db.transaction() as tx:
        await controls.set_cap(tx, "all", "observe", "ann", "trial")
        await controls.set_cap(tx, "agent:schema-drift", "paused", "ann", "noisy")
        await controls.set_cap(tx, "asset:warehouse://shop/*", "propose", "ann", "")
        await controls.set_cap(tx, "all", "act", "bob", "trial over")
        await controls.set_cap(tx, "agent:schema-drift", None, "bob", "")
        assert [(cap.scope, cap.autonomy, cap.by) for cap in await controls.caps(tx)] == [
            ("all", "act", "bob"),
            ("asset:warehouse://shop/*", "propose", "ann"),
        ]
        with pytest.raises(UsageError, match="not a scope"):
            await controls.set_cap(tx, "everything", "observe", "ann", "")
        with pytest.raises(UsageError, match="not an autonomy"):
            await controls.set_cap(tx, "all", "destroy", "ann", "")  # type: ignore[arg-type]


async def test_a_silence_ends_by_itself_or_by_hand(db: Database, clock: Clock) -> None:
    """It is gone after its time, or when ended."""
    async with db.transaction() as tx:
        short = await controls.silence(tx, "warehouse://shop/raw.orders", 60, "ann", "loading")
        long = await controls.silence(tx, "warehouse://*", 7200, "ann", "")
        assert await controls.silences(tx) == [short, long]
        assert short.ends_at == clock.now + timedelta(seconds=60)
    clock.forward(60)
    async with db.transaction() as tx:
        assert await controls.silences(tx) == [long]
        assert await controls.end_silence(tx, long.id)
        assert not await controls.end_silence(tx, long.id)
        assert await controls.silences(tx) == []
        for seconds in (0, -5, float("inf"), float("nan")):
            with pytest.raises(UsageError, match="seconds"):
                await controls.silence(tx, "*", seconds, "ann", "")


async def test_planned_changes_hold_for_their_time(db: Database, clock: Clock) -> None:
    """Before its time and after it a change is not explained."""
    async with db.transaction() as tx:
        now = await controls.plan_change(tx, "warehouse://shop/*", "schema.*", "ann", "migration", None, 600)
        later = await controls.plan_change(
            tx, "warehouse://shop/*", "*", "ann", "tonight", clock.now + timedelta(hours=1), 600
        )
        assert await controls.planned(tx) == [now]
        assert now.ends_at == clock.now + timedelta(seconds=600)
    clock.forward(3600)
    async with db.transaction() as tx:
        assert await controls.planned(tx) == [later]
    clock.forward(600)
    async with db.transaction() as tx:
        assert await controls.planned(tx) == []
