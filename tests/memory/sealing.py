"""Keys for tests, and a database that seals with them."""

from __future__ import annotations

from memory.connection.database import Database
from memory.vault.envelopes import Vault
from memory.vault.keyring import Keyring


def ring(*ids: str) -> Keyring:
    """A ring of keys that follow from their ids; the first is the current one."""
    return Keyring(ids[0], {id_: id_.encode().ljust(32, b".") for id_ in ids})


def sealing(db: Database, vault: Vault | None = None) -> Vault:
    """Let a database seal, with a key of the tests by default."""
    chosen = vault or Vault(ring("test"))
    db.__dict__["vault"] = chosen
    return chosen
