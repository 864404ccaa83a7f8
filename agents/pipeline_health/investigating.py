"""Looking closer at what no known change explains: counting in the warehouse, asking a model where there is one.

An investigation always ends with a diagnosis, if only to say that it cannot tell.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from agents.pipeline_health import proposing
from agents.pipeline_health.counting import Duplicates, Nulls, duplicates, nulls
from agents.pipeline_health.diagnosing import MOST_UNSURE, diagnosis, unknown
from agents.pipeline_health.failure import FailedNode, Failure, parse
from agents.pipeline_health.options import PipelineHealthOptions
from agents.pipeline_health.sources import pipeline_of, warehouse_of
from agents.pipeline_health.tracing import Origin, trace
from agents.playbook import Bench
from agents.verdicts import Diagnose, Verdict
from config.errors import SwarmError
from integrations.base import Project, Table, Warehouse
from memory.records import JSON, Task

_PROVEN = 0.95
_BY_NAME = 0.8


async def investigate(task: Task, bench: Bench, options: PipelineHealthOptions) -> Sequence[Verdict]:
    """Find out why nodes failed: `tests` that found rows, `ambiguous` columns, or what is `unexplained`."""
    pipeline = task.subject
    failure = parse(task.payload["failure"], pipeline, int(task.payload.get("observation", 0)))
    try:
        why = task.payload["why"]
        if why == "tests":
            return await _tests(failure, bench, options)
        if why == "ambiguous":
            return [await _ambiguous(failure, task.payload["drift"], bench)]
        return [await _unexplained(failure, bench)]
    except SwarmError as error:
        if error.retryable and task.attempt < task.max_attempts:
            raise
        return [unknown(failure, f"it could not be looked into: {error.message}")]


# --- tests -------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Cause:
    """What was found on one source table, by the tests that led there."""

    table: str
    findings: list[tuple[FailedNode, Origin, Duplicates | Nulls]] = field(default_factory=list)


async def _tests(failure: Failure, bench: Bench, options: PipelineHealthOptions) -> list[Verdict]:
    project = await pipeline_of(bench, failure.name).project()
    warehouse = warehouse_of(bench, project.warehouse)
    tables = {t.path: t for t in (await warehouse.catalog()).tables}
    causes: dict[str, _Cause] = {}
    unclear: list[tuple[FailedNode, str]] = []
    for node in failure.nodes:
        origin = _origin(node, project, tables, warehouse.kind) if node.test in ("unique", "not_null") else None
        if origin is None:
            unclear.append(
                (
                    node,
                    "it is no test that counting explains"
                    if not node.column
                    else "its column comes from no single source column",
                )
            )
            continue
        found = await _count(node.test, warehouse, tables[origin.relation], origin.column, bench, options)
        doubt = _doubt(found, options)
        if doubt:
            unclear.append((node, f"{origin.relation}.{origin.column}: {doubt}"))
        else:
            causes.setdefault(origin.relation, _Cause(origin.relation)).findings.append((node, origin, found))
    verdicts: list[Verdict] = [_content(failure, cause) for cause in causes.values()]
    if unclear:
        rest = failure.only({n.id for n, _ in unclear})
        verdicts.append(unknown(rest, "; ".join(dict.fromkeys(f"{n.id}: {why}" for n, why in unclear))))
    return verdicts


def _origin(test: FailedNode, project: Project, tables: dict[str, Table], kind: str) -> Origin | None:
    node = project.nodes.get(test.id)
    column = test.column or (node.column if node else "")
    if node is None or not column or not node.depends_on:
        return None
    return trace(project, node.depends_on[0], column, tables, kind)


async def _count(
    test: str, warehouse: Warehouse, table: Table, column: str, bench: Bench, options: PipelineHealthOptions
) -> Duplicates | Nulls:
    if test == "unique":
        return await bench.step(
            f"duplicates:{table.path}:{column}",
            lambda: duplicates(warehouse, table, column, options.load_columns),
            Duplicates,
        )
    return await bench.step(f"nulls:{table.path}:{column}", lambda: nulls(warehouse, table, column), Nulls)


def _doubt(found: Duplicates | Nulls, options: PipelineHealthOptions) -> str:
    """Why the counts do not explain the test; empty where they do."""
    if isinstance(found, Nulls):
        return "" if found.nulls else "the source has no nulls there, so they arise on the way"
    if not found.keys:
        return "the source has no duplicates there, so they arise on the way"
    if not found.is_identical:
        return f"{found.keys} keys occur more than once, in rows that differ ({found.variants} different ones)"
    if found.batch_column and found.batches > options.most_batches:
        return f"the copies are spread over {found.batches} batches, which is no batch loaded twice"
    return ""


def _content(failure: Failure, cause: _Cause) -> Diagnose:
    """One diagnosis a table: the gravest finding speaks, the others stand beside it."""
    told = [_finding(cause.table, origin, found) for _, origin, found in cause.findings]
    told.sort(key=lambda t: t["cause"] != "duplicate_rows")
    first, also = told[0], [t for t in told[1:] if t["cause"] != "duplicate_rows"]
    name = first.pop("cause")
    column = first["key"][0] if name == "duplicate_rows" else first["column"]
    phrase = (
        f"{first['extra']} rows of {cause.table} are there twice, in {first['batches']} batches"
        if name == "duplicate_rows"
        else f"{first['count']} of {first['rows']} rows of {cause.table} have no {column}"
    )
    nodes = [n.id for n, _, _ in cause.findings]
    proven = all(origin.is_proven for _, origin, _ in cause.findings)
    return diagnosis(
        failure,
        cause=name,
        subject=failure.asset(cause.table, column),
        root=failure.asset(cause.table),
        title=phrase,
        rationale=f"{phrase}; counted in the source behind {len(nodes)} failed test{'s' if len(nodes) != 1 else ''}",
        confidence=_PROVEN if proven else _BY_NAME,
        payload={**first, **({"also": also} if also else {})},
        nodes=nodes,
    )


def _finding(table: str, origin: Origin, found: Duplicates | Nulls) -> dict[str, Any]:
    if isinstance(found, Nulls):
        return {
            "cause": "null_keys",
            "table": table,
            "column": origin.column,
            "count": found.nulls,
            "rows": found.rows,
        }
    return {
        "cause": "duplicate_rows",
        "table": table,
        "key": [origin.column],
        "keys": found.keys,
        "extra": found.extra,
        "rows": found.rows,
        "batch_column": found.batch_column or None,
        "batches": found.batches,
        "identical": found.is_identical,
    }


# --- what rules leave open -----------------------------------------------------------------------------------------


async def _ambiguous(failure: Failure, drift: dict[str, JSON], bench: Bench) -> Diagnose:
    """Columns that cannot be told apart: a model may propose which is which; it stays a proposal."""
    observations = [int(o) for o in drift.get("observations", ())]
    payload = {k: v for k, v in drift.items() if k != "observations"}
    root = failure.asset(str(payload["table"]))
    phrase = f"columns of {payload['table']} got other names at once, and which is which cannot be told"
    proposal = await proposing.mapping(failure, payload, bench) if bench.reasoner else proposing.NOTHING
    if proposal.mapping:
        payload["mapping"] = dict(proposal.mapping)
    return diagnosis(
        failure,
        cause="columns_ambiguous",
        subject=root,
        root=root,
        title=phrase,
        rationale=proposal.rationale or phrase,
        confidence=proposal.confidence if proposal.mapping else MOST_UNSURE,
        payload=payload,
        nodes=[n.id for n in failure.nodes],
        evidence=observations,
        alternatives=proposal.refused,
        transcript=proposal.transcript,
        origin="model" if proposal.mapping else "rules",
    )


async def _unexplained(failure: Failure, bench: Bench) -> Diagnose:
    """Nothing known explains it: a model may propose a cause that the structure bears out."""
    why = "no change beneath it is known, and its errors do not tell"
    if bench.reasoner is None:
        return unknown(failure, why)
    proposal = await proposing.cause(failure, bench)
    if not proposal.cause:
        return unknown(failure, why, alternatives=proposal.refused, transcript=proposal.transcript)
    root = failure.asset(str(proposal.payload.get("table") or proposal.payload.get("before") or ""))
    is_rooted = bool(root.path)
    column = str(proposal.payload.get("column") or "")
    if proposal.cause == "column_renamed":
        column = str(proposal.payload["before"])
    nodes = [n.id for n in failure.nodes]
    return diagnosis(
        failure,
        cause=proposal.cause,
        subject=root.column(column) if is_rooted else failure.node_asset(nodes[0]),
        root=root if is_rooted else None,
        title=f"a model proposes {proposal.cause.replace('_', ' ')} as the cause",
        rationale=proposal.rationale,
        confidence=proposal.confidence,
        payload=dict(proposal.payload),
        nodes=nodes,
        transcript=proposal.transcript,
        origin="model",
    )
