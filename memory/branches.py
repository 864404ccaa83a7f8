"""Git for facts: name a point of memory, grow a branch from it, compare, merge back, roll back. Nothing is deleted.

A point is exact under any number of concurrent writers: a snapshot of transactions, not a time. A branch holds only
what was written on it; everything else it sees as of its fork. Points are written `branch` (its tip) or
`branch@snapshot`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from config.assets import Asset
from config.errors import ConflictError, PolicyError, UsageError
from memory import forms, knowledge
from memory.database import Transaction
from memory.records import Fact

Side = Literal["ours", "theirs"]
Key = tuple[str, str]  # subject, predicate
_NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9_./-]{0,99}$")
_CONTENT = ("object", "confidence", "sensitivity", "retracted")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A named point of a branch."""

    id: int
    branch: str
    name: str | None
    at: datetime
    by: str


@dataclass(frozen=True, slots=True)
class Branch:
    """A line of memory. `parent` is None for main alone; `state` is open or merged."""

    name: str
    state: str
    parent: str | None
    forked_from: int | None
    by: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Difference:
    """A fact that differs between two points; None where it is not held."""

    subject: Asset
    predicate: str
    before: Fact | None
    after: Fact | None


@dataclass(frozen=True, slots=True)
class Conflict:
    """A fact changed on both sides since the fork, differently. None where a side does not hold it."""

    subject: Asset
    predicate: str
    base: Fact | None
    ours: Fact | None
    theirs: Fact | None


@dataclass(frozen=True, slots=True)
class Merge:
    """What a merge wrote, or, where conflicts are left, why it wrote nothing."""

    written: tuple[Fact, ...]
    conflicts: tuple[Conflict, ...]

    @property
    def is_done(self) -> bool:
        """Was it carried out?"""
        return not self.conflicts


async def snapshot(tx: Transaction, name: str, *, by: str, branch: str = knowledge.MAIN) -> Snapshot:
    """Name the tip of a branch as it is now.

    Raises:
        ConflictError: the branch has a snapshot of that name.
        UsageError: not a name, or no such branch.
    """
    _named(name)
    await _existing(tx, branch)
    return await _point(tx, branch, name, by)


async def _point(tx: Transaction, branch: str, name: str | None, by: str) -> Snapshot:
    row = await tx.one("take_snapshot", branch=branch, name=name, by=forms.text(by, "by", required=True))
    assert row is not None  # noqa: S101 - INSERT … RETURNING without a condition has one row
    return Snapshot(**row)


async def fork(tx: Transaction, name: str, *, by: str, parent: str = knowledge.MAIN, at: str | None = None) -> Branch:
    """Grow a branch from the tip of `parent`, or from its snapshot `at`.

    Raises:
        ConflictError: there is a branch of that name.
        UsageError: not a name, no such parent or snapshot.
    """
    _named(name)
    await _existing(tx, parent)
    if await tx.one("branch", name=name) is not None:
        raise ConflictError(f"there is a branch {name!r} already")
    point = (await _point(tx, parent, None, by)).id if at is None else await _snapshot_id(tx, parent, at)
    await tx.run("fork_branch", name=name, forked_from=point, by=by)
    return await _existing(tx, name)


async def branches(tx: Transaction) -> list[Branch]:
    """All of them, oldest first."""
    return [Branch(**row) for row in await tx.all("branches")]


async def diff(tx: Transaction, before: str, after: str) -> list[Difference]:
    """What differs between two points, by subject and predicate; only what the reader may see.

    Raises:
        UsageError: no such point.
    """
    left_branch, left_point = await _read_point(tx, before)
    right_branch, right_point = await _read_point(tx, after)
    rows = await tx.all(
        "compare_points",
        left_branch=left_branch,
        left_point=left_point,
        right_branch=right_branch,
        right_point=right_point,
    )
    revisions = await _revisions(tx, [row[side] for row in rows for side in ("before", "after")])
    return [
        Difference(Asset.parse(row["subject"]), row["predicate"], _fact(old), _fact(new))
        for row in rows
        for old, new in [(revisions.get(row["before"]), revisions.get(row["after"]))]
        if not _same(old, new)
    ]


async def merge(
    tx: Transaction,
    source: str,
    *,
    by: str,
    rule: Side | None = None,
    choices: Mapping[tuple[Asset, str], Side] | None = None,
) -> Merge:
    """Bring what a branch changed back into its parent.

    Three ways: base is the parent as of the fork, ours the parent now, theirs the branch.

    Changed on one side only: that side. Changed on both to the same: nothing to do. Else a conflict, settled by
    `choices`, else by `rule`; while one is left, nothing is written. A merged branch is closed.

    Raises:
        ConflictError: a fact of the parent changed while merging; try again.
        PolicyError: the branch holds facts above the clearance of the transaction.
        UsageError: main, an unknown branch, one that is merged already.
    """
    branch = await _existing(tx, source)
    if branch.parent is None:
        raise UsageError(f"{source} has no parent to be merged into")
    held = await tx.all("hold_branches", names=[source, branch.parent])
    closed = [row["name"] for row in held if row["state"] != "open"]
    if closed:
        raise UsageError(f"branch {closed[0]!r} is merged already")
    await _see_all(tx, source)
    rows = await tx.all("merge_candidates", source=source, target=branch.parent, point=branch.forked_from)
    revisions = await _revisions(tx, [row[side] for row in rows for side in ("base", "ours", "theirs")])
    wanted: list[tuple[dict[str, Any], int]] = []
    conflicts = []
    for row in rows:
        base, ours, theirs = (revisions.get(row[side]) for side in ("base", "ours", "theirs"))
        if theirs is None or _same(theirs, base) or _same(theirs, ours):
            continue
        asset = Asset.parse(row["subject"])
        chosen: Side | None = (choices or {}).get((asset, row["predicate"])) or rule
        side = "theirs" if row["ours"] == row["base"] else chosen
        if side is None:
            conflicts.append(Conflict(asset, row["predicate"], _fact(base), _fact(ours), _fact(theirs)))
        elif side == "theirs":
            wanted.append((theirs, ours["version"] if ours else 0))
    if conflicts:
        return Merge((), tuple(conflicts))
    written = [
        await knowledge.restore(tx, by, theirs, branch=branch.parent, expected=version, reason=f"merged from {source}")
        for theirs, version in wanted
    ]
    await tx.run("close_branch", name=source)
    return Merge(tuple(written), ())


async def roll_back(tx: Transaction, to: str, *, by: str, reason: str) -> list[Fact]:
    """Make the tip of a branch equal to one of its snapshots (`branch@snapshot`), by new versions.

    Raises:
        ConflictError: a fact changed meanwhile; try again.
        PolicyError: the branch holds facts above the clearance of the transaction.
        UsageError: no such point, or no reason given.
    """
    forms.text(reason, "reason", required=True)
    branch, point = await _read_point(tx, to)
    if point is None:
        raise UsageError(f"{to!r} names no snapshot", hint="write branch@snapshot")
    held = await tx.all("hold_branches", names=[branch])
    if held[0]["state"] != "open":
        raise UsageError(f"branch {branch!r} is merged: fork a new one")
    await _see_all(tx, branch)
    rows = await tx.all("compare_points", left_branch=branch, left_point=None, right_branch=branch, right_point=point)
    revisions = await _revisions(tx, [row[side] for row in rows for side in ("before", "after")])
    written = []
    for row in rows:
        now, then = revisions.get(row["before"]), revisions.get(row["after"])
        if _same(now, then) or now is None:
            continue
        restored = {**now, "retracted": True} if then is None else then
        written.append(await knowledge.restore(tx, by, restored, branch=branch, expected=now["version"], reason=reason))
    return written


def _named(name: str) -> None:
    if not _NAME.match(name):
        raise UsageError(f"not a name: {name[:80]!r}", hint="letters, digits and _ . / - , at most 100")


async def _existing(tx: Transaction, name: str) -> Branch:
    row = await tx.one("branch", name=name)
    if row is None:
        raise UsageError(f"there is no branch {name[:100]!r}")
    return Branch(**row)


async def _snapshot_id(tx: Transaction, branch: str, name: str) -> int:
    row = await tx.one("snapshot", branch=branch, name=name)
    if row is None:
        raise UsageError(f"branch {branch!r} has no snapshot {name[:100]!r}")
    return int(row["id"])


async def _read_point(tx: Transaction, written: str) -> tuple[str, int | None]:
    name, at, point = written.partition("@")
    await _existing(tx, name)
    return name, await _snapshot_id(tx, name, point) if at else None


async def _see_all(tx: Transaction, branch: str) -> None:
    row = await tx.one("hidden_facts", branch=branch)
    if row and row["number"]:
        raise PolicyError(f"branch {branch!r} holds {row['number']} facts above the clearance of this transaction")


async def _revisions(tx: Transaction, ids: list[int | None]) -> dict[int | None, dict[str, Any]]:
    wanted = sorted({number for number in ids if number is not None})
    found: dict[int | None, dict[str, Any]] = {row["id"]: row for row in await tx.all("revisions", ids=wanted)}
    if len(found) != len(wanted):
        raise ConflictError("a fact changed its sensitivity while it was compared")
    return found


def _held(revision: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    return None if revision is None or revision["retracted"] else revision


def _same(left: Mapping[str, Any] | None, right: Mapping[str, Any] | None) -> bool:
    """Do both say the same? Not held and retracted are the same; who said it does not matter."""
    one, other = _held(left), _held(right)
    if one is None or other is None:
        return one is other
    return all(one[column] == other[column] for column in _CONTENT)


def _fact(revision: Mapping[str, Any] | None) -> Fact | None:
    held = _held(revision)
    return knowledge.read_fact(held) if held is not None else None
