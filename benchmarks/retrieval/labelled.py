"""Labelled sets in a simple JSON form, and what is measured on them.

    {"name": "…", "documents": [{"id": "…", "text": "…", "thread": "…"}],
     "queries": [{"text": "…", "relevant": ["id", …]}]}

`thread` is for what belongs to a story, in order (turns of a conversation): it is then found with its neighbours.
Vectors may stand beside the set in `<stem>.vectors.json`, in its order, so that no model is needed to measure: each a
list of figures, or 8 bits a figure in base64.

    {"model": "…", "documents": [[0.1, …], …], "queries": ["base64", …]}
"""

from __future__ import annotations

import base64
import json
import math
import random
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from config.errors import UsageError
from memory.connection.database import Database
from memory.finding import embeddings, recall
from memory.finding.embedders import Embedder

MODEL = "labelled"
_LOAD = """
    INSERT INTO dataswarm.documents (noun, ref, at, agent, kind, subject, whole, sensitivity, text)
    SELECT CASE WHEN thread = '' THEN 'note' ELSE 'turn' END, place, now() + place * interval '1 second', 'bench',
           'note',
           'file://labelled/' || coalesce(nullif(thread, ''), place::text),
           'file://labelled/' || coalesce(nullif(thread, ''), place::text), 1, text
    FROM unnest(%s::text[], %s::text[]) WITH ORDINALITY AS n (text, thread, place)
"""


@dataclass(frozen=True, slots=True)
class Labelled:
    """A set: texts with their threads, and questions with the places of what answers them."""

    name: str
    texts: list[str]
    threads: list[str]
    questions: list[str]
    relevant: list[set[int]]


@dataclass(frozen=True, slots=True)
class Vectors:
    """Vectors of a set, in its order."""

    model: str
    documents: list[list[float]]
    questions: list[list[float]]


@dataclass(frozen=True, slots=True)
class Quality:
    """Means over the questions of a set, 0 to 1."""

    recall_5: float
    recall_10: float
    ndcg_10: float


def read(path: Path) -> Labelled:
    """A set from its file.

    Raises:
        UsageError: it is none, and why.
    """
    try:
        given = json.loads(path.read_text(encoding="utf-8"))
        places = {str(document["id"]): place for place, document in enumerate(given["documents"], 1)}
        found = Labelled(
            str(given.get("name", path.stem)),
            [str(document["text"]) for document in given["documents"]],
            [str(document.get("thread", "")) for document in given["documents"]],
            [str(query["text"]) for query in given["queries"]],
            [{places[str(id_)] for id_ in query["relevant"]} for query in given["queries"]],
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(
            f"{path} is no labelled set: {type(error).__name__} {error}", hint="see benchmarks/retrieval/labelled.py"
        ) from None
    if not found.questions or not all(found.relevant) or len(places) != len(found.texts):
        raise UsageError(f"{path} has no questions, one that nothing answers, or an id given twice")
    return found


def beside(path: Path) -> Path:
    """Where the vectors of a set stand."""
    return path.with_suffix(".vectors.json")


def read_vectors(path: Path) -> Vectors:
    """Vectors from their file.

    Raises:
        UsageError: it cannot be read.
    """
    try:
        given = json.loads(path.read_text(encoding="utf-8"))
        return Vectors(
            str(given["model"]),
            [_figures(one) for one in given["documents"]],
            [_figures(one) for one in given["queries"]],
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{path} holds no vectors: {type(error).__name__}") from None


def _figures(given: str | Sequence[float]) -> list[float]:
    if isinstance(given, str):
        return [figure / 127 for figure in array("b", base64.b64decode(given))]
    return [float(figure) for figure in given]


def write_vectors(path: Path, vectors: Vectors) -> None:
    """Keep vectors, so that the next run needs no model."""
    kept = {
        "model": vectors.model,
        "documents": [[round(figure, 6) for figure in vector] for vector in vectors.documents],
        "queries": [[round(figure, 6) for figure in vector] for vector in vectors.questions],
    }
    path.write_text(json.dumps(kept) + "\n", encoding="utf-8")


async def made(embedder: Embedder, labelled: Labelled) -> Vectors:
    """Vectors of a set by a model.

    Raises:
        TransientError, PermanentError: the model cannot be asked.
    """
    documents: list[list[float]] = []
    for first in range(0, len(labelled.texts), 64):
        documents += await embedder.documents(labelled.texts[first : first + 64])
    return Vectors(embedder.name, documents, [await embedder.question(text) for text in labelled.questions])


async def load(db: Database, owner: Any, labelled: Labelled, vectors: Vectors | None) -> None:
    """Remember a set in an empty database; `owner` is a connection of the owner."""
    if vectors is not None:
        async with db.transaction() as tx:
            await embeddings.add_model(tx, MODEL, len(vectors.documents[0]))
    await owner.execute(_LOAD, [labelled.texts, labelled.threads])
    await recall.fold(db)


async def cover(db: Database, owner: Any, vectors: Vectors, share: float, seed: int) -> None:
    """Give this share of the documents their vectors, chosen by the seed, and take the others' away."""
    await owner.execute("DELETE FROM dataswarm.embeddings")
    await owner.execute(
        "INSERT INTO dataswarm.embedding_queue (model, document_id, queued_at, not_before)"
        " SELECT %s, id, now() - interval '1 day', now() - interval '1 day' FROM dataswarm.documents"
        " ON CONFLICT (model, document_id) DO UPDATE SET not_before = EXCLUDED.not_before",
        [MODEL],
    )
    chosen = set(random.Random(seed).sample(range(len(vectors.documents)), round(share * len(vectors.documents))))
    cursor = await owner.execute("SELECT id, ref FROM dataswarm.documents")
    places = {row[0]: row[1] - 1 for row in await cursor.fetchall()}
    async with db.transaction() as tx:
        waiting = await embeddings.claim(tx, MODEL, limit=len(places))
        taken = [one for one in waiting if places[one.document_id] in chosen]
        await embeddings.store(tx, MODEL, taken, [vectors.documents[places[one.document_id]] for one in taken])


async def measure(db: Database, labelled: Labelled, vectors: Vectors | None = None, *, words: bool = True) -> Quality:
    """Ask every question, by words, by vectors, or by both."""
    found = []
    async with db.transaction() as tx:
        for place, question in enumerate(labelled.questions):
            asked = await recall.recall(
                tx,
                question if words else "",
                vector=None if vectors is None else vectors.questions[place],
                model=MODEL if vectors is not None else "",
            )
            found.append([item.reference.id for item in asked])
    return quality(found, labelled.relevant)


def quality(found: Sequence[Sequence[int]], relevant: Sequence[set[int]]) -> Quality:
    """Recall at 5 and 10, and nDCG at 10 with binary relevance."""

    def recalled(depth: int) -> float:
        return sum(len(true & set(got[:depth])) / len(true) for got, true in zip(found, relevant, strict=True))

    gained = 0.0
    for got, true in zip(found, relevant, strict=True):
        best = sum(1 / math.log2(place + 2) for place in range(min(10, len(true))))
        gained += sum(1 / math.log2(place + 2) for place, number in enumerate(got[:10]) if number in true) / best
    return Quality(recalled(5) / len(found), recalled(10) / len(found), gained / len(found))
