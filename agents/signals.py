"""What failed, as a diagnosis names it, and how a remedy takes that signal again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from agents.playbook import Bench, Verification
from config.assets import Asset
from config.errors import PermanentError
from integrations.base import Node, Orchestrator, Outcome, Project, Repository, Warehouse
from memory.records import Decision, EffectClass, Payload

BUILT = ("model", "test", "seed", "snapshot")
_CLEAN = (Outcome.SUCCESS.value, Outcome.WARN.value)


@dataclass(frozen=True, slots=True)
class Evidence:
    """The part of a diagnosis that every cause shares.

    Attributes:
        pipeline: configured name of the orchestrator; `warehouse` likewise.
        run: the failed run's id.
        nodes: ids of the nodes that failed by themselves; `skipped` of those that were not reached.
        payload: all of it, with what the cause class adds.
    """

    pipeline: str
    warehouse: str
    run: str
    nodes: tuple[str, ...]
    skipped: tuple[str, ...]
    payload: Payload

    @classmethod
    def of(cls, diagnosis: Decision) -> Evidence:
        """Read a diagnosis's payload; PermanentError naming what is missing or of another shape."""
        payload = diagnosis.payload
        missing = [k for k in ("pipeline", "warehouse", "run", "nodes") if k not in payload]
        if missing:
            raise PermanentError(f"diagnosis {diagnosis.id} does not say its {', '.join(missing)}")
        nodes, skipped = payload["nodes"], payload.get("skipped") or ()
        if not all(isinstance(n, str) for n in (*nodes, *skipped)):
            raise PermanentError(f"diagnosis {diagnosis.id} names nodes that are no ids")
        return cls(
            str(payload["pipeline"]),
            str(payload["warehouse"]),
            str(payload["run"]),
            tuple(dict.fromkeys(nodes)),
            # An exposure is reported as skipped too, and nothing ever builds it.
            tuple(dict.fromkeys(n for n in skipped if n.split(".", 1)[0] in BUILT)),
            payload,
        )

    @property
    def signal(self) -> tuple[str, ...]:
        """The nodes that must end well for the signal to be clean."""
        return tuple(dict.fromkeys((*self.nodes, *self.skipped)))

    def text(self, name: str) -> str:
        """A text of the payload; PermanentError where it is not there."""
        value = self.payload.get(name)
        if not isinstance(value, str) or not value:
            raise PermanentError(f"the diagnosis does not say its {name}")
        return value

    def count(self, name: str) -> int:
        """A count of the payload; PermanentError where it is not there."""
        value = self.payload.get(name)
        if not isinstance(value, int) or value < 0:
            raise PermanentError(f"the diagnosis does not say its {name}")
        return value

    def table(self, path: str) -> Asset:
        """A warehouse table as an asset."""
        return Asset("warehouse", self.warehouse, path)


def orchestrator_of(bench: Bench, evidence: Evidence) -> Orchestrator:
    """The pipeline's integration; PermanentError where it is not open here."""
    found = bench.sources.get(evidence.pipeline)
    if not isinstance(found, Orchestrator):
        raise PermanentError(f"the pipeline {evidence.pipeline} is not configured here")
    return found


def warehouse_of(bench: Bench, evidence: Evidence) -> Warehouse:
    """The warehouse's integration; PermanentError where it is not open here."""
    found = bench.sources.get(evidence.warehouse)
    if not isinstance(found, Warehouse):
        raise PermanentError(f"the warehouse {evidence.warehouse} is not configured here")
    return found


def repository_of(bench: Bench, name: str) -> Repository | None:
    """The repository with that name; without a name the only one there is; else None."""
    found = {n: s for n, s in bench.sources.items() if isinstance(s, Repository)}
    if name:
        return found.get(name)
    return next(iter(found.values())) if len(found) == 1 else None


async def why_over(orchestrator: Orchestrator, evidence: Evidence) -> str:
    """Why the signal needs no remedy any more: a newer run of the team took it and was clean. Else empty."""
    last = await orchestrator.last_run()
    if last is None or last.id == evidence.run:
        return ""
    outcomes = {r.node: r.outcome for r in last.results}
    if all(n in outcomes and outcomes[n].value in _CLEAN for n in evidence.signal):
        return f"the team's run {last.id} was clean meanwhile"
    return ""


async def known_bad(orchestrator: Orchestrator, evidence: Evidence) -> tuple[str, ...]:
    """Nodes that are bad in the team's newest run for another reason than this one."""
    last = await orchestrator.last_run()
    own = set(evidence.signal)
    return tuple(sorted(r.node for r in (last.results if last else ()) if r.outcome.is_bad and r.node not in own))


def sources_of(project: Project, path: str) -> tuple[Node, ...]:
    """The declared sources whose relation is `schema.table`."""
    return tuple(n for n in project.nodes.values() if n.kind == "source" and n.relation == path)


def readers_of(project: Project, sources: Iterable[Node]) -> tuple[Node, ...]:
    """The models that read declared sources directly."""
    ids = {s.id for s in sources}
    return tuple(n for n in project.nodes.values() if n.kind in ("model", "snapshot") and ids & set(n.depends_on))


def to_build(project: Project, evidence: Evidence, roots: Iterable[str]) -> tuple[str, ...]:
    """What to build after a remedy: the signal, and all that hangs on the models that are built anew.

    Replacing a view takes the views above it along in some engines, so the closure is complete. In the project's
    order of nodes; only what can be built.
    """
    wanted = set(evidence.signal)
    for root in (*roots, *evidence.signal):
        if root in project.nodes and project.nodes[root].kind in ("model", "seed", "snapshot"):
            wanted |= {root, *project.downstream(root)}
    return tuple(n.id for n in project.nodes.values() if n.id in wanted and n.kind in BUILT)


def keyless(project: Project, ids: Iterable[str]) -> tuple[str, ...]:
    """Incremental models among `ids` without a unique key: building them twice may double rows."""
    nodes = (project.nodes[i] for i in ids if i in project.nodes)
    return tuple(n.id for n in nodes if n.materialized == "incremental" and not n.unique_key)


def relations(project: Project, ids: Iterable[str]) -> tuple[str, ...]:
    """The warehouse relations of nodes, as asset references."""
    nodes = (project.nodes[i] for i in ids if i in project.nodes)
    found = (str(Asset("warehouse", project.warehouse, n.relation)) for n in nodes if n.relation and n.kind != "test")
    return tuple(dict.fromkeys(found))


async def build(
    bench: Bench,
    evidence: Evidence,
    select: Sequence[str],
    *,
    step: str,
    directory: Path | None = None,
    scratch: bool = False,
) -> Payload:
    """Build through an effect that may be repeated; outcomes by node, without the tool's texts (they quote values)."""
    orchestrator = orchestrator_of(bench, evidence)

    async def do() -> Payload:
        run = await orchestrator.build(select, directory=directory, scratch=scratch, label=f"task-{bench.task.id}")
        return {
            "run": run.id,
            "outcomes": {r.node: r.outcome.value for r in run.results},
            "failures": {r.node: r.failures for r in run.results if r.failures},
        }

    return await bench.effect(
        step,
        target=Asset("dbt", evidence.pipeline),
        intent={"build": list(select), "scratch": scratch},
        inverse={},
        effect_class=EffectClass.IDEMPOTENT,
        do=do,
    )


def measure(evidence: Evidence, built: Payload, known: Sequence[str] = ()) -> Verification:
    """The signal taken again: every node of it ended well, and nothing fell over that had stood."""
    outcomes: Mapping[str, str] = built.get("outcomes") or {}
    signal = {node: outcomes.get(node) in _CLEAN for node in evidence.signal}
    fallen = sorted(n for n, o in outcomes.items() if Outcome(o).is_bad and n not in signal and n not in known)
    unclean = [node for node, is_clean in signal.items() if not is_clean]
    parts = []
    if unclean:
        parts.append(f"still not clean: {', '.join(unclean[:5])}")
    if fallen:
        parts.append(f"failing since: {', '.join(fallen[:5])}")
    measured = {"run": built.get("run"), "signal": signal, "fallen": fallen}
    return Verification(not parts, measured, "; ".join(parts))
