"""An embedded ClickHouse (chdb): a directory, opened for one look by a process that ends with it."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final

from config.errors import SetupError, TransientError
from integrations.warehouses.clickhouse.answers import FORMAT, SETTINGS, Answer, read
from integrations.warehouses.clickhouse.faults import translate
from integrations.warehouses.clickhouse.transport import CHANGING, Conversation, Settings
from integrations.warehouses.clickhouse.words import literal, quoted

_CHILD: Final = Path(__file__).with_name("child.py")
_LARGEST_ANSWER: Final = 2**30
_GRACE_SECONDS: Final = 10.0
_ENDING_SECONDS: Final = 2.0


class EmbeddedTransport:
    """A directory of chdb.

    ClickHouse locks a directory for one process, so looks of this source wait for one another, and one that somebody
    else has open is a TransientError. chdb writes its lock and its metadata there even for reading.
    """

    def __init__(self, source: str, path: str, *, seconds: float) -> None:
        self._source = source
        self._path = Path(path)
        self._seconds = seconds
        self._gate = asyncio.Semaphore(1)
        self.described = f"chdb at {path}"

    def check(self) -> None:
        """SetupError where the library or the directory is missing; a wrong path must not become a new database."""
        if importlib.util.find_spec("chdb") is None:
            raise SetupError(
                f"warehouse {self._source}: the library chdb is not installed",
                hint="pip install 'dataswarm[clickhouse]' chdb",
            )
        try:
            is_there = (self._path / "metadata").is_dir()
        except OSError as error:
            raise SetupError(
                f"warehouse {self._source}: {self._path} cannot be looked at: {error.strerror}",
                hint="give this process the right to read it",
            ) from None
        if not is_there:
            raise SetupError(
                f"warehouse {self._source}: {self._path} is no directory of chdb",
                hint="check the path in `url`: chdb:///path",
            )

    @asynccontextmanager
    async def look(self, *, read_only: bool, application: str) -> AsyncIterator[Conversation]:
        """A process for the time of the look, in an empty folder, so that no name of a table is that of a file."""
        self.check()
        with tempfile.TemporaryDirectory(prefix="dataswarm-") as place:
            async with self._gate:
                process = await asyncio.create_subprocess_exec(
                    sys.executable,
                    "-P",  # the names of our modules are not those of the library's
                    str(_CHILD),
                    stdin=asyncio.subprocess.PIPE,
                    stdout=asyncio.subprocess.PIPE,
                    stderr=asyncio.subprocess.DEVNULL,
                    cwd=place,
                    limit=_LARGEST_ANSWER,
                )
                talk = _Talk(process, self._source, self._seconds)
                try:
                    await talk.ask({"open": str(self._path)})
                    await talk.settle(read_only=read_only, application=application)
                    yield talk
                    await talk.ask({"close": True})
                finally:
                    await _end(process)


async def _end(process: asyncio.subprocess.Process) -> None:
    """The process ends when its input does; one that does not hear it is killed."""
    assert process.stdin is not None  # noqa: S101 - a pipe
    process.stdin.close()
    try:
        async with asyncio.timeout(_ENDING_SECONDS):
            await process.wait()
    except TimeoutError:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


class _Talk:
    """Statements to one process."""

    def __init__(self, process: asyncio.subprocess.Process, source: str, seconds: float) -> None:
        self._process = process
        self._source = source
        self._seconds = seconds

    async def settle(self, *, read_only: bool, application: str) -> None:
        """Set what holds for the whole look, read-only last, for it cannot be taken back."""
        settings = {
            **SETTINGS,
            "max_execution_time": f"{self._seconds}",
            "log_comment": f"dataswarm/{application}",
            **({} if read_only else CHANGING),
            **({"readonly": "2"} if read_only else {}),
        }
        for name, value in settings.items():
            await self._set(name, value)

    async def rows(self, sql: str, settings: Settings | None = None) -> Answer:
        """What one statement gives."""
        for name, value in (settings or {}).items():
            await self._set(name, value)
        answer = await self.ask({"sql": sql, "format": FORMAT})
        return Answer(read(answer["text"], self._source), answer["written"])

    async def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """One line there, one line back."""
        assert self._process.stdin is not None  # noqa: S101 - both are pipes
        assert self._process.stdout is not None  # noqa: S101
        try:
            async with asyncio.timeout(self._seconds + _GRACE_SECONDS):
                self._process.stdin.write(json.dumps(request).encode() + b"\n")
                await self._process.stdin.drain()
                line = await self._process.stdout.readline()
        except TimeoutError:
            raise TransientError(
                f"warehouse {self._source}: a statement took too long and was ended",
                hint="raise statement_timeout_seconds of this source, or look at less",
            ) from None
        except (ConnectionError, ValueError):
            line = b""
        if not line:
            raise TransientError(
                f"warehouse {self._source}: the process of chdb ended", hint="was it out of memory? look at less"
            )
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise translate(_telling(answer["error"]), self._source)
        return answer

    async def _set(self, name: str, value: str) -> None:
        given = value if value.replace(".", "", 1).isdigit() else literal(value)
        await self.ask({"sql": f"set {quoted(name)} = {given}", "format": FORMAT})


def _telling(text: str) -> str:
    """Opening fails with a code that says nothing; why stands in what was printed."""
    return text[text.index("Code: 76") :] if "Code: 76" in text else text
