"""Memory over HTTP: found, held by version, written down who asked; and nothing confidential comes out of it."""

from __future__ import annotations

from typing import Any

import httpx

from config.errors import TransientError
from config.settings import Settings
from dataswarm import memory_routes
from dataswarm.recalling import Searching
from memory.access import accesses
from memory.beliefs import knowledge
from memory.board import ledger
from memory.connection.database import Database
from memory.members import presence
from memory.records import NewObservation, Sensitivity
from tests.memory.sealing import sealing
from tests.memory.stage import ORDERS
from tests.unit.dataswarm.door import OPERATOR, TOKENS, VIEWER, application, caller, settings

SECRET = "planted-secret-9c2e"


def door(db: Database, **more: Any) -> Any:
    """The application with these routes, whether or not it brings them itself."""
    app = application(db, settings(**more))
    app.include_router(memory_routes.router)
    return app


async def test_a_fact_is_held_by_version_and_found(db: Database) -> None:
    """Written, replaced where it is what was read, else 409; found by words; every version with its writer."""
    orders = {"subject": str(ORDERS), "predicate": "owner"}
    async with caller(door(db)) as ann:
        first = await ann.post("/api/memory/facts", json={**orders, "object": "shop", "expected": 0, "by": "ann"})
        assert (first.status_code, first.json()["version"], first.json()["agent"]) == (200, 1, "ann")
        second = await ann.post("/api/memory/facts", json={**orders, "object": "data team", "expected": 1})
        lost = await ann.post("/api/memory/facts", json={**orders, "object": "mine", "expected": 1})
        assert (second.json()["version"], lost.status_code, lost.json()["error"]) == (2, 409, "conflict")
        found = (await ann.get("/api/memory/search", params={"q": "data team", "noun": "fact"})).json()
        assert [one["kind"] for one in found["found"]] == ["owner"]
        assert (found["source"], found["model"], found["note"]) == ("live", "", "")
        held = (await ann.get("/api/memory/fact", params=orders)).json()
        assert (held["object"], len(held["history"]), held["origin"]) == ("data team", 2, "said over HTTP")
        then = {**orders, "at": held["history"][0]["valid_from"]}
        assert (await ann.get("/api/memory/fact", params=then)).json()["object"] == "shop"
        lately = await ann.get("/api/memory/search", params={"about": "warehouse://shop/*", "within": 60})
        assert len(lately.json()["found"]) == 1
    async with db.transaction() as tx:
        readers = {one.verb for one in await accesses(tx, noun="fact", ref=f"owner of {ORDERS}")}
    assert readers == {"read", "write"}


async def test_what_is_wrong_is_said(db: Database) -> None:
    """Nothing held, no asset, an unknown branch or noun, a NUL, a field too many: each with its status, no value."""
    orders = {"subject": str(ORDERS), "predicate": "owner"}
    async with caller(door(db)) as ann:
        answers: list[tuple[httpx.Response, int]] = [
            (await ann.get("/api/memory/fact", params=orders), 404),
            (await ann.get("/api/memory/fact", params={**orders, "subject": "orders"}), 400),
            (await ann.get("/api/memory/fact", params={"predicate": "owner"}), 422),
            (await ann.get("/api/memory/search", params={"q": "x", "branch": "nowhere"}), 400),
            (await ann.get("/api/memory/search", params={"q": "x", "noun": "poem"}), 400),
            (await ann.get("/api/memory/search", params={"q": "a\0b"}), 400),
            (await ann.get("/api/memory/search", params={"q": "x" * 10_001}), 422),
            (await ann.post("/api/memory/facts", json={**orders, "object": f"{SECRET}\0"}), 400),
            (await ann.post("/api/memory/facts", json={**orders, "subject": "", "object": 1}), 422),
            (await ann.post("/api/memory/facts", json={**orders, "object": 1, "more": SECRET}), 422),
            (await ann.post("/api/memory/facts", json={**orders, "object": 1, "branch": "nowhere"}), 400),
        ]
    for answer, status in answers:
        assert answer.status_code == status, answer.text
        assert SECRET not in answer.text
        assert set(answer.json()) == {"error", "message", "hint", "source"}


async def test_nothing_confidential_comes_out(db: Database) -> None:
    """Search, fact, history and replacing: to this door it does not exist, and no error quotes it."""
    sealing(db)
    async with db.transaction(clearance=Sensitivity.CONFIDENTIAL) as tx:
        await knowledge.assert_fact(tx, "a", ORDERS, "sample", SECRET, expected=0, sensitivity=Sensitivity.CONFIDENTIAL)
        hidden = NewObservation("sample", ORDERS, payload={"v": SECRET}, sensitivity=Sensitivity.CONFIDENTIAL)
        await ledger.record(tx, "a", [hidden])
    sample = {"subject": str(ORDERS), "predicate": "sample"}
    async with caller(door(db, tokens=TOKENS), token=OPERATOR) as nina:
        found = await nina.get("/api/memory/search", params={"q": SECRET})
        newest = await nina.get("/api/memory/search")
        read = await nina.get("/api/memory/fact", params=sample)
        refused = await nina.post("/api/memory/facts", json={**sample, "object": "mine"})
    assert (found.json()["found"], newest.json()["found"], newest.json()["unsearched"]) == ([], [], 0)
    assert (read.status_code, refused.status_code) == (404, 403)
    assert SECRET not in newest.text + read.text + refused.text


async def test_a_viewer_reads_and_an_operator_writes(db: Database) -> None:
    """Facts and switches need the role; the name that is written down is the token's."""
    async with db.transaction() as tx:
        await presence.enlist(tx, "drift", [], Sensitivity.INTERNAL)
    app = door(db, tokens=TOKENS)
    body = {"subject": str(ORDERS), "predicate": "owner", "object": "shop", "by": "somebody else"}
    async with caller(app, token=VIEWER) as graphs, caller(app, token=OPERATOR) as nina, caller(app) as nobody:
        assert (await nobody.get("/api/memory/search")).status_code == 401
        assert (await graphs.get("/api/memory/search", params={"q": "shop"})).status_code == 200
        assert (await graphs.post("/api/memory/facts", json=body)).status_code == 403
        assert (await graphs.post("/api/agents/drift/disable", json={"reason": "x"})).status_code == 403
        assert (await nina.post("/api/memory/facts", json=body)).json()["agent"] == "nina"
        off = (await nina.post("/api/agents/drift/disable", json={"reason": "migration"})).json()
        assert (off["enabled"], off["is_changed"], off["by"], off["reason"]) == (False, True, "nina", "migration")
        again = (await nina.post("/api/agents/drift/disable", json={"reason": "once more"})).json()
        assert (again["is_changed"], again["reason"]) == (False, "migration")
        assert (await nina.post("/api/agents/drift/enable", json={})).status_code == 400
        assert (await nina.post("/api/agents/drfit/enable", json={"reason": "x"})).status_code == 404
    async with db.transaction() as tx:
        assert {one.who for one in await accesses(tx, noun="memory")} == {"graphs"}
        assert await presence.switched_off(tx) == {"drift"}


async def test_a_model_that_is_away_is_told(db: Database) -> None:
    """The answer is whole by words, and says why it has no vectors."""

    def away(_: Any) -> Any:
        raise TransientError("the provider is away")

    app = door(db)
    chosen = Settings.model_validate({"embedding": {"name": "openai:tiny"}})
    app.state.searching = Searching(db, lambda: chosen, make=away)
    async with db.transaction() as tx:
        await knowledge.assert_fact(tx, "a", ORDERS, "owner", "data team", expected=0)
    async with caller(app) as ann:
        found = (await ann.get("/api/memory/search", params={"q": "team"})).json()
    assert len(found["found"]) == 1
    assert found["note"] == "searched by words alone: the provider is away"
