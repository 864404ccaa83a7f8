"""What cannot run now: made ready when its time comes, its subject is free, or its kind has a place.

A kind with a limit has at most so many tasks in the claim's table, ready or running. They are admitted one transaction
at a time, under a lock on the kind's row, by counting what is there: no counter that could drift, no lock held while
somebody's own transaction goes on. Every replica may do it, right behind what frees a place and once a poll.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from memory.connection.database import Database, Row, Transaction

AT_ONCE = 500
PARKED_POLL_SECONDS = 1.0
_PAGE = "parked subjects"
LATER = "task+later"  # a hint for whoever waits for tasks: something is due later, look when


def hint_for(agent: str) -> str:
    """The hint that says there is a task for an agent."""
    return f"task:{agent}"


def tell(tx: Transaction, agents: Iterable[str]) -> None:
    """Hint, after the commit, that there are tasks for these agents."""
    for agent in dict.fromkeys(agents):
        tx.hint(hint_for(agent))


async def promote(db: Database) -> float | None:
    """Make ready what is due, and what waited for something that is free now.

    Returns:
        Seconds until something is due again (0 or less: call again), None where nothing waits.
    """
    due: float | None
    ((due, for_subject, for_place),) = await db.once("next_due", {}, durable=False)
    if not for_subject and not for_place and (due is None or due > 0):
        return due
    async with db.transaction(durable=False) as tx:
        return await promote_in(tx)


async def promote_in(tx: Transaction) -> float | None:
    """The same, in this transaction."""
    due, for_subject, for_place = await _next(tx)
    if due is None and not for_subject and not for_place:
        return None
    subjects: set[str] = set()
    if due is not None and due <= 0:
        settled = await tx.rows("settle_due", limit=AT_ONCE)
        subjects.update(subject for subject, needs in settled if needs)
        tell(tx, [row[0] for row in await tx.rows("promote_due", limit=AT_ONCE)])
    if for_subject:
        subjects |= await _parked(tx)
    if subjects:
        tell(tx, [row[0] for row in await tx.rows("promote_parked", subjects=sorted(subjects))])
    await admit(tx)
    due, for_subject, for_place = await _next(tx)
    waits = [] if due is None else [due]
    if for_subject or for_place:
        waits.append(PARKED_POLL_SECONDS)
    return min(waits, default=None)


async def _parked(tx: Transaction) -> set[str]:
    """Subjects to look at: those that came free by time, and the next page of all that somebody waits for."""
    rows = await tx.rows("parked_subjects", after=tx.database.remembered.get(_PAGE, ""), limit=AT_ONCE)
    page = [subject for subject, in_page in rows if in_page]
    tx.database.remembered[_PAGE] = page[-1] if len(page) == AT_ONCE else ""
    return {subject for subject, _ in rows}


async def _next(tx: Transaction) -> tuple[float | None, bool, bool]:
    ((seconds, for_subject, for_place),) = await tx.rows("next_due")
    return seconds, for_subject, for_place


async def admit(tx: Transaction) -> None:
    """Fill the free places of kinds with a limit, by priority and age."""
    await tx.run("lock_limited")
    tell(tx, [row[0] for row in await tx.rows("admit_limited", limit=AT_ONCE)])


async def admit_now(db: Database) -> bool:
    """The same in a transaction of its own and one round trip. True: somebody was admitted."""
    rows = await db.once(("lock_limited", "admit_limited"), {"limit": AT_ONCE}, hints=hints, durable=False)
    return bool(rows)


def hints(rows: Sequence[Row]) -> list[str]:
    """What to tell for rows that begin with an agent."""
    return [hint_for(agent) for agent in {row[0] for row in rows}]
