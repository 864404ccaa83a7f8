"""Recall: found by words, by parts of identifiers, by filters; vectors help and never hurt."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from config.assets import Asset
from config.errors import SwarmError, UsageError
from memory import measures
from memory.beliefs import knowledge
from memory.board import ledger
from memory.connection.database import Database, Transaction
from memory.finding import embeddings, recall
from memory.records import DecisionKind, NewDecision, NewObservation, Sensitivity
from tests.memory.conftest import Clock
from tests.memory.sealing import sealing
from tests.memory.stage import ORDERS

PAYMENTS = Asset.parse("dbt://shop/model.shop.stg_payments")


async def fill(tx: Transaction) -> None:
    """One of each noun, and some that are beside the point."""
    await ledger.record(
        tx,
        "schema-drift",
        [
            NewObservation("schema.column_renamed", ORDERS.column("customer_id"), payload={"to": "cust_id"}),
            NewObservation("volume.drop", Asset.parse("warehouse://shop/raw.web"), payload={"note": "half the rows"}),
            *(NewObservation("volume.usual", Asset.parse(f"warehouse://shop/raw.t{n}")) for n in range(20)),
        ],
    )
    await ledger.decide(
        tx,
        "pipeline-health",
        NewDecision(DecisionKind.DIAGNOSIS, PAYMENTS, "the currency column holds text since the migration"),
    )
    await knowledge.assert_fact(tx, "ann", PAYMENTS, "convention", "amounts are in cents", expected=0)
    await knowledge.learn(
        tx,
        "incident-response",
        signal="success",
        playbook="patch-model",
        cause="column_renamed",
        subject=ORDERS,
        text="patching the staging model worked",
        circumstances={},
    )


async def nouns(tx: Transaction, query: str, **more: Any) -> list[str]:
    """The nouns found, best first."""
    return [found.reference.noun for found in await recall.recall(tx, query, **more)]


@pytest.mark.parametrize(
    ("query", "first"),
    [
        ("public.orders.customer_id", "observation"),
        ("customer", "observation"),
        ("cust_id", "observation"),
        ("stg_payments currency", "decision"),
        ("what are amounts measured in, cents?", "fact"),
        ("stagingModel", "learning"),
        ("did patches work", "learning"),
    ],
)
async def test_words_and_parts_of_identifiers_find(db: Database, query: str, first: str) -> None:
    """Questions, identifiers whole and in parts, camel case, stems."""
    async with db.transaction() as tx:
        await fill(tx)
        found = await recall.recall(tx, query, limit=3)
    assert found[0].reference.noun == first
    assert found[0].words_rank == 1
    assert found[0].text


async def test_rare_words_outweigh_frequent_ones(db: Database) -> None:
    """A word that is everywhere does not drown the one that tells."""
    async with db.transaction() as tx:
        await fill(tx)
        found = await recall.recall(tx, "volume raw shop half", limit=1)
    assert found[0].subject.path == "raw.web"


async def test_every_script_is_found(db: Database) -> None:
    """Words that are not English, nor Latin."""
    async with db.transaction() as tx:
        for number, text in enumerate(("коды валют проверены", "名前 列 変更", "größe der tabelle")):
            await knowledge.assert_fact(tx, "ann", ORDERS, f"note-{number}", text, expected=0)
        for query, predicate in (("валют", "note-0"), ("変更", "note-1"), ("größe", "note-2")):
            assert [found.kind for found in await recall.recall(tx, query)] == [predicate]


async def test_filters_narrow(db: Database, clock: Clock) -> None:
    """By noun, kind, subject, agent and time, with words and without."""
    async with db.transaction() as tx:
        await fill(tx)
    clock.forward(3600)
    async with db.transaction() as tx:
        await ledger.record(tx, "late", [NewObservation("volume.drop", ORDERS)])
        assert await nouns(tx, "orders", nouns=["learning"]) == ["learning"]
        assert await nouns(tx, "shop", kinds=["schema.*"]) == ["observation"]
        assert set(await nouns(tx, "shop", subject=PAYMENTS)) == {"decision", "fact"}
        assert set(await nouns(tx, "shop", subject="dbt://*")) == {"decision", "fact"}
        assert await nouns(tx, "", agents=["late"]) == ["observation"]
        assert len(await nouns(tx, "", since=clock.now - timedelta(minutes=1))) == 1
        assert await nouns(tx, "orders", since=clock.now + timedelta(minutes=1)) == []
        assert len(await nouns(tx, "", subject=ORDERS)) == 3
        assert len(await nouns(tx, "", limit=5)) == 5


async def test_questions_that_find_nothing(db: Database) -> None:
    """Stop words, punctuation, quotes, unknown words: no error, no result; a NUL or a book is refused."""
    async with db.transaction() as tx:
        await fill(tx)
        for query in ("the of and", "!!! ' \" \\ | & ( ) : *", "zzzunknown", "'; drop table x --"):
            assert await recall.recall(tx, query, nouns=["fact"]) == []
        with pytest.raises(UsageError, match="NUL"):
            await recall.recall(tx, "a\0b")
        with pytest.raises(UsageError, match="10001"):
            await recall.recall(tx, "x" * 10_001)


async def test_a_fact_is_found_as_it_is_now(db: Database) -> None:
    """A new version is found by its new words alone, a retracted one by none."""
    async with db.transaction() as tx:
        await knowledge.assert_fact(tx, "a", ORDERS, "unit", "cents", expected=0)
        await knowledge.assert_fact(tx, "a", ORDERS, "unit", "euros", expected=1)
        assert await recall.recall(tx, "cents") == []
        assert len(await recall.recall(tx, "euros")) == 1
        await knowledge.retract(tx, "a", ORDERS, "unit", reason="unknown")
        assert await recall.recall(tx, "euros") == []


async def test_a_text_without_end_is_indexed_up_to_a_point(db: Database) -> None:
    """A megabyte of words, and one word of a megabyte, are stored and do not break the index."""
    async with db.transaction() as tx:
        await knowledge.assert_fact(tx, "a", ORDERS, "note", "beginning " + "w x.y " * 200_000, expected=0)
        await knowledge.assert_fact(tx, "a", ORDERS, "word", "z" * 1_000_000 + "_" + "q" * 3000, expected=0)
        assert [found.kind for found in await recall.recall(tx, "beginning")] == ["note"]


async def test_without_a_model_nothing_waits(db: Database) -> None:
    """No model, no queue; with one everything known is queued once, and what is new as well."""
    async with db.transaction() as tx:
        await fill(tx)
        assert await embeddings.coverage(tx) == []
        assert await embeddings.add_model(tx, "tiny", 3)
        assert not await embeddings.add_model(tx, "tiny", 3)
        with pytest.raises(UsageError, match="has 3 dimensions here, not 4"):
            await embeddings.add_model(tx, "tiny", 4)
        (known,) = await embeddings.coverage(tx)
        await knowledge.assert_fact(tx, "ann", ORDERS, "new", "fresh", expected=0)
        await knowledge.learn(
            tx,
            "a",
            signal="pattern",
            playbook="",
            cause="",
            subject=ORDERS,
            text="secret",
            circumstances={},
        )
        (after,) = await embeddings.coverage(tx)
    assert (known.embedded, known.pending) == (0, 25)
    assert after.pending == 27


async def test_vectors_are_filled_in_failed_and_refilled(db: Database, clock: Clock) -> None:
    """Claimed once, given back after a failure, stored, and queued again when the text changes."""
    async with db.transaction() as tx:
        await embeddings.add_model(tx, "tiny", 3)
        await knowledge.assert_fact(tx, "ann", ORDERS, "unit", "cents", expected=0)
        (waiting,) = await embeddings.claim(tx, "tiny")
        assert await embeddings.claim(tx, "tiny") == []
        await embeddings.fail(tx, "tiny", [waiting], "provider is away", retry_in=30)
        (coverage,) = await embeddings.coverage(tx)
        assert (coverage.pending, coverage.failing) == (1, 1)
    clock.forward(31)
    async with db.transaction() as tx:
        (again,) = await embeddings.claim(tx, "tiny")
        assert again.attempts == 2
    with pytest.raises(SwarmError):
        async with db.transaction() as tx:
            await embeddings.store(tx, "tiny", [again], [[1.0, 0.0]])
    async with db.transaction() as tx:
        assert await embeddings.store(tx, "tiny", [again], [[1.0, 0.0, 0.0]]) == 1
        (coverage,) = await embeddings.coverage(tx)
        assert (coverage.embedded, coverage.pending, coverage.oldest_pending_seconds) == (1, 0, None)
        await knowledge.assert_fact(tx, "ann", ORDERS, "unit", "euros", expected=1)
        assert await embeddings.store(tx, "tiny", [again], [[1.0, 0.0, 0.0]]) == 0
        (coverage,) = await embeddings.coverage(tx)
        assert (coverage.embedded, coverage.pending) == (0, 1)
        gauges = {gauge.name: gauge.value for gauge in (await measures.snapshot(tx)).gauges}
        assert gauges["dataswarm_embeddings_pending"] == 1


async def test_fusion_does_not_punish_what_has_no_vector_yet(db: Database) -> None:
    """At any coverage the right answer by words stays first; a near vector alone is found too."""
    async with db.transaction() as tx:
        await embeddings.add_model(tx, "tiny", 2)
        await knowledge.assert_fact(tx, "a", ORDERS, "right", "currency of payments", expected=0)
        await knowledge.assert_fact(tx, "a", ORDERS, "weaker", "payments are many many other words", expected=0)
        await knowledge.assert_fact(tx, "a", ORDERS, "near", "money unit", expected=0)
        waiting = {found.text: found for found in await embeddings.claim(tx, "tiny")}
        near = next(found for text, found in waiting.items() if "money" in text)
        weaker = next(found for text, found in waiting.items() if "many" in text)
        await embeddings.store(tx, "tiny", [near, weaker], [[1, 0], [0, 1]])
        found = await recall.recall(tx, "currency payments", vector=[1, 0], model="tiny")
        assert await recall.recall(tx, "", vector=[1, 0], model="tiny", limit=1)
    assert found[0].kind == "right"
    assert {item.kind: (item.words_rank, item.vector_rank, item.embedded) for item in found} == {
        "right": (1, None, False),
        "near": (None, 1, True),
        "weaker": (2, 2, True),
    }


async def test_old_entries_are_forgotten(db: Database, clock: Clock) -> None:
    """What retention dropped leaves the index; facts and learnings never do."""
    async with db.transaction() as tx:
        await fill(tx)
        assert await recall.forget(tx, ["observation"], clock.now + timedelta(seconds=1)) == 22
        assert sorted(await nouns(tx, "")) == ["decision", "fact", "learning"]
        with pytest.raises(UsageError):
            await recall.forget(tx, ["fact"], clock.now)


async def test_confidential_items_are_found_by_filters_alone(db: Database) -> None:
    """Their words are not indexed for anybody; the reader who may is told how many were not searched."""
    sealing(db)
    async with db.transaction(clearance=Sensitivity.CONFIDENTIAL) as tx:
        await ledger.record(
            tx,
            "a",
            [NewObservation("sample", ORDERS, payload={"v": "hunter2"}, sensitivity=Sensitivity.CONFIDENTIAL)],
        )
        assert await recall.recall(tx, "hunter2") == []
        (found,) = await recall.recall(tx, "", kinds=["sample"])
        assert (found.text, found.sensitivity) == ("", Sensitivity.CONFIDENTIAL)
        assert await recall.unsearched(tx, subject=ORDERS) == 1
    async with db.transaction() as tx:
        assert await recall.recall(tx, "", kinds=["sample"]) == []
        assert await recall.unsearched(tx) == 0
