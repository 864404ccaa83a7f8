"""Recall: what any agent saw, decided, believes or learned, found again by every agent that may know it.

Words by BM25 over stems and parts of identifiers; where a vector of the question is given, fused with what is nearest
to it. Confidential items are found by subject, kind, agent and time alone: their words are nowhere but in their row.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple, TypedDict, Unpack

from config.assets import Asset
from config.errors import UsageError
from memory import forms
from memory.board.ledger import THRESHOLD
from memory.connection.database import Database, Row, Transaction
from memory.finding.embeddings import halves, vector_text
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
_IN_A_STORY = ("observation", "decision", "turn")
_NEVER = datetime.min.replace(tzinfo=UTC)
_REMEMBERED = 1000  # combinations of filters whose plan is remembered; a process asks by a handful


class Recalled(NamedTuple):
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


class Filters(TypedDict, total=False):
    """What narrows a question, and how it is asked; as `ask` explains."""

    nouns: Sequence[str] | None
    kinds: Sequence[str] | None
    subject: Asset | str | None
    since: datetime | None
    agents: Sequence[str] | None
    branch: str
    reader: str | None
    threshold: float


class Wanted(Filters, total=False):
    """What narrows a question, and how much is wanted."""

    limit: int


class Question(Wanted, total=False):
    """What narrows a question, how much is wanted, and its vector."""

    vector: Sequence[float] | None
    model: str


class _Line(NamedTuple):
    """A row of the statement `recall`, in its order."""

    id: int
    noun: str
    ref: int
    at: datetime
    agent: str
    kind: str
    subject: str
    sensitivity: int
    text: str
    branch: str
    score: float
    words_rank: int | None
    vector_rank: int | None
    embedded: bool
    earlier: int | None
    later: int | None
    way: str
    plan: int
    planned_at: datetime


@dataclass(frozen=True, slots=True)
class _Door:
    """A way to the rows: within somebody's transaction, or each statement in one round trip of its own.

    Attributes:
        rows: runs a named statement.
        vector: what a vector is sent as.
        remembered: what is kept for this database between questions.
    """

    rows: Callable[..., Awaitable[list[Row]]]
    vector: Callable[[Sequence[float]], str | bytes]
    clearance: Sensitivity
    remembered: dict[str, Any]


async def ask(tx: Transaction, query: str, **question: Unpack[Question]) -> Answer:
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
    - limit: at most so many, ten by default.
    - vector, model: the question's embedding, and of which model.

    Raises:
        UsageError: a question of more than 10,000 characters, or one that holds a NUL; an unknown noun; a branch that
            is unknown or closed; a vector of other dimensions than the model has.
    """
    return await _answer(_Door(tx.rows, vector_text, tx.clearance, tx.database.remembered), query, question)


async def recall(tx: Transaction, query: str, **question: Unpack[Question]) -> list[Recalled]:
    """What `ask` finds, by itself.

    Raises:
        UsageError: as `ask`.
    """
    return list((await ask(tx, query, **question)).found)


async def search(
    db: Database, query: str, *, clearance: Sensitivity = Sensitivity.INTERNAL, **question: Unpack[Question]
) -> Answer:
    """What `ask` finds, in one round trip and a transaction of its own: three times as quick for a small answer.

    Raises:
        UsageError: as `ask`.
    """

    async def rows(name: str, **parameters: Any) -> list[Row]:
        return await db.once(name, parameters, clearance=clearance)

    return await _answer(_Door(rows, halves, clearance, db.remembered), query, question)


async def _answer(door: _Door, query: str, question: Question) -> Answer:
    forms.text(query, "query", longest=LONGEST_QUERY)
    vector, model = question.get("vector"), question.get("model", "")
    wanted = await _filters(door, question)
    depth = min(max(1, question.get("limit", 10)), MOST)
    is_worded = bool(query.strip())
    await _check_vector(door, vector, model)
    asked = {"query": query, "vector": None if vector is None else door.vector(vector), "model": model, "limit": depth}
    asked["deep"] = _deep(depth, words=is_worded, vectors=vector is not None)
    lines = [] if is_worded or vector is None else await _nearest(door, wanted, asked)
    if not lines:
        lines = await _planned(door, wanted, asked, is_worded=is_worded)
    scores = _scores(lines, fused=vector is not None)
    best = sorted(lines, key=lambda line: _place(line, scores))[:depth]
    hidden = 0
    if (is_worded or vector is not None) and door.clearance >= Sensitivity.CONFIDENTIAL:
        hidden = await _hidden(door, wanted)
    return Answer(
        found=tuple(_recalled(line, *scores[line.id]) for line in best),
        unsearched=hidden,
        model=model if vector is not None else "",
        way=lines[0].way if lines else "",
        coverage=sum(line.embedded for line in lines) / len(lines) if lines and vector is not None else None,
    )


async def _planned(door: _Door, wanted: Mapping[str, Any], asked: Mapping[str, Any], *, is_worded: bool) -> list[_Line]:
    """What the full statement finds, with the plan that served the same filters last."""
    plans: dict[tuple[Any, ...], tuple[int, datetime]] = door.remembered.setdefault("recall plans", {})
    model = asked["model"] if asked["vector"] is not None else None
    filters = _hashed(wanted, is_worded, model)
    chosen, chosen_at = plans.get(filters, (None, None))
    found = await door.rows("recall", **wanted, **asked, chosen=chosen, chosen_at=chosen_at)
    lines = [_Line(*row) for row in found]
    if lines and lines[0].planned_at != chosen_at and wanted["since"] is None:
        if len(plans) >= _REMEMBERED:
            plans.clear()
        plans[filters] = lines[0].plan, lines[0].planned_at
    if lines and not is_worded and lines[0].way == "approximate" and wanted == _ANYTHING:
        _graphs(door).add(asked["model"])
    return lines


async def _nearest(door: _Door, wanted: Mapping[str, Any], asked: Mapping[str, Any]) -> list[_Line]:
    """What is nearest of all there is, where that was found by the graph of the model before; else nothing.

    Needs no plan, and is the question that is asked most.
    """
    graphs = _graphs(door)
    if asked["model"] not in graphs or wanted != _ANYTHING or door.clearance is Sensitivity.PUBLIC:
        return []
    found = await door.rows("recall_nearest", model=asked["model"], vector=asked["vector"], limit=asked["limit"])
    if not found:
        graphs.discard(asked["model"])
    found.sort(key=lambda row: (row[9], row[0]))
    told = Counter(_whole(row[6]) for row in found if row[1] in _IN_A_STORY)
    near: dict[int, Row] = {}
    if any(times > 1 for times in told.values()):
        ids = [row[0] for row in found if row[1] in _IN_A_STORY and told[_whole(row[6])] > 1]
        near = {row[0]: row[1:] for row in await door.rows("neighbours", ids=ids)}
    return [
        _Line._make((*row[:9], MAIN, 0.0, None, place, True, *near.get(row[0], (None, None)), "approximate", 0, _NEVER))
        for place, row in enumerate(found, 1)
    ]


def _whole(subject: str) -> str:
    return subject.partition("#")[0].rstrip("/")  # a part of a source as a whole is written source/#part


def _graphs(door: _Door) -> set[str]:
    """The models whose graph leads where nothing narrows a question."""
    found: set[str] = door.remembered.setdefault("recall graphs", set())
    return found


def _hashed(wanted: Mapping[str, Any], *more: Any) -> tuple[Any, ...]:
    return (*more, *(tuple(value) if isinstance(value, list) else value for value in wanted.values()))


def _deep(depth: int, *, words: bool, vectors: bool) -> int:
    """How many each arm gives: more than asked for where ranks are fused, or an approximate order is put right."""
    if words:
        return max(depth * _DEEPER, _SHALLOWEST)
    return depth + max(depth // 5, 2) if vectors else depth


def _scores(lines: Sequence[_Line], *, fused: bool) -> dict[int, tuple[float, float]]:
    """Score and what neighbours added to it, by document."""
    reached = _reached(lines)
    own = {
        line.id: _fused(line.words_rank, line.vector_rank, line.embedded, reached) if fused else line.score
        for line in lines
    }
    scores = {}
    for line in lines:
        near = _NEIGHBOUR_WEIGHT * (own.get(line.earlier or 0, 0.0) + own.get(line.later or 0, 0.0))
        scores[line.id] = (own[line.id] + near, near)
    return scores


def _place(line: _Line, scores: Mapping[int, tuple[float, float]]) -> tuple[float, ...]:
    return (-scores[line.id][0], line.words_rank or MOST * _DEEPER, -line.at.timestamp(), -line.id)


def _reached(lines: Sequence[_Line]) -> float:
    """The share that has vectors, judged by what words found: what vectors found has one each."""
    embedded = [line.embedded for line in lines if line.words_rank is not None]
    return max(sum(embedded), 1) / len(embedded) if embedded else 1.0


def _fused(words: int | None, nearest: int | None, embedded: bool, reached: float) -> float:
    """Reciprocal ranks. What has no vector yet gets the rank its words earned: it must not lose for being new.

    Nor must it lose to what is first among the few that have one: a rank among a share stands for a later one among
    all. And what has a vector that is not near keeps, of the rank its words earned, as much as has none yet.
    """
    imputed = _VECTOR_WEIGHT / (_K + words) if words else 0.0
    if embedded:
        near = _VECTOR_WEIGHT / (_K + nearest / reached) if nearest else 0.0
        imputed = max(near, (1 - reached) * imputed)
    return (1 / (_K + words) if words else 0.0) + imputed


async def unsearched(tx: Transaction, **filters: Unpack[Filters]) -> int:
    """How many confidential items a question with these filters did not search by their words, up to 10,000.

    Counts those the reader may know of; to a reader below confidential they do not exist.
    """
    door = _Door(tx.rows, vector_text, tx.clearance, tx.database.remembered)
    return await _hidden(door, await _filters(door, filters))


async def _hidden(door: _Door, wanted: Mapping[str, Any]) -> int:
    rows = await door.rows("unsearched", **wanted, most=COUNTED_UP_TO)
    return int(rows[0][0]) if rows else 0


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


async def _filters(door: _Door, given: Filters) -> dict[str, Any]:
    nouns, kinds, agents = given.get("nouns"), given.get("kinds"), given.get("agents")
    subject, branch, reader = given.get("subject"), given.get("branch", MAIN), given.get("reader")
    for name, values in (("nouns", nouns), ("kinds", kinds), ("agents", agents)):
        for value in values or ():
            forms.text(value, name, longest=1000)
    forms.text(reader or "", "reader", longest=1000)
    if nouns is not None and not set(nouns) <= set(NOUNS):
        raise UsageError(f"not a noun: {min(set(nouns) - set(NOUNS))!r}", hint=f"one of {', '.join(NOUNS)}")
    if branch != MAIN:
        lines = await door.rows("line_of_memory", branch=forms.text(branch, "branch", longest=1000))
        if not lines:
            raise UsageError(f"no branch {branch!r}")
        if lines[0][0] != "open":
            raise UsageError(
                f"branch {branch!r} is {lines[0][0]}: it is not searched any more",
                hint="ask what it was grown from; its facts are still read by subject and predicate",
            )
    patterns = None if kinds is None or "*" in kinds else list(kinds)
    literal = patterns is not None and not any(wild in pattern for pattern in patterns for wild in forms.WILD)
    is_pattern = isinstance(subject, str) or (subject is not None and bool(subject.part))
    return {
        "nouns": None if nouns is None else list(nouns),
        "kinds": None if patterns is None else forms.regex(patterns),
        "kind_list": patterns if literal else None,
        "kind_from": forms.beginning(patterns[0]) if patterns and len(patterns) == 1 else "",
        "whole": str(subject.whole) if isinstance(subject, Asset) else None,
        "subjects": forms.covering(subject) if is_pattern else None,
        "whole_from": forms.beginning(str(subject)).partition("#")[0].rstrip("/") if is_pattern else "",
        "since": given.get("since"),
        "agents": None if agents is None else list(agents),
        "branch": branch,
        "reader": reader,
        "threshold": given.get("threshold", THRESHOLD),
    }


_ANYTHING: Mapping[str, Any] = {
    **dict.fromkeys(("nouns", "kinds", "kind_list", "whole", "subjects", "since", "agents", "reader")),
    "kind_from": "", "whole_from": "", "branch": MAIN, "threshold": THRESHOLD,
}  # fmt: skip


async def _check_vector(door: _Door, vector: Sequence[float] | None, model: str) -> None:
    if vector is None:
        return
    known: dict[str, int] = door.remembered.setdefault("embedding dimensions", {})
    if known.get(model) != len(vector):
        known.clear()
        known.update({name: dimensions for name, dimensions, _ in await door.rows("embedding_models")})
    if known.get(model, len(vector)) != len(vector):
        raise UsageError(f"{model} has {known[model]} dimensions here, not {len(vector)}")


def _recalled(line: _Line, score: float, near: float) -> Recalled:
    return Recalled(
        reference=Reference(line.noun, line.ref),
        at=line.at,
        agent=line.agent,
        kind=line.kind,
        subject=Asset.parse(line.subject),
        sensitivity=Sensitivity(line.sensitivity),
        text=line.text,
        score=score,
        words_rank=line.words_rank if line.way != "newest" else None,
        vector_rank=line.vector_rank,
        embedded=line.embedded,
        neighbours=near,
        branch=line.branch,
    )
