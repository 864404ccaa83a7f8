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
from memory.board.ledger import THRESHOLD
from memory.connection.database import Database, Transaction
from memory.finding.embeddings import vector_text
from memory.records import Reference, Sensitivity

MAIN = "main"
NOUNS = ("observation", "decision", "fact", "learning", "note", "runbook", "turn")
LONGEST_QUERY = 10_000
MOST = 1000
COUNTED_UP_TO = 10_000
FOLD_AT_ONCE = 20_000
# Found best on a conversational set without tuning per corpus: a small k, words weighing twice a vector, and a look at
# the two neighbours in time of what belongs to a story.
_K = 10.0
_VECTOR_WEIGHT = 0.5
_NEIGHBOUR_WEIGHT = 0.3
_DEEPER = 5  # each arm looks this many times deeper than asked for
_SHALLOWEST = 50
_WILD = "*?["


@dataclass(frozen=True, slots=True)
class Recalled:
    """Something found, and why.

    Attributes:
        reference: the row it is.
        text: its words, the first 20,000 characters; empty where it is confidential.
        score: for ordering within this answer alone.
        words_rank, vector_rank: its place in each arm, from 1; None where that arm did not find it.
        embedded: has it a vector of the model asked with?
        neighbours: what its neighbours in time about the same asset added to the score.
        branch: the line of memory it is from.
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
    neighbours: float = 0.0
    branch: str = MAIN


@dataclass(frozen=True, slots=True)
class Answer:
    """What was found, and how it was looked for.

    Attributes:
        found: best first.
        unsearched: confidential items that passed the filters and that the reader may know of, whose words were not
            searched; counted up to 10,000. 0 without a question: then the filters alone decide.
        model: the model the vectors were of; empty without a vector.
        way: how neighbours were found: `exact`, `approximate`, `unknown model`; `newest` without any question.
        coverage: the share of what was considered that has a vector of that model; None without a vector.
    """

    found: tuple[Recalled, ...]
    unsearched: int
    model: str
    way: str
    coverage: float | None


async def ask(
    tx: Transaction,
    query: str,
    *,
    nouns: Sequence[str] | None = None,
    kinds: Sequence[str] | None = None,
    subject: Asset | str | None = None,
    since: datetime | None = None,
    agents: Sequence[str] | None = None,
    branch: str = MAIN,
    reader: str | None = None,
    threshold: float = THRESHOLD,
    limit: int = 10,
    vector: Sequence[float] | None = None,
    model: str = "",
) -> Answer:
    """What fits a question best, best first; without a question what is newest.

    - query: any words; empty: by the filters alone, which finds confidential items too where the reader may.
    - nouns: of observation, decision, fact, learning, note, runbook, turn.
    - kinds: shell patterns over kinds of observations and decisions, predicates, signals.
    - subject: an asset with its parts, or a shell pattern over references. One that begins with a wildcard is served
      by no index.
    - since: no older than this.
    - agents: written by one of these.
    - branch: main as it stands now, overlaid by what was written on this branch (and on those between).
    - reader: an agent, which sees private observations only where they are its own; None: a human, who sees all.
    - threshold: from this importance on an observation is shared.
    - vector, model: the question's embedding, and of which model.

    Raises:
        UsageError: a question of more than 10,000 characters, or one that holds a NUL; an unknown noun; a branch that
            is unknown or closed; a vector of other dimensions than the model has.
    """
    forms.text(query, "query", longest=LONGEST_QUERY)
    wanted = await _filters(tx, nouns, kinds, subject, since, agents, branch, reader, threshold)
    depth = min(max(1, limit), MOST)
    asked = bool(query.strip()) or vector is not None
    await _check_vector(tx, vector, model)
    rows = await tx.all(
        "recall",
        **wanted,
        query=query,
        vector=None if vector is None else vector_text(vector),
        model=model,
        limit=depth,
        deep=_deep(depth, words=bool(query.strip()), vectors=vector is not None),
    )
    scores = _scores(rows, fused=vector is not None)
    best = sorted(rows, key=lambda row: _place(row, scores))[:depth]
    hidden = 0
    if asked and tx.clearance >= Sensitivity.CONFIDENTIAL:
        hidden = await _hidden(tx, wanted)
    return Answer(
        found=tuple(_recalled(row, *scores[row["id"]]) for row in best),
        unsearched=hidden,
        model=model if vector is not None else "",
        way=rows[0]["way"] if rows else "",
        coverage=sum(row["embedded"] for row in rows) / len(rows) if rows and vector is not None else None,
    )


async def recall(
    tx: Transaction,
    query: str,
    *,
    nouns: Sequence[str] | None = None,
    kinds: Sequence[str] | None = None,
    subject: Asset | str | None = None,
    since: datetime | None = None,
    agents: Sequence[str] | None = None,
    branch: str = MAIN,
    reader: str | None = None,
    threshold: float = THRESHOLD,
    limit: int = 10,
    vector: Sequence[float] | None = None,
    model: str = "",
) -> list[Recalled]:
    """What `ask` finds, by itself.

    Raises:
        UsageError: as `ask`.
    """
    answer = await ask(
        tx,
        query,
        nouns=nouns,
        kinds=kinds,
        subject=subject,
        since=since,
        agents=agents,
        branch=branch,
        reader=reader,
        threshold=threshold,
        limit=limit,
        vector=vector,
        model=model,
    )
    return list(answer.found)


def _deep(depth: int, *, words: bool, vectors: bool) -> int:
    """How many each arm gives: more than asked for where ranks are fused, or an approximate order is put right."""
    if words:
        return max(depth * _DEEPER, _SHALLOWEST)
    return depth + max(depth // 5, 2) if vectors else depth


def _scores(rows: Sequence[Mapping[str, Any]], *, fused: bool) -> dict[int, tuple[float, float]]:
    """Score and what neighbours added to it, by document."""
    own = {
        row["id"]: _fused(row["words_rank"], row["vector_rank"], row["embedded"]) if fused else float(row["score"])
        for row in rows
    }
    scores = {}
    for row in rows:
        near = _NEIGHBOUR_WEIGHT * (own.get(row["earlier"], 0.0) + own.get(row["later"], 0.0))
        scores[row["id"]] = (own[row["id"]] + near, near)
    return scores


def _place(row: Mapping[str, Any], scores: Mapping[int, tuple[float, float]]) -> tuple[float, ...]:
    return (-scores[row["id"]][0], row["words_rank"] or MOST * _DEEPER, -row["at"].timestamp(), -row["id"])


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
    branch: str = MAIN,
    reader: str | None = None,
    threshold: float = THRESHOLD,
) -> int:
    """How many confidential items a question with these filters did not search by their words, up to 10,000.

    Counts those the reader may know of; to a reader below confidential they do not exist.
    """
    return await _hidden(tx, await _filters(tx, nouns, kinds, subject, since, agents, branch, reader, threshold))


async def _hidden(tx: Transaction, wanted: Mapping[str, Any]) -> int:
    row = await tx.one("unsearched", **wanted, most=COUNTED_UP_TO)
    return int(row["number"]) if row else 0


async def forget(tx: Transaction, nouns: Sequence[str], before: datetime) -> int:
    """Take what is older out of the index, after its rows were dropped by retention; how many."""
    allowed = {"observation", "decision"}
    if not set(nouns) <= allowed:
        raise UsageError(f"only {' and '.join(sorted(allowed))} are dropped by retention")
    return await tx.run("forget_documents", nouns=list(nouns), before=before)


async def fold(db: Database, *, most: int = FOLD_AT_ONCE) -> int:
    """Count the words of what was written since the last time; how many documents. Any replica may, at any time.

    Until then frequencies of words lag behind by those documents: ranks shift a little, nothing is missed.
    """
    total = 0
    while True:
        async with db.transaction() as tx:
            row = await tx.one("fold_lexemes", most=most)
        folded = int(row["folded"]) if row else 0
        total += folded
        if folded < most:
            return total


async def _filters(
    tx: Transaction,
    nouns: Sequence[str] | None,
    kinds: Sequence[str] | None,
    subject: Asset | str | None,
    since: datetime | None,
    agents: Sequence[str] | None,
    branch: str,
    reader: str | None,
    threshold: float,
) -> dict[str, Any]:
    for name, values in (("nouns", nouns), ("kinds", kinds), ("agents", agents)):
        for value in values or ():
            forms.text(value, name, longest=1000)
    forms.text(reader or "", "reader", longest=1000)
    if nouns is not None and not set(nouns) <= set(NOUNS):
        raise UsageError(f"not a noun: {min(set(nouns) - set(NOUNS))!r}", hint=f"one of {', '.join(NOUNS)}")
    if branch != MAIN:
        line = await tx.one("line_of_memory", branch=forms.text(branch, "branch", longest=1000))
        if line is None:
            raise UsageError(f"no branch {branch!r}")
        if line["state"] != "open":
            raise UsageError(
                f"branch {branch!r} is {line['state']}: it is not searched any more",
                hint="ask what it was grown from; its facts are still read by subject and predicate",
            )
    patterns = None if kinds is None or "*" in kinds else list(kinds)
    literal = patterns is not None and not any(wild in pattern for pattern in patterns for wild in _WILD)
    is_pattern = isinstance(subject, str) or (subject is not None and bool(subject.part))
    return {
        "nouns": None if nouns is None else list(nouns),
        "kinds": None if patterns is None else forms.regex(patterns),
        "kind_list": patterns if literal else None,
        "kind_from": _beginning(patterns[0]) if patterns and len(patterns) == 1 else "",
        "whole": str(subject.whole) if isinstance(subject, Asset) else None,
        "subjects": forms.covering(subject) if is_pattern else None,
        "whole_from": _beginning(str(subject)).partition("#")[0].rstrip("/") if is_pattern else "",
        "since": since,
        "agents": None if agents is None else list(agents),
        "branch": branch,
        "reader": reader,
        "threshold": threshold,
    }


def _beginning(pattern: str) -> str:
    """What everything that matches a shell pattern begins with."""
    return pattern[: min((pattern.find(wild) for wild in _WILD if wild in pattern), default=len(pattern))]


async def _check_vector(tx: Transaction, vector: Sequence[float] | None, model: str) -> None:
    if vector is None:
        return
    known: dict[str, int] = tx.database.remembered.setdefault("embedding dimensions", {})
    if known.get(model) != len(vector):
        known.clear()
        known.update({row["name"]: row["dimensions"] for row in await tx.all("embedding_models")})
    if known.get(model, len(vector)) != len(vector):
        raise UsageError(f"{model} has {known[model]} dimensions here, not {len(vector)}")


def _recalled(row: Mapping[str, Any], score: float, near: float) -> Recalled:
    return Recalled(
        reference=Reference(row["noun"], row["ref"]),
        at=row["at"],
        agent=row["agent"],
        kind=row["kind"],
        subject=Asset.parse(row["subject"]),
        sensitivity=Sensitivity(row["sensitivity"]),
        text=row["text"],
        score=score,
        words_rank=row["words_rank"] if row["way"] != "newest" else None,
        vector_rank=row["vector_rank"],
        embedded=row["embedded"],
        neighbours=near,
        branch=row["branch"],
    )
