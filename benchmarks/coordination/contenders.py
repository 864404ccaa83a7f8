"""Who takes part, and what it takes to run them: an environment for each peer, made once and kept.

The peers' pins conflict with ours and with one another's, so none of them is in the project's lock: each has a
requirements file with hashes (or a package lock) here, and an environment under the user's cache directory.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.progress import timed
from benchmarks.report import PRODUCT
from config.errors import SetupError

ROOT = Path(__file__).parents[2]
PEERS_FOLDER = ROOT / "benchmarks" / "peers"
SETUP_SECONDS = 600
_QUIET = {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PYTHONDONTWRITEBYTECODE": "1"}


@dataclass(frozen=True, slots=True)
class Contender:
    """Somebody who can be asked the questions of `peers/actor.py`.

    Attributes:
        name, version: as printed.
        slow: what part of the usual number of tasks is enough: a thousand a second needs no fifty thousand.
        role: whom it connects as; None: the server's superuser.
    """

    name: str
    version: str
    slow: float = 1.0
    role: str | None = None

    def command(self, cache: Path) -> list[str]:
        """The program; the address of its database comes last."""
        match self.name:
            case "dataswarm":
                return [sys.executable, "-m", "benchmarks.coordination.ours"]
            case "plain SQL":
                return [sys.executable, "-m", "benchmarks.coordination.plain"]
            case "graphile-worker":
                return [node(), str(PEERS_FOLDER / "graphile.mjs")]
            case _:
                return [str(self.home(cache) / "bin" / "python"), "-m", f"benchmarks.peers.{self.name}"]

    def environment(self, cache: Path) -> dict[str, str]:
        """What its process finds in its environment."""
        return {**os.environ, **_QUIET, "PYTHONPATH": str(ROOT), "PEER_MODULES": str(self.home(cache))}

    def home(self, cache: Path) -> Path:
        """Where its environment lies, by what was pinned and the Python that runs it."""
        pins = _pins(self.name).read_bytes() if _pins(self.name).is_file() else b""
        mark = hashlib.sha256(pins + sys.version.encode()).hexdigest()[:12]
        return cache / f"{self.name}-{mark}"

    def prepare(self, cache: Path) -> None:
        """Make the environment unless it is there.

        Raises:
            SetupError: the package index cannot be reached, or Node.js is missing.
        """
        if not _pins(self.name).is_file():
            return
        home = self.home(cache)
        if (home / ".ready").is_file():
            return
        shutil.rmtree(home, ignore_errors=True)
        home.mkdir(parents=True)
        with timed(f"setting up {self.name} {self.version}, once"):
            if self.name == "graphile-worker":
                npm = shutil.which("npm")
                if npm is None:
                    raise SetupError("npm is not installed", hint="install Node.js 18 or newer")
                for name in ("package.json", "package-lock.json"):
                    shutil.copy(PEERS_FOLDER / name, home / name)
                _run([npm, "ci", "--no-audit", "--no-fund", "--ignore-scripts"], home, self.name)
            else:
                _run([sys.executable, "-m", "venv", str(home)], home, self.name)
                pip = [str(home / "bin" / "python"), "-m", "pip", "install", "--quiet", "--require-hashes"]
                _run([*pip, "-r", str(_pins(self.name))], home, self.name)
        (home / ".ready").touch()


def _pins(name: str) -> Path:
    if name == "graphile-worker":
        return PEERS_FOLDER / "package-lock.json"
    return PEERS_FOLDER / f"requirements-{name}.txt"


def node() -> str:
    """Node.js.

    Raises:
        SetupError: it is not installed.
    """
    found = shutil.which("node")
    if found is None:
        raise SetupError("node is not installed", hint="install Node.js 18 or newer")
    return found


def _run(command: Sequence[str], place: Path, name: str) -> None:
    try:
        done = subprocess.run(
            command,
            cwd=place,
            capture_output=True,
            text=True,
            timeout=SETUP_SECONDS,
            check=False,
            env={**os.environ, **_QUIET},
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SetupError(f"{name} could not be set up: {type(error).__name__}", hint="is there a network?") from error
    if done.returncode:
        last = next((line for line in reversed((done.stderr or done.stdout).splitlines()) if line.strip()), "no word")
        raise SetupError(f"{name} could not be set up: {last.strip()[:200]}", hint="is the package index reachable?")


OURS = Contender(PRODUCT, "", role="dataswarm_worker")
PLAIN = Contender("plain SQL", "")
PEERS: Mapping[str, Contender] = {
    peer.name: peer
    for peer in (
        Contender("procrastinate", "3.10.0", slow=0.1),
        Contender("pgqueuer", "1.6.0"),
        Contender("dbos", "3.4.0", slow=0.1),
        Contender("graphile-worker", "0.17.3"),
    )
}


def cache_directory() -> Path:
    """Where environments are kept: `$DATASWARM_BENCH_CACHE`, else the user's cache."""
    given = os.environ.get("DATASWARM_BENCH_CACHE")
    return Path(given) if given else Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "dataswarm-bench"
