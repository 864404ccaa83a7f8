"""What the swarm does not do: act where it may only observe, wake for what nobody reads, obey text from data."""

from __future__ import annotations

import subprocess
from collections.abc import AsyncIterator, Mapping, Sequence

import pytest

from agents.context import Context, Happening
from agents.playbook import Proposal
from agents.verdicts import Verdict
from dataswarm import operations
from dataswarm.demo.world import World
from memory.records import IncidentState, Payload, RemediationState, Resolution
from tests.stories.stage import Copied, Stage, describe, state, together

pytestmark = pytest.mark.story


def head(world: World) -> str:
    """The commit production stands at."""
    done = subprocess.run(
        ["git", "-C", str(world.origin), "rev-parse", "main"], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.fixture
async def watching_stage(copied: Copied) -> AsyncIterator[Stage]:
    """A stage whose owner has not opted in to anything: the swarm observes."""
    config = copied[2]
    text = config.read_text(encoding="utf-8")
    config.write_text(text.replace("autonomy: act         #", "autonomy: observe     #"), encoding="utf-8")
    async with together(copied) as play:
        yield play


async def test_observe_records_what_it_would_have_done_and_touches_nothing(watching_stage: Stage) -> None:
    """By default the plan, its dry run and the gate that stopped it are on record; production is as it was."""
    stage = watching_stage
    before = head(stage.world)
    await stage.break_("column-renamed", 2)
    assert not (await stage.cycle()).is_green
    seen = await stage.until(lambda s: any(r.state is RemediationState.REFUSED for r in s.remediations))
    [remedy] = seen.remediations
    assert remedy.result["would_have"]["preview"].startswith("---")
    assert remedy.result["stage"] == "autonomy"
    assert head(stage.world) == before
    assert not (await stage.cycle()).is_green


async def test_a_change_nobody_reads_does_not_wake_health(stage: Stage) -> None:
    """Drift is recorded; pipeline-health, which watches what is upstream of its pipelines, is not woken."""
    agent = stage.app.members.agents["pipeline-health"]
    told: list[str] = []
    considered = agent.consider

    async def overheard(happenings: Sequence[Happening], context: Context) -> Sequence[Verdict]:
        told.extend(f"{h.event.topic} {h.event.subject}" for h in happenings)
        return await considered(happenings, context)

    agent.consider = overheard  # type: ignore[method-assign]
    with stage.world.connect("loader") as connection:
        connection.execute("create table raw.unread (id integer, note text)")
    await stage.look_until("schema.table_added", "raw.unread")
    with stage.world.connect("loader") as connection:
        connection.execute("alter table raw.unread rename column note to remark")
    await stage.look_until("schema.column_renamed", "raw.unread")
    # Something health does watch comes after it, so by then the rename has been passed over.
    await stage.cycle()
    await stage.look_until("pipeline.passed", "shop_dbt", count=2)
    assert [line for line in told if "raw.unread" in line] == []
    assert (await stage.seen()).incidents == []


class Scripted:
    """A model that maps columns by a script, and remembers what it was shown."""

    def __init__(self, mapping: Mapping[str, str]) -> None:
        self.mapping = dict(mapping)
        self.shown: list[Payload] = []

    async def propose(self, question: str, evidence: Payload, causes: Mapping[str, str]) -> Proposal | None:
        """The script, whatever is asked."""
        self.shown.append(evidence)
        if "columns_ambiguous" not in causes:
            return None
        subject = f"warehouse://shop/{evidence['table']}"
        payload = {"mapping": self.mapping}
        return Proposal("columns_ambiguous", subject, 0.9, "the script says so", payload, ({"question": question},))


async def test_where_rules_abstain_a_model_proposes_and_a_human_decides(stage: Stage) -> None:
    """Two columns renamed at once: a scripted model maps them, policy asks a human, and the marts come out equal.

    A comment in the data that reads like an instruction is shown to the model as evidence and changes nothing.
    """
    assert stage.app.swarm is not None
    before = head(stage.world)
    told = await stage.break_("two-columns-renamed", 1, "recreate", "--poison")
    stage.app.swarm.reasoner = script = Scripted(told["detail"]["renamed"])
    assert not (await stage.cycle()).is_green
    seen = await stage.until(lambda s: state(s) is IncidentState.AWAITING_APPROVAL)
    assert head(stage.world) == before, describe(seen)
    assert script.shown
    diagnosis = next(d for d in seen.decisions if d.payload.get("origin") == "model")
    assert diagnosis.transcript
    incident = seen.incident
    assert incident is not None
    await operations.approve(stage.app.database, incident.id, by="ana")
    seen = await stage.to_the_end()
    assert [i.resolution for i in seen.incidents] == [Resolution.HUMAN], describe(seen)
    assert (await stage.grade_as("equal"))["is_held"]


async def test_the_kill_switch_stops_a_remedy_before_it_touches_anything(stage: Stage) -> None:
    """With the switch on, a diagnosis is made, nothing is done, and the incident is handed over with the reason."""
    before = head(stage.world)
    await operations.kill_switch(stage.app.database, True, "drill", by="ana")
    await stage.break_("column-renamed", 2)
    assert not (await stage.cycle()).is_green
    seen = await stage.to_the_end()
    assert state(seen) is IncidentState.ESCALATED, describe(seen)
    assert not any(r.applied_at for r in seen.remediations)
    assert head(stage.world) == before
