"""A process of chdb, kept from one look to the next while looks come soon after one another."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
import weakref
from pathlib import Path
from typing import Any, Final

_CHILD: Final = Path(__file__).with_name("child.py")


class Child:
    """One process, in an empty folder, so that no name of a table is that of a file.

    It is spoken to through plain pipes from a thread: a process that outlives a look may outlive the loop of that look,
    too. Whoever forgets it ends it.
    """

    def __init__(self) -> None:
        place = tempfile.TemporaryDirectory(prefix="dataswarm-")
        self._process = subprocess.Popen(
            [sys.executable, "-P", str(_CHILD)],  # -P: the names of our modules are not those of the library's
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=place.name,
        )
        self._finalizer = weakref.finalize(self, _end, self._process, place)

    async def ask(self, request: dict[str, Any], *, seconds: float) -> dict[str, Any] | None:
        """One line there, one line back; None where the process has ended. TimeoutError: it is to be ended."""
        async with asyncio.timeout(seconds):
            line = await asyncio.to_thread(_ask, self._process, json.dumps(request).encode() + b"\n")
        return json.loads(line) if line else None

    def end(self) -> None:
        """End it, whatever it is doing. Idempotent."""
        self._finalizer()


def _ask(process: subprocess.Popen[bytes], line: bytes) -> bytes:
    assert process.stdin is not None  # noqa: S101 - both are pipes
    assert process.stdout is not None  # noqa: S101
    try:
        process.stdin.write(line)
        process.stdin.flush()
        return process.stdout.readline()
    except (OSError, ValueError):  # ended, or its pipes closed meanwhile
        return b""


def _end(process: subprocess.Popen[bytes], place: tempfile.TemporaryDirectory[str]) -> None:
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        try:
            if pipe is not None:
                pipe.close()
        except OSError:  # what was not yet written goes nowhere
            continue
    place.cleanup()
