"""Is the team's run in flight? By a marker with a process id in it, or by a command that knows."""

from __future__ import annotations

import asyncio
import os
import re
import shlex
from pathlib import Path

from config.errors import SetupError, TransientError

_COMMAND_SECONDS = 15.0


def marked(marker: Path) -> bool:
    """Does the marker stand for a living process? One without a readable id counts as living: better wait in vain."""
    try:
        text = marker.read_text(errors="replace")
    except FileNotFoundError:
        return False
    found = re.search(r"\d+", text)
    return found is None or _is_alive(int(found.group()))


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True  # another user's, but there
    try:
        # A zombie has ended; only its parent has not asked yet.
        state = Path(f"/proc/{process}/stat").read_text(errors="replace").rpartition(")")[2].split()[0]
    except (FileNotFoundError, IndexError):
        return True  # no /proc on this system
    return state != "Z"


async def answers(command: str, source: str) -> bool:
    """Does the command say that a run is in flight (0) or not (1)? Anything else is a TransientError."""
    try:
        process = await asyncio.create_subprocess_exec(
            *shlex.split(command),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
    except (FileNotFoundError, PermissionError):
        raise SetupError(
            f"dbt {source}: running_command cannot be started", hint="check its path, and that it may be executed"
        ) from None
    try:
        async with asyncio.timeout(_COMMAND_SECONDS):
            code = await process.wait()
    except TimeoutError:
        raise TransientError(f"dbt {source}: running_command took over {_COMMAND_SECONDS:.0f} s") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if code not in (0, 1):
        raise TransientError(
            f"dbt {source}: running_command ended with {code}", hint="0 means a run is in flight, 1 means none is"
        )
    return code == 0
