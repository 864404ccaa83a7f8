"""Clearance: every door, tried with too little of it; and a planted secret, looked for everywhere."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql
from structlog.testing import capture_logs

from config.errors import PolicyError, SwarmError
from dataswarm.metrics import Metrics
from memory import measures
from memory.access import AccessLog
from memory.beliefs import branches, knowledge, learnings
from memory.beliefs.cache import FactCache
from memory.board import ledger
from memory.connection.database import Database, Transaction
from memory.finding import files, ingest, recall
from memory.queue import tasks
from memory.queue.journal import Journal
from memory.records import DecisionKind, NewDecision, NewObservation, NewTask, Sensitivity
from memory.server.embedded import EmbeddedServer
from tests.memory.sealing import sealing
from tests.memory.stage import ORDERS

SECRET = "planted-secret-4f1c"
LEVELS = list(Sensitivity)


@pytest.fixture(autouse=True)
def _sealed(db: Database) -> None:
    """Confidential values are sealed."""
    sealing(db)


async def plant(tx: Transaction, level: Sensitivity, word: str = SECRET) -> dict[str, int]:
    """One of each noun at a sensitivity, holding a word; their ids."""
    (observation,) = await ledger.record(
        tx, "planter", [NewObservation("sample", ORDERS, payload={"v": word}, sensitivity=level, key=level.name)]
    )
    decision = await ledger.decide(
        tx, "planter", NewDecision(DecisionKind.DIAGNOSIS, ORDERS, word, payload={"v": word}, sensitivity=level)
    )
    await knowledge.assert_fact(tx, "planter", ORDERS, level.name, word, expected=0, sensitivity=level)
    learning = await knowledge.learn(
        tx,
        "planter",
        signal="pattern",
        playbook="p",
        cause="c",
        subject=ORDERS,
        text=word,
        circumstances={"v": word},
        sensitivity=level,
    )
    assert observation is not None
    assert decision is not None
    return {"observation": observation, "decision": decision, "learning": learning}


async def everything_read(tx: Transaction, ids: dict[str, int], predicate: str) -> list[Any]:
    """What every door of reading gives for the planted rows."""
    return [
        await ledger.observation(tx, ids["observation"]),
        await ledger.observations(tx, subjects=[ORDERS]),
        await ledger.decision(tx, ids["decision"]),
        await ledger.decisions(tx, subject=ORDERS),
        await knowledge.fact(tx, ORDERS, predicate),
        await knowledge.fact(tx, ORDERS, predicate, branch="other"),
        await knowledge.facts(tx),
        await knowledge.facts(tx, branch="other"),
        await knowledge.history(tx, ORDERS, predicate),
        await knowledge.learnings(tx, playbook="p"),
        await branches.diff(tx, "main@empty", "main"),
        await recall.recall(tx, SECRET),
        await recall.recall(tx, "", subject=ORDERS),
        await recall.recall(tx, "", agents=["planter"]),
    ]


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("clearance", LEVELS)
async def test_every_door_obeys_one_rule(db: Database, level: Sensitivity, clearance: Sensitivity) -> None:
    """Above its clearance a reader sees nothing through any door; at or below it sees all but indexed secrets."""
    async with db.transaction(clearance=Sensitivity.CONFIDENTIAL) as tx:
        await branches.snapshot(tx, "empty", by="ann")
        ids = await plant(tx, level)
        await branches.fork(tx, "other", by="ann")
    async with db.transaction(clearance=clearance) as tx:
        read = await everything_read(tx, ids, level.name)
        rate = await knowledge.success_rate(tx, "p", "c")
    if clearance < level:
        assert [bool(answer) for answer in read] == [False] * len(read)
        assert rate == (0, 0)
    else:
        by_words = len(read) - 3
        assert [bool(answer) for answer in read[:by_words] + read[by_words + 1 :]] == [True] * (len(read) - 1)
        assert bool(read[by_words]) == (level < Sensitivity.CONFIDENTIAL)


@pytest.mark.parametrize("level", [Sensitivity.INTERNAL, Sensitivity.CONFIDENTIAL])
async def test_nobody_writes_above_the_clearance(db: Database, level: Sensitivity) -> None:
    """Each door of writing refuses, and the error does not quote what was to be written."""
    below = Sensitivity(level - 1)
    doors: list[Callable[[Transaction], Awaitable[object]]] = [
        lambda tx: ledger.record(tx, "a", [NewObservation("s", ORDERS, payload={"v": SECRET}, sensitivity=level)]),
        lambda tx: ledger.decide(tx, "a", NewDecision(DecisionKind.DIAGNOSIS, ORDERS, SECRET, sensitivity=level)),
        lambda tx: knowledge.assert_fact(tx, "a", ORDERS, "p", SECRET, expected=0, sensitivity=level),
        lambda tx: knowledge.learn(
            tx,
            "a",
            signal="pattern",
            playbook="",
            cause="",
            subject=ORDERS,
            text=SECRET,
            circumstances={},
            sensitivity=level,
        ),
    ]
    for door in doors:
        with pytest.raises(PolicyError) as caught:
            async with db.transaction(clearance=below) as tx:
                await door(tx)
        assert SECRET not in str(caught.value)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("clearance", LEVELS)
async def test_the_other_doors_obey_it_too(
    db: Database, tmp_path: Path, level: Sensitivity, clearance: Sensitivity
) -> None:
    """The cache, rates, one learning by its number, the events' rows, an export: the same rule, nothing quoted."""
    async with db.transaction(clearance=Sensitivity.CONFIDENTIAL) as tx:
        ids = await plant(tx, level)
        await knowledge.learn(
            tx,
            "planter",
            signal="success",
            playbook="p",
            cause="c",
            subject=ORDERS,
            text=SECRET,
            circumstances={},
            sensitivity=level,
        )
    cache = FactCache(db)
    for _ in range(2):  # asked by whoever may first, and then again
        assert await cache.fact(ORDERS, level.name, clearance=Sensitivity.CONFIDENTIAL) is not None
        found = await cache.fact(ORDERS, level.name, clearance=clearance)
        assert (found is not None) == (level <= clearance)
    async with db.transaction(clearance=clearance) as tx:
        told = await learnings.learning(tx, ids["learning"])
        rates = await learnings.rates(tx, "c", subject=ORDERS)
    assert (told is not None) == (level <= clearance)
    assert ("p" in rates) == (level <= clearance)
    if clearance is Sensitivity.CONFIDENTIAL:
        with pytest.raises(PolicyError):
            await files.export(db, tmp_path, clearance=clearance)
        assert written(tmp_path) == ""
    else:
        await files.export(db, tmp_path, clearance=clearance)
        assert (SECRET in written(tmp_path)) == (level <= clearance)


def written(folder: Path) -> str:
    """All that stands in the files of a folder."""
    return "".join(path.read_text() for path in folder.rglob("*") if path.is_file())


async def test_branches_are_no_way_around_it(db: Database) -> None:
    """Below its clearance a branch shows nothing of a fact, and can neither overlay, merge nor roll it back."""
    hidden = Sensitivity.CONFIDENTIAL
    async with db.transaction(clearance=hidden) as tx:
        await branches.snapshot(tx, "before", by="ann")
        await branches.fork(tx, "fix", by="ann")
        await knowledge.assert_fact(tx, "ann", ORDERS, "p", SECRET, expected=0, sensitivity=hidden)
        await knowledge.assert_fact(tx, "ann", ORDERS, "q", SECRET, expected=0, sensitivity=hidden, branch="fix")
        await branches.snapshot(tx, "after", by="ann")
        await branches.fork(tx, "late", by="ann", at="after")
    doors: list[Callable[[Transaction], Awaitable[object]]] = [
        lambda tx: knowledge.assert_fact(tx, "bob", ORDERS, "p", "mine", expected=None),
        lambda tx: knowledge.assert_fact(tx, "bob", ORDERS, "p", "mine", expected=1),
        lambda tx: knowledge.assert_fact(tx, "bob", ORDERS, "p", "mine", expected=0, branch="late"),
        lambda tx: knowledge.assert_fact(tx, "bob", ORDERS, "q", "mine", expected=None, branch="fix"),
        lambda tx: knowledge.retract(tx, "bob", ORDERS, "p", reason="x"),
        lambda tx: knowledge.retract(tx, "bob", ORDERS, "q", reason="x", branch="fix"),
        lambda tx: branches.merge(tx, "fix", by="bob", rule="theirs"),
        lambda tx: branches.roll_back(tx, "main@before", by="bob", reason="x"),
    ]
    for level in (Sensitivity.PUBLIC, Sensitivity.INTERNAL):
        for door in doors:
            with pytest.raises(SwarmError) as refused:
                async with db.transaction(clearance=level) as tx:
                    await door(tx)
            assert SECRET not in str(refused.value)
        async with db.transaction(clearance=level) as tx:
            for point in ("main", "fix", "late", "main@after"):
                assert await branches.diff(tx, "main@before", point) == []
            assert await knowledge.history(tx, ORDERS, "q", branch="fix") == []
    async with db.transaction(clearance=hidden) as tx:
        held = await knowledge.fact(tx, ORDERS, "p"), await knowledge.fact(tx, ORDERS, "q", branch="fix")
        assert [fact and (fact.object, fact.version) for fact in held] == [(SECRET, 1)] * 2


async def test_nobody_replaces_what_they_may_not_read(db: Database) -> None:
    """A confidential fact is neither overwritten nor retracted nor uncovered from below."""
    async with db.transaction(clearance=Sensitivity.CONFIDENTIAL) as tx:
        await knowledge.assert_fact(tx, "a", ORDERS, "owner", "was open", expected=0)
        await knowledge.assert_fact(tx, "a", ORDERS, "owner", SECRET, expected=1, sensitivity=Sensitivity.CONFIDENTIAL)
    for expected in (None, 0, 1, 2):
        with pytest.raises(SwarmError) as caught:
            async with db.transaction() as tx:
                await knowledge.assert_fact(tx, "a", ORDERS, "owner", "mine", expected=expected)
        assert SECRET not in str(caught.value)
    async with db.transaction() as tx:
        assert await knowledge.fact(tx, ORDERS, "owner") is None
        assert await recall.recall(tx, "was open") == []
    async with db.transaction(clearance=Sensitivity.CONFIDENTIAL) as tx:
        held = await knowledge.fact(tx, ORDERS, "owner")
    assert held is not None
    assert (held.object, held.version) == (SECRET, 2)


async def test_a_superseded_decision_is_known_to_be_so(db: Database) -> None:
    """Who may not see the newer decision still learns that the older one is not held any more."""
    async with db.transaction(clearance=Sensitivity.CONFIDENTIAL) as tx:
        older = await ledger.decide(tx, "a", NewDecision(DecisionKind.DIAGNOSIS, ORDERS, "older"))
        newer = NewDecision(
            DecisionKind.DIAGNOSIS, ORDERS, SECRET, sensitivity=Sensitivity.CONFIDENTIAL, supersedes=older
        )
        await ledger.decide(tx, "a", newer)
    async with db.transaction() as tx:
        assert await ledger.decisions(tx) == []


async def test_the_login_itself_reads_nothing(db: Database, database_url: str) -> None:
    """Without taking a role the worker has no right at all; with the functions it is the public's reader."""
    async with db.transaction(clearance=Sensitivity.CONFIDENTIAL) as tx:
        await plant(tx, Sensitivity.INTERNAL)
    with psycopg.connect(database_url, autocommit=True) as connection:
        for table in ("observations", "documents", "knowledge"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(sql.SQL("SELECT * FROM dataswarm.{}").format(sql.Identifier(table)))
        found = connection.execute(
            "SELECT * FROM dataswarm.beliefs('main', NULL, NULL, NULL, NULL)"
            " UNION ALL SELECT * FROM dataswarm.beliefs('main', NULL, now(), NULL, NULL)"
        ).fetchall()
        assert found == []
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("SELECT * FROM dataswarm.heads('main', NULL, NULL, NULL, NULL)")


async def test_a_confidential_text_is_in_no_row_in_the_clear(db: Database, owner_url: str) -> None:
    """Every table of the swarm is searched for a planted secret; a word planted openly shows that it would be seen."""
    async with db.transaction(clearance=Sensitivity.CONFIDENTIAL) as tx:
        await plant(tx, Sensitivity.CONFIDENTIAL)
        await plant(tx, Sensitivity.INTERNAL, "open-word-77ab")
        shown = dataclasses.asdict(await measures.snapshot(tx))
    assert SECRET not in json.dumps(shown, default=str)
    assert holding(owner_url, SECRET) == set()
    assert {f"dataswarm.{noun}" for noun in NOUNS} <= holding(owner_url, "open-word-77ab")


NOUNS = ("observations", "decisions", "knowledge", "knowledge_revisions", "learnings", "documents")


def holding(owner_url: str, word: str) -> set[str]:
    """The tables of the swarm that hold a word."""
    with psycopg.connect(owner_url) as connection:
        tables = [
            row[0]
            for row in connection.execute(
                "SELECT c.oid::regclass::text FROM pg_class c WHERE relnamespace = 'dataswarm'::regnamespace"
                " AND relkind IN ('r', 'p') AND NOT relispartition"
            )
        ]
        assert "dataswarm.events" in tables
        return {
            table
            for table in tables
            if connection.execute(
                sql.SQL("SELECT count(*) FROM {} t WHERE position(%s in t::text) > 0").format(sql.SQL(table)),
                [word],
            ).fetchone()
            != (0,)
        }


async def test_a_confidential_text_is_in_no_file_of_the_server(
    db: Database, owner_url: str, server: EmbeddedServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither in tables and indexes nor in the write-ahead log nor in its own log, nor in ours: all bytes are read."""
    caplog.set_level("DEBUG")
    secret, shown = f"planted-{uuid4().hex}", f"shown-{uuid4().hex}"
    async with db.transaction(clearance=Sensitivity.CONFIDENTIAL) as tx:
        await plant(tx, Sensitivity.CONFIDENTIAL, secret)
        await plant(tx, Sensitivity.INTERNAL, shown)
    with pytest.raises(SwarmError) as refused:
        async with db.transaction(clearance=Sensitivity.CONFIDENTIAL) as tx:
            await plant(tx, Sensitivity.CONFIDENTIAL, secret + "-again")  # a conflict, after some of it was written
    with psycopg.connect(owner_url, autocommit=True) as connection:
        connection.execute("CHECKPOINT")
    found = {shown: set[str](), secret: set[str]()}
    for path in server._directory.rglob("*"):
        if path.is_file() and not path.is_symlink():
            content = path.read_bytes()
            for word, places in found.items():
                if word.encode() in content:
                    places.add(path.relative_to(server._directory).parts[0])
    assert found[secret] == set()
    assert {"base", "pg_wal"} <= found[shown]
    assert secret not in caplog.text
    assert secret not in str(refused.value)


async def test_a_planted_secret_is_nowhere_to_be_read(
    db: Database, owner_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Through every way in, well and badly: no table, event, step, access, metric, export, log or error holds it."""
    caplog.set_level("DEBUG")
    hidden, said = Sensitivity.CONFIDENTIAL, list[str]()
    async with db.transaction() as tx:
        await tasks.enqueue(tx, [NewTask("health", "act", ORDERS)])
    (task,) = await tasks.claim(db, ["health"], limit=1, worker=uuid4(), lease_seconds=15)

    async def look() -> list[str]:
        return [SECRET]

    with capture_logs() as logs:
        await Journal(db, task, hidden).step("look", look, list[str])
        async with db.transaction(clearance=hidden) as tx:
            ids = await plant(tx, hidden)
            await learnings.share(
                tx, "planter", to=["health"], signal="pattern", subject=ORDERS, text=SECRET, sensitivity=hidden
            )
            await knowledge.assert_fact(
                tx, "planter", ORDERS, "source", 1, expected=0, source=SECRET, reason=SECRET, sensitivity=hidden
            )
            await knowledge.retract(tx, "planter", ORDERS, "source", reason=SECRET)
            found = await recall.recall(tx, SECRET)
        log = AccessLog(db)
        log.searched("planter", SECRET, [one.reference for one in found], clearance=hidden)
        log.read("planter", "observation", [ids["observation"]])
        await log.flush()
        (tmp_path / "in").mkdir()
        (tmp_path / "in" / "secret.md").write_text(f"---\nsensitivity: confidential\n---\n# one\n{SECRET}")
        (tmp_path / "in" / "broken.md").write_text(f"---\nsensitivity: {SECRET}\n---\n{SECRET}")
        said += [str(filed) for filed in await ingest.ingest(db, tmp_path / "in")]
        await files.export(db, tmp_path / "out")
        for door in (
            lambda tx: knowledge.assert_fact(tx, "a", ORDERS, "CONFIDENTIAL", SECRET, expected=9, sensitivity=hidden),
            lambda tx: knowledge.assert_fact(tx, "a", ORDERS, "x", f"{SECRET}\0", expected=0, sensitivity=hidden),
            lambda tx: recall.ask(tx, SECRET * 1000),
        ):
            with pytest.raises(SwarmError) as refused:
                async with db.transaction(clearance=hidden) as tx:
                    await door(tx)
            said += [str(refused.value), refused.value.hint or ""]
    metrics = Metrics(db)
    await metrics.refresh()
    said += [metrics.render()[0].decode(), caplog.text, str(logs), written(tmp_path / "out")]
    assert [SECRET in one for one in said] == [False] * len(said)
    assert holding(owner_url, SECRET) == set()
    for table in ("events", "steps", "access_log", "files"):
        assert rows(owner_url, table) > 0, f"nothing went through {table}: the test proves nothing of it"


def rows(owner_url: str, table: str) -> int:
    """How many rows a table has."""
    with psycopg.connect(owner_url) as connection:
        counted = connection.execute(
            sql.SQL("SELECT count(*) FROM dataswarm.{}").format(sql.Identifier(table))
        ).fetchone()
    return int(counted[0]) if counted else 0


@pytest.mark.parametrize("level", [Sensitivity.PUBLIC, Sensitivity.INTERNAL])
async def test_data_keys_are_for_the_cleared_alone(database_url: str, level: Sensitivity) -> None:
    """Below confidential the wrapped keys can be neither read nor written nor removed."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        for command in (
            "SELECT * FROM dataswarm.data_keys",
            "DELETE FROM dataswarm.data_keys",
            "UPDATE dataswarm.data_keys SET key_id = 'x'",
        ):
            with connection.transaction(force_rollback=True):
                connection.execute(
                    sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(f"dataswarm_{level.name.lower()}"))
                )
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    connection.execute(command)


async def test_the_database_itself_refuses_what_is_not_sealed(database_url: str) -> None:
    """A writer that forgot to seal is stopped by a constraint on every table that may hold something confidential."""
    columns = {
        "observations": "(id, at, agent, kind, subject, whole, severity, importance, sensitivity, payload, evidence,"
        " content_hash) VALUES (1, now(), 'a', 'k', 's', 's', 'info', 1, 2, '{\"v\": 1}', '[]', '')",
        "decisions": "(id, at, agent, kind, subject, rationale, cause, confidence, payload, evidence, alternatives,"
        " transcript, sensitivity, content_hash)"
        " VALUES (1, now(), 'a', 'k', 's', 'why', '', 1, '{}', '[]', '[]', '[]', 2, '')",
        "knowledge": "(branch, subject, predicate, object, version, agent, confidence, sensitivity, source, evidence,"
        " valid_from, retracted, reason) VALUES ('main', 's', 'p', '1', 1, 'a', 1, 2, '', '[]', now(), false, '')",
        "knowledge_revisions": "(branch, subject, predicate, object, version, agent, confidence, sensitivity, source,"
        " evidence, valid_from, retracted, reason)"
        " VALUES ('main', 's', 'p', '1', 1, 'a', 1, 2, '', '[]', now(), false, '')",
    }
    with psycopg.connect(database_url, autocommit=True) as connection:
        for table, values in columns.items():
            with connection.transaction(force_rollback=True):
                connection.execute("SET LOCAL ROLE dataswarm_confidential")
                with pytest.raises(psycopg.errors.CheckViolation):
                    connection.execute(sql.SQL(f"INSERT INTO dataswarm.{table} {values}"))
