"""The ledger: written once, told on the bus, found again, never changed."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from config.assets import Asset
from config.errors import UsageError
from memory.board import ledger
from memory.bus import now_cursor, read
from memory.connection.database import Database
from memory.records import DecisionKind, NewDecision, NewObservation, Reference, Severity

ORDERS = Asset.parse("warehouse://shop/raw.orders")
COLUMN = ORDERS.column("customer_id")


def seen(kind: str = "schema.column_renamed", **more: Any) -> NewObservation:
    """An observation with what the test cares about."""
    return NewObservation(**{"kind": kind, "subject": ORDERS, **more})


def diagnosis(**more: Any) -> NewDecision:
    """A diagnosis with what the test cares about."""
    values = {"kind": DecisionKind.DIAGNOSIS, "subject": ORDERS, "rationale": "renamed upstream", **more}
    return NewDecision(**values)


async def test_an_observation_comes_back_as_it_was_seen(db: Database) -> None:
    """Every field survives, evidence and odd names included."""
    odd = ORDERS.column('"; drop table x\\ é 名前')
    new = seen(
        subject=odd,
        severity=Severity.ERROR,
        importance=0.9,
        payload={"before": "customer_id", "n": [1, 2.5, None, True], "backslash": "\\u0000 is text"},
        evidence=(Reference("observation", 7), Reference("task", 12)),
    )
    async with db.transaction() as tx:
        (number,) = await ledger.record(tx, "schema-drift", [new])
        assert number is not None
        found = await ledger.observation(tx, number)
    assert found is not None
    assert (found.subject, found.severity, found.payload) == (odd, Severity.ERROR, new.payload)
    assert (found.evidence, found.agent, found.importance) == (new.evidence, "schema-drift", 0.9)
    assert len(found.content_hash) == 64


async def test_a_key_is_recorded_once_per_agent(db: Database) -> None:
    """The same key from the same agent is the same finding, within a batch and across; another agent has its own."""
    async with db.transaction() as tx:
        first = await ledger.record(tx, "a", [seen(key="k"), seen(), seen(key="k"), seen(key="other")])
        again = await ledger.record(tx, "a", [seen(key="k"), seen()])
        elsewhere = await ledger.record(tx, "b", [seen(key="k")])
    assert [number is None for number in first] == [False, False, True, False]
    assert [number is None for number in again] == [True, False]
    assert elsewhere[0] is not None
    async with db.transaction() as tx:
        assert await ledger.record(tx, "a", []) == []


async def test_a_key_taken_at_the_same_time_is_recorded_once(db: Database) -> None:
    """Eight writers with the same two keys, in both orders: one row each and no deadlock."""

    async def write(turned: bool) -> list[int | None]:
        batch = [seen(key="k1"), seen(key="k2")]
        async with db.transaction() as tx:
            return await ledger.record(tx, "a", batch[::-1] if turned else batch)

    written = await asyncio.gather(*(write(turned=bool(n % 2)) for n in range(8)))
    assert sum(number is not None for batch in written for number in batch) == 2


async def test_events_are_published_from_an_importance_on(db: Database) -> None:
    """What matters wakes others; what does not stays with its agent; a rolled back batch is not heard of."""
    async with db.transaction() as tx:
        start = await now_cursor(tx)
    with pytest.raises(RuntimeError):  # noqa: PT012 - what came before it must be rolled back
        async with db.transaction() as tx:
            await ledger.record(tx, "a", [seen("lost")])
            raise RuntimeError
    async with db.transaction() as tx:
        quiet, loud = await ledger.record(tx, "a", [seen("quiet", importance=0.1), seen("loud", importance=0.2)])
        decided = await ledger.decide(tx, "a", diagnosis())
    async with db.transaction() as tx:
        events, _ = await read(tx, start, topics=["*"], agent="me")
    assert quiet is not None
    assert [(event.topic, event.reference) for event in events] == [
        ("observation.loud", Reference("observation", loud or 0)),
        ("decision.diagnosis", Reference("decision", decided or 0)),
    ]


async def test_a_private_observation_stays_with_its_agent(db: Database) -> None:
    """Below the threshold others neither get nor list it; its agent and a human do, and the threshold can be moved."""
    async with db.transaction() as tx:
        own, shared = await ledger.record(tx, "a", [seen("own", importance=0.1), seen("shared", importance=0.2)])
        assert own is not None
        assert shared is not None
        for reader, kinds in (("a", ["shared", "own"]), (None, ["shared", "own"]), ("b", ["shared"])):
            assert [found.kind for found in await ledger.observations(tx, reader=reader)] == kinds
            assert (await ledger.observation(tx, own, reader=reader) is None) == (reader == "b")
        assert await ledger.observation(tx, shared, reader="b") is not None
        assert await ledger.observation(tx, shared, reader="b", threshold=0.3) is None
        assert await ledger.observations(tx, reader="b", threshold=0.3) == []
        assert len(await ledger.observations(tx, reader="b", threshold=0)) == 2


async def test_texts_full_of_quotes_come_back(db: Database) -> None:
    """Quotes, braces, backslashes and the word NULL in a batch are values."""
    odd = ['"', "\\", '\\"', "{a,b}", "NULL", "", " ", "',", "\n"]
    async with db.transaction() as tx:
        numbers = await ledger.record(
            tx, "a", [seen(payload={"w": text}, key=f"k{text}") for text in odd] + [seen(payload={"w": odd})]
        )
        found = [await ledger.observation(tx, number or 0) for number in numbers]
    assert [seen_.payload["w"] for seen_ in found if seen_ is not None] == [*odd, odd]


async def test_observations_are_found_by_kind_subject_and_time(db: Database) -> None:
    """Patterns over kinds; a table finds its columns; a column finds itself alone; newest first."""
    other = Asset.parse("warehouse://shop/raw.orders_2")
    async with db.transaction() as tx:
        await ledger.record(
            tx, "a", [seen("schema.added"), seen("schema.dropped", subject=COLUMN), seen("volume", subject=other)]
        )
        everything = await ledger.observations(tx)
        assert [found.kind for found in everything] == ["volume", "schema.dropped", "schema.added"]
        assert [found.kind for found in await ledger.observations(tx, kinds=["schema.*"])] == [
            "schema.dropped",
            "schema.added",
        ]
        assert len(await ledger.observations(tx, kinds=["schema.add?d", "vol[tu]me"])) == 2
        assert len(await ledger.observations(tx, subjects=[ORDERS])) == 2
        assert [found.kind for found in await ledger.observations(tx, subjects=[COLUMN])] == ["schema.dropped"]
        assert await ledger.observations(tx, subjects=[]) == []
        assert await ledger.observations(tx, since=everything[0].at + timedelta(seconds=1)) == []
        assert len(await ledger.observations(tx, limit=1)) == 1


async def test_a_decision_comes_back_and_is_superseded(db: Database) -> None:
    """All fields survive; the newer one takes the older one's place; rivals stand side by side."""
    new = diagnosis(
        cause="column_renamed",
        confidence=0.8,
        payload={"from": "customer_id", "to": "cust_id"},
        evidence=(Reference("observation", 1),),
        alternatives=({"cause": "column_dropped", "confidence": 0.1},),
        transcript=({"role": "rule", "text": "attnum is the same"},),
        incident_id=3,
    )
    async with db.transaction() as tx:
        first = await ledger.decide(tx, "pipeline-health", new)
        rival = await ledger.decide(tx, "another", diagnosis(cause="other"))
        assert first is not None
        second = await ledger.decide(tx, "pipeline-health", diagnosis(supersedes=first))
        found = await ledger.decision(tx, first)
        live = [decision.id for decision in await ledger.decisions(tx)]
        everything = await ledger.decisions(tx, live_only=False)
        of_incident = await ledger.decisions(tx, incident_id=3, live_only=False)
        assert await ledger.decisions(tx, kind="remedy") == []
        assert len(await ledger.decisions(tx, subject=ORDERS)) == 2
        assert await ledger.decision(tx, 10**9) is None
    assert found is not None
    assert (found.payload, found.alternatives, found.transcript) == (new.payload, new.alternatives, new.transcript)
    assert (found.superseded_by, found.cause, found.confidence) == (second, "column_renamed", 0.8)
    assert live == [second, rival]
    assert len(everything) == 3
    assert [decision.id for decision in of_incident] == [first]


async def test_a_decision_with_a_key_is_said_once(db: Database) -> None:
    """The second time it is None, and nothing is told."""
    async with db.transaction() as tx:
        assert await ledger.decide(tx, "a", diagnosis(key="k")) is not None
        assert await ledger.decide(tx, "a", diagnosis(key="k", rationale="again")) is None
        assert len(await ledger.decisions(tx)) == 1


@pytest.mark.parametrize(
    ("new", "field"),
    [
        (seen(payload={"note": "a\0b"}), "payload"),
        (seen(payload={"a\0": 1}), "payload"),
        (seen(payload={"x": float("nan")}), "payload"),
        (seen(payload={"x": object()}), "payload"),
        (seen(payload={"x": "\ud800"}), "payload"),
        (seen(payload={"x": "y" * 10_000_001}), "payload"),
        (seen(importance=1.5), "importance"),
        (seen(kind=""), "kind"),
        (seen(kind="has space"), "kind"),
        (seen(key=""), "key"),
        (seen(key="k" * 801), "key"),
    ],
)
async def test_what_cannot_be_stored_is_refused_by_name(db: Database, new: NewObservation, field: str) -> None:
    """The message names place and field, not the value, and nothing of the batch is written."""
    async with db.transaction() as tx:
        with pytest.raises(UsageError, match=f"observation 2.*{field}") as caught:
            await ledger.record(tx, "a", [seen(), new])
        assert await ledger.observations(tx) == []
    assert "yyyy" not in str(caught.value)


async def test_the_ledger_cannot_be_rewritten(db: Database, database_url: str) -> None:
    """The working roles have no right to update or delete what was recorded."""
    async with db.transaction() as tx:
        await ledger.record(tx, "a", [seen()])
        await ledger.decide(tx, "a", diagnosis())
    with psycopg.connect(database_url, autocommit=True) as connection:
        for table in ("observations", "decisions"):
            for command in (f"UPDATE dataswarm.{table} SET agent = 'x'", f"DELETE FROM dataswarm.{table}"):
                with connection.transaction(force_rollback=True):
                    connection.execute("SET LOCAL ROLE dataswarm_confidential")
                    with pytest.raises(psycopg.errors.InsufficientPrivilege):
                        connection.execute(command)


async def test_a_batch_of_a_thousand_is_one_statement(db: Database) -> None:
    """Large batches are recorded in order."""
    batch = [seen("volume", subject=ORDERS.column(f"c{n}")) for n in range(1000)]
    async with db.transaction() as tx:
        numbers = [number or 0 for number in await ledger.record(tx, "a", batch)]
        assert numbers == sorted(numbers)
        last = await ledger.observation(tx, numbers[-1])
    assert last is not None
    assert last.subject.part == "c999"
