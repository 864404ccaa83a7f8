"""Has the structure changed? A hash over the rows of the server's catalog, many times cheaper than reading it.

Every change of structure writes a row, and a row bears the number of the transaction that wrote it (xmin, which
freezing leaves alone): the sum of hashes over (oid, xmin) is another one after any change, creation or drop. Where rows
are rewritten for other reasons too, what a catalog tells of them is hashed instead: TRUNCATE and VACUUM FULL give a
relation other files and so rewrite its row in pg_class. Row estimates are written in place, without a new xmin.

There are sums for each schema, so that what happens in schemas nobody looks at, temporary ones among them, counts for
nothing. What expressions name, wherever it is (functions, operators, types, collations, roles), counts for every
schema, and a schema whose views or keys refer to another one counts with that.

Most looks find nothing new, and that is found out more cheaply still:

- No transaction ended since the last time (the snapshot is the same, on the same running server): nothing is read.
- No row of the catalog was written by a transaction that ended since, and none is missing: the sums are the same ones.

On a standby neither is relied upon, for a snapshot tells less there. A catalog that was rewritten (VACUUM FULL of it)
costs one needless look.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import DictRow, tuple_row

from integrations.warehouses.postgres import stamps
from integrations.warehouses.postgres.options import PostgresOptions

_EVERYWHERE = 0
_XIDS = 1 << 32
_FAR = 1 << 30  # transactions; the server compares their numbers modulo 2^32, half of them lie behind


@dataclass(frozen=True, slots=True)
class Seen:
    """What was found, and when by the server's count of transactions."""

    server: str
    oldest: int
    snapshot: str
    counts: frozenset[tuple[Any, ...]]
    text: str


async def read_stamp(connection: AsyncConnection[DictRow], options: PostgresOptions, last: Seen | None) -> Seen:
    """The state of the structure; `connection` is inside a transaction of one snapshot, `last` what was seen before."""
    cursor = connection.cursor(row_factory=tuple_row)
    oldest, newest, snapshot, server = (await (await cursor.execute(stamps.MOMENT)).fetchall())[0]
    if last is not None and (server is None or server != last.server or newest - last.oldest > _FAR):
        last = None
    if last is not None and snapshot == last.snapshot:
        return last
    since = str((last.oldest if last else newest) % _XIDS)
    rows = await (await cursor.execute(stamps.SINCE, {"oldest": since})).fetchall()
    counts = frozenset((name, count) for name, count, _ in rows)
    if last is not None and counts == last.counts and not any(came for _, _, came in rows):
        return Seen(server, oldest, snapshot, counts, last.text)
    sums = await (await cursor.execute(stamps.STAMPS)).fetchall()
    reaches = await (await cursor.execute(stamps.REACHES)).fetchall()
    return Seen(server or "", oldest, snapshot, counts, _digest(sums, reaches, options))


def _digest(
    sums: Iterable[tuple[int, str | None, bool | None, str]],
    reaches: Iterable[tuple[int, int]],
    options: PostgresOptions,
) -> str:
    """Of the schemas that are looked at, and of those they refer to."""
    found = {oid: (name, visible, total) for oid, name, visible, total in sums}
    looked_at = {oid for oid, (name, _, _) in found.items() if name is not None and options.looks_at(name)}
    counted = {_EVERYWHERE} | {oid for oid in looked_at if found[oid][1]}
    edges = list(reaches)
    while further := {target for source, target in edges if source in counted} - counted:
        counted |= further
    # Of a schema that cannot be looked into only that counts; of one referred to, whether it can does not.
    facts = [
        (oid, name, visible if oid in looked_at else None, total if oid in counted else None)
        for oid, (name, visible, total) in found.items()
        if oid in looked_at or oid in counted
    ]
    return hashlib.sha256(json.dumps(sorted(facts, key=lambda fact: fact[0])).encode()).hexdigest()
