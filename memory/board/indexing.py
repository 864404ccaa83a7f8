"""The index of words: what was written waits in a list that every search reads, and goes into the index from there.

Whoever makes the list too long would have to wait until it is emptied, a third of the time that writing takes. So it
is emptied before that, beside the writers and without anybody waiting for it. Should it not happen (this process ends,
nothing more is written), a long list is emptied by who writes next, and any list by the next `recall.fold`.
"""

from __future__ import annotations

from memory.connection.database import Transaction

AT_ONCE = 1000
"""After so many documents of this process: fewer at once are more work in all, more at once slow every search down."""

_WAITING = "documents that wait for the index of words"


def written(tx: Transaction, documents: int) -> None:
    """Note that documents are written in this transaction."""
    waiting = tx.database.remembered[_WAITING] = tx.database.remembered.get(_WAITING, 0) + documents
    if waiting >= AT_ONCE:
        tx.beside(_index)


async def _index(tx: Transaction) -> None:
    tx.database.remembered[_WAITING] = 0  # should it fail, then not again at once
    await tx.run("index_words")
    tx.database.remembered[_WAITING] = 0  # what came meanwhile is in the index too
