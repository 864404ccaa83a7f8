"""What the last good profile of what lies downstream still demands, whatever the playbook says of itself.

Columns may be added, rows may grow; nothing may go that the evidence does not name.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from agents.playbook import Bench, Case, Plan, Verification
from agents.signals import Evidence, orchestrator_of, readers_of, sources_of, warehouse_of
from config.assets import Asset
from config.errors import PermanentError
from integrations.base import Profile, Project
from memory.records import Payload

PREDICATE: Final = "profile.good"
GROWTH: Final = 1.5  # rows may grow to this many times the last good count,
SMALL: Final = 50  # and by so many more, for small tables
NULLS_SHARE: Final = 0.005  # of a column's rows may turn null beyond what the last good share gives
NULLS_GROWTH: Final = 1.25


@dataclass(frozen=True, slots=True)
class Good:
    """A last good profile as it was asserted: rows, and nulls by column."""

    rows: int
    nulls: Mapping[str, int]

    @classmethod
    def read(cls, stored: Any) -> Good | None:
        """Of a fact's object; None where it has another shape."""
        try:
            return cls(int(stored["rows"]), {str(n): int(c["nulls"]) for n, c in stored["columns"].items()})
        except (KeyError, TypeError, ValueError, AttributeError):
            return None


def affected(project: Project, evidence: Evidence, table: str) -> tuple[str, ...]:
    """Relations to measure: all that is made from the failed models, from what the failed tests test, from the table.

    In the project's order; `schema.table` each.
    """
    roots = [n.id for n in readers_of(project, sources_of(project, table))]
    for node_id in evidence.signal:
        node = project.nodes.get(node_id)
        if node is not None:
            roots += list(node.depends_on) if node.kind == "test" else [node_id]
    wanted: set[str] = set()
    for root in roots:
        if root in project.nodes and project.nodes[root].kind in ("model", "snapshot"):
            wanted |= {root, *project.downstream(root)}
    nodes = (n for n in project.nodes.values() if n.id in wanted and n.kind in ("model", "snapshot"))
    return tuple(dict.fromkeys(n.relation for n in nodes if n.relation))


def broken(good: Good, now: Profile, gone: int) -> list[str]:
    """What of a last good profile does not hold now; `gone` rows may be missing, or have turned null."""
    found: list[str] = []
    missing = sorted(set(good.nulls) - set(now.columns))
    if missing:
        found.append(f"columns are missing: {', '.join(missing[:5])}")
    if now.rows < good.rows - gone:
        found.append(f"{now.rows} rows, where {good.rows} were and {gone} may be missing")
    most = math.ceil(good.rows * GROWTH) + SMALL
    if now.rows > most:
        found.append(f"{now.rows} rows, where {good.rows} were and at most {most} would be plausible")
    ratio = max(1.0, now.rows / good.rows) if good.rows else 1.0
    for name, nulls in sorted(good.nulls.items()):
        allowed = math.ceil(nulls * ratio * NULLS_GROWTH) + math.ceil(now.rows * NULLS_SHARE) + gone
        if name in now.columns and now.columns[name].nulls > allowed:
            found.append(f"{name}: {now.columns[name].nulls} nulls, where {nulls} were and {allowed} are tolerated")
    return found


async def hold(case: Case, plan: Plan, bench: Bench) -> Verification:
    """Profile everything affected and compare with what was good; a table without a good profile is named."""
    evidence = Evidence.of(case.diagnosis)
    project = await orchestrator_of(bench, evidence).project()
    warehouse = warehouse_of(bench, evidence)
    measured: dict[str, Payload] = {}
    unknown: list[str] = []
    reasons: list[str] = []
    for relation in affected(project, evidence, case.diagnosis.subject.path):
        asset = Asset("warehouse", evidence.warehouse, relation)
        fact = await bench.context.fact(asset, PREDICATE)
        good = None if fact is None or fact.retracted else Good.read(fact.object)
        if good is None:
            unknown.append(relation)
            continue
        try:
            now = await warehouse.profile(relation)
        except PermanentError as error:
            reasons.append(f"{relation} cannot be measured: {error.message}")
            continue
        problems = broken(good, now, int(plan.gone.get(str(asset), 0)))
        measured[relation] = {"rows": now.rows, "rows_good": good.rows, "broken": problems}
        reasons += [f"{relation}: {p}" for p in problems]
    return Verification(not reasons, {"tables": measured, "unprofiled": unknown}, "; ".join(reasons[:10]))
