"""The agent: notices how runs end, ties what failed to what changed, and says why, or that it cannot tell."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from agents.base import Agent, Capability, Scope, Watch
from agents.context import Context, Happening
from agents.pipeline_health import considering, investigating, profiling, sensing
from agents.pipeline_health.options import PipelineHealthOptions
from agents.playbook import Bench
from agents.verdicts import Sensed, Verdict
from integrations.base import Integration, Orchestrator
from memory.records import JSON, Task


class PipelineHealth(Agent):
    """Watches pipelines. It never changes anything: what to do about a diagnosis is for others to say."""

    name = "pipeline-health"
    senses = (Orchestrator,)
    every_seconds = 15.0
    watches = (
        Watch(("observation.schema.*",), Scope.UPSTREAM),
        Watch(("observation.pipeline.*",)),
        Watch(("timer.due",)),
    )
    acts: ClassVar[tuple[Capability, ...]] = (
        Capability(
            "investigate",
            "look into the warehouse for why nodes of a run failed",
            {"pipeline": "orchestrator source", "failure": "the failed nodes"},
            {"diagnosis": "a decision"},
            cost="costly",
            autonomy="observe",
            on_request=False,
        ),
        Capability(
            "profile",
            "count the marts of a clean run, as what later repairs are measured against",
            {
                "type": "object",
                "properties": {
                    "pipeline": {"type": "string", "description": "the pipeline's name in the configuration"},
                    "run": {"type": "string", "description": "the last run's id; nothing is done for another"},
                },
                "required": ["pipeline", "run"],
                "additionalProperties": False,
            },
            {"profile.good": "a fact for each mart"},
            cost="costly",
            autonomy="observe",
        ),
    )
    publishes = sensing.KINDS
    Options = PipelineHealthOptions

    async def sense(self, source: Integration, baseline: JSON, context: Context) -> Sensed:
        """How did the last run end, is what it reads fresh, what is made from what."""
        assert isinstance(source, Orchestrator)  # noqa: S101 - `senses` says so
        return await sensing.look(source, baseline, context)

    async def consider(self, happenings: Sequence[Happening], context: Context) -> Sequence[Verdict]:
        """Explain failures by what changed; wait where that may still come to light; hand the rest to `investigate`."""
        return await considering.consider(happenings, context, self.options, self.name)

    async def act(self, task: Task, bench: Bench) -> Sequence[Verdict]:
        """Investigate a failure, or profile what a clean run made."""
        if task.kind == "profile":
            return await profiling.profile(task, bench, self.options)
        if task.kind == "investigate":
            return await investigating.investigate(task, bench, self.options)
        return await super().act(task, bench)
