"""`explain`: who would react, what policy would say, what would be done; and nothing is."""

from __future__ import annotations

from typing import Any

from memory import bus
from memory.board import ledger, lineage
from memory.connection.database import Database
from memory.queue import tasks
from memory.records import Edge, NewObservation, TaskState
from tests.memory.stage import ORDERS
from tests.unit.dataswarm.program import PIPELINE, Program, an_incident, program, write_config

__all__ = ["program"]


async def state(database: Database) -> tuple[int, int]:
    """How many events and tasks there are."""
    async with database.transaction() as tx:
        return len(await bus.tail(tx, limit=1000)), len(await tasks.list_(tx, tuple(TaskState), limit=1000))


def reaction(found: dict[str, Any], agent: str) -> dict[str, Any]:
    """What is said of one agent."""
    [mine] = [r for r in found["reactions"] if r["agent"] == agent]
    return dict(mine)


def test_remedies_and_policy_stage_by_stage(program: Program) -> None:
    """The standing diagnosis, its playbooks best first, each with policy's trail; nothing is changed."""
    told = program.seed(an_incident)
    before = program.seed(state)
    found = program.json("explain", str(told.observation))
    [diagnosis] = found["diagnoses"]
    assert (diagnosis["diagnosis_id"], diagnosis["incident_id"]) == (told.diagnosis, told.incident)
    [patch] = [r for r in diagnosis["remedies"] if r["name"] == "patch-model"]
    assert (patch["gate"], patch["stage"]) == ("observe", "autonomy")
    assert len(patch["trail"]) > 8
    assert patch["trail"][0] == "kill-switch: no objection"
    assert program.seed(state) == before
    said = program("explain", str(told.observation)).output
    assert "would only be written down" in said
    assert "patch-model" in said


def test_what_the_file_and_the_rows_allow(program: Program) -> None:
    """Act in the file; a cap makes it a proposal; the switch stops it."""
    told = program.seed(an_incident)
    write_config(program, policy={"autonomy": "act"})

    def gate() -> tuple[str, str]:
        [diagnosis] = program.json("explain", str(told.observation))["diagnoses"]
        [patch] = [r for r in diagnosis["remedies"] if r["name"] == "patch-model"]
        return patch["gate"], patch["stage"]

    assert gate() == ("act", "all")
    program("cap", "playbook:patch-model", "propose")
    assert gate() == ("propose", "caps")
    program("kill-switch", "on", "--reason", "audit")
    assert gate() == ("refuse", "kill-switch")


def test_a_disabled_agent_does_not_react(program: Program) -> None:
    """And a disabled playbook treats nothing: it would go to a human."""
    told = program.seed(an_incident)
    write_config(
        program,
        agents={"pipeline-health": {"enabled": False}},
        playbooks={n: {"enabled": False} for n in ("patch-model", "rerun-failed")},
    )
    found = program.json("explain", str(told.observation))
    assert "disabled" in reaction(found, "pipeline-health")["why"]
    assert found["diagnoses"][0]["remedies"] == []
    assert "handed to a human" in program("explain", str(told.observation)).output


def test_scope_through_lineage(program: Program) -> None:
    """A table no watched pipeline reads wakes nobody; once lineage knows a reader, it does."""
    told = program.seed(an_incident)
    dbt = {"kind": "dbt", "warehouse": "shop", "target": "/nowhere"}
    shop = {"kind": "postgres", "url": "postgresql://x@127.0.0.1:1/x"}
    write_config(program, sources={"shop": shop, "shop_dbt": dbt})
    before = reaction(program.json("explain", str(told.observation)), "pipeline-health")
    assert before["reacts"] is False
    assert before["why"] == "no pipeline it looks after reads this"

    async def tell(database: Database) -> None:
        async with database.transaction() as tx:
            model = type(PIPELINE)("dbt", "shop_dbt", "model.shop.stg_orders")
            await lineage.replace(tx, "shop_dbt", [Edge(ORDERS, model)])

    program.seed(tell)
    after = reaction(program.json("explain", str(told.observation)), "pipeline-health")
    assert after["reacts"] is True
    assert reaction(program.json("explain", str(told.observation)), "schema-drift")["reacts"] is False


def test_restraints_are_named(program: Program) -> None:
    """A silence and a planned change that cover it."""
    told = program.seed(an_incident)
    program("silence", str(ORDERS), "2h", "--reason", "noise")
    program("planned-change", "add", str(ORDERS), "--kind", "schema.*", "--for", "1h", "--reason", "release")
    found = program.json("explain", str(told.observation))["restraints"]
    assert len(found) == 2
    assert "noise" in found[0]
    assert "release" in found[1]


def test_what_is_of_no_importance_wakes_nobody(program: Program) -> None:
    """And it is said why."""

    async def whisper(database: Database) -> int:
        async with database.transaction() as tx:
            [number] = await ledger.record(tx, "x", [NewObservation("pipeline.passed", PIPELINE, importance=0.1)])
            assert number is not None
            return number

    number = program.seed(whisper)
    found = program.json("explain", str(number))
    assert "wakes nobody" in reaction(found, "incident-response")["why"]
    assert "No diagnosis rests on it" in program("explain", str(number)).output


def test_an_observation_that_is_not_there(program: Program) -> None:
    """The latest are named."""
    assert "none has been recorded" in program("explain", "5").stderr
    told = program.seed(an_incident)
    result = program("explain", "5555")
    assert result.exit_code == 2
    assert f"the latest are {told.observation}" in result.stderr
