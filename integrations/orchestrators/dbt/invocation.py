"""Running dbt on a leash: once at a time on a machine, never longer than its caller lives."""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import shutil
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path

from pydantic import SecretStr

from config.errors import PermanentError, SetupError, SourceError, SwarmError, TransientError
from integrations.orchestrators import leash

_LEASH = str(Path(leash.__file__))
_TAIL_BYTES = 64_000
_LONGEST_MESSAGE = 1500
_SLACK_SECONDS = 5.0
_SHORTEST_SECRET = 4
_LINE_START = re.compile(r"^(\x1b\[[0-9;]*m)*\d{2}:\d{2}:\d{2}(\.\d+)?\s*(\[\w+ *\]\s*)?")
_UNREACHABLE = re.compile(
    r"connection refused|could not connect|could not translate host|connection timed out|timeout expired"
    r"|no route to host|server closed the connection|the database system is|remaining connection slots|too many clients"
    r"|no such file or directory\s+is the server running|connection reset",
    re.IGNORECASE,
)
_REFUSED = re.compile(
    r"password authentication failed|role \"[^\"]*\" does not exist|database \"[^\"]*\" does not exist"
    r"|no pg_hba\.conf entry|permission denied|is not permitted to log in",
    re.IGNORECASE,
)
_UNUSABLE = re.compile(
    r"compilation error|parsing error|could not find profile|dbt_project\.yml|env var required|syntax error in yaml"
    r"|invalid .*project|depends on a .* which was not found|dbt deps|does not have a target named|no profiles\.yml"
    r"|could not find adapter|config .* is required|validation ?error",
    re.IGNORECASE,
)
_NOT_MATCHED = re.compile(r"does not match any enabled nodes|nothing to do", re.IGNORECASE)


def command_of(executable: str, env: Mapping[str, str], source: str) -> list[str]:
    """The command line that starts dbt; SetupError with what to do where there is none."""
    words = [executable] if Path(executable).exists() else shlex.split(executable)
    beside = Path(sys.executable).parent / words[0]
    found = shutil.which(words[0], path=env.get("PATH"))
    if found is None and "/" not in words[0] and os.access(beside, os.X_OK):
        # Started as .venv/bin/dataswarm without the environment activated: its dbt is the one that is meant.
        found = str(beside)
    if found is None:
        raise not_installed(executable, source)
    return [found, *words[1:]]


def version_command(command: Sequence[str]) -> list[str]:
    """A command that says the version.

    `dbt --version` asks a package index for newer ones, so a dbt that is a Python script is asked by its interpreter.
    """
    if len(command) == 1:
        with Path(command[0]).open("rb") as script:
            first = script.readline(1024)
        python = first.removeprefix(b"#!").strip().decode(errors="replace")
        if first.startswith(b"#!") and "python" in python and Path(python).exists():
            return [python, "-c", "from importlib.metadata import version; print(version('dbt-core'))"]
    return [*command, "--version"]


def not_installed(executable: str, source: str) -> SetupError:
    """What to raise where the executable is not there."""
    return SetupError(
        f"dbt {source}: there is no executable {executable!r}",
        hint="install dbt with your adapter (`pip install dbt-core dbt-postgres`), or set `executable` to its path",
    )


def environment(extra: Mapping[str, SecretStr]) -> dict[str, str]:
    """The environment for dbt: ours without what is the swarm's own, plus what is configured."""
    inherited = {k: v for k, v in os.environ.items() if not k.upper().startswith("DATASWARM_")}
    added = {k: v.get_secret_value() for k, v in extra.items()}
    return inherited | {"DBT_SEND_ANONYMOUS_USAGE_STATS": "false"} | added


async def run(
    command: Sequence[str],
    *,
    source: str,
    directory: Path,
    env: Mapping[str, str],
    lock: Path,
    wait_seconds: float,
    timeout_seconds: float,
    grace_seconds: float,
    prepare: Callable[[], Awaitable[None]],
) -> tuple[int, str]:
    """Run a command under the lock; its exit code and the end of its output.

    `prepare` is awaited once the lock is held and before the command starts. Raises TransientError where another
    build holds the lock too long or the command exceeds its time; whatever way this is left, the command is gone.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-I", "-S", _LEASH, str(lock), str(wait_seconds), str(grace_seconds), "--", *command),
        cwd=directory,
        env=dict(env),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    said, heard, told = process.stdin, process.stdout, process.stderr
    if said is None or heard is None or told is None:
        raise PermanentError(f"dbt {source}: the leash has no pipes")
    output = asyncio.ensure_future(_tail(heard))
    try:
        word = await _word(told)
        if word == "busy":
            raise TransientError(
                f"dbt {source}: another build of the swarm has held {lock.name} for over {wait_seconds:.0f} s"
            )
        if word != "locked":
            raise PermanentError(f"dbt {source}: the leash did not start: {word or await _word(told)}")
        await prepare()
        said.write(b"!")
        await said.drain()
        async with asyncio.timeout(timeout_seconds):
            word = await _word(told)
            if word == "missing":
                raise not_installed(command[0], source)
            while not word.startswith("exit "):
                if not word:
                    raise TransientError(f"dbt {source}: the build was ended from outside")
                word = await _word(told)
            return int(word.removeprefix("exit ")), await output
    except TimeoutError:
        raise TransientError(
            f"dbt {source}: the build took over {timeout_seconds:.0f} s and was ended",
            hint="raise build_timeout_seconds of this source",
        ) from None
    finally:
        # Closing the line is what makes the leash end the command; also on cancellation.
        said.close()
        await _gone(process, grace_seconds + _SLACK_SECONDS)
        output.cancel()
        await asyncio.gather(output, return_exceptions=True)


async def _word(stream: asyncio.StreamReader) -> str:
    return (await stream.readline()).decode(errors="replace").strip()


async def _tail(stream: asyncio.StreamReader) -> str:
    kept = bytearray()
    while chunk := await stream.read(8192):
        kept += chunk
        del kept[:-_TAIL_BYTES]
    return kept.decode(errors="replace")


async def _gone(process: asyncio.subprocess.Process, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await process.wait()
    except TimeoutError:
        process.kill()  # the kernel then kills the command
        await process.wait()


def failure(code: int, output: str, source: str, *, secrets: Sequence[str]) -> SwarmError:
    """Why a dbt that left no run results did so, judged by its own words."""
    said = trimmed(output, secrets)
    if _UNREACHABLE.search(output):
        return TransientError(
            f"dbt {source}: the warehouse cannot be reached: {said}", hint="is it up? It will be tried again"
        )
    if _REFUSED.search(output):
        return SetupError(
            f"dbt {source}: the warehouse refuses: {said}", hint="check the profile, its role and what it is granted"
        )
    if _UNUSABLE.search(output):
        return SourceError(
            f"dbt {source}: the project cannot be used: {said}", hint="run `dbt parse` in it and mend what it names"
        )
    if _NOT_MATCHED.search(output):
        return PermanentError(f"dbt {source}: nothing matched what was to be built: {said}")
    return PermanentError(f"dbt {source}: dbt ended with {code} and left no run results: {said}")


def trimmed(output: str, secrets: Sequence[str] = ()) -> str:
    """What dbt said: from its first error on, without times and colours, cut to a readable length."""
    lines = [re.sub(r"\x1b\[[0-9;]*m", "", _LINE_START.sub("", line)).rstrip() for line in output.splitlines()]
    lines = [line for line in lines if line]
    start = next((i for i, line in enumerate(lines) if re.search(r"error", line, re.IGNORECASE)), 0)
    text = "\n".join(lines[start:])
    for secret in secrets:
        if len(secret) >= _SHORTEST_SECRET:
            text = text.replace(secret, "***")
    return text if len(text) <= _LONGEST_MESSAGE else text[:_LONGEST_MESSAGE] + " …"
