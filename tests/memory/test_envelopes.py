"""Envelopes: what is confidential is sealed, opens with the right key alone, and keys change underneath."""

from __future__ import annotations

import ast
import json
import re
import stat
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from agents.runtime.upkeep import Upkeep
from config.errors import PermanentError, PolicyError, SetupError, SwarmError, UsageError
from config.settings import Settings
from memory.beliefs import branches, knowledge
from memory.board import ledger
from memory.connection.database import Database, Transaction
from memory.queue import tasks
from memory.queue.journal import Journal
from memory.records import DecisionKind, Fact, NewDecision, NewObservation, NewTask, Sensitivity
from memory.vault import envelopes
from memory.vault.envelopes import Vault
from memory.vault.keyring import Keyring, KeySource, beside, load, new_key
from tests.memory.conftest import Clock
from tests.memory.sealing import ring, sealing
from tests.memory.stage import ORDERS

HIDDEN = Sensitivity.CONFIDENTIAL


async def told(tx: Transaction, value: Any, expected: int | None = None, **more: Any) -> Fact:
    """A confidential fact."""
    return await knowledge.assert_fact(
        tx, "a", ORDERS, "sample", value, **{"expected": expected, "sensitivity": HIDDEN, **more}
    )


def seen(value: Any, key: str | None = None) -> NewObservation:
    """A confidential observation."""
    return NewObservation("sample", ORDERS, payload={"v": value}, sensitivity=HIDDEN, key=key)


async def count(db: Database, owner_url: str) -> int:
    """How many data keys there are."""
    with psycopg.connect(owner_url) as connection:
        (number,) = connection.execute("SELECT count(*) FROM dataswarm.data_keys WHERE noun <> 'hash'").fetchone() or (
            0,
        )
    return int(number)


async def test_all_that_was_said_comes_back(db: Database) -> None:
    """Each noun, every hidden field, in one batch with what is open; hashes cover what is stored."""
    sealing(db)
    new = NewDecision(
        DecisionKind.DIAGNOSIS,
        ORDERS,
        "because of 4711",
        payload={"v": 1},
        alternatives=({"cause": "b"},),
        transcript=({"text": "hm"},),
        sensitivity=HIDDEN,
    )
    async with db.transaction(clearance=HIDDEN) as tx:
        first, second, third = await ledger.record(tx, "a", [seen(1), NewObservation("open", ORDERS), seen({"é": [2]})])
        decided = await ledger.decide(tx, "a", new)
        fact = await told(tx, {"x": 1}, source="from a row", reason="it said so")
        number = await knowledge.learn(
            tx,
            "a",
            signal="pattern",
            playbook="p",
            cause="c",
            subject=ORDERS,
            text="word",
            circumstances={"n": 1},
            sensitivity=HIDDEN,
        )
    async with db.transaction(clearance=HIDDEN) as tx:
        found = [await ledger.observation(tx, id_ or 0) for id_ in (first, second, third)]
        assert [o and o.payload for o in found] == [{"v": 1}, {}, {"v": {"é": [2]}}]
        assert len({o.content_hash for o in found if o}) == 3
        decision = await ledger.decision(tx, decided or 0)
        assert decision is not None
        assert (decision.rationale, decision.payload, decision.alternatives, decision.transcript) == (
            new.rationale,
            new.payload,
            new.alternatives,
            new.transcript,
        )
        assert await knowledge.fact(tx, ORDERS, "sample") == fact
        assert (fact.object, fact.source, fact.reason) == ({"x": 1}, "from a row", "it said so")
        (learning,) = await knowledge.learnings(tx)
        assert (learning.id, learning.text, learning.circumstances) == (number, "word", {"n": 1})


async def test_what_repeats_is_told_without_being_known(db: Database, owner_url: str) -> None:
    """A key of a confidential item is stored as a keyed hash and holds; a fact said again is no new version."""
    sealing(db)
    async with db.transaction(clearance=HIDDEN) as tx:
        assert [bool(n) for n in await ledger.record(tx, "a", [seen(1, "row-4711"), seen(2, "row-4711")])] == [
            True,
            False,
        ]
        assert await ledger.record(tx, "a", [seen(3, "row-4711")]) == [None]
        decision = NewDecision(DecisionKind.IGNORE, ORDERS, "x", sensitivity=HIDDEN, key="row-4711")
        assert await ledger.decide(tx, "a", decision)
        assert await ledger.decide(tx, "a", decision) is None
        assert (await told(tx, {"a": 1}, 0)).version == 1
        assert (await told(tx, {"a": 1})).version == 1
        assert (await told(tx, {"a": 2}, 1)).version == 2
    assert await count(db, owner_url) == 4
    with psycopg.connect(owner_url) as connection:
        stored = [row[0] for row in connection.execute("SELECT key FROM dataswarm.keys")]
    assert len(stored) == 2
    assert all(key.startswith("keyed:") and "4711" not in key for key in stored)


async def test_a_fact_may_change_its_sensitivity(db: Database) -> None:
    """Open, then confidential, then open again: each version as it was."""
    sealing(db)
    async with db.transaction(clearance=HIDDEN) as tx:
        await told(tx, 1, sensitivity=Sensitivity.INTERNAL)
        await told(tx, 1)
        await told(tx, 1, sensitivity=Sensitivity.PUBLIC)
        past = await knowledge.history(tx, ORDERS, "sample")
        assert [(f.version, f.object, int(f.sensitivity)) for f in past] == [(1, 1, 1), (2, 1, 2), (3, 1, 0)]
    async with db.transaction() as tx:
        assert [f.version for f in await knowledge.history(tx, ORDERS, "sample")] == [1, 3]


async def test_branches_compare_what_is_sealed(db: Database) -> None:
    """The same on both sides is no conflict though its ciphertext differs; a merge and a roll-back carry it over."""
    sealing(db)
    async with db.transaction(clearance=HIDDEN) as tx:
        await told(tx, 0)
        await branches.snapshot(tx, "start", by="ann")
        await branches.fork(tx, "fix", by="ann")
        await told(tx, 1)
        await told(tx, 1, branch="fix")
        await knowledge.assert_fact(tx, "a", ORDERS, "other", 7, expected=0, sensitivity=HIDDEN, branch="fix")
        done = await branches.merge(tx, "fix", by="ann")
        assert [(fact.predicate, fact.object) for fact in done.written] == [("other", 7)]
        await branches.roll_back(tx, "main@start", by="ann", reason="wrong")
        held = await knowledge.fact(tx, ORDERS, "sample")
        assert held is not None
        assert held.object == 0
        assert await branches.diff(tx, "main@start", "main") == []


WRONG = Keyring("test", {"test": b"x" * 32})


@pytest.mark.parametrize(
    ("keys", "said"),
    [(None, "no key is configured"), (ring("other"), "'test'.*not configured"), (WRONG, "not the one")],
)
async def test_without_the_key_nothing_is_read_or_half_written(
    db: Database, owner_url: str, keys: Keyring | None, said: str
) -> None:
    """No key, another key, a wrong key: every door says so, and what is open goes on."""
    sealing(db)
    async with db.transaction(clearance=HIDDEN) as tx:
        await told(tx, 1)
        await ledger.record(tx, "a", [seen(1)])
        await ledger.decide(tx, "a", NewDecision(DecisionKind.IGNORE, ORDERS, "x", sensitivity=HIDDEN))
    before = await count(db, owner_url)
    sealing(db, Vault(keys))
    doors: list[Callable[[Transaction], Awaitable[object]]] = [
        lambda tx: told(tx, 2),
        lambda tx: told(tx, 2, branch="main", expected=1),
        lambda tx: ledger.record(tx, "a", [NewObservation("open", ORDERS), seen(2)]),
        lambda tx: ledger.decide(tx, "a", NewDecision(DecisionKind.IGNORE, ORDERS, "y", sensitivity=HIDDEN)),
        lambda tx: knowledge.fact(tx, ORDERS, "sample"),
        lambda tx: knowledge.history(tx, ORDERS, "sample"),
        ledger.observations,
        ledger.decisions,
    ]
    for door in doors:
        async with db.transaction(clearance=HIDDEN) as tx:  # commits what was done in spite of the error
            with pytest.raises(SetupError, match=said):
                await door(tx)
    assert await count(db, owner_url) == before
    async with db.transaction() as tx:
        assert await ledger.observations(tx) == []
        await knowledge.assert_fact(tx, "a", ORDERS, "owner", "shop", expected=0)


async def test_a_first_write_by_a_rolled_back_transaction_leaves_no_key_behind(db: Database) -> None:
    """The key of keyed hashes made in a transaction that was rolled back is not used afterwards."""
    sealing(db)
    with pytest.raises(RuntimeError):  # noqa: PT012 - what came before it must be rolled back
        async with db.transaction(clearance=HIDDEN) as tx:
            await told(tx, 1)
            raise RuntimeError
    async with db.transaction(clearance=HIDDEN) as tx:
        await told(tx, 1)
    sealing(db)  # as another process would see it
    async with db.transaction(clearance=HIDDEN) as tx:
        assert (await told(tx, 1)).version == 1


async def test_keys_are_rotated_without_downtime(db: Database, owner_url: str) -> None:
    """In batches that may stop anywhere; reading and writing go on meanwhile; the old key is then dispensable."""
    sealing(db, Vault(ring("old")))
    async with db.transaction(clearance=HIDDEN) as tx:
        await told(tx, 1)
        numbers = await ledger.record(tx, "a", [seen(n) for n in range(9)])
        before = [o.content_hash for o in await ledger.observations(tx)]
    both = sealing(db, Vault(ring("new", "old")))
    async with db.transaction(clearance=HIDDEN) as tx:
        assert await envelopes.rewrap(tx, 4) == 4
    with pytest.raises(RuntimeError):  # noqa: PT012 - the batch must be rolled back
        async with db.transaction(clearance=HIDDEN) as tx:
            await envelopes.rewrap(tx, 4)
            raise RuntimeError
    async with db.transaction(clearance=HIDDEN) as tx:
        assert {(w.key_id, w.number) for w in await envelopes.wrappings(tx)} == {("new", 4), ("old", 7)}
        assert await told(tx, 1) == (await knowledge.history(tx, ORDERS, "sample"))[0]
        await ledger.record(tx, "a", [seen("meanwhile")])
    moved: list[int] = []
    while not moved or moved[-1]:
        async with db.transaction(clearance=HIDDEN) as tx:
            moved.append(await envelopes.rewrap(tx, 4))
    assert moved == [4, 3, 0]
    assert both.is_open
    sealing(db, Vault(ring("new")))
    async with db.transaction(clearance=HIDDEN) as tx:
        found = await ledger.observations(tx)
        assert [o.payload["v"] for o in found] == ["meanwhile", *reversed(range(9))]
        assert [o.content_hash for o in found][1:] == before  # the items themselves were not touched
        assert (await told(tx, 1)).version == 1  # keyed hashes outlive the rotation
    assert len(numbers) == 9


async def test_a_rotation_with_a_missing_key_changes_nothing(db: Database, owner_url: str) -> None:
    """It says which key is missing; the rows stay as they were."""
    sealing(db, Vault(ring("old")))
    async with db.transaction(clearance=HIDDEN) as tx:
        await told(tx, 1)
    sealing(db, Vault(ring("new")))
    async with db.transaction(clearance=HIDDEN) as tx:
        with pytest.raises(SetupError, match="'old'"):
            await envelopes.rewrap(tx)
        assert [(w.key_id, w.is_configured) for w in await envelopes.wrappings(tx)] == [("old", False)]


FOR_EVER = {"hash", "fact", "learning"}  # keyed hashes and what is believed: never deleted, retracted as versions
BY_AGE = {"observation", "decision"}  # their partitions are dropped whole, their keys by the same day


def test_the_key_of_every_noun_ends_with_it(owner_url: str) -> None:
    """Whatever may be sealed is kept for ever, goes by age, or takes its key along; a new noun has to say which."""
    with psycopg.connect(owner_url) as connection:
        (written,) = connection.execute(
            "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = 'data_keys_noun_check'"
        ).fetchone() or ("",)
        arguments = connection.execute(
            "SELECT tgargs FROM pg_trigger WHERE tgfoid = 'dataswarm.forget_their_keys'::regproc"
        ).fetchall()
    allowed = set(re.findall(r"'(\w+)'", written))
    with_its_row = {bytes(found).split(b"\0")[1].decode() for (found,) in arguments}
    sealed = {
        node.args[0].value
        for path in (Path(__file__).parents[2] / "memory").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "seal"
        if isinstance(node.args[0], ast.Constant)
    }
    assert {"observation", "decision", "fact", "learning", "step"} <= sealed <= allowed
    assert allowed >= FOR_EVER | BY_AGE | with_its_row
    assert sealed - FOR_EVER - BY_AGE - with_its_row == set()


async def test_retention_leaves_the_keys_of_what_is_left(db: Database, owner_url: str, clock: Clock) -> None:
    """One of each noun, half a year later: what was dropped cannot be opened any more, in no backup either."""
    sealing(db)
    async with db.transaction() as tx:
        await tasks.enqueue(tx, [NewTask("health", "act", ORDERS)])
    (task,) = await tasks.claim(db, ["health"], limit=1, worker=uuid4(), lease_seconds=15)

    async def look() -> int:
        return 4711

    await Journal(db, task, HIDDEN).step("look", look, int)
    async with db.transaction(clearance=HIDDEN) as tx:
        await tasks.succeed(tx, task, None)
        await ledger.record(tx, "a", [seen(4711)])
        await ledger.decide(tx, "a", NewDecision(DecisionKind.DIAGNOSIS, ORDERS, "4711", sensitivity=HIDDEN))
        await told(tx, 4711)
        await knowledge.learn(
            tx, "a", signal="pattern", playbook="", cause="", subject=ORDERS, text="4711", circumstances={},
            sensitivity=HIDDEN,
        )  # fmt: skip
    assert nouns(owner_url) == {*FOR_EVER, *BY_AGE, "step"}
    clock.forward(86400 * 200)

    async def nothing() -> None:
        pass

    await Upkeep(db, Settings, beat=nothing).forget()
    assert nouns(owner_url) == FOR_EVER
    async with db.transaction(clearance=HIDDEN) as tx:
        held = await knowledge.fact(tx, ORDERS, "sample")
        (learned,) = await knowledge.learnings(tx)
    assert held is not None
    assert (held.object, learned.text) == (4711, "4711")


def nouns(owner_url: str) -> set[str]:
    """Of what there are data keys."""
    with psycopg.connect(owner_url) as connection:
        return {noun for (noun,) in connection.execute("SELECT noun FROM dataswarm.data_keys")}


@pytest.mark.parametrize("change", ["swap", "flip", "key"])
async def test_tampering_is_noticed(db: Database, owner_url: str, change: str) -> None:
    """An envelope moved to another item, one changed bit, a data key that is gone."""
    sealing(db)
    async with db.transaction(clearance=HIDDEN) as tx:
        await told(tx, "mine")
        await knowledge.assert_fact(tx, "a", ORDERS, "other", "yours", expected=0, sensitivity=HIDDEN)
    commands = {
        "swap": "UPDATE dataswarm.knowledge SET object = (SELECT object FROM dataswarm.knowledge"
        " WHERE predicate = 'other') WHERE predicate = 'sample'",
        "flip": "UPDATE dataswarm.knowledge SET object = jsonb_set(object, '{box}',"
        " to_jsonb(overlay(object ->> 'box' placing 'AAAA' from 20)))",
        "key": "DELETE FROM dataswarm.data_keys WHERE noun = 'fact'",
    }
    with psycopg.connect(owner_url) as connection:
        connection.execute(commands[change])
    async with db.transaction(clearance=HIDDEN) as tx:
        with pytest.raises(PermanentError, match=r"does not open|is gone") as caught:
            await knowledge.fact(tx, ORDERS, "sample")
    assert "mine" not in str(caught.value)


async def test_forgetting_a_key_makes_its_item_unreadable(db: Database) -> None:
    """Retention deletes the data keys of what it drops, of that noun alone."""
    sealing(db)
    async with db.transaction(clearance=HIDDEN) as tx:
        await told(tx, 1)
        await ledger.record(tx, "a", [seen(1)])
        (found,) = await ledger.observations(tx)
        assert await envelopes.forget(tx, "observation", found.at) == 0
        later = found.at.replace(year=found.at.year + 1)
        assert await envelopes.forget(tx, "observation", later) == 1
        with pytest.raises(PermanentError, match="gone"):
            await ledger.observation(tx, found.id)
        assert await knowledge.fact(tx, ORDERS, "sample") is not None


async def test_below_the_clearance_nothing_is_sealed_at_all(db: Database) -> None:
    """The refusal comes before the key is asked for, and names the clearance."""
    sealing(db, Vault(None))
    async with db.transaction() as tx:
        with pytest.raises(PolicyError, match="above the clearance"):
            await told(tx, 1)


async def test_what_has_no_sensitivity_of_its_own_is_sealed_too(db: Database) -> None:
    """A step's output, say: bound to its task and name, told from what is open by its shape."""
    vault = sealing(db)
    async with db.transaction(clearance=HIDDEN) as tx:
        await vault.hash_key(tx)
        sealed = vault.seal("step", ["7", "ask"], {"output": ["row 4711"]})
        await envelopes.keep(tx, [sealed])
        stored = json.loads(sealed.envelope)
        assert envelopes.is_envelope(stored)
        assert not envelopes.is_envelope({"sealed": "x"})
        assert not envelopes.is_envelope(["sealed", "box"])
        assert await envelopes.opened_value(tx, "step", ["7", "ask"], stored) == {"output": ["row 4711"]}
        with pytest.raises(PermanentError, match="does not open"):
            await envelopes.opened_value(tx, "step", ["8", "ask"], stored)


def test_a_ring_is_fetched_when_it_is_needed() -> None:
    """Not before, and once; a vault without one says which setting is missing."""
    fetched: list[str] = []

    def fetch() -> Keyring:
        fetched.append("now")
        return ring("k")

    vault = Vault(fetch)
    assert (vault.is_open, fetched) == (True, [])
    assert vault.ring is vault.ring
    assert fetched == ["now"]
    with pytest.raises(SetupError, match=r"no key is configured[\s\S]*memory\.keys"):
        _ = Vault(None).ring


def test_keys_come_from_text_and_commands() -> None:
    """White space around them does not matter; the ring shows no key when it is printed."""
    one, two = new_key(), new_key()
    keys = load([KeySource("a", f" {one}\n"), KeySource("b", command=[sys.executable, "-c", f"print({two!r})"])], "b")
    assert (keys.current, set(keys.keys)) == ("b", {"a", "b"})
    for secret in (one, two, str(keys.keys["a"])):
        assert secret not in repr(keys)
        assert secret not in repr(KeySource("a", one))


@pytest.mark.parametrize(
    "sources",
    [
        [KeySource("k", "tooshort")],
        [KeySource("k", "not base64 at all, but secret")],
        [KeySource("k")],
        [KeySource("k", command=["no-such-program-anywhere"])],
        [KeySource("k", command=[sys.executable, "-c", "import sys; print('secret'); sys.exit(3)"])],
        [KeySource("k", command=[sys.executable, "-c", "print('sécret')"])],
        [KeySource("k", new_key()), KeySource("k", new_key())],
        [KeySource("a b", new_key())],
        [KeySource("other", new_key())],
    ],
)
def test_an_unfit_key_is_named_and_never_quoted(sources: list[KeySource]) -> None:
    """Too short, not base64, no such command, twice, a name that is none, no current one."""
    with pytest.raises(SwarmError) as caught:
        load(sources, sources[0].id if sources[0].id != "other" else "k")
    assert isinstance(caught.value, UsageError)
    assert "cret" not in str(caught.value)
    assert not any(s.written in str(caught.value) for s in sources if s.written)


def test_a_key_file_of_our_own(tmp_path: Path) -> None:
    """Made once, readable to its owner alone, the same for all; one that others may read is refused."""
    path = tmp_path / "deeper" / "sealing.key"
    first = beside(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert beside(path).keys == first.keys
    assert list(path.parent.iterdir()) == [path]
    path.chmod(0o644)
    with pytest.raises(SetupError, match="others may read"):
        beside(path)
    path.chmod(0o600)
    path.write_text("broken")
    with pytest.raises(SetupError, match="not 32 bytes"):
        beside(path)
    with pytest.raises(SetupError, match="cannot be made"):
        beside(Path("/proc/nowhere/key"))
