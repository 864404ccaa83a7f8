"""`up` as a process: it works, says where, drains when told, and ends at once when told twice."""

from __future__ import annotations

import asyncio
import faulthandler
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import pytest

from config.errors import SetupError
from config.settings import Settings
from dataswarm import serving
from dataswarm.app import Addresses, App
from dataswarm.commands import running as up
from memory.server import migrate
from tests.pace import PATIENCE
from tests.unit.dataswarm.program import Program, program, write_config

__all__ = ["program"]


@contextmanager
def running(program: Program, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """The swarm as a process of its own; ended however the test ends."""
    process = subprocess.Popen(
        [sys.executable, "-m", "dataswarm", "up", "--config", str(program.config), *arguments],
        stderr=subprocess.PIPE,
        text=True,
        cwd=program.config.parent,
        env={**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONFAULTHANDLER": "1"},
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def until(process: subprocess.Popen[str], word: str) -> str:
    """Read its log until a word is said; what was read."""
    assert process.stderr is not None
    said = ""
    end = time.monotonic() + PATIENCE
    while word not in said:
        assert time.monotonic() < end, said
        line = process.stderr.readline()
        assert line, said
        said += line
    return said


def ended(process: subprocess.Popen[str]) -> int:
    """Its exit status; where it does not end, what every thread of it is doing is the failure's message."""
    try:
        return process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGABRT)
        _, said = process.communicate()
        pytest.fail(f"it did not end within {PATIENCE:g} s\n{said}")


def test_up_works_and_drains(program: Program) -> None:
    """It greets with the address, its agents are seen by `status`, SIGTERM ends it in good order."""
    write_config(program, http={"port": 0}, runtime={"demo": True, "drain_seconds": 2})
    with running(program, "--only", "schema-drift") as process:
        said = until(process, "swarm.up")
        [greeting] = [json.loads(line) for line in said.splitlines() if "up.starting" in line]
        assert greeting["demo"] is True
        assert greeting["address"].startswith("http://127.0.0.1:")
        found = program.json("status")
        assert [p["agents"] for p in found["processes"]] == [["schema-drift"]]
        process.send_signal(signal.SIGTERM)
        assert ended(process) == 0
    assert program.json("status")["processes"] == []


def test_an_unknown_agent_is_refused(program: Program) -> None:
    """Exit status 2 and no traceback."""
    write_config(program, http={"port": 0})
    with running(program, "--only", "schema-drfit") as process:
        _, said = process.communicate(timeout=PATIENCE)
        assert process.returncode == 2
    assert "schema-drfit" in said
    assert "Traceback" not in said


def test_pending_migrations_are_refused_unless_told(program: Program, server: Any, empty_name: str) -> None:
    """Exit status 2, each named, and nothing applied; with `--migrate` they are applied and it works."""
    owner, worker = (server.url_for(database=empty_name, user=user) for user in ("postgres", "dataswarm_worker"))
    write_config(program, http={"port": 0}, runtime={"drain_seconds": 1})
    write_config(program, database={"url": worker, "migrate_url": owner, "directory": str(program.config.parent)})
    with running(program) as process:
        _, said = process.communicate(timeout=PATIENCE)
        assert process.returncode == 2
    assert all(str(migration) in said for migration in migrate.shipped())
    assert "--migrate" in said
    assert len(asyncio.run(migrate.pending(owner))) == len(migrate.shipped())
    with running(program, "--migrate", "--only", "schema-drift") as process:
        until(process, "swarm.up")
        process.send_signal(signal.SIGTERM)
        assert ended(process) == 0
    assert asyncio.run(migrate.pending(owner)) == []


@pytest.mark.parametrize("is_embedded", [True, False])
async def test_an_embedded_database_is_migrated_by_itself(
    is_embedded: bool, server: Any, empty_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody else uses it, so nothing can go wrong; one that is configured waits to be told."""
    owner, worker = (server.url_for(database=empty_name, user=user) for user in ("postgres", "dataswarm_worker"))
    where = Addresses(worker, worker, owner, server if is_embedded else None)
    monkeypatch.setattr("dataswarm.app.addresses", lambda _: where)
    if is_embedded:
        await (await App.open(Settings())).close()
        assert await migrate.pending(owner) == []
    else:
        with pytest.raises(SetupError, match="lacks"):
            await App.open(Settings())


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
async def test_whoever_insists_does_not_wait(second: signal.Signals, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first signal asks to stop, the second ends the process at once."""
    stop, gone = asyncio.Event(), asyncio.Event()
    statuses: list[int] = []

    def leave(status: int) -> None:
        statuses.append(status)
        gone.set()

    monkeypatch.setattr(os, "_exit", leave)
    up._heed_signals(stop, 60.0)
    try:
        signal.raise_signal(signal.SIGTERM)
        await asyncio.wait_for(stop.wait(), PATIENCE)
        assert statuses == []
        signal.raise_signal(second)
        await asyncio.wait_for(gone.wait(), PATIENCE)
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().remove_signal_handler(number)
        faulthandler.cancel_dump_traceback_later()
    assert statuses == [130]


def test_a_drain_that_hangs_ends_all_the_same() -> None:
    """A thread that never comes back holds the process only until its time is up, and its stack is told."""
    hanging = (
        "import asyncio, os, signal, threading\n"
        "from dataswarm.commands import running\n"
        "async def main():\n"
        "    stop = asyncio.Event()\n"
        "    running._heed_signals(stop, 0.2)\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "    await stop.wait()\n"
        "    await asyncio.to_thread(threading.Event().wait)\n"
        "asyncio.run(main())\n"
    )
    process = subprocess.run(
        [sys.executable, "-c", hanging], capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert process.returncode == 1
    assert "threading.py" in process.stderr


@pytest.mark.parametrize("failing", ["swarm", "door"])
async def test_half_a_swarm_is_none(failing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever half fails, the other is told to stop, and the error is the outcome."""
    drained: list[str] = []

    async def half(name: str, stop: asyncio.Event) -> None:
        if name == failing:
            raise SetupError(f"the {name} broke")
        await stop.wait()
        drained.append(name)

    class Application:
        settings = Settings()

        async def run(self, stop: asyncio.Event, **_: object) -> None:
            await half("swarm", stop)

    monkeypatch.setattr(serving, "serve", lambda _, stop: half("door", stop))
    with pytest.raises(SetupError, match=failing):
        await up._together(cast("App", Application()), asyncio.Event(), (), None)
    assert drained == ["door" if failing == "swarm" else "swarm"]


def test_log_lines_are_json(program: Program) -> None:
    """Where standard error is no terminal, each line of the log is an object."""
    write_config(program, http={"port": 0}, runtime={"demo": True})
    with running(program) as process:
        said = until(process, "swarm.up").splitlines()
    assert all(json.loads(line)["demo"] for line in said)
