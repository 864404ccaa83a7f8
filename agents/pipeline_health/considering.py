"""What follows from what happened: diagnoses, tasks and timers. No outside, no clock; keys make repeats harmless."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from agents.context import Context, Happening
from agents.pipeline_health import diagnosing
from agents.pipeline_health.drift import standing
from agents.pipeline_health.explaining import Explained, Root, explain
from agents.pipeline_health.failure import Failure, dump, parse
from agents.pipeline_health.options import PipelineHealthOptions
from agents.verdicts import Begin, Diagnose, Ignore, Verdict, Wait
from config.assets import Asset
from memory.records import Decision, DecisionKind, NewTask, Observation, Payload, Reference

_ENDED = ("pipeline.failed", "pipeline.passed", "pipeline.known_failing")


async def consider(
    happenings: Sequence[Happening], context: Context, options: PipelineHealthOptions, agent: str
) -> list[Verdict]:
    """Answer a batch; verdicts that were given for an earlier event of it are not repeated."""
    mind = _Mind(context, options, agent)
    verdicts: dict[object, Verdict] = {}
    for happening in happenings:
        for verdict in await mind.answer(happening):
            verdicts.setdefault(_key(verdict), verdict)
    return list(verdicts.values())


def _key(verdict: Verdict) -> object:
    match verdict:
        case Diagnose() | Wait() | Ignore():
            return type(verdict), verdict.key
        case Begin(task):
            return Begin, task.key
        case _:
            return id(verdict)


@dataclass(slots=True)
class _Mind:
    context: Context
    options: PipelineHealthOptions
    agent: str
    _lineage: dict[Asset, frozenset[Asset]] = field(default_factory=dict)

    async def answer(self, happening: Happening) -> Sequence[Verdict]:
        topic, record = happening.event.topic, happening.record
        if topic == "timer.due":
            return await self._due(happening.event.subject, record)
        if not isinstance(record, Observation):  # gone by retention
            return ()
        if record.kind.startswith("schema."):
            return await self._changed()
        if record.kind == "pipeline.failed":
            return await self._failed(record)
        return self._ended(record)

    # --- events ------------------------------------------------------------------------------------------------

    async def _failed(self, observation: Observation) -> list[Verdict]:
        failure = await self._failure(observation)
        verdicts, open_ = await self._explain(failure)
        if open_:
            verdicts.append(
                Wait(
                    key=f"unexplained:{failure.name}:{failure.run}",
                    delay=self.options.patience,
                    subject=failure.pipeline,
                    payload={"why": "unexplained", "run": failure.run, "observation": observation.id},
                )
            )
        return verdicts

    async def _changed(self) -> list[Verdict]:
        """Something changed upstream: does it explain a pipeline's failure that stands?"""
        newest: dict[Asset, Observation] = {}
        for observation in await self._runs():
            newest.setdefault(observation.subject, observation)
        verdicts: list[Verdict] = []
        for observation in newest.values():
            if observation.kind == "pipeline.failed":
                found, _ = await self._explain(await self._failure(observation))
                verdicts.extend(found)
        return verdicts

    async def _due(self, pipeline: Asset, record: Any) -> list[Verdict]:
        """Patience is at an end. A newer run has its own story."""
        payload: Mapping[str, Any] = record if isinstance(record, Mapping) else getattr(record, "payload", {})
        runs = [o for o in await self._runs() if o.subject == pipeline]
        newest = runs[0] if runs else None
        if payload.get("why") == "no_artefact":
            if newest is not None and newest.id > int(payload["observation"]):
                return []
            failure = Failure(pipeline, "", "", (), observation=int(payload["observation"]))
            why = "the last run left no artefact: it did not parse, or could not reach its warehouse"
            return [replace(diagnosing.unknown(failure, why), key=f"no_artefact|{payload['observation']}")]
        if newest is None or newest.kind != "pipeline.failed" or newest.payload.get("run") != payload.get("run"):
            return []
        failure = await self._failure(newest)
        verdicts, open_ = await self._explain(failure)
        if open_:
            verdicts.append(self._investigate(failure.only(open_), "unexplained"))
        return verdicts

    def _ended(self, observation: Observation) -> Sequence[Verdict]:
        if observation.kind == "pipeline.passed":
            return [self._profile(observation)]
        return self._no_artefact(observation) if observation.kind == "pipeline.no_artefact" else ()

    def _no_artefact(self, observation: Observation) -> list[Verdict]:
        if "last_run" not in observation.payload:  # first contact
            return []
        payload = {"why": "no_artefact", "observation": observation.id}
        key = f"no_artefact:{observation.subject.source}:{observation.id}"
        return [Wait(key, self.options.patience, observation.subject, payload)]

    def _profile(self, observation: Observation) -> Begin:
        pipeline, run = observation.subject, observation.payload["run"]
        payload = {"pipeline": pipeline.source, "run": run}
        key = f"profile:{pipeline.source}:{run}"
        return Begin(NewTask(self.agent, "profile", pipeline, payload, key=key, key_outlives=True, priority=-5))

    # --- explaining --------------------------------------------------------------------------------------------

    async def _explain(self, failure: Failure) -> tuple[list[Verdict], tuple[str, ...]]:
        """What to say of a failure now, and the nodes about which nothing can be said yet."""
        observed = await self.context.observations(kinds=["schema.*"], since=self.options.window)
        explained = explain(failure, standing(observed), await self._clean_since(failure.pipeline))
        told = await self._told(failure)
        covered = {n for d in told for n in d.payload.get("nodes", ())}
        certain = [r for r in explained.roots if r.drift.cause != "columns_ambiguous"]
        news = [diagnosing.of_root(failure, root) for root in certain]
        if explained.transient:
            news.append(diagnosing.of_transient(failure, explained))
        verdicts: list[Verdict] = [*diagnosing.settle(news, told, failure)]
        verdicts += [self._ignored(failure, root) for root in explained.announced]
        verdicts += [
            self._investigate(failure.only(root.nodes), "ambiguous", root)
            for root in explained.roots
            if root.drift.cause == "columns_ambiguous" and not covered.issuperset(root.nodes)
        ]
        if not covered.issuperset(explained.tests):
            verdicts.append(self._investigate(failure.only(explained.tests), "tests"))
        return verdicts, self._uncovered(explained, covered)

    def _uncovered(self, explained: Explained, covered: set[str]) -> tuple[str, ...]:
        return tuple(n for n in explained.open if n not in covered)

    def _ignored(self, failure: Failure, root: Root) -> Ignore:
        reason = f"{diagnosing.title(root.drift)}; announced by {root.drift.planned_by}"
        evidence = tuple(Reference("observation", o) for o in (failure.observation, *root.drift.observations))
        return Ignore(root.drift.subject, reason, evidence, key=f"announced|{failure.run}|{root.drift.subject}")

    def _investigate(self, failure: Failure, why: str, root: Root | None = None) -> Begin:
        payload: dict[str, Any] = {
            "pipeline": failure.name,
            "why": why,
            "failure": dump(failure),
            "observation": failure.observation,
        }
        about = why
        if root is not None:
            about = f"{why}:{root.drift.table}"
            payload["drift"] = {**root.drift.payload, "observations": list(root.drift.observations)}
        return Begin(
            NewTask(
                self.agent,
                "investigate",
                failure.pipeline,
                payload,
                priority=5,
                key=f"investigate:{failure.name}:{failure.run}:{about}",
                key_outlives=True,
            )
        )

    # --- reading the blackboard --------------------------------------------------------------------------------

    async def _runs(self) -> Sequence[Observation]:
        """How runs ended, newest first."""
        return await self.context.observations(kinds=list(_ENDED), since=self.options.window)

    async def _clean_since(self, pipeline: Asset) -> datetime | None:
        for observation in await self._runs():
            if observation.subject == pipeline and observation.kind == "pipeline.passed":
                return datetime.fromisoformat(str(observation.payload["started_at"]))
        return None

    async def _told(self, failure: Failure) -> list[Decision]:
        """Diagnoses of its own for the same run, that nothing replaced."""
        found = await self.context.decisions(kind=DecisionKind.DIAGNOSIS.value, since=self.options.window)
        return [d for d in found if d.agent == self.agent and _is_of(d.payload, failure)]

    async def _failure(self, observation: Observation) -> Failure:
        """The failure, each node with what lies upstream: as the run told it, else as lineage knows."""
        failure = parse(observation.payload, observation.subject, observation.id)
        nodes = []
        for node in failure.nodes:
            upstream = node.upstream
            if not upstream:
                assets = set(await self._upstream(failure.node_asset(node.id)))
                if node.relation:
                    assets |= await self._upstream(failure.asset(node.relation))
                same = {a.path for a in assets if a.scheme == "warehouse" and a.source == failure.warehouse}
                upstream = tuple(sorted(same))
            nodes.append(replace(node, upstream=upstream))
        return replace(failure, nodes=tuple(nodes))

    async def _upstream(self, asset: Asset) -> frozenset[Asset]:
        if asset not in self._lineage:
            self._lineage[asset] = await self.context.upstream(asset)
        return self._lineage[asset]


def _is_of(payload: Payload, failure: Failure) -> bool:
    return payload.get("pipeline") == failure.name and payload.get("run") == failure.run
