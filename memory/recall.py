"""Recall: what any agent saw, decided, believes or learned, found again by every agent that may know it.

Words by BM25 over stems and parts of identifiers; where a vector of the question is given, fused with what is nearest
to it. Confidential items are found by subject, kind, agent and time alone: their words are nowhere but in their row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from config.assets import Asset
from config.errors import UsageError
from memory import forms
from memory.database import Transaction
from memory.embeddings import vector_text
from memory.records import Reference, Sensitivity

LONGEST_QUERY = 10_000
MOST = 1000
# Found best on a conversational set without tuning per corpus: a small k, and words weighing twice a vector.
_K = 10.0
_VECTOR_WEIGHT = 0.5
_DEEPER = 5  # each arm looks this many times deeper than asked for


@dataclass(frozen=True, slots=True)
class Recalled:
    """Something found, and why.

    Attributes:
        reference: the row it is.
        text: its words; empty where it is confidential.
        score: for ordering within this answer alone.
        words_rank, vector_rank: its place in each arm, from 1; None where that arm did not find it.
        embedded: has it a vector of the model asked with?
    """

    reference: Reference
    at: datetime
    agent: str
    kind: str
    subject: Asset
    sensitivity: Sensitivity
    text: str
    score: float
    words_rank: int | None
    vector_rank: int | None
    embedded: bool


async def recall(
    tx: Transaction,
    query: str,
    *,
    nouns: Sequence[str] | None = None,
    kinds: Sequence[str] | None = None,
    subject: Asset | str | None = None,
    since: datetime | None = None,
    agents: Sequence[str] | None = None,
    limit: int = 10,
    vector: Sequence[float] | None = None,
    model: str = "",
) -> list[Recalled]:
    """What fits a question best, best first; without a question what is newest.

    - query: any words; empty: by the filters alone, which finds confidential items too where the reader may.
    - nouns: of observation, decision, fact, learning.
    - kinds: shell patterns over kinds of observations and decisions, predicates, signals.
    - subject: an asset with its parts, or a shell pattern over references.
    - since: no older than this.
    - agents: written by one of these.
    - vector, model: the question's embedding, and of which model.

    Raises:
        UsageError: a question of more than 10,000 characters, or one that holds a NUL.
    """
    forms.text(query, "query", longest=LONGEST_QUERY)
    wanted = _filters(nouns, kinds, subject, since, agents)
    depth = min(max(1, limit), MOST)
    if not query.strip() and vector is None:
        rows = await tx.all("recall_latest", **wanted, limit=depth)
        return await _described(tx, {row["document_id"]: 0.0 for row in rows}, {}, {}, model)
    by_words = await tx.all("recall_words", query=query, **wanted, limit=depth * _DEEPER)
    words = {row["document_id"]: place for place, row in enumerate(by_words, 1)}
    if vector is None:
        best = {row["document_id"]: row["score"] for row in by_words[:depth]}
        return await _described(tx, best, words, {}, model)
    by_vector = await tx.all("recall_nearest", vector=vector_text(vector), model=model, **wanted, limit=depth * _DEEPER)
    nearest = {row["document_id"]: place for place, row in enumerate(by_vector, 1)}
    embedded = {
        row["id"]: row["embedded"]
        for row in await tx.all("documents", ids=[*words.keys() | nearest.keys()], model=model)
    }
    fused = {document: _fused(words.get(document), nearest.get(document), has) for document, has in embedded.items()}
    best = dict(sorted(fused.items(), key=lambda item: (-item[1], item[0]))[:depth])
    return await _described(tx, best, words, nearest, model)


def _fused(words: int | None, nearest: int | None, embedded: bool) -> float:
    """Reciprocal ranks. What has no vector yet gets the rank its words earned: it must not lose for being new."""
    imputed = words if nearest is None and not embedded else nearest
    return (1 / (_K + words) if words else 0.0) + (_VECTOR_WEIGHT / (_K + imputed) if imputed else 0.0)


async def unsearched(
    tx: Transaction,
    *,
    nouns: Sequence[str] | None = None,
    kinds: Sequence[str] | None = None,
    subject: Asset | str | None = None,
    since: datetime | None = None,
    agents: Sequence[str] | None = None,
) -> int:
    """How many confidential items a question with these filters did not search by their words.

    Counts those the reader may know of; to a reader below confidential they do not exist.
    """
    row = await tx.one("unsearched", **_filters(nouns, kinds, subject, since, agents))
    return int(row["number"]) if row else 0


async def forget(tx: Transaction, nouns: Sequence[str], before: datetime) -> int:
    """Take what is older out of the index, after its rows were dropped by retention; how many."""
    allowed = {"observation", "decision"}
    if not set(nouns) <= allowed:
        raise UsageError(f"only {' and '.join(sorted(allowed))} are dropped by retention")
    return await tx.run("forget_documents", nouns=list(nouns), before=before)


def _filters(
    nouns: Sequence[str] | None,
    kinds: Sequence[str] | None,
    subject: Asset | str | None,
    since: datetime | None,
    agents: Sequence[str] | None,
) -> dict[str, Any]:
    return {
        "nouns": None if nouns is None else list(nouns),
        "kinds": None if kinds is None else forms.regex(kinds),
        "whole": str(subject.whole) if isinstance(subject, Asset) else None,
        "subjects": forms.covering(subject) if isinstance(subject, str) or (subject and subject.part) else None,
        "since": since,
        "agents": None if agents is None else list(agents),
    }


async def _described(
    tx: Transaction,
    best: Mapping[int, float],
    words: Mapping[int, int],
    nearest: Mapping[int, int],
    model: str,
) -> list[Recalled]:
    rows = {row["id"]: row for row in await tx.all("documents", ids=list(best), model=model)}
    return [
        Recalled(
            reference=Reference(row["noun"], row["ref"]),
            at=row["at"],
            agent=row["agent"],
            kind=row["kind"],
            subject=Asset.parse(row["subject"]),
            sensitivity=Sensitivity(row["sensitivity"]),
            text=row["text"],
            score=score,
            words_rank=words.get(document),
            vector_rank=nearest.get(document),
            embedded=row["embedded"],
        )
        for document, score in best.items()
        for row in [rows.get(document)]
        if row is not None
    ]
