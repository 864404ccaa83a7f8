"""Who read or wrote what: noted in memory, written in batches, dropped by retention."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from memory.connection.database import Database, Transaction
from memory.records import Reference, Sensitivity

MOST = 10_000
_LONGEST = 500


@dataclass(frozen=True, slots=True)
class Access:
    """One access: `ref` is an id, or the question that was asked."""

    at: datetime
    who: str
    verb: str
    noun: str
    ref: str


class AccessLog:
    """The accesses of one process that are not written yet.

    Attributes:
        lost: how many were thrown away because the database was away for too long; the oldest go first.
    """

    def __init__(self, db: Database) -> None:
        self._db = db
        self._noted: deque[tuple[str, str, str, str]] = deque()
        self.lost = 0

    def note(self, who: str, verb: str, noun: str, ref: int | str) -> None:
        """Note an access; written by the next `flush`. Costs no round trip."""
        clean = str(ref).replace("\0", "")[:_LONGEST].encode(errors="replace").decode()
        self._noted.append((who, verb, noun, clean))
        if len(self._noted) > MOST:
            self._noted.popleft()
            self.lost += 1

    def searched(
        self, who: str, query: str, found: Sequence[Reference], *, clearance: Sensitivity = Sensitivity.INTERNAL
    ) -> None:
        """Note a search, and each item it showed.

        What is asked with the highest clearance may quote what it asks for: of such a question only the length is kept.
        """
        hidden = clearance >= Sensitivity.CONFIDENTIAL
        self.note(who, "search", "memory", f"a question of {len(query)} characters" if hidden else query)
        for reference in found:
            self.note(who, "read", reference.noun, reference.id)

    async def flush(self) -> int:
        """Write what was noted, with the time of writing; how many.

        Raises:
            TransientError: the database is away; nothing is lost, call again.
        """
        batch = list(self._noted)
        if not batch:
            return 0
        self._noted.clear()
        try:
            async with self._db.transaction(clearance=Sensitivity.INTERNAL, durable=False) as tx:
                await _write(tx, batch)
        except BaseException:
            self._noted.extendleft(reversed(batch))
            while len(self._noted) > MOST:
                self._noted.popleft()
                self.lost += 1
            raise
        return len(batch)


async def _write(tx: Transaction, batch: Sequence[tuple[str, str, str, str]]) -> None:
    whos, verbs, nouns, refs = (list(column) for column in zip(*batch, strict=True))
    await tx.run("log_access", whos=whos, verbs=verbs, nouns=nouns, refs=refs)


async def accesses(
    tx: Transaction,
    *,
    who: str | None = None,
    noun: str | None = None,
    ref: int | str | None = None,
    since: datetime | None = None,
    limit: int = 200,
) -> list[Access]:
    """Accesses, newest first."""
    wanted = None if ref is None else str(ref)
    rows = await tx.all("accesses", who=who, noun=noun, ref=wanted, since=since, limit=limit)
    return [Access(**row) for row in rows]
