"""Confidential values at rest: sealed in this process before they reach the database, opened after they left it.

Each item has a data key of its own (AES-256-GCM), bound to what the item is about; the data key is wrapped by a key
of the ring and stands in `data_keys`. So a row may be append-only and hashed as it is, while the ring's keys change
underneath. What repeats is told by keyed hashes, never by hashes of the value.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from config.errors import PermanentError, PolicyError, SetupError
from memory import forms
from memory.records import JSON, Sensitivity
from memory.vault.keyring import LENGTH, Keyring

if TYPE_CHECKING:
    from memory.connection.database import Transaction

_NONCE = 12
_HASH = UUID(int=0)
_SETTING = "memory.keys"
Row = dict[str, Any]

# What stands in the envelope of each noun, in which column the envelope stands, and what it is bound to.
_ABOUT: Mapping[str, tuple[str, ...]] = {
    "observation": ("kind", "subject"),
    "decision": ("kind", "subject"),
    "fact": ("predicate", "subject"),
    "learning": ("signal", "subject"),
}
_COLUMN: Mapping[str, str] = {
    "observation": "payload",
    "decision": "payload",
    "fact": "object",
    "learning": "circumstances",
}


@dataclass(frozen=True, slots=True)
class Sealed:
    """A sealed value and its wrapped data key. Not kept until `keep` has written the key."""

    id: UUID
    noun: str
    key_id: str
    wrapped: bytes
    envelope: str  # JSON, as it goes into the row


class Vault:
    """Seals and opens with the keys of a ring. One belongs to each open database.

    Args:
        keyring: the ring, or what fetches it when it is first needed (a command may be slow, or fail, and most work
            needs no key). None where no key is configured: then everything confidential is refused, both ways.
    """

    def __init__(self, keyring: Keyring | Callable[[], Keyring] | None) -> None:
        self._keyring = keyring
        self._hash_key: bytes | None = None

    @property
    def is_open(self) -> bool:
        """Is a key configured?"""
        return self._keyring is not None

    @property
    def ring(self) -> Keyring:
        """The keys, fetched now where that was not done yet.

        Raises:
            SetupError: none is configured, or one cannot be fetched.
        """
        if callable(self._keyring):
            self._keyring = self._keyring()
        if self._keyring is None:
            raise SetupError(
                "what is confidential is neither written nor read: no key is configured",
                hint=f"name one in {_SETTING}; `dataswarm memory rotate --new-key` makes one",
            )
        return self._keyring

    def seal(self, noun: str, about: Sequence[str], value: Mapping[str, JSON]) -> Sealed:
        """Seal a value under a data key of its own.

        Args:
            noun: what the item is.
            about: texts the envelope is bound to: moved to another item, it does not open.
            value: what to hide, by column.
        """
        id_, data_key = uuid4(), secrets.token_bytes(LENGTH)
        nonce = secrets.token_bytes(_NONCE)
        plain = forms.dumped(value, noun).encode()
        box = nonce + AESGCM(data_key).encrypt(nonce, plain, _bound(noun, about, id_))
        envelope = json.dumps({"sealed": str(id_), "box": base64.b64encode(box).decode()})
        return Sealed(id_, noun, self.ring.current, self.wrap(id_, data_key), envelope)

    def wrap(self, id_: UUID, data_key: bytes) -> bytes:
        """A data key, wrapped by the current key."""
        nonce = secrets.token_bytes(_NONCE)
        return nonce + AESGCM(self.ring.keys[self.ring.current]).encrypt(nonce, data_key, id_.bytes)

    def unwrap(self, id_: UUID, key_id: str, wrapped: bytes) -> bytes:
        """A data key, unwrapped.

        Raises:
            SetupError: its key is not configured, or is another than the one it was wrapped by.
        """
        key = self.ring.keys.get(key_id)
        if key is None:
            raise SetupError(
                f"the key {key_id!r}, which wraps what is confidential here, is not configured",
                hint=f"add it to {_SETTING}; or rotate first, where it still is",
            )
        try:
            return AESGCM(key).decrypt(bytes(wrapped[:_NONCE]), bytes(wrapped[_NONCE:]), id_.bytes)
        except InvalidTag:
            raise SetupError(
                f"the key {key_id!r} is not the one this memory was sealed with", hint=f"look at {_SETTING}"
            ) from None

    async def hash_key(self, tx: Transaction) -> bytes:
        """The key of keyed hashes; made on first use, the same for ever after, whatever wraps it.

        Raises:
            SetupError: no key, a missing one, a wrong one. Nothing was written.
        """
        if self._hash_key is not None:
            return self._hash_key
        row = await tx.one("data_key", id=_HASH)
        if row is not None:
            self._hash_key = self.unwrap(_HASH, row["key_id"], row["wrapped"])
            return self._hash_key
        fresh = secrets.token_bytes(LENGTH)
        await _insert(tx, [Sealed(_HASH, "hash", self.ring.current, self.wrap(_HASH, fresh), "")])
        row = await tx.one("data_key", id=_HASH)  # somebody else's, where somebody else was first
        assert row is not None  # noqa: S101 - one of both has written it
        # Not remembered: should this transaction be rolled back, the key is gone with it.
        return self.unwrap(_HASH, row["key_id"], row["wrapped"])

    async def keyed(self, tx: Transaction, *parts: str) -> str:
        """A keyed hash over texts; equal texts give equal hashes, and nothing can be told from one without the key."""
        key = await self.hash_key(tx)
        return hmac.new(key, forms.digest(*parts).encode(), hashlib.sha256).hexdigest()


CLOSED = Vault(None)


def of(tx: Transaction) -> Vault:
    """The vault of a transaction's database."""
    return tx.database.vault


def admit(tx: Transaction, sensitivity: Sensitivity) -> None:
    """Refuse what is above a transaction's clearance before anything is sealed or sent.

    Raises:
        PolicyError: it is.
    """
    if sensitivity > tx.clearance:
        raise PolicyError(
            f"above the clearance of this transaction: {sensitivity.name.lower()} by {tx.clearance.name.lower()}"
        )


async def keep(tx: Transaction, sealed: Iterable[Sealed]) -> None:
    """Write the wrapped data keys of what was written in this transaction."""
    kept = list(sealed)
    if kept:
        await _insert(tx, kept)


async def _insert(tx: Transaction, sealed: Sequence[Sealed]) -> None:
    await tx.run(
        "keep_data_keys",
        ids=[one.id for one in sealed],
        key_ids=[one.key_id for one in sealed],
        wrapped=[one.wrapped for one in sealed],
        nouns=[one.noun for one in sealed],
    )


async def opened(tx: Transaction, noun: str, rows: Sequence[Row]) -> list[Row]:
    """Rows of a noun with their confidential columns in the clear; the others as they are.

    Raises:
        SetupError: a key is missing or wrong.
        PermanentError: an envelope was tampered with, or its data key is gone.
    """
    hidden = [row[_COLUMN[noun]] for row in rows if row["sensitivity"] == Sensitivity.CONFIDENTIAL]
    if not hidden:
        return list(rows)
    keys = await _data_keys(tx, hidden)
    found = []
    for row in rows:
        if row["sensitivity"] == Sensitivity.CONFIDENTIAL:
            about = [str(row[column]) for column in _ABOUT[noun]]
            found.append({**row, **unsealed(keys, noun, about, row[_COLUMN[noun]])})
        else:
            found.append(row)
    return found


async def opened_value(tx: Transaction, noun: str, about: Sequence[str], envelope: Mapping[str, str]) -> Row:
    """One sealed value, by column; for what has no sensitivity of its own (a step's output).

    Raises:
        SetupError, PermanentError: as `opened`.
    """
    return unsealed(await _data_keys(tx, [envelope]), noun, about, envelope)


def is_envelope(value: JSON) -> bool:
    """Does a stored value look sealed?"""
    return isinstance(value, Mapping) and value.keys() == {"sealed", "box"}


async def _data_keys(tx: Transaction, envelopes: Sequence[Mapping[str, str]]) -> dict[UUID, bytes]:
    vault = of(tx)
    ids = sorted({UUID(one["sealed"]) for one in envelopes})
    rows = await tx.all("data_keys", ids=ids)
    return {row["id"]: vault.unwrap(row["id"], row["key_id"], row["wrapped"]) for row in rows}


def unsealed(keys: Mapping[UUID, bytes], noun: str, about: Sequence[str], envelope: Mapping[str, str]) -> Row:
    """The value of an envelope, given the data keys."""
    id_ = UUID(envelope["sealed"])
    if id_ not in keys:
        raise PermanentError(f"the data key of a confidential {noun} is gone: it cannot be read any more")
    box = base64.b64decode(envelope["box"])
    try:
        plain = AESGCM(keys[id_]).decrypt(box[:_NONCE], box[_NONCE:], _bound(noun, about, id_))
    except InvalidTag:
        raise PermanentError(f"a confidential {noun} was changed outside the swarm: it does not open") from None
    value: Row = json.loads(plain)
    return value


def _bound(noun: str, about: Sequence[str], id_: UUID) -> bytes:
    return forms.digest(noun, *about, str(id_)).encode()


async def forget(tx: Transaction, noun: str, before: datetime) -> int:
    """Delete the data keys of what retention dropped; how many. Its copies in backups are unreadable from then on."""
    done: int = await tx.run("forget_data_keys", noun=noun, before=before)
    return done


@dataclass(frozen=True, slots=True)
class Wrapping:
    """How many data keys a key of the ring wraps; `is_configured`: can this process open them?"""

    key_id: str
    number: int
    is_configured: bool


async def wrappings(tx: Transaction) -> list[Wrapping]:
    """Which keys wrap how many data keys."""
    ring = of(tx).ring
    return [
        Wrapping(row["key_id"], row["number"], row["key_id"] in ring.keys) for row in await tx.all("count_data_keys")
    ]


async def rewrap(tx: Transaction, limit: int = 500) -> int:
    """Wrap data keys by the current key that another one wraps; how many, 0 when all are.

    One batch of a rotation: call it, each time in a transaction of its own, until it says 0. It may stop anywhere and
    go on later; readers and writers go on meanwhile, as long as their rings hold both keys.

    Raises:
        SetupError: a key that wraps some of them is missing or wrong; the batch is left as it was.
    """
    vault = of(tx)
    rows = await tx.all("data_keys_to_rewrap", current=vault.ring.current, limit=limit)
    again = [vault.wrap(row["id"], vault.unwrap(row["id"], row["key_id"], row["wrapped"])) for row in rows]
    if rows:
        await tx.run("rewrap_data_keys", ids=[row["id"] for row in rows], wrapped=again, key_id=vault.ring.current)
    return len(rows)
