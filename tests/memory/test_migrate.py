"""Migrations: once, in order, one process at a time, never edited; and by an owner who is not a superuser."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql

from config.errors import PermanentError, SetupError
from memory.connection.database import Database
from memory.server import migrate
from memory.server.embedded import EmbeddedServer


def _migration(number: int, body: str, phase: str = "expand") -> migrate.Migration:
    return migrate.read(f"{number:04d}_test.sql", f"-- phase: {phase}\n-- summary: a test\n{body}")


FIRST = migrate.shipped()[0]


async def test_apply_is_idempotent_and_plan_changes_nothing(server: EmbeddedServer, empty_name: str) -> None:
    """The plan of an empty database lists everything as pending; after applying nothing is."""
    url = server.url_for(database=empty_name)
    planned = await migrate.plan(url)
    assert [migration.applied_at for migration in planned] == [None] * len(planned)
    assert await migrate.pending(url) == [str(migration) for migration in planned]
    assert await migrate.apply(url) == [str(migration) for migration in planned]
    assert await migrate.apply(url) == []
    worker = server.url_for(database=empty_name, user="dataswarm_worker")
    assert await migrate.pending(worker) == []


async def test_two_at_once_apply_each_migration_once(server: EmbeddedServer, empty_name: str) -> None:
    """Two replicas that start together do the work of one."""
    url = server.url_for(database=empty_name)
    done = await asyncio.gather(*(migrate.apply(url) for _ in range(3)))
    assert sorted(name for names in done for name in names) == [str(migration) for migration in migrate.shipped()]


async def test_edited_history_is_refused(server: EmbeddedServer, empty_name: str) -> None:
    """A migration that was applied and edited afterwards stops everything, naming it."""
    url = server.url_for(database=empty_name)
    await migrate.apply(url, migrations=[FIRST, _migration(2, "SELECT 1")])
    with pytest.raises(PermanentError, match=r"0002_test was applied on .* and edited since"):
        await migrate.apply(url, migrations=[FIRST, _migration(2, "SELECT 2")])


async def test_a_failing_migration_leaves_nothing(server: EmbeddedServer, empty_name: str) -> None:
    """What a failing migration did is rolled back; those before it stay."""
    url = server.url_for(database=empty_name)
    broken = _migration(2, "CREATE TABLE dataswarm.half (id int); SELECT 1 / 0")
    with pytest.raises(PermanentError, match="0002_test failed"):
        await migrate.apply(url, migrations=[FIRST, broken])
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT to_regclass('dataswarm.half'), max(number) FROM dataswarm.migrations")
        assert row.fetchone() == (None, 1)


async def test_a_release_behind_the_database(server: EmbeddedServer, empty_name: str) -> None:
    """The last release goes on working against an expanded schema, and stops at a contracted one."""
    url = server.url_for(database=empty_name)
    await migrate.apply(url, migrations=[FIRST, _migration(2, "SELECT 1")])
    assert await migrate.apply(url, migrations=[FIRST]) == []
    await migrate.apply(url, migrations=[FIRST, _migration(2, "SELECT 1"), _migration(3, "SELECT 1", "contract")])
    with pytest.raises(PermanentError, match="newer release"):
        await migrate.apply(url, migrations=[FIRST])


async def test_an_owner_that_is_no_superuser(server: EmbeddedServer, empty_name: str) -> None:
    """Every refusal names the one command an administrator has to run; after those, the owner migrates."""
    owner = f"owner_{uuid4().hex[:8]}"
    with psycopg.connect(server.url, autocommit=True) as admin:
        admin.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(owner)))
        admin.execute(
            sql.SQL("ALTER DATABASE {} OWNER TO {}").format(sql.Identifier(empty_name), sql.Identifier(owner))
        )
        url = server.url_for(database=empty_name, user=owner)
        try:
            with pytest.raises(SetupError) as refused:
                await migrate.apply(url, migrations=[FIRST])
            assert f'GRANT dataswarm_owner TO "{owner}"' in refused.value.hint
            admin.execute(sql.SQL("GRANT dataswarm_owner TO {}").format(sql.Identifier(owner)))
            with pytest.raises(SetupError) as refused:
                await migrate.apply(url, migrations=[FIRST])
            assert refused.value.hint.endswith("CREATE EXTENSION vector;")
            with psycopg.connect(server.url_for(database=empty_name), autocommit=True) as inside:
                inside.execute("CREATE EXTENSION vector")
            assert await migrate.apply(url, migrations=[FIRST]) == [str(FIRST)]
        finally:
            admin.execute(sql.SQL("ALTER DATABASE {} OWNER TO postgres").format(sql.Identifier(empty_name)))
            with psycopg.connect(server.url_for(database=empty_name), autocommit=True) as inside:
                inside.execute(sql.SQL("DROP OWNED BY {}").format(sql.Identifier(owner)))
            admin.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(owner)))


async def test_the_password_is_sent_as_a_verifier(server: EmbeddedServer, empty_name: str) -> None:
    """The worker's password never stands in the clear on the server."""
    await migrate.apply(server.url_for(database=empty_name), worker_password="it's secret", migrations=[FIRST])
    with psycopg.connect(server.url) as admin:
        row = admin.execute("SELECT rolpassword FROM pg_authid WHERE rolname = 'dataswarm_worker'").fetchone()
    assert row is not None
    assert row[0].startswith("SCRAM-SHA-256$")


async def test_work_is_refused_to_a_superuser(owner_url: str) -> None:
    """Only migrations run as the owner."""
    with pytest.raises(SetupError, match="superuser"):
        await Database.open(owner_url, application_name="dataswarm/test")


async def test_work_needs_the_roles(server: EmbeddedServer, database_name: str) -> None:
    """A login outside the clearance roles is refused with a hint."""
    name = f"stranger_{uuid4().hex[:8]}"
    with psycopg.connect(server.url, autocommit=True) as admin:
        admin.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(name)))
        try:
            with pytest.raises(SetupError, match="not a member"):
                await Database.open(
                    server.url_for(database=database_name, user=name), application_name="dataswarm/test"
                )
        finally:
            admin.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))
