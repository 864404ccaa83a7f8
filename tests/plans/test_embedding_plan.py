"""What the queue of vectors, the neighbours and the files cost does not depend on how much is remembered.

20,000 documents by default; `DATASWARM_PLAN_ROWS=1000000` (`make plans`) is the long form.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from memory.connection.database import Database
from memory.finding import embeddings, recall
from memory.finding.embeddings import vector_text
from memory.server.embedded import EmbeddedServer
from tests import databases
from tests.databases import cloned
from tests.plans.test_recall_plan import COUNT, FILL, blocks

MODEL, DIMENSIONS = "toy", 8
EMBED = """
    INSERT INTO dataswarm.embeddings (model, document_id, at, importance, sensitivity, noun, agent, kind, subject,
                                      whole, branch, embedding)
    SELECT %(model)s, id, at, importance, sensitivity, noun, agent, kind, subject, whole, branch,
           ('[' || (SELECT string_agg((1 + (id * n) %% 97)::text, ',') FROM generate_series(1, 8) n) || ']')::halfvec
    FROM dataswarm.documents WHERE id %% 2 = 0 AND text IS NOT NULL
"""
FILED = """
    INSERT INTO dataswarm.files (source, path, root, hash, sensitivity, at)
    SELECT 'source-' || n %% 100, 'notes/' || n || '.md', '/notes', 'h', 1, now() FROM generate_series(1, %(count)s) n
"""


@pytest.fixture(scope="module")
def half_filled(server: EmbeddedServer, template: str) -> Iterator[str]:
    """A database where every second document has its vector and the others wait; twenty of them failed once."""
    with databases.filled(server, template, fill) as name:
        yield name


async def fill(worker_url: str, owner_url: str) -> None:
    """Write all of it."""
    db = await Database.open(worker_url, application_name="dataswarm/test", pool_size=1)
    with psycopg.connect(owner_url, autocommit=True) as owner:
        owner.execute(FILL.encode(), {"count": COUNT})
        async with db.transaction() as tx:
            await embeddings.add_model(tx, MODEL, DIMENSIONS)
        owner.execute(EMBED.encode(), {"model": MODEL})
        owner.execute("DELETE FROM dataswarm.embedding_queue WHERE document_id % 2 = 0")
        owner.execute("UPDATE dataswarm.embedding_queue SET error = 'away' WHERE document_id < 40")
        owner.execute("VACUUM ANALYZE dataswarm.documents, dataswarm.embeddings, dataswarm.embedding_queue")
    await recall.fold(db)
    await db.close()


@pytest.fixture
def half_filled_url(server: EmbeddedServer, half_filled: str) -> Iterator[str]:
    """The worker's address of a copy of it, this test's own."""
    with cloned(server, half_filled) as name:
        yield server.url_for(database=name, user="dataswarm_worker")


@pytest.mark.timeout(1800)
async def test_the_queue_of_vectors_is_cheap(half_filled_url: str) -> None:
    """A batch is claimed, stored and failed for what its rows need; models and their share come from a few blocks."""
    db = await Database.open(half_filled_url, application_name="dataswarm/test", pool_size=1)
    async with db.transaction() as tx:
        claimed = await embeddings.claim(tx, MODEL, limit=10)
    await db.close()
    ids = {"model": MODEL, "ids": [waiting.document_id for waiting in claimed]}
    vectors = [vector_text([1.0 + n for n in range(DIMENSIONS)])] * len(claimed)
    cost: dict[str, dict[str, Any]] = {
        "claim_embeddings": {"model": MODEL, "limit": 10, "lease_seconds": 60},
        "store_embeddings": {**ids, "texts": [waiting.text for waiting in claimed], "vectors": vectors},
        "fail_embeddings": {**ids, "error": "away", "seconds": 5},
        "embedding_models": {},
        "embedding_share": {"model": MODEL},
        "add_embedding_model": {"model": MODEL, "dimensions": DIMENSIONS},
    }
    most = {"claim_embeddings": 300, "store_embeddings": 2500, "fail_embeddings": 300}
    for name, parameters in cost.items():
        assert blocks(half_filled_url, name, **parameters) < most.get(name, 60), name
    # What a metric asks is counted up to a bound, so its cost has one.
    bound = embeddings.COUNTED_UP_TO
    assert blocks(half_filled_url, "embedding_coverage", most=bound) < 200 + min(COUNT, 2 * bound) // 20


@pytest.mark.timeout(1800)
def test_neighbours_are_cheap(half_filled_url: str) -> None:
    """Few rows are compared one by one, all of them by the graph: neither reads memory as a whole."""
    asked = {"vector": vector_text([1.0 + n for n in range(DIMENSIONS)]), "model": MODEL}
    asset = {"whole": "warehouse://shop/raw.t7"}
    each = max(COUNT // 1000, 50)
    for query in ("", "schema drift"):
        assert blocks(half_filled_url, "recall", query=query, **asked, **asset) < 500 + 12 * each, query
    assert blocks(half_filled_url, "recall", **asked) < 2500
    assert blocks(half_filled_url, "recall", query=f"n{COUNT - 1}", limit=1, **asked) < 4500 + 10 * COUNT // 2000
    kinds = {"kinds": "^(?:kind\\.7)$", "kind_list": ["kind.7"]}
    assert blocks(half_filled_url, "recall", **asked, **kinds) < 700 + 4 * COUNT // 300


async def test_a_file_is_known_by_its_name(database_url: str, owner_url: str) -> None:
    """Among many folders one file is looked up, written and forgotten by its key, one folder is read by itself."""
    with psycopg.connect(owner_url, autocommit=True) as owner:
        owner.execute(FILED.encode(), {"count": COUNT})
        owner.execute(FILL.encode(), {"count": COUNT})
        owner.execute("VACUUM ANALYZE dataswarm.files, dataswarm.documents")
    one = {"source": "source-7", "path": "notes/107.md"}
    filed = {**one, "root": "/notes", "hash": "i", "sensitivity": 1}
    for name, parameters in (
        ("known_file", one),
        ("hold_file", one),
        ("note_file", filed),
        ("forget_file", one),
    ):
        assert blocks(database_url, name, **parameters) < 30, name
    assert blocks(database_url, "file_sections", whole="warehouse://shop/raw.t7") < 60 + 3 * max(COUNT // 1000, 50)
    assert blocks(database_url, "known_files", source="source-7") < 60 + COUNT // 50
