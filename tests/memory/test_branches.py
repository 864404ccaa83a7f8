"""Git for facts: exact points, isolated branches, deterministic merges, roll-backs that keep history."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from config.errors import ConflictError, PolicyError, UsageError
from memory.beliefs import branches, knowledge
from memory.connection.database import Database, Transaction
from memory.records import Fact, Sensitivity
from tests.memory.conftest import Clock
from tests.memory.sealing import sealing
from tests.memory.stage import ORDERS


@pytest.fixture(autouse=True)
def _sealed(db: Database) -> None:
    """Confidential values are sealed."""
    sealing(db)


async def told(tx: Transaction, predicate: str, value: Any, expected: int | None = None, **more: Any) -> Fact:
    """A fact about the orders table."""
    return await knowledge.assert_fact(tx, "a", ORDERS, predicate, value, expected=expected, **more)


async def held(tx: Transaction, branch: str = "main") -> dict[str, Any]:
    """What a branch holds: predicate → object."""
    return {fact.predicate: fact.object for fact in await knowledge.facts(tx, branch=branch)}


async def test_a_branch_sees_its_fork_and_itself_alone(db: Database) -> None:
    """Neither side sees what the other writes after the fork; a branch of a branch sees both their pasts."""
    async with db.transaction() as tx:
        await told(tx, "owner", "shop")
        await told(tx, "tier", 1)
        fork = await branches.fork(tx, "what-if", by="ann")
        assert (fork.parent, fork.state) == ("main", "open")
        await told(tx, "owner", "data")  # on main, in the very transaction of the fork
    async with db.transaction() as tx:
        await told(tx, "late", True)
        inherited = await told(tx, "tier", 2, 1, branch="what-if")
        await branches.fork(tx, "deeper", by="ann", parent="what-if")
        await told(tx, "tier", 3, branch="what-if")
    async with db.transaction() as tx:
        assert await held(tx) == {"owner": "data", "tier": 1, "late": True}
        assert await held(tx, "what-if") == {"owner": "shop", "tier": 3}
        assert await held(tx, "deeper") == {"owner": "shop", "tier": 2}
        assert inherited.version == 2
        with pytest.raises(ConflictError, match="has version 2, not 1"):
            await told(tx, "tier", 9, 1, branch="deeper")
        assert (await told(tx, "tier", 9, 2, branch="deeper")).version == 3
        assert await knowledge.fact(tx, ORDERS, "late", branch="what-if") is None


async def test_a_point_misses_what_was_not_committed(db: Database) -> None:
    """A writer that commits after the snapshot, though it wrote before it, is not in it."""
    async with db.transaction() as slow:
        await told(slow, "owner", "late")
        async with db.transaction() as tx:
            await told(tx, "tier", 1)
        async with db.transaction() as tx:
            await branches.snapshot(tx, "monday", by="ann")
    async with db.transaction() as tx:
        await branches.fork(tx, "from-monday", by="ann", at="monday")
        assert await held(tx) == {"owner": "late", "tier": 1}
        assert await held(tx, "from-monday") == {"tier": 1}


async def test_a_diff_shows_what_differs(db: Database) -> None:
    """Changed, new and retracted facts; who said the same again does not matter."""
    async with db.transaction() as tx:
        for predicate in ("same", "changed", "dropped"):
            await told(tx, predicate, 1)
        await branches.snapshot(tx, "before", by="ann")
    async with db.transaction() as tx:
        await told(tx, "changed", 2)
        await told(tx, "new", 1)
        await knowledge.retract(tx, "a", ORDERS, "dropped", reason="gone")
        found = await branches.diff(tx, "main@before", "main")
        assert [(d.predicate, d.before and d.before.object, d.after and d.after.object) for d in found] == [
            ("changed", 1, 2),
            ("dropped", 1, None),
            ("new", None, 1),
        ]
        assert await branches.diff(tx, "main", "main") == []
        for point in ("main@never", "nowhere"):
            with pytest.raises(UsageError, match=r"no snapshot|no branch"):
                await branches.diff(tx, point, "main")


async def forked_and_changed(tx: Transaction) -> None:
    """Main and a branch that changed facts on one side, on both alike, and on both differently."""
    for predicate in ("ours", "theirs", "alike", "rival", "dropped"):
        await told(tx, predicate, 0)
    await branches.fork(tx, "fix", by="ann")
    await told(tx, "ours", 1)
    await told(tx, "theirs", 2, branch="fix")
    await told(tx, "new", 2, branch="fix")
    await knowledge.retract(tx, "a", ORDERS, "dropped", reason="gone", branch="fix")
    for side, value in (("main", 1), ("fix", 2)):
        await told(tx, "alike", 5, branch=side)
        await told(tx, "rival", value, branch=side)


async def test_a_merge_with_conflicts_writes_nothing(db: Database) -> None:
    """The conflict is listed with its three sides; the branch stays open."""
    async with db.transaction() as tx:
        await forked_and_changed(tx)
        before = await held(tx)
        refused = await branches.merge(tx, "fix", by="ann")
        assert not refused.is_done
        assert [
            (c.predicate, c.base and c.base.object, c.ours and c.ours.object, c.theirs and c.theirs.object)
            for c in refused.conflicts
        ] == [("rival", 0, 1, 2)]
        assert await held(tx) == before
        assert {branch.name: branch.state for branch in await branches.branches(tx)} == {"main": "open", "fix": "open"}


@pytest.mark.parametrize(("side", "rival"), [("ours", 1), ("theirs", 2)])
@pytest.mark.parametrize("by_choice", [True, False])
async def test_a_merge_takes_each_side(db: Database, side: branches.Side, rival: int, *, by_choice: bool) -> None:
    """One-sided changes come over, conflicts go as told, and the branch is closed afterwards."""
    async with db.transaction() as tx:
        await forked_and_changed(tx)
        if by_choice:
            done = await branches.merge(tx, "fix", by="ann", choices={(ORDERS, "rival"): side})
        else:
            done = await branches.merge(tx, "fix", by="ann", rule=side)
        assert done.is_done
        assert await held(tx) == {"ours": 1, "theirs": 2, "alike": 5, "rival": rival, "new": 2}
        assert [fact.predicate for fact in done.written] == [
            "dropped",
            "new",
            *(["rival"] if side == "theirs" else []),
            "theirs",
        ]
        with pytest.raises(UsageError, match="merged"):
            await told(tx, "theirs", 3, branch="fix")
        with pytest.raises(UsageError, match="merged already"):
            await branches.merge(tx, "fix", by="ann")
        with pytest.raises(UsageError, match="no parent"):
            await branches.merge(tx, "main", by="ann")


async def test_a_roll_back_restores_exactly_and_keeps_history(db: Database) -> None:
    """The tip equals the point again; what happened between stays in the history."""
    async with db.transaction() as tx:
        for predicate in ("same", "changed", "dropped"):
            await told(tx, predicate, 1, confidence=0.5)
        await branches.snapshot(tx, "good", by="ann")
        before = await held(tx)
    async with db.transaction() as tx:
        await told(tx, "changed", 2)
        await told(tx, "new", 1)
        await knowledge.retract(tx, "a", ORDERS, "dropped", reason="gone")
        written = await branches.roll_back(tx, "main@good", by="ann", reason="wrong turn")
        assert len(written) == 3
        assert await held(tx) == before
        assert await branches.diff(tx, "main@good", "main") == []
        assert [fact.object for fact in await knowledge.history(tx, ORDERS, "changed")] == [1, 2, 1]
        restored = await knowledge.fact(tx, ORDERS, "changed")
        assert restored is not None
        assert restored.confidence == 0.5
        with pytest.raises(UsageError, match="names no snapshot"):
            await branches.roll_back(tx, "main", by="ann", reason="x")
        with pytest.raises(UsageError, match="reason"):
            await branches.roll_back(tx, "main@good", by="ann", reason="")


async def test_names_are_checked(db: Database) -> None:
    """Odd names, names taken, unknown parents."""
    async with db.transaction() as tx:
        await branches.snapshot(tx, "one", by="ann")
        for name in ("", "a@b", "a b", "x" * 101):
            with pytest.raises(UsageError, match="not a name"):
                await branches.fork(tx, name, by="ann")
        with pytest.raises(UsageError, match="no branch"):
            await branches.fork(tx, "x", by="ann", parent="nowhere")
        with pytest.raises(UsageError, match="no snapshot"):
            await branches.fork(tx, "x", by="ann", at="never")
    for again in (branches.snapshot, branches.fork):
        with pytest.raises(ConflictError):
            async with db.transaction() as tx:
                await again(tx, "one" if again is branches.snapshot else "main", by="ann")


async def test_a_branch_hides_what_is_above_the_clearance(db: Database) -> None:
    """A confidential version on a branch neither shows nor uncovers the older one; merging needs the clearance."""
    async with db.transaction(clearance=Sensitivity.CONFIDENTIAL) as tx:
        await told(tx, "owner", "shop")
        await branches.fork(tx, "secret", by="ann")
        await told(tx, "owner", "classified", branch="secret", sensitivity=Sensitivity.CONFIDENTIAL)
        await branches.fork(tx, "deeper", by="ann", parent="secret")
    async with db.transaction() as tx:
        assert await knowledge.fact(tx, ORDERS, "owner", branch="secret") is None
        assert await knowledge.fact(tx, ORDERS, "owner", branch="deeper") is None
        with pytest.raises(PolicyError, match="above the clearance"):
            await branches.merge(tx, "secret", by="ann")
    with pytest.raises(PolicyError):
        async with db.transaction() as tx:
            await told(tx, "owner", "overlaid", branch="deeper")
    async with db.transaction(clearance=Sensitivity.CONFIDENTIAL) as tx:
        assert await held(tx, "deeper") == {"owner": "classified"}


async def test_what_changed_back_did_not_change(db: Database) -> None:
    """The parent said something else meanwhile and then the same again: no conflict, the branch's word comes over."""
    async with db.transaction() as tx:
        await told(tx, "owner", 0)
        await branches.fork(tx, "fix", by="ann")
        for value in (1, 0):
            await told(tx, "owner", value)
        await told(tx, "owner", 2, branch="fix")
        done = await branches.merge(tx, "fix", by="ann")
        assert [(fact.object, fact.version) for fact in done.written] == [(2, 4)]


@pytest.mark.parametrize(("first", "wins"), [("main", 2), ("fix", 1)])
async def test_the_newer_side_wins_where_that_is_the_rule(db: Database, clock: Clock, first: str, wins: int) -> None:
    """What was written last; where both were written at one time, ours."""
    async with db.transaction() as tx:
        await branches.fork(tx, "fix", by="ann")
    values = {"main": 1, "fix": 2}
    for branch in sorted(values, key=lambda name: name != first):
        clock.forward(1)
        async with db.transaction() as tx:
            await told(tx, "owner", values[branch], branch=branch)
            await told(tx, "same", values["main"], branch="main")
            await told(tx, "same", values["fix"], branch="fix")
    async with db.transaction() as tx:
        await branches.merge(tx, "fix", by="ann", rule="newer")
        assert await held(tx) == {"owner": wins, "same": 1}


async def test_a_past_time_is_a_point_too(db: Database, clock: Clock) -> None:
    """Fork, compare and roll back to what was believed then; a time without a zone is UTC; later writes stay out."""
    async with db.transaction() as tx:
        await told(tx, "owner", "monday")
        await told(tx, "gone", 1)
    monday = clock.now
    clock.forward(86_400)
    async with db.transaction() as tx:
        await told(tx, "owner", "tuesday")
        await told(tx, "new", 1)
        await knowledge.retract(tx, "a", ORDERS, "gone", reason="x")
    clock.forward(60)
    written = f"main@{monday:%Y-%m-%dT%H:%M:%S.%f}"
    async with db.transaction() as tx:
        past = await knowledge.facts(tx, at=monday)
        assert {fact.predicate: fact.object for fact in past} == {"owner": "monday", "gone": 1}
        await branches.fork(tx, "as-of-monday", by="ann", at=monday)
        assert await held(tx, "as-of-monday") == {"owner": "monday", "gone": 1}
        assert [d.predicate for d in await branches.diff(tx, written, "main")] == ["gone", "new", "owner"]
        assert await branches.diff(tx, written, "as-of-monday") == []
        await told(tx, "owner", "corrected", 1, branch="as-of-monday")
    async with db.transaction() as tx:
        refused = await branches.merge(tx, "as-of-monday", by="ann")
        assert [conflict.predicate for conflict in refused.conflicts] == ["owner"]
        await branches.roll_back(tx, written, by="ann", reason="wrong turn")
        assert await held(tx) == {"owner": "monday", "gone": 1}
        with pytest.raises(UsageError, match="no time either"):
            await branches.diff(tx, "main@someday", "main")


async def test_a_dropped_branch_is_closed_and_kept(db: Database) -> None:
    """Nothing is written on it or merged from it any more; what was said there can be read; main is never dropped."""
    async with db.transaction() as tx:
        await branches.fork(tx, "fix", by="ann")
        await told(tx, "owner", 1, branch="fix")
        assert (await branches.drop(tx, "fix")).state == "dropped"
        for refused in (
            told(tx, "owner", 2, branch="fix"),
            branches.merge(tx, "fix", by="ann"),
            branches.drop(tx, "fix"),
        ):
            with pytest.raises(UsageError, match="dropped"):
                await refused
        with pytest.raises(UsageError, match="cannot be dropped"):
            await branches.drop(tx, "main")
        assert await held(tx, "fix") == {"owner": 1}
        assert await held(tx) == {}
        await branches.snapshot(tx, "s", by="ann", branch="fix")
        assert [point.name for point in await branches.snapshots(tx, "fix")] == ["s"]
        assert await branches.snapshots(tx, "main") == []


async def test_only_relatives_are_merged_and_never_in_a_circle(db: Database, owner_url: str) -> None:
    """Into the parent alone; into a child is a cycle, into a cousin unrelated; and no branch gets another root."""
    async with db.transaction() as tx:
        for name, parent in (("a", "main"), ("b", "main"), ("a-child", "a")):
            await branches.fork(tx, name, by="ann", parent=parent)
        with pytest.raises(UsageError, match=r"a cannot be merged into a-child[\s\S]*cycle"):
            await branches.merge(tx, "a", by="ann", into="a-child")
        with pytest.raises(UsageError, match="a cycle"):
            await branches.merge(tx, "a", by="ann", into="a")
        for source, into in (("a", "b"), ("a-child", "b"), ("a-child", "main")):
            with pytest.raises(UsageError, match="unrelated"):
                await branches.merge(tx, source, by="ann", into=into)
        with pytest.raises(UsageError, match="no branch"):
            await branches.merge(tx, "a", by="ann", into="nowhere")
        assert (await branches.merge(tx, "a-child", by="ann", into="a")).is_done
    with psycopg.connect(owner_url, autocommit=True) as connection, connection.transaction(force_rollback=True):
        connection.execute("SET LOCAL ROLE dataswarm_confidential")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("UPDATE dataswarm.branches SET forked_from = NULL WHERE name = 'a'")
