"""The fault that passes: a report's session, left open, holds a lock until one dbt node has failed on it.

The node fails when its patience ends, or (`--cut`) because somebody ends its session while it waits. Runs as a process
of its own (`python -m dataswarm.demo.faults.passing --world DIR --mart NAME`), because a lock lives as long as its
session: it says `holding` on its standard output, waits for a victim, and goes.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path
from typing import Final, LiteralString

import psycopg
from psycopg import sql

from config.errors import TransientError
from dataswarm.demo.world import World

_POLL_SECONDS: Final = 0.05
_PATIENCE_SECONDS: Final = 600.0

_VICTIMS: Final[LiteralString] = """
select distinct waiting.pid from pg_locks as waiting
where not waiting.granted and %s = any(pg_blocking_pids(waiting.pid))
"""


def hold(world: World, mart: str, *, cut: bool = False) -> None:
    """Start the process that holds the lock, and return once it does; it ends by itself.

    Args:
        world: a running world.
        mart: a mart that every build replaces.
        cut: end the session that waits for it, rather than wait until it gives up.

    Raises:
        TransientError: the lock could not be had.
    """
    command = [sys.executable, "-m", "dataswarm.demo.faults.passing", "--world", str(world.directory), "--mart", mart]
    command += ["--cut"] if cut else []
    # Nobody waits for this process: it belongs to the broken world, not to whoever broke it.
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, start_new_session=True
    )
    said = process.stdout.readline() if process.stdout else ""
    if process.stdout is not None:
        process.stdout.close()
    # Already detached; keeps Python from warning about a child it will never reap.
    process.returncode = 0
    if said.strip() != "holding":
        raise TransientError(f"no lock could be had on {mart}")


def hold_until_failed(world: World, mart: str, *, cut: bool = False, patience: float = _PATIENCE_SECONDS) -> bool:
    """Read a mart and keep the transaction open until somebody has waited for it in vain.

    Args:
        world: a running world.
        mart: a mart that every build replaces.
        cut: end the session of whoever waits.
        patience: seconds after which to go even if nobody came.

    Returns:
        Whether somebody failed on it.
    """
    deadline = time.monotonic() + patience
    with world.connect("saboteur") as report, world.connect("saboteur") as observer:
        observer.autocommit = True
        report.execute("set application_name = 'shop/report'")
        report.execute(sql.SQL("select 1 from {} limit 1").format(sql.Identifier("analytics", mart)))
        sys.stdout.write("holding\n")
        sys.stdout.flush()
        was_waited_for = False
        while time.monotonic() < deadline:
            waiting = [int(pid) for (pid,) in observer.execute(_VICTIMS, (report.info.backend_pid,))]
            if was_waited_for and not waiting:
                return True
            was_waited_for = bool(waiting)
            if cut:
                for pid in waiting:
                    observer.execute("select pg_terminate_backend(%s)", (pid,))
            # Nobody tells when a lock is waited for: the server has no signal for it.
            time.sleep(_POLL_SECONDS)
    return False


def main() -> int:
    """Hold the lock the arguments name."""
    parser = argparse.ArgumentParser(prog="python -m dataswarm.demo.faults.passing")
    parser.add_argument("--world", type=Path, required=True)
    parser.add_argument("--mart", required=True)
    parser.add_argument("--cut", action="store_true", help="end the session that waits")
    chosen = parser.parse_args()
    try:
        hold_until_failed(World.open(chosen.world), chosen.mart, cut=chosen.cut)
    except psycopg.OperationalError:
        # The warehouse went away, and the lock with it.
        return 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
