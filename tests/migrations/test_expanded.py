"""The last release's replica goes on working while the schema is a release ahead: an expand migration breaks nothing.

There has been no release yet, so the "last release" here is this very tree: its migrations, then one more of the kind
that `-- phase: expand` promises, then this tree's statements and code on top. As soon as a tag `v…` exists, the
statements and migrations of the newest one are read from git and tried against what this tree migrates to.
"""

from __future__ import annotations

import hashlib
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql

from config.assets import Asset
from config.errors import PermanentError
from memory import bus
from memory.board import ledger
from memory.connection import statements
from memory.connection.database import Database
from memory.members import presence
from memory.queue import kinds, tasks, timers
from memory.records import NewObservation, NewTask, Reference, Sensitivity, TaskState
from memory.server import migrate, partitions
from memory.server.embedded import EmbeddedServer

ROOT = Path(__file__).parents[2]
ORDERS = Asset("warehouse", "shop", "raw.orders")
# By tag: what `fingerprint` says of the schema that its migrations make. Written down with each release, never edited.
PINNED: Mapping[str, str] = {}
COLUMNS = """
    SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull
    FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    WHERE c.relnamespace = 'dataswarm'::regnamespace AND c.relkind IN ('r', 'p', 'v') AND NOT c.relispartition
    ORDER BY 1, 2"""
# The kind of change that an expand migration may make: columns that may be empty, tables, indexes, functions.
EXPANSION = """-- phase: expand
-- summary: what the next release might add
DO $body$
DECLARE
    name text;
BEGIN
    FOR name IN SELECT relname FROM pg_class WHERE relnamespace = 'dataswarm'::regnamespace AND relkind IN ('r', 'p')
                AND NOT relispartition AND relname <> 'migrations'
    LOOP
        EXECUTE format('ALTER TABLE dataswarm.%I ADD COLUMN of_the_next_release text', name);
    END LOOP;
END
$body$;
CREATE TABLE dataswarm.of_the_next_release (id bigint PRIMARY KEY, agent text);
GRANT SELECT ON dataswarm.of_the_next_release TO dataswarm_internal;
CREATE INDEX tasks_of_the_next_release ON dataswarm.tasks (of_the_next_release) WHERE of_the_next_release IS NOT NULL;
CREATE INDEX events_of_the_next_release ON dataswarm.events (topic, at);
"""


def fingerprint(url: str) -> str:
    """Of the schema: every column of every table, with type and whether it may be empty."""
    with psycopg.connect(url) as connection:
        return hashlib.sha256(repr(connection.execute(COLUMNS).fetchall()).encode()).hexdigest()[:16]


def _git(*words: str) -> str:
    done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout if done.returncode == 0 else ""


def last_release() -> str:
    """The newest tag of a release; empty where there is none."""
    return next(iter(_git("tag", "--list", "v*", "--sort=-version:refname").split()), "")


def statements_of(tag: str) -> Mapping[str, str]:
    """The named statements as of a tag; this tree's where there is none."""
    if not tag:
        print("there is no release yet: this tree's own statements stand for the last release's")  # noqa: T201
        return statements.all()
    found: dict[str, str] = {}
    for path in _git("ls-tree", "-r", "--name-only", tag, "memory/sql/").split():
        if path.endswith(".sql") and "/migrations/" not in path:
            _, *rest = re.split(r"^-- name: *([a-z0-9_]+) *$", _git("show", f"{tag}:{path}"), flags=re.MULTILINE)
            found |= dict(zip(rest[::2], (body.strip().removesuffix(";") for body in rest[1::2]), strict=True))
    return found


def _numbered(body: str) -> str:
    names: dict[str, int] = {}
    return re.sub(r"%\((\w+)\)s", lambda m: f"${names.setdefault(m[1], len(names) + 1)}", body).replace("%%", "%")


@pytest.fixture
async def expanded(server: EmbeddedServer, empty_name: str) -> str:
    """A database that this tree migrated, and the next release expanded; its name."""
    url = server.url_for(database=empty_name)
    await migrate.apply(url)
    shipped = migrate.shipped()
    following = migrate.read(f"{len(shipped) + 1:04d}_of_the_next_release.sql", EXPANSION)
    assert await migrate.apply(url, migrations=[*shipped, following]) == [str(following)]
    return empty_name


async def test_every_statement_of_the_last_release_is_understood(server: EmbeddedServer, expanded: str) -> None:
    """Each is PREPAREd as the role that runs it, against the schema that is a release ahead."""
    with psycopg.connect(server.url_for(database=expanded, user="dataswarm_worker"), autocommit=True) as connection:
        connection.execute("SET ROLE dataswarm_confidential")
        broken = {}
        for name, body in statements_of(last_release()).items():
            if statements.is_session_command(body):
                continue
            try:
                text = sql.SQL("PREPARE {} AS {}").format(sql.Identifier(name), sql.SQL(_numbered(body)))
                connection.execute(text)
            except psycopg.Error as error:
                broken[name] = str(error)
    assert broken == {}


async def test_a_replica_of_the_last_release_does_its_work(server: EmbeddedServer, expanded: str) -> None:
    """It finds nothing pending, and tasks, events, timers, agents and partitions go through their lives."""
    assert await migrate.pending(server.url_for(database=expanded)) == []
    db = await Database.open(server.url_for(database=expanded, user="dataswarm_worker"), application_name="old")
    try:
        async with db.transaction() as tx:
            await kinds.declare(tx, [kinds.Kind("old", "work")])
            await presence.enlist(tx, "old", [], Sensitivity.INTERNAL)
            lease = await presence.hold(tx, "old", holder=uuid4(), host="h", process="p", seconds=60, topics=["*"])
        assert lease is not None
        async with db.transaction() as tx:
            new = [NewTask("old", "work", ORDERS, {"n": n}, exclusive=n < 2, key=f"k{n}") for n in range(3)]
            ids = await tasks.enqueue(tx, [*new, NewTask("old", "work", ORDERS, delay_seconds=3600)])
            await ledger.record(tx, "old", [NewObservation("sound", ORDERS)])
            await timers.set_(tx, "old", "t", lease.until, {}, ORDERS)
        done: list[int] = []
        while claimed := await tasks.claim(db, ["old"], limit=10, worker=uuid4(), lease_seconds=30):
            async with db.transaction() as tx:
                await tasks.succeed(tx, claimed[0], {"ok": True})
                await tasks.give_back(tx, claimed[1:])
            done.append(claimed[0].id)
        assert sorted(done) == ids[:3]
        async with db.transaction() as tx:
            found = await tasks.get(tx, done[0])
            assert found is not None
            assert (found.state, found.result, found.subject) == (TaskState.SUCCEEDED, {"ok": True}, ORDERS)
            events, cursor = await bus.read(tx, lease.cursor, topics=["*"], agent="old")
            assert [e.topic for e in events] == ["observation.sound", *["task.succeeded"] * 3]
            assert events[1].reference == Reference("task", done[0])
            await presence.advance(tx, lease, cursor)
        assert (await partitions.maintain(db)).made > 0
    finally:
        await db.close()


async def test_what_is_not_an_expansion_is_refused(server: EmbeddedServer, expanded: str) -> None:
    """A contract migration of a newer release stops the older replica, with the reason."""
    url = server.url_for(database=expanded)
    shipped = migrate.shipped()
    following = migrate.read(f"{len(shipped) + 1:04d}_of_the_next_release.sql", EXPANSION)
    breaking = migrate.read(
        f"{len(shipped) + 2:04d}_gone.sql",
        "-- phase: contract\n-- summary: takes a column away\nALTER TABLE dataswarm.events DROP COLUMN noun",
    )
    await migrate.apply(url, migrations=[*shipped, following, breaking])
    with pytest.raises(PermanentError, match="past what this one can use"):
        await migrate.pending(url)


async def test_released_schemas_are_as_they_were(server: EmbeddedServer, empty_name: str) -> None:
    """What was released stays what it was: the migrations of each pinned tag still make the schema written down."""
    url = server.url_for(database=empty_name)
    await migrate.apply(url)
    tag = last_release()
    if tag not in PINNED:
        pytest.skip(f"{tag or 'no release'} is pinned; this tree's migrations make the schema {fingerprint(url)}")
    released = set(_git("ls-tree", "-r", "--name-only", tag, "memory/sql/migrations/").split())
    assert _git("diff", "--name-only", tag, "--", *released) == ""
    if len(released) - 1 == len(migrate.shipped()):  # one of the files makes the roles
        assert fingerprint(url) == PINNED[tag]
