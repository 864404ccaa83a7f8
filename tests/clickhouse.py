"""The owner of directories of chdb: another process than the one that looks, for it locks what it has open."""

from __future__ import annotations

import json
import subprocess
import sys
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_SCRIPT = """
import json, os, sys
from chdb.session import Session
out = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)
for line in sys.stdin:
    asked, problem, answer = json.loads(line), "", b""
    session = Session(asked["path"])
    try:
        for statement in asked["statements"]:
            found = session.query(statement, "TabSeparated")
            answer = found.bytes() if found.size() else b""
    except Exception as error:
        problem = str(error)
    if not asked["hold"]:
        session.close()
    print(json.dumps([problem, answer.decode("latin-1")]), file=out, flush=True)
"""
_MOST_RUNS = 40  # chdb loses memory and threads with every session


class RefusedError(Exception):
    """What ClickHouse said to a statement."""


class Owner:
    """A process that opens directories one after the other and runs what it is given."""

    def __init__(self) -> None:
        self.runs = 0
        self._process = subprocess.Popen(
            [sys.executable, "-c", _SCRIPT],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self.end = weakref.finalize(self, _end, self._process)

    def run(self, path: Path, statements: tuple[str, ...], *, hold: bool = False) -> bytes:
        """Open, ask or change, and close again, unless it is to stay open; what the last statement gave.

        Raises:
            RefusedError: a statement failed; none after it was run.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self.runs += 1
        asked = {"path": str(path), "statements": statements, "hold": hold}
        print(json.dumps(asked), file=self._process.stdin, flush=True)
        problem, answer = json.loads(self._process.stdout.readline() or '["the owner ended", ""]')
        if problem:
            raise RefusedError(problem)
        return str(answer).encode("latin-1")


def _end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


_owners: list[Owner] = []


def run(path: Path, *statements: str) -> bytes:
    """Let the owner of the directory change it, or look; what the last statement gave."""
    if not _owners or _owners[-1].runs >= _MOST_RUNS:
        for worn in _owners:
            worn.end()
        _owners[:] = [Owner()]
    return _owners[-1].run(path, statements)


@contextmanager
def holding(path: Path) -> Iterator[None]:
    """Another process has the directory open meanwhile."""
    owner = Owner()
    try:
        owner.run(path, ("select 1",), hold=True)
        yield
    finally:
        owner.end()
