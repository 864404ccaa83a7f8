"""The embedded server keeps what it was given, whatever happens to it or to us."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from memory.server.embedded import EmbeddedServer


@pytest.fixture
def directory() -> Iterator[Path]:
    """A short directory of this test's own."""
    path = Path(tempfile.mkdtemp(prefix="dse", dir="/tmp"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


def _write(server: EmbeddedServer) -> None:
    with psycopg.connect(server.url_for(), autocommit=True) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")


def _read(server: EmbeddedServer) -> int:
    with psycopg.connect(server.url_for()) as connection:
        row = connection.execute("SELECT answer FROM kept").fetchone()
        assert row is not None
        return int(row[0])


def test_data_survive_a_restart_and_a_kill(directory: Path) -> None:
    """Stop, start; then kill the server with -9 while sessions are open, start: the rows are there."""
    server = EmbeddedServer.start(directory / "pg")
    try:
        _write(server)
        server.stop()
        server = EmbeddedServer.start(directory / "pg")
        assert _read(server) == 42
        os.kill(server.pid, signal.SIGKILL)
        server = EmbeddedServer.start(directory / "pg")
        assert _read(server) == 42
    finally:
        server.stop()


def test_server_outlives_the_process_that_started_it(directory: Path) -> None:
    """A process starts the server and is killed with -9; the next one joins the same server."""
    program = (
        "import os, signal, sys; from pathlib import Path; from memory.server.embedded import EmbeddedServer;"
        "print(EmbeddedServer.start(Path(sys.argv[1])).pid, flush=True); os.kill(os.getpid(), signal.SIGKILL)"
    )
    run = subprocess.run(
        [sys.executable, "-c", program, str(directory / "pg")], capture_output=True, text=True, check=False
    )
    assert run.returncode == -signal.SIGKILL, run.stderr
    server = EmbeddedServer.start(directory / "pg")
    try:
        assert server.pid == int(run.stdout)
    finally:
        server.stop()


def test_a_relative_and_a_very_long_path(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative path works, and one over the limit of a socket's path."""
    monkeypatch.chdir(directory)
    long = Path("/".join(["a rather long name of a folder"] * 5))
    server = EmbeddedServer.start(long / "pg")
    try:
        assert len(str(server.socket_directory / ".s.PGSQL.5432")) <= 107
        _write(server)
        assert _read(server) == 42
    finally:
        server.stop()


def test_a_stale_pid_file_that_names_another_process(directory: Path) -> None:
    """After a power cut the pid may belong to something else by now; the server starts all the same."""
    server = EmbeddedServer.start(directory / "pg")
    _write(server)
    content = (directory / "pg" / "postmaster.pid").read_text().split("\n")
    server.stop()
    content[0] = str(os.getpid())
    (directory / "pg" / "postmaster.pid").write_text("\n".join(content))
    server = EmbeddedServer.start(directory / "pg")
    try:
        assert _read(server) == 42
    finally:
        server.stop()
