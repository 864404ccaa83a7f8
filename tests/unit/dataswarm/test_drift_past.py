"""`drift history`, `drift accept` and `drift baseline`: what was told, what stays, what was known and kept."""

from __future__ import annotations

from typing import Any

from agents.base import LOOK
from config.assets import Asset
from dataswarm.drifting.past import ACCEPTED
from dataswarm.drifting.resolving import WATCHER
from memory.beliefs import knowledge
from memory.board import baselines, ledger
from memory.connection.database import Database
from memory.members import presence
from memory.queue import tasks
from memory.records import NewObservation, Sensitivity, Severity
from tests.unit.dataswarm.drift_ground import save, shop, shop_url
from tests.unit.dataswarm.program import Program, declare, program, write_config

__all__ = ["program", "shop", "shop_url"]
TABLE = Asset("warehouse", "shop", "raw.bakers")


def seen(kind: str, column: str, **payload: Any) -> NewObservation:
    """Something the agent told."""
    key = f"{kind}|raw.bakers|{column}|v1"
    about = {"table": "raw.bakers", "column": column, "change": key, **payload}
    return NewObservation(f"schema.{kind}", TABLE.column(column), Severity.WARNING, about, 0.6, key=key)


async def a_past(database: Database) -> list[int]:
    """Three changes told: one open, one undone, one that nobody waits to see undone; and two revisions."""
    first = await save(database, "shop", "create table raw.bakers (id int, name text, mood text)", name="early")
    effects = {"class": {"readers": "breaking", "writers": "breaking", "rule": "column.dropped"}}
    reached = {"models": ["model.a", "model.b"], "exposures": ["exposure.x"], "owners": ["maria"]}
    impact = {"impact": {word: {"count": len(names), "names": names} for word, names in reached.items()}}
    open_ = seen("column_dropped", "name", type="text", **effects, **impact)
    undone = seen("column_dropped", "mood", type="text", **effects)
    added = seen("column_added", "extra", type="int", nullable=True, default=False)
    restored = NewObservation(
        "schema.restored", TABLE.column("mood"), Severity.INFO, {"table": "raw.bakers", "of": undone.key}, 0.5
    )
    async with database.transaction() as tx:
        ids = await ledger.record(tx, WATCHER, [open_, undone, added, restored])
        head = {"shape": 2, "invisible": ["vault"], "open": [{"key": open_.key, "kind": open_.kind}]}
        await baselines.swap(tx, WATCHER, "shop", {"value": head}, first, {"table:raw.gone": None}, note="a look")
    return [number for number in ids if number is not None]


# --- empty states ---------------------------------------------------------------------------------------------------


def test_before_the_first_look(shop: Program) -> None:
    """Nothing is known yet: each command says so, and what would change that."""
    assert "`dataswarm up` takes one" in shop("drift", "history").output
    assert "`dataswarm up` takes one" in shop("drift", "history", "shop").output
    for words in (("baseline", "shop"), ("accept", "shop", "--all", "--reason", "x")):
        result = shop("drift", *words)
        assert result.exit_code == 2
        assert "there is no baseline of shop yet" in result.stderr
    assert shop.json("drift", "history", "shop")["sources"][0]["revisions"] == []


def test_a_source_nobody_knows(shop: Program) -> None:
    """The nearest name is said, whichever command."""
    for words in (("history", "shpo"), ("baseline", "shpo"), ("accept", "shpo", "1", "--reason", "x")):
        result = shop("drift", *words)
        assert result.exit_code == 2
        assert "did you mean 'shop'" in result.stderr


# --- history --------------------------------------------------------------------------------------------------------


def test_history(shop: Program) -> None:
    """Each change with its class, whom it reaches, and what became of it; the revisions with their names."""
    [open_, undone, added, _] = shop.seed(a_past)
    found = shop.json("drift", "history", "shop")
    assert found["source"] == "live"
    [about] = found["sources"]
    assert {c["id"]: c["state"] for c in about["changes"]} == {open_: "open", undone: "undone", added: "told"}
    first = next(c for c in about["changes"] if c["id"] == open_)
    assert first["class"] == {"readers": "breaking", "writers": "breaking", "rule": "column.dropped"}
    assert first["impact"]["models"] == {"count": 2, "names": ["model.a", "model.b"]}
    assert first["summary"] == "column name dropped (text)"
    assert [r["names"] for r in about["revisions"]] == [["early"]]
    said = shop("drift", "history", "shop").output
    assert "breaking" in said
    assert "early" in said
    assert "dataswarm drift accept shop CHANGE" in said


def test_history_since(shop: Program) -> None:
    """Only what is younger is told; nonsense is refused."""
    shop.seed(a_past)
    assert len(shop.json("drift", "history", "--since", "1h")["sources"][0]["changes"]) == 3
    assert shop("drift", "history", "--since", "yesterday").exit_code == 2


def test_history_of_several_sources(shop: Program) -> None:
    """Without a name, each that has a past; changes of others are not mixed in."""
    shop.seed(a_past)
    write_config(shop, sources={n: {"kind": "postgres", "url": "postgresql://x@/y"} for n in ("other", "shop")})
    found = shop.json("drift", "history")
    assert [s["name"] for s in found["sources"]] == ["shop"]
    assert shop.json("drift", "history", "other")["sources"][0]["changes"] == []


# --- accept ---------------------------------------------------------------------------------------------------------


def test_a_change_stays(shop: Program) -> None:
    """It is written on the asset it is about, with who and why, and is open no longer; once is enough."""
    [open_, undone, _, _] = shop.seed(a_past)
    found = shop.json("drift", "accept", "shop", str(open_), "--reason", "for good", "--as", "maria")
    assert [c["state"] for c in found["accepted"]] == ["accepted"]

    async def held(database: Database) -> Any:
        async with database.transaction() as tx:
            return await knowledge.fact(tx, TABLE.column("name"), ACCEPTED)

    fact = shop.seed(held)
    assert fact.object == ["column_dropped|raw.bakers|name|v1"]
    assert (fact.agent, fact.reason) == ("maria", "for good")
    states = {c["id"]: c["state"] for c in shop.json("drift", "history", "shop")["sources"][0]["changes"]}
    assert states[open_] == "accepted"
    again = shop("drift", "accept", "shop", str(open_), "--reason", "x")
    assert again.exit_code == 2
    assert "is accepted, not open" in again.stderr
    other = shop("drift", "accept", "shop", str(undone), "--reason", "x")
    assert "is undone, not open" in other.stderr


def test_all_that_is_open_stays(shop: Program) -> None:
    """By `--all`; a second time there is nothing left, which is no error."""
    shop.seed(a_past)
    assert "stays" in shop("drift", "accept", "shop", "--all", "--reason", "release 7").output
    assert "nothing of shop is open" in shop("drift", "accept", "shop", "--all", "--reason", "release 7").output


def test_what_accept_refuses(shop: Program) -> None:
    """No reason, nothing named, both ways at once, a change nobody told."""
    [open_, *_] = shop.seed(a_past)
    for words, says in (
        (("--all",), "--reason"),
        (("--all", "--reason", " "), "say why"),
        (("--reason", "x"), "name the changes that stay"),
        ((str(open_), "--all", "--reason", "x"), "name the changes that stay"),
        (("99999", "--reason", "x"), f"open are {open_}"),
        (("column_dropped|raw.bakers|nam|v1", "--reason", "x"), "did you mean"),
    ):
        result = shop("drift", "accept", "shop", *words)
        assert result.exit_code == 2, words
        assert says in result.stderr, words


# --- baseline -------------------------------------------------------------------------------------------------------


def test_what_is_known(shop: Program) -> None:
    """Tables and columns, what could not be seen, what is open."""
    shop.seed(a_past)
    found = shop.json("drift", "baseline", "shop")
    assert [t["table"] for t in found["tables"]] == ["raw.bakers"]
    assert found["columns"] == 3
    assert found["not_visible"] == ["vault"]
    assert found["open"] == ["column_dropped|raw.bakers|name|v1"]
    said = shop("drift", "baseline", "shop").output
    assert "1 tables, 3 columns" in said
    assert "not visible: vault" in said


def test_a_state_is_saved_and_found_again(shop: Program) -> None:
    """Under its name it can be shown and compared; a name is given once."""
    first = shop.seed(lambda db: save(db, "shop", "create table raw.bakers (id int)"))
    assert shop.json("drift", "baseline", "shop", "--save", "before-release")["names"] == ["before-release"]
    shop.seed(lambda db: save(db, "shop", "create table raw.bakers (id int, name text)", expected=first))
    then = shop.json("drift", "baseline", "shop", "--revision", "before-release")
    assert (then["revision"], then["columns"]) == (first, 1)
    assert shop.json("drift", "baseline", "shop")["columns"] == 2
    taken = shop("drift", "baseline", "shop", "--save", "before-release")
    assert taken.exit_code == 1
    assert "is revision" in taken.stderr
    assert "taken for the number" in shop("drift", "baseline", "shop", "--save", "12").stderr
    diff = shop.json("drift", "diff", "shop@before-release", "shop@", "--fail-on", "never")
    assert diff["tables"][0]["changes"][0]["column"] == "name"


def test_the_agent_is_asked_to_look(shop: Program) -> None:
    """Through the door of capabilities: a task of the agent, also before its first look."""

    async def enlist(database: Database) -> None:
        offered = {"kind": LOOK.kind, "description": LOOK.description, "input": LOOK.input}
        async with database.transaction() as tx:
            await presence.enlist(tx, WATCHER, [offered], Sensitivity.INTERNAL)

    shop.seed(enlist)
    shop.seed(lambda db: declare(db, f"{WATCHER}/{LOOK.kind}"))
    number = shop.json("drift", "baseline", "shop", "--look", "--as", "maria")["task"]

    async def asked(database: Database) -> Any:
        async with database.transaction() as tx:
            return await tasks.get(tx, number)

    task = shop.seed(asked)
    assert (task.agent, task.kind, task.payload) == (WATCHER, LOOK.kind, {"source": "shop", "asked_by": "maria"})
