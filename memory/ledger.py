"""The ledger: what was seen and what was decided. Append-only; a keyed entry is written once.

Each function publishes its event in the same transaction. Confidential words stay in their row: they are in no
index, no event and no error.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime

from config.assets import Asset
from config.errors import UsageError
from memory import forms
from memory.bus import HINT, publish
from memory.database import Transaction
from memory.keys import check as check_key
from memory.records import (
    Decision,
    DecisionKind,
    NewDecision,
    NewObservation,
    Observation,
    Payload,
    Reference,
    Sensitivity,
    Severity,
)

THRESHOLD = 0.2  # observations of less importance wake nobody
_KIND = re.compile(r"^[a-zA-Z0-9_:-]+(\.[a-zA-Z0-9_:-]+)*$")


async def record(tx: Transaction, agent: str, observations: Sequence[NewObservation]) -> list[int | None]:
    """Record what an agent saw, in one statement; its ids in the order given.

    An entry whose key this agent has used before (also within the batch) is not written again: None stands in its
    place. From an importance of 0.2 on, an event `observation.<kind>` is published.

    Raises:
        UsageError: a field that cannot be stored, named with its place in the batch; nothing was written.
        PolicyError: an entry above the clearance of the transaction.
    """
    found: list[int | None] = [None] * len(observations)
    keys: set[str] = set()
    rows = []
    for place, new in enumerate(observations):
        if new.key is not None and new.key in keys:
            continue
        rows.append((place, *_columns(agent, new, f"observation {place + 1}")))
        keys.update([new.key] if new.key is not None else [])
    if not rows:
        return found
    places, kinds, subjects, wholes, severities, importances, levels, payloads, evidences, hashes, texts, given = zip(
        *rows, strict=True
    )
    stored = await tx.all(
        "observe",
        agent=agent,
        scope=f"observation:{agent}",
        threshold=THRESHOLD,
        kinds=list(kinds),
        subjects=list(subjects),
        wholes=list(wholes),
        severities=list(severities),
        importances=list(importances),
        sensitivities=list(levels),
        payloads=list(payloads),
        evidences=list(evidences),
        hashes=list(hashes),
        texts=list(texts),
        keys=list(given),
    )
    for row in stored:
        found[places[row["place"] - 1]] = row["id"]
    if any(observations[places[row["place"] - 1]].importance >= THRESHOLD for row in stored):
        tx.hint(HINT)
    return found


def _columns(agent: str, new: NewObservation, which: str) -> tuple[str | float | int | None, ...]:
    if not _KIND.match(new.kind):
        raise UsageError(f"{which}: not a kind: {new.kind[:80]!r}", hint="write words joined by dots and dashes")
    if new.key is not None:
        check_key(new.key, f"{which}: key")
    subject = forms.text(str(new.subject), f"{which}: subject")
    payload = forms.dumped(new.payload, f"{which}: payload")
    evidence = forms.dumped(forms.references(new.evidence), f"{which}: evidence")
    open_words = forms.words(new.kind, subject, new.payload) if new.sensitivity < Sensitivity.CONFIDENTIAL else None
    return (
        new.kind,
        subject,
        str(new.subject.whole),
        new.severity.value,
        forms.share(new.importance, f"{which}: importance"),
        int(new.sensitivity),
        payload,
        evidence,
        forms.digest(agent, new.kind, subject, new.severity.value, payload, evidence),
        open_words,
        new.key,
    )


async def decide(tx: Transaction, agent: str, decision: NewDecision) -> int | None:
    """Record a choice and publish `decision.<kind>`; its id, or None when this agent has used the key before.

    With `supersedes` the older decision is no longer held. Where two supersede the same one, both stand; the first
    is named as its successor.

    Raises:
        UsageError: a field that cannot be stored.
        PolicyError: above the clearance of the transaction.
    """
    if decision.key is not None:
        check_key(decision.key)
    subject = str(decision.subject)
    rationale = forms.text(decision.rationale, "rationale")
    payload = forms.dumped(decision.payload, "payload")
    evidence = forms.dumped(forms.references(decision.evidence), "evidence")
    alternatives = forms.dumped(decision.alternatives, "alternatives")
    transcript = forms.dumped(decision.transcript, "transcript")
    said = (decision.kind.value, subject, rationale, decision.cause, payload, evidence, alternatives, transcript)
    is_open = decision.sensitivity < Sensitivity.CONFIDENTIAL
    row = await tx.one(
        "decide",
        agent=agent,
        scope=f"decision:{agent}",
        key=decision.key,
        kind=decision.kind.value,
        subject=subject,
        whole=str(decision.subject.whole),
        rationale=rationale,
        cause=forms.text(decision.cause, "cause"),
        confidence=forms.share(decision.confidence, "confidence"),
        payload=payload,
        evidence=evidence,
        alternatives=alternatives,
        transcript=transcript,
        incident_id=decision.incident_id,
        supersedes=decision.supersedes,
        sensitivity=int(decision.sensitivity),
        content_hash=forms.digest(agent, *said),
        text=forms.words(decision.kind.value, decision.cause, subject, rationale, decision.payload)
        if is_open
        else None,
    )
    if row is None:
        return None
    number: int = row["id"]
    await publish(tx, f"decision.{decision.kind.value}", decision.subject, Reference("decision", number))
    return number


async def observation(tx: Transaction, id: int) -> Observation | None:  # noqa: A002 - the column's name
    """One observation, or None: dropped by retention, above the clearance, or never there."""
    row = await tx.one("observation", id=id)
    return _observation(row) if row else None


async def observations(
    tx: Transaction,
    *,
    kinds: Sequence[str] = ("*",),
    subjects: Sequence[Asset] | None = None,
    since: datetime | None = None,
    limit: int = 200,
) -> list[Observation]:
    """Observations, newest first.

    - kinds: shell patterns.
    - subjects: these assets, and the parts of those that are whole.
    - since: no older than this.
    """
    rows = await tx.all(
        "observations",
        kinds=forms.regex(kinds),
        subjects=None if subjects is None else [str(subject) for subject in subjects],
        wholes=None if subjects is None else sorted({str(subject.whole) for subject in subjects}),
        since=since,
        limit=limit,
    )
    return [_observation(row) for row in rows]


async def decision(tx: Transaction, id: int) -> Decision | None:  # noqa: A002 - the column's name
    """One decision, or None: dropped by retention, above the clearance, or never there."""
    row = await tx.one("decision", id=id)
    return _decision(row) if row else None


async def decisions(
    tx: Transaction,
    *,
    kind: str | None = None,
    incident_id: int | None = None,
    subject: Asset | None = None,
    since: datetime | None = None,
    live_only: bool = True,
    limit: int = 200,
) -> list[Decision]:
    """Decisions, newest first; by default those that nothing superseded."""
    rows = await tx.all(
        "decisions",
        kind=kind,
        incident_id=incident_id,
        subject=None if subject is None else str(subject),
        since=since,
        live_only=live_only,
        limit=limit,
    )
    return [_decision(row) for row in rows]


def _observation(row: Payload) -> Observation:
    return Observation(
        id=row["id"],
        at=row["at"],
        agent=row["agent"],
        kind=row["kind"],
        subject=Asset.parse(row["subject"]),
        severity=Severity(row["severity"]),
        importance=row["importance"],
        sensitivity=Sensitivity(row["sensitivity"]),
        payload=row["payload"],
        evidence=forms.read_references(row["evidence"]),
        content_hash=row["content_hash"],
    )


def _decision(row: Payload) -> Decision:
    return Decision(
        id=row["id"],
        at=row["at"],
        agent=row["agent"],
        kind=DecisionKind(row["kind"]),
        subject=Asset.parse(row["subject"]),
        rationale=row["rationale"],
        cause=row["cause"],
        confidence=row["confidence"],
        payload=row["payload"],
        evidence=forms.read_references(row["evidence"]),
        alternatives=tuple(row["alternatives"]),
        transcript=tuple(row["transcript"]),
        incident_id=row["incident_id"],
        supersedes=row["supersedes"],
        superseded_by=row["superseded_by"],
        sensitivity=Sensitivity(row["sensitivity"]),
    )
