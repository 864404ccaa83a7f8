"""Recall in one round trip, by the graph: every filter holds there too, and what is remembered of plans is a hint."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest

from config.errors import UsageError
from memory.beliefs import branches, knowledge
from memory.board import ledger
from memory.connection.database import Database
from memory.finding import embeddings, filling, recall
from memory.finding.recall import Answer
from memory.records import NewObservation, Sensitivity
from memory.server.embedded import EmbeddedServer
from tests import databases
from tests.databases import cloned
from tests.memory.sealing import sealing
from tests.memory.stage import ORDERS

ASKED = [0.3, -0.2, 0.9, 0.1, -0.5, 0.1]
MANY = """
    INSERT INTO dataswarm.documents (
        noun, ref, at, agent, kind, subject, whole, sensitivity, text, importance, branch
    )
    SELECT CASE WHEN n % 3 = 0 THEN 'note' ELSE 'observation' END, n + 1000000,
           timestamptz '2026-01-01' + n * interval '1 minute', 'agent-' || n % 10, 'kind.' || n % 7,
           'warehouse://shop/raw.t' || n % 50, 'warehouse://shop/raw.t' || n % 50, n % 2, 'words number n' || n,
           CASE WHEN n % 4 = 0 THEN 0.1 ELSE 1 END, CASE WHEN n % 5 = 0 THEN 'trial' ELSE 'main' END
    FROM generate_series(1, 6000) AS n
"""
NEAR = """
    INSERT INTO dataswarm.embeddings (
        model, document_id, at, importance, sensitivity, noun, agent, kind, subject, whole, branch, embedding
    )
    SELECT 'toy', id, at, importance, sensitivity, noun, agent, kind, subject, whole, branch,
           (SELECT array_agg(hashint8(id * 6 + k) / 2147483648.0) FROM generate_series(1, 6) AS k)::real[]::halfvec
    FROM dataswarm.documents ON CONFLICT DO NOTHING
"""


@pytest.fixture(scope="module")
def filled(server: EmbeddedServer, template: str) -> Iterator[str]:
    """A database with a model, a branch, and more documents than are compared one by one."""
    with databases.filled(server, template, fill) as name:
        yield name


async def fill(worker_url: str, owner_url: str) -> None:
    """Write all of it."""
    db = await Database.open(worker_url, application_name="dataswarm/test", pool_size=1)
    async with db.transaction() as tx:
        await embeddings.add_model(tx, "toy", 6)
        await branches.fork(tx, "trial", by="ann")
    with psycopg.connect(owner_url, autocommit=True) as connection:
        connection.execute(MANY)
        connection.execute(NEAR)
    await recall.fold(db)
    await db.close()


@pytest.fixture
def full_name(server: EmbeddedServer, filled: str) -> Iterator[str]:
    """A copy of it, this test's own."""
    with cloned(server, filled) as name:
        yield name


@pytest.fixture
def full_url(server: EmbeddedServer, full_name: str) -> str:
    """The superuser's address of the copy."""
    return server.url_for(database=full_name)


@pytest.fixture
async def full(server: EmbeddedServer, full_name: str) -> AsyncIterator[Database]:
    """The copy, open as the worker."""
    url = server.url_for(database=full_name, user="dataswarm_worker")
    database = await Database.open(url, application_name="dataswarm/test")
    yield database
    await database.close()


def nearest(owner_url: str, condition: str, asked: Sequence[float] = ASKED) -> set[int]:
    """The true ten among what fits a condition, by comparing everything."""
    with psycopg.connect(owner_url) as connection:
        connection.execute("SET enable_indexscan = off")
        rows = connection.execute(
            "SELECT d.ref FROM dataswarm.embeddings e JOIN dataswarm.documents d ON d.id = e.document_id"
            f" WHERE ({condition}) ORDER BY e.embedding <=> %s::halfvec LIMIT 10".encode(),
            [str(list(asked))],
        ).fetchall()
        return {row[0] for row in rows}


def found(answer: Answer) -> set[int]:
    """The references of an answer."""
    return {item.reference.id for item in answer.found}


HELD: Sequence[tuple[Sensitivity, recall.Filters, str]] = (
    (Sensitivity.INTERNAL, {}, "d.branch = 'main'"),
    (Sensitivity.PUBLIC, {}, "d.branch = 'main' AND d.sensitivity = 0"),
    (Sensitivity.INTERNAL, {"branch": "trial"}, "true"),
    (
        Sensitivity.INTERNAL,
        {"reader": "agent-4"},
        "d.branch = 'main' AND (d.importance >= 0.2 OR d.agent = 'agent-4')",
    ),
    (Sensitivity.INTERNAL, {"nouns": ["observation"]}, "d.branch = 'main' AND d.noun = 'observation'"),
    (Sensitivity.INTERNAL, {"kinds": ["*.1", "*.3"]}, "d.branch = 'main' AND d.kind IN ('kind.1', 'kind.3')"),
    (Sensitivity.INTERNAL, {"subject": "*raw.t?"}, "d.branch = 'main' AND d.whole ~ 'raw.t.$'"),
    (
        Sensitivity.INTERNAL,
        {"since": datetime(2026, 1, 2, tzinfo=UTC)},
        "d.branch = 'main' AND d.at >= '2026-01-02 00:00+00'",
    ),
)


async def test_every_filter_holds_on_the_graph(full: Database, full_url: str) -> None:
    """Clearance, branch, reader and each filter: nearly the true ten, and nothing that the filter hides."""
    for clearance, filters, condition in HELD:
        answer = await recall.search(full, "", clearance=clearance, vector=ASKED, model="toy", **filters)
        assert answer.way == "approximate", filters
        assert len(found(answer) & nearest(full_url, condition)) >= 9, filters
        with psycopg.connect(full_url) as connection:
            rows = connection.execute(f"SELECT d.ref FROM dataswarm.documents d WHERE {condition}".encode()).fetchall()
        assert found(answer) <= {row[0] for row in rows}, filters


async def test_one_round_trip_finds_what_a_transaction_does(full: Database) -> None:
    """By words, by vectors, by both and by filters alone."""
    questions: Sequence[tuple[str, dict[str, Any]]] = (
        ("number n77", {}),
        ("", {"vector": ASKED, "model": "toy"}),
        ("number n78", {"vector": ASKED, "model": "toy", "limit": 3}),
        ("", {"agents": ["agent-3"], "kinds": ["kind.*"], "limit": 20}),
    )
    for query, question in questions:
        alone = await recall.search(full, query, **question)
        async with full.transaction() as tx:
            assert await recall.ask(tx, query, **question) == alone
        assert alone.found
    filler = await filling.answer(full, [], "number n77")
    assert filler == await recall.search(full, "number n77")


async def test_a_remembered_plan_is_a_hint(full: Database) -> None:
    """It is used again; one that is wrong or of another time changes no answer."""
    question: recall.Question = {"vector": ASKED, "model": "toy", "agents": ["agent-3"]}
    first = await recall.search(full, "", **question)
    plans: dict[Any, tuple[int, datetime]] = full.remembered["recall plans"]
    (filters,) = plans
    ((plan, at),) = plans.values()
    assert (plan, first.way) == (1, "exact")
    assert await recall.search(full, "", **question) == first
    assert plans == {filters: (plan, at)}
    for wrong in (0, -1, 7, -7):
        plans[filters] = (wrong, at)
        assert found(await recall.search(full, "", **question)) == found(first)
    plans[filters] = (0, datetime(2026, 1, 1, tzinfo=UTC))
    assert (await recall.search(full, "", **question)).way == "exact"
    assert plans[filters][0] == 1


async def test_what_nothing_narrows_is_found_without_a_plan(full: Database, full_url: str) -> None:
    """From the second time on: the same answer, with what its neighbours added; a lower clearance sees less."""
    with psycopg.connect(full_url, autocommit=True) as connection:  # nearest of all: a story told in three parts
        connection.execute(
            "UPDATE dataswarm.embeddings SET embedding = %s::halfvec WHERE document_id IN (201, 251, 301, 351)",
            [str(ASKED)],
        )
    question: recall.Question = {"vector": ASKED, "model": "toy"}
    first = await recall.search(full, "", **question)
    assert any(item.neighbours for item in first.found)
    assert full.remembered["recall graphs"] == {"toy"}
    assert await recall.search(full, "", **question) == first
    public = await recall.search(full, "", clearance=Sensitivity.PUBLIC, **question)
    assert {item.sensitivity for item in first.found} == {Sensitivity.PUBLIC, Sensitivity.INTERNAL}
    assert {item.sensitivity for item in public.found} == {Sensitivity.PUBLIC}


WIDE = 128
READ = """
    SELECT sum(idx_tup_fetch)::integer AS rows FROM pg_stat_xact_user_tables
    WHERE schemaname = 'dataswarm' AND relname ~ '^embeddings_'
"""
SIGNED = f"""
    INSERT INTO dataswarm.embeddings (
        model, document_id, at, importance, sensitivity, noun, agent, kind, subject, whole, branch, embedding
    )
    SELECT 'wide', d.id, d.at, d.importance, d.sensitivity, d.noun, d.agent, d.kind, d.subject, d.whole, d.branch, (
        SELECT array_agg(sin(d.id * k * 0.37) + cos(d.id % 20 * k)) FROM generate_series(1, {WIDE}) AS k
    )::real[]::halfvec
    FROM dataswarm.documents d
"""


async def test_many_are_compared_by_their_signs_first(db: Database, owner_url: str) -> None:
    """From the index alone; then those most alike by their figures. Nearly the true ten, none that a filter hides."""
    async with db.transaction() as tx:
        await embeddings.add_model(tx, "wide", WIDE)
        await branches.fork(tx, "trial", by="ann")
    with psycopg.connect(owner_url, autocommit=True) as connection:
        connection.execute(MANY.replace("'agent-' || n % 10", "'agent-' || (n % 10 = 0)"))
        connection.execute(SIGNED.encode())
        connection.execute("UPDATE dataswarm.lexeme_totals SET documents = 1000000")  # as if it were one of many
        connection.execute("VACUUM ANALYZE dataswarm.embeddings")
        row = connection.execute("SELECT embedding::text FROM dataswarm.embeddings WHERE document_id = 777").fetchone()
    assert row is not None
    asked = [float(figure) for figure in row[0].strip("[]").split(",")]
    filters: recall.Filters = {"agents": ["agent-false"], "reader": "agent-false"}
    async with db.transaction() as tx:
        answer = await recall.ask(tx, "", vector=asked, model="wide", **filters)
        cursor = await tx._connection.execute(READ.encode())
        read = await cursor.fetchone()
    assert read is not None
    assert 0 < read["rows"] < 300  # not the four thousand
    assert answer.way == "approximate"
    condition = "d.branch = 'main' AND d.agent = 'agent-false'"
    assert len(found(answer) & nearest(owner_url, condition, asked)) >= 9
    assert {(item.agent, item.branch) for item in answer.found} == {("agent-false", "main")}


async def test_one_round_trip_obeys_clearance(db: Database) -> None:
    """Above it nothing is found; with the highest, what was not searched is counted."""
    sealing(db)
    async with db.transaction(clearance=Sensitivity.CONFIDENTIAL) as tx:
        await ledger.record(
            tx,
            "a",
            [
                NewObservation("sample", ORDERS, payload={"v": 1}, sensitivity=Sensitivity.CONFIDENTIAL),
                NewObservation("inner", ORDERS, payload={"v": "orders"}),
            ],
        )
    for clearance, kinds in (
        (Sensitivity.PUBLIC, set[str]()),
        (Sensitivity.INTERNAL, {"inner"}),
        (Sensitivity.CONFIDENTIAL, {"inner", "sample"}),
    ):
        by_filter = await recall.search(db, "", clearance=clearance, subject=ORDERS)
        assert {item.kind for item in by_filter.found} == kinds
        by_words = await recall.search(db, "orders", clearance=clearance)
        assert {item.kind for item in by_words.found} == kinds - {"sample"}
        assert by_words.unsearched == (clearance is Sensitivity.CONFIDENTIAL)


async def test_the_graph_is_searched_through_recall_alone(server: EmbeddedServer, full_name: str) -> None:
    """What takes the clearance as it is told may be called by no role of the swarm, also after a model came."""
    url = server.url_for(database=full_name, user="dataswarm_worker")
    with psycopg.connect(url, autocommit=True) as connection:
        for role in ("public", "internal", "confidential"):
            with connection.transaction(force_rollback=True):
                connection.execute(f"SET LOCAL ROLE dataswarm_{role}".encode())
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    connection.execute(
                        "SELECT dataswarm.nearest('toy', '[1,2,3,4,5,6]', 2::smallint, '{main}', '{}', false, NULL,"
                        " NULL, NULL, NULL, NULL, NULL, NULL, 0, 10)"
                    )


async def test_a_model_that_takes_over_is_searched(full: Database, full_url: str) -> None:
    """Its graph is known to a session that knew the older one's; the older one is then an unknown model."""
    assert found(await recall.search(full, "", vector=ASKED, model="toy"))
    async with full.transaction() as tx:
        await embeddings.add_model(tx, "it's new", 6)
    with psycopg.connect(full_url, autocommit=True) as connection:
        connection.execute(NEAR.replace("'toy'", "'it''s new'").encode())
        connection.execute("TRUNCATE dataswarm.embedding_queue")
    expected = nearest(full_url, "d.branch = 'main' AND e.model = 'toy'")
    async with full.transaction() as tx:
        assert await embeddings.settle(tx, "it's new", 0.5)
    answer = await recall.search(full, "", vector=ASKED, model="it's new")
    assert answer.way == "approximate"
    assert len(found(answer) & expected) >= 9
    assert (await recall.search(full, "", vector=ASKED, model="toy")).found == ()


async def test_a_fact_that_a_branch_replaced_is_hidden_on_the_graph(full: Database, full_url: str) -> None:
    """On the branch the older one is not found by its vector, however near it is; on main it is."""
    for branch, text in (("main", "in cents"), ("trial", "in euros")):
        async with full.transaction() as tx:
            await knowledge.assert_fact(tx, "ann", ORDERS, "unit", text, expected=None, branch=branch)
    with psycopg.connect(full_url, autocommit=True) as connection:
        connection.execute(NEAR.encode())
        connection.execute("UPDATE dataswarm.embeddings SET embedding = %s::halfvec WHERE noun = 'fact'", [str(ASKED)])
    for branch, said in (("main", "in cents"), ("trial", "in euros")):
        answer = await recall.search(full, "", vector=ASKED, model="toy", branch=branch)
        facts = [item.text for item in answer.found if item.reference.noun == "fact"]
        assert answer.way == "approximate"
        assert len(facts) == 1
        assert said in facts[0]


async def test_a_model_may_be_called_anything(db: Database, owner_url: str) -> None:
    """Quotes of every kind in a name are a name: nothing of it runs, and its vectors are found."""
    odd = "x' $$ $graph$ $make$ $made$ %s %1$L \\ ; END; --"
    async with db.transaction() as tx:
        await embeddings.add_model(tx, odd, 6)
    with psycopg.connect(owner_url, autocommit=True) as connection:
        connection.execute(MANY.replace("6000", "4000"))
        connection.execute(NEAR.replace("'toy'", "%s").replace(" % ", " %% ").encode(), [odd])
    await recall.fold(db)
    answer = await recall.search(db, "", vector=ASKED, model=odd)
    assert (answer.way, len(answer.found)) == ("approximate", 10)


def test_what_half_a_float_cannot_hold_is_refused() -> None:
    """A clear error; what it can hold has pgvector's form."""
    assert embeddings.halves([1.0, -2.0]) == b"\x00\x02\x00\x00\x3c\x00\xc0\x00"
    with pytest.raises(UsageError, match="no vector of halves"):
        embeddings.halves([1e6])
