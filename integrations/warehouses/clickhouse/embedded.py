"""An embedded ClickHouse (chdb): a directory, opened for one look by a process of its own and let go after it."""

from __future__ import annotations

import asyncio
import importlib.util
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final

from config.errors import SetupError, TransientError
from integrations.warehouses.clickhouse.answers import FORMAT, SETTINGS, Answer, read
from integrations.warehouses.clickhouse.faults import translate
from integrations.warehouses.clickhouse.process import Child
from integrations.warehouses.clickhouse.transport import CHANGING, Conversation, Settings
from integrations.warehouses.clickhouse.words import literal, quoted

_GRACE_SECONDS: Final = 10.0


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
        self._kept: Child | None = None
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
        """A session for the time of the look; its process is kept for the next one."""
        self.check()
        async with self._gate:
            talk = await self._opened()
            try:
                await talk.settle(read_only=read_only, application=application)
                yield talk
            finally:
                await self._let_go(talk)

    def close(self) -> None:
        """End the process that is kept."""
        kept, self._kept = self._kept, None
        if kept is not None:
            kept.end()

    async def _opened(self) -> _Talk:
        """A process that has the directory open: the one that was kept, unless it ended meanwhile."""
        kept, self._kept = self._kept, None
        if kept is not None:
            with suppress(_EndedError):
                return await self._begun(kept)
        return await self._begun(Child())

    async def _begun(self, child: Child) -> _Talk:
        talk = _Talk(child, self._source, self._seconds)
        try:
            await talk.ask({"open": str(self._path)})
        except BaseException:
            child.end()
            raise
        return talk

    async def _let_go(self, talk: _Talk) -> None:
        """Keep the process where it answered all it was asked; end it where it did not, or is still at it."""
        try:
            if talk.has_answered:
                await talk.ask({"close": True})
        finally:
            if talk.has_answered:
                self._kept = talk.child
            else:
                talk.child.end()


class _EndedError(TransientError):
    """Nobody answers any more."""


class _Talk:
    """Statements to one process. `has_answered`: all it was asked so far, be it with an error."""

    def __init__(self, child: Child, source: str, seconds: float) -> None:
        self.child = child
        self.has_answered = True
        self._source = source
        self._seconds = seconds

    async def settle(self, *, read_only: bool, application: str) -> None:
        """Set what holds for the whole look; read-only among it, for it cannot be taken back."""
        settings = {
            **SETTINGS,
            "max_execution_time": f"{self._seconds}",
            "log_comment": f"dataswarm/{application}",
            **({} if read_only else CHANGING),
            **({"readonly": "2"} if read_only else {}),
        }
        await self._set(settings)

    async def rows(self, sql: str, settings: Settings | None = None) -> Answer:
        """What one statement gives."""
        if settings:
            await self._set(settings)
        answer = await self.ask({"sql": sql, "format": FORMAT})
        return Answer(read(answer["text"], self._source), answer["written"])

    async def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """One line there, one line back."""
        self.has_answered = False
        try:
            answer = await self.child.ask(request, seconds=self._seconds + _GRACE_SECONDS)
        except TimeoutError:
            raise TransientError(
                f"warehouse {self._source}: a statement took too long and was ended",
                hint="raise statement_timeout_seconds of this source, or look at less",
            ) from None
        if answer is None:
            raise _EndedError(
                f"warehouse {self._source}: the process of chdb ended", hint="was it out of memory? look at less"
            )
        self.has_answered = True
        if "error" in answer:
            raise translate(_telling(answer["error"]), self._source)
        return answer

    async def _set(self, settings: Settings) -> None:
        given = {n: v if v.replace(".", "", 1).isdigit() else literal(v) for n, v in settings.items()}
        listed = ", ".join(f"{quoted(name)} = {value}" for name, value in given.items())
        await self.ask({"sql": f"set {listed}", "format": FORMAT})


def _telling(text: str) -> str:
    """Opening fails with a code that says nothing; why stands in what was printed."""
    return text[text.index("Code: 76") :] if "Code: 76" in text else text
