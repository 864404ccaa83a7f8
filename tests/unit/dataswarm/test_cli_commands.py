"""Each command over a real database: what it answers, as text and as JSON, and how it refuses."""

from __future__ import annotations

import getpass
import json
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from config.assets import Asset
from dataswarm.demo import play
from dataswarm.demo.faults.catalogue import CATALOGUE
from memory.beliefs import knowledge
from memory.board import incidents, remediations
from memory.connection.database import Database
from memory.measuring.figures import Figures, Spread
from memory.members import presence
from memory.queue import tasks
from memory.records import NewTask, RemediationState, Sensitivity
from tests.memory.stage import ORDERS
from tests.unit.dataswarm.program import (
    Program,
    Told,
    advance,
    an_incident,
    asking,
    declare,
    handed_over,
    program,
    remedied,
    write_config,
)

__all__ = ["program"]


def refused(program: Program, *arguments: str, says: str, config: bool = True) -> str:
    """Run a command that must be refused as a usage error; what it said."""
    result = program(*arguments, config=config)
    assert result.exit_code == 2, result.output
    assert says in result.stderr, result.stderr
    assert "Traceback" not in result.output
    return result.stderr


def test_a_quiet_swarm(program: Program) -> None:
    """Empty states help: what is missing, and which command shows more."""
    said = program("status").output
    assert "dataswarm up" in said
    assert "dataswarm incidents --all" in said
    assert "no auto-resolution ratio" in said
    assert "no incidents yet" in program("incidents", "--all").output
    assert "nothing has been learned" in program("memory", "learnings").output
    assert "nothing has happened yet" in program("events", "tail").output
    assert "nothing is waiting" in program("tasks", "list").output
    assert "no change is announced" in program("planned-change", "list").output
    assert "nothing that fits 'orders renamed'" in program("memory", "search", "orders", "renamed").output


def test_status_of_a_busy_swarm(program: Program) -> None:
    """Agents, incident, question, cap, silence and switch on one page, and the same as JSON."""
    told = program.seed(asking)

    async def enlist(database: Database) -> None:
        async with database.transaction() as tx:
            await presence.enlist(tx, "schema-drift", [{"kind": "sense"}], Sensitivity.INTERNAL)

    program.seed(enlist)
    for arguments in (
        ("cap", "all", "propose", "--reason", "young"),
        ("silence", "warehouse://shop/raw.refunds", "2h"),
        ("kill-switch", "on", "--reason", "audit"),
        ("planned-change", "add", "warehouse://shop/raw.x", "--for", "1h", "--kind", "schema.*"),
    ):
        assert program(*arguments).exit_code == 0
    said = program("status").output
    for word in ("schema-drift", "customer_id was renamed", "KILL SWITCH ON: audit", "raw.refunds", "young", "raw.x"):
        assert word in said
    found = program.json("status")
    assert found["source"] == "live"
    assert [i["id"] for i in found["incidents"]] == [told.incident]
    assert found["approvals"][0]["incident_id"] == told.incident
    assert found["kill_switch"] == "audit"
    assert found["caps"][0]["autonomy"] == "propose"
    assert found["silences"][0]["pattern"] == "warehouse://shop/raw.refunds"
    assert found["planned_changes"][0]["kind"] == "schema.*"
    assert found["ratio"]["all"] == {"auto": 0, "final": 0, "ratio": None}
    assert found["agents"][0]["is_up"] is False


def test_demo_is_said_everywhere(program: Program) -> None:
    """Text and JSON."""
    write_config(program, runtime={"demo": True})
    assert program("status").output.startswith("DEMO")
    assert program.json("incidents")["source"] == "demo"
    assert program.json("kill-switch", "status")["source"] == "demo"


def test_show(program: Program) -> None:
    """Timeline, diagnosis, remedy with its diff, question and how to answer."""
    told = program.seed(asking)
    said = program("show", str(told.incident)).output
    for word in (
        "Timeline",
        "asked",
        "column_renamed",
        "0.95",
        "Patch stg_orders.",
        "+  client_id",
        "dataswarm approve",
    ):
        assert word in said
    found = program.json("show", str(told.incident))
    assert found["diagnoses"][0]["id"] == told.diagnosis
    assert found["remediations"][0]["undo_hint"] == "git revert it"
    assert {m["kind"] for m in found["members"]} == {"diagnosis", "schema.column_renamed"}
    escalated = program.seed(lambda d: an_incident(d, fingerprint="other"))
    assert program("show", str(escalated.incident)).exit_code == 0


def test_show_of_an_incident_that_is_not_there(program: Program) -> None:
    """Those that are, are named."""
    assert "none yet" in refused(program, "show", "99", says="no incident 99")
    told = program.seed(an_incident)
    assert str(told.incident) in refused(program, "show", "99", says="no incident 99").split("→")[1]
    assert program("show", "0").exit_code == 2
    assert program("show", "twelve").exit_code == 2


def test_ack_as_the_user_of_the_system(program: Program) -> None:
    """Who acts is written down; an escalation is taken up."""
    told = program.seed(handed_over)
    assert program.json("ack", str(told.incident))["acknowledged_by"] == getpass.getuser()
    assert program.json("ack", str(told.incident), "--as", "maria")["acknowledged_by"] == "maria"
    found = program.json("show", str(told.incident))
    assert found["acknowledged_by"] == "maria"
    assert found["escalations"][0]["state"] == "acknowledged"
    assert "Does it come back?" in program("show", str(told.incident)).output


def test_close_and_false_positive_need_a_reason(program: Program) -> None:
    """And end an incident once."""
    told = program.seed(an_incident)
    assert program("close", str(told.incident)).exit_code == 2
    refused(program, "close", str(told.incident), "--reason", " ", says="say why")
    assert program.json("close", str(told.incident), "--reason", "done")["resolution"] == "human"
    refused(program, "close", str(told.incident), "--reason", "again", says="closed (human) already")
    other = program.seed(lambda d: an_incident(d, fingerprint="other"))
    said = program("false-positive", str(other.incident), "--reason", "a backfill")
    assert "false positive" in said.output
    assert "no open incidents" in program("incidents").output
    assert len(program.json("incidents", "--all", "--limit", "5")["incidents"]) == 2


def test_approve(program: Program) -> None:
    """Once; what waits is named where nothing does."""
    told = program.seed(asking)
    other = program.seed(lambda d: an_incident(d, fingerprint="other"))
    assert str(told.incident) in refused(program, "approve", str(other.incident), says="nothing about incident")
    assert program.json("approve", str(told.incident), "--as", "maria")["approval"]["answered_by"] == "maria"
    refused(program, "approve", str(told.incident), says="nothing about incident")


def test_deny(program: Program) -> None:
    """The remedy is put away with the reason."""
    told = program.seed(asking)
    assert "is not run" in program("deny", str(told.incident), "--reason", "not now").output
    [remedy] = program.json("show", str(told.incident))["remediations"]
    assert remedy["state"] == "refused"
    assert "not now" in remedy["result"]["reason"]


def test_undo(program: Program) -> None:
    """A task for the responder, once."""
    told = program.seed(remedied)
    done = program.json("undo", str(told.remediation))
    assert program.json("tasks", "show", str(done["task_id"]))["kind"] == "undo"
    again = program("undo", str(told.remediation))
    assert again.exit_code == 1
    assert "being taken back already" in again.stderr
    assert "can be taken back are" in refused(program, "undo", "99", says="no remediation 99")


def test_undo_of_what_was_not_applied(program: Program) -> None:
    """There is nothing to take back."""
    told = program.seed(an_incident)
    refused(program, "undo", str(told.remediation), says="proposed: nothing of it was applied")


def test_silence_and_planned_change_refuse_nonsense(program: Program) -> None:
    """A pattern that names no asset would mute nothing, unseen."""
    refused(program, "silence", "raw.orders", "2h", says="not an asset reference")
    refused(program, "silence", "warehouse://shop/raw.orders", "soon", says="not a length of time")
    refused(program, "silence", "warehouse://shop/raw.orders", "600d", says="a year at most")
    refused(program, "planned-change", "add", "orders", "--for", "2h", says="not an asset reference")
    assert program("planned-change", "add", "warehouse://shop/raw.orders").exit_code == 2
    said = program("planned-change", "add", "warehouse://shop/raw.*", "--for", "30m", "--reason", "release 7").output
    assert "is expected until" in said
    assert "release 7" in program("planned-change", "list").output


def test_kill_switch(program: Program) -> None:
    """On needs a reason; status reads it; off is said."""
    refused(program, "kill-switch", "on", says="say why")
    assert program("kill-switch", "half").exit_code == 2
    assert "is off" in program("kill-switch", "status").output
    assert "ON: audit" in program("kill-switch", "on", "--reason", "audit").output
    assert program.json("kill-switch", "status")["kill_switch"] == "audit"
    assert program.json("kill-switch", "off")["kill_switch"] is None


def test_cap(program: Program) -> None:
    """A misspelt scope or level is refused with the nearest name; lift lifts."""
    assert "patch-model" in refused(program, "cap", "playbook:patchmodel", "observe", says="no playbook is called")
    assert "schema-drift" in refused(program, "cap", "agent:schema-drfit", "observe", says="no agent is called")
    assert "observe" in refused(program, "cap", "all", "observ", says="not a level")
    refused(program, "cap", "everything", "observe", says="not a scope")
    refused(program, "cap", "asset:orders", "observe", says="not an asset reference")
    assert "is paused" in program("cap", "asset:warehouse://shop/finance.*", "paused").output
    assert "may propose at most" in program("cap", "playbook:patch-model", "propose").output
    assert "has no cap" in program("cap", "playbook:patch-model", "lift").output
    assert [c["scope"] for c in program.json("status")["caps"]] == ["asset:warehouse://shop/finance.*"]


async def _a_dead_task(database: Database, key: str | None = None) -> int:
    await declare(database, "pipeline-health/investigate")
    async with database.transaction() as tx:
        new = NewTask("pipeline-health", "investigate", ORDERS, max_attempts=1, key=key)
        [number] = await tasks.enqueue(tx, [new])
    assert number is not None
    [task] = await tasks.claim(database, ["pipeline-health"], limit=1, worker=uuid4(), lease_seconds=30)
    async with database.transaction() as tx:
        await tasks.fail(tx, task, "source: broken", retry_in=None)
    return number


def test_tasks(program: Program) -> None:
    """List, show, retry, cancel; and what none of them can be done to."""
    number = str(program.seed(_a_dead_task))
    refused(program, "tasks", "show", "999", says="no task 999")
    assert "source: broken" in program("tasks", "list", "--state", "failed").output
    assert program.json("tasks", "list")["tasks"] == []
    refused(program, "tasks", "cancel", number, says="failed already")
    assert program.json("tasks", "retry", number)["retried"] == [int(number)]
    refused(program, "tasks", "retry", number, says="only one that failed for good")
    shown = program.json("tasks", "show", number)
    assert "token" not in shown
    assert "investigate" in program("tasks", "show", number).output
    assert "is cancelled" in program("tasks", "cancel", number).output
    refused(program, "tasks", "retry", "999", says="no task 999")
    refused(program, "tasks", "retry", says="--all")
    refused(program, "tasks", "retry", number, "--all", says="--all")
    refused(program, "tasks", "retry", number, "--kind", "investigate", says="go with --all")


def test_tasks_are_found_by_what_they_are(program: Program) -> None:
    """By agent, kind, subject and time; where nothing fits, the name that was probably meant."""
    number = program.seed(_a_dead_task)
    failed = ("tasks", "list", "--state", "failed")
    for fits in (
        ("--agent", "pipeline-health"),
        ("--kind", "investigate"),
        ("--subject", str(ORDERS)),
        ("--subject", "warehouse://shop/*"),
        ("--since", "1h"),
    ):
        assert [t["id"] for t in program.json(*failed, *fits)["tasks"]] == [number], fits
    for misses in (("--kind", "sense"), ("--subject", "warehouse://other/*"), ("--since", "2999-01-01")):
        assert program.json(*failed, *misses)["tasks"] == [], misses
    assert "did you mean 'pipeline-health'?" in program(*failed, "--agent", "pipeline-helth").output
    assert "waiting, running or dead are investigate" in program(*failed, "--kind", "investigat").output
    refused(program, *failed, "--since", "yesterday", says="not a time")


def test_all_dead_letters_are_tried_again(program: Program) -> None:
    """Of a kind; one whose key a living task has stays dead, and that is said with exit status 1."""

    async def seed(database: Database) -> list[int]:
        dead = [await _a_dead_task(database, key) for key in (None, None, "k")]
        async with database.transaction() as tx:
            await tasks.enqueue(tx, [NewTask("pipeline-health", "investigate", ORDERS, key="k")])
        return dead

    one, two, keyed = program.seed(seed)
    assert "no task that failed" in program("tasks", "retry", "--all", "--kind", "sense").output
    result = program("tasks", "retry", "--all", "--kind", "investigate", "--json")
    assert result.exit_code == 1
    done = json.loads(result.stdout)
    assert done["retried"] == [one, two]
    assert [left["task_id"] for left in done["left"]] == [keyed]
    assert "a living task has the key" in done["left"][0]["why"]
    several = program("tasks", "cancel", str(one), str(two), "999")
    assert several.exit_code == 1
    assert f"task {one} is cancelled (it was ready)" in several.output
    assert "left as it is: there is no task 999" in several.output


def test_what_becomes_of_a_running_task_is_said(program: Program) -> None:
    """Who stops it, until when its subject stays taken, and where to see what it did outside."""

    async def seed(database: Database) -> int:
        await declare(database, "pipeline-health/investigate")
        async with database.transaction() as tx:
            await tasks.enqueue(tx, [NewTask("pipeline-health", "investigate", ORDERS)] * 2)
        claimed = await tasks.claim(database, ["pipeline-health"], limit=2, worker=uuid4(), lease_seconds=30)
        return claimed[0].id

    number = program.seed(seed)
    said = program("tasks", "cancel", str(number)).output
    for word in ("it was running", "can write nothing more", f"dataswarm tasks show {number}", "stays taken until"):
        assert word in said
    [done] = program.json("tasks", "cancel", str(number + 1))["cancelled"]
    assert (done["was"], bool(done["worker"]), bool(done["lease_until"])) == ("leased", True, True)


def test_status_shows_coordination(program: Program, owner_url: str) -> None:
    """Figures of the processes that report, a deaf one with what to do, and who pins old rows."""
    claim = Spread()
    claim.observe(0.002, 9)

    async def seed(database: Database) -> None:
        async with database.transaction() as tx:
            for pid, figures in (
                (1, Figures(listening=True, gaps=2, claim=claim)),
                (2, Figures(retried=3, claim=claim)),
            ):
                await presence.beat(tx, uuid4(), "h", pid, "1", "c0ffee", ["x"], figures.to_json())
            await presence.beat(tx, uuid4(), "h", 3, "0", "c0ffee", ["x"])  # an older release counts nothing

    program.seed(seed)
    with psycopg.connect(owner_url, application_name="forgotten") as forgotten:
        forgotten.execute("SELECT pg_current_xact_id()")
        found = program.json("status")["coordination"]
        said = program("status").output
    assert found["claim_seconds"] == {"number": 18, "p50": 0.0025, "p99": 0.0025}
    assert (found["gaps"], found["retried"], found["deaf"]) == (2, 3, ["h:2"])
    assert "forgotten" in [pin["name"] for pin in found["pinned"]]
    assert found["partitions"]["events"] >= 0
    assert found["troubles"] == []
    for word in ("No notification reaches h:2", "database.listen_url", "2.5 ms", "retries 3", "NOTIFY gaps 2"):
        assert word in said


def test_events_tail(program: Program) -> None:
    """The newest last; narrowed by topic."""
    told = program.seed(an_incident)
    said = program("events", "tail").output
    assert "observation.schema.column_renamed" in said
    found = program.json("events", "tail", "--topic", "incident.*")["events"]
    assert [(e["topic"], e["reference"]) for e in found] == [("incident.open", f"incident:{told.incident}")]
    assert program.json("events", "tail", "--since", "1h", "--agent", "anybody")["events"]
    assert program.json("events", "tail", "--since", "2999-01-01T00:00+00:00")["events"] == []
    assert "no such events" in program("events", "tail", "--topic", "nothing.*").output
    refused(program, "events", "tail", "--since", "soon", says="not a time")


def test_memory(program: Program) -> None:
    """Search by words, facts by name, learnings by playbook."""
    told = program.seed(an_incident)

    async def remember(database: Database) -> None:
        async with database.transaction() as tx:
            await knowledge.assert_fact(tx, "pipeline-health", ORDERS, "profile.good", {"rows": 7}, expected=None)
            await knowledge.learn(
                tx,
                "incident-response",
                signal="success",
                playbook="patch-model",
                cause="column_renamed",
                subject=ORDERS,
                text="it settled it",
                circumstances={},
            )

    program.seed(remember)
    found = program.json("memory", "search", "customer_id", "client_id", "--noun", "decision")["found"]
    assert [f["reference"] for f in found] == [f"decision:{told.diagnosis}"]
    assert f"decision:{told.diagnosis}" in program("memory", "search", "client_id").output
    assert program.json("memory", "fact", str(ORDERS), "profile.good")["object"] == {"rows": 7}
    assert '"rows": 7' in program("memory", "fact", str(ORDERS), "profile.good").output
    assert "profile.good" in refused(program, "memory", "fact", str(ORDERS), "profil.good", says="nothing is held")
    refused(program, "memory", "fact", "orders", "profile.good", says="not an asset reference")
    assert program.json("memory", "learnings", "--playbook", "patch-model")["learnings"][0]["signal"] == "success"
    assert "it settled it" in program("memory", "learnings").output


def test_migrate(program: Program, server: Any, empty_name: str) -> None:
    """The plan changes nothing; then all is applied; then nothing is pending."""
    owner = server.url_for(database=empty_name)
    write_config(
        program, database={"url": server.url_for(database=empty_name, user="dataswarm_worker"), "migrate_url": owner}
    )
    assert "pending: 0001" in program("migrate", "--plan").output
    assert program.json("migrate")["applied_now"]
    assert "nothing is pending" in program("migrate", "--plan").output
    refused(program, "migrate", "--set-password", says="holds no password")


def test_config(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    """Check, show, schema; secrets stay hidden."""
    assert "nothing to object" in program("config", "check").output
    assert program.json("config", "check")["ok"] is True
    write_config(program, http={"tokens": [{"name": "me", "token": "geheim-12345"}]})
    assert "geheim" not in program("config", "show").output
    shown = program.json("config", "show")["configuration"]
    assert shown["agents"]["schema-drift"]["enabled"] is True
    assert program("config", "schema", config=False).stdout.startswith("{")
    write_config(program, agents={"schema-drfit": {}})
    refused(program, "config", "check", says="schema-drift")
    result = program("config", "check", "--json")
    assert result.exit_code == 2
    assert json.loads(result.stdout)["problems"][0]["suggestion"] == "schema-drift"


def test_init_writes_once(program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that loads; an existing one is only replaced when asked; grants are printed alone."""
    file = tmp_path / "new" / "dataswarm.yaml"
    arguments = ["init", "--no-ask", "--warehouse", "shop", "--schema", "raw", "--channel", "ops=webhook"]
    arguments += ["--dbt-project", str(tmp_path), "--config", str(file)]
    said = program(*arguments, config=False)
    assert said.exit_code == 0, said.output
    assert "WAREHOUSE_READER_URL" in said.output
    for name in ("WAREHOUSE_READER_URL", "WAREHOUSE_ACTOR_URL"):
        monkeypatch.setenv(name, "postgresql://x@127.0.0.1/shop")
    monkeypatch.setenv("OPS_CHANNEL_URL", "https://hooks.example.org/x")
    monkeypatch.setenv("OPS_CHANNEL_SECRET", "s" * 40)
    checked = program("config", "check", "--config", str(file), config=False)
    assert checked.exit_code == 0, checked.output
    before = file.read_text(encoding="utf-8")
    refused(program, *arguments, says="is there already", config=False)
    assert program.json(*arguments, "--force", "--autonomy", "act", config=False)["replaced"] is True
    assert file.read_text(encoding="utf-8") != before
    assert "CREATE ROLE" in program("init", "--no-ask", "--print-grants", config=False).output.upper()


def test_init_refuses_nonsense(program: Program, tmp_path: Path) -> None:
    """A secret instead of a variable's name is not repeated; unknown kinds and levels are."""
    to = ["init", "--no-ask", "--config", str(tmp_path / "x.yaml")]
    said = refused(program, *to, "--reader-variable", "postgresql://u:geheim@h/d", says="not the name", config=False)
    assert "geheim" not in said
    refused(program, *to, "--channel", "ops=pigeon", says="not a channel", config=False)
    assert "propose" in refused(program, *to, "--autonomy", "propos", says="not an autonomy", config=False)
    refused(program, "init", "--no-ask", "--config", str(tmp_path), says="is there already", config=False)


def test_init_asks(program: Program, tmp_path: Path) -> None:
    """Each answer lands in the file."""
    file = tmp_path / "asked.yaml"
    keys = "shop\nR_URL\nA_URL\n../dbt\n../models\npropose\nops=apprise\n"
    said = program("init", "--ask", "--config", str(file), config=False, keys="raw, marts\n" + keys)
    assert said.exit_code == 0, said.output
    text = file.read_text(encoding="utf-8")
    for word in ("shop:", "${R_URL}", "${A_URL}", "marts", "../dbt", "../models", "propose", "OPS_CHANNEL_URL"):
        assert word in text


def test_demo_lists_and_refuses(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    """The catalogue; a wrong fault, a wrong way; and a word about dbt where it is missing."""
    for name in CATALOGUE:
        assert name in program("demo", "--list", config=False).output
    listed = json.loads(program("demo", "--list", "--json", "-", config=False).stdout)
    assert listed["source"] == "demo"
    assert "column-renamed" in refused(program, "demo", "--fault", "colum-renamed", says="no fault", config=False)
    refused(program, "demo", "--way", "sideways", says="not a way", config=False)
    refused(program, "demo", "--fault", "null-keys", "--way", "alter", says="has no way", config=False)
    monkeypatch.setattr("dataswarm.commands.playing.NEEDED", ("dbt-of-another-world",))
    assert "pip install" in refused(program, "demo", says="needs dbt", config=False)


def test_demo_passes_everything_on(program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And ends with the run's exit status."""
    asked: list[play.Options] = []

    def pretend(options: play.Options, console: object) -> int:
        asked.append(options)
        return 1

    monkeypatch.setattr(play, "main", pretend)
    file = str(tmp_path / "out.json")
    arguments = [
        "--fault",
        "column-renamed",
        "--way",
        "alter",
        "--seed",
        "3",
        "--once",
        "--keep",
        "--plain",
        "--json",
        file,
    ]
    assert program("demo", *arguments, config=False).exit_code == 1
    assert asked == [play.Options("column-renamed", "alter", 3, True, True, True, Path(file))]


def test_ids_of_other_stories_stay_untouched(program: Program) -> None:
    """Closing one incident answers nothing of another."""
    told: Told = program.seed(asking)
    other = program.seed(lambda d: an_incident(d, fingerprint="other"))
    program("close", str(other.incident), "--reason", "done")

    async def states(database: Database) -> tuple[str, RemediationState]:
        async with database.transaction() as tx:
            incident = await incidents.get(tx, told.incident)
            remedy = await remediations.get(tx, told.remediation)
            assert incident is not None
            assert remedy is not None
            return incident.state.value, remedy.state

    assert program.seed(states) == ("awaiting_approval", RemediationState.PROPOSED)


def test_compatibility_views_in_force_are_shown(program: Program) -> None:
    """A bridge somebody should know of, until it is taken back."""

    async def bridged(database: Database) -> int:
        told = await an_incident(database, cause="table_renamed")
        async with database.transaction() as tx:
            remedy = await remediations.propose(
                tx,
                incident_id=told.incident,
                decision_id=told.diagnosis,
                playbook="compatibility-view",
                subject=Asset.parse("warehouse://shop/raw.orders"),
                plan={"summary": "Put a view raw.orders over raw.sales."},
            )
        await advance(database, remedy.id, (RemediationState.APPROVED, RemediationState.APPLIED))
        return remedy.id

    number = program.seed(bridged)
    assert [v["remediation_id"] for v in program.json("status")["compatibility_views"]] == [number]
    assert "raw.sales" in program("status").output
