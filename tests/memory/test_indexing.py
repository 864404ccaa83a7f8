"""What goes beside the writers: words into their index, queued documents with what they belong to."""

from __future__ import annotations

import asyncio
import logging

import psycopg
import pytest

from config.assets import Asset
from config.errors import ConflictError
from memory.beliefs import knowledge
from memory.board import indexing, ledger
from memory.connection.database import Database, Transaction
from memory.connection.packing import literal
from memory.finding import embeddings, recall
from memory.records import NewObservation

ORDERS = Asset.parse("warehouse://shop/raw.orders")
WAITING = "SELECT gin_clean_pending_list('dataswarm.documents_lexemes')"


async def seen(db: Database, *words: str) -> None:
    """Observations with these words, in one transaction."""
    async with db.transaction() as tx:
        await ledger.record(tx, "a", [NewObservation("note", ORDERS, payload={"said": word}) for word in words])


def pages(owner_url: str) -> int:
    """How many pages of words waited for the index; none does afterwards."""
    with psycopg.connect(owner_url, autocommit=True) as connection:
        row = connection.execute(WAITING).fetchone()
        assert row is not None
        return int(row[0])


async def test_words_go_into_their_index_beside_the_writers(db: Database, owner_url: str) -> None:
    """Few wait in the list, enough are brought into the index without being asked; all are found at once."""
    await seen(db, *(f"early{number}" for number in range(indexing.AT_ONCE // 2)))
    assert (await recall.search(db, "early7")).found
    assert pages(owner_url) > 0
    await seen(db, *(f"late{number}" for number in range(indexing.AT_ONCE // 2)))
    assert (await recall.search(db, "late7")).found
    await db.close()
    assert pages(owner_url) == 0


async def test_words_wait_while_somebody_else_brings_them(db: Database, owner_url: str) -> None:
    """One at a time over all processes: the other finds nothing to do and does not wait."""
    with psycopg.connect(owner_url) as other:
        other.execute("SELECT dataswarm.index_words()")
        await seen(db, *(f"word{number}" for number in range(indexing.AT_ONCE)))
        await db.close()
        other.rollback()
    assert pages(owner_url) > 0


async def test_what_goes_beside_goes_once_at_a_time_after_a_commit(db: Database) -> None:
    """A transaction rolled back starts nothing; while it goes on it is not begun again, afterwards it is."""
    begun, let = 0, asyncio.Event()

    async def action(_: Transaction) -> None:
        nonlocal begun
        begun += 1
        await let.wait()

    async def ask(*, fails: bool = False) -> None:
        async with db.transaction() as tx:
            tx.beside(action)
            tx.beside(action)
            if fails:
                raise ConflictError("lost")

    with pytest.raises(ConflictError):
        await ask(fails=True)
    await ask()
    await ask()
    await asyncio.sleep(0)
    assert begun == 1
    let.set()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await ask()
    await db.close()
    assert begun == 2


async def test_what_fails_beside_is_told_and_harms_nobody(db: Database, caplog: pytest.LogCaptureFixture) -> None:
    """The transaction that asked for it is committed; the log names the kind of error."""

    async def action(_: Transaction) -> None:
        raise ConflictError("lost")

    async with db.transaction() as tx:
        await ledger.record(tx, "a", [NewObservation("note", ORDERS)])
        tx.beside(action)
    with caplog.at_level(logging.WARNING):
        await db.close()
    assert [record.__dict__["error"] for record in caplog.records] == [ConflictError.code]


async def test_what_is_queued_goes_with_its_document_and_its_model(db: Database, owner_url: str) -> None:
    """A document that is deleted waits for no vector, nor does anything for a model that another one replaced."""

    def queued() -> list[tuple[str, int]]:
        with psycopg.connect(owner_url) as connection:
            return connection.execute(
                "SELECT model, count(*) FROM dataswarm.embedding_queue GROUP BY model ORDER BY model"
            ).fetchall()

    async with db.transaction() as tx:
        await embeddings.add_model(tx, "first", 3)
        await embeddings.add_model(tx, "second", 3)
        await knowledge.assert_fact(tx, "a", ORDERS, "unit", "cents", expected=0)
        await knowledge.assert_fact(tx, "a", ORDERS, "owner", "ann", expected=0)
    assert queued() == [("first", 2), ("second", 2)]
    async with db.transaction() as tx:
        await knowledge.retract(tx, "a", ORDERS, "owner", reason="left")
    assert queued() == [("first", 1), ("second", 1)]
    async with db.transaction() as tx:
        await tx.run("serve_embedding_model", model="second")
    assert queued() == [("second", 1)]


@pytest.mark.parametrize(
    "values",
    [
        [],
        [""],
        ["", ""],
        ['"', "\\", '\\"', "{a,b}", "NULL", " ", "',", "\n", "é名"],
        ["NULL", None, '"', None, ""],
        [None],
    ],
)
def test_a_literal_is_the_texts_it_was_made_of(owner_url: str, values: list[str | None]) -> None:
    """PostgreSQL reads back each text, with NULL where there is none."""
    with psycopg.connect(owner_url) as connection:
        assert connection.execute("SELECT %s::text[]", [literal(values)]).fetchone() == (values,)
