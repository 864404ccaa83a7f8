"""A peer in a Python of its own: set up once from pinned hashes, asked by a line of JSON, answering by one."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.coordination.contenders import cache_directory
from benchmarks.progress import timed
from config.errors import PermanentError, SetupError


def prepared(name: str, pins: Path) -> Path:
    """The interpreter with what `pins` lists, made once and kept.

    Raises:
        SetupError: it cannot be installed.
    """
    mark = hashlib.sha256(pins.read_bytes() + sys.version.encode()).hexdigest()[:12]
    home = cache_directory() / f"{name}-{mark}"
    if not (home / ".ready").is_file():
        shutil.rmtree(home, ignore_errors=True)
        with timed(f"setting up the peers of {name}, once"):
            pip = [str(home / "bin" / "python"), "-m", "pip", "install", "--quiet", "--require-hashes", "-r", str(pins)]
            for command in ([sys.executable, "-m", "venv", str(home)], pip):
                done = subprocess.run(command, capture_output=True, text=True, check=False)
                if done.returncode:
                    last = next((line for line in reversed(done.stderr.splitlines()) if line.strip()), "no word")
                    raise SetupError(f"{name}: peers could not be set up: {last[:200]}", hint="is the index reachable?")
        (home / ".ready").touch()
    return home / "bin" / "python"


class Told:
    """A process of a peer: told what to do, one order after the other.

    Args:
        interpreter: as `prepared` gives it.
        script: what it runs; it answers each line of JSON with one.
    """

    def __init__(self, interpreter: Path, script: Path) -> None:
        self._name = script.parent.name
        self._process = subprocess.Popen(
            [str(interpreter), str(script)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def ask(self, **order: Any) -> dict[str, Any]:
        """Its answer.

        Raises:
            PermanentError: it ended without one.
        """
        assert self._process.stdin is not None  # noqa: S101 - it was started with pipes
        assert self._process.stdout is not None  # noqa: S101
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise PermanentError(f"the peer of {self._name} ended without an answer")
        found: dict[str, Any] = json.loads(line)
        return found

    def close(self) -> None:
        """End the process."""
        self._process.terminate()
        self._process.wait()
