"""Asking a model, and holding its answer against the real structure. What it names must exist, or it is refused.

It is shown structure, messages and code, never values. Comments and messages are quoted material: whatever they say,
an answer can only be one of the typed proposals below, and it stays a proposal.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from agents.pipeline_health.failure import Failure
from agents.pipeline_health.sources import pipeline_of, warehouse_of
from agents.playbook import Bench, Proposal
from integrations.base import Project, Table
from memory.records import JSON, Payload

MOST_SURE: Final = 0.9
"""A model's confidence counts for no more than this: rules that see it proven may say more."""
_LONGEST_CODE: Final = 6000
_LONGEST_COMMENT: Final = 300
_MOST_TABLES: Final = 20
_MOST_COLUMNS: Final = 200

_MAPPING: Final = {
    "columns_ambiguous": 'details: {"mapping": {"<old column>": "<new column>", …}}, each new column at most once',
}
_CAUSES: Final = {
    "column_renamed": 'details: {"table", "before", "after"}',
    "table_renamed": 'details: {"before": "schema.table", "after": "schema.table"}',
    "column_retyped": 'details: {"table", "column", "before", "after"}',
    "column_dropped": 'details: {"table", "column"}',
    "table_dropped": 'details: {"table"}',
}


@dataclass(frozen=True, slots=True)
class Proposed:
    """A model's answer after it was held against the structure.

    Attributes:
        cause: empty where there is no acceptable answer.
        payload: what the diagnosis carries, without anything the model made up beside it.
        mapping: old column → new column, for ambiguous columns.
        refused: an answer that does not fit, with the reason, for the record.
    """

    cause: str = ""
    payload: Payload = field(default_factory=dict)
    mapping: Mapping[str, str] = field(default_factory=dict)
    confidence: float = 0.0
    rationale: str = ""
    refused: tuple[Payload, ...] = ()
    transcript: tuple[Payload, ...] = ()


NOTHING: Final = Proposed()


async def mapping(failure: Failure, drift: Payload, bench: Bench) -> Proposed:
    """Ask which of the new columns is which of the old ones."""
    project, tables = await _structure(failure, bench)
    table = tables.get(str(drift.get("now") or drift["table"]))
    added = {c.name: c for c in table.columns if c.name in drift["added"]} if table else {}
    evidence = {
        "table": drift["table"],
        "dropped_columns": list(drift["dropped"]),
        "added_columns": [{"name": c.name, "comment": c.comment[:_LONGEST_COMMENT]} for c in added.values()],
        "type": drift.get("type"),
        **_nodes(failure, project),
    }
    question = (
        f"Columns of {drift['table']} disappeared and others of the same type appeared at once. "
        "Which new column is which old one? Abstain unless names, comments or code tell."
    )
    proposal = await _ask(bench, "ask:mapping", question, evidence, _MAPPING)
    if proposal is None:
        return NOTHING
    pairs = proposal.payload.get("mapping")
    reason = _misfit(pairs, set(drift["dropped"]), set(added))
    if reason or not isinstance(pairs, Mapping):
        return _refused(proposal, reason)
    return Proposed(
        cause="columns_ambiguous",
        mapping={str(k): str(v) for k, v in pairs.items()},
        confidence=min(proposal.confidence, MOST_SURE),
        rationale=proposal.rationale,
        transcript=proposal.transcript,
    )


def _misfit(pairs: Any, dropped: set[str], added: set[str]) -> str:
    """What is wrong with a mapping; empty where it fits."""
    if not isinstance(pairs, Mapping) or not pairs:
        return "it holds no mapping"
    if any(not isinstance(k, str) or not isinstance(v, str) for k, v in pairs.items()):
        return "its mapping is not one of names to names"
    if not set(pairs) <= dropped:
        return "it names old columns that did not disappear"
    if not set(pairs.values()) <= added:
        return "it names new columns that are not there"
    if len(set(pairs.values())) != len(pairs):
        return "it gives one new column to two old ones"
    return ""


async def cause(failure: Failure, bench: Bench) -> Proposed:
    """Ask why nodes fail that no known change explains."""
    project, tables = await _structure(failure, bench)
    upstream = list(dict.fromkeys(p for n in failure.nodes for p in n.upstream))
    schemas = {p.partition(".")[0] for p in upstream}
    shown = [t for p, t in tables.items() if p in upstream or t.schema in schemas][:_MOST_TABLES]
    evidence = {
        "sources_read": upstream,
        "tables_there": {t.path: [{"name": c.name, "type": c.type} for c in t.columns[:_MOST_COLUMNS]] for t in shown},
        **_nodes(failure, project),
    }
    question = "These nodes of a data pipeline fail. What changed in the tables they read?"
    proposal = await _ask(bench, "ask:cause", question, evidence, _CAUSES)
    if proposal is None:
        return NOTHING
    payload, reason = _held_against(proposal, set(upstream), tables)
    if reason:
        return _refused(proposal, reason)
    return Proposed(
        proposal.cause,
        payload,
        confidence=min(proposal.confidence, MOST_SURE),
        rationale=proposal.rationale,
        transcript=proposal.transcript,
    )


def _held_against(proposal: Proposal, upstream: set[str], tables: Mapping[str, Table]) -> tuple[dict[str, JSON], str]:
    """The details a cause class knows, and what is wrong with them; what else the model wrote is dropped."""
    wanted = {
        "column_renamed": ("table", "before", "after"),
        "table_renamed": ("before", "after"),
        "column_retyped": ("table", "column", "before", "after"),
        "column_dropped": ("table", "column"),
        "table_dropped": ("table",),
    }.get(proposal.cause)
    if wanted is None:
        return {}, "it names no cause class that was offered"
    details = {k: proposal.payload.get(k) for k in wanted}
    if any(not isinstance(v, str) or not v for v in details.values()):
        return {}, f"it does not say {', '.join(k for k in wanted if not isinstance(details[k], str))}"
    named = {k: str(v) for k, v in details.items()}
    root = named["before"] if proposal.cause == "table_renamed" else named["table"]
    if root not in upstream:
        return {}, "the failed nodes do not read the table it names"
    table = tables.get(root)
    there = {c.name: c.type for c in table.columns} if table else {}
    checks: Mapping[str, Sequence[tuple[bool, str]]] = {
        "column_renamed": (
            (table is not None, "the table it names is not there"),
            (named.get("before") not in there, "the column it calls renamed is still there"),
            (named.get("after") in there, "the new column it names is not there"),
        ),
        "table_renamed": (
            (table is None, "the table it calls renamed is still there"),
            (named.get("after") in tables, "the new table it names is not there"),
        ),
        "column_retyped": (
            (named.get("column") in there, "the column it names is not there"),
            (there.get(named.get("column", "")) == named.get("after"), "the column is of another type"),
        ),
        "column_dropped": (
            (table is not None, "the table it names is not there"),
            (named.get("column") not in there, "the column it calls dropped is still there"),
        ),
        "table_dropped": ((table is None, "the table it calls dropped is still there"),),
    }
    reason = next((why for holds, why in checks[proposal.cause] if not holds), "")
    result: dict[str, JSON] = dict(named)
    if proposal.cause == "column_retyped":
        result["castable"] = None
    return result, reason


def _refused(proposal: Proposal, reason: str) -> Proposed:
    refused = {"cause": proposal.cause, "origin": "model", "refused": reason}
    return Proposed(refused=(refused,), transcript=proposal.transcript)


async def _structure(failure: Failure, bench: Bench) -> tuple[Project, dict[str, Table]]:
    project = await pipeline_of(bench, failure.name).project()
    catalog = await warehouse_of(bench, project.warehouse).catalog()
    return project, {t.path: t for t in catalog.tables}


def _nodes(failure: Failure, project: Project) -> dict[str, JSON]:
    shown = []
    for node in failure.nodes[:10]:
        known = project.nodes.get(node.id)
        code = known.raw_code[:_LONGEST_CODE] if known else ""
        shown.append({"id": node.id, "kind": node.kind, "message": node.message, "code": code})
    return {"failed_nodes": shown}


async def _ask(bench: Bench, step: str, question: str, evidence: Payload, causes: Mapping[str, str]) -> Proposal | None:
    """Ask once; after a crash the remembered answer is used, so that a model is not paid twice."""
    reasoner = bench.reasoner
    if reasoner is None:
        return None

    async def ask() -> list[Proposal]:
        answer = await reasoner.propose(question, evidence, causes)
        return [] if answer is None else [answer]

    answers = await bench.step(step, ask, list[Proposal])
    return answers[0] if answers else None
