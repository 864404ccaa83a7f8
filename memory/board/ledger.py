"""The ledger: what was seen and what was decided. Append-only; a keyed entry is written once.

Each function publishes its event in the same transaction. What is confidential is sealed before it leaves this
process (`envelopes.py`): hashes cover what is sealed, keys that make it recorded once are keyed hashes, and nothing of
it is in an index, an event or an error.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from config.assets import Asset
from config.errors import UsageError
from memory import forms
from memory.board import indexing
from memory.bus import HINT, publish
from memory.connection.database import Transaction
from memory.connection.packing import literal
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
from memory.vault import envelopes

# Observations of less importance wake nobody and stay with the agent that made them; the default of the setting
# `memory.shared_importance`, whose value callers hand in.
THRESHOLD = 0.2
_KIND = re.compile(r"^[a-zA-Z0-9_:-]+(\.[a-zA-Z0-9_:-]+)*$")


async def record(
    tx: Transaction, agent: str, observations: Sequence[NewObservation], *, threshold: float = THRESHOLD
) -> list[int | None]:
    """Record what an agent saw, in one statement; its ids in the order given.

    An entry whose key this agent has used before (also within the batch) is not written again: None stands in its
    place. From an importance of `threshold` on, an event `observation.<kind>` is published.

    Raises:
        UsageError: a field that cannot be stored, named with its place in the batch; nothing was written.
        PolicyError: an entry above the clearance of the transaction.
        SetupError: a confidential entry, and the key to seal it with is missing or wrong.
    """
    found: list[int | None] = [None] * len(observations)
    keys: set[str] = set()
    rows = []
    sealed: dict[int, envelopes.Sealed] = {}
    for place, new in enumerate(observations):
        columns = _columns(agent, new, f"observation {place + 1}")
        key = columns[-1]
        if new.sensitivity is Sensitivity.CONFIDENTIAL:
            key = await _keyed(tx, agent, new.key)
        if key is not None and key in keys:
            continue
        if new.sensitivity is Sensitivity.CONFIDENTIAL:
            about = [new.kind, columns[1]]
            one = sealed[place] = envelopes.of(tx).seal("observation", about, {"payload": new.payload})
            hashed = forms.digest(agent, *about, new.severity.value, one.envelope, columns[7])
            columns = (*columns[:6], one.envelope, columns[7], hashed, None, key)
        rows.append((place, *columns))
        keys.update([key] if key is not None else [])
    if not rows:
        return found
    places, kinds, subjects, wholes, severities, importances, levels, payloads, evidences, hashes, texts, given = zip(
        *rows, strict=True
    )
    stored = await tx.all(
        "observe",
        agent=agent,
        scope=f"observation:{agent}",
        threshold=threshold,
        kinds=literal(kinds),
        subjects=literal(subjects),
        wholes=literal(wholes),
        severities=literal(severities),
        importances=literal([repr(importance) for importance in importances]),
        sensitivities=literal([str(level) for level in levels]),
        payloads=literal(payloads),
        evidences=literal(evidences),
        hashes=literal(hashes),
        texts=literal(texts),
        keys=literal(given),
    )
    for row in stored:
        found[places[row["place"] - 1]] = row["id"]
    indexing.written(tx, len(stored))
    await envelopes.keep(tx, [one for place, one in sealed.items() if found[place] is not None])
    if any(observations[places[row["place"] - 1]].importance >= threshold for row in stored):
        tx.hint(HINT)
    return found


async def _keyed(tx: Transaction, agent: str, key: str | None) -> str | None:
    """The key of something confidential as it is stored. Also where there is none, the ring is tried: a wrong one is
    noticed before anything is sealed with it.
    """  # noqa: D205 - one thought
    envelopes.admit(tx, Sensitivity.CONFIDENTIAL)
    vault = envelopes.of(tx)
    await vault.hash_key(tx)
    return None if key is None else f"keyed:{await vault.keyed(tx, agent, key)}"


def _columns(agent: str, new: NewObservation, which: str) -> tuple[Any, ...]:
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
        str(new.subject.whole) if new.subject.part else subject,
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
        SetupError: it is confidential, and the key to seal it with is missing or wrong.
    """
    if decision.key is not None:
        check_key(decision.key)
    envelopes.admit(tx, decision.sensitivity)
    subject, kind = str(decision.subject), decision.kind.value
    rationale = forms.text(decision.rationale, "rationale")
    stored = {
        "rationale": rationale,
        "payload": forms.dumped(decision.payload, "payload"),
        "alternatives": forms.dumped(decision.alternatives, "alternatives"),
        "transcript": forms.dumped(decision.transcript, "transcript"),
    }
    key, sealed = decision.key, None
    text = forms.words(kind, decision.cause, subject, rationale, decision.payload)
    if decision.sensitivity is Sensitivity.CONFIDENTIAL:
        key = await _keyed(tx, agent, decision.key)
        said = {name: getattr(decision, name) for name in stored}
        sealed = envelopes.of(tx).seal("decision", [kind, subject], said)
        stored, text = {"rationale": "", "payload": sealed.envelope, "alternatives": "[]", "transcript": "[]"}, ""
    evidence = forms.dumped(forms.references(decision.evidence), "evidence")
    row = await tx.one(
        "decide",
        agent=agent,
        scope=f"decision:{agent}",
        key=key,
        kind=kind,
        subject=subject,
        whole=str(decision.subject.whole),
        **stored,
        cause=forms.text(decision.cause, "cause"),
        confidence=forms.share(decision.confidence, "confidence"),
        evidence=evidence,
        incident_id=decision.incident_id,
        supersedes=decision.supersedes,
        sensitivity=int(decision.sensitivity),
        content_hash=forms.digest(agent, kind, subject, decision.cause, evidence, *stored.values()),
        text=text if sealed is None else None,
    )
    if row is None:
        return None
    number: int = row["id"]
    await envelopes.keep(tx, [sealed] if sealed else [])
    await publish(tx, f"decision.{decision.kind.value}", decision.subject, Reference("decision", number))
    return number


async def observation(
    tx: Transaction,
    id: int,  # noqa: A002 - the column's name
    *,
    reader: str | None = None,
    threshold: float = THRESHOLD,
) -> Observation | None:
    """One observation, or None: dropped by retention, above the clearance, private to another, or never there.

    - reader, threshold: as for `observations`.
    """
    row = await tx.one("observation", id=id, reader=reader, threshold=threshold)
    return _observation((await envelopes.opened(tx, "observation", [row]))[0]) if row else None


async def observations(
    tx: Transaction,
    *,
    kinds: Sequence[str] = ("*",),
    subjects: Sequence[Asset] | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    limit: int = 200,
    reader: str | None = None,
    threshold: float = THRESHOLD,
) -> list[Observation]:
    """Observations, newest first.

    - kinds: shell patterns.
    - subjects: these assets, and the parts of those that are whole.
    - since: no older than this.
    - until: no younger than this.
    - reader: an agent, which sees private observations only where they are its own; None: a human, who sees all.
    - threshold: from this importance on an observation is shared.
    """
    rows = await tx.all(
        "observations",
        kinds=forms.regex(kinds),
        subjects=None if subjects is None else [str(subject) for subject in subjects],
        wholes=None if subjects is None else sorted({str(subject.whole) for subject in subjects}),
        since=since,
        until=until,
        limit=limit,
        reader=reader,
        threshold=threshold,
    )
    return [_observation(row) for row in await envelopes.opened(tx, "observation", rows)]


async def decision(tx: Transaction, id: int) -> Decision | None:  # noqa: A002 - the column's name
    """One decision, or None: dropped by retention, above the clearance, or never there."""
    row = await tx.one("decision", id=id)
    return _decision((await envelopes.opened(tx, "decision", [row]))[0]) if row else None


async def decisions(
    tx: Transaction,
    *,
    kind: str | None = None,
    incident_id: int | None = None,
    subject: Asset | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
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
        until=until,
        live_only=live_only,
        limit=limit,
    )
    return [_decision(row) for row in await envelopes.opened(tx, "decision", rows)]


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
