"""Knowledge: facts with versions, on branches; and what was learned from remedies.

A fact is a subject, a predicate and an object. It is replaced only where its version is the one that was read, and
every version stays in its history. Reads by key are exact: as of now, of a time, or on a branch. Confidential
objects are sealed before they leave this process (`envelopes.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from config.assets import Asset
from config.errors import ConflictError, UsageError
from memory import forms
from memory.connection.database import Transaction
from memory.records import JSON, Fact, Learning, Payload, Reference, Sensitivity
from memory.vault import envelopes

MAIN = "main"
_FARTHEST = chr(0x10FFFF)  # sorts after everything that begins with the same text
_SIGNALS = ("success", "failure", "pattern", "recommendation")


async def assert_fact(
    tx: Transaction,
    agent: str,
    subject: Asset,
    predicate: str,
    object: JSON,  # noqa: A002 - the word of the record
    *,
    expected: int | None,
    confidence: float = 1.0,
    source: str = "",
    sensitivity: Sensitivity = Sensitivity.INTERNAL,
    branch: str = MAIN,
    evidence: Sequence[Reference] = (),
    reason: str = "",
) -> Fact:
    """Hold something to be true, as the next version of this fact. Saying what is held already changes nothing.

    - expected: the version that was read; 0: it must not be held yet (or be retracted); None: whatever is there.
    - confidence: 0 to 1.
    - source: where it comes from, for humans.

    Raises:
        ConflictError: another version is there; names both.
        PolicyError: the fact, or what it would replace, is above the clearance of the transaction.
        SetupError: it is confidential, and the key to seal it with is missing or wrong.
        UsageError: no subject, a field that cannot be stored, or a branch that is unknown or closed.
    """
    return await _write(
        tx,
        {
            "agent": agent,
            "object": object,
            "confidence": confidence,
            "source": source,
            "sensitivity": sensitivity,
            "evidence": forms.references(evidence),
            "reason": reason,
        },
        subject,
        predicate,
        branch=branch,
        expected=expected,
    )


async def retract(
    tx: Transaction,
    agent: str,
    subject: Asset,
    predicate: str,
    *,
    reason: str,
    expected: int | None = None,
    branch: str = MAIN,
) -> Fact:
    """Hold it no longer: a new version that says so, and why. History stays.

    Raises:
        ConflictError: another version is there.
        UsageError: it is not held, or no reason is given.
    """
    forms.text(reason, "reason", required=True)
    row = await _current(tx, subject, predicate, branch=branch)
    if row is None or row["retracted"]:
        raise UsageError(f"{predicate} of {subject} is not held on {branch}")
    kept = {key: row[key] for key in ("object", "confidence", "source", "evidence")}
    return await _write(
        tx,
        {**kept, "agent": agent, "sensitivity": Sensitivity(row["sensitivity"]), "reason": reason},
        subject,
        predicate,
        branch=branch,
        expected=row["version"] if expected is None else expected,
        retracted=True,
    )


async def restore(tx: Transaction, agent: str, revision: Payload, *, branch: str, expected: int, reason: str) -> Fact:
    """Write an older revision (a row of history) as the next version; for merges and roll-backs."""
    return await _write(
        tx,
        {
            **{key: revision[key] for key in ("object", "confidence", "source", "evidence")},
            "agent": agent,
            "sensitivity": Sensitivity(revision["sensitivity"]),
            "reason": reason,
        },
        Asset.parse(revision["subject"]),
        revision["predicate"],
        branch=branch,
        expected=expected,
        retracted=revision["retracted"],
    )


async def _write(
    tx: Transaction,
    values: dict[str, Any],
    subject: Asset,
    predicate: str,
    *,
    branch: str,
    expected: int | None,
    retracted: bool = False,
) -> Fact:
    forms.text(predicate, "predicate", required=True, longest=500)
    Asset.parse(str(subject))  # one made by hand may name nothing, and its row could not be read again
    if branch != MAIN:
        state = await tx.one("write_on_branch", name=branch)
        if state is None or state["state"] != "open":
            raise UsageError(f"branch {branch!r} is {state['state'] if state else 'unknown'}: fork a new one")
    envelopes.admit(tx, values["sensitivity"])
    said = {
        "object": values["object"],
        "source": forms.text(values["source"], "source"),
        "reason": forms.text(values["reason"], "reason"),
    }
    written = forms.dumped(values["object"], "object")
    open_words, sealed, keyed = None, None, None
    if values["sensitivity"] < Sensitivity.CONFIDENTIAL:
        open_words = forms.words(str(subject), predicate, values["object"], values["source"])
        stored = {**said, "object": written}
    else:
        vault = envelopes.of(tx)
        keyed = await vault.keyed(tx, str(subject), predicate, written, said["source"])
        sealed = vault.seal("fact", [predicate, str(subject)], said)
        stored = {"object": sealed.envelope, "source": "", "reason": ""}
    row = await tx.one(
        "write_fact",
        branch=branch,
        subject=subject,
        whole=str(subject.whole),
        predicate=predicate,
        **stored,
        keyed=keyed,
        agent=values["agent"],
        confidence=forms.share(values["confidence"], "confidence"),
        sensitivity=int(values["sensitivity"]),
        evidence=forms.dumped(values["evidence"], "evidence"),
        retracted=retracted,
        expected=expected,
        text=open_words,
    )
    if row is not None:
        await envelopes.keep(tx, [sealed] if sealed else [])
        tx.hint(hint_for(branch, subject, predicate))
        return read_fact({**row, **said} if sealed else row)
    held = await _current(tx, subject, predicate, branch=branch)
    if held is not None and held["retracted"] == retracted and expected in (None, held["version"]):
        return read_fact(held)  # said again: nothing to write
    found = await tx.one("version_of_fact", branch=branch, subject=subject, predicate=predicate)
    version = found["version"] if found else 0
    raise ConflictError(f"{predicate} of {subject} on {branch} has version {version}, not {expected}")


def hint_for(branch: str, subject: Asset, predicate: str) -> str:
    """The hint that a fact has another version: a digest, for a name may be longer than a hint."""
    return f"fact:{forms.digest(branch, str(subject), predicate)[:32]}"


async def _current(
    tx: Transaction, subject: Asset, predicate: str, *, branch: str, at: datetime | None = None
) -> dict[str, Any] | None:
    if branch == MAIN and at is None:
        row = await tx.one("fact", subject=subject, predicate=predicate)
    else:
        row = await tx.one("belief", branch=branch, at=at, subject=subject, predicate=predicate)
    return None if row is None else (await envelopes.opened(tx, "fact", [row]))[0]


async def fact(
    tx: Transaction, subject: Asset, predicate: str, *, branch: str = MAIN, at: datetime | None = None
) -> Fact | None:
    """What is held to be true, or was held at a time; None where nothing is, or nothing the reader may see."""
    row = await _current(tx, subject, predicate, branch=branch, at=at)
    return read_fact(row) if row is not None and not row["retracted"] else None


async def facts(
    tx: Transaction,
    *,
    subject: Asset | str | None = None,
    predicate: str | None = None,
    branch: str = MAIN,
    at: datetime | None = None,
    limit: int = 500,
) -> list[Fact]:
    """Facts held now, or at a time, by subject and predicate.

    - subject: an asset with its parts, or a shell pattern over references.
    """
    wanted = {"subjects": forms.covering(subject), "predicate": predicate, "limit": limit}
    if branch == MAIN and at is None:
        first = forms.beginning(subject) if isinstance(subject, str) else str(subject or "")
        rows = await tx.all("facts", **wanted, first=first, last=first + _FARTHEST)
    else:
        rows = await tx.all("beliefs", branch=branch, at=at, **wanted)
    return [read_fact(row) for row in await envelopes.opened(tx, "fact", rows)]


async def history(tx: Transaction, subject: Asset, predicate: str, *, branch: str = MAIN) -> list[Fact]:
    """Every version written on a branch that the reader may see, oldest first."""
    rows = await tx.all("fact_history", branch=branch, subject=subject, predicate=predicate)
    return [read_fact(row) for row in await envelopes.opened(tx, "fact", rows)]


async def learn(
    tx: Transaction,
    agent: str,
    *,
    signal: str,
    playbook: str,
    cause: str,
    subject: Asset,
    text: str,
    circumstances: Payload,
    sensitivity: Sensitivity = Sensitivity.INTERNAL,
) -> int:
    """Remember what worked or failed; its id.

    - signal: success | failure | pattern | recommendation. The first two make the success rates.

    Raises:
        UsageError: another signal, or a field that cannot be stored.
    """
    if signal not in _SIGNALS:
        raise UsageError(f"not a signal: {signal!r}", hint=f"one of {', '.join(_SIGNALS)}")
    envelopes.admit(tx, sensitivity)
    Asset.parse(str(subject))
    said = {"text": forms.text(text, "text"), "circumstances": circumstances}
    stored = {**said, "circumstances": forms.dumped(circumstances, "circumstances")}
    words: str | None = forms.words(signal, playbook, cause, str(subject), text, circumstances)
    sealed = None
    if sensitivity is Sensitivity.CONFIDENTIAL:
        vault = envelopes.of(tx)
        await vault.hash_key(tx)  # a wrong key is noticed here, before anything is sealed with it
        sealed = vault.seal("learning", [signal, str(subject)], said)
        stored, words = {"text": "", "circumstances": sealed.envelope}, None
    row = await tx.one(
        "learn",
        agent=agent,
        signal=signal,
        playbook=forms.text(playbook, "playbook"),
        cause=forms.text(cause, "cause"),
        subject=subject,
        whole=str(subject.whole),
        **stored,
        sensitivity=int(sensitivity),
        words=words,
    )
    await envelopes.keep(tx, [sealed] if sealed else [])
    assert row is not None  # noqa: S101 - INSERT … RETURNING without a condition has one row
    return int(row["id"])


async def learnings(
    tx: Transaction,
    *,
    playbook: str | None = None,
    cause: str | None = None,
    signal: str | None = None,
    subject: Asset | str | None = None,
    limit: int = 200,
) -> list[Learning]:
    """Learnings, newest first."""
    rows = await tx.all(
        "learnings",
        playbook=playbook,
        cause=cause,
        signal=signal,
        subjects=forms.covering(subject),
        limit=limit,
    )
    return [_read_learning(row) for row in await envelopes.opened(tx, "learning", rows)]


def _read_learning(row: Payload) -> Learning:
    kept = {key: value for key, value in row.items() if key != "sensitivity"}
    return Learning(**{**kept, "subject": Asset.parse(row["subject"])})


async def success_rate(tx: Transaction, playbook: str, cause: str) -> tuple[int, int]:
    """How often a remedy worked for a cause class: successes, tries."""
    row = await tx.one("success_rate", playbook=playbook, cause=cause) or {"successes": 0, "tries": 0}
    return int(row["successes"]), int(row["tries"])


def read_fact(row: Payload) -> Fact:
    """A fact from its row, or from a row of its history."""
    return Fact(
        subject=Asset.parse(row["subject"]),
        predicate=row["predicate"],
        object=row["object"],
        version=row["version"],
        agent=row["agent"],
        confidence=row["confidence"],
        sensitivity=Sensitivity(row["sensitivity"]),
        source=row["source"],
        valid_from=row["valid_from"],
        retracted=row["retracted"],
        evidence=forms.read_references(row["evidence"]),
        reason=row["reason"],
    )
