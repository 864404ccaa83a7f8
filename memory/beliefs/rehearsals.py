"""Rehearsals: what an agent would have concluded from past events, had a branch of memory been what it believed.

They stand apart from decisions, incidents and tasks, and cause nothing. Two rehearsals of the same range, or one and
what was really decided, are compared by what each says of which asset.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from config.assets import Asset
from config.errors import PolicyError, UsageError
from memory import forms
from memory.connection.database import Transaction
from memory.records import DecisionKind, Payload, Sensitivity

# The words of verdicts that end as a decision, and of which kind. The others leave no decision to compare with.
DECIDED = {
    "diagnose": DecisionKind.DIAGNOSIS,
    "act": DecisionKind.REMEDY,
    "ask": DecisionKind.ASK,
    "escalate": DecisionKind.ESCALATION,
    "wait": DecisionKind.WAIT,
    "ignore": DecisionKind.IGNORE,
}


@dataclass(frozen=True, slots=True)
class Rehearsed:
    """One verdict of a rehearsal.

    Attributes:
        verdict: its word in lower case: diagnose, act, escalate, …
        subject: what it is about.
        cause: of a diagnosis, the cause class; else empty.
        body: the rest of it, as JSON.
        event_id: the event it answers, where that is one.
    """

    verdict: str
    subject: Asset
    cause: str = ""
    body: Payload = field(default_factory=dict)
    event_id: int | None = None
    sensitivity: Sensitivity = Sensitivity.INTERNAL


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """One replay of a range of events to an agent, over a branch."""

    id: int
    branch: str
    agent: str
    since: datetime
    until: datetime
    by: str
    at: datetime


Said = tuple[str, Asset, str]  # verdict, subject, cause


@dataclass(frozen=True, slots=True)
class Comparison:
    """What two sides concluded, as often as they did; in order of subject."""

    both: tuple[Said, ...]
    only_here: tuple[Said, ...]
    only_there: tuple[Said, ...]

    @property
    def is_same(self) -> bool:
        """Would nothing have been otherwise?"""
        return not self.only_here and not self.only_there


async def record(
    tx: Transaction,
    branch: str,
    agent: str,
    verdicts: Sequence[Rehearsed],
    *,
    since: datetime,
    until: datetime,
    by: str,
) -> Rehearsal:
    """Write a replay down, in the order of its verdicts. `main` is a branch too: what would be concluded today.

    Raises:
        PolicyError: a verdict over confidential evidence: it is not kept.
        UsageError: no such branch, a range that ends before it begins, or a field that cannot be stored.
    """
    if until <= since:
        raise UsageError("a range of events ends after it begins")
    if await tx.one("branch", name=branch) is None:
        raise UsageError(f"there is no branch {branch[:100]!r}")
    if any(one.sensitivity is Sensitivity.CONFIDENTIAL for one in verdicts):
        raise PolicyError("a rehearsal keeps no verdict over confidential evidence")
    row = await tx.one(
        "begin_rehearsal",
        branch=branch,
        agent=forms.text(agent, "agent", required=True),
        since=since,
        until=until,
        by=forms.text(by, "by", required=True),
    )
    assert row is not None  # noqa: S101 - INSERT … RETURNING without a condition has one row
    await tx.run(
        "rehearse",
        id=row["id"],
        places=list(range(len(verdicts))),
        events=[one.event_id for one in verdicts],
        verdicts=[forms.text(one.verdict, "verdict", required=True) for one in verdicts],
        subjects=[str(one.subject) for one in verdicts],
        causes=[forms.text(one.cause, "cause") for one in verdicts],
        bodies=[forms.dumped(one.body, "body") for one in verdicts],
        sensitivities=[int(one.sensitivity) for one in verdicts],
    )
    return Rehearsal(**row)


async def list_(
    tx: Transaction, *, branch: str | None = None, agent: str | None = None, limit: int = 50
) -> list[Rehearsal]:
    """Rehearsals, newest first."""
    return [Rehearsal(**row) for row in await tx.all("rehearsals", branch=branch, agent=agent, limit=limit)]


async def get(tx: Transaction, rehearsal: int) -> Rehearsal:
    """One rehearsal, by its number.

    Raises:
        UsageError: there is none of this number.
    """
    row = await tx.one("rehearsal", id=rehearsal)
    if row is None:
        raise UsageError(f"there is no rehearsal {rehearsal}")
    return Rehearsal(**row)


async def verdicts(tx: Transaction, rehearsal: int) -> list[Rehearsed]:
    """What a rehearsal concluded, in order; only what the reader may see.

    Raises:
        UsageError: there is none of this number.
    """
    await get(tx, rehearsal)
    return [
        Rehearsed(
            row["verdict"],
            Asset.parse(row["subject"]),
            row["cause"],
            row["body"],
            row["event_id"],
            Sensitivity(row["sensitivity"]),
        )
        for row in await tx.all("rehearsed", id=rehearsal)
    ]


async def compare(tx: Transaction, rehearsal: int, other: int | None = None) -> Comparison:
    """A rehearsal against another one, or against what the agent really decided in that range of time.

    What was really decided is known by the time of the decision, not of the event: an agent that was behind decided
    later, and that counts as said here alone. Compare with a rehearsal on main where that matters.

    Raises:
        UsageError: there is none of this number, or the two are not of one agent.
    """
    here = await get(tx, rehearsal)
    said = [(one.verdict, one.subject, one.cause) for one in await verdicts(tx, rehearsal)]
    if other is None:
        said = [
            (word, subject, cause if word == "diagnose" else "") for word, subject, cause in said if word in DECIDED
        ]
        words = {kind.value: word for word, kind in DECIDED.items()}
        rows = await tx.all("decided_between", agent=here.agent, since=here.since, until=here.until, kinds=list(words))
        there = [
            (
                words[row["verdict"]],
                Asset.parse(row["subject"]),
                row["cause"] if words[row["verdict"]] == "diagnose" else "",
            )
            for row in rows
        ]
    else:
        if (await get(tx, other)).agent != here.agent:
            raise UsageError("two rehearsals of different agents say different things anyway")
        there = [(one.verdict, one.subject, one.cause) for one in await verdicts(tx, other)]
    left, right = Counter(said), Counter(there)
    return Comparison(_sorted(left & right), _sorted(left - right), _sorted(right - left))


def _sorted(said: Counter[Said]) -> tuple[Said, ...]:
    return tuple(sorted(said.elements(), key=lambda one: (str(one[1]), one[0], one[2])))
