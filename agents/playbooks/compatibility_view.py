"""A view by the old name over a table that was renamed, where the old name is free; a bridge with an expiry."""

from __future__ import annotations

from datetime import timedelta
from typing import ClassVar, Final

from pydantic import BaseModel, ConfigDict, Field

from agents import signals
from agents.playbook import Bench, BlastRadius, Case, Expected, Plan, Playbook, Probe, Unfit, Verification
from agents.signals import Evidence
from config.assets import Asset
from config.errors import ConflictError, PermanentError
from integrations.base import Statement, Table, Warehouse
from memory.records import EffectClass, Payload

OWNER: Final = "owner: dataswarm"
_MOST_NAMED: Final = 5
_STANDING_ON: Final = """
select distinct n.nspname || '.' || c.relname as path
from pg_catalog.pg_depend d
join pg_catalog.pg_rewrite r on d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass and r.oid = d.objid
join pg_catalog.pg_class c on c.oid = r.ev_class
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
  and d.refobjid = pg_catalog.to_regclass(%s) and c.oid <> d.refobjid
order by 1
"""


class CompatibilityViewOptions(BaseModel):
    """Settings of compatibility-view.

    Attributes:
        expires_days: after so many days the view should be gone; its comment says so.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    expires_days: int = Field(default=30, ge=1, le=365)


class CompatibilityView(Playbook):
    """`create view old as select * from new`, marked as the swarm's own."""

    name: ClassVar[str] = "compatibility-view"
    causes: ClassVar[tuple[str, ...]] = ("table_renamed",)
    rank: ClassVar[int] = 40
    Options: ClassVar[type[BaseModel]] = CompatibilityViewOptions

    async def check(self, case: Case, bench: Bench) -> Plan | Unfit:
        """Is the old name free, the new table there, and may the actor make a view beside it?"""
        evidence = Evidence.of(case.diagnosis)
        before, after = evidence.text("before"), evidence.text("after")
        orchestrator, warehouse = signals.orchestrator_of(bench, evidence), signals.warehouse_of(bench, evidence)
        project = await orchestrator.project()
        select = signals.to_build(project, evidence, ())
        again = signals.keyless(project, set(select) - set(evidence.signal))
        reason = await signals.why_over(orchestrator, evidence)
        if not reason and again:
            reason = f"{', '.join(again[:5])} is incremental without a unique key and would be run twice"
        reason = reason or await self._why_not(warehouse, before, after)
        if reason:
            return Unfit(reason)
        view, table = warehouse.quote(*before.split(".", 1)), warehouse.quote(*after.split(".", 1))
        expires = (bench.context.now + timedelta(days=self.options.expires_days)).date().isoformat()
        comment = f"{OWNER}; incident: {case.incident.id}; expires: {expires}"
        create = f"create view {view} as select * from {table}"
        return Plan(
            summary=f"Put a view {before} over {after} until {expires}.",
            details={
                "view": before,
                "sql": [create, f"comment on view {view} is '{comment}'"],
                "drop": f"drop view {view}",
                "comment": comment,
                "select": list(select),
                "known": list(await signals.known_bad(orchestrator, evidence)),
            },
            preview=f"{create};\ncomment on view {view} is '{comment}';",
            blast=BlastRadius((str(evidence.table(before)), *signals.relations(project, select))),
            expects=(Expected(str(evidence.table(before)), "schema.*"),),
            undo_hint=f"Let the models read {after}, build them, and then: drop view {view};",
        )

    async def _why_not(self, warehouse: Warehouse, before: str, after: str) -> str:
        if "." not in before or "." not in after:
            return "the diagnosis does not name the tables with their schemas"
        if await _relation(warehouse, before) is not None:
            return f"{before} is taken"
        if await _relation(warehouse, after) is None:
            return f"{after} is not there"
        schema = before.split(".", 1)[0]
        asked = Statement("select 1 where pg_catalog.has_schema_privilege(%s, 'CREATE')", (schema,), rows=1)
        try:
            await warehouse.execute([asked], agent="incident-response")
        except ConflictError:
            return f"the actor may not create views in {schema}"
        return ""

    async def _standing_on(self, warehouse: Warehouse, path: str) -> list[str]:
        """The views made from a relation; all that keep it from being dropped alone."""
        view = warehouse.quote(*path.split(".", 1))
        found = [str(row["path"]) for row in await warehouse.query(_STANDING_ON, (view,), limit=_MOST_NAMED + 1)]
        return found if len(found) <= _MOST_NAMED else [*found[:_MOST_NAMED], "and more"]

    async def apply(self, case: Case, plan: Plan, bench: Bench) -> Payload:
        """Make the view with its comment in one transaction, then build what failed."""
        evidence = Evidence.of(case.diagnosis)
        warehouse = signals.warehouse_of(bench, evidence)
        path, comment = plan.details["view"], plan.details["comment"]

        async def do() -> Payload:
            statements = [Statement(sql) for sql in plan.details["sql"]]
            await warehouse.execute(statements, agent=bench.task.agent, lock=str(evidence.table(path)))
            return {"view": path}

        async def probe() -> Probe:
            there = await _relation(warehouse, path)
            if there is None:
                return Probe.NOT_DONE
            return Probe.DONE if there.comment == comment else Probe.UNKNOWN

        await bench.effect(
            "create view",
            target=evidence.table(path),
            intent={"sql": plan.details["sql"]},
            inverse={"sql": plan.details["drop"], "comment": comment},
            effect_class=EffectClass.INVERTIBLE,
            do=do,
            probe=probe,
        )
        return {"view": path, "rebuild": await signals.build(bench, evidence, plan.details["select"], step="rebuild")}

    async def verify(self, case: Case, plan: Plan, applied: Payload, bench: Bench) -> Verification:
        """Every node of the signal ended well."""
        return signals.measure(Evidence.of(case.diagnosis), applied["rebuild"], plan.details.get("known", ()))

    async def undo(self, case: Case, plan: Plan, bench: Bench) -> None:
        """Drop the view, if it is still the swarm's own; never with what others have built upon it."""
        evidence = Evidence.of(case.diagnosis)
        warehouse = signals.warehouse_of(bench, evidence)
        path, comment = plan.details["view"], plan.details["comment"]
        if not any(effect.inverse.get("comment") == comment for effect in await bench.undoable(case)):
            return
        there = await _relation(warehouse, path)
        if there is not None and there.comment != comment:
            raise PermanentError(f"{path} is no longer the view that was made; it is left alone")
        if there is not None and (standing := await self._standing_on(warehouse, path)):
            raise PermanentError(
                f"{', '.join(standing)} would go with the view {path}, on which they stand; nothing was dropped",
                hint="let what stands on it read the table by its new name, build it, and take the view back again",
            )

        async def do() -> Payload:
            if await _relation(warehouse, path) is not None:
                statements = [Statement(plan.details["drop"])]
                await warehouse.execute(statements, agent=bench.task.agent, lock=str(evidence.table(path)))
            return {"dropped": path}

        await bench.effect(
            "undo: drop view",
            target=Asset("warehouse", evidence.warehouse, path),
            intent={"sql": plan.details["drop"]},
            inverse={},
            effect_class=EffectClass.IDEMPOTENT,
            do=do,
        )


async def _relation(warehouse: Warehouse, path: str) -> Table | None:
    catalog = await warehouse.catalog()
    return next((t for t in catalog.tables if t.path == path), None)
