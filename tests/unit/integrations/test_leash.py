"""The leash: whatever becomes of its owner, the command does not outlive it, and the lock goes with the command."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

import pytest

from integrations.orchestrators import leash
from tests.pace import PATIENCE

pytestmark = pytest.mark.chaos
SCRIPT = str(Path(leash.__file__))
# Lasts until a signal ends it; should nobody send one, its own does.
LASTING = "import signal; signal.alarm(600); signal.pause()"
# A child with a child of its own that ignores being interrupted; both write their ids.
STUBBORN = (
    "import os, signal, subprocess, sys; signal.signal(signal.SIGINT, signal.SIG_IGN); "
    "c = subprocess.Popen([sys.executable, '-c', "
    f"'import signal; signal.signal(signal.SIGINT, signal.SIG_IGN); {LASTING}']); "
    f"print(os.getpid(), c.pid, flush=True); {LASTING}"
)


def start(lock: Path, *command: str, wait: float = 5, grace: float = 0.2) -> subprocess.Popen[str]:
    """A leash in a session of its own, as the orchestrator starts it."""
    return subprocess.Popen(
        [sys.executable, "-I", "-S", SCRIPT, str(lock), str(wait), str(grace), "--", *command],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def pipes(process: subprocess.Popen[str]) -> tuple[IO[str], IO[str], IO[str]]:
    """Its three ends."""
    assert process.stdin
    assert process.stdout
    assert process.stderr
    return process.stdin, process.stdout, process.stderr


def let_go(process: subprocess.Popen[str]) -> None:
    """Let the command start."""
    said, _, told = pipes(process)
    assert told.readline() == "locked\n"
    said.write("!")
    said.flush()


def until(holds: Callable[[], bool], seconds: float = PATIENCE) -> None:
    """Wait for something to hold, with a deadline."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        os.sched_yield()


def is_alive(process: int) -> bool:
    """Is it there, and not merely unburied?"""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def is_free(lock: Path) -> bool:
    """Could somebody else take the lock?"""
    with lock.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


def end(process: subprocess.Popen[str]) -> int:
    """Close the pipes and wait."""
    for pipe in pipes(process):
        pipe.close()
    return process.wait(10)


def test_it_runs_a_command_and_says_how_it_ended(tmp_path: Path) -> None:
    """Output comes through, the exit code is told, nothing starts before it is let go."""
    process = start(tmp_path / "lock", sys.executable, "-c", "import sys; print('hello'); sys.exit(3)")
    let_go(process)
    _, output, told = pipes(process)
    assert output.read() == "hello\n"
    assert [line.split()[0] for line in told] == ["started", "exit"]
    assert end(process) == 0


def test_a_missing_executable_is_said_so(tmp_path: Path) -> None:
    """`missing`, and the exit code a shell would give."""
    process = start(tmp_path / "lock", "no-such-executable-anywhere")
    let_go(process)
    assert pipes(process)[2].readline() == "missing\n"
    assert end(process) == leash.MISSING


def test_one_at_a_time(tmp_path: Path) -> None:
    """A second leash on the same lock is busy while the first one's command lives, and gets it afterwards."""
    lock = tmp_path / "lock"
    first = start(lock, sys.executable, "-c", LASTING)
    let_go(first)
    assert pipes(first)[2].readline().startswith("started")
    second = start(lock, "true", wait=0.3)
    assert pipes(second)[2].readline() == "busy\n"
    assert end(second) == leash.BUSY
    third = start(lock, "true", wait=10)
    end(first)
    let_go(third)
    assert pipes(third)[2].readline().startswith("started")
    assert end(third) == 0


@pytest.mark.parametrize("way", ["close", "terminate", "kill"])
def test_nothing_survives(tmp_path: Path, way: str) -> None:
    """Owner gone, leash told to end, leash killed by -9: the command is gone and so is the lock."""
    lock = tmp_path / "lock"
    process = start(lock, sys.executable, "-c", STUBBORN)
    let_go(process)
    said, output, _ = pipes(process)
    child, grandchild = map(int, output.readline().split())
    assert not is_free(lock)
    if way == "close":
        said.close()
    elif way == "terminate":
        process.terminate()
    else:
        process.kill()
    until(lambda: not is_alive(child))
    if way == "kill":
        # The kernel ends the command itself; what it had started is beyond reach and still holds the lock.
        os.kill(grandchild, signal.SIGKILL)
    until(lambda: not is_alive(grandchild) and is_free(lock))
    end(process)


def test_a_killed_owner_takes_the_command_along(tmp_path: Path) -> None:
    """`kill -9` of the process that holds the line ends the command and its children."""
    owner = (
        "import subprocess, sys; "
        f"p = subprocess.Popen([sys.executable, '-I', '-S', {SCRIPT!r}, {str(tmp_path / 'lock')!r}, '5', '0.2', '--', "
        f"sys.executable, '-c', {STUBBORN!r}], stdin=subprocess.PIPE, start_new_session=True); "
        f"p.stdin.write(b'!'); p.stdin.flush(); {LASTING}"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", owner], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert process.stdout
    child, grandchild = map(int, process.stdout.readline().split())
    process.kill()
    process.wait()
    until(lambda: not is_alive(child) and not is_alive(grandchild) and is_free(tmp_path / "lock"))
    process.stdout.close()
