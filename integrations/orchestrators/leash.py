"""A leash for a long child process: whatever becomes of its owner, the child does not outlive it.

Run as a script of its own (standard library only, so it starts in some 20 ms):

    leash.py LOCK WAIT_SECONDS GRACE_SECONDS -- COMMAND ...

Standard input is the line to the owner: it closes when the owner lets go or dies, also by `kill -9`. Then the
command's whole process group gets SIGINT (dbt takes that to cancel its queries) and, a grace later, SIGKILL. The
kernel kills the command should the leash itself be killed. A lock on LOCK is held from before the start until the
last process of the command is gone, because the command inherits it.

It says on standard error, a line each: `busy` (no lock within WAIT_SECONDS), `locked` (it then waits for a byte of
input before it starts anything), `missing` (no such executable), `started PID`, `exit CODE`. The command's output
goes to standard output.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from types import FrameType

BUSY = 75
MISSING = 127
_TICK_SECONDS = 0.1
_PR_SET_PDEATHSIG = 1


class _Line:
    """The line to the owner."""

    def __init__(self) -> None:
        self._parent = os.getppid()
        self._told_to_end = False
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._end)

    def _end(self, _number: int, _frame: FrameType | None) -> None:
        self._told_to_end = True

    def wait(self, seconds: float) -> bool | None:
        """True: the owner said something; None: nothing yet; False: it is gone."""
        if self._told_to_end or os.getppid() != self._parent:
            return False
        readable, _, _ = select.select([0], [], [], seconds)
        if not readable:
            return None
        return bool(os.read(0, 1))

    def say(self, words: str) -> None:
        # An owner that is gone hears nothing; the child is ended all the same.
        with contextlib.suppress(OSError):
            os.write(2, words.encode() + b"\n")


def _lock(path: str, seconds: float, line: _Line) -> int | None:
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    deadline = time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if line.wait(_TICK_SECONDS) is False or time.monotonic() >= deadline:
                return None
        else:
            return handle


def _dies_with(parent: int) -> Callable[[], None] | None:
    if not sys.platform.startswith("linux"):
        return None
    prctl = ctypes.CDLL(None, use_errno=True).prctl

    def before_exec() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # it died before we asked
            os._exit(1)

    return before_exec


def _end(child: subprocess.Popen[bytes], grace: float) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGINT)
    with contextlib.suppress(subprocess.TimeoutExpired):
        child.wait(grace)


def main(arguments: list[str]) -> int:
    """Hold the lock, run the command, let nothing of it survive."""
    path, wait, grace, _, *command = arguments
    line = _Line()
    lock = _lock(path, float(wait), line)
    if lock is None:
        line.say("busy")
        return BUSY
    line.say("locked")
    while (word := line.wait(_TICK_SECONDS)) is None:
        pass
    if word is False:
        return 0
    try:
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stderr=subprocess.STDOUT,
            process_group=0,
            pass_fds=(lock,),
            preexec_fn=_dies_with(os.getpid()),  # noqa: PLW1509 - no thread runs here
        )
    except (FileNotFoundError, PermissionError):
        line.say("missing")
        return MISSING
    line.say(f"started {child.pid}")
    while child.poll() is None:
        if line.wait(_TICK_SECONDS) is False:
            _end(child, float(grace))
            break
    # What is left of the group: a child that would not end, or children it left behind.
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    code = child.wait()
    line.say(f"exit {code}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
