"""Having the baseline taken anew: a wish on the blackboard, fulfilled by the agent that holds the connection."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Any, Final

from agents.base import LOOK
from config.assets import Asset
from config.errors import SetupError, UsageError
from dataswarm import asks
from dataswarm.drifting.past import open_keys
from dataswarm.drifting.resolving import WATCHER, head_of, no_baseline
from memory.beliefs import knowledge
from memory.board import baselines
from memory.connection.database import Database, Transaction
from memory.members import capabilities

WISH: Final = "drift.retake"
"""Predicate on a whole source: how often it was asked for so far; who asked, and why, stand beside it."""


@dataclass(frozen=True, slots=True)
class Retaken:
    """What came of it.

    Attributes:
        name: the source.
        state: retaken; waiting (not done in time, the wish stands); unreachable (so does it); failed.
        task: the look that was asked for.
        revision: the new one, None where there is none yet.
        closed: changes that were open, and are not any more.
        error: why a look failed.
    """

    name: str
    state: str
    task: int
    revision: int | None = None
    closed: tuple[str, ...] = ()
    error: str = ""


async def of_all(tx: Transaction, names: Sequence[str]) -> list[str]:
    """Those that have a baseline to take anew."""
    return [name for name in names if await baselines.get(tx, WATCHER, name) is not None]


async def retake(database: Database, source: str, *, by: str, reason: str, patience: float) -> Retaken:
    """Ask for it, and wait for it, at most so many seconds.

    Raises:
        UsageError: no reason is given, or there is no baseline yet; nothing is written then.
        SetupError: no running service is the agent; nothing is written then.
    """
    if not reason.strip():
        raise UsageError("say why it is taken anew", hint='add --reason "…": it is kept with the revision')
    end = monotonic() + patience
    async with database.transaction() as tx:
        if await baselines.get(tx, WATCHER, source) is None:
            raise no_baseline(source)
        offers = await capabilities.browse(tx, agent=WATCHER)
        if not any(offer.is_up for offer in offers if offer.name == LOOK.kind):
            raise SetupError(
                f"no running service is the agent {WATCHER}, and only it can look at {source}; nothing was changed",
                hint="start `dataswarm up`, and ask again",
            )
        closing = await open_keys(tx, source)
        version = await _wish(tx, source, by, reason.strip())
        task = await _look(tx, source, by)
    while True:
        done = await asks.outcome(database, task, max(0.0, end - monotonic()))
        async with database.transaction(durable=False) as tx:
            found = await baselines.get(tx, WATCHER, source)
            if found is not None and int(head_of(found).get("retaken") or 0) >= version:
                revision = (await baselines.revisions(tx, WATCHER, source, 1))[0].revision
                return Retaken(source, "retaken", task, revision, tuple(closing))
        if not done["is_done"] or monotonic() >= end:
            return Retaken(source, "waiting", task)
        if done["state"] != "succeeded":
            return Retaken(source, "failed", task, error=done["error"])
        if isinstance(done["result"], Mapping) and done["result"].keys() & {"unreachable", "skipped"}:
            return Retaken(source, "unreachable", task)
        async with database.transaction() as tx:  # that look began before the wish was heard of
            task = await _look(tx, source, by)


async def _wish(tx: Transaction, source: str, by: str, reason: str) -> int:
    """Write the wish down; its version."""
    whole = Asset("warehouse", source)
    held = await knowledge.fact(tx, whole, WISH)
    count: Any = held.object if held is not None else 0
    fact = await knowledge.assert_fact(
        tx,
        by,
        whole,
        WISH,
        int(count) + 1,
        expected=held.version if held is not None else None,
        source="said by hand",
        reason=reason,
    )
    return fact.version


async def _look(tx: Transaction, source: str, by: str) -> int:
    return await capabilities.ask(tx, WATCHER, LOOK.kind, {"source": source}, by=by)
