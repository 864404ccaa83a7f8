"""A TCP proxy before PostgreSQL's unix socket, whose lines can be cut, or swallow what the server says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path


class Lines:
    """The connections through one proxy.

    Attributes:
        deaf: nothing that the server says comes through.
        swallowed: how much did not.
        port: where it listens.
    """

    def __init__(self, behind: Path) -> None:
        self._behind = behind
        self._writers: set[asyncio.StreamWriter] = set()
        self.deaf = False
        self.swallowed = 0
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection; refused where the server is away."""
        try:
            from_server, to_server = await asyncio.open_unix_connection(self._behind)
        except OSError:
            writer.close()
            return
        both = {writer, to_server}
        self._writers |= both

        async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, is_answer: bool) -> None:
            with suppress(OSError):
                while data := await source.read(65536):
                    if is_answer and self.deaf:
                        self.swallowed += len(data)
                        continue
                    sink.write(data)
                    await sink.drain()
            sink.close()

        await asyncio.gather(pump(reader, to_server, is_answer=False), pump(from_server, writer, is_answer=True))
        self._writers -= both

    def cut(self) -> None:
        """Cut every line at once, in the middle of whatever is said."""
        for writer in list(self._writers):
            writer.transport.abort()
        self._writers.clear()

    def url(self, database: str, user: str) -> str:
        """The address that leads through here."""
        return f"postgresql://{user}@127.0.0.1:{self.port}/{database}?sslmode=disable&gssencmode=disable"


@asynccontextmanager
async def lines(socket_directory: Path) -> AsyncIterator[Lines]:
    """A proxy at work before the server of a socket's directory."""
    through = Lines(socket_directory / ".s.PGSQL.5432")
    server = await asyncio.start_server(through.serve, "127.0.0.1", 0)
    through.port = server.sockets[0].getsockname()[1]
    try:
        yield through
    finally:
        through.cut()
        server.close()
