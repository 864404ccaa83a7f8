"""The shop as a whole: its server, its databases, its code and its calendar, all inside one directory.

    pg/          the warehouse server (databases `shop` and `shop_twin`)
    origin.git/  the models everybody pushes to          team/   the team's checkout, artefacts in team/target
    golden/      the models as they were in the beginning, artefacts of the twin in golden/target
    world.json   seed, first day, passwords

A world is made once and may be copied whole (`World.clone`) while its server is stopped.
"""

from __future__ import annotations

import json
import secrets
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

import psycopg

from config.errors import UsageError
from dataswarm.demo import loader, repository, roles
from dataswarm.demo.founding import fill
from dataswarm.demo.server import socket_directory, start_server, stop_server
from dataswarm.demo.shop import Shop

DEFAULT_HISTORY_DAYS = 180
"""Long enough that one day's batch is under 1.2 % of any table."""

_SWARM = ("swarm_reader", "swarm_actor")


def _silent(_: str) -> None:
    """Report progress to nobody."""


@dataclass(frozen=True, slots=True)
class World:
    """One shop in one directory.

    Attributes:
        directory: where everything is.
        seed: decides every business row.
        first_day: the calendar day of the first batch.
        history_days: how many days were loaded when the world was made.
        base_commit: the commit the golden twin is built from.
        passwords: by role.
    """

    directory: Path
    seed: int
    first_day: date
    history_days: int
    base_commit: str
    passwords: dict[str, str]

    @classmethod
    def create(
        cls,
        directory: Path,
        seed: int,
        *,
        now: datetime | None = None,
        history_days: int = DEFAULT_HISTORY_DAYS,
        progress: Callable[[str], None] = _silent,
    ) -> Self:
        """Make a world with its history loaded and its server running; no model is built yet.

        Args:
            directory: new or empty.
            seed: decides every business row.
            now: the moment the history ends, aware; the clock's if not given.
            history_days: how many daily batches are loaded at once.
            progress: told what is being done, a short sentence each.

        Raises:
            UsageError: the directory is not empty.
        """
        if directory.exists() and any(directory.iterdir()):
            raise UsageError(f"{directory} is not empty", hint="a world needs a directory of its own")
        directory.mkdir(parents=True, exist_ok=True)
        directory = directory.resolve()
        end = now or datetime.now(UTC)
        progress("publishing the team's dbt project")
        commit = repository.publish_project(directory / "origin.git", directory / "team")
        repository.check_out(directory / "origin.git", directory / "golden", commit)
        passwords = {role: secrets.token_urlsafe(12) for role in roles.ROLES}
        world = cls(
            directory=directory,
            seed=seed,
            first_day=end.date() - timedelta(days=history_days - 1),
            history_days=history_days,
            base_commit=commit,
            passwords=passwords,
        )
        world._write()
        progress("starting the warehouse server")
        world.start()
        fill(world, end, progress)
        return world

    @classmethod
    def open(cls, directory: Path) -> Self:
        """Read a world made earlier; its server is left as it is.

        Raises:
            UsageError: there is no world in the directory.
        """
        path = directory.resolve() / "world.json"
        if not path.exists():
            raise UsageError(f"{directory} holds no demo world", hint="make one first: World.create(...)")
        kept: dict[str, Any] = json.loads(path.read_text())
        return cls(directory=path.parent, **{**kept, "first_day": date.fromisoformat(kept["first_day"])})

    @classmethod
    def clone(cls, source: Path, destination: Path) -> Self:
        """Copy a stopped world whole and start the copy.

        Args:
            source: a world whose server is stopped.
            destination: must not exist; keep it short, a unix socket lives in it.

        Raises:
            UsageError: the source's server is running.
        """
        if (source / "pg" / "postmaster.pid").exists():
            raise UsageError(f"the world in {source} is running", hint="stop it before it is copied")
        # A plain copy keeps the server's files with their owner and mode, which Python's own does not.
        subprocess.run(["cp", "-a", str(source), str(destination)], check=True)  # noqa: S607
        world = cls.open(destination)
        (world.pgdata / ".handle_pids.json").unlink(missing_ok=True)
        for checkout in (world.team_checkout, world.directory / "golden"):
            repository.point_to(world.origin, checkout)
        world.start()
        return world

    @property
    def pgdata(self) -> Path:
        """The server's data directory."""
        return self.directory / "pg"

    @property
    def origin(self) -> Path:
        """The bare repository everybody pushes to; branch `main` is production."""
        return self.directory / "origin.git"

    @property
    def team_checkout(self) -> Path:
        """What the team builds from."""
        return self.directory / "team"

    @property
    def target(self) -> Path:
        """The team's artefacts: manifest.json, run_results.json, sources.json."""
        return self.team_checkout / "target"

    @property
    def running_marker(self) -> Path:
        """Exists, with the process id, while the team's dbt is in flight."""
        return self.team_checkout / ".running"

    @property
    def host(self) -> str:
        """The socket directory of the running server; SetupError if it is not running."""
        return socket_directory(self.pgdata)

    @property
    def shop(self) -> Shop:
        """Where the rows come from."""
        return Shop(self.seed, self.first_day)

    def url(self, role: str, database: str = roles.WAREHOUSE) -> str:
        """The address of a database for a role; the shop's own roles name their sessions in it."""
        name = "" if role in _SWARM else f"&application_name={quote(f'shop/{role}', safe='')}"
        secret = quote(self.passwords[role], safe="")
        return f"postgresql://{role}:{secret}@/{database}?host={quote(self.host, safe='')}{name}"

    def connect(self, role: str, database: str = roles.WAREHOUSE) -> psycopg.Connection[tuple[Any, ...]]:
        """A new session of a role; as a context manager it commits at the end and closes."""
        return psycopg.connect(self.url(role, database))

    def start(self) -> None:
        """Start the warehouse server; nothing happens if it is running."""
        start_server(self.pgdata)

    def stop(self) -> None:
        """Stop the warehouse server, cutting its sessions."""
        stop_server(self.pgdata)

    def remove(self) -> None:
        """Stop the server and delete the whole directory."""
        self.stop()
        shutil.rmtree(self.directory)

    def last_day(self) -> int:
        """The last day every raw table has been loaded for, counted from the first."""
        with self.connect("loader") as connection:
            return loader.loaded_through(connection)

    def _write(self) -> None:
        kept = {name: value for name, value in asdict(self).items() if name != "directory"}
        path = self.directory / "world.json"
        path.touch(mode=0o600)
        path.write_text(json.dumps({**kept, "first_day": self.first_day.isoformat()}, indent=2))
