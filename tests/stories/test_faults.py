"""Each fault of the demo, end to end: real PostgreSQL, real dbt, a swarm, and a judge apart from it."""

from __future__ import annotations

import pytest

from dataswarm.demo.faults.catalogue import CATALOGUE
from memory.records import IncidentState, RemediationState, Resolution
from tests.stories.stage import Stage, describe

pytestmark = pytest.mark.story
SEEDS = (1, 2, 3)
MENDED = [name for name, fault in CATALOGUE.items() if fault.ending == "auto"]
HANDED_OVER = [name for name, fault in CATALOGUE.items() if fault.ending == "escalate"]


def way_of(fault: str, seed: int) -> str:
    """Both ways of a schema change come up over the seeds."""
    ways = CATALOGUE[fault].ways
    return ways[seed % len(ways)] if ways else ""


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("fault", MENDED)
async def test_what_can_be_mended_is_mended_and_proven(stage: Stage, fault: str, seed: int) -> None:
    """One incident, resolved by the swarm alone, and every mart as the judge wants it."""
    await stage.break_(fault, seed, way_of(fault, seed))
    assert not (await stage.cycle()).is_green
    seen = await stage.to_the_end()
    assert len(seen.incidents) == 1, describe(seen)
    assert seen.incidents[0].resolution is Resolution.AUTO, describe(seen)
    assert any(r.state is RemediationState.VERIFIED for r in seen.remediations)
    assert stage.cycles[-1].is_green
    grade = await stage.grade()
    assert grade["is_held"], grade


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("fault", HANDED_OVER)
async def test_what_cannot_be_known_is_handed_over_and_nothing_is_touched(stage: Stage, fault: str, seed: int) -> None:
    """An escalation with a full packet; no remedy was applied, and the marts are at last good."""
    await stage.break_(fault, seed, way_of(fault, seed))
    assert not (await stage.cycle()).is_green
    seen = await stage.to_the_end()
    assert [i.state for i in seen.incidents] == [IncidentState.ESCALATED], describe(seen)
    assert not any(r.applied_at for r in seen.remediations)
    packet = seen.escalations[0].packet
    assert {"timeline", "hypotheses", "tried", "impact", "questions"} <= set(packet), sorted(packet)
    assert packet["hypotheses"]
    grade = await stage.grade()
    assert grade["is_held"], grade


@pytest.mark.parametrize("seed", SEEDS)
async def test_a_harmless_change_is_a_note_and_no_incident(stage: Stage, seed: int) -> None:
    """A nullable column more: seen, recorded, and nobody is bothered."""
    await stage.break_("column-added", seed, way_of("column-added", seed))
    assert (await stage.cycle()).is_green
    await stage.look_until("schema.column_added", "raw.")
    seen = await stage.seen()
    assert list(seen.incidents) == [], describe(seen)
    assert (await stage.grade())["is_held"]
