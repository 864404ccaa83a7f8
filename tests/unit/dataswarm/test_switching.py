"""Agents switched off and on for all replicas, as typed: who, when and why stand beside them."""

from __future__ import annotations

from memory.connection.database import Database
from memory.members import presence
from memory.records import Sensitivity
from tests.unit.dataswarm.program import Program, program

__all__ = ["program"]


async def enlisted(database: Database) -> None:
    """An agent that has run here."""
    offers = [{"kind": "count", "description": "Count rows.", "input": {}}]
    async with database.transaction() as tx:
        await presence.enlist(tx, "counter", offers, Sensitivity.INTERNAL)


def test_an_agent_is_switched_off_and_on(program: Program) -> None:
    """With a reason, once; listed with who, when and why; its history stays; a wrong name is told with the nearest."""
    program.seed(enlisted)
    off = program.json("agents", "disable", "counter", "--reason", "migration tonight", "--as", "ann")
    assert (off["enabled"], off["is_changed"], off["by"], off["reason"]) == (False, True, "ann", "migration tonight")
    again = program("agents", "disable", "counter", "--reason", "me too", "--as", "bob")
    assert (again.exit_code, "off already since" in again.output, "ann: migration" in again.output) == (0, True, True)
    listed = program.json("agents", "list")
    assert listed["capabilities"] == []
    assert [(one["agent"], one["by"], one["reason"]) for one in listed["switched_off"]] == [
        ("counter", "ann", "migration tonight")
    ]
    assert "migration tonight" in program("agents", "list").output
    assert "by ann: migration tonight" in program("agents", "show", "counter").output
    assert [(a["agent"], a["enabled"]) for a in program.json("status")["agents"]] == [("counter", False)]
    assert "disabled" in program("status").output
    assert "switched on for all replicas" in program("agents", "enable", "counter", "--reason", "it is through").output
    shown = program.json("agents", "show", "counter")
    assert [(one["enabled"], one["by"]) for one in shown["switches"]][1] == (False, "ann")
    assert len(shown["switches"]) == 2
    assert program.json("agents", "list")["switched_off"] == []
    for words, said in (
        (("disable", "conter", "--reason", "x"), "did you mean 'counter'"),
        (("disable", "counter", "--reason", " "), "say why"),
        (("enable", "counter"), "--reason"),
    ):
        refused = program("agents", *words)
        assert (refused.exit_code, said in refused.output) == (2, True), refused.output


def test_a_row_from_before_says_nothing_of_who(program: Program) -> None:
    """What was switched off by hand in the database is off all the same."""

    async def by_hand(database: Database) -> None:
        await enlisted(database)
        async with database.transaction() as tx:
            await presence.enable(tx, "counter", enabled=False)

    program.seed(by_hand)
    (off,) = program.json("agents", "list")["switched_off"]
    assert (off["by"], off["reason"]) == ("dataswarm", "")


def test_who_read_and_wrote_as_typed(program: Program) -> None:
    """A fact by its name and by its number: who wrote each version, and who was shown it for which question."""
    orders = "warehouse://shop/raw.orders"
    program.json("memory", "assert", orders, "owner", '"shop"', "--as", "ann")
    program.json("memory", "assert", orders, "owner", '"data"', "--as", "bob")
    found = program.json("memory", "search", "data", "--noun", "fact")["found"]
    program.json("memory", "fact", orders, "owner")
    by_name = program.json("memory", "who-read", f"fact:owner of {orders}")["accesses"]
    assert {one["who"] for one in by_name if one["verb"] == "write"} == {"ann", "bob"}
    assert {one["query"] for one in by_name if one["verb"] == "read"} == {"data", "fact on main"}
    assert program.json("memory", "who-read", found[0]["reference"])["accesses"] == by_name
    shown = program("memory", "who-read", "--since", "1h").output
    assert [word in shown for word in ("search", "write", "fact on main")] == [True] * 3
    assert program("memory", "who-read", "owner").exit_code == 2
    assert "not a length" in program("memory", "who-read", "--since", "soon").output
