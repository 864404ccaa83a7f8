"""What every test may use: one real PostgreSQL for the run, and a migrated database of its own for each test."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from uuid import uuid4

import psycopg
import pytest
import structlog
from psycopg import sql

from memory.connection.database import Database
from memory.server import migrate
from memory.server.embedded import EmbeddedServer
from tests.databases import cloned
from tests.mariadb import mariadb
from tests.memory.stage import declared
from tests.places import fresh_place, roomy_place
from tests.stories.stage import copied, stage, trained_world
from tests.stories.world import base_world, scheduler, team, world
from tests.unit.dataswarm.drift_ground import manifest

# Named here and nowhere else: a session's fixture that two folders import is made twice.
__all__ = ["base_world", "copied", "manifest", "mariadb", "scheduler", "stage", "team", "trained_world", "world"]

# Stories start many processes: let them keep what they compile, or each pays for it again.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
# What tests write, and the programs they start, need not outlive the run: a disk would only hold them up.
os.environ["TMPDIR"] = tempfile.tempdir = roomy_place()
os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", tempfile.tempdir)

TEMPLATE = "swarm_template"
_TOLD_ELSEWHERE = pytest.StashKey[int]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """The long forms that are not part of the default suite."""
    parser.addoption("--every-seed", action="store_true", help="tell every story with all its seeds (`make stories`)")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The default suite tells each story with one of its seeds; which are left out is said at the end."""
    if config.getoption("--every-seed"):
        return
    left = [item for item in items if (one := item.get_closest_marker("every_seed")) and item_is_other(item, one)]
    config.stash[_TOLD_ELSEWHERE] = len(left)
    if left:
        config.hook.pytest_deselected(items=left)
        items[:] = [item for item in items if item not in left]


def item_is_other(item: pytest.Item, marker: pytest.Mark) -> bool:
    """Is it told with another seed than the one its marker keeps?"""
    callspec = getattr(item, "callspec", None)
    return callspec is not None and not marker.args[0](**callspec.params)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Nothing is left out in silence; where workers collected, only they know how many."""
    left = config.stash.get(_TOLD_ELSEWHERE, None)
    if not config.getoption("--every-seed") and left != 0:
        number = "the rest" if left is None else str(left)
        terminalreporter.write_line(f"each fault's story was told with one seed; `make stories` tells {number}")


@pytest.fixture(autouse=True)
def _unconfigured_logs() -> Iterator[None]:
    """Each test begins with logs as a process does: what one listened to, or set up, would turn up in the next."""
    yield
    structlog.reset_defaults()


@pytest.fixture(scope="session")
def server() -> Iterator[EmbeddedServer]:
    """A real PostgreSQL for the whole run (one per xdist worker), in a short temporary path.

    It does not wait for the disk, for a clone of a database costs a checkpoint: it survives `kill -9`, as every test
    needs, but not a power cut. What is about durability starts a server of its own.
    """
    directory = fresh_place("dsw")
    started = EmbeddedServer.start(directory / "pg")
    with psycopg.connect(started.url, autocommit=True) as connection:
        connection.execute("ALTER SYSTEM SET fsync = off")
        connection.execute("ALTER SYSTEM SET full_page_writes = off")
        connection.execute("SELECT pg_reload_conf()")
    yield started
    started.stop()
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="session")
def template(server: EmbeddedServer) -> str:
    """The name of a migrated database to clone from."""
    server.create_database(TEMPLATE)
    asyncio.run(migrate.apply(server.url_for(database=TEMPLATE)))
    asyncio.run(declared(server.url_for(database=TEMPLATE, user="dataswarm_worker")))
    return TEMPLATE


@pytest.fixture
def database_name(server: EmbeddedServer, template: str) -> Iterator[str]:
    """A migrated database of this test's own; gone afterwards."""
    with cloned(server, template) as name:
        yield name


@pytest.fixture
def empty_name(server: EmbeddedServer) -> Iterator[str]:
    """A database of this test's own with nothing in it."""
    name = f"e_{uuid4().hex[:12]}"
    server.create_database(name)
    yield name
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture
def owner_url(server: EmbeddedServer, database_name: str) -> str:
    """The superuser's address of this test's database."""
    return server.url_for(database=database_name)


@pytest.fixture
def database_url(server: EmbeddedServer, database_name: str) -> str:
    """The worker's address of this test's database."""
    return server.url_for(database=database_name, user="dataswarm_worker")


@pytest.fixture
async def db(database_url: str) -> AsyncIterator[Database]:
    """This test's database, open as the worker."""
    database = await Database.open(database_url, application_name="dataswarm/test")
    yield database
    await database.close()
