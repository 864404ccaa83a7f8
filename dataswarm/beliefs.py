"""Facts and branches for who asks from outside: references as texts in, JSON values out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

from config.assets import Asset
from config.draft import nearest
from config.errors import UsageError
from dataswarm.commands.shared import Desk
from dataswarm.sealing import vault_for
from dataswarm.views import Json, plain
from memory.access import AccessLog
from memory.beliefs import branches, knowledge, rehearsals
from memory.beliefs.branches import Conflict, Difference, Rule, Side
from memory.connection.database import Transaction
from memory.records import JSON, Fact, Sensitivity
from memory.vault import envelopes
from memory.vault.envelopes import Vault

MOST = 500


def zoned(written: str | None) -> datetime | None:
    """A time as it was typed, in ISO form; without a zone it is UTC.

    Raises:
        UsageError: it is none.
    """
    if written is None:
        return None
    try:
        at = datetime.fromisoformat(written)
    except ValueError:
        raise UsageError(f"not a time: {written[:40]!r}", hint="write 2026-11-17 or 2026-11-17T09:00+01:00") from None
    return at if at.tzinfo else at.replace(tzinfo=UTC)


@asynccontextmanager
async def reading(desk: Desk, *, confidential: bool) -> AsyncIterator[Transaction]:
    """A transaction that sees what was asked for; the keys are at hand where that is confidential."""
    level = Sensitivity.CONFIDENTIAL if confidential else Sensitivity.INTERNAL
    if confidential:
        await sealed(desk)
    async with desk.database.transaction(clearance=level) as tx:
        yield tx


async def sealed(desk: Desk) -> None:
    """Fetch the keys now, away from the event loop: a command may print one of them.

    Raises:
        SetupError: there is none, or one cannot be fetched.
    """
    await asyncio.to_thread(lambda: at_hand(desk).ring)


def at_hand(desk: Desk) -> Vault:
    """The vault of the desk's database; its keys are fetched when something confidential turns up."""
    held: Vault | None = desk.database.__dict__.get("vault")
    if held is None or not held.is_open:
        held = desk.database.__dict__["vault"] = vault_for(desk.settings)
    return held


async def rewrapped(desk: Desk) -> int:
    """One batch of a rotation, committed; how many data keys it wrapped anew."""
    async with reading(desk, confidential=True) as tx:
        return await envelopes.rewrap(tx)


async def noted(desk: Desk, by: str, verb: str, noun: str, ref: str, query: str = "") -> None:
    """Write down that somebody read something."""
    log = AccessLog(desk.database)
    log.note(by, verb, noun, ref, query)
    await log.flush()


async def _shown(desk: Desk, by: str, facts: Iterable[Fact | None], query: str) -> None:
    """Write down which facts somebody was shown, and what they asked for."""
    log = AccessLog(desk.database)
    log.believed(by, (fact for fact in facts if fact is not None), query)
    await log.flush()


async def fact(
    desk: Desk, subject: str, predicate: str, *, at: datetime | None, branch: str, confidential: bool, by: str
) -> Json:
    """What is held, with its history; a UsageError that names what is meant where nothing is."""
    asset = Asset.parse(subject)
    async with reading(desk, confidential=confidential) as tx:
        held = await knowledge.fact(tx, asset, predicate, branch=branch, at=at)
        past = [] if held is None else await knowledge.history(tx, asset, predicate, branch=branch)
        around = await knowledge.facts(tx, subject=asset, limit=MOST) if held is None else []
    if held is not None:
        await _shown(desk, by, [held, *past], f"fact on {branch}" + (f" at {at.isoformat()}" if at else ""))
        return {**plain(held), "branch": branch, "history": [plain(one) for one in past]}
    known = [f"{f.predicate} of {f.subject}" for f in around]
    meant = nearest(f"{predicate} of {asset}", known)
    then = f" on {at:%Y-%m-%d %H:%M}" if at else ""
    raise UsageError(
        f"nothing is held as {predicate!r} of {asset}{then}",
        hint=f"did you mean {meant!r}?" if meant else "nothing at all is held about it",
    )


async def history(desk: Desk, subject: str, predicate: str, *, branch: str, confidential: bool, by: str) -> list[Json]:
    """Every version on a branch."""
    async with reading(desk, confidential=confidential) as tx:
        found = await knowledge.history(tx, Asset.parse(subject), predicate, branch=branch)
    await _shown(desk, by, found, f"history on {branch}")
    return [plain(one) for one in found]


async def hold(
    desk: Desk,
    subject: str,
    predicate: str,
    value: JSON,
    *,
    expected: int | None,
    reason: str,
    confidence: float,
    branch: str,
    confidential: bool,
    by: str,
) -> Json:
    """Assert a fact in somebody's name."""
    async with reading(desk, confidential=confidential) as tx:
        return _json(
            await knowledge.assert_fact(
                tx,
                by,
                Asset.parse(subject),
                predicate,
                value,
                expected=expected,
                confidence=confidence,
                source="said by hand",
                sensitivity=tx.clearance,
                branch=branch,
                reason=reason,
            )
        )


async def let_go(
    desk: Desk,
    subject: str,
    predicate: str,
    *,
    reason: str,
    expected: int | None,
    branch: str,
    confidential: bool,
    by: str,
) -> Json:
    """Retract a fact in somebody's name."""
    async with reading(desk, confidential=confidential) as tx:
        asset = Asset.parse(subject)
        return _json(await knowledge.retract(tx, by, asset, predicate, reason=reason, expected=expected, branch=branch))


async def branch_list(desk: Desk) -> Json:
    """Branches, their named points, and the rehearsals on them."""
    async with reading(desk, confidential=False) as tx:
        return {
            "branches": [plain(one) for one in await branches.branches(tx)],
            "snapshots": [plain(one) for one in await branches.snapshots(tx)],
            "rehearsals": [plain(one) for one in await rehearsals.list_(tx)],
        }


async def fork(desk: Desk, name: str, *, parent: str, at: str | None, by: str) -> Json:
    """Grow a branch."""
    async with reading(desk, confidential=False) as tx:
        return _json(await branches.fork(tx, name, by=by, parent=parent, at=at))


async def snapshot(desk: Desk, name: str, *, branch: str, by: str) -> Json:
    """Name the tip of a branch."""
    async with reading(desk, confidential=False) as tx:
        return _json(await branches.snapshot(tx, name, by=by, branch=branch))


async def drop(desk: Desk, name: str) -> Json:
    """Close a branch."""
    async with reading(desk, confidential=False) as tx:
        return _json(await branches.drop(tx, name))


async def diff(desk: Desk, before: str, after: str, *, confidential: bool, by: str) -> list[Json]:
    """What differs between two points."""
    async with reading(desk, confidential=confidential) as tx:
        found = await branches.diff(tx, before, after)
    await _shown(desk, by, (side for one in found for side in (one.before, one.after)), f"diff {before} {after}")
    return [_difference(one) for one in found]


async def merge(
    desk: Desk,
    name: str,
    *,
    into: str | None,
    rule: Rule,
    ours: Sequence[str],
    theirs: Sequence[str],
    confidential: bool,
    by: str,
) -> Json:
    """Merge a branch into its parent; `conflicts` where nothing was written."""
    chosen: dict[tuple[Asset, str], Side] = {_named(fact): "ours" for fact in ours}
    chosen |= {_named(fact): "theirs" for fact in theirs}
    async with reading(desk, confidential=confidential) as tx:
        done = await branches.merge(tx, name, by=by, into=into, rule=rule, choices=chosen)
    return {
        "is_done": done.is_done,
        "written": [plain(one) for one in done.written],
        "conflicts": [_conflict(one) for one in done.conflicts],
    }


def _named(written: str) -> tuple[Asset, str]:
    """`predicate of asset`, as conflicts are listed."""
    predicate, of, subject = written.rpartition(" of ")
    if not of:
        raise UsageError(f"not a fact: {written[:80]!r}", hint="write 'PREDICATE of SUBJECT', as conflicts are listed")
    return Asset.parse(subject), predicate


async def roll_back(desk: Desk, to: str, *, reason: str, confidential: bool, by: str) -> list[Json]:
    """Make a branch's tip equal to one of its points."""
    async with reading(desk, confidential=confidential) as tx:
        return [plain(one) for one in await branches.roll_back(tx, to, by=by, reason=reason)]


def _json(record: object) -> Json:
    found: Json = plain(record)
    return found


def _said(fact_: Fact | None) -> Mapping[str, Any] | None:
    return None if fact_ is None else plain(fact_)


def _difference(one: Difference) -> Json:
    return {
        "subject": str(one.subject),
        "predicate": one.predicate,
        "before": _said(one.before),
        "after": _said(one.after),
    }


def _conflict(one: Conflict) -> Json:
    return {
        "fact": f"{one.predicate} of {one.subject}",
        "base": _said(one.base),
        "ours": _said(one.ours),
        "theirs": _said(one.theirs),
    }
