"""Facts with versions: no update is lost, the past can be asked for, nothing is deleted."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from config.assets import Asset
from config.errors import ConflictError, UsageError
from memory.beliefs import knowledge
from memory.connection.database import Database, Transaction
from memory.records import Fact, Reference, Sensitivity
from tests.memory.conftest import Clock
from tests.memory.stage import ORDERS


async def told(tx: Transaction, value: Any, expected: int | None = None, **more: Any) -> Fact:
    """The fact of these tests, asserted."""
    return await knowledge.assert_fact(tx, "a", ORDERS, "owner", value, expected=expected, **more)


async def test_a_fact_comes_back_with_its_version(db: Database) -> None:
    """All fields survive; the next version replaces it and history keeps both."""
    async with db.transaction() as tx:
        assert await knowledge.fact(tx, ORDERS, "owner") is None
        first = await told(tx, {"team": "shop"}, 0, confidence=0.7, source="dbt meta", evidence=[Reference("task", 1)])
        assert await knowledge.fact(tx, ORDERS, "owner") == first
        second = await told(tx, {"team": "data"}, 1, sensitivity=Sensitivity.PUBLIC)
        assert await knowledge.history(tx, ORDERS, "owner") == [first, second]
    assert (first.version, first.object, first.confidence, first.source) == (1, {"team": "shop"}, 0.7, "dbt meta")
    assert first.evidence == (Reference("task", 1),)
    assert (second.version, second.sensitivity) == (2, Sensitivity.PUBLIC)


async def test_a_conflict_names_both_versions(db: Database) -> None:
    """Another version than the one that was read is there: nothing is written."""
    async with db.transaction() as tx:
        with pytest.raises(ConflictError, match="has version 0, not 3"):
            await told(tx, "x", 3)
        await told(tx, "x", 0)
        await told(tx, "y", 1)
        for expected in (0, 1, 3):
            with pytest.raises(ConflictError, match=f"has version 2, not {expected}"):
                await told(tx, "z", expected)
        held = await knowledge.fact(tx, ORDERS, "owner")
        assert len(await knowledge.history(tx, ORDERS, "owner")) == 2
    assert held is not None
    assert held.object == "y"


async def test_concurrent_writers_lose_no_update(db: Database) -> None:
    """Six writers count to thirty by compare-and-swap; every count is there, in order."""

    async def count(times: int) -> int:
        conflicts = 0
        while times:
            try:
                async with db.transaction() as tx:
                    held = await knowledge.fact(tx, ORDERS, "owner")
                    number, version = (held.object, held.version) if held else (0, 0)
                    await told(tx, number + 1, version)
                times -= 1
            except ConflictError:
                conflicts += 1
        return conflicts

    await asyncio.gather(*(count(5) for _ in range(6)))
    async with db.transaction() as tx:
        past = await knowledge.history(tx, ORDERS, "owner")
    assert [(fact.version, fact.object) for fact in past] == [(n, n) for n in range(1, 31)]


async def test_saying_it_again_is_no_new_version(db: Database) -> None:
    """The same object with the same standing changes nothing; another confidence does."""
    async with db.transaction() as tx:
        first = await told(tx, {"a": [1, 2]})
        assert await told(tx, {"a": [1, 2]}) == first
        assert await told(tx, {"a": [1, 2]}, 1) == first
        with pytest.raises(ConflictError):
            await told(tx, {"a": [1, 2]}, 0)
        assert (await told(tx, {"a": [1, 2]}, confidence=0.5)).version == 2


async def test_what_was_believed_then(db: Database, clock: Clock) -> None:
    """The version of a time is found, also one that was retracted since."""
    before = clock.now
    clock.forward(60)
    monday = clock.now
    async with db.transaction() as tx:
        await told(tx, "shop")
    clock.forward(60)
    tuesday = clock.now
    async with db.transaction() as tx:
        await told(tx, "data")
    clock.forward(60)
    async with db.transaction() as tx:
        await knowledge.retract(tx, "a", ORDERS, "owner", reason="the team is gone")
        assert await knowledge.fact(tx, ORDERS, "owner") is None
        assert await knowledge.fact(tx, ORDERS, "owner", at=clock.now) is None
        assert await knowledge.fact(tx, ORDERS, "owner", at=before) is None
        then = [await knowledge.fact(tx, ORDERS, "owner", at=at) for at in (monday, tuesday)]
        assert [fact and fact.object for fact in then] == ["shop", "data"]


async def test_a_retraction_is_a_version(db: Database) -> None:
    """It needs a reason and something held; afterwards the fact may be asserted as if new, its history whole."""
    async with db.transaction() as tx:
        with pytest.raises(UsageError, match="is not held"):
            await knowledge.retract(tx, "a", ORDERS, "owner", reason="x")
        await told(tx, "shop", 0)
        with pytest.raises(UsageError, match="reason"):
            await knowledge.retract(tx, "a", ORDERS, "owner", reason="")
        with pytest.raises(ConflictError, match="has version 1, not 7"):
            await knowledge.retract(tx, "a", ORDERS, "owner", reason="x", expected=7)
        gone = await knowledge.retract(tx, "a", ORDERS, "owner", reason="wrong", expected=1)
        assert (gone.version, gone.retracted, gone.reason) == (2, True, "wrong")
        assert await knowledge.facts(tx) == []
        with pytest.raises(UsageError, match="is not held"):
            await knowledge.retract(tx, "a", ORDERS, "owner", reason="again")
        assert (await told(tx, "data", 0)).version == 3
        assert [fact.retracted for fact in await knowledge.history(tx, ORDERS, "owner")] == [False, True, False]


async def test_a_retraction_touches_that_fact_alone(db: Database) -> None:
    """Neither another predicate of the same subject nor the same predicate of another subject goes with it."""
    async with db.transaction() as tx:
        for subject in (ORDERS, ORDERS.column("id")):
            for predicate in ("owner", "tier"):
                await knowledge.assert_fact(tx, "a", subject, predicate, 1, expected=0)
        await knowledge.retract(tx, "a", ORDERS, "owner", reason="gone")
        assert [(str(f.subject.part), f.predicate) for f in await knowledge.facts(tx)] == [
            ("", "tier"),
            ("id", "owner"),
            ("id", "tier"),
        ]


async def test_facts_are_listed_by_subject_and_predicate(db: Database) -> None:
    """A table with its columns, a pattern, a predicate."""
    other = Asset.parse("warehouse://shop/raw.orders_old")
    async with db.transaction() as tx:
        for subject in (ORDERS, ORDERS.column("id"), other):
            await knowledge.assert_fact(tx, "a", subject, "owner", "shop", expected=0)
        await knowledge.assert_fact(tx, "a", ORDERS, "tier", 1, expected=0)
        assert len(await knowledge.facts(tx)) == 4
        assert len(await knowledge.facts(tx, subject=ORDERS)) == 3
        assert len(await knowledge.facts(tx, subject="*/raw.orders_*")) == 1
        assert [fact.subject for fact in await knowledge.facts(tx, subject=ORDERS.column("id"))] == [
            ORDERS.column("id")
        ]
        assert len(await knowledge.facts(tx, predicate="owner")) == 3


@pytest.mark.parametrize("value", [float("nan"), "a\0b", {"x": object()}])
async def test_what_is_no_fact(db: Database, value: object) -> None:
    """Objects that cannot be stored, an empty predicate, a confidence out of range, an unknown branch."""
    async with db.transaction() as tx:
        with pytest.raises(UsageError, match="object"):
            await told(tx, value)
        with pytest.raises(UsageError, match="predicate"):
            await knowledge.assert_fact(tx, "a", ORDERS, " ", 1, expected=0)
        with pytest.raises(UsageError, match="confidence"):
            await told(tx, 1, confidence=1.1)
        with pytest.raises(UsageError, match="unknown"):
            await told(tx, 1, branch="nowhere")


async def test_what_is_too_large_or_about_nothing_is_refused_whole(db: Database) -> None:
    """A note of over 10 MB, half a character, no subject, a subject that is no asset: named, and nothing is written."""
    async with db.transaction() as tx:
        await told(tx, "before")
    for value, said in (("x" * 10_000_001, "at most 10000000"), ("\ud800", "half of a character")):
        with pytest.raises(UsageError, match=said) as refused:
            await both(db, value)
        assert len(str(refused.value)) < 300
    for subject in (Asset("", ""), Asset("warehouse", ""), Asset("", "shop", "raw.orders")):
        async with db.transaction() as tx:
            with pytest.raises(UsageError, match="not an asset reference"):
                await knowledge.assert_fact(tx, "a", subject, "owner", 1, expected=0)
            with pytest.raises(UsageError, match="not an asset reference"):
                await knowledge.learn(
                    tx, "a", signal="pattern", playbook="", cause="", subject=subject, text="", circumstances={}
                )
    async with db.transaction() as tx:
        assert [fact.object for fact in await knowledge.facts(tx)] == ["before"]


async def both(db: Database, value: str) -> None:
    """Something sound, and this, in one transaction."""
    async with db.transaction() as tx:
        await told(tx, "half-written")
        await told(tx, value)


@pytest.mark.parametrize("value", ["支払い 注文", "продажи", "مدفوعات", "भुगतान", "🚀👩‍👩‍👧", "e\u0301", "a\u202eb"])
async def test_any_script_comes_back_as_it_went(db: Database, value: str) -> None:
    """As object, predicate and subject; found by the same words where there are any."""
    async with db.transaction() as tx:
        subject = Asset("warehouse", "shop", value)
        await knowledge.assert_fact(tx, "a", subject, value, {value: [value]}, expected=0)
    async with db.transaction() as tx:
        fact = await knowledge.fact(tx, subject, value)
        assert fact is not None
        assert (fact.subject, fact.predicate, fact.object) == (subject, value, {value: [value]})


async def test_learnings_become_success_rates(db: Database) -> None:
    """Successes and failures of a remedy for a cause count; patterns do not."""
    async with db.transaction() as tx:
        for signal in ("success", "failure", "success", "pattern"):
            await knowledge.learn(
                tx,
                "incident-response",
                signal=signal,
                playbook="patch-model",
                cause="column_renamed",
                subject=ORDERS,
                text=f"it was a {signal}",
                circumstances={"models": 3},
            )
        assert await knowledge.success_rate(tx, "patch-model", "column_renamed") == (2, 3)
        assert await knowledge.success_rate(tx, "patch-model", "other") == (0, 0)
        newest, *_ = await knowledge.learnings(tx, playbook="patch-model")
        assert (newest.signal, newest.subject, newest.circumstances) == ("pattern", ORDERS, {"models": 3})
        assert len(await knowledge.learnings(tx, signal="success", cause="column_renamed")) == 2
        with pytest.raises(UsageError, match="not a signal"):
            await knowledge.learn(
                tx, "a", signal="maybe", playbook="", cause="", subject=ORDERS, text="", circumstances={}
            )
