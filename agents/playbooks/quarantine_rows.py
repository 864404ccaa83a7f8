"""Move bad rows of a source table aside: the surplus of a batch loaded twice, or rows without a key.

One transaction, counts proven against the evidence, a share that is capped, and every row can be put back.
"""

from __future__ import annotations

import fnmatch
from dataclasses import dataclass
from typing import ClassVar, Final

from pydantic import BaseModel, ConfigDict, Field

from agents import signals
from agents.playbook import Bench, BlastRadius, Case, Expected, Plan, Playbook, Probe, Unfit, Verification
from agents.signals import Evidence
from config.assets import Asset
from integrations.base import Project, Statement, Table, Warehouse
from memory.records import EffectClass, Payload

REASON: Final = "dataswarm_reason"
LONGEST_NAME: Final = 63  # bytes of an identifier in PostgreSQL
MOST_COLUMNS: Final = 1600

# Are there triggers, or references that would delete or change rows of other tables along?
_ENTANGLED: Final = """
select (select count(*) from pg_catalog.pg_constraint where confrelid = c.oid and contype = 'f') as referenced,
       (select count(*) from pg_catalog.pg_trigger where tgrelid = c.oid and not tgisinternal) as triggers,
       c.relkind::text as kind
  from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
 where n.nspname = %s and c.relname = %s
"""
_STANDS: Final = """
select 1 as there from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
 where n.nspname = %s and c.relname = %s
"""
_GENERATED: Final = """
select a.attname as name from pg_catalog.pg_attribute a join pg_catalog.pg_class c on c.oid = a.attrelid
  join pg_catalog.pg_namespace n on n.oid = c.relnamespace
 where n.nspname = %s and c.relname = %s and a.attgenerated <> '' and not a.attisdropped
"""


class QuarantineRowsOptions(BaseModel):
    """Settings of quarantine-rows.

    Attributes:
        max_share: no more than this share of the table's rows is moved (0 to 1).
        owned_schema: the swarm's own schema in the warehouse.
        load_columns: shell patterns of columns the loader fills, in which copies of a row may differ; the batch
            column of the evidence is one anyway.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_share: float = Field(default=0.01, gt=0, le=1)
    owned_schema: str = Field(default="dataswarm", min_length=1, max_length=63)
    load_columns: tuple[str, ...] = ("_*", "loaded_at", "ingested_at", "inserted_at", "batch_id", "etl_*")


@dataclass(frozen=True, slots=True)
class _Move:
    """What is to be moved: the SQL condition that names the rows, how many, out of how many, and why.

    `label` is kept beside each row.
    """

    label: str
    where: str
    count: int
    rows: int
    reason: str


class QuarantineRows(Playbook):
    """Move the rows the evidence counts into a table of the swarm's own."""

    name: ClassVar[str] = "quarantine-rows"
    causes: ClassVar[tuple[str, ...]] = ("duplicate_rows", "null_keys")
    rank: ClassVar[int] = 30
    moves_data: ClassVar[bool] = True
    Options: ClassVar[type[BaseModel]] = QuarantineRowsOptions

    # --- check -----------------------------------------------------------------------------------------------------

    async def check(self, case: Case, bench: Bench) -> Plan | Unfit:
        """Count again: the same rows as the evidence, few enough, entangled with nothing."""
        evidence = Evidence.of(case.diagnosis)
        orchestrator, warehouse = signals.orchestrator_of(bench, evidence), signals.warehouse_of(bench, evidence)
        if over := await signals.why_over(orchestrator, evidence):
            return Unfit(over)
        path = evidence.text("table")
        table = next((t for t in (await warehouse.catalog()).tables if t.path == path), None)
        if table is None or table.kind != "table":
            return Unfit(f"{path} is not a table that can be seen")
        move = await self._move(case, evidence, warehouse, table)
        if isinstance(move, Unfit):
            return move
        project = await orchestrator.project()
        roots = [r.id for r in signals.readers_of(project, signals.sources_of(project, path))]
        select = signals.to_build(project, evidence, roots)
        if kept := _keeps_rows(project, select, evidence):
            return Unfit(f"{kept} is incremental and has taken the rows in already")
        return await self._plan(case, bench, table, move, select)

    async def _move(self, case: Case, evidence: Evidence, warehouse: Warehouse, table: Table) -> _Move | Unfit:
        """Which rows, if they are the evidence's and few enough."""
        if obstacle := await _obstacle(warehouse, table):
            return Unfit(obstacle)
        if case.diagnosis.cause == "duplicate_rows":
            move = await self._surplus(evidence, warehouse, table)
        else:
            move = await self._keyless_rows(evidence, warehouse, table)
        if isinstance(move, _Move) and move.count > self.options.max_share * move.rows:
            share = f"{move.count} of {move.rows} rows"
            return Unfit(f"{share} are more than the {self.options.max_share:.2%} that may be moved")
        return move

    async def _plan(self, case: Case, bench: Bench, table: Table, move: _Move, select: tuple[str, ...]) -> Plan:
        evidence = Evidence.of(case.diagnosis)
        orchestrator, warehouse = signals.orchestrator_of(bench, evidence), signals.warehouse_of(bench, evidence)
        project = await orchestrator.project()
        place = await self._place(case, warehouse, table)
        schema, name = self.options.owned_schema, place
        source, aside = warehouse.quote(table.schema, table.name), warehouse.quote(schema, name)
        generated = {r["name"] for r in await warehouse.query(_GENERATED, (table.schema, table.name))}
        listed = ", ".join(warehouse.quote(c.name) for c in table.columns if c.name not in generated)
        reason = warehouse.quote(REASON)
        make = [f"create table {aside} (like {source}, {reason} text not null)"]
        if not await warehouse.query("select 1 as there from pg_catalog.pg_namespace where nspname = %s", (schema,)):
            make.insert(0, f"create schema {warehouse.quote(schema)}")
        moved = (
            f"with moved as (delete from {source} where {move.where} returning {listed}) "
            f"insert into {aside} ({listed}, {reason}) select {listed}, '{move.label}' from moved"
        )
        back = f"insert into {source} ({listed}) overriding system value select {listed} from {aside}"
        gone = {}
        if case.diagnosis.cause == "null_keys":
            gone = dict.fromkeys(signals.relations(project, select), move.count)
        asset = evidence.table(table.path)
        return Plan(
            summary=f"Move {move.count} of {move.rows} rows of {table.path} aside: {move.reason}.",
            details={
                "table": table.path,
                "schema": schema,
                "name": name,
                "count": move.count,
                "make": make,
                "move": moved,
                "back": [back, f"drop table {aside}"],
                "select": list(select),
                "known": list(await signals.known_bad(orchestrator, evidence)),
            },
            preview=";\n".join([*make, f"{moved} -- exactly {move.count} rows", ""]),
            blast=BlastRadius(
                (str(asset), *signals.relations(project, select)), rows=move.count, share=move.count / move.rows
            ),
            expects=(Expected(str(evidence.table(f"{schema}.{name}")), "schema.*"), Expected(str(asset), "volume.*")),
            gone=gone,
            undo_hint=f"{back}; drop table {aside};",
        )

    async def _place(self, case: Case, warehouse: Warehouse, table: Table) -> str:
        """A free name in the owned schema."""
        first = _cut(f"quarantine_{case.incident.id}_{table.name}")
        if not await warehouse.query(_STANDS, (self.options.owned_schema, first)):
            return first
        return _cut(f"quarantine_{case.incident.id}_{case.remediation.id}_{table.name}")

    async def _surplus(self, evidence: Evidence, warehouse: Warehouse, table: Table) -> _Move | Unfit:
        names = {c.name for c in table.columns}
        key = evidence.payload.get("key")
        if not isinstance(key, list) or not key or not set(key) <= names:
            return Unfit("the diagnosis does not name a key of the table")
        if evidence.payload.get("identical") is not True:
            return Unfit("the surplus rows are not copies; which one is right cannot be told")
        batch = evidence.payload.get("batch_column")
        load = [c.name for c in table.columns if c.name == batch or self._is_load_column(c.name)]
        load = [name for name in load if name not in key]
        business = [c.name for c in table.columns if c.name not in load]
        if len(business) > MOST_COLUMNS:
            return Unfit("the table has too many columns to compare rows")
        source = warehouse.quote(table.schema, table.name)
        keys = ", ".join(warehouse.quote(k) for k in key)
        has_key = " and ".join(f"{warehouse.quote(k)} is not null" for k in key)
        row = ", ".join(warehouse.quote(c) for c in business)
        counted = await warehouse.query(
            f"select (select count(*) from {source}) as rows, count(*) as keys, coalesce(sum(n - 1), 0) as extra,"
            f" count(*) filter (where kinds > 1) as unlike from (select count(*) as n,"
            f" count(distinct row({row})::text) as kinds from {source} where {has_key} group by {keys}"
            f" having count(*) > 1) as doubled"
        )
        now = {name: int(value) for name, value in counted[0].items()}
        if (now["keys"], now["extra"]) != (evidence.count("keys"), evidence.count("extra")) or not now["extra"]:
            return Unfit(f"{now['extra']} surplus rows of {now['keys']} keys are there now, not what the evidence says")
        if now["unlike"]:
            return Unfit(f"the rows of {now['unlike']} keys differ in more than what the loader fills")
        times = [c.name for c in table.columns if c.name in load and c.type.startswith(("timestamp", "date"))]
        order = ", ".join([*map(warehouse.quote, times), "tableoid", "ctid"])
        where = (
            f"(tableoid, ctid) in (select tableoid, ctid from (select tableoid, ctid, row_number() over"
            f" (partition by {keys} order by {order}) as n from {source} where {has_key}) as ranked where n > 1)"
        )
        return _Move(
            "duplicate_rows",
            where,
            now["extra"],
            now["rows"],
            f"copies of {now['keys']} keys, the earliest of each stays",
        )

    async def _keyless_rows(self, evidence: Evidence, warehouse: Warehouse, table: Table) -> _Move | Unfit:
        column = evidence.text("column")
        if column not in {c.name for c in table.columns}:
            return Unfit(f"{table.path} has no column {column}")
        source, quoted = warehouse.quote(table.schema, table.name), warehouse.quote(column)
        counted = await warehouse.query(
            f"select count(*) as rows, count(*) filter (where {quoted} is null) as nulls from {source}"
        )
        rows, nulls = int(counted[0]["rows"]), int(counted[0]["nulls"])
        if nulls != evidence.count("count") or not nulls:
            return Unfit(f"{nulls} rows without {column} are there now, not what the evidence says")
        return _Move("null_keys", f"{quoted} is null", nulls, rows, f"they have no {column}")

    def _is_load_column(self, name: str) -> bool:
        return any(fnmatch.fnmatchcase(name, pattern) for pattern in self.options.load_columns)

    # --- apply, verify, undo ---------------------------------------------------------------------------------------

    async def apply(self, case: Case, plan: Plan, bench: Bench) -> Payload:
        """Move exactly the counted rows in one transaction, then build what read them."""
        evidence = Evidence.of(case.diagnosis)
        warehouse = signals.warehouse_of(bench, evidence)
        details = plan.details
        asset = evidence.table(details["table"])

        async def do() -> Payload:
            statements = [
                *(Statement(sql) for sql in details["make"]),
                Statement(details["move"], rows=details["count"]),
            ]
            await warehouse.execute(statements, agent=bench.task.agent, lock=str(asset))
            return {"rows": details["count"]}

        async def probe() -> Probe:
            # The table is made in the same transaction, so it stands exactly where the rows were moved.
            stands = await warehouse.query(_STANDS, (details["schema"], details["name"]))
            return Probe.DONE if stands else Probe.NOT_DONE

        await bench.effect(
            "move rows",
            target=asset,
            intent={"sql": [*details["make"], details["move"]], "rows": details["count"]},
            inverse={"sql": details["back"], "rows": details["count"]},
            effect_class=EffectClass.INVERTIBLE,
            do=do,
            probe=probe,
        )
        built = await signals.build(bench, evidence, details["select"], step="rebuild")
        return {"moved": details["count"], "to": f"{details['schema']}.{details['name']}", "rebuild": built}

    async def verify(self, case: Case, plan: Plan, applied: Payload, bench: Bench) -> Verification:
        """Every node of the signal ended well."""
        return signals.measure(Evidence.of(case.diagnosis), applied["rebuild"], plan.details.get("known", ()))

    async def undo(self, case: Case, plan: Plan, bench: Bench) -> None:
        """Put every moved row back and drop the empty place, in one transaction."""
        evidence = Evidence.of(case.diagnosis)
        details = plan.details
        if not any(effect.inverse.get("sql") == details["back"] for effect in await bench.undoable(case)):
            return
        warehouse = signals.warehouse_of(bench, evidence)
        asset = evidence.table(details["table"])

        async def do() -> Payload:
            if not await warehouse.query(_STANDS, (details["schema"], details["name"])):
                return {"rows": 0}
            back, drop = details["back"]
            statements = [Statement(back, rows=details["count"]), Statement(drop)]
            await warehouse.execute(statements, agent=bench.task.agent, lock=str(asset))
            return {"rows": details["count"]}

        await bench.effect(
            "undo: put rows back",
            target=Asset("warehouse", evidence.warehouse, details["table"]),
            intent={"sql": details["back"], "rows": details["count"]},
            inverse={},
            effect_class=EffectClass.IDEMPOTENT,
            do=do,
        )


async def _obstacle(warehouse: Warehouse, table: Table) -> str:
    """Why rows of the table cannot be moved without touching others; empty where they can."""
    if any(c.name == REASON for c in table.columns):
        return f"{table.path} has a column {REASON} itself"
    found = await warehouse.query(_ENTANGLED, (table.schema, table.name))
    if not found or found[0]["kind"] not in ("r", "p"):
        return f"{table.path} is not a plain table"
    if found[0]["referenced"]:
        return f"other tables refer to {table.path}; deleting there may reach further"
    if found[0]["triggers"]:
        return f"{table.path} has triggers, which may do more than is asked"
    return ""


def _keeps_rows(project: Project, select: tuple[str, ...], evidence: Evidence) -> str:
    """An incremental model that ran well on the bad rows: taking them from the source does not take them from it."""
    for node_id in select:
        node = project.nodes[node_id]
        if node.materialized == "incremental" and node_id not in evidence.signal:
            return node_id
    return ""


def _cut(name: str) -> str:
    return name.encode()[:LONGEST_NAME].decode(errors="ignore")
