"""Learning across agents: rates by circumstances, and word that reaches those it is for."""

from __future__ import annotations

import pytest

from config.assets import Asset
from config.errors import UsageError
from memory import bus
from memory.beliefs import knowledge, learnings
from memory.connection.database import Database
from memory.records import Sensitivity
from tests.memory.sealing import sealing
from tests.memory.stage import ORDERS

PAYMENTS = Asset.parse("warehouse://shop/raw.payments")


async def test_rates_tell_apart_the_circumstances(db: Database) -> None:
    """What failed here before is no longer first, though it works elsewhere."""
    async with db.transaction() as tx:
        for signal, playbook, circumstances in (
            *[("success", "view", {"warehouse": "snowflake"})] * 4,
            *[("failure", "view", {"warehouse": "postgres", "size": "large"})] * 2,
            *[("success", "patch", {"warehouse": "postgres"})] * 2,
            ("failure", "patch", {"size": "small"}),
            ("pattern", "patch", {}),
        ):
            await knowledge.learn(
                tx,
                "ir",
                signal=signal,
                playbook=playbook,
                cause="renamed",
                subject=ORDERS,
                text="",
                circumstances=circumstances,
            )
        found = await learnings.rates(tx, "renamed", circumstances={"warehouse": "postgres", "size": "large"})
        everywhere = await learnings.rates(tx, "renamed", playbooks=["view"])
        assert await learnings.rates(tx, "retyped") == {}
    assert (found["view"].successes, found["view"].tries) == (4, 6)
    assert (found["view"].alike_successes, found["view"].alike_tries) == (0, 2)
    assert (found["patch"].alike_successes, found["patch"].alike_tries) == (2, 2)
    assert found["patch"].estimate > found["view"].estimate
    assert everywhere["view"].estimate == 5 / 8
    assert list(everywhere) == ["view"]


async def test_what_happened_to_the_same_asset_is_alike(db: Database) -> None:
    """Elsewhere it works, here it failed twice: here the other one is first; a column is a part of its table."""
    async with db.transaction() as tx:
        for signal, playbook, subject in (
            *[("success", "view", PAYMENTS)] * 5,
            ("failure", "view", ORDERS),
            ("failure", "view", ORDERS.column("customer_id")),
            ("success", "patch", PAYMENTS),
        ):
            await knowledge.learn(
                tx,
                "ir",
                signal=signal,
                playbook=playbook,
                cause="renamed",
                subject=subject,
                text="",
                circumstances={"state": "verified"},
            )
        here = await learnings.rates(tx, "renamed", subject=ORDERS.column("id"))
        there = await learnings.rates(tx, "renamed", subject=PAYMENTS)
        nowhere = await learnings.rates(tx, "renamed")
    assert (here["view"].alike_successes, here["view"].alike_tries) == (0, 2)
    assert here["patch"].estimate > here["view"].estimate
    assert there["view"].estimate > there["patch"].estimate
    assert (nowhere["view"].alike_tries, nowhere["view"].tries) == (0, 7)


async def test_an_insight_reaches_those_it_is_for(db: Database) -> None:
    """An event `learning.<signal>` to each named agent and nobody else; unaddressed, to whoever watches."""
    async with db.transaction() as tx:
        cursor = await bus.now_cursor(tx)
    async with db.transaction() as tx:
        learned = await learnings.share(
            tx,
            "health",
            to=["drift", "drift", "cost"],
            signal="recommendation",
            subject=ORDERS,
            text="look at orders after each release",
        )
        await learnings.share(tx, "health", signal="pattern", subject=ORDERS, text="mondays are large")
    async with db.transaction() as tx:
        heard = {}
        for agent in ("drift", "cost", "quality"):
            events, _ = await bus.read(tx, cursor, topics=["learning.*"], agent=agent)
            heard[agent] = [event.topic for event in events]
            assert all(event.reference.noun == "learning" for event in events)
        read = await learnings.learning(tx, learned)
        assert await learnings.learning(tx, 10**9) is None
    assert heard["drift"] == heard["cost"] == ["learning.recommendation", "learning.pattern"]
    assert heard["quality"] == ["learning.pattern"]
    assert read is not None
    assert read.text == "look at orders after each release"


async def test_what_cannot_be_shared_is_refused(db: Database) -> None:
    """A bare name, an empty one, an unknown signal; what is confidential stays above a lower clearance."""
    sealing(db)
    async with db.transaction() as tx:
        for wrong in ({"to": "drift"}, {"to": [" "]}, {"signal": "guess"}):
            with pytest.raises(UsageError):
                await learnings.share(tx, "health", **{"signal": "pattern", "subject": ORDERS, "text": "", **wrong})  # type: ignore[arg-type]
    async with db.transaction(clearance=Sensitivity.CONFIDENTIAL) as tx:
        hidden = await learnings.share(
            tx, "health", signal="pattern", subject=ORDERS, text="hunter2", sensitivity=Sensitivity.CONFIDENTIAL
        )
        told = await learnings.learning(tx, hidden)
        assert told is not None
        assert told.text == "hunter2"
    async with db.transaction() as tx:
        assert await learnings.learning(tx, hidden) is None
