"""Recall beyond words: private items, branches, neighbours, plans by what the filters leave, counts of words."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import psycopg
import pytest

from config.assets import Asset
from config.errors import UsageError
from memory.beliefs import branches, knowledge
from memory.board import ledger
from memory.connection.database import Database
from memory.finding import embeddings, recall
from memory.records import NewObservation, Sensitivity
from tests.memory.conftest import Clock
from tests.memory.sealing import sealing
from tests.memory.stage import ORDERS

MANY = """
    INSERT INTO dataswarm.documents (noun, ref, at, agent, kind, subject, whole, sensitivity, text)
    SELECT 'observation', n, timestamptz '2026-01-01' + n * interval '1 minute', 'agent-' || n %% 10,
           'kind.' || n %% 7, 'warehouse://shop/raw.t' || n %% 50, 'warehouse://shop/raw.t' || n %% 50, 1,
           'common words everywhere ' || CASE WHEN n %% 100 = 0 THEN 'seldom ' ELSE '' END || 'number n' || n
    FROM generate_series(1, %(count)s) AS n
"""


def write(owner_url: str, statement: str, **values: Any) -> None:
    """As the owner: what the swarm itself would write in weeks."""
    with psycopg.connect(owner_url, autocommit=True) as connection:
        connection.execute(statement.encode(), values or None)


async def kinds(db: Database, query: str, **more: Any) -> list[str]:
    """The kinds found, best first."""
    async with db.transaction() as tx:
        return [found.kind for found in await recall.recall(tx, query, **more)]


async def test_private_observations_stay_with_their_agent(db: Database) -> None:
    """Below the threshold only the agent itself and humans find it; from it on everybody does."""
    async with db.transaction() as tx:
        await ledger.record(
            tx,
            "drift",
            [
                NewObservation("musing", ORDERS, payload={"w": "perhaps orders"}, importance=0.1),
                NewObservation("finding", ORDERS, payload={"w": "orders renamed"}, importance=0.2),
            ],
        )
    for query in ("orders", ""):
        assert set(await kinds(db, query, reader="drift")) == {"musing", "finding"}
        assert set(await kinds(db, query)) == {"musing", "finding"}
        assert await kinds(db, query, reader="health") == ["finding"]
        assert await kinds(db, query, reader="health", threshold=0.3) == []


async def texts(db: Database, branch: str = "main") -> set[str]:
    """What is found of amounts on a branch."""
    async with db.transaction() as tx:
        found = await recall.recall(tx, "amounts", branch=branch)
    return {item.text.rpartition("amounts ")[2].strip() for item in found}


async def hold(db: Database, branch: str, predicate: str, text: str) -> None:
    """A fact about amounts."""
    async with db.transaction() as tx:
        await knowledge.assert_fact(tx, "ann", ORDERS, predicate, f"amounts {text}", expected=None, branch=branch)


async def test_a_branch_overlays_main(db: Database) -> None:
    """Main as it stands now, but what the branch wrote instead of it hides main's; main never sees the branch."""
    await hold(db, "main", "unit", "in cents")
    await hold(db, "main", "zone", "by zone")
    async with db.transaction() as tx:
        await branches.fork(tx, "trial", by="ann")
        await branches.fork(tx, "deeper", by="ann", parent="trial")
    await hold(db, "trial", "unit", "in euros")
    await hold(db, "deeper", "zone", "by city")
    await hold(db, "main", "late", "later")
    assert await texts(db) == {"in cents", "by zone", "later"}
    assert await texts(db, "trial") == {"in euros", "by zone", "later"}
    assert await texts(db, "deeper") == {"in euros", "by city", "later"}
    await hold(db, "deeper", "zone", "by street")
    async with db.transaction() as tx:
        await knowledge.retract(tx, "ann", ORDERS, "unit", reason="wrong", branch="trial")
    assert await texts(db, "trial") == {"by zone", "later"}
    assert await texts(db, "deeper") == {"by street", "later"}
    assert await texts(db) == {"in cents", "by zone", "later"}
    with pytest.raises(UsageError, match="no branch 'other'"):
        await texts(db, "other")


async def test_recall_leaves_a_closed_branch(db: Database, owner_url: str) -> None:
    """Merged or dropped, its documents go; those an open branch grew over stay for it, until that is closed too."""

    def left() -> list[str]:
        with psycopg.connect(owner_url) as connection:
            rows = connection.execute("SELECT branch FROM dataswarm.documents ORDER BY branch").fetchall()
            return [row[0] for row in rows]

    await hold(db, "main", "unit", "in cents")
    async with db.transaction() as tx:
        for name, parent in (("good", "main"), ("bad", "main"), ("grown", "bad")):
            await branches.fork(tx, name, by="ann", parent=parent)
    await hold(db, "good", "unit", "in euros")
    await hold(db, "bad", "unit", "in yen")
    async with db.transaction() as tx:
        assert (await branches.merge(tx, "good", by="ann")).is_done
        await branches.drop(tx, "bad")
    assert left() == ["bad", "main"]
    assert await texts(db) == {"in euros"}
    assert await texts(db, "grown") == {"in yen"}
    with pytest.raises(UsageError, match="branch 'good' is merged"):
        await texts(db, "good")
    async with db.transaction() as tx:
        await branches.drop(tx, "grown")
        await branches.fork(tx, "again", by="ann", parent="bad")
    assert left() == ["main"]
    assert await texts(db, "again") == {"in euros"}


async def test_neighbours_in_time_lift_what_belongs_to_a_story(db: Database, clock: Clock) -> None:
    """Of two equal observations the one comes first that stands between others that fit."""
    lonely = Asset.parse("warehouse://shop/raw.web")
    async with db.transaction() as tx:
        await ledger.record(tx, "a", [NewObservation("alone", lonely, payload={"w": "freshness"})])
    for kind, words in (("before", "freshness late"), ("between", "freshness"), ("after", "freshness again")):
        clock.forward(60)
        async with db.transaction() as tx:
            await ledger.record(tx, "a", [NewObservation(kind, ORDERS, payload={"w": words})])
    clock.forward(60)
    async with db.transaction() as tx:
        found = {item.kind: item for item in await recall.recall(tx, "freshness")}
    assert found["alone"].neighbours == 0
    assert found["between"].neighbours > found["after"].neighbours > 0
    assert next(iter(found)) == "between"


async def test_plans_by_what_the_filters_leave_agree(db: Database, owner_url: str) -> None:
    """Above 3,000 documents: few left over, many left over, and a pattern no index serves find the same."""
    write(owner_url, MANY, count=6000)
    await recall.fold(db)
    async with db.transaction() as tx:
        seldom = await recall.recall(tx, "seldom words", limit=60)
        assert {item.reference.id % 100 for item in seldom} == {0}
        by_asset = await recall.recall(tx, "seldom", subject="warehouse://shop/raw.t0", limit=60)
        assert len(by_asset) == 60
        by_pattern = await recall.recall(tx, "seldom", subject="*raw.t0", limit=60)
        assert {item.reference for item in by_pattern} == {item.reference for item in by_asset}
        some = await recall.recall(tx, "common n77 n4242", kinds=["kind.*"], agents=["agent-7", "agent-2"], limit=2)
        assert {item.reference.id for item in some} == {77, 4242}
        (one,) = await recall.recall(tx, "n77", kinds=["kind.0"])
        assert one.reference.id == 77
        since = (await recall.recall(tx, "n5999", limit=1))[0].at
        assert {item.reference.id for item in await recall.recall(tx, "common", since=since)} == {6000, 5999}
        assert len(await recall.recall(tx, "common everywhere words", limit=10)) == 10
        assert len(await recall.recall(tx, "common", limit=10)) == 10
        assert [item.reference.id for item in await recall.recall(tx, "", limit=2)] == [6000, 5999]


async def test_words_are_counted_exactly_once(db: Database, owner_url: str) -> None:
    """Folded counts equal the documents' own after writes, changes and deletions, whatever was folded when."""
    async with db.transaction() as tx:
        for number in range(5):
            await knowledge.assert_fact(tx, "a", ORDERS, f"n{number}", "cents and euros", expected=0)
    assert await recall.fold(db, most=2) == 5
    async with db.transaction() as tx:
        await knowledge.assert_fact(tx, "a", ORDERS, "n0", "yen", expected=1)
        await knowledge.assert_fact(tx, "a", ORDERS, "n1", "yen and cents", expected=1)
        await knowledge.retract(tx, "a", ORDERS, "n2", reason="wrong")
    await recall.fold(db)
    assert await recall.fold(db) == 0
    with psycopg.connect(owner_url) as connection:
        counted: dict[str, int] = dict(
            connection.execute("SELECT lexeme, documents FROM dataswarm.lexeme_counts WHERE documents <> 0").fetchall()
        )
        true: dict[str, int] = dict(
            connection.execute("SELECT word, ndoc FROM ts_stat('SELECT lexemes FROM dataswarm.documents')").fetchall()
        )
        totals = connection.execute("SELECT documents, lexemes FROM dataswarm.lexeme_totals").fetchone()
        lengths = connection.execute("SELECT count(*), sum(length(lexemes)) FROM dataswarm.documents").fetchone()
    assert counted == true
    assert totals == lengths


async def test_an_answer_says_what_it_did_not_search(db: Database) -> None:
    """Confidential items are counted for whom they exist; without a question the filters find them."""
    sealing(db)
    async with db.transaction(clearance=Sensitivity.CONFIDENTIAL) as tx:
        await ledger.record(
            tx, "a", [NewObservation("sample", ORDERS, payload={"v": 1}, sensitivity=Sensitivity.CONFIDENTIAL)]
        )
        answer = await recall.ask(tx, "orders", subject=ORDERS)
        assert (answer.found, answer.unsearched, answer.coverage) == ((), 1, None)
        newest = await recall.ask(tx, "", subject=ORDERS)
        assert (newest.way, newest.unsearched, len(newest.found)) == ("newest", 0, 1)
    async with db.transaction() as tx:
        assert (await recall.ask(tx, "orders", subject=ORDERS)).unsearched == 0


@pytest.mark.parametrize(
    "wrong",
    [{"nouns": ["thing"]}, {"kinds": ["a\0"]}, {"agents": ["\ud800"]}, {"branch": "nowhere"}, {"reader": "x\0"}],
)
async def test_what_cannot_be_asked_is_refused(db: Database, wrong: dict[str, Any]) -> None:
    """A clear error that names the field."""
    async with db.transaction() as tx:
        with pytest.raises(UsageError):
            await recall.recall(tx, "orders", **wrong)


async def test_hostile_filters_are_values(db: Database) -> None:
    """Quotes, backslashes and percent signs in every filter are looked for, not run."""
    odd = "x'); DROP TABLE dataswarm.documents; -- %s \\ $1 %1$L"
    async with db.transaction() as tx:
        await knowledge.assert_fact(tx, odd, ORDERS, "unit", "cents", expected=0)
        assert len(await recall.recall(tx, "cents", agents=[odd])) == 1
        for filters in ({"kinds": [odd]}, {"kinds": [odd + "*"]}, {"subject": odd}, {"reader": odd, "agents": ["a"]}):
            assert await recall.recall(tx, f"cents {odd}", **filters) == []


async def test_the_question_of_the_issue(db: Database, clock: Clock) -> None:
    """What did any agent learn about the payments schema in the last 48 hours?"""
    payments = Asset.parse("warehouse://shop/raw.payments")
    for kind, asset in (("schema.old", payments), ("schema.column_added", payments.column("iban")), ("other", ORDERS)):
        async with db.transaction() as tx:
            await ledger.record(tx, "drift", [NewObservation(kind, asset, payload={"about": "schema"})])
        clock.forward(47 * 3600 if kind == "schema.old" else 60)
    clock.forward(3600)
    since = clock.now - timedelta(hours=48)
    assert await kinds(db, "payments schema", subject=payments, since=since) == ["schema.column_added"]
    assert await kinds(db, "schema", subject="warehouse://*payments*", since=since) == ["schema.column_added"]


NEAR = """
    INSERT INTO dataswarm.embeddings (
        model, document_id, at, importance, sensitivity, noun, agent, kind, subject, whole, branch, embedding
    )
    SELECT 'toy', id, at, importance, sensitivity, noun, agent, kind, subject, whole, branch,
           ARRAY[sin(id), cos(id * 1.7), sin(id * 0.3), cos(id * 0.9), sin(id * 2.3), 0.1]::real[]::halfvec
    FROM dataswarm.documents
"""


async def test_the_graph_of_vectors_finds_what_comparing_all_does(db: Database, owner_url: str) -> None:
    """Above 3,000 documents: without a filter, with wide and narrow ones, and deeper than the graph looks at once."""
    async with db.transaction() as tx:
        await embeddings.add_model(tx, "toy", 6)
    write(owner_url, MANY, count=3600)
    write(owner_url, NEAR)
    await recall.fold(db)
    asked = [0.3, -0.2, 0.9, 0.1, -0.5, 0.1]
    for agents, ways in (
        (None, "approximate"),
        ([f"agent-{n}" for n in range(9)], "approximate"),
        (["agent-7"], "exact"),
    ):
        with psycopg.connect(owner_url) as connection:
            connection.execute("SET enable_indexscan = off")
            true = connection.execute(
                "SELECT d.ref FROM dataswarm.embeddings e JOIN dataswarm.documents d ON d.id = e.document_id"
                " WHERE %s::text[] IS NULL OR e.agent = ANY (%s::text[]) ORDER BY e.embedding <=> %s::halfvec LIMIT 10",
                [agents, agents, str(asked)],
            ).fetchall()
        async with db.transaction() as tx:
            answer = await recall.ask(tx, "", vector=asked, model="toy", agents=agents)
        assert answer.way == ways
        ranked = sorted(answer.found, key=lambda item: item.vector_rank or 0)
        assert len({item.reference.id for item in ranked} & {row[0] for row in true}) >= 9
    async with db.transaction() as tx:
        many = await recall.recall(tx, "", vector=asked, model="toy", limit=1000)
        hybrid = await recall.ask(tx, "seldom n500", vector=asked, model="toy")
    assert len(many) == 1000
    assert hybrid.found[0].reference.id == 500
