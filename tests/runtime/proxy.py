"""A proxy before PostgreSQL's unix socket that can swallow what the server says, or cut the line."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from urllib.parse import quote, unquote


class Proxy:
    """Forwards bytes both ways, until it is told to be deaf: then nothing of the server comes through any more."""

    def __init__(self, behind: str) -> None:
        self._behind = behind
        self._writers: set[asyncio.StreamWriter] = set()
        self.is_deaf = False
        self.connections = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        self.connections += 1
        if self.is_deaf:
            writer.close()
            return
        to_reader, to_writer = await asyncio.open_unix_connection(self._behind)
        self._writers |= {writer, to_writer}

        async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, from_server: bool) -> None:
            with suppress(ConnectionError):
                while data := await source.read(65536):
                    if not (from_server and self.is_deaf):
                        sink.write(data)
                        await sink.drain()
            sink.close()

        await asyncio.gather(pump(reader, to_writer, from_server=False), pump(to_reader, writer, from_server=True))

    def cut(self) -> None:
        """Cut every line."""
        for writer in self._writers:
            writer.close()
        self._writers.clear()


@asynccontextmanager
async def proxied(url: str, directory: Path) -> AsyncIterator[tuple[Proxy, str]]:
    """A proxy before the server of `url` (a unix socket), and the address that leads through it."""
    host = url.partition("host=")[2].partition("&")[0]
    proxy = Proxy(str(Path(unquote(host)) / ".s.PGSQL.5432"))
    server = await asyncio.start_unix_server(proxy.serve, directory / ".s.PGSQL.5432")
    try:
        yield proxy, url.replace(host, quote(str(directory), safe=""))
    finally:
        proxy.cut()
        server.close()
