"""Keys: every "only once" of the swarm is one INSERT … ON CONFLICT here."""

from __future__ import annotations

from config.errors import UsageError
from memory.connection.database import Transaction

LONGEST = 800


def check(key: str, field: str = "key", longest: int = LONGEST) -> None:
    """Refuse a key that cannot be stored.

    Raises:
        UsageError: empty, too long, or with a NUL; the message names the field, not the key.
    """
    if not key or len(key) > longest or "\0" in key:
        raise UsageError(f"{field} must have 1 to {longest} characters and no NUL, this has {len(key)}")


async def take(tx: Transaction, scope: str, key: str, holder: str = "", expires_seconds: float | None = None) -> bool:
    """Take a key in a scope; True for exactly one taker, until it is freed or expires.

    Waits for a transaction that is taking the same key at this moment, and takes it if that one rolls back.

    Raises:
        UsageError: the key cannot be stored.
    """
    check(key)
    return await tx.run("take_key", scope=scope, key=key, holder=holder, seconds=expires_seconds) == 1


async def free(tx: Transaction, scope: str, key: str, holder: str = "") -> bool:
    """Give a key back; False when this holder does not have it."""
    return await tx.run("free_key", scope=scope, key=key, holder=holder) == 1


async def forget_expired(tx: Transaction) -> int:
    """Delete the keys that expired; how many."""
    return await tx.run("forget_expired_keys")
