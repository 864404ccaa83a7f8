"""Re-run what failed: for a deadlock, a reset, a time-out that passed."""

from __future__ import annotations

from typing import ClassVar

from pydantic import BaseModel, ConfigDict, Field

from agents import signals
from agents.playbook import Bench, BlastRadius, Case, Plan, Playbook, Unfit, Verification
from agents.signals import Evidence
from config.assets import Asset
from memory.records import EffectClass, Payload


class RerunFailedOptions(BaseModel):
    """Settings of rerun-failed.

    Attributes:
        tries: how often what failed is built again before the remedy counts as failed.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    tries: int = Field(default=2, ge=1, le=5)


class RerunFailed(Playbook):
    """Build the failed and the skipped nodes again, nothing else."""

    name: ClassVar[str] = "rerun-failed"
    causes: ClassVar[tuple[str, ...]] = ("transient",)
    rank: ClassVar[int] = 10
    effect_class: ClassVar[EffectClass] = EffectClass.IDEMPOTENT
    Options: ClassVar[type[BaseModel]] = RerunFailedOptions

    async def check(self, case: Case, bench: Bench) -> Plan | Unfit:
        """Is it still failing, and can it be run twice without doubling rows?"""
        evidence = Evidence.of(case.diagnosis)
        orchestrator = signals.orchestrator_of(bench, evidence)
        if over := await signals.why_over(orchestrator, evidence):
            return Unfit(over)
        project = await orchestrator.project()
        select = signals.to_build(project, evidence, ())
        gone = [n for n in evidence.signal if n not in select]
        if gone:
            return Unfit(f"the project no longer has {', '.join(gone[:5])}")
        if keyless := signals.keyless(project, select):
            return Unfit(f"{', '.join(keyless[:5])} is incremental without a unique key; a second run may double rows")
        return Plan(
            summary=f"Build again what failed or was not reached: {len(select)} node{'s' * (len(select) != 1)}.",
            details={"select": list(select), "known": list(await signals.known_bad(orchestrator, evidence))},
            preview="\n".join(select),
            blast=BlastRadius(
                (str(Asset("dbt", evidence.pipeline)), *signals.relations(project, select)),
            ),
            undo_hint="Nothing to take back: the same code was run again.",
        )

    async def apply(self, case: Case, plan: Plan, bench: Bench) -> Payload:
        """Build; what is still bad is built once more, up to `tries` times."""
        evidence = Evidence.of(case.diagnosis)
        outcomes: dict[str, str] = {}
        select: list[str] = list(plan.details["select"])
        built: Payload = {}
        for attempt in range(1, self.options.tries + 1):
            built = await signals.build(bench, evidence, select, step=f"rebuild {attempt}")
            outcomes.update(built.get("outcomes") or {})
            select = [n for n in select if outcomes.get(n) not in ("success", "warn")]
            if not select:
                break
        return {"rebuild": {**built, "outcomes": outcomes}}

    async def verify(self, case: Case, plan: Plan, applied: Payload, bench: Bench) -> Verification:
        """Every node of the signal ended well."""
        return signals.measure(Evidence.of(case.diagnosis), applied["rebuild"], plan.details.get("known", ()))

    async def undo(self, case: Case, plan: Plan, bench: Bench) -> None:
        """Nothing was changed that building again would not give."""
