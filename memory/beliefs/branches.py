"""Git for facts: name a point of memory, grow a branch from it, compare, merge back, roll back. Nothing is deleted.

A point is exact under any number of concurrent writers: a snapshot of transactions, not a time. A branch holds only
what was written on it; everything else it sees as of its fork. Points are written `branch` (its tip),
`branch@snapshot`, or `branch@2026-11-17T09:00Z`: what was written up to this time, of what is there now.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from config.assets import Asset
from config.errors import ConflictError, PolicyError, UsageError
from memory import forms
from memory.beliefs import knowledge
from memory.connection.database import Transaction
from memory.records import Fact
from memory.vault import envelopes

Side = Literal["ours", "theirs"]
Rule = Literal["ours", "theirs", "newer", "human"]
_NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9_./-]{0,99}$")
_CONTENT = ("object", "confidence", "sensitivity", "retracted")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A point of a branch; `as_of` is set where it was taken of a past time."""

    id: int
    branch: str
    name: str | None
    at: datetime
    by: str
    as_of: datetime | None = None


@dataclass(frozen=True, slots=True)
class Point:
    """A point as it was written: the tip where neither a snapshot nor a time is given."""

    branch: str
    snapshot: int | None = None
    as_of: datetime | None = None


@dataclass(frozen=True, slots=True)
class Branch:
    """A line of memory. `parent` is None for main alone; `state` is open, merged or dropped."""

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


async def _point(tx: Transaction, branch: str, name: str | None, by: str, as_of: datetime | None = None) -> Snapshot:
    row = await tx.one("take_snapshot", branch=branch, name=name, by=forms.text(by, "by", required=True), as_of=as_of)
    assert row is not None  # noqa: S101 - INSERT … RETURNING without a condition has one row
    return Snapshot(**row)


async def fork(
    tx: Transaction, name: str, *, by: str, parent: str = knowledge.MAIN, at: str | datetime | None = None
) -> Branch:
    """Grow a branch from the tip of `parent`, from its snapshot called `at`, or from what it held at a time.

    Raises:
        ConflictError: there is a branch of that name.
        UsageError: not a name, no such parent or snapshot.
    """
    _named(name)
    await _existing(tx, parent)
    if await tx.one("branch", name=name) is not None:
        raise ConflictError(f"there is a branch {name!r} already")
    if isinstance(at, str):
        written = await _read_point(tx, f"{parent}@{at}")
        point, as_of = written.snapshot, written.as_of
    else:
        point, as_of = None, at
    if point is None:
        point = (await _point(tx, parent, None, by, as_of)).id
    await tx.run("fork_branch", name=name, forked_from=point, by=by)
    return await _existing(tx, name)


async def drop(tx: Transaction, name: str) -> Branch:
    """Close a branch without merging it. What was written on it stays to be read, and so do branches grown from it.

    Raises:
        UsageError: main, an unknown branch, one that is closed already.
    """
    branch = await _existing(tx, name)
    if branch.parent is None:
        raise UsageError(f"{name} cannot be dropped")
    _open((await tx.all("hold_branches", names=[name]))[0])
    await tx.run("close_branch", name=name, state="dropped")
    return await _existing(tx, name)


async def snapshots(tx: Transaction, branch: str | None = None) -> list[Snapshot]:
    """The named points, oldest first; of one branch, or of all."""
    return [Snapshot(**row) for row in await tx.all("snapshots", branch=branch)]


async def branches(tx: Transaction) -> list[Branch]:
    """All of them, oldest first."""
    return [Branch(**row) for row in await tx.all("branches")]


async def diff(tx: Transaction, before: str, after: str) -> list[Difference]:
    """What differs between two points, by subject and predicate; only what the reader may see.

    Raises:
        UsageError: no such point.
    """
    rows = await _compared(tx, await _read_point(tx, before), await _read_point(tx, after))
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
    into: str | None = None,
    rule: Rule = "human",
    choices: Mapping[tuple[Asset, str], Side] | None = None,
) -> Merge:
    """Bring what a branch changed back into its parent.

    Three ways: base is the parent as of the fork, ours the parent now, theirs the branch.

    Changed on one side only: that side. Changed on both to the same: nothing to do. Else a conflict, settled by
    `choices`, else by `rule`: `ours`, `theirs`, `newer` (what was written last; ours where both at once) or `human`,
    which leaves it. While one is left, nothing is written. A merged branch is closed. The outcome depends on the
    facts alone, not on their order.

    Raises:
        ConflictError: a fact of the parent changed while merging; try again.
        PolicyError: the branch holds facts above the clearance of the transaction.
        UsageError: main, an unknown branch, one that is closed already, or `into` another one than its parent.
    """
    branch = await _existing(tx, source)
    if branch.parent is None:
        raise UsageError(f"{source} has no parent to be merged into")
    await _related(tx, branch, into or branch.parent)
    for row in await tx.all("hold_branches", names=[source, branch.parent]):
        _open(row)
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
        side: Side | None = (choices or {}).get((asset, row["predicate"])) or _ruled(rule, ours, theirs)
        if _same(ours, base):
            side = "theirs"  # ours did not change, or changed back
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
    await tx.run("close_branch", name=source, state="merged")
    return Merge(tuple(written), ())


def _ruled(rule: Rule, ours: Mapping[str, Any] | None, theirs: Mapping[str, Any]) -> Side | None:
    if rule == "newer":
        return "theirs" if ours is None or theirs["valid_from"] > ours["valid_from"] else "ours"
    return None if rule == "human" else rule


async def _related(tx: Transaction, branch: Branch, into: str) -> None:
    """Refuse every target but the parent, saying what it is instead."""
    target = await _existing(tx, into)
    if target.name == branch.parent:
        return
    line = await _line(tx, target)
    if branch.name in line:
        raise UsageError(
            f"{branch.name} cannot be merged into {into}, which was grown from it: that would be a cycle",
            hint=f"merge {into} into {target.parent} instead" if target.parent else "",
        )
    raise UsageError(
        f"{branch.name} was not grown from {into} but from {branch.parent}: they are unrelated",
        hint=f"merge it into {branch.parent}",
    )


async def _line(tx: Transaction, branch: Branch) -> list[str]:
    """A branch and what it was grown from, up to main."""
    line = [branch.name]
    while branch.parent is not None:
        branch = await _existing(tx, branch.parent)
        line.append(branch.name)
    return line


def _open(row: Mapping[str, Any]) -> None:
    if row["state"] != "open":
        raise UsageError(f"branch {row['name']!r} is {row['state']} already: fork a new one")


async def roll_back(tx: Transaction, to: str, *, by: str, reason: str) -> list[Fact]:
    """Make the tip of a branch equal to a point of it (`branch@snapshot` or `branch@time`), by new versions.

    Raises:
        ConflictError: a fact changed meanwhile; try again.
        PolicyError: the branch holds facts above the clearance of the transaction.
        UsageError: no such point, or no reason given.
    """
    forms.text(reason, "reason", required=True)
    point = await _read_point(tx, to)
    branch = point.branch
    if point.snapshot is None and point.as_of is None:
        raise UsageError(f"{to!r} names no snapshot", hint="write branch@snapshot, or branch@time")
    _open((await tx.all("hold_branches", names=[branch]))[0])
    await _see_all(tx, branch)
    rows = await _compared(tx, Point(branch), point)
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


async def _read_point(tx: Transaction, written: str) -> Point:
    name, at, said = written.partition("@")
    await _existing(tx, name)
    if not at:
        return Point(name)
    row = await tx.one("snapshot", branch=name, name=said)
    if row is not None:
        return Point(name, snapshot=row["id"])
    try:
        as_of = datetime.fromisoformat(said)
    except ValueError:
        raise UsageError(f"branch {name!r} has no snapshot {said[:100]!r}, and that is no time either") from None
    return Point(name, as_of=as_of if as_of.tzinfo else as_of.replace(tzinfo=UTC))


async def _compared(tx: Transaction, left: Point, right: Point) -> list[dict[str, Any]]:
    return await tx.all(
        "compare_points",
        left_branch=left.branch,
        left_point=left.snapshot,
        left_as_of=left.as_of,
        right_branch=right.branch,
        right_point=right.snapshot,
        right_as_of=right.as_of,
    )


async def _see_all(tx: Transaction, branch: str) -> None:
    row = await tx.one("hidden_facts", branch=branch)
    if row and row["number"]:
        raise PolicyError(f"branch {branch!r} holds {row['number']} facts above the clearance of this transaction")


async def _revisions(tx: Transaction, ids: list[int | None]) -> dict[int | None, dict[str, Any]]:
    wanted = sorted({number for number in ids if number is not None})
    rows = await envelopes.opened(tx, "fact", await tx.all("revisions", ids=wanted))
    found: dict[int | None, dict[str, Any]] = {row["id"]: row for row in rows}
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
