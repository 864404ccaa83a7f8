"""The warehouse's own PostgreSQL server: a process of its own, so that it can go down without taking memory along.

Any process may ask where a running server listens; only whoever made the world starts and stops it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from config.errors import SetupError
from memory.server.embedded import EmbeddedServer

_SOCKET_LINE: Final = 4


def start_server(directory: Path) -> None:
    """Start the server of a data directory, making the directory if it is new. Starting twice does nothing."""
    EmbeddedServer.start(directory)


def stop_server(directory: Path) -> None:
    """Stop the server, cutting its sessions. A server that is not running is fine."""
    if (directory / "postmaster.pid").exists():
        EmbeddedServer.start(directory).stop()


def socket_directory(directory: Path) -> str:
    """Where a running server listens.

    Raises:
        SetupError: the server is not running.
    """
    try:
        return (directory / "postmaster.pid").read_text().splitlines()[_SOCKET_LINE]
    except (FileNotFoundError, IndexError):
        raise SetupError(
            f"the demo's warehouse in {directory.parent} is not running", hint="start it: World.open(...).start()"
        ) from None
