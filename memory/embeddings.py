"""Embeddings: vectors filled in later by a queue, one partition and index per model. Without a model nothing waits.

This room knows no provider: who has one takes what waits, computes, and stores or fails it. Confidential text never
gets here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from config.errors import UsageError
from memory import forms
from memory.database import Transaction

LEASE_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Waiting:
    """A text that waits for its vector; `attempts` counts this one."""

    document_id: int
    attempts: int
    text: str


@dataclass(frozen=True, slots=True)
class Coverage:
    """How far a model has come. `oldest_pending_seconds` is None when nothing waits."""

    model: str
    embedded: int
    pending: int
    failing: int
    oldest_pending_seconds: float | None


async def add_model(tx: Transaction, model: str, dimensions: int) -> bool:
    """Make room for a model and queue everything known; False when it is there. Indexed up to 4,000 dimensions.

    Raises:
        UsageError: no name, dimensions out of range, or others than it has here: a provider that changed them needs
            another name.
    """
    forms.text(model, "model", required=True, longest=200)
    if not 1 <= dimensions <= 16000:  # noqa: PLR2004 - what a halfvec holds
        raise UsageError(f"an embedding has 1 to 16000 dimensions, not {dimensions}")
    known = {row["name"]: row["dimensions"] for row in await tx.all("embedding_models")}
    if known.get(model, dimensions) != dimensions:
        raise UsageError(f"{model} has {known[model]} dimensions here, not {dimensions}")
    row = await tx.one("add_embedding_model", model=model, dimensions=dimensions)
    return bool(row and row["added"])


async def claim(
    tx: Transaction, model: str, *, limit: int = 100, lease_seconds: float = LEASE_SECONDS
) -> list[Waiting]:
    """Take texts that wait, oldest first; nobody else gets them for `lease_seconds`."""
    rows = await tx.all("claim_embeddings", model=model, limit=limit, lease_seconds=lease_seconds)
    return [Waiting(row["document_id"], row["attempts"], row["text"]) for row in rows]


async def store(tx: Transaction, model: str, claimed: Sequence[Waiting], vectors: Sequence[Sequence[float]]) -> int:
    """Store vectors of claimed texts; how many. A text that changed meanwhile stays queued.

    Raises:
        UsageError: not one vector a text.
        PermanentError: a vector of other dimensions than the model's.
    """
    if len(claimed) != len(vectors):
        raise UsageError(f"{len(vectors)} vectors for {len(claimed)} texts")
    return await tx.run(
        "store_embeddings",
        model=model,
        ids=[waiting.document_id for waiting in claimed],
        texts=[waiting.text for waiting in claimed],
        vectors=[vector_text(vector) for vector in vectors],
    )


async def fail(tx: Transaction, model: str, claimed: Sequence[Waiting], error: str, *, retry_in: float) -> None:
    """Give claimed texts back after a failure; they are due again in `retry_in` seconds."""
    await tx.run(
        "fail_embeddings",
        model=model,
        ids=[waiting.document_id for waiting in claimed],
        error=forms.text(error[:500], "error"),
        seconds=forms.seconds(retry_in, "retry_in"),
    )


async def coverage(tx: Transaction) -> list[Coverage]:
    """How far each model has come."""
    return [Coverage(**row) for row in await tx.all("embedding_coverage")]


def vector_text(vector: Sequence[float]) -> str:
    """A vector as pgvector reads it."""
    return "[" + ",".join(repr(float(figure)) for figure in vector) + "]"
