"""Embeddings: vectors filled in later by a queue, one partition and index per model. Without a model nothing waits.

This room knows no provider: who has one takes what waits, computes, and stores or fails it. Confidential text never
gets here.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from config.errors import UsageError
from memory import forms
from memory.connection.database import Transaction

LEASE_SECONDS = 120.0
INDEXED_UP_TO = 4_000  # dimensions; vectors of more are compared one by one
COUNTED_UP_TO = 100_000  # pending texts are counted no further: a metric must stay cheap


@dataclass(frozen=True, slots=True)
class Waiting:
    """A text that waits for its vector; `attempts` counts this one."""

    document_id: int
    attempts: int
    text: str


@dataclass(frozen=True, slots=True)
class Model:
    """A model whose vectors are kept; `state` is serving (at most one) or filling."""

    name: str
    dimensions: int
    state: str

    @property
    def is_indexed(self) -> bool:
        """Has it a graph of neighbours? Else every question compares all vectors that its filters leave."""
        return self.dimensions <= INDEXED_UP_TO


@dataclass(frozen=True, slots=True)
class Coverage:
    """How far a model has come. `oldest_pending_seconds` is None when nothing waits.

    `embedded` is the server's estimate above 100,000, and `pending` and `failing` are counted up to that.
    """

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
        raise UsageError(
            f"{model} has {known[model]} dimensions here, not {dimensions}",
            hint=f"set embedding.dimensions to {dimensions}: its vectors are then kept apart, as {model}@{dimensions}",
        )
    row = await tx.one("add_embedding_model", model=model, dimensions=dimensions)
    return bool(row and row["added"])


async def models(tx: Transaction) -> dict[str, Model]:
    """The models there are, by name."""
    return {row["name"]: Model(**row) for row in await tx.all("embedding_models")}


async def settle(tx: Transaction, model: str, share: float) -> bool:
    """Let a model serve once it has embedded this share of all texts; True where it begins to now.

    The models before it go, with their vectors.
    """
    wanted = forms.share(share, "share")
    row = await tx.one("embedding_share", model=model)
    if row is None or row["state"] == "serving" or row["share"] < wanted:
        return False
    served = await tx.one("serve_embedding_model", model=model)
    return bool(served and served["began"])


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
    return [Coverage(**row) for row in await tx.all("embedding_coverage", most=COUNTED_UP_TO)]


def halves(vector: Sequence[float]) -> bytes:
    """A vector as pgvector sends halfvecs: ten times as quick as text, but the driver must not call it bytea.

    Raises:
        UsageError: a figure beyond what half a float holds.
    """
    try:
        return struct.pack(f">HH{len(vector)}e", len(vector), 0, *vector)
    except (OverflowError, struct.error) as error:
        raise UsageError(f"no vector of halves: {error}") from None


def vector_text(vector: Sequence[float]) -> str:
    """A vector as pgvector reads it."""
    return "[" + ",".join(repr(float(figure)) for figure in vector) + "]"
