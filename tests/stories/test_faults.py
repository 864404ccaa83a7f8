"""Each fault of the demo, end to end: real PostgreSQL, real dbt, a swarm, and a judge apart from it.

With one seed of each fault the agents run in processes of their own, and it has to end the same. Two stories are told
to a later end in `test_taken_back.py`, and not again here.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from dataswarm.demo.faults.catalogue import CATALOGUE
from memory.records import IncidentState
from tests.stories.stage import (
    SEEDS,
    TAKEN_BACK,
    Copied,
    Play,
    apart,
    describe,
    is_first_told,
    mended,
    together,
    way_of,
)

pytestmark = pytest.mark.story
APART = 2
"""With this seed each agent has a process of its own."""
MENDED = [name for name, fault in CATALOGUE.items() if fault.ending == "auto"]
HANDED_OVER = [name for name, fault in CATALOGUE.items() if fault.ending == "escalate"]


@pytest.fixture
async def play(copied: Copied, request: pytest.FixtureRequest) -> AsyncIterator[Play]:
    """A swarm at work in this process, or each agent of it in its own."""
    async with apart(copied) if request.node.callspec.params["seed"] == APART else together(copied) as play:
        yield play


@pytest.mark.every_seed.with_args(is_first_told)
@pytest.mark.parametrize(("fault", "seed"), [(f, s) for f in MENDED for s in SEEDS if (f, s) not in TAKEN_BACK])
async def test_what_can_be_mended_is_mended_and_proven(play: Play, fault: str, seed: int) -> None:
    """One incident, resolved by the swarm alone, and every mart as the judge wants it."""
    await mended(play, fault, seed)


@pytest.mark.every_seed.with_args(is_first_told)
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("fault", HANDED_OVER)
async def test_what_cannot_be_known_is_handed_over_and_nothing_is_touched(play: Play, fault: str, seed: int) -> None:
    """An escalation with a full packet; no remedy was applied, and the marts are at last good."""
    await play.break_(fault, seed, way_of(fault, seed))
    assert not (await play.cycle()).is_green
    seen = await play.to_the_end()
    assert [i.state for i in seen.incidents] == [IncidentState.ESCALATED], describe(seen)
    assert not any(r.applied_at for r in seen.remediations)
    packet = seen.escalations[0].packet
    assert {"timeline", "hypotheses", "tried", "impact", "questions"} <= set(packet), sorted(packet)
    assert packet["hypotheses"]
    owners = set(packet["impact"]["owners"].values())
    assert seen.incidents[0].owner in owners, packet["impact"]  # of the broken table, beside those of what it breaks
    assert len(owners) > 1, packet["impact"]
    grade = await play.grade()
    assert grade["is_held"], grade


@pytest.mark.every_seed.with_args(lambda seed: is_first_told("column-added", seed))
@pytest.mark.parametrize("seed", SEEDS)
async def test_a_harmless_change_is_a_note_and_no_incident(play: Play, seed: int) -> None:
    """A nullable column more: seen, recorded, and nobody is bothered."""
    await play.break_("column-added", seed, way_of("column-added", seed))
    assert (await play.cycle()).is_green
    await play.look_until("schema.column_added", "raw.")
    seen = await play.seen()
    assert list(seen.incidents) == [], describe(seen)
    assert (await play.grade())["is_held"]
