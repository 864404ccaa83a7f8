"""Who read or wrote what: reads noted in memory, written in batches, dropped by retention.

What was written says itself by whom and when, in its row and in its versions: writing costs no line here.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

import structlog

from config.assets import Asset
from config.errors import SwarmError, UsageError
from memory import forms
from memory.connection.database import Database, Transaction
from memory.records import Fact, Reference, Sensitivity

log = structlog.get_logger(__name__)
MOST = 10_000
FLUSH_SECONDS = 5.0
WRITE = "write"
_LONGEST = 500
_Line = tuple[str, str, str, str, str]  # who, verb, noun, ref, query


@dataclass(frozen=True, slots=True)
class Access:
    """One access: `ref` is an id, a fact's name, or the question that was asked; `query` is what led to it."""

    at: datetime
    who: str
    verb: str
    noun: str
    ref: str
    query: str = ""


class AccessLog:
    """The accesses of one process that are not written yet. The same again, before it is written, counts once.

    Args:
        db: where they are written.
        flush_seconds: how often, between `start` and `close`; sooner when many have come together.

    Attributes:
        lost: how many were thrown away because the database was away for too long; the oldest go first.
    """

    def __init__(self, db: Database, *, flush_seconds: float = FLUSH_SECONDS) -> None:
        self._db = db
        self._seconds = flush_seconds
        self._noted: dict[_Line, None] = {}
        self._many = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.lost = 0

    def note(self, who: str, verb: str, noun: str, ref: int | str, query: str = "") -> None:
        """Note an access; written by the next `flush`. Costs no round trip."""
        self._keep((who, verb, noun, str(ref) if isinstance(ref, int) else _clean(ref), query and _clean(query)))

    def _keep(self, line: _Line) -> None:
        noted = self._noted
        noted[line] = None
        if len(noted) > MOST:
            del noted[next(iter(noted))]
            self.lost += 1
        if len(noted) > MOST // 2:
            self._many.set()

    def read(self, who: str, noun: str, ids: Iterable[int], query: str = "") -> None:
        """Note that somebody was shown rows of a noun; `query` says what was asked for, never what was found."""
        asked = query and _clean(query)
        for number in ids:
            self._keep((who, "read", noun, str(number), asked))

    def believed(self, who: str, facts: Iterable[Fact], query: str = "") -> None:
        """Note that somebody was shown facts."""
        for fact in facts:
            self.note(who, "read", "fact", fact_name(fact.subject, fact.predicate, fact.sensitivity), query)

    def searched(
        self, who: str, query: str, found: Sequence[Reference], *, clearance: Sensitivity = Sensitivity.INTERNAL
    ) -> None:
        """Note a search, and each item it showed.

        What is asked with the highest clearance may quote what it asks for: of such a question only the length is kept.
        """
        hidden = clearance >= Sensitivity.CONFIDENTIAL
        asked = f"a question of {len(query)} characters" if hidden else query
        self.note(who, "search", "memory", asked)
        for reference in found:
            self.note(who, "read", reference.noun, reference.id, asked)

    async def flush(self) -> int:
        """Write what was noted, with the time of writing; how many.

        Raises:
            TransientError: the database is away; nothing is lost, call again.
        """
        batch, self._noted = self._noted, {}
        self._many.clear()
        if not batch:
            return 0
        try:
            async with self._db.transaction(clearance=Sensitivity.INTERNAL, durable=False) as tx:
                await _write(tx, list(batch))
        except BaseException:
            self._noted = {**batch, **self._noted}
            while len(self._noted) > MOST:
                del self._noted[next(iter(self._noted))]
                self.lost += 1
            raise
        return len(batch)

    def start(self) -> None:
        """Begin to write in the background; needs a running event loop."""
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._follow(), name="access-log")

    async def close(self) -> None:
        """Stop, and write what is left; a database that is away is told of, and no error."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None
        await self._flushed(is_told=False)

    async def _follow(self) -> None:
        is_told = False
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._seconds):
                    await self._many.wait()
            is_told = await self._flushed(is_told=is_told)
            if is_told:
                await asyncio.sleep(self._seconds)  # many have come together, and cannot be written now

    async def _flushed(self, *, is_told: bool) -> bool:
        """Write what is there; True where that failed, which is told when it begins."""
        try:
            await self.flush()
        except SwarmError as error:
            if not is_told:
                log.warning("accesses.not_written", problem=error.message, waiting=len(self._noted), lost=self.lost)
            return True
        return False


def _clean(text: str) -> str:
    if len(text) > _LONGEST:
        text = text[:_LONGEST]
    return text.replace("\0", "").encode(errors="replace").decode()


def fact_name(subject: Asset, predicate: str, sensitivity: Sensitivity = Sensitivity.INTERNAL) -> str:
    """What a fact is called in the log; a confidential one by a digest, for whoever reads the log may be below it."""
    name = f"{predicate} of {subject}"
    return f"sealed {forms.digest(name)[:32]}" if sensitivity is Sensitivity.CONFIDENTIAL else name


async def _write(tx: Transaction, batch: Sequence[_Line]) -> None:
    whos, verbs, nouns, refs, queries = (list(column) for column in zip(*batch, strict=True))
    await tx.run("log_access", whos=whos, verbs=verbs, nouns=nouns, refs=refs, queries=queries)


async def accesses(
    tx: Transaction,
    *,
    who: str | None = None,
    noun: str | None = None,
    ref: int | str | None = None,
    since: datetime | None = None,
    limit: int = 200,
) -> list[Access]:
    """Accesses, newest first: what was read, out of the log, and what was written, out of the rows themselves.

    - ref: an id; of a fact its name (`owner of warehouse://…`) too, and either finds what was noted under the other.
    """
    id_, refs = await _named(tx, noun, None if ref is None else str(ref))
    rows = await tx.all("accesses", who=who, noun=noun, refs=refs, since=since, limit=limit)
    found = [Access(**row) for row in rows]
    if ref is None or id_ is not None:
        wanted = {"who": who, "id": id_, "since": since, "limit": limit}
        wrote = await tx.all("writings", **wanted, noun=noun) if noun != "fact" else []
        wrote += await tx.all("versions_written", **wanted) if noun in (None, "fact") else []
        found += [Access(**row, verb=WRITE) for row in wrote]
    return sorted(found, key=lambda one: one.at, reverse=True)[:limit]


async def _named(tx: Transaction, noun: str | None, ref: str | None) -> tuple[int | None, list[str] | None]:
    """The id an item has, and all that it may be called in the log."""
    if ref is None:
        return None, None
    id_ = int(ref) if ref.isascii() and ref.isdigit() and len(ref) < len(str(2**63)) else None
    row = None
    if noun == "fact":
        predicate, of, subject = ref.rpartition(" of ")
        with contextlib.suppress(UsageError):  # a name that is none was never noted either
            if id_ is not None:
                row = await tx.one("fact_by_id", id=id_)
            elif of:
                row = await tx.one("fact", subject=Asset.parse(subject), predicate=predicate)
    if row is None:
        return id_, [ref]
    asset = Asset.parse(row["subject"])
    names = {fact_name(asset, row["predicate"], level) for level in (Sensitivity.INTERNAL, Sensitivity.CONFIDENTIAL)}
    return row["id"], [ref, str(row["id"]), *sorted(names)]
