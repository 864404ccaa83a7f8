"""What a reader is shown: plain JSON, complete, and nothing confidential."""

from __future__ import annotations

import json
from uuid import uuid4

from config.assets import Asset
from config.settings import RuntimeSettings, Settings
from dataswarm import listings, views
from memory.beliefs import knowledge
from memory.board import ledger, remediations
from memory.connection.database import Database
from memory.members import presence
from memory.queue import effects, kinds, tasks
from memory.records import (
    DecisionKind,
    EffectClass,
    NewDecision,
    NewObservation,
    NewTask,
    Reference,
    RemediationState,
    Sensitivity,
    TaskState,
)
from tests.memory.sealing import sealing
from tests.memory.stage import ORDERS
from tests.unit.dataswarm.program import an_incident, asking, handed_over

SECRET = "a value from a row"


async def test_everything_is_json(db: Database) -> None:
    """No view holds what `json` cannot write."""
    told = await handed_over(db)
    other = await an_incident(db, fingerprint="other")
    for found in (
        await views.status(db, Settings()),
        await views.incident_list(db, everything=True, limit=10),
        await views.incident(db, told.incident),
        await views.incident(db, other.incident),
        await listings.events(db, topics=["*"], limit=10),
        await listings.search(db, "client_id", nouns=None, subject=None, limit=10),
    ):
        assert json.dumps(found)


async def test_source_is_said(db: Database) -> None:
    """Live and demo."""
    demo = Settings(runtime=RuntimeSettings(demo=True))
    assert (await views.status(db, demo))["source"] == "demo"
    assert (await views.status(db, Settings()))["source"] == "live"


async def test_no_such_rows(db: Database) -> None:
    """None, for the caller to say so in its own way."""
    assert await views.incident(db, 7) is None
    assert await views.observation(db, 7) is None
    assert await listings.task(db, 7) is None
    assert await listings.fact(db, ORDERS, "x") is None


async def test_processes_that_differ_are_marked(db: Database) -> None:
    """Against the one that was started last; agents with the age of their heartbeat."""
    async with db.transaction() as tx:
        await presence.beat(tx, uuid4(), "a", 1, "1", "old", ["x"])
    async with db.transaction() as tx:
        await presence.beat(tx, uuid4(), "b", 2, "1", "new", ["x"])
        await presence.enlist(tx, "x", [], Sensitivity.INTERNAL)
    async with db.transaction() as tx:
        await presence.hold(tx, "x", holder=uuid4(), host="b", process="b:2", seconds=30)
    found = await views.status(db)
    assert {p["host"]: p["differs"] for p in found["processes"]} == {"a": True, "b": False}
    [agent] = found["agents"]
    assert agent["is_up"] is True
    assert agent["heartbeat_age_seconds"] < 30


async def test_policy_trails_stand_with_their_remedy(db: Database) -> None:
    """The gate's answer belongs to the remediation it was about; so do effects and what would have been done."""
    told = await an_incident(db)
    async with db.transaction() as tx:
        await ledger.decide(
            tx,
            "incident-response",
            NewDecision(
                DecisionKind.POLICY,
                ORDERS,
                "observe: policy.autonomy says observe",
                cause="autonomy",
                payload={"trail": ["kill-switch: no objection", "autonomy: observe"]},
                evidence=(Reference("remediation", told.remediation),),
                incident_id=told.incident,
            ),
        )
        await kinds.declare(tx, [kinds.Kind("incident-response", "remediate")])
        [number] = await tasks.enqueue(tx, [NewTask("incident-response", "remediate", ORDERS)])
        assert number is not None
    [task] = await tasks.claim(db, ["incident-response"], limit=1, worker=uuid4(), lease_seconds=30)
    async with db.transaction() as tx:
        await effects.intend(
            tx,
            task,
            step="patch",
            target=ORDERS,
            intent={"diff": "+a"},
            inverse={"revert": 1},
            effect_class=EffectClass.INVERTIBLE,
            remediation_id=told.remediation,
        )
        would = {"summary": "Patch it.", "preview": "+a", "playbook": "patch-model"}
        await remediations.move(
            tx,
            told.remediation,
            before=[RemediationState.PROPOSED],
            after=RemediationState.REFUSED,
            result={"would_have": would, "gate": "observe"},
        )
    found = await views.incident(db, told.incident)
    assert found is not None
    [remedy] = found["remediations"]
    assert remedy["policy"][0]["trail"] == ["kill-switch: no objection", "autonomy: observe"]
    assert remedy["effects"][0]["intent"] == {"diff": "+a"}
    assert remedy["would_have"] == would
    assert found["decisions"][0]["kind"] == "policy"
    shown = await listings.task(db, number)
    assert shown is not None
    assert shown["effects"][0]["step"] == "patch"
    assert await listings.task_list(db, states=[TaskState.LEASED], agent=None, kind=None, limit=5)


async def test_what_is_confidential_is_not_shown(db: Database) -> None:
    """A row above `internal` is named at most, its words are nowhere."""
    sealing(db)
    told = await asking(db)
    async with db.transaction(clearance=Sensitivity.CONFIDENTIAL) as tx:
        seen = NewObservation("rows.sampled", ORDERS, payload={"v": SECRET}, sensitivity=Sensitivity.CONFIDENTIAL)
        [number] = await ledger.record(tx, "x", [seen])
        assert number is not None
        await ledger.decide(
            tx,
            "x",
            NewDecision(
                DecisionKind.DIAGNOSIS,
                ORDERS,
                SECRET,
                incident_id=told.incident,
                sensitivity=Sensitivity.CONFIDENTIAL,
            ),
        )
        await knowledge.assert_fact(
            tx, "x", ORDERS, "sample", {"v": SECRET}, expected=None, sensitivity=Sensitivity.CONFIDENTIAL
        )
    found = [
        await views.status(db),
        await views.incident(db, told.incident),
        await views.observation(db, number),
        await listings.events(db, topics=["*"], limit=100),
        await listings.search(db, "", nouns=None, subject=str(ORDERS), limit=100),
        await listings.fact(db, ORDERS, "sample"),
        await listings.predicates(db, ORDERS),
    ]
    assert SECRET not in json.dumps(found)
    assert found[2] is None


def test_plain_values() -> None:
    """Assets and references as text, whatever holds them."""
    assert views.plain({"a": (Asset("dbt", "shop"), Reference("task", 1))}) == {"a": ["dbt://shop", "task:1"]}
    assert views.plain({Sensitivity.PUBLIC}) == [0]
