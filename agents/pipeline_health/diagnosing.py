"""Explanations as verdicts: how they are worded, how sure they are, what they replace."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from agents.pipeline_health.drift import Drift
from agents.pipeline_health.explaining import Explained, Root
from agents.pipeline_health.failure import Failure
from agents.verdicts import Diagnose
from config.assets import Asset
from memory.records import JSON, Decision, Payload, Reference

ABSTAIN: Final = 0.2
MOST_UNSURE: Final = 0.3
_SURE: Final = 0.97
_DISPUTED: Final = 0.5


def diagnosis(
    failure: Failure,
    *,
    cause: str,
    subject: Asset,
    root: Asset | None,
    title: str,
    rationale: str,
    confidence: float,
    payload: Payload,
    nodes: Sequence[str],
    evidence: Sequence[int] = (),
    alternatives: Sequence[Payload] = (),
    transcript: Sequence[Payload] = (),
    origin: str = "rules",
) -> Diagnose:
    """A diagnosis in the words all agents share.

    `root` is the table it comes from; None where none is known, and then the first failed node stands for it.
    `nodes` are the ids of the failed nodes it explains; `evidence` holds ids of observations beside the failure's own.
    """
    anchor = str(root) if root is not None else (nodes[0] if nodes else "no artefact")
    observations = dict.fromkeys((*((failure.observation,) if failure.observation else ()), *evidence))
    return Diagnose(
        subject=subject,
        cause=cause,
        fingerprint=f"{failure.name}|{anchor}",
        title=title,
        rationale=rationale,
        confidence=round(confidence, 2),
        payload={**payload, **failure.payload(nodes, origin)},
        evidence=tuple(Reference("observation", o) for o in observations),
        alternatives=tuple(alternatives),
        transcript=tuple(transcript),
        key=f"{failure.run}|{cause}|{subject}",
    )


def of_root(failure: Failure, root: Root) -> Diagnose:
    """A change beneath explains the nodes."""
    drift = root.drift
    confidence = min(_SURE, root.agreement) * drift.confidence
    if root.rivals:
        confidence = min(confidence, _DISPUTED)
    payload: dict[str, JSON] = dict(drift.payload)
    if root.also:
        payload["also"] = [{"cause": d.cause, **d.payload} for d in root.also]
    count = len(root.nodes)
    rationale = (
        f"{title(drift)}; {count} failed node{'s' if count != 1 else ''} of run {failure.run} "
        f"{'are' if count != 1 else 'is'} made from it, and {_agrees(root)}"
    )
    return diagnosis(
        failure,
        cause=drift.cause,
        subject=drift.subject,
        root=drift.subject.whole,
        title=title(drift),
        rationale=rationale,
        confidence=confidence,
        payload=payload,
        nodes=root.nodes,
        evidence=[*drift.observations, *(o for d in root.also for o in d.observations)],
        alternatives=[{"cause": d.cause, "subject": str(d.subject)} for d in root.rivals],
    )


def _agrees(root: Root) -> str:
    if root.agreement >= 1:
        return "the error names what is gone"
    return "the error complains of types" + (", as would others" if root.rivals else "")


def title(drift: Drift) -> str:
    """The change in one phrase."""
    p = drift.payload
    phrases: Mapping[str, str] = {
        "column_renamed": f"{drift.table}.{p.get('before')} is now called {p.get('after')}",
        "table_renamed": f"{drift.table} is now called {p.get('after')}",
        "column_retyped": f"{drift.table}.{p.get('column')} was {p.get('before')} and is {p.get('after')}",
        "column_dropped": f"{drift.table}.{p.get('column')} is gone",
        "table_dropped": f"{drift.table} is gone",
        "columns_ambiguous": f"columns of {drift.table} changed places, and which is which cannot be told",
    }
    return phrases[drift.cause]


def of_transient(failure: Failure, explained: Explained) -> Diagnose:
    """What failed of something that passes by itself."""
    first = explained.transient[0]
    unsettled = explained.unsettled
    rationale = f"{len(explained.transient)} of the failed nodes report {explained.signature.replace('_', ' ')}"
    rationale += "; something changed beneath them as well" if unsettled else ", and nothing changed beneath them"
    return diagnosis(
        failure,
        cause="transient",
        subject=failure.node_asset(first),
        root=None,
        title=f"{first} failed of something that passes: {explained.signature.replace('_', ' ')}",
        rationale=rationale,
        confidence=0.6 if unsettled else 0.9,
        payload={"signature": explained.signature},
        nodes=explained.transient,
        evidence=[o for d in unsettled for o in d.observations],
        alternatives=[{"cause": d.cause, "subject": str(d.subject)} for d in unsettled],
    )


def unknown(
    failure: Failure,
    why: str,
    *,
    details: Payload | None = None,
    evidence: Sequence[int] = (),
    alternatives: Sequence[Payload] = (),
    transcript: Sequence[Payload] = (),
) -> Diagnose:
    """Abstain, with what is known."""
    nodes = [n.id for n in failure.nodes]
    subject = failure.node_asset(nodes[0]) if nodes else failure.pipeline
    return diagnosis(
        failure,
        cause="unknown",
        subject=subject,
        root=None,
        title=f"{nodes[0] if nodes else failure.name} fails, and it cannot be told why",
        rationale=why,
        confidence=ABSTAIN,
        payload={"messages": [n.message for n in failure.nodes][:20], **(details or {})},
        nodes=nodes,
        evidence=evidence,
        alternatives=alternatives,
        transcript=transcript,
    )


def settle(news: Sequence[Diagnose], standing: Sequence[Decision], failure: Failure) -> list[Diagnose]:
    """What is left to say beside the diagnoses of the same run that stand already.

    A better one replaces the older one that shares most nodes with it; what that one covered beyond everything that
    is explained now stays unexplained, and is said to be.
    """
    explained = {n for new in news for n in new.payload["nodes"]}
    replaced: set[int] = set()
    said: list[Diagnose] = []
    for new in news:
        nodes = set(new.payload["nodes"])
        rivals = [d for d in standing if nodes & set(d.payload.get("nodes", ()))]
        if any(d.cause == new.cause and d.subject == new.subject for d in standing):
            continue
        if any(d.confidence >= new.confidence for d in rivals):
            continue
        worse = [d for d in rivals if d.id not in replaced]
        if not worse:
            said.append(new)
            continue
        nearest = min(worse, key=lambda d: (-len(nodes & set(d.payload["nodes"])), d.id))
        replaced.add(nearest.id)
        said.append(replace(new, supersedes=nearest.id))
        left = [n for n in nearest.payload["nodes"] if n not in explained]
        if left:
            said.append(unknown(failure.only(left), "the rest of what was diagnosed together has been explained"))
    return said
