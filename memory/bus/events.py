"""Events: published as rows with whatever they point at, read by cursors that miss nothing and repeat nothing.

A cursor is a `pg_snapshot`: new is what was in progress in the old one or came after it, and is visible now. Ids and
times are taken before the commit, so `id > last` would lose what commits late. NOTIFY is only a hint (`listener.py`).
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache
from typing import Any

from config.assets import Asset
from config.errors import PermanentError, UsageError
from memory.bus.listener import Listener, Wake
from memory.connection.database import Database, Row, Transaction
from memory.records import Event, Payload, Reference, Sensitivity

__all__ = [
    "Cursor", "ForeignCursorError", "Listener", "Snapshot", "Wake", "between", "now_cursor", "oldest", "publish",
    "read", "rebase", "regex", "since", "snapshot", "tail",
]  # fmt: skip

_log = logging.getLogger(__name__)
HINT = "event"
_TOPIC = re.compile(r"^[a-z][a-z0-9_]*(\.[a-zA-Z0-9_:-]+)+$")
_SNAPSHOT = re.compile(r"^(\d+):(\d+):((?:\d+(?:,\d+)*)?)$")


class ForeignCursorError(PermanentError):
    """A cursor lies ahead of this server: it was made by another cluster, and `rebase` has not been called."""


@dataclass(frozen=True, slots=True)
class Cursor:
    """Up to where a reader has read.

    Attributes:
        base: everything visible in this pg_snapshot has been read.
        target: while paging, the snapshot the pages are cut from; None between pages.
        after_xid, after_id: within the target, the last event read.
    """

    base: str
    target: str | None = None
    after_xid: int = 0
    after_id: int = 0

    def to_json(self) -> dict[str, Any]:
        """The form it is stored in."""
        return {"base": self.base, "target": self.target, "xid": str(self.after_xid), "id": self.after_id}

    @classmethod
    def from_json(cls, stored: Payload) -> Cursor:
        """Read the stored form.

        Raises:
            PermanentError: it is not a cursor.
        """
        try:
            cursor = cls(stored["base"], stored["target"], int(stored["xid"]), int(stored["id"]))
            _parts(cursor.base)
        except (KeyError, TypeError, ValueError) as error:
            raise PermanentError("a stored cursor of the bus cannot be read") from error
        return cursor


def _parts(snapshot: str) -> tuple[int, list[str]]:
    """The xmax and the transactions in progress of a pg_snapshot in text form."""
    match = _SNAPSHOT.match(snapshot)
    if match is None:
        raise ValueError("not a pg_snapshot")
    return int(match[2]), match[3].split(",") if match[3] else []


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Which transactions had ended at a moment, as PostgreSQL's pg_snapshot has it.

    Attributes:
        text: as PostgreSQL writes it.
        xmax: no transaction from here on had ended.
        open: those before it that had not ended either.
    """

    text: str
    xmax: int
    open: frozenset[int]

    @classmethod
    def parse(cls, text: str) -> Snapshot:
        """Read PostgreSQL's form; ValueError where it is none."""
        return _snapshot(text)

    def shows(self, xid: int) -> bool:
        """Had this transaction ended?"""
        return xid < self.xmax and xid not in self.open

    def covers(self, other: Snapshot) -> bool:
        """Had all ended that had in the other one? Of two moments of one server, the later covers the earlier."""
        return other.xmax <= self.xmax and all(xid in other.open for xid in self.open if xid < other.xmax)


@lru_cache(maxsize=1024)
def _snapshot(text: str) -> Snapshot:
    xmax, open_ = _parts(text)
    return Snapshot(text, xmax, frozenset(map(int, open_)))


async def publish(tx: Transaction, topic: str, subject: Asset, reference: Reference, *, agent: str = "") -> None:
    """Record an event in this transaction; listeners get a hint after its commit.

    The topic reads `observation.<kind>`, `task.<state>`, …; with `agent` it is for that agent alone.

    Raises:
        UsageError: the topic is malformed.
    """
    if not _TOPIC.match(topic):
        raise UsageError(f"not a topic: {topic[:80]!r}", hint="write noun.kind, for example observation.schema")
    await tx.run(
        "publish_event",
        topic=topic,
        subject=subject,
        noun=reference.noun,
        reference_id=reference.id,
        agent=agent,
    )
    tx.hint(HINT)


async def now_cursor(tx: Transaction) -> Cursor:
    """A cursor that reads from now on: nothing committed already, everything after."""
    row = await tx.one("bus_snapshot")
    assert row is not None  # noqa: S101 - a SELECT without FROM has one row
    return Cursor(row["snapshot"])


async def read(
    tx: Transaction, cursor: Cursor, *, topics: Sequence[str], agent: str | None, limit: int = 200
) -> tuple[list[Event], Cursor]:
    """The next events after a cursor, and the cursor after them.

    Every committed event comes exactly once along a chain of cursors, in the order of (xid, id) within what one
    snapshot shows. A page shorter than `limit` means that nothing is left for now. The cursor moves past events
    that are not watched too.

    `topics` are shell patterns (`*` and `?`), `observation.*` say; what matches none is passed over, and so is
    what is addressed to another agent than the reader `agent`; None reads whatever it is addressed to.

    Raises:
        ForeignCursorError: the cursor comes from another cluster (a restored dump), where transactions are
            numbered differently.
    """
    events: list[Event] = []
    while True:
        page, after = await _page(tx, cursor, _regexes(topics), agent, limit - len(events))
        events += page
        if after.target is not None or cursor.target is None:
            return events, after
        cursor = after  # the snapshot the pages were cut from is read to its end; what came since follows


async def _page(
    tx: Transaction, cursor: Cursor, patterns: list[str] | None, agent: str | None, limit: int
) -> tuple[list[Event], Cursor]:
    """One page out of one snapshot; the cursor keeps the snapshot while there may be more in it."""
    xmax, open_ = _parts(cursor.base)
    beyond = (cursor.after_xid, cursor.after_id) if cursor.after_xid >= xmax else (xmax, -1)
    rows = await tx.all(
        "read_events",
        target=cursor.target,
        open=[xid for xid in open_ if int(xid) >= cursor.after_xid],
        beyond_xid=str(beyond[0]),
        beyond_id=beyond[1],
        after_xid=str(cursor.after_xid),
        after_id=cursor.after_id,
        patterns=patterns,
        agent=agent,
        limit=limit,
    )
    target: str = rows[0]["snapshot"]
    if xmax > _parts(target)[0]:
        raise ForeignCursorError(
            "a cursor of the bus is ahead of this server: it comes from another cluster",
            hint="after a restore, agents' cursors are rebased when the swarm starts; another reader begins anew",
        )
    events = [_event(row) for row in rows if row["id"] is not None]
    if len(events) < limit:
        return events, Cursor(target)
    return events, replace(cursor, target=target, after_xid=events[-1].xid, after_id=events[-1].id)


async def snapshot(db: Database, *, clearance: Sensitivity = Sensitivity.INTERNAL) -> Snapshot:
    """The present moment, in one round trip."""
    [(text,)] = await db.once("bus_snapshot", {}, clearance=clearance, durable=False)
    return Snapshot.parse(text)


async def since(
    db: Database, base: Snapshot, *, limit: int, clearance: Sensitivity = Sensitivity.INTERNAL
) -> tuple[Snapshot, list[Event]]:
    """Whatever became visible after a snapshot, for everybody, in one round trip; and the snapshot it was seen in.

    In the order of (xid, id). As many as `limit` means that there may be more, and that the two do not belong
    together.
    """
    rows = await db.once(
        "read_events",
        {
            "target": None,
            "open": [str(xid) for xid in sorted(base.open)],
            "beyond_xid": str(base.xmax),
            "beyond_id": -1,
            "after_xid": "0",
            "after_id": 0,
            "patterns": None,
            "agent": None,
            "limit": limit,
        },
        clearance=clearance,
        durable=False,
    )
    return Snapshot.parse(rows[0][0]), [_pointer(row) for row in rows if row[1] is not None]


async def rebase(tx: Transaction) -> dict[str, int]:
    """Put cursors that another cluster left behind under this one's numbers: by agent, how many events it had unread.

    After a restore transactions are numbered anew. What an agent had not read is told to it once more, addressed to
    it alone and in the old order; what it had read stays read. All agents at once, for the old rows are renumbered
    with them; whoever comes second finds nothing to do. Call it before anything is published after a restore; what
    was published all the same is told to each agent where it is younger than the agent's last sign of life.
    """
    rows = await tx.all("rebase_bus")
    if any(row["unread"] for row in rows):
        tx.hint(HINT)
    for row in rows:
        _log.warning(
            "a cursor of another cluster was rebased",
            extra={"agent": row["moved"], "unread": row["unread"], "kept": "read events stay read"},
        )
    return {row["moved"]: row["unread"] for row in rows}


async def oldest(tx: Transaction) -> datetime | None:
    """When the oldest event that is kept was published; None where there is none."""
    row = await tx.one("oldest_event")
    return None if row is None else row["at"]


async def tail(
    tx: Transaction,
    *,
    topics: Sequence[str] = ("*",),
    agent: str | None = None,
    since: datetime | None = None,
    limit: int = 50,
) -> list[Event]:
    """The newest events, oldest of them first; for consoles. With `agent`, only what may reach that agent."""
    rows = await tx.all("tail_events", patterns=_regexes(topics), agent=agent, since=since, limit=limit)
    return [_event(row) for row in reversed(rows)]


async def between(
    tx: Transaction,
    since: datetime,
    until: datetime,
    *,
    topics: Sequence[str] = ("*",),
    agent: str | None = None,
    limit: int = 1000,
    after: Event | None = None,
) -> list[Event]:
    """Events of a past range by the time of publishing, for consoles and replay; moves no cursor.

    With `agent`, only what that agent would have been given. `after` is the last event of the page before.
    """
    rows = await tx.all(
        "events_between",
        since=since,
        until=until,
        after_at=after.at if after else since,
        after_id=after.id if after else -1,
        patterns=_regexes(topics),
        agent=agent,
        limit=limit,
    )
    return [_event(row) for row in rows]


def _event(row: Payload) -> Event:
    return Event(
        id=row["id"],
        xid=int(row["xid"]),
        at=row["at"],
        topic=row["topic"],
        subject=Asset.parse(row["subject"]),
        reference=Reference(row["noun"], row["reference_id"]),
        agent=row["agent"],
    )


def _pointer(row: Row) -> Event:
    """From a row of `read_events` as a tuple."""
    _, id_, xid, at, topic, subject, noun, reference_id, agent, *_ = row
    return Event(id_, int(xid), at, topic, Asset.parse(subject), Reference(noun, reference_id), agent)


def _regexes(patterns: Sequence[str]) -> list[str] | None:
    """Shell patterns as anchored regular expressions of PostgreSQL; None for everything."""
    if "*" in patterns:
        return None
    return ["^" + "".join(_REGEX.get(part, re.escape(part)) for part in pattern) + "$" for pattern in patterns]


def regex(topics: Sequence[str]) -> str | None:
    """Shell patterns over topics as one regular expression of PostgreSQL; None for everything."""
    found = _regexes(topics)
    return None if found is None else "|".join(found)


_REGEX = {"*": ".*", "?": "."}
