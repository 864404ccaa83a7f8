"""How dbt is run in the demo: always with the project's own variables, always into a named target directory."""

from __future__ import annotations

import gc
import importlib
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from config.errors import SetupError

if TYPE_CHECKING:
    from dataswarm.demo.world import World

_COLLECTED_AFTER: Final = 100_000


def dbt_environment(world: World, role: str, *, database: str, owner: str) -> dict[str, str]:
    """The variables the project's `profiles.yml` reads.

    Args:
        world: a running world.
        role: who connects.
        database: where to build.
        owner: the role the relations are to belong to.
    """
    return {
        "SHOP_HOST": world.host,
        "SHOP_USER": role,
        "SHOP_PASSWORD": world.passwords[role],
        "SHOP_DATABASE": database,
        "SHOP_SCHEMA": "analytics",
        "SHOP_ROLE": owner,
        "SHOP_APPLICATION": f"shop/{role}",
        "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
    }


def dbt_arguments(command: Sequence[str], *, project: Path, target: Path) -> list[str]:
    """A dbt command line for a project and a target directory; without a log, for what fails is printed."""
    places = {"project": project, "profiles": project}
    directories = [part for name, path in places.items() for part in (f"--{name}-dir", str(path))]
    return [
        "--quiet",
        *("--log-level-file", "none", "--log-path", str(target / "logs")),
        *command,
        *directories,
        "--target-path",
        str(target),
    ]


@cache
def _runner() -> Any:
    """What runs dbt inside this process; imported once.

    The hundreds of thousands of objects that come with it stay, and a build makes as many again: a collector that
    looks through them as often as usual takes a quarter of dbt's time.

    Raises:
        SetupError: dbt is not installed.
    """
    try:
        runner = importlib.import_module("dbt.cli.main").dbtRunner
    except ImportError:
        raise SetupError("dbt is not installed", hint="install the extra: dataswarm[demo]") from None
    gc.freeze()
    gc.set_threshold(_COLLECTED_AFTER)
    return runner


def try_here(arguments: list[str], environment: dict[str, str]) -> bool:
    """Run dbt inside this process, which saves its start, and say whether all went well; it prints to stderr.

    Raises:
        SetupError: dbt is not installed.
    """
    runner = _runner()()
    os.environ.update(environment)
    with redirect_stdout(sys.stderr):
        return bool(runner.invoke(arguments).success)


def run_here(arguments: list[str], environment: dict[str, str]) -> None:
    """Run dbt inside this process.

    Raises:
        SetupError: it did not succeed; what it printed is on stderr.
    """
    if not try_here(arguments, environment):
        raise SetupError(f"dbt failed: {' '.join(arguments)}")


def run_apart(arguments: list[str], environment: dict[str, str], cwd: Path) -> None:
    """Run dbt in a process of its own.

    Raises:
        SetupError: it did not succeed; the end of what it printed is in the message.
    """
    finished = subprocess.run(
        [sys.executable, "-c", "from dbt.cli.main import cli; cli()", *arguments],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    if finished.returncode:
        last_words = (finished.stdout + finished.stderr).strip()[-1500:]
        raise SetupError(f"dbt failed: {' '.join(arguments)}: {last_words}")


def read_artefact(target: Path, name: str) -> dict[str, Any]:
    """A dbt artefact as it stands in a target directory.

    Args:
        target: the directory.
        name: without the suffix: `manifest`, `run_results`, `sources`.
    """
    found: dict[str, Any] = json.loads((target / f"{name}.json").read_text())
    return found
