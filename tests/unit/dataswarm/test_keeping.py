"""The commands that keep memory in order, as they are typed."""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import threading
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import typer
from typer.testing import Result

from agents.base import Agent, Capability
from config import settings as configuration
from dataswarm import cli
from dataswarm.commands import asking, keeping, remembering
from dataswarm.commands.shared import EXAMPLES
from dataswarm.sealing import KEY_FILE, vault_for
from memory.beliefs import rehearsals
from memory.connection.database import Database
from memory.members import presence
from memory.queue import kinds, tasks
from memory.records import Sensitivity, Task
from memory.vault.keyring import new_key
from tests.unit.dataswarm.program import Program, an_incident, program, write_config
from tests.unit.dataswarm.runner import Runner

__all__ = ["program"]
ORDERS = "warehouse://shop/raw.orders"


@pytest.fixture(scope="module")
def app() -> typer.Typer:
    """The part of the program these tests are about."""
    app = typer.Typer(name="dataswarm", cls=cli.Polite, no_args_is_help=True, rich_markup_mode=None)
    for part in (remembering, keeping, asking):
        part.add(app)
    return app


@pytest.fixture
def run(program: Program, app: typer.Typer) -> Callable[..., Result]:
    """Type a command."""

    def typed(line: str, *more: str) -> Result:
        words = [*shlex.split(line), *more, "--config", str(program.config)]
        return Runner().invoke(app, words, prog_name="dataswarm")

    return typed


@pytest.fixture
def asked(run: Callable[..., Result]) -> Callable[..., Any]:
    """Type a command with `--json`; its answer."""

    def answered(line: str, *more: str) -> Any:
        result = run(line, *more, "--json")
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    return answered


def test_a_fact_through_its_life(run: Callable[..., Result], asked: Callable[..., Any]) -> None:
    """Asserted by version, read, asked for as of a time, retracted with a reason; conflicts name both versions."""
    assert asked(f"memory assert {ORDERS} owner", '"shop"', "--expected", "0", "--as", "ann")["version"] == 1
    assert asked(f"memory assert {ORDERS} owner", '"data"', "--expected", "1", "--reason", "moved")["version"] == 2
    lost = run(f"memory assert {ORDERS} owner", '"mine"', "--expected", "1")
    assert (lost.exit_code, "has version 2, not 1" in lost.output) == (1, True)
    found = asked(f"memory fact {ORDERS} owner")
    assert (found["source"], found["object"], found["history"][1]["reason"]) == ("live", "data", "moved")
    assert found["origin"] == "said by hand"
    then = found["history"][0]["valid_from"]
    assert asked(f"memory fact {ORDERS} owner --at {then}")["object"] == "shop"
    assert run(f"memory fact {ORDERS} owner --at 2000-01-01").exit_code == 2
    assert "not a time" in run(f"memory fact {ORDERS} owner --at someday").output
    assert run(f"memory assert {ORDERS} owner shop").exit_code == 2
    assert "did you mean" in run(f"memory fact {ORDERS} ownr").output
    assert run(f"memory retract {ORDERS} owner").exit_code == 2
    assert asked(f"memory retract {ORDERS} owner --reason gone")["retracted"] is True
    shown = run(f"memory history {ORDERS} owner")
    assert [word in shown.output for word in ("shop", "moved", "retracted", "gone")] == [True] * 4
    assert "nothing was ever held" in run(f"memory history {ORDERS} nothing").output


def test_a_branch_through_its_life(program: Program, run: Callable[..., Result], asked: Callable[..., Any]) -> None:
    """Forked, written on, compared, merged with a conflict settled; another dropped; main rolled back."""
    asked(f"memory assert {ORDERS} owner", '"shop"')
    asked("memory branch snapshot before")
    asked("memory branch fork what-if")
    asked(f"memory assert {ORDERS} owner", '"theirs"', "--branch", "what-if")
    asked(f"memory assert {ORDERS} owner", '"ours"')
    (difference,) = asked("memory branch diff main what-if")["differences"]
    assert (difference["before"]["object"], difference["after"]["object"]) == ("ours", "theirs")
    refused = run("memory branch merge what-if")
    assert (refused.exit_code, f"owner of {ORDERS}" in refused.output) == (1, True)
    assert "not a fact" in run("memory branch merge what-if --theirs owner").output
    done = asked("memory branch merge what-if --theirs", f"owner of {ORDERS}")
    assert [fact["object"] for fact in done["written"]] == ["theirs"]
    asked("memory branch fork other --at before")
    assert asked(f"memory fact {ORDERS} owner --branch other")["object"] == "shop"
    assert asked("memory branch drop other")["state"] == "dropped"
    assert len(asked("memory branch rollback main@before --reason nonsense")["written"]) == 1
    assert asked(f"memory fact {ORDERS} owner")["object"] == "shop"
    program.seed(rehearse)
    listed = asked("memory branch list")
    assert {b["name"]: b["state"] for b in listed["branches"]} == {
        "main": "open",
        "what-if": "merged",
        "other": "dropped",
    }
    shown = run("memory branch list").output
    assert [word in shown for word in ("main@before", "dropped", "drift")] == [True] * 3
    assert "nothing differs" in run("memory branch diff main main").output


async def rehearse(database: Database) -> None:
    """A rehearsal to be listed."""
    async with database.transaction() as tx:
        (row,) = await tx.all("bus_snapshot") and await tx.all("branches") and (await tx.all("branches"))[:1]
        at = row["at"]
        await rehearsals.record(tx, "main", "drift", [], since=at, until=at.replace(year=at.year + 1), by="ann")


def test_files_in_and_out(tmp_path: Path, run: Callable[..., Result], asked: Callable[..., Any]) -> None:
    """Ingest tells of each bad file and exits with 1; index follows; export keeps an edit."""
    notes, out = tmp_path / "notes", tmp_path / "out"
    notes.mkdir()
    (notes / "good.md").write_text("# Payments\nduplicate batches")
    (notes / "log.jsonl").write_text('{"role": "user", "content": "hello"}\n{"type": "odd"}\n')
    found = asked(f"memory ingest {notes}")
    assert (found["counts"], found["sections"]) == ({"written": 2}, 2)
    assert "unknown type 'odd'" in run(f"memory ingest {notes} --name again").output
    (notes / "bad.md").write_bytes(b"\0")
    bad = run(f"memory ingest {notes}")
    assert (bad.exit_code, "bad.md" in bad.output, "NUL" in bad.output) == (1, True, True)
    (notes / "bad.md").unlink()
    (notes / "good.md").unlink()
    assert asked(f"memory index {notes}")["counts"] == {"retired": 1}
    assert "no markdown" in run(f"memory index {notes}").output
    assert run(f"memory ingest {tmp_path / 'nowhere'}").exit_code == 2
    assert "no open facts" in run(f"memory export {out}").output
    asked(f"memory assert {ORDERS} owner", '"shop"')
    assert asked(f"memory export {out}")["counts"] == {"written": 1}
    page = out / "facts/warehouse/shop/raw.orders.md"
    page.write_text("mine")
    assert "edited by hand" in run(f"memory export {out}").output
    assert page.read_text() == "mine"


def test_a_backup_is_made_and_read_through(
    tmp_path: Path, run: Callable[..., Result], asked: Callable[..., Any]
) -> None:
    """It says what is in it; a damaged one and a used database are refused."""
    file = tmp_path / "b.backup"
    asked(f"memory assert {ORDERS} owner", '"shop"')
    made = asked(f"memory backup {file}")
    assert made["rows"]["knowledge"] == 1
    assert asked(f"memory verify {file}")["missing_keys"] == []
    assert "can restore it" in run(f"memory verify {file}").output
    refused = run(f"memory restore {file}")
    assert (refused.exit_code, "already" in refused.output) == (2, True)
    file.write_bytes(file.read_bytes()[:3000])
    assert run(f"memory verify {file}").exit_code == 2


def test_keys_by_configuration(program: Program, run: Callable[..., Result], asked: Callable[..., Any]) -> None:
    """By address nothing confidential without a key, and the refusal names the setting; then rotated to another key."""
    refused = run(f"memory assert {ORDERS} sample 1 --confidential")
    assert (refused.exit_code, "memory.keys" in refused.output) == (2, True)
    one, two = new_key(), run("memory rotate --new-key").stdout.strip()
    write_config(program, memory={"keys": [{"name": "one", "secret": one}], "sealing_key": "one"})
    asked(f"memory assert {ORDERS} sample", '"4711"', "--confidential")
    assert run(f"memory fact {ORDERS} sample").exit_code == 2
    assert asked(f"memory fact {ORDERS} sample --confidential")["object"] == "4711"
    keys = [{"name": "one", "secret": one}, {"name": "two", "secret": two}]
    write_config(program, memory={"keys": keys, "sealing_key": "two"})
    done = asked("memory rotate")
    assert (done["rewrapped"], [key["key_id"] for key in done["keys"]]) == (2, ["two"])
    assert asked("memory rotate")["rewrapped"] == 0
    write_config(program, memory={"keys": keys[1:], "sealing_key": "two"})
    assert asked(f"memory fact {ORDERS} sample --confidential")["object"] == "4711"
    write_config(program, memory={"keys": [{"name": "two", "secret": one}], "sealing_key": "two"})
    wrong = run(f"memory fact {ORDERS} sample --confidential")
    assert (wrong.exit_code, "not the one" in wrong.output) == (2, True)
    assert one not in wrong.output


def test_the_embedded_database_has_a_key_of_its_own(tmp_path: Path) -> None:
    """Beside its data, made when it is first needed."""
    file = tmp_path / "dataswarm.yaml"
    file.write_text(json.dumps({"database": {"directory": str(tmp_path / "home")}}))
    vault = vault_for(configuration.load(file))
    assert not (tmp_path / "home").exists()
    assert vault.ring.current == "local"
    assert os.listdir(tmp_path / "home") == [KEY_FILE]  # noqa: PTH208 - the names alone


def test_agents_are_asked(program: Program, run: Callable[..., Result], asked: Callable[..., Any]) -> None:
    """What they offer is listed; an ask is a task; a wrong one is told what is wrong."""
    assert "no agent has run here yet" in run("agents list").output
    assert "has the swarm run here?" in run("agents show counter").output
    program.seed(enlisted)
    (offer,) = asked("agents list count rows")["capabilities"]
    assert (offer["agent"], offer["name"], offer["cost"]) == ("counter", "count", "cheap")
    shown = run("agents list").output
    assert [word in shown for word in ("deep, table", "cheap", "by policy")] == [True] * 3
    assert "deep" not in run("agents list --agent idler").output
    for line, said in (
        ("agents list nonsense", "no agent offers that"),
        ("agents list --agent conter", "did you mean 'counter'?"),
        ("agents list --agent idler", "idler offers nothing to ask for"),
        ("agents list rows --agent idler", "idler offers nothing with all of these words"),
    ):
        empty = run(line)
        assert (empty.exit_code, said in empty.output) == (0, True), empty.output
    number = asked("agents ask counter count table=orders deep=true --about", ORDERS, "--as", "ann")["task"]
    assert number > 0
    for line, said in (
        ("agents ask counter count table=orders", "deep is missing"),
        ("agents ask counter count table=orders deep=1", "deep is not of type boolean"),
        ("agents ask counter count table=orders deep=true dep=1", "dep is unknown (did you mean deep?)"),
        ("agents ask counter count table=orders deep=true --about orders", "not an asset reference"),
        ("agents ask countr count", "did you mean 'counter'"),
        ("agents ask counter tidy", "counter does tidy when it sees fit"),
        ("agents ask counter count table=orders deep=true --wait --within soon", "soon"),
        ("agents ask counter coumt", "did you mean 'count'"),
        ("agents ask counter count orders", "FIELD=VALUE"),
    ):
        refused = run(line)
        assert (refused.exit_code, said in refused.output) == (2, True), refused.output
    assert len(program.json("tasks", "list", "--agent", "counter")["tasks"]) == 1


def test_an_agent_is_shown_whole(program: Program, run: Callable[..., Result], asked: Callable[..., Any]) -> None:
    """Where it runs, each field of what it can be asked, how to ask, and what it was asked lately."""
    program.seed(enlisted)
    asked("agents ask counter count table=orders deep=true")
    found = asked("agents show counter")
    (offer,) = found["capabilities"]
    assert offer["example"] == "dataswarm agents ask counter count deep=true table=TABLE"
    assert (found["is_up"], found["performs"], [t["kind"] for t in found["asked"]]) == (
        False,
        ["count", "tidy"],
        ["count"],
    )
    shown = run("agents show counter").output
    for word in ("no process is this agent now", "boolean", "Count rows.", "gives: rows (integer)", "Asked lately"):
        assert word in shown, shown
    assert "did you mean 'counter'" in run("agents show conter").output
    assert "it offers nothing to ask for" in run("agents show idler").output
    program.seed(held)
    assert "it is process here:1 now" in run("agents show counter").output
    program.seed(switched_off)
    assert "it is switched off" in run("agents show counter").output
    assert "counter is switched off" in run("agents list --agent counter").output
    refused = run("agents ask counter count table=orders deep=true")
    assert (refused.exit_code, "switched off" in refused.output) == (2, True)


def test_a_text_stays_a_text(program: Program, asked: Callable[..., Any]) -> None:
    """Where a text is wanted digits are one; elsewhere what is JSON is taken as such."""
    program.seed(enlisted)
    number = asked("agents ask counter count table=007 deep=false")["task"]
    assert program.json("tasks", "show", str(number))["payload"]["table"] == "007"


def test_an_ask_is_waited_for(program: Program, run: Callable[..., Result], asked: Callable[..., Any]) -> None:
    """Its result is shown once it is done; a failure or a lack of time ends with 1."""
    program.seed(enlisted)
    ask = "agents ask counter count table=orders deep=true"
    late = run("agents ask counter count table=late deep=true --wait --within 0.2s")
    assert (late.exit_code, "is ready still" in late.output, "no process is counter now" in late.output) == (
        1,
        True,
        True,
    )

    def meanwhile(work: Callable[[Database], Awaitable[None]]) -> Result:
        worker = threading.Thread(target=program.seed, args=(work,))
        worker.start()
        result = run(f"{ask} --wait --within 20s --json")
        worker.join()
        return result

    done = meanwhile(counted)
    found = json.loads(done.stdout)
    assert (done.exit_code, found["state"], found["result"]) == (0, "succeeded", {"rows": 3})
    failed = meanwhile(broken)
    found = json.loads(failed.stdout)
    assert (failed.exit_code, found["state"], found["error"]) == (1, "failed", "no such table")


async def counted(database: Database) -> None:
    """A worker that does what the counter is asked, until there is nothing more."""
    for task in await claimed(database):
        async with database.transaction() as tx:
            await tasks.succeed(tx, task, {"rows": 3})


async def broken(database: Database) -> None:
    """A worker that cannot."""
    for task in await claimed(database):
        async with database.transaction() as tx:
            await tasks.fail(tx, task, "no such table", retry_in=None)


async def claimed(database: Database) -> list[Task]:
    """What the counter is asked about orders, as soon as it is."""
    for _ in range(400):
        found = await tasks.claim(database, ["counter"], limit=9, worker=uuid4(), lease_seconds=15)
        if any(task.payload["table"] == "orders" for task in found):
            return found
        await asyncio.sleep(0.05)
    raise AssertionError("nobody asked")


async def switched_off(database: Database) -> None:
    """By a row, for all processes."""
    async with database.transaction() as tx:
        await presence.enable(tx, "counter", enabled=False)


async def held(database: Database) -> None:
    """Somebody is the counter."""
    async with database.transaction() as tx:
        await presence.hold(tx, "counter", holder=uuid4(), host="here", process="here:1", seconds=60, topics=["x"])


def test_rehearsals_as_typed(program: Program, run: Callable[..., Result], asked: Callable[..., Any]) -> None:
    """Kept by a replay on a branch, listed, shown, compared with what was real and with another; or refused."""
    assert "events replay" in run("memory rehearsal list").output
    told = program.seed(an_incident)
    asked("memory branch fork what-if")
    replay = ("events", "replay", "--agent", "incident-response", "--since", "1h", "--keep", "--as", "ann")
    first = program.json(*replay, "--branch", "what-if")
    second = program(*replay)
    assert (first["rehearsal"], "Kept as rehearsal 2" in second.output) == (1, True), second.output
    assert "the rehearsal was written" in second.output
    (kept,) = asked("memory rehearsal list --branch what-if")["rehearsals"]
    assert (kept["id"], kept["agent"], kept["by"]) == (1, "incident-response", "ann")
    shown = asked("memory rehearsal show 1")
    assert {said["verdict"] for said in shown["verdicts"]} == {"open", "note"}
    assert str(told.diagnosis) in json.dumps(shown["verdicts"])
    assert "what-if" in run("memory rehearsal show 1").output
    assert asked("memory rehearsal compare 1 2")["is_same"]
    assert "say the same" in run("memory rehearsal compare 1 2").output
    assert "what was decided" in run("memory rehearsal compare 1").output
    assert "no such rehearsal" in run("memory rehearsal list --agent nobody").output
    for line in ("memory rehearsal show 9", "memory rehearsal compare 9", "memory rehearsal compare 1 9"):
        refused = run(line)
        assert (refused.exit_code, "there is no rehearsal 9" in refused.output) == (2, True), refused.output


class Counter(Agent):
    """Counts on request; what it does with what it counted is its own business."""

    name = "counter"
    acts = (
        Capability(
            "count",
            "Count rows.",
            input={"table": "string", "deep": "boolean"},
            output={"rows": "integer"},
            cost="cheap",
        ),
        Capability("tidy", "Tidy up after itself.", on_request=False),
    )


async def enlisted(database: Database) -> None:
    """An agent that counts, and one that offers nothing."""
    offers = Counter.offers()
    async with database.transaction() as tx:
        await presence.enlist(tx, "counter", offers, Sensitivity.INTERNAL)
        await presence.enlist(tx, "idler", [], Sensitivity.INTERNAL)
        await kinds.declare(tx, [kinds.Kind("counter", "count"), kinds.Kind("counter", "tidy")])


def examples() -> Sequence[str]:
    """What the help of these commands shows."""
    parts = typer.Typer(name="dataswarm")
    for part in (remembering, keeping, asking):
        part.add(parts)
    mine = ("memory", "branch", "agents")
    return [line for words, lines in EXAMPLES.items() if words.split()[0] in mine for line in lines]


@pytest.mark.parametrize("example", examples())
def test_every_example_parses(example: str, app: typer.Typer, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the help shows can be typed."""
    reached: list[str] = []
    _, *arguments = shlex.split(example)
    tree: Any = typer.main.get_command(app)
    found = tree
    for word in arguments:
        if hasattr(found, "commands"):
            found = found.commands[word]
    monkeypatch.setattr(found, "callback", lambda **_: reached.append(example))
    tree.main(arguments, prog_name="dataswarm", standalone_mode=False)
    assert reached == [example]
