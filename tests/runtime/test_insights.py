"""What one agent learned reaches those it is for, and decides what is tried first where it was learned."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from agents.base import Agent, Watch
from agents.context import Context, Happening
from agents.runtime.bench import Surroundings
from agents.verdicts import Learn, Verdict
from config.assets import Asset
from config.settings import Settings
from memory.beliefs import knowledge
from memory.board import ledger
from memory.connection.database import Database
from memory.records import Learning, NewObservation
from tests.memory.stage import ORDERS
from tests.pace import PATIENCE, until
from tests.runtime.toys import running

PAYMENTS = Asset.parse("warehouse://shop/raw.payments")


class Teacher(Agent):
    """Recommends something to one of two."""

    name = "teacher"
    watches = (Watch(("observation.lesson",)),)

    async def consider(self, happenings: Sequence[Happening], context: Context) -> Sequence[Verdict]:
        """An insight for each."""
        text = "look at orders after each release"
        return [Learn("recommendation", "", "", h.event.subject, text, to=("pupil",)) for h in happenings]


class Pupil(Agent):
    """Hears what it is told."""

    name = "pupil"
    watches = (Watch(("learning.*",)),)

    def __init__(self) -> None:
        super().__init__()
        self.heard: list[Learning] = []
        self.told = asyncio.Event()

    async def consider(self, happenings: Sequence[Happening], context: Context) -> Sequence[Verdict]:
        """Remember."""
        self.heard += [happening.record for happening in happenings]
        self.told.set()
        return []


class Other(Pupil):
    """Listens as well, and is not meant."""

    name = "other"


async def test_an_insight_reaches_the_agent_it_is_for(db: Database) -> None:
    """As an event with the learning itself; another one that watches the same hears nothing."""
    pupil, other = Pupil(), Other()
    async with running(db, agents={"teacher": Teacher(), "pupil": pupil, "other": other}):
        async with db.transaction() as tx:
            await ledger.record(tx, "test", [NewObservation("lesson", ORDERS)])
        await asyncio.wait_for(pupil.told.wait(), PATIENCE)
        await until(lambda: _has_read_all(db, "other"))
    (learned,) = pupil.heard
    assert (learned.agent, learned.signal, learned.subject) == ("teacher", "recommendation", ORDERS)
    assert other.heard == []


async def _has_read_all(db: Database, agent: str) -> bool:
    async with db.transaction() as tx:
        (row,) = [row for row in await tx.all("all_agents") if row["agent"] == agent]
    return bool(row["lag"] == 0)


async def test_what_failed_here_is_not_tried_first_here(db: Database) -> None:
    """It goes on being first elsewhere, where it works; without an asset the whole record counts."""

    class Card:
        """As much of a playbook as is looked at."""

        causes = ("renamed",)
        rank = 50

        def __init__(self, name: str) -> None:
            self.name = name

    async with db.transaction() as tx:
        outcomes = [
            *[("success", "view", PAYMENTS)] * 5,
            *[("failure", "view", ORDERS)] * 2,
            ("success", "patch", PAYMENTS),
        ]
        for signal, playbook, subject in outcomes:
            await knowledge.learn(
                tx, "ir", signal=signal, playbook=playbook, cause="renamed", subject=subject, text="", circumstances={}
            )
    cards: Any = {name: Card(name) for name in ("view", "patch")}
    window = Surroundings(db, dict, lambda: cards, Settings).window(datetime.now(UTC))

    async def first(about: Any) -> tuple[str, int]:
        best, *_ = await window.remedies("renamed", about=about)
        return best.name, best.tries

    assert await first(ORDERS.column("id")) == ("patch", 1)
    assert await first(PAYMENTS) == ("view", 7)
