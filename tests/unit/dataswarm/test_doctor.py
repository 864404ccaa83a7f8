"""The doctor finds what is wrong, one part at a time, whatever else is broken."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import psycopg
import pytest
from pydantic import BaseModel, ConfigDict

from config.errors import SetupError
from dataswarm import doctor
from dataswarm.members import Installed, installed
from integrations.base import Finding
from memory.bus.listener import Listener
from tests.unit.dataswarm.program import Program, program, write_config

__all__ = ["program"]


class Moods(BaseModel):
    """How a strange door behaves."""

    model_config = ConfigDict(extra="forbid")
    mood: str = "well"


class Strange:
    """A door that is well, hangs, breaks, or complains."""

    kind: ClassVar[str] = "strange"
    Options: ClassVar[type[BaseModel]] = Moods

    def __init__(self, name: str, options: Moods) -> None:
        self.name = name
        self.options = options

    async def open(self) -> None:
        """Nothing to open."""

    async def close(self) -> None:
        """Nothing to close."""

    async def examine(self) -> Sequence[Finding]:
        """As its mood is."""
        if self.options.mood == "hangs":
            await asyncio.Event().wait()
        if self.options.mood == "breaks":
            raise ZeroDivisionError
        if self.options.mood == "refuses":
            raise SetupError("no driver", hint="install it")
        return [Finding(self.options.mood == "well", f"it is {self.options.mood}")]


@pytest.fixture
def strange(monkeypatch: pytest.MonkeyPatch) -> None:
    """An installation with the strange door, and an agent that was refused."""
    real = installed()
    made = Installed(
        real.agents,
        real.playbooks,
        {**real.integrations, "strange": Strange},
        {"agent broken": "missing member: act"},
        real.origin,
    )
    monkeypatch.setattr(doctor, "installed", lambda: made)


def lines(report: doctor.Report, part: str) -> list[tuple[bool | None, str]]:
    """What was found about a part."""
    return [(line.ok, line.what) for line in report.lines if line.part == part]


@pytest.mark.usefixtures("strange")
def test_each_source_by_itself(program: Program) -> None:
    """One hangs, one breaks, one refuses, one is off: the others are reported all the same."""
    moods = ("well", "hangs", "breaks", "refuses", "unwell")
    sources: dict[str, Any] = {mood: {"kind": "strange", "mood": mood} for mood in moods}
    write_config(program, sources={**sources, "idle": {"kind": "strange", "enabled": False}})
    report = asyncio.run(doctor.examine(program.config, source_seconds=0.3))
    assert lines(report, "source well") == [(True, "it is well")]
    assert lines(report, "source hangs") == [(False, "source hangs did not answer within 0.3 s")]
    assert lines(report, "source breaks") == [(False, "it broke while being examined: ZeroDivisionError")]
    assert lines(report, "source refuses") == [(False, "no driver")]
    assert lines(report, "source unwell") == [(False, "it is unwell")]
    assert lines(report, "source idle") == [(None, "strange, off: sources.idle.enabled is false")]
    assert (False, "agent broken is refused: missing member: act") in lines(report, "installed")
    assert not report.is_well


def test_a_sound_installation(program: Program) -> None:
    """Exit status 0; members with where they come from; server, extension, migrations, role."""
    write_config(program, agents={"schema-drift": {"enabled": False}})
    result = program("doctor")
    assert result.exit_code == 0, result.output
    for word in ("all is well", "pgvector", "PostgreSQL 1", "migrations are applied", "patch-model", "rules alone"):
        assert word in result.output
    for word in ("notifications come through", "nobody keeps old rows", "partitions are made"):
        assert word in result.output
    assert "agents.schema-drift.enabled is false" in result.output
    found = json.loads(program("doctor", "--json").stdout)
    assert found["ok"] is True
    assert found["source"] == "live"


def test_a_broken_configuration_hides_nothing_else(program: Program) -> None:
    """Its problems, what is installed, exit status 1."""
    write_config(program, runtim={})
    result = program("doctor")
    assert result.exit_code == 1
    assert "runtime" in result.output
    assert "agent schema-drift" in result.output


def test_a_database_that_is_away_is_a_finding(program: Program) -> None:
    """With its hint; the rest is reported."""
    program.config.write_text("database: {url: 'postgresql://me:geheim@127.0.0.1:1/x'}\n", encoding="utf-8")
    result = program("doctor")
    assert result.exit_code == 1
    assert "geheim" not in result.output
    assert "dbt-core" in result.output or "pip install" in result.output


def test_a_superuser_is_refused(program: Program, owner_url: str) -> None:
    """The working role must not be mighty."""
    write_config(program, database={"url": owner_url})
    assert "superuser" in program("doctor").output


def test_pending_migrations(program: Program, server: Any, empty_name: str) -> None:
    """Named, with what to run."""
    write_config(program, database={"url": server.url_for(database=empty_name)})
    result = program("doctor")
    assert result.exit_code == 1
    assert "pending: 0001" in result.output
    assert "dataswarm migrate" in result.output


def test_notifications_that_do_not_come_through(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is broken, for polling does the work; what to set is said."""

    async def deaf(_: Listener) -> bool:
        return False

    monkeypatch.setattr(Listener, "comes_through", deaf)
    result = program("doctor")
    assert result.exit_code == 0, result.output
    assert "works by polling" in result.output
    assert "database.listen_url" in result.output


def test_whoever_pins_old_rows_is_named(program: Program, owner_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With pid, name and age, as the owner sees them; wrong as soon as it is old."""
    monkeypatch.setattr("memory.server.health.OLD_SECONDS", -1.0)
    with psycopg.connect(owner_url, application_name="forgotten") as forgotten:
        forgotten.execute("SELECT pg_current_xact_id()")
        pid = forgotten.info.backend_pid
        result = program("doctor")
    assert result.exit_code == 1
    assert f"'forgotten' (pid {pid})" in result.output
    assert " s and " in result.output


def test_without_an_owner_the_working_role_looks(
    program: Program, owner_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It sees pid and name, and how many transactions, if not since when."""
    data = json.loads(program.config.read_text(encoding="utf-8"))
    del data["database"]["migrate_url"]
    program.config.write_text(json.dumps(data), encoding="utf-8")
    monkeypatch.setattr("memory.server.health.OLD_TRANSACTIONS", -1)
    with psycopg.connect(owner_url, application_name="forgotten") as forgotten:
        forgotten.execute("SELECT pg_current_xact_id()")
        result = program("doctor")
    assert "'forgotten'" in result.output
    assert "transactions" in result.output


def test_a_model_that_cannot_be_used(program: Program) -> None:
    """Configured wrongly: a finding, not an exception."""
    write_config(program, model={"name": "no-such-provider:x"})
    result = program("doctor", "--json")
    assert result.exit_code == 1
    [line] = [entry for entry in json.loads(result.stdout)["lines"] if entry["part"] == "model"]
    assert line["ok"] is False


def test_a_door_open_to_others_without_tokens(program: Program) -> None:
    """Said, for nobody from outside could come in."""
    write_config(program, http={"host": "0.0.0.0"})  # noqa: S104 - that is the point
    assert "without tokens" in program("doctor").output


def test_no_configuration_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: Program) -> None:
    """The defaults are said to be in force."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dataswarm.yaml").unlink()
    monkeypatch.setattr(doctor, "_database", lambda _: doctor._said(doctor.Line("database", True, "not now")))
    assert "dataswarm init" in program("doctor", config=False).output
