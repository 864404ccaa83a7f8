"""Backup and restore: another server, the same memory, right cursors, exact points; and what is refused."""

from __future__ import annotations

import io
import json
import os
import shutil
import stat
import tarfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from config.errors import PermanentError, SetupError, UsageError
from memory import bus
from memory.beliefs import branches, knowledge
from memory.board import ledger
from memory.bus import Cursor
from memory.connection.database import Database
from memory.finding import recall
from memory.members import presence
from memory.records import NewObservation, Sensitivity
from memory.server import backup, migrate, postgres_programs
from memory.server.embedded import EmbeddedServer
from tests.memory.sealing import sealing
from tests.memory.stage import ORDERS
from tests.places import fresh_place


@pytest.fixture(scope="module")
def other() -> Iterator[EmbeddedServer]:
    """A second server, younger than the first: its transactions have smaller numbers."""
    directory = fresh_place("dsb")
    started = EmbeddedServer.start(directory / "pg")
    yield started
    started.stop()
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def empty(other: EmbeddedServer) -> Iterator[str]:
    """An empty database there; the owner's address."""
    other.create_database("restored")
    yield other.url_for(database="restored")
    with psycopg.connect(other.url, autocommit=True) as connection:
        connection.execute("DROP DATABASE restored WITH (FORCE)")


@asynccontextmanager
async def opened(other: EmbeddedServer) -> AsyncIterator[Database]:
    """The restored memory, as the worker."""
    database = await Database.open(
        other.url_for(database="restored", user="dataswarm_worker"), application_name="dataswarm/test"
    )
    sealing(database)
    try:
        yield database
    finally:
        await database.close()


async def observed(db: Database, *kinds: str) -> None:
    """Observations with events, a transaction each."""
    for kind in kinds:
        async with db.transaction() as tx:
            await ledger.record(tx, "a", [NewObservation(kind, ORDERS, payload={"words": f"all about {kind}"})])


async def heard(db: Database, cursor: Cursor, agent: str, limit: int = 200) -> tuple[list[str], Cursor]:
    """Topics after a cursor."""
    async with db.transaction() as tx:
        events, after = await bus.read(tx, cursor, topics=["*"], agent=agent, limit=limit)
    return [event.topic.removeprefix("observation.") for event in events], after


async def stored(db: Database, agent: str) -> Cursor:
    """An agent's cursor as it stands in its row."""
    async with db.transaction() as tx:
        rows = await tx.all("all_agents")
        assert agent in {row["agent"] for row in rows}
        lease = await presence.hold(tx, agent, holder=HOLDER, host="h", process="p", seconds=1)
    assert lease is not None
    return lease.cursor


HOLDER = uuid4()


async def put(owner_url: str, agent: str, cursor: Cursor) -> None:
    """Set an agent's cursor."""
    async with await psycopg.AsyncConnection.connect(owner_url) as connection:
        await connection.execute(
            "UPDATE dataswarm.agents SET cursor = %s WHERE agent = %s", [json.dumps(cursor.to_json()), agent]
        )


async def test_restored_elsewhere_it_is_the_same_memory(
    db: Database, owner_url: str, other: EmbeddedServer, empty: str, tmp_path: Path
) -> None:
    """The same answers of recall, the same facts and history, confidential ones with their key; and it goes on."""
    sealing(db)
    await observed(db, "renamed", "dropped", "late")
    async with db.transaction(clearance=Sensitivity.CONFIDENTIAL) as tx:
        await knowledge.assert_fact(tx, "a", ORDERS, "owner", "shop", expected=0)
        await knowledge.assert_fact(tx, "a", ORDERS, "owner", "data team", expected=1)
        await knowledge.assert_fact(
            tx, "a", ORDERS, "sample", "planted-77", expected=0, sensitivity=Sensitivity.CONFIDENTIAL
        )

    async def answers(database: Database) -> list[Any]:
        async with database.transaction(clearance=Sensitivity.CONFIDENTIAL) as tx:
            return [
                *[await recall.recall(tx, query) for query in ("all about renamed", "data team", "orders", "")],
                await knowledge.history(tx, ORDERS, "owner"),
                await knowledge.fact(tx, ORDERS, "sample"),
                await ledger.observations(tx),
            ]

    before = await answers(db)
    file = tmp_path / "memory.server.backup"
    made = await backup.backup(owner_url, file, release="0.0.1")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert (made.keys, made.rows["observations"], made.rows["knowledge_revisions"]) == (("test",), 3, 3)
    assert b"planted-77" not in file.read_bytes()
    assert os.listdir(tmp_path) == ["memory.server.backup"]  # noqa: PTH208 - nothing else is left behind
    assert await backup.verify(file) == made
    done = await backup.restore(empty, file)
    assert (done.manifest, done.migrated) == (made, ())
    async with opened(other) as database:
        assert await answers(database) == before
        async with database.transaction() as tx:
            assert (await knowledge.assert_fact(tx, "a", ORDERS, "owner", "new", expected=2)).version == 3
            with pytest.raises(Exception, match="clearance"):
                await knowledge.assert_fact(tx, "a", ORDERS, "x", "y", expected=0, sensitivity=Sensitivity.CONFIDENTIAL)
    async with opened(other) as database, database.transaction() as tx:
        assert await knowledge.fact(tx, ORDERS, "sample") is None


async def test_each_agent_reads_on_where_it_was(
    db: Database, owner_url: str, other: EmbeddedServer, empty: str, tmp_path: Path
) -> None:
    """Nothing read, all read, in the middle of a page, with a transaction open: each hears its rest once, then news."""
    agents = ("all-read", "middle", "none-read", "page")
    async with db.transaction() as tx:
        for agent in agents:
            await presence.enlist(tx, agent, [], Sensitivity.INTERNAL)
        start = await bus.now_cursor(tx)
    await observed(db, "k1", "k2")
    async with db.transaction() as late:
        await ledger.record(late, "a", [NewObservation("k3-late", ORDERS)])
        await observed(db, "k4")
        _, middle = await heard(db, start, "middle")  # has read past the one that is not committed
    await observed(db, "k5", "k6")
    first, page = await heard(db, start, "page", limit=2)
    assert first == ["k1", "k2"]
    assert page.target is not None
    everything, end = await heard(db, start, "all-read")
    assert sorted(everything) == ["k1", "k2", "k3-late", "k4", "k5", "k6"]
    cursors = {"all-read": end, "middle": middle, "none-read": start, "page": page}
    expected = {agent: (await heard(db, cursor, agent))[0] for agent, cursor in cursors.items()}
    assert expected["middle"] == ["k3-late", "k5", "k6"]
    for agent, cursor in cursors.items():
        await put(owner_url, agent, cursor)
    file = tmp_path / "b"
    await backup.backup(owner_url, file, release="0.0.1")
    done = await backup.restore(empty, file)
    assert done.waiting == sum(len(topics) for topics in expected.values())
    async with opened(other) as database:
        async with database.transaction() as tx:
            assert await bus.rebase(tx) == {}  # nothing is left to do for the swarm when it starts
        held = {agent: await stored(database, agent) for agent in agents}
        after = {}
        for agent in agents:
            topics, after[agent] = await heard(database, held[agent], agent)
            assert topics == expected[agent]
            assert (await heard(database, held[agent], agent, limit=1))[0] == topics[:1]
        for number in range(3):
            await observed(database, f"new{number}")
            for agent in agents:
                topics, after[agent] = await heard(database, after[agent], agent)
                assert topics == [f"new{number}"]


@pytest.mark.parametrize("is_older", [True, False])
async def test_points_stay_exact_on_a_server_that_counts_otherwise(
    db: Database, owner_url: str, other: EmbeddedServer, empty: str, tmp_path: Path, *, is_older: bool
) -> None:
    """Whether the new server has counted further or less far: what is written there is after all old points."""
    ahead, behind = (empty, owner_url) if is_older else (owner_url, empty)
    with psycopg.connect(ahead, autocommit=True) as one, psycopg.connect(behind, autocommit=True) as two:
        counted = "SELECT pg_current_xact_id()::text::bigint"
        reached = int((two.execute(counted).fetchone() or (0,))[0]) + 500
        while int((one.execute(counted).fetchone() or (0,))[0]) < reached:
            pass
    async with db.transaction() as tx:
        await knowledge.assert_fact(tx, "a", ORDERS, "owner", "before", expected=0)
        await branches.snapshot(tx, "point", by="ann")
        await branches.fork(tx, "fix", by="ann")
        await knowledge.assert_fact(tx, "a", ORDERS, "owner", "after", expected=1)
    file = tmp_path / "b"
    await backup.backup(owner_url, file, release="0.0.1")
    await backup.restore(empty, file)
    async with opened(other) as database:
        async with database.transaction() as tx:
            await knowledge.assert_fact(tx, "a", ORDERS, "owner", "elsewhere", expected=2)
            await knowledge.assert_fact(tx, "a", ORDERS, "tier", 1, expected=0)
        async with database.transaction() as tx:
            held = [f.object for f in await knowledge.facts(tx, branch="fix")]
            assert held == ["before"]
            await branches.fork(tx, "newer", by="ann")
            await branches.snapshot(tx, "later", by="ann")
            await knowledge.assert_fact(tx, "a", ORDERS, "tier", 2, expected=1)
            assert [f.object for f in await knowledge.facts(tx, branch="newer")] == ["elsewhere", 1]
            await branches.roll_back(tx, "main@point", by="ann", reason="test")
            assert [f.object for f in await knowledge.facts(tx)] == ["before"]


async def test_numbers_of_transactions_are_where_the_restore_knows_them(owner_url: str) -> None:
    """A column that holds a transaction's number, and is not renumbered by a restore, would be wrong afterwards."""
    with psycopg.connect(owner_url) as connection:
        found = connection.execute(
            "SELECT c.relname || '.' || a.attname FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid"
            " WHERE c.relnamespace = 'dataswarm'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition"
            " AND a.attnum > 0 AND a.atttypid IN ('xid8'::regtype, 'pg_snapshot'::regtype)"
        ).fetchall()
    assert {row[0] for row in found} == {
        "events.xid",
        "snapshots.snapshot",
        "snapshots.xid",
        "knowledge_revisions.xid",
    }


def rewritten(file: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    """A backup with another manifest."""
    with tarfile.open(file) as tar:
        parts = {name: (tar.extractfile(name) or io.BytesIO()).read() for name in tar.getnames()}
    said = json.loads(parts["manifest.json"])
    change(said)
    parts["manifest.json"] = json.dumps(said).encode()
    with tarfile.open(file, "w") as tar:
        for name, content in parts.items():
            head = tarfile.TarInfo(name)
            head.size = len(content)
            tar.addfile(head, io.BytesIO(content))
    return file


CHANGES: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "format": (lambda said: said.update(format=99), "newer release"),
    "migration": (
        lambda said: said["migrations"].append(
            {"number": 99, "name": "later", "phase": "expand", "checksum": "x", "applied_at": "2030-01-01T00:00:00Z"}
        ),
        "newer release.*later",
    ),
    "history": (lambda said: said["migrations"][0].update(checksum="x"), "another migration"),
    "dump": (lambda said: said.update(dump="x"), "damaged"),
    "field": (lambda said: said.pop("rows"), "damaged"),
}


async def test_what_is_no_backup_for_this_release(
    db: Database, owner_url: str, other: EmbeddedServer, empty: str, tmp_path: Path
) -> None:
    """Newer, changed, cut off, none at all: refused before the database is touched; nothing is overwritten."""
    file = tmp_path / "good"
    await backup.backup(owner_url, file, release="0.0.1")
    copy = tmp_path / "copy"
    for change, said in CHANGES.values():
        shutil.copy(file, copy)
        with pytest.raises(UsageError, match=said):
            await backup.restore(empty, rewritten(copy, change))
    for content in (b"", b"not a tar", file.read_bytes()[:5000]):
        copy.write_bytes(content)
        with pytest.raises(UsageError, match="damaged"):
            await backup.verify(copy)
    with pytest.raises(UsageError, match="no file"):
        await backup.verify(tmp_path / "none")
    with psycopg.connect(empty) as connection:
        assert connection.execute("SELECT to_regnamespace('dataswarm')").fetchone() == (None,)
    with pytest.raises(UsageError, match="there already"):
        await backup.backup(owner_url, file, release="0.0.1")
    with pytest.raises(UsageError, match="no folder"):
        await backup.backup(owner_url, tmp_path / "deep" / "er", release="0.0.1")
    with pytest.raises(UsageError, match="a memory in this database already"):
        await backup.restore(owner_url, file)
    with pytest.raises(SetupError, match="no memory in this database"):
        await backup.backup(empty, tmp_path / "c", release="0.0.1")


async def test_an_interrupted_restore_is_begun_anew(
    db: Database, owner_url: str, other: EmbeddedServer, empty: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it left is no memory to work on; the next restore takes it away. One that lost rows is noticed."""
    await observed(db, "seen")
    file = tmp_path / "b"
    await backup.backup(owner_url, file, release="0.0.1")

    async def killed(*_: Any) -> int:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(backup, "_settle", killed)
        with pytest.raises(KeyboardInterrupt):
            await backup.restore(empty, file)
    assert len(await migrate.pending(empty)) == len(migrate.shipped())
    shutil.copy(file, tmp_path / "copy")
    with pytest.raises(PermanentError, match="other numbers of rows in observations"):
        await backup.restore(empty, rewritten(tmp_path / "copy", lambda said: said["rows"].update(observations=2)))
    assert (await backup.restore(empty, file)).migrated == ()
    assert await migrate.pending(empty) == []


async def test_programs_are_found_by_version(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server's own version first; only older ones, or none, are said so, with what to install."""
    assert (await postgres_programs.find("pg_dump", 18)).name == "pg_dump"
    with pytest.raises(SetupError, match="server is 99: an older one"):
        await postgres_programs.find("pg_dump", 99)
    with pytest.raises(SetupError, match="not installed"):
        await postgres_programs.find("no_such_program", 18)


async def test_a_password_is_in_no_argument(tmp_path: Path) -> None:
    """It reaches the program through its environment; a failure is told by its first complaint."""
    program = tmp_path / "program"
    program.write_text('#!/bin/sh\necho "$@ / $PGPASSWORD"\n')
    program.chmod(0o700)
    said = await postgres_programs.run(program, ["--x"], url="postgresql://me:s3cret@h:1/d")
    shown, _, password = said.strip().partition(" / ")
    assert ("s3cret" in shown, password) == (False, "s3cret")
    assert "host=h" in shown
    program.write_text('#!/bin/sh\necho "program: error: no such thing" >&2\nexit 1\n')
    with pytest.raises(PermanentError, match="program failed: program: error: no such thing"):
        await postgres_programs.run(program, [])
