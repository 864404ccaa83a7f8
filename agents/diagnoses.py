"""What a diagnosis says, read with care: another agent, or another version of one, wrote it."""

from __future__ import annotations

from collections.abc import Iterable

from config.assets import Asset
from memory.records import Decision, Severity

_TITLES = {
    "column_renamed": "{before} was renamed to {after} in {table}",
    "table_renamed": "{before} was renamed to {after}",
    "column_retyped": "{column} of {table} changed from {before} to {after}",
    "column_dropped": "{column} was dropped from {table}",
    "table_dropped": "{table} was dropped",
    "columns_ambiguous": "columns of {table} changed, and which became which cannot be told",
    "duplicate_rows": "rows were loaded twice into {table}",
    "null_keys": "rows of {table} have no {column}",
    "transient": "a run failed in passing",
    "unknown": "a run failed, and why is not known",
}


def texts(value: object) -> tuple[str, ...]:
    """A list of texts, whatever else was there left out."""
    if isinstance(value, str) or not isinstance(value, Iterable):
        return ()
    return tuple(dict.fromkeys(v for v in value if isinstance(v, str)))


def pipeline_of(diagnosis: Decision) -> str:
    """The pipeline's configured name; empty where it is not said."""
    return str(diagnosis.payload.get("pipeline") or "")


def run_of(diagnosis: Decision) -> str:
    """The failed run's id; empty where it is not said."""
    return str(diagnosis.payload.get("run") or "")


def nodes_of(diagnosis: Decision) -> tuple[str, ...]:
    """Ids of the nodes that failed."""
    return texts(diagnosis.payload.get("nodes"))


def fingerprint_of(diagnosis: Decision) -> str:
    """What groups symptoms of one root: as the diagnosis says it, else from pipeline and root."""
    if said := diagnosis.payload.get("fingerprint"):
        return str(said)
    nodes = nodes_of(diagnosis)
    is_rootless = diagnosis.cause in ("transient", "unknown") and nodes
    return f"{pipeline_of(diagnosis)}|{nodes[0] if is_rootless else diagnosis.subject.whole}"


def title_of(diagnosis: Decision) -> str:
    """A line for humans."""
    if said := diagnosis.payload.get("title"):
        return str(said)
    known = {k: v for k, v in diagnosis.payload.items() if isinstance(v, str)}
    try:
        return _TITLES[diagnosis.cause].format_map(known)
    except KeyError:
        return f"{diagnosis.cause.replace('_', ' ')}: {diagnosis.subject}"


def severity_of(diagnosis: Decision) -> Severity:
    """How bad; error where it is not said."""
    said = diagnosis.payload.get("severity")
    return Severity(said) if said in set(Severity) else Severity.ERROR


def root_of(diagnosis: Decision) -> Asset:
    """Where to look downstream from: the root, or the first node that failed."""
    nodes = nodes_of(diagnosis)
    if diagnosis.subject.path or not nodes:
        return diagnosis.subject.whole
    return Asset("dbt", pipeline_of(diagnosis), nodes[0])


def are_rivals(one: Decision, other: Decision) -> bool:
    """Do two diagnoses of one run contradict each other so that neither may be acted upon?

    They do where they explain the same failure by different causes and neither has the say: other agents, or the
    same confidence. Not knowing is no rival explanation.
    """
    if one.id == other.id or one.cause == other.cause or "unknown" in (one.cause, other.cause):
        return False
    if pipeline_of(one) != pipeline_of(other) or run_of(one) != run_of(other):
        return False
    is_same_failure = fingerprint_of(one) == fingerprint_of(other) or bool(set(nodes_of(one)) & set(nodes_of(other)))
    return is_same_failure and (one.agent != other.agent or one.confidence == other.confidence)
