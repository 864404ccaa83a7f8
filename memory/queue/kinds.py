"""Kinds: what agents can be asked to do, how many at once, and how they are tried again.

A task of a kind that nobody declared is refused. A process remembers the kinds; each enqueue proves with the version it
remembers that it does so rightly, and looks again where somebody declared something meanwhile.
"""

from __future__ import annotations

import difflib
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from config.errors import UsageError
from memory.connection.database import Database, Transaction
from memory.queue.checks import name, seconds, whole

MOST_ATTEMPTS = 1_000_000
_PLACE = "kinds"


@dataclass(frozen=True, slots=True)
class Kind:
    """A queue: one kind of work of one agent.

    Attributes:
        agent, kind: its name.
        max_running: how many may be ready or running at once, over all replicas; None: any number.
        max_attempts: how often a task is tried unless it says so itself.
        backoff_seconds, longest_backoff_seconds: the first wait after a failure, doubling up to the longest.
        announces: does a finished one publish `task.succeeded`?
    """

    agent: str
    kind: str
    max_running: int | None = None
    max_attempts: int = 5
    backoff_seconds: float = 1.0
    longest_backoff_seconds: float = 300.0
    announces: bool = True

    def wait(self, attempt: int) -> float:
        """Seconds before the next attempt: doubling, with full jitter above half, so that herds spread."""
        most = min(self.longest_backoff_seconds, self.backoff_seconds * 2.0 ** min(attempt - 1, 60))
        return float(most * (0.5 + random.random() / 2))  # noqa: S311 - jitter, not a secret


@dataclass(frozen=True, slots=True)
class Known:
    """The kinds as of one version."""

    version: UUID | None
    kinds: Mapping[tuple[str, str], Kind]

    def require(self, agent: str, kind: str, where: str = "") -> Kind:
        """One that is declared.

        Raises:
            UsageError: it is not; with the nearest known name.
        """
        found = self.kinds.get((agent, kind))
        if found is not None:
            return found
        name(agent, where + "agent")
        name(kind, where + "kind")
        mine = sorted(known for owner, known in self.kinds if owner == agent)
        near = difflib.get_close_matches(kind, mine, 1, 0.5)
        if near:
            hint = f"did you mean {near[0]!r}?"
        elif mine:
            hint = f"{agent} takes {', '.join(mine)}"
        else:
            agents = sorted({owner for owner, _ in self.kinds})
            others = difflib.get_close_matches(agent, agents, 1, 0.5)
            hint = (
                f"did you mean the agent {others[0]!r}?"
                if others
                else "an agent declares its kinds when it is enlisted"
            )
        raise UsageError(f"{where}kind {kind!r} of agent {agent!r} is not declared", hint=hint)


NOTHING = Known(None, {})


async def declare(tx: Transaction, kinds: Sequence[Kind]) -> bool:
    """Declare kinds, or change how they are declared. False: all of it was so already, and nothing was written.

    Raises:
        UsageError: a field that cannot be; nothing was written.
    """
    for kind in kinds:
        name(kind.agent, "agent")
        name(kind.kind, "kind")
        if kind.max_running is not None:
            whole(kind.max_running, "max_running", 1, 2**31 - 1)
        whole(kind.max_attempts, "max_attempts", 1, MOST_ATTEMPTS)
        seconds(kind.backoff_seconds, "backoff_seconds", 0.0)
        seconds(kind.longest_backoff_seconds, "longest_backoff_seconds", 0.0)
    unique = list({(kind.agent, kind.kind): kind for kind in kinds}.values())
    row = await tx.one("declare_kinds", **_columns(unique))
    return bool(row and row["changed"])


def _columns(kinds: Iterable[Kind]) -> dict[str, list[Any]]:
    listed = list(kinds)
    return {
        "agents": [kind.agent for kind in listed],
        "kinds": [kind.kind for kind in listed],
        "max_running": [kind.max_running for kind in listed],
        "max_attempts": [kind.max_attempts for kind in listed],
        "backoff_seconds": [float(kind.backoff_seconds) for kind in listed],
        "longest_backoff_seconds": [float(kind.longest_backoff_seconds) for kind in listed],
        "announces": [kind.announces for kind in listed],
    }


async def all(tx: Transaction) -> list[Kind]:  # noqa: A001 - reads as kinds.all()
    """Every declared kind, by agent and name."""
    return list((await look(tx)).kinds.values())


async def look(tx: Transaction) -> Known:
    """Read the kinds anew, and remember them for this process."""
    rows = await tx.rows("all_kinds")
    known = Known(
        rows[0][0] if rows else None,
        {(agent, kind): Kind(agent, kind, *rest) for _, agent, kind, *rest in rows if agent is not None},
    )
    tx.database.remembered[_PLACE] = known
    return known


def remembered(db: Database) -> Known:
    """The kinds as this process last read them; empty before it ever did."""
    known: Known = db.remembered.get(_PLACE, NOTHING)
    return known


async def known(tx: Transaction) -> Known:
    """The kinds as remembered; read where they never were."""
    found = remembered(tx.database)
    return found if found.version is not None else await look(tx)


def same(kind: Kind, known: Known) -> bool:
    """Is this kind declared as it was when it was looked up?"""
    return known.kinds.get((kind.agent, kind.kind)) is kind


def may_be_limited(db: Database, agent: str, kind: str) -> bool:
    """Has this kind a limit, or might it have one that this process has not heard of?"""
    found = remembered(db).kinds.get((agent, kind))
    return found is None or found.max_running is not None
