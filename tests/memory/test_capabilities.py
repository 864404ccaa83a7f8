"""Capabilities: browsed, asked for, their input checked; the ask is a task."""

from __future__ import annotations

from typing import Any

import pytest

from config.assets import Asset
from config.errors import ConflictError, UsageError
from memory.connection.database import Database, Transaction
from memory.members import capabilities, presence
from memory.queue import kinds, tasks
from memory.records import Sensitivity
from tests.memory.stage import ORDERS

PROFILE = {
    "kind": "profile",
    "description": "Count the rows of a table.",
    "input": {
        "type": "object",
        "properties": {
            "table": {"type": "string", "minLength": 3, "maxLength": 10},
            "share": {"type": "number", "minimum": 0, "maximum": 1},
            "how": {"enum": ["exact", "sampled"]},
            "columns": {"type": "array", "items": {"type": "string"}},
            "deep": {"type": "object", "properties": {"n": {"type": ["integer", "null"]}}, "required": ["n"]},
        },
        "required": ["table"],
        "additionalProperties": False,
    },
    "output": {"rows": "integer"},
    "cost": "cheap",
    "autonomy": "observe",
}
UNDO = {"kind": "undo", "description": "Take a remedy back.", "input": {"remediation_id": "integer", "why": "in words"}}


@pytest.fixture(autouse=True)
async def _agents(db: Database) -> None:
    """Two agents that publish what they can do."""
    async with db.transaction() as tx:
        await presence.enlist(tx, "counter", [PROFILE], Sensitivity.INTERNAL)
        await presence.enlist(tx, "responder", [UNDO, {**PROFILE, "kind": "look"}], Sensitivity.INTERNAL)
        known = [("counter", "profile"), ("responder", "undo"), ("responder", "look")]
        await kinds.declare(tx, [kinds.Kind(agent, kind) for agent, kind in known])


async def asked(tx: Transaction, **given: Any) -> int:
    """An ask of the counter."""
    return await capabilities.ask(tx, "counter", "profile", given, by="ann")


async def test_agents_publish_what_they_can_do(db: Database) -> None:
    """With types, cost and autonomy; found by words; what is switched off is not offered."""
    async with db.transaction() as tx:
        found = await capabilities.browse(tx)
        assert [(o.agent, o.name) for o in found] == [
            ("counter", "profile"),
            ("responder", "undo"),
            ("responder", "look"),
        ]
        assert (found[0].cost, found[0].autonomy, found[0].is_up) == ("cheap", "observe", False)
        assert [o.name for o in await capabilities.browse(tx, words="COUNT rows")] == ["profile", "look"]
        assert [o.name for o in await capabilities.browse(tx, agent="responder", words="remedy")] == ["undo"]
        await presence.enable(tx, "responder", enabled=False)
        assert [o.agent for o in await capabilities.browse(tx)] == ["counter"]
        with pytest.raises(UsageError, match="switched off"):
            await capabilities.ask(tx, "responder", "undo", {"remediation_id": 1, "why": ""}, by="ann")


async def test_an_ask_becomes_a_task(db: Database) -> None:
    """It says who asked; with a key it is made once."""
    async with db.transaction() as tx:
        number = await asked(tx, table="orders", share=0.5)
        task = await tasks.get(tx, number)
        assert task is not None
        assert (task.agent, task.kind, task.subject) == ("counter", "profile", Asset("agent", "counter"))
        assert task.payload == {"table": "orders", "share": 0.5, "asked_by": "ann"}
        given = {"remediation_id": 7, "why": "because"}
        await capabilities.ask(tx, "responder", "undo", given, by="ann", subject=ORDERS, key="undo-7")
        with pytest.raises(ConflictError, match="already"):
            await capabilities.ask(tx, "responder", "undo", given, by="ben", key="undo-7")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "table is missing"),
        ({"table": 7}, "table is not of type string"),
        ({"table": "x" * 11}, "table must be at most 10 characters"),
        ({"table": "ab"}, "table must be at least 3 characters"),
        ({"table": "orders", "share": 2}, "share must be at most 1"),
        ({"table": "orders", "share": True}, "share is not of type number"),
        ({"table": "orders", "how": "guess"}, "how is none of exact, sampled"),
        ({"table": "orders", "columns": ["a", 3]}, r"columns\[1\] is not of type string"),
        ({"table": "orders", "deep": {}}, r"deep\.n is missing"),
        ({"table": "orders", "deep": {"n": "x"}}, r"deep\.n is not of type integer or null"),
        ({"tabel": "orders"}, r"table is missing; tabel is unknown \(did you mean table\?\)"),
        ({"table": "a\0b"}, "NUL"),
    ],
)
async def test_an_unfit_input_is_refused(db: Database, given: dict[str, Any], said: str) -> None:
    """Each problem with its place and without the value; nothing is enqueued."""
    async with db.transaction() as tx:
        with pytest.raises(UsageError, match=said):
            await asked(tx, **given)
        assert await tasks.list_(tx, agent="counter") == []


async def test_short_descriptions_are_types_too(db: Database) -> None:
    """Names with a type or with words: all are needed, none is added; unknown names are told with the nearest."""
    async with db.transaction() as tx:
        for given, said in (({"remediation_id": "x", "why": 1}, "integer"), ({"remediation_id": 1}, "why is missing")):
            with pytest.raises(UsageError, match=said):
                await capabilities.ask(tx, "responder", "undo", given, by="ann")
        with pytest.raises(UsageError, match=r"no agent 'respondr'[\s\S]*'responder'"):
            await capabilities.ask(tx, "respondr", "undo", {}, by="ann")
        with pytest.raises(UsageError, match=r"cannot be asked for 'undoo'[\s\S]*'undo'"):
            await capabilities.ask(tx, "responder", "undoo", {}, by="ann")
