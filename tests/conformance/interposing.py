"""A proxy before PostgreSQL's unix socket that shows a test each thing a client says before the server hears it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from urllib.parse import quote, unquote

Listener = Callable[[bytes], Awaitable[None]]


@asynccontextmanager
async def interposed(url: str, directory: Path, listener: Listener) -> AsyncIterator[str]:
    """An address that leads to the server of `url` through a listener; what is said waits until it was listened to."""
    host = url.partition("host=")[2].partition("&")[0]
    behind = str(Path(unquote(host)) / ".s.PGSQL.5432")
    writers: set[asyncio.StreamWriter] = set()
    tasks: set[asyncio.Task[None]] = set()

    async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter, heard: Listener | None) -> None:
        with suppress(ConnectionError):
            while data := await source.read(1 << 20):
                if heard is not None:
                    await heard(data)
                sink.write(data)
                await sink.drain()
        sink.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        to_reader, to_writer = await asyncio.open_unix_connection(behind)
        writers.update((writer, to_writer))
        await asyncio.gather(pump(reader, to_writer, listener), pump(to_reader, writer, None))

    server = await asyncio.start_unix_server(serve, directory / ".s.PGSQL.5432")
    try:
        yield url.replace(host, quote(str(directory), safe=""))
    finally:
        for writer in writers:
            writer.close()
        server.close()
        await asyncio.gather(*tasks, return_exceptions=True)
