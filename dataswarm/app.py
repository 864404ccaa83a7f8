"""The composition root: the one place, beside the registries, where concrete parts are put together."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import structlog

from agents.reasoning import Spent
from agents.runtime.swarm import Swarm
from config import settings as configuration
from config.errors import ConfigError, Problem, SetupError, SwarmError
from config.settings import Settings
from config.watching import watch
from dataswarm import __version__
from dataswarm.members import Installed, Members, assemble, installed, part
from dataswarm.sealing import vault_for
from memory.connection.database import Database
from memory.server import migrate
from memory.server.embedded import DATABASE, EmbeddedServer

log = structlog.get_logger(__name__)
OWNER = "postgres"
WORKER = "dataswarm_worker"


def load(path: Path | None = None) -> Settings:
    """The configuration, checked against what is installed. ConfigError with every problem found."""
    return configuration.load(path, catalogue=installed().catalogue())


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where the database is: for the work, for LISTEN, and for migrations."""

    worker: str
    listen: str
    owner: str
    embedded: EmbeddedServer | None = None


def addresses(settings: Settings) -> Addresses:
    """Resolve the database; starts or joins the embedded server where no URL is configured."""
    database = settings.database
    if database.url is None:
        server = EmbeddedServer.start(database.directory / "postgres")
        worker = server.url_for(database=DATABASE, user=WORKER)
        return Addresses(worker, worker, server.url_for(database=DATABASE, user=OWNER), server)
    worker = database.url.get_secret_value()
    listen = database.listen_url.get_secret_value() if database.listen_url else worker
    owner = database.migrate_url.get_secret_value() if database.migrate_url else worker
    return Addresses(worker, listen, owner)


class App:
    """One process of the swarm: configuration, database, members, loops.

    Open it with `App.open`, run it with `run`, close it with `close`.
    """

    def __init__(self, settings: Settings, addresses_: Addresses, database: Database, found: Installed) -> None:
        self.settings = settings
        self.addresses = addresses_
        self.database = database
        self.installed = found
        self.members = Members()
        self.swarm: Swarm | None = None
        self.config_problem: ConfigError | None = None
        self.spent: Callable[[Spent], None] | None = None  # set by whoever counts what the model costs
        self.on_hung: Callable[[], None] | None = None  # set by a service that is started anew when it ends
        self._only: Sequence[str] = ()
        self._made = asyncio.Event()

    @classmethod
    async def open(cls, settings: Settings, *, migrate_now: bool = False) -> App:
        """Connect. Pending migrations are applied where the server is embedded or `migrate_now`; else refused.

        Raises:
            SetupError: no database, pending migrations, or a role with too many rights.
        """
        where = await asyncio.to_thread(addresses, settings)
        if where.embedded is not None or migrate_now:
            await migrate.apply(where.owner)
        elif pending := await migrate.pending(where.owner):
            raise SetupError(
                f"the database lacks {len(pending)} migration(s): {', '.join(pending)}",
                hint="run `dataswarm migrate` as the owner, or start with --migrate",
            )
        database = await Database.open(
            where.worker,
            application_name="dataswarm",
            pool_size=settings.database.pool_size,
            listen_url=where.listen,
            prepare=settings.database.prepare,
            statement_timeout_seconds=settings.database.statement_timeout_seconds,
        )
        database.vault = vault_for(settings)
        if database.vault.is_open:
            await asyncio.to_thread(lambda: database.vault.ring)  # a key that is missing or wrong is told now
        return cls(settings, where, database, installed())

    async def run(self, stop: asyncio.Event, *, only: Sequence[str] = (), config: Path | None = None) -> None:
        """Run the swarm until `stop`; a changed configuration file takes effect meanwhile."""
        self._only = tuple(only)
        self._known(only)
        self.members = await assemble(self.installed, self.settings, Members(), self._only, self._spend)
        members = self.members
        self.swarm = Swarm(
            database=self.database,
            settings=self.settings,
            agents=members.agents,
            playbooks=members.playbooks,
            sources=members.sources,
            channels=members.channels,
            reasoner=members.reasoner,
            version=__version__,
            on_hung=self.on_hung if self.settings.runtime.restart_when_hung else None,
        )
        self._made.set()
        watching = asyncio.create_task(self._follow(config), name="config") if config is not None else None
        try:
            await self.swarm.run(stop)
        finally:
            if watching is not None:
                watching.cancel()
                await asyncio.gather(watching, return_exceptions=True)
            await part(self.members, keep=Members())

    async def started(self) -> None:
        """Wait until the swarm is at work."""
        await self._made.wait()
        if self.swarm is not None:
            await self.swarm.started()

    async def close(self) -> None:
        """Let go of the database. An embedded server goes on; others may be using it."""
        await self.database.close()

    def _spend(self, spent: Spent) -> None:
        if self.spent is not None:
            self.spent(spent)

    def _known(self, only: Sequence[str]) -> None:
        unknown = [name for name in only if name not in self.installed.agents]
        if unknown:
            raise ConfigError([Problem("--only", f"no agent is called {name!r}") for name in unknown])

    async def _follow(self, path: Path) -> None:
        catalogue = self.installed.catalogue()
        async for changed in watch(path, lambda: configuration.load(path, catalogue=catalogue)):
            if isinstance(changed, ConfigError):
                self.config_problem = changed
                log.error("config.refused", problem=str(changed), kept="the configuration from before")
                continue
            try:
                await self._take_on(changed)
            except SwarmError as error:
                log.warning("config.refused", problem=str(error), kept="the configuration from before")

    async def _take_on(self, settings: Settings) -> None:
        if self.swarm is None:
            return
        before = self.members
        after = await assemble(self.installed, settings, before, self._only, self._spend)
        await self.swarm.reconfigure(
            settings,
            agents=after.agents,
            playbooks=after.playbooks,
            sources=after.sources,
            channels=after.channels,
            reasoner=after.reasoner,
        )
        self.settings, self.members, self.config_problem = settings, after, None
        await part(before, keep=after)
        log.info("config.changed", fingerprint=settings.fingerprint, agents=sorted(after.agents))
