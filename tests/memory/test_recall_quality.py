"""Quality on the labelled set of the repository, with the vectors of a real small model that lie beside it."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest

from benchmarks.retrieval import labelled
from benchmarks.retrieval.running import OWN
from config.errors import UsageError
from memory.connection.database import Database


async def test_vectors_never_cost_what_words_find(db: Database, owner_url: str) -> None:
    """At no coverage is recall@10 below words alone; with all vectors it is above, and each kind of question is met."""
    given, vectors = labelled.read(OWN), labelled.read_vectors(labelled.beside(OWN))
    async with await psycopg.AsyncConnection.connect(owner_url, autocommit=True) as owner:
        await labelled.load(db, owner, given, vectors)
        words = await labelled.measure(db, given)
        found = {}
        for share in (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0):
            await labelled.cover(db, owner, vectors, share, seed=1)
            found[share] = await labelled.measure(db, given, vectors)
    assert words.recall_10 >= 0.92
    assert found[0.0] == words
    assert min(one.recall_10 for one in found.values()) >= words.recall_10
    assert found[1.0].recall_10 >= 0.96
    assert found[1.0].ndcg_10 > words.ndcg_10


def test_a_set_that_is_none_is_refused(tmp_path: Path) -> None:
    """What is wrong is said, with the file."""
    for text in ("", "{}", '{"documents": [], "queries": []}', '{"documents": [{"id": 1, "text": ""}], "queries": 3}'):
        (tmp_path / "set.json").write_text(text)
        with pytest.raises(UsageError, match=r"set\.json"):
            labelled.read(tmp_path / "set.json")


def test_vectors_are_kept_and_read_again(tmp_path: Path) -> None:
    """As lists or in base64; what holds none is named."""
    vectors = labelled.Vectors("tiny", [[0.5, -0.25]], [[1.0, 0.0]])
    kept = labelled.beside(tmp_path / "set.json")
    labelled.write_vectors(kept, vectors)
    assert kept.name == "set.vectors.json"
    assert labelled.read_vectors(kept) == vectors
    kept.write_text('{"model": "tiny", "documents": ["fwA="], "queries": [[1, 0]]}')
    assert labelled.read_vectors(kept).documents == [[1.0, 0.0]]
    for broken in ("", "[]", '{"model": "tiny", "documents": [3], "queries": []}'):
        kept.write_text(broken)
        with pytest.raises(UsageError, match=r"set\.vectors\.json"):
            labelled.read_vectors(kept)


def test_the_measures_are_those_of_the_books() -> None:
    """Recall and nDCG of hand-made answers."""
    found = labelled.quality([[1, 9, 2], [7]], [{1, 2}, {8}])
    assert found.recall_5 == found.recall_10 == 0.5
    assert found.ndcg_10 == pytest.approx((1 + 0.5) / (1 + 1 / 1.5849625) / 2, abs=1e-6)
